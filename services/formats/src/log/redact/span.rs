//! What is to be replaced, and by what.

/// How every replacement begins.
pub(super) const MARKER_HEAD: &[u8] = b"[redacted:";

const LABEL_BYTES_MAX: usize = 16;

/// A part of a text that is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

impl Span {
    pub(super) fn new(start: usize, end: usize, kind: Kind) -> Span {
        Span { start, end, kind }
    }
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Aws,
    Github,
    Gitlab,
    Slack,
    Google,
    Stripe,
    Jwt,
    PrivateKey,
    Authorization,
    Password,
    Secret,
    Token,
    ApiKey,
    UrlPassword,
    Email,
    Card,
    Pattern,
}

impl Kind {
    /// What stands in its place.
    pub(super) fn marker(self) -> &'static [u8] {
        match self {
            Kind::Aws => b"[redacted:aws-key]",
            Kind::Github => b"[redacted:github-token]",
            Kind::Gitlab => b"[redacted:gitlab-token]",
            Kind::Slack => b"[redacted:slack-token]",
            Kind::Google => b"[redacted:google-key]",
            Kind::Stripe => b"[redacted:stripe-key]",
            Kind::Jwt => b"[redacted:jwt]",
            Kind::PrivateKey => b"[redacted:private-key]",
            Kind::Authorization => b"[redacted:authorization]",
            Kind::Password => b"[redacted:password]",
            Kind::Secret => b"[redacted:secret]",
            Kind::Token => b"[redacted:token]",
            Kind::ApiKey => b"[redacted:api-key]",
            Kind::UrlPassword => b"[redacted:url-password]",
            Kind::Email => b"[redacted:email]",
            Kind::Card => b"[redacted:card]",
            Kind::Pattern => b"[redacted:pattern]",
        }
    }
}

/// The length of the replacement that a text begins with.
pub(super) fn marker_len(text: &[u8]) -> Option<usize> {
    let label = text.strip_prefix(MARKER_HEAD)?;
    let len = label
        .iter()
        .take(LABEL_BYTES_MAX)
        .take_while(|byte| byte.is_ascii_lowercase() || **byte == b'-')
        .count();
    (label.get(len) == Some(&b']')).then_some(MARKER_HEAD.len() + len + 1)
}

/// Whether a letter, digit or low line is at this place. There is none before the beginning and behind the end.
pub(super) fn is_word(text: &[u8], at: Option<usize>) -> bool {
    let byte = at.and_then(|at| text.get(at));
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}
