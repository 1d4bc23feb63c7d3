//! Which series of a page is meant: a name and, where that is not enough, labels.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longer names are no metric's.
const NAME_MAX: usize = 200;
/// More labels than this nobody needs to tell one series from another.
const LABELS_MAX: usize = 8;

/// A metric by its name, as `jobs_waiting`, or those of its series that have some labels, as `wait_seconds{quantile="0.99"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeriesSelector {
    name: Arc<str>,
    /// Each as `name="value"`.
    labels: Vec<Arc<str>>,
}

/// A text that selects no series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotASelector(pub(crate) &'static str);

impl SeriesSelector {
    /// Reads a selector.
    ///
    /// # Errors
    /// When it is no name, or what follows the name are no labels in braces: says what to write.
    pub fn parse(text: &str) -> Result<Self, NotASelector> {
        let (name, labels) = match text.split_once('{') {
            None => (text, Vec::new()),
            Some((name, rest)) => {
                let inner = rest.strip_suffix('}').ok_or(LABELS_HELP)?;
                (name, split(inner)?)
            }
        };
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
        let is_later = |c: char| is_first(c) || c.is_ascii_digit() || c == '.';
        if !name.starts_with(is_first) || !name.chars().all(is_later) || name.len() > NAME_MAX {
            return Err(NotASelector(
                "write the metric's name as its page gives it, such as metric:jobs_waiting=100",
            ));
        }
        if name.ends_with("_bucket") {
            return Err(NotASelector(
                "buckets of a histogram count the same event many times over; name its _count instead",
            ));
        }
        Ok(SeriesSelector {
            name: name.into(),
            labels,
        })
    }

    /// The metric's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a series is meant. `labels` as [`crate::Point::labels`] gives them.
    pub fn selects(&self, name: &str, labels: &str) -> bool {
        *name == *self.name && self.labels.iter().all(|label| has(labels, label))
    }
}

const LABELS_HELP: NotASelector =
    NotASelector("write labels behind the name as wait_seconds{quantile=\"0.99\"}");

/// A quote within a value is escaped, so a label found between commas is one.
fn has(labels: &str, label: &str) -> bool {
    labels.match_indices(label).any(|(start, found)| {
        let end = start + found.len();
        (start == 0 || labels[..start].ends_with(','))
            && (end == labels.len() || labels[end..].starts_with(','))
    })
}

/// `a="x",b="y"` in its parts.
fn split(inner: &str) -> Result<Vec<Arc<str>>, NotASelector> {
    let mut labels = Vec::new();
    let mut rest = inner;
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").ok_or(LABELS_HELP)?;
        let name = name.trim();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) || labels.len() == LABELS_MAX {
            return Err(LABELS_HELP);
        }
        let end = closing_quote(value).ok_or(LABELS_HELP)?;
        labels.push(Arc::from(format!("{name}=\"{}\"", &value[..end])));
        let after = value[end + 1..].trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more,
            None if after.is_empty() => after,
            None => return Err(LABELS_HELP),
        };
    }
    labels.sort_unstable();
    Ok(labels)
}

fn closing_quote(value: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in value.char_indices() {
        match c {
            '"' if !is_escaped => return Some(at),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    None
}

impl fmt::Display for SeriesSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.labels.is_empty() {
            return Ok(());
        }
        write!(f, "{{{}}}", self.labels.join(","))
    }
}

impl TryFrom<String> for SeriesSelector {
    type Error = NotASelector;

    fn try_from(text: String) -> Result<Self, NotASelector> {
        SeriesSelector::parse(&text)
    }
}

impl From<SeriesSelector> for String {
    fn from(selector: SeriesSelector) -> String {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_selects_all_its_series_and_labels_some() {
        let all = SeriesSelector::parse("jobs_waiting").unwrap();
        assert!(all.selects("jobs_waiting", "queue=\"mail\""));
        assert!(!all.selects("jobs_waiting_total", ""));
        let some = SeriesSelector::parse("wait_seconds{quantile=\"0.9\", queue=\"a,b\"}").unwrap();
        assert_eq!(
            some.to_string(),
            "wait_seconds{quantile=\"0.9\",queue=\"a,b\"}"
        );
        let is_meant = |labels| some.selects("wait_seconds", labels);
        assert!(is_meant("host=\"x\",quantile=\"0.9\",queue=\"a,b\""));
        assert!(!is_meant("quantile=\"0.99\",queue=\"a,b\""));
        assert!(!is_meant("a_quantile=\"0.9\",queue=\"a,b\""));
        assert!(!is_meant(""));
    }

    #[test]
    fn what_is_no_selector_is_said() {
        for (text, says) in [
            ("", "jobs_waiting"),
            ("7up", "jobs_waiting"),
            ("jobs waiting", "jobs_waiting"),
            ("took_seconds_bucket", "_count"),
            ("a{b}", "quantile"),
            ("a{b=\"c\"", "quantile"),
            ("a{b=\"c\" d=\"e\"}", "quantile"),
        ] {
            let error = SeriesSelector::parse(text).unwrap_err();
            assert!(error.to_string().contains(says), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_and_read_the_same(text in "[a-z_]{1,9}(\\{[a-z]{1,3}=\"[^\"\\\\]{0,9}\"(,[a-z]=\"[a-z,]{0,3}\")?\\})?|.*") {
            if let Ok(selector) = SeriesSelector::parse(&text) {
                proptest::prop_assert_eq!(SeriesSelector::parse(&selector.to_string()), Ok(selector));
            }
        }
    }
}
