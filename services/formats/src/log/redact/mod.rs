//! Secrets and personal data out of lines, before they leave the machine.
//!
//! Each is replaced by what it was: `[redacted:jwt]`. Where a key names the secret, the key stays: `password=[redacted:password]`.
//! What is replaced stays so: a second pass over a line changes nothing.
//!
//! Most lines hold nothing of the kind, and [`Redactor::may_match`] says so of many at once.

mod personal;
mod secrets;
mod span;

use std::borrow::Cow;

use memchr::memmem;
use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::syntax;

use span::{Kind, MARKER_HEAD, Span, marker_len};

/// Patterns an operator may add.
pub const EXTRA_MAX: usize = 32;

/// What one of them may take in memory when compiled; a larger one is refused.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What is replaced may uncover what was stuck to it, as an address to a key's dashes, so that a line is gone through again as long
/// as something is found. What is found after so many passes, as by a pattern that matches once at the beginning of a line of
/// ones, is left.
const PASSES_MAX: u32 = 8;

/// Whether a kind of data is redacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It is.
    On,
    /// It stays.
    Off,
}

/// What is redacted. The default is known secrets alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Tokens, keys and passwords that can be told by their form or by the key before them.
    pub secrets: Switch,
    /// E-mail addresses.
    pub emails: Switch,
    /// Numbers of payment cards, of 13 to 19 digits whose check digit is right.
    pub cards: Switch,
    /// Regular expressions of what is redacted besides, at most [`EXTRA_MAX`]. They look at a line at a time, and not at what
    /// was redacted before.
    pub extra: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            secrets: Switch::On,
            emails: Switch::Off,
            cards: Switch::Off,
            extra: Vec::new(),
        }
    }
}

/// Rules that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// There are too many patterns.
    #[error("{count} redaction patterns are more than {EXTRA_MAX}: join some with |")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// One of them is no regular expression, or too large a one.
    #[error("the redaction pattern {pattern:?} cannot be used: correct it or take it out")]
    Pattern {
        /// It.
        pattern: String,
        /// What is wrong with it.
        source: Box<BuildError>,
    },
    /// One of them matches everywhere.
    #[error(
        "the redaction pattern {pattern:?} matches the empty text: make it match at least one character"
    )]
    Empty {
        /// It.
        pattern: String,
    },
}

/// Whether there may be something to redact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is nothing.
    Clean,
    /// There may be: ask each line.
    Suspicious,
}

/// Rules made ready.
#[derive(Debug)]
pub struct Redactor {
    secrets: Switch,
    emails: Switch,
    cards: Switch,
    extra: Vec<Regex>,
}

impl Redactor {
    /// Checks the rules and compiles the patterns.
    pub fn new(rules: &Rules) -> Result<Redactor, RedactError> {
        if rules.extra.len() > EXTRA_MAX {
            let count = rules.extra.len();
            return Err(RedactError::TooMany { count });
        }
        Ok(Redactor {
            secrets: rules.secrets,
            emails: rules.emails,
            cards: rules.cards,
            extra: rules
                .extra
                .iter()
                .map(|pattern| compile(pattern))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether any line of a chunk of a log file may hold something to redact. The chunk is whole lines, as they stand in the
    /// file of either driver: what JSON escapes in them does no harm. Where there are patterns of the operator's, always
    /// suspicious: they are written for the text itself.
    ///
    /// A line whose pieces or whose earlier lines were in another chunk has to be redacted whatever this says of the last.
    pub fn may_match(&self, chunk: &[u8]) -> Verdict {
        let suspicious = !self.extra.is_empty()
            || (self.secrets == Switch::On && secrets::may_match(chunk))
            || (self.emails == Switch::On && personal::may_hold_email(chunk))
            || (self.cards == Switch::On && personal::may_hold_card(chunk));
        match suspicious {
            true => Verdict::Suspicious,
            false => Verdict::Clean,
        }
    }

    /// The text with everything replaced that the rules name, and how many replacements there are. A text with none comes back
    /// as it is.
    pub fn redact<'a>(&self, mut text: Cow<'a, [u8]>) -> (Cow<'a, [u8]>, u32) {
        let mut count = 0;
        for _ in 0..PASSES_MAX {
            let spans = self.find(&text);
            if spans.is_empty() {
                break;
            }
            let (replaced, replacements) = replace(&text, spans);
            text = Cow::Owned(replaced);
            count += replacements;
        }
        (text, count)
    }

    /// No more than the text has bytes: none is empty, and each finder's do not overlap.
    fn find(&self, text: &[u8]) -> Vec<Span> {
        let mut spans = Vec::new();
        if self.secrets == Switch::On {
            secrets::find(text, &mut spans);
        }
        if self.emails == Switch::On {
            personal::find_emails(text, &mut spans);
        }
        if self.cards == Switch::On {
            personal::find_cards(text, &mut spans);
        }
        if !self.extra.is_empty() {
            self.find_extra(text, &mut spans);
        }
        spans
    }

    fn find_extra(&self, text: &[u8], spans: &mut Vec<Span>) {
        let markers: Vec<(usize, usize)> = memmem::find_iter(text, MARKER_HEAD)
            .filter_map(|start| Some((start, start + marker_len(&text[start..])?)))
            .collect();
        for regex in &self.extra {
            for found in regex.find_iter(text) {
                let apart =
                    |(start, end): &(usize, usize)| found.end() <= *start || *end <= found.start();
                if !found.is_empty() && markers.iter().all(apart) {
                    spans.push(Span::new(found.start(), found.end(), Kind::Pattern));
                }
            }
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, RedactError> {
    let regex = Regex::builder()
        .configure(
            Regex::config()
                .utf8_empty(false)
                .nfa_size_limit(Some(PATTERN_BYTES_MAX)),
        )
        .syntax(syntax::Config::new().utf8(false).multi_line(true))
        .build(pattern)
        .map_err(|source| RedactError::Pattern {
            pattern: pattern.to_owned(),
            source: Box::new(source),
        })?;
    match regex.is_match("") {
        true => Err(RedactError::Empty {
            pattern: pattern.to_owned(),
        }),
        false => Ok(regex),
    }
}

/// Spans that overlap are one, of the first one's kind.
fn replace(text: &[u8], mut spans: Vec<Span>) -> (Vec<u8>, u32) {
    spans.sort_by_key(|span| span.start);
    let mut out = Vec::with_capacity(text.len());
    let (mut from, mut count) = (0, 0);
    let mut spans = spans.into_iter().peekable();
    while let Some(mut span) = spans.next() {
        while let Some(next) = spans.next_if(|next| next.start < span.end) {
            span.end = span.end.max(next.end);
        }
        out.extend_from_slice(&text[from..span.start]);
        out.extend_from_slice(span.kind.marker());
        from = span.end;
        count += 1;
    }
    out.extend_from_slice(&text[from..]);
    (out, count)
}

#[cfg(test)]
mod tests;
