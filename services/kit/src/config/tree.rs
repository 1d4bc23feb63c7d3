//! The configuration as written: a tree in which every value knows where it comes from.

use std::fmt;
use std::ops::Range;
use std::path::Path as FilePath;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// The text of a variable or flag: what it means depends on what is asked for.
    Raw(String),
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key stands; the value's place is its own.
    pub(super) origin: Origin,
    pub(super) value: Node,
}

/// The way to a value from the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    pub(super) fn key(&self, key: &str) -> Path {
        self.step(Step::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Path {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Path {
        let mut steps = self.0.clone();
        steps.push(step);
        Path(steps)
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(super) fn parent(&self) -> Option<Path> {
        let (_, before) = self.0.split_last()?;
        Some(Path(before.to_vec()))
    }

    /// True for the path itself and everything below it.
    pub(super) fn starts_with(&self, above: &Path) -> bool {
        self.0.starts_with(&above.0)
    }

    /// The path of a dotted key such as `notifier.sinks[0].url` or `kafka.properties."sasl.username"`.
    pub(super) fn parse(dotted: &str) -> Path {
        let mut steps = Vec::new();
        let mut rest = dotted;
        while !rest.is_empty() {
            if let Some((key, after)) = rest.strip_prefix('"').and_then(|it| it.split_once('"')) {
                steps.push(Step::Key(key.to_owned()));
                rest = after;
            } else if let Some((index, after)) =
                rest.strip_prefix('[').and_then(|it| it.split_once(']'))
            {
                steps.push(match index.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) => Step::Key(index.to_owned()),
                });
                rest = after;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                steps.push(Step::Key(rest[..end].to_owned()));
                rest = &rest[end..];
            }
            rest = rest.strip_prefix('.').unwrap_or(rest);
        }
        Path(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(at) => write!(f, "[{at}]")?,
                Step::Key(key) => {
                    let dot = if index > 0 { "." } else { "" };
                    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    match !key.is_empty() && key.chars().all(bare) {
                        true => write!(f, "{dot}{key}")?,
                        false => write!(f, "{dot}\"{key}\"")?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl Node {
    pub(super) fn table(origin: Origin) -> Node {
        Node {
            kind: Kind::Table(Vec::new()),
            origin,
        }
    }

    /// The value at a path, and where its key stands.
    pub(super) fn find(&self, path: &Path) -> Option<(&Node, &Origin)> {
        let mut node = self;
        let mut at = &self.origin;
        for step in path.steps() {
            match step {
                Step::Key(key) => {
                    let Kind::Table(entries) = &node.kind else {
                        return None;
                    };
                    let entry = entries.iter().find(|it| it.key == *key)?;
                    (node, at) = (&entry.value, &entry.origin);
                }
                Step::Index(index) => {
                    let Kind::Array(items) = &node.kind else {
                        return None;
                    };
                    node = items.get(*index)?;
                    at = &node.origin;
                }
            }
        }
        Some((node, at))
    }

    /// True for what holds no further values.
    pub(super) fn is_leaf(&self) -> bool {
        !matches!(self.kind, Kind::Array(_) | Kind::Table(_))
    }

    /// Calls `visit` for this value and all below it.
    pub(super) fn walk(&self, path: &Path, visit: &mut impl FnMut(&Path, &Node)) {
        visit(path, self);
        match &self.kind {
            Kind::Table(entries) => {
                for entry in entries {
                    entry.value.walk(&path.key(&entry.key), visit);
                }
            }
            Kind::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.walk(&path.index(index), visit);
                }
            }
            Kind::Bool(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Text(_) | Kind::Raw(_) => {}
        }
    }

    /// Puts a variable's or flag's text at a path, making the tables on the way. Refuses to go through a value
    /// that is no table.
    pub(super) fn overlay(
        &mut self,
        steps: &[Step],
        text: &str,
        origin: &Origin,
    ) -> Result<(), Blocked> {
        let Some((step, rest)) = steps.split_first() else {
            self.kind = Kind::Raw(text.to_owned());
            self.origin = origin.clone();
            return Ok(());
        };
        let child = match (&mut self.kind, step) {
            (Kind::Table(entries), Step::Key(key)) => {
                let at = entries.iter().position(|it| it.key == *key);
                let at = at.unwrap_or_else(|| {
                    entries.push(Entry {
                        key: key.clone(),
                        origin: origin.clone(),
                        value: Node::table(origin.clone()),
                    });
                    entries.len() - 1
                });
                if rest.is_empty() {
                    entries[at].origin = origin.clone();
                }
                &mut entries[at].value
            }
            (Kind::Array(items), Step::Index(index)) => items.get_mut(*index).ok_or(Blocked)?,
            (Kind::Array(items), Step::Key(key)) => {
                let index: usize = key.parse().map_err(|_| Blocked)?;
                items.get_mut(index).ok_or(Blocked)?
            }
            (Kind::Table(_), Step::Index(_))
            | (
                Kind::Bool(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Text(_) | Kind::Raw(_),
                Step::Key(_) | Step::Index(_),
            ) => return Err(Blocked),
        };
        child.overlay(rest, text, origin)
    }
}

/// A key cannot be set because a value stands in its way.
#[derive(Debug)]
pub(super) struct Blocked;

/// Reads a file's text. What can be read is returned beside the problems.
pub(super) fn parse(path: &FilePath, text: &str) -> (Node, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(path, text);
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let origin = lines.origin(&span);
        // Recovery reports follow-on errors of the same line; the first one is the cause.
        if !problems.iter().any(|it| same_line(&it.origin, &origin)) {
            problems.push(Problem {
                origin,
                key: String::new(),
                message: told(text, &span, error.message()),
                suggestion: None,
            });
        }
    }
    let (span, table) = (table.span(), table.into_inner());
    let origin = lines.origin(&span);
    let mut root = Node::table(origin);
    root.kind = lines.table(table);
    (root, problems)
}

/// A parser's message in one line. A value not written yet is the most common half-written line, and what the
/// parser then expects does not say so.
fn told(text: &str, span: &Range<usize>, message: &str) -> String {
    let before = text.get(..span.start).unwrap_or_default();
    let after = text.get(span.start..).unwrap_or_default();
    let line_ends = after
        .trim_start_matches([' ', '\t', '\r'])
        .starts_with(['\n', '#']);
    if before.trim_end_matches([' ', '\t']).ends_with('=') && (line_ends || after.trim().is_empty())
    {
        return "the value after `=` is missing".to_owned();
    }
    let message = message.replace('\n', ", ");
    let unquoted = message.strip_suffix(", expected literal string");
    unquoted.unwrap_or(&message).to_owned()
}

/// Reads a variable's or flag's text as a TOML value, or as plain text where it is none.
pub(super) fn interpret(text: &str, origin: &Origin) -> Node {
    let kind = match DeValue::parse(text.trim()) {
        Ok(value) => Lines::nowhere(origin).value(value).kind,
        Err(_) => Kind::Text(text.to_owned()),
    };
    Node {
        kind,
        origin: origin.clone(),
    }
}

pub(super) fn same_line(a: &Origin, b: &Origin) -> bool {
    let line = |origin: &Origin| match origin {
        Origin::File { line, .. } => Some(*line),
        Origin::WholeFile(_) | Origin::Env(_) | Origin::Flag(_) | Origin::Default => None,
    };
    line(a).is_some() && line(a) == line(b)
}

/// Turns byte offsets into places.
struct Lines<'a> {
    place: Place<'a>,
}

enum Place<'a> {
    File {
        path: &'a FilePath,
        text: &'a str,
        /// Offsets at which lines begin.
        starts: Vec<usize>,
    },
    /// A text that has no lines of its own.
    Fixed(&'a Origin),
}

impl<'a> Lines<'a> {
    fn new(path: &'a FilePath, text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Lines {
            place: Place::File { path, text, starts },
        }
    }

    fn nowhere(origin: &'a Origin) -> Self {
        Lines {
            place: Place::Fixed(origin),
        }
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        let (path, text, starts) = match &self.place {
            Place::Fixed(origin) => return (*origin).clone(),
            Place::File { path, text, starts } => (path, text, starts),
        };
        let offset = span.start.min(text.len());
        let line = starts.partition_point(|start| *start <= offset).max(1);
        let before = text.get(starts[line - 1]..offset).unwrap_or_default();
        Origin::File {
            path: path.to_path_buf(),
            line,
            column: before.chars().count() + 1,
        }
    }

    fn table(&self, table: DeTable<'_>) -> Kind {
        let entries = table.into_iter().map(|(key, value)| Entry {
            origin: self.origin(&key.span()),
            key: key.into_inner().into_owned(),
            value: self.value(value),
        });
        Kind::Table(entries.collect())
    }

    fn value(&self, value: Spanned<DeValue<'_>>) -> Node {
        let origin = self.origin(&value.span());
        let kind = match value.into_inner() {
            DeValue::String(text) => Kind::Text(text.into_owned()),
            DeValue::Boolean(truth) => Kind::Bool(truth),
            DeValue::Datetime(datetime) => Kind::Text(datetime.to_string()),
            // A number that fits nothing stays a text, so that whoever wanted a number says so.
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Kind::Integer(number),
                    Err(_) => Kind::Text(number.to_string()),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Kind::Float(number),
                Err(_) => Kind::Text(number.to_string()),
            },
            DeValue::Array(items) => {
                Kind::Array(items.into_iter().map(|item| self.value(item)).collect())
            }
            DeValue::Table(table) => self.table(table),
        };
        Node { kind, origin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_what_they_parse() {
        for dotted in [
            "a",
            "a.b_c",
            "sinks[0].url",
            "kafka.properties.\"sasl.username\"",
            "a[1][2]",
            "",
        ] {
            assert_eq!(Path::parse(dotted).to_string(), dotted);
        }
    }

    #[test]
    fn places_count_characters_and_lines_from_one() {
        let text = "a = 1\n\"ü\" = { b = true }\n";
        let (root, problems) = parse(FilePath::new("x.toml"), text);
        assert!(problems.is_empty());
        let (node, _) = root.find(&Path::parse("\"ü\".b")).unwrap();
        assert_eq!(node.origin.to_string(), "x.toml:2:13");
        let (_, key) = root.find(&Path::parse("a")).unwrap();
        assert_eq!(key.to_string(), "x.toml:1:1");
    }
}
