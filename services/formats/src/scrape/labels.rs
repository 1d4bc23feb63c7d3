//! The labels of a series: `name="value"` pairs between braces.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::line::What;

/// Labels of one series. One of more is counted in [`Scraped::over_limit`](super::Scraped::over_limit) and not given.
pub const LABELS_MAX: usize = 64;

const BLANK: [char; 2] = [' ', '\t'];

/// The labels of a series, well-formed and no name twice. They borrow from the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labels<'p> {
    /// From behind the opening brace to the closing one, which is part of it.
    text: &'p str,
}

/// Why labels are not given.
pub(super) enum Refusal {
    Malformed(What),
    OverLimit,
}

impl<'p> Labels<'p> {
    /// Of a series without any.
    pub(super) const NONE: Self = Self { text: "}" };

    /// Reads what is behind an opening brace; gives what is behind the closing one too.
    pub(super) fn split(text: &'p str) -> Result<(Self, &'p str), Refusal> {
        let mut names = [""; LABELS_MAX];
        let mut found = 0;
        let mut rest = text;
        loop {
            match step(rest).map_err(Refusal::Malformed)? {
                Step::End(after) => {
                    let labels = Self {
                        text: &text[..text.len() - after.len()],
                    };
                    return Ok((labels, after));
                }
                Step::Label { name, after, .. } => {
                    if names[..found].contains(&name) {
                        return Err(Refusal::Malformed(What::LabelTwice));
                    }
                    *names.get_mut(found).ok_or(Refusal::OverLimit)? = name;
                    found += 1;
                    rest = after;
                }
            }
        }
    }

    /// Names and values in the order of the page; values without their escapes.
    pub fn iter(&self) -> LabelIter<'p> {
        LabelIter { rest: self.text }
    }

    /// What the series is known by beside its name: `name="value"` pairs sorted by name, separated by commas, `le` and `quantile`
    /// among them. An empty value is the same as no such label, so it is left out.
    pub fn identity(&self) -> String {
        let mut pairs: Vec<_> = self.iter().filter(|(_, value)| !value.is_empty()).collect();
        pairs.sort_unstable();
        let mut identity = String::with_capacity(self.text.len());
        for (name, value) in pairs {
            if !identity.is_empty() {
                identity.push(',');
            }
            let _ = write!(identity, "{name}=\"");
            escape(&value, &mut identity);
            identity.push('"');
        }
        identity
    }

    /// Bytes they take on the page.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// Gives labels as [`Labels::iter`] says.
#[derive(Debug, Clone)]
pub struct LabelIter<'p> {
    rest: &'p str,
}

impl<'p> Iterator for LabelIter<'p> {
    type Item = (&'p str, Cow<'p, str>);

    fn next(&mut self) -> Option<Self::Item> {
        // An error cannot be: the text was read to its end before.
        match step(self.rest).ok()? {
            Step::End(_) => None,
            Step::Label { name, value, after } => {
                self.rest = after;
                Some((name, unescape(value)))
            }
        }
    }
}

/// A metric's or a label's name at the front of a text, and what follows; colons are for metrics only.
pub(super) fn split_name(text: &str, may_hold: fn(u8) -> bool) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    if bytes.first()?.is_ascii_digit() {
        return None;
    }
    let end = bytes
        .iter()
        .position(|byte| !may_hold(*byte))
        .unwrap_or(bytes.len());
    (end > 0).then(|| text.split_at(end))
}

enum Step<'p> {
    /// The closing brace, and what follows it.
    End(&'p str),
    /// A label with its value still escaped, and what follows it and its comma.
    Label {
        name: &'p str,
        value: &'p str,
        after: &'p str,
    },
}

fn step(text: &str) -> Result<Step<'_>, What> {
    let text = text.trim_start_matches(BLANK);
    if let Some(after) = text.strip_prefix('}') {
        return Ok(Step::End(after));
    }
    let label = || {
        let (name, rest) = split_name(text, |byte| byte.is_ascii_alphanumeric() || byte == b'_')?;
        let rest = rest.trim_start_matches(BLANK).strip_prefix('=')?;
        let rest = rest.trim_start_matches(BLANK).strip_prefix('"')?;
        let (value, rest) = split_quoted(rest)?;
        let rest = rest.trim_start_matches(BLANK);
        let after = rest
            .strip_prefix(',')
            .or(rest.starts_with('}').then_some(rest))?;
        Some(Step::Label { name, value, after })
    };
    label().ok_or(What::Label)
}

/// Splits at the first quote that is not escaped.
fn split_quoted(text: &str) -> Option<(&str, &str)> {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Only three escapes are defined; another backslash stands for itself, as Prometheus takes it.
fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut value = String::with_capacity(raw.len());
    let mut characters = raw.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            value.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => value.push('\n'),
            Some(escaped @ ('\\' | '"')) => value.push(escaped),
            other => {
                value.push('\\');
                value.extend(other);
            }
        }
    }
    Cow::Owned(value)
}

fn escape(value: &str, into: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> Option<(Labels<'_>, &str)> {
        Labels::split(text).ok()
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let owned = |(name, value): (&str, Cow<'_, str>)| (name.to_owned(), value.into_owned());
        labels(text).unwrap().0.iter().map(owned).collect()
    }

    #[test]
    fn escapes_blanks_and_a_last_comma_are_read() {
        let told = pairs("a=\"1\" , b = \"x\\\\y\\\"z\\n\\d}\",\tc=\"\",} 5");
        let expected = [("a", "1"), ("b", "x\\y\"z\n\\d}"), ("c", "")];
        assert_eq!(
            told,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(labels("a=\"1\"} 5").unwrap().1, " 5");
        assert_eq!(pairs("}"), []);
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for text in [
            "",
            "a",
            "a=",
            "a=1}",
            "a=\"1",
            "a=\"1\\\"}",
            "a=\"1\"",
            "1a=\"1\"}",
            ",}",
            "a=\"1\" b=\"2\"}",
            "a:b=\"1\"}",
            "=\"1\"}",
            "é=\"1\"}",
            "a=\"1\",,}",
            "a=\"1\",a=\"2\"}",
        ] {
            assert!(
                matches!(Labels::split(text), Err(Refusal::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn more_labels_than_the_bound_are_over_the_limit() {
        let of = |count| {
            (0..count)
                .map(|number| format!("l{number}=\"\","))
                .collect::<String>()
                + "}"
        };
        assert!(labels(&of(LABELS_MAX)).is_some());
        assert!(matches!(
            Labels::split(&of(LABELS_MAX + 1)),
            Err(Refusal::OverLimit)
        ));
    }

    #[test]
    fn an_identity_is_sorted_and_leaves_out_what_is_empty() {
        let (labels, _) = labels("le=\"+Inf\", code=\"a\\\"b\",none=\"\"}").unwrap();
        assert_eq!(labels.identity(), "code=\"a\\\"b\",le=\"+Inf\"");
        assert_eq!(Labels::NONE.identity(), "");
    }

    fn any_pairs() -> impl Strategy<Value = Vec<(String, String)>> {
        let pairs =
            prop::collection::btree_map("[a-z_][a-z0-9_]{0,4}", "[a\\\\\"\n},= é]{0,6}", 0..6);
        pairs
            .prop_map(|pairs| pairs.into_iter().collect::<Vec<_>>())
            .prop_shuffle()
    }

    fn write(pairs: &[(String, String)]) -> String {
        let mut text = String::new();
        for (name, value) in pairs {
            let _ = write!(text, "{name}=\"");
            escape(value, &mut text);
            text.push_str("\",");
        }
        text + "}"
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_its_identity_has_no_order(written in any_pairs()) {
            let text = write(&written);
            prop_assert_eq!(&pairs(&text), &written);
            let mut sorted = written;
            sorted.sort();
            let identity = labels(&text).unwrap().0.identity();
            prop_assert_eq!(&identity, &labels(&write(&sorted)).unwrap().0.identity());
            let again = format!("{identity}}}");
            prop_assert_eq!(labels(&again).unwrap().0.identity(), identity);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ab1_=\",}\\\\ é:]{0,24}") {
            if let Some((labels, after)) = labels(&text) {
                prop_assert_eq!(labels.bytes() + after.len(), text.len());
                let told: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
                prop_assert!(told <= labels.bytes());
            }
        }
    }
}
