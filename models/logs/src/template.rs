//! A template and what is known of its lines.

use std::fmt;

use serde::{Deserialize, Serialize};
use units::{LogSeverity, Timestamp};

use crate::token::{Kind, Tokens, WILD_HASH, WILDCARD};

/// Bytes of an example line that are kept.
const EXAMPLE_BYTES_MAX: usize = 512;

/// Names a template: a hash of the first message seen of it, after masking. The same first message gives the same id in any
/// miner, at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TemplateId(pub(crate) u64);

impl TemplateId {
    /// As a number, for records and files.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that [`TemplateId::as_u64`] gave.
    pub const fn from_u64(id: u64) -> Self {
        TemplateId(id)
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How often and when lines of a template came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Lines.
    pub lines: u64,
    /// When the first of them was written.
    pub first_seen: Timestamp,
    /// When the last of them was.
    pub last_seen: Timestamp,
    /// The gravest level any of them had.
    pub severity: LogSeverity,
}

/// A token of a template. Its text is that of the first line, or holds `<*>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) text: Box<str>,
    pub(crate) hash: u64,
    pub(crate) kind: Kind,
}

impl Part {
    /// Takes this position for a value from now on. The key of a `key=word` stays legible.
    pub(crate) fn widen(&mut self) {
        let key = match self.kind {
            Kind::Plain | Kind::Partial => self.text.rfind('='),
            Kind::Ident | Kind::Wild => None,
        };
        let key = key.map_or("", |equals| &self.text[..=equals]);
        self.text = format!("{key}{WILDCARD}").into();
        self.hash = WILD_HASH;
        self.kind = Kind::Wild;
    }
}

/// The form that lines of one statement share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    pub(crate) id: TemplateId,
    pub(crate) parts: Vec<Part>,
    counts: Counts,
    example: Box<str>,
    /// The number of the last line, as the miner counts them.
    pub(crate) last_line: u64,
}

impl Template {
    pub(crate) fn new(id: TemplateId, tokens: &Tokens, example: &str, counts: Counts) -> Self {
        let part = |token| Part {
            text: tokens.text_of(token).into(),
            hash: token.hash,
            kind: token.kind,
        };
        Template {
            id,
            parts: tokens.all.iter().map(part).collect(),
            counts,
            example: cut(example, EXAMPLE_BYTES_MAX).into(),
            last_line: 0,
        }
    }

    /// Its name.
    pub fn id(&self) -> TemplateId {
        self.id
    }

    /// Its tokens with one blank between, `<*>` where values stand.
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// How often and when its lines came, those of absorbed templates among them.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The first line seen of it, cut after 512 bytes.
    pub fn example(&self) -> &str {
        &self.example
    }

    /// Bytes it holds, about.
    pub fn memory_bytes(&self) -> usize {
        let texts: usize = self.parts.iter().map(|part| part.text.len()).sum();
        size_of::<Template>() + self.parts.len() * size_of::<Part>() + texts + self.example.len()
    }

    /// Counts what `other` counted.
    pub(crate) fn add(&mut self, other: &Counts) {
        let own = &mut self.counts;
        own.lines = own.lines.saturating_add(other.lines);
        own.first_seen = own.first_seen.min(other.first_seen);
        own.last_seen = own.last_seen.max(other.last_seen);
        own.severity = own.severity.max(other.severity);
    }
}

/// Its tokens with one blank between, `<*>` where values stand.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&part.text)?;
        }
        Ok(())
    }
}

/// The beginning of `text`, at most `bytes_max` long, cut between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
