//! Secrets that can be told by their form, or by the key before them.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::super::needles::{Hit, Needles};
use super::span::{Kind, Span, is_word, marker_len};

/// Quotes, backslashes before them and blanks that may stand between a key and its sign.
const GAP_BYTES_MAX: usize = 8;

/// The same in a log file, where JSON puts a backslash before each quote and backslash.
const ESCAPED_GAP_BYTES_MAX: usize = 2 * GAP_BYTES_MAX;

/// A word like `Bearer` is followed by other words too; a shorter one is no credential.
const BEARER_BYTES_MIN: usize = 16;

/// A longer path at Slack's web hooks is one.
const SLACK_PATH_BYTES_MIN: usize = 20;

/// How a needle tells a secret.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// The needle is its beginning, and so many letters, digits, low lines or minus signs follow at least.
    Prefix(Kind, usize),
    /// Sixteen capitals and digits follow, and no more.
    Aws,
    /// A path follows.
    SlackHook,
    /// The second part of a token begins, which is base64 of JSON.
    Jwt,
    /// A block begins.
    PrivateKey,
    /// A header that holds a scheme and a credential.
    Authorization,
    /// A scheme that is followed by a credential.
    Bearer,
    /// A key without its first letter, which is given in small and may be a capital. Its value follows.
    Key(Kind, u8),
}

/// Keys stand here as programs spell them: small, capital, or with a capital at the beginning. Their first letters are left out,
/// which saves needles. None holds a character that JSON escapes, and none is shorter than four bytes: the search is the faster for it.
const RULES: [(&str, Rule); 47] = [
    ("AKIA", Rule::Aws),
    ("ASIA", Rule::Aws),
    ("ghp_", Rule::Prefix(Kind::Github, 20)),
    ("gho_", Rule::Prefix(Kind::Github, 20)),
    ("ghu_", Rule::Prefix(Kind::Github, 20)),
    ("ghs_", Rule::Prefix(Kind::Github, 20)),
    ("ghr_", Rule::Prefix(Kind::Github, 20)),
    ("github_pat_", Rule::Prefix(Kind::Github, 20)),
    ("glpat-", Rule::Prefix(Kind::Gitlab, 20)),
    ("xoxa-", Rule::Prefix(Kind::Slack, 10)),
    ("xoxb-", Rule::Prefix(Kind::Slack, 10)),
    ("xoxp-", Rule::Prefix(Kind::Slack, 10)),
    ("xoxr-", Rule::Prefix(Kind::Slack, 10)),
    ("xoxs-", Rule::Prefix(Kind::Slack, 10)),
    ("hooks.slack.com/", Rule::SlackHook),
    ("AIza", Rule::Prefix(Kind::Google, 35)),
    ("sk_live_", Rule::Prefix(Kind::Stripe, 16)),
    ("rk_live_", Rule::Prefix(Kind::Stripe, 16)),
    (".eyJ", Rule::Jwt),
    ("PRIVATE KEY", Rule::PrivateKey),
    ("uthorization", Rule::Authorization),
    ("UTHORIZATION", Rule::Authorization),
    ("earer ", Rule::Bearer),
    ("assword", Rule::Key(Kind::Password, b'p')),
    ("ASSWORD", Rule::Key(Kind::Password, b'p')),
    ("asswd", Rule::Key(Kind::Password, b'p')),
    ("ASSWD", Rule::Key(Kind::Password, b'p')),
    ("assphrase", Rule::Key(Kind::Password, b'p')),
    ("ASSPHRASE", Rule::Key(Kind::Password, b'p')),
    ("ecret_key", Rule::Key(Kind::Secret, b's')),
    ("ecretKey", Rule::Key(Kind::Secret, b's')),
    ("ECRET_KEY", Rule::Key(Kind::Secret, b's')),
    ("ecret", Rule::Key(Kind::Secret, b's')),
    ("ECRET", Rule::Key(Kind::Secret, b's')),
    ("oken", Rule::Key(Kind::Token, b't')),
    ("OKEN", Rule::Key(Kind::Token, b't')),
    ("pi_key", Rule::Key(Kind::ApiKey, b'a')),
    ("pi-key", Rule::Key(Kind::ApiKey, b'a')),
    ("pi-Key", Rule::Key(Kind::ApiKey, b'a')),
    ("pikey", Rule::Key(Kind::ApiKey, b'a')),
    ("piKey", Rule::Key(Kind::ApiKey, b'a')),
    ("PI_KEY", Rule::Key(Kind::ApiKey, b'a')),
    ("PIKEY", Rule::Key(Kind::ApiKey, b'a')),
    ("PI-KEY", Rule::Key(Kind::ApiKey, b'a')),
    ("ccess_key", Rule::Key(Kind::Secret, b'a')),
    ("ccessKey", Rule::Key(Kind::Secret, b'a')),
    ("CCESS_KEY", Rule::Key(Kind::Secret, b'a')),
];

static SEARCH: LazyLock<Needles> = LazyLock::new(|| Needles::new(&RULES.map(|rule| rule.0)));

/// Whether lines of a log file may hold a secret. Where a needle is common in lines without one, what follows it is looked at as
/// far as JSON's escapes let.
pub(super) fn may_match(chunk: &[u8]) -> bool {
    let named = SEARCH.all(chunk).any(|hit| {
        let rest = &chunk[hit.end..];
        match RULES[hit.needle].1 {
            Rule::Key(_, first) => {
                begins_with_letter(chunk, hit.start, first)
                    && sign(rest, ESCAPED_GAP_BYTES_MAX).is_some()
            }
            Rule::Authorization => sign(rest, ESCAPED_GAP_BYTES_MAX).is_some(),
            Rule::Prefix(..)
            | Rule::Aws
            | Rule::SlackHook
            | Rule::Jwt
            | Rule::PrivateKey
            | Rule::Bearer => true,
        }
    });
    named || authorities(chunk).any(|start| authority_len(&chunk[start..]).is_some())
}

/// Finds the secrets of a text. A needle within a span that was found is passed over, so that no value is gone through twice, and
/// the time is proportional to the text's length.
pub(super) fn find(text: &[u8], spans: &mut Vec<Span>) {
    let mut covered = 0;
    for hit in SEARCH.all(text) {
        if hit.start >= covered
            && let Some(span) = secret(text, hit, RULES[hit.needle].1)
        {
            covered = span.end;
            spans.push(span);
        }
    }
    spans.extend(authorities(text).filter_map(|start| url_password(text, start)));
}

/// Where the authorities of URLs begin.
fn authorities(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    const SIGN: &str = "://";
    static SEARCH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(SIGN));
    SEARCH.find_iter(text).map(|at| at + SIGN.len())
}

fn secret(text: &[u8], hit: Hit, rule: Rule) -> Option<Span> {
    match rule {
        Rule::Prefix(kind, min) => {
            let len = run(&text[hit.end..], is_url_base64);
            let found = len >= min && !is_word(text, hit.start.checked_sub(1));
            found.then(|| Span::new(hit.start, hit.end + len, kind))
        }
        Rule::Aws => {
            const ID_BYTES: usize = 16;
            let len = run(&text[hit.end..], |byte| {
                byte.is_ascii_uppercase() || byte.is_ascii_digit()
            });
            let end = hit.end + len;
            let apart = !is_word(text, hit.start.checked_sub(1)) && !is_word(text, Some(end));
            (len == ID_BYTES && apart).then(|| Span::new(hit.start, end, Kind::Aws))
        }
        Rule::SlackHook => {
            let in_path = |byte: u8| is_url_base64(byte) || matches!(byte, b'/' | b'\\');
            let path = &text[hit.end..][..run(&text[hit.end..], in_path)];
            let end = hit.end + path.iter().rposition(|byte| *byte != b'\\')? + 1;
            (end - hit.end >= SLACK_PATH_BYTES_MIN).then(|| Span::new(hit.end, end, Kind::Slack))
        }
        Rule::Jwt => jwt(text, hit.start),
        Rule::PrivateKey => private_key(text, hit),
        Rule::Authorization => authorization(text, hit.end),
        Rule::Bearer => {
            if !begins_with_letter(text, hit.start, b'b') {
                return None;
            }
            let credential = credential(text, hit.end)?;
            (credential.end - credential.start >= BEARER_BYTES_MIN).then_some(credential)
        }
        Rule::Key(kind, first) => {
            let named = begins_with_letter(text, hit.start, first);
            named.then(|| value(text, hit, kind)).flatten()
        }
    }
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| belongs(**byte)).count()
}

fn is_url_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn begins_with_letter(text: &[u8], start: usize, first: u8) -> bool {
    let before = start.checked_sub(1).map(|at| text[at]);
    before.is_some_and(|letter| letter.eq_ignore_ascii_case(&first))
}

/// `eyJ….eyJ….…` (RFC 7519): base64 of `{"` is `eyJ`. The needle is the first point and what follows it.
fn jwt(text: &[u8], point: usize) -> Option<Span> {
    let header = text[..point]
        .iter()
        .rev()
        .take_while(|byte| is_url_base64(**byte))
        .count();
    let start = point - header;
    if !text[start..].starts_with(b"eyJ") {
        return None;
    }
    let signature = point + 1 + run(&text[point + 1..], is_url_base64) + 1;
    if text.get(signature - 1) != Some(&b'.') {
        return None;
    }
    let end = signature + run(&text[signature..], is_url_base64);
    Some(Span::new(start, end, Kind::Jwt))
}

/// From `-----BEGIN` to the dashes behind `-----END`, or to the end of the text where there are none (RFC 7468).
fn private_key(text: &[u8], hit: Hit) -> Option<Span> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    // The word BEGIN and the key's kind, as in `OPENSSH`.
    const LABEL_BYTES_MAX: usize = 32;
    let in_label = |byte: &&u8| byte.is_ascii_uppercase() || **byte == b' ';
    let before = text[..hit.start].iter().rev().take(LABEL_BYTES_MAX);
    let start = (hit.start - before.take_while(in_label).count()).checked_sub(5)?;
    if !text[start..].starts_with(BEGIN) {
        return None;
    }
    let end = memmem::find(&text[hit.end..], END).map(|at| hit.end + at + END.len());
    let dashes = end.and_then(|end| Some(end + memmem::find(&text[end..], b"-----")? + 5));
    let end = dashes.unwrap_or(text.len());
    Some(Span::new(start, end, Kind::PrivateKey))
}

/// The value of a header: `: Bearer …`, or as a map prints it: `":["Bearer …"]`.
fn authorization(text: &[u8], key_end: usize) -> Option<Span> {
    const SCHEMES: [&[u8]; 6] = [
        b"bearer ",
        b"basic ",
        b"token ",
        b"apikey ",
        b"digest ",
        b"negotiate ",
    ];
    let (_, sign) = sign(&text[key_end..], GAP_BYTES_MAX)?;
    let gap = |byte: u8| matches!(byte, b' ' | b'"' | b'\'' | b'\\' | b'[');
    let rest = &text[key_end + sign..];
    if marker_len(rest.trim_ascii_start()).is_some() {
        return None;
    }
    let start = key_end + sign + run(&rest[..rest.len().min(GAP_BYTES_MAX)], gap);
    let scheme = SCHEMES.iter().find(|scheme| {
        let head = text[start..].get(..scheme.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    })?;
    credential(text, start + scheme.len())
}

fn credential(text: &[u8], start: usize) -> Option<Span> {
    let start = start + run(&text[start..], |byte| byte == b' ');
    let rest = &text[start..];
    if marker_len(rest).is_some() {
        return None;
    }
    let len = run(rest, |byte| {
        !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\'' | b',' | b']' | b'\\')
    });
    (len > 0).then(|| Span::new(start, start + len, Kind::Authorization))
}

/// The sign behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Equals,
    Colon,
    /// A colon, and the key is in quotes.
    QuotedColon,
}

/// The sign, and where it ends.
fn sign(rest: &[u8], gap_max: usize) -> Option<(Sign, usize)> {
    let gap = &rest[..rest.len().min(gap_max)];
    let at = run(gap, |byte| matches!(byte, b' ' | b'"' | b'\'' | b'\\'));
    let quoted = gap[..at].iter().any(|byte| matches!(byte, b'"' | b'\''));
    let sign = match rest.get(at)? {
        b'=' => Sign::Equals,
        b':' if quoted => Sign::QuotedColon,
        b':' => Sign::Colon,
        _ => return None,
    };
    Some((sign, at + 1))
}

/// The value of a key. Prose says `unexpected token: x`, so that a colon behind a bare word counts only for passwords and keys of
/// interfaces, or where the word is the end of a longer name.
fn value(text: &[u8], hit: Hit, kind: Kind) -> Option<Span> {
    let (sign, len) = sign(&text[hit.end..], GAP_BYTES_MAX)?;
    let before = hit.start.checked_sub(2).map(|at| text[at]);
    let longer = before.is_some_and(|before| matches!(before, b'_' | b'-'));
    if sign == Sign::Colon && !longer && !matches!(kind, Kind::Password | Kind::ApiKey) {
        return None;
    }
    // A blank behind `key=` says that the value is empty, but not behind `key =`, `key:` or `key =>`.
    let spaced = sign != Sign::Equals || text[hit.end] == b' ';
    let mut start = hit.end + len;
    start += run(&text[start..], |byte| matches!(byte, b'>' | b'='));
    if spaced {
        start += run(&text[start..], |byte| byte == b' ');
    }
    if let [b'[', b'"' | b'\'' | b'\\', ..] = &text[start..] {
        start += 1;
    }
    let (start, end) = bounds(text, start, sign);
    let value = &text[start..end];
    let nothing = [
        &b"null"[..],
        b"true",
        b"false",
        b"none",
        b"None",
        b"nil",
        b"{",
        b"[",
    ];
    let masked = value.iter().all(|byte| *byte == b'*') || marker_len(&text[start..]).is_some();
    (!masked && !nothing.contains(&value)).then(|| Span::new(start, end, kind))
}

/// Where a value begins and ends: within quotes, which backslashes may stand before, or else up to a blank, a quote or what
/// separates pairs; a brace or bracket ends it too in JSON.
fn bounds(text: &[u8], start: usize, sign: Sign) -> (usize, usize) {
    let slashes = run(&text[start..], |byte| byte == b'\\');
    let quote = match text.get(start + slashes) {
        Some(quote @ (b'"' | b'\'')) => *quote,
        _ => return (start, start + bare_len(&text[start..], sign)),
    };
    let start = start + slashes + 1;
    let mut run_of_slashes = 0;
    for (at, byte) in text[start..].iter().enumerate() {
        // A quote in the text has more backslashes before it than the one that opened it; without any it has an odd number.
        let closes = *byte == quote
            && match slashes {
                0 => run_of_slashes % 2 == 0,
                _ => run_of_slashes <= slashes,
            };
        if closes {
            let before = if slashes == 0 { 0 } else { run_of_slashes };
            return (start, start + at - before);
        }
        run_of_slashes = if *byte == b'\\' {
            run_of_slashes + 1
        } else {
            0
        };
    }
    (start, text.len())
}

fn bare_len(rest: &[u8], sign: Sign) -> usize {
    let ends = |byte: u8| {
        byte.is_ascii_whitespace()
            || matches!(byte, b'"' | b'\'' | b'`' | b',' | b';' | b'&')
            || (sign == Sign::QuotedColon && matches!(byte, b'}' | b']'))
    };
    let len = run(rest, |byte| !ends(byte));
    match rest.get(len) {
        Some(b'"' | b'\'') => {
            len - rest[..len]
                .iter()
                .rev()
                .take_while(|byte| **byte == b'\\')
                .count()
        }
        _ => len,
    }
}

/// The length of what stands before the last `@` of a URL's authority (RFC 3986, section 3.2).
fn authority_len(rest: &[u8]) -> Option<usize> {
    let ends = |byte: u8| {
        byte.is_ascii_whitespace()
            || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`')
    };
    let authority = &rest[..run(rest, |byte| !ends(byte))];
    authority.iter().rposition(|byte| *byte == b'@')
}

fn url_password(text: &[u8], start: usize) -> Option<Span> {
    let end = start + authority_len(&text[start..])?;
    let mut at = start;
    while at < end && text[at] != b':' {
        at += marker_len(&text[at..end]).unwrap_or(1);
    }
    let start = at + 1;
    (start < end && marker_len(&text[start..]).is_none())
        .then(|| Span::new(start, end, Kind::UrlPassword))
}
