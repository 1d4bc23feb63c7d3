//! One line of a page: a series with its value, or a comment.

use super::family::FamilyKind;
use super::labels::{Labels, Refusal, split_name};
use super::page::Format;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// It does not begin with a metric's name.
    #[error("no metric name; begin it with one of letters, digits, _ and :")]
    Name,
    /// Its labels are malformed.
    #[error("malformed labels; write them as {{name=\"value\",other=\"value\"}}")]
    Label,
    /// A label's name is there more than once.
    #[error("a label twice; leave one out")]
    LabelTwice,
    /// Its value is missing or no number.
    #[error("no number for its value; write one behind the name and labels")]
    Value,
    /// Its timestamp is no number of the format.
    #[error("a malformed timestamp; write milliseconds (OpenMetrics: seconds) since 1970, or none")]
    Timestamp,
    /// Something follows value and timestamp.
    #[error("something behind its timestamp; end the line there")]
    Trailing,
    /// A `TYPE` line names no metric, or a type that does not exist.
    #[error("a malformed TYPE; write # TYPE name counter, or another type of the format")]
    Type,
    /// It is not UTF-8.
    #[error("bytes that are not UTF-8; encode the page so")]
    Encoding,
    /// It is the last and has no line end, so its value may be cut.
    #[error("no line end; end the last line with one, or check why the page is cut")]
    Unended,
    /// It follows `# EOF`.
    #[error("something behind # EOF; let that be the last line")]
    AfterEnd,
}

/// A line that begins with `#`, as far as it matters.
pub(super) enum Comment<'p> {
    Type(&'p str, FamilyKind),
    End,
    Other,
}

/// A series as it is written.
pub(super) struct Series<'p> {
    pub(super) name: &'p str,
    pub(super) labels: Labels<'p>,
    pub(super) value: f64,
    pub(super) at_unix_ms: Option<i64>,
}

/// Of a line without blanks around it; nothing for one that is no comment.
pub(super) fn comment(line: &str) -> Result<Option<Comment<'_>>, What> {
    let Some(text) = line.strip_prefix('#') else {
        return Ok(None);
    };
    if text == " EOF" {
        return Ok(Some(Comment::End));
    }
    // HELP and UNIT say nothing that is needed, and everything else is a remark.
    let mut words = text.split_ascii_whitespace();
    let is_type = text.starts_with([' ', '\t']) && words.next() == Some("TYPE");
    if !is_type {
        return Ok(Some(Comment::Other));
    }
    let name = words
        .next()
        .filter(|name| is_name(name))
        .ok_or(What::Type)?;
    let kind = words.next().and_then(FamilyKind::of).ok_or(What::Type)?;
    match words.next() {
        None => Ok(Some(Comment::Type(name, kind))),
        Some(_) => Err(What::Type),
    }
}

/// Of a line without blanks around it that is no comment.
pub(super) fn series(line: &str, format: Format) -> Result<Series<'_>, Refusal> {
    let (name, rest) = split_name(line, in_name).ok_or(Refusal::Malformed(What::Name))?;
    let blanks = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match blanks.strip_prefix('{') {
        Some(text) => Labels::split(text)?,
        None if blanks.len() < rest.len() || rest.is_empty() => (Labels::NONE, blanks),
        None => return Err(Refusal::Malformed(What::Name)),
    };
    let (value, at_unix_ms) = numbers(rest, format).map_err(Refusal::Malformed)?;
    Ok(Series {
        name,
        labels,
        value,
        at_unix_ms,
    })
}

/// Value and timestamp. Behind a `#` is an exemplar, which is passed over unread.
fn numbers(text: &str, format: Format) -> Result<(f64, Option<i64>), What> {
    let text = text.split('#').next().unwrap_or_default();
    let mut words = text.split_ascii_whitespace();
    let value = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or(What::Value)?;
    let at = words
        .next()
        .map(|word| timestamp(word, format).ok_or(What::Timestamp));
    let at = at.transpose()?;
    match words.next() {
        None => Ok((value, at)),
        Some(_) => Err(What::Trailing),
    }
}

/// In milliseconds since 1970.
fn timestamp(word: &str, format: Format) -> Option<i64> {
    match format {
        Format::Prometheus => word.parse().ok(),
        Format::OpenMetrics => {
            let milliseconds = (word.parse::<f64>().ok()? * 1_000.0).round();
            let representable = milliseconds.abs() < i64::MAX as f64;
            representable.then_some(milliseconds as i64)
        }
    }
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

fn is_name(text: &str) -> bool {
    split_name(text, in_name).is_some_and(|(_, rest)| rest.is_empty())
}
