//! What serde could not read, kept apart by kind so that it can be told with a place and a suggestion.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::tree::Path;

/// What serde could not read.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: What,
    /// The nearest value that serde was reading.
    pub(super) at: Option<Path>,
}

#[derive(Debug)]
pub(super) enum What {
    UnknownKey(String, &'static [&'static str]),
    /// The value as it is shown, a text in quotes.
    UnknownChoice(String, &'static [&'static str]),
    MissingKey(&'static str),
    /// What was wanted and what was found, each in words.
    WrongValue(String, String),
    WrongLength(String),
    Other(String),
}

impl Fault {
    pub(super) fn at(mut self, path: &Path) -> Self {
        self.at.get_or_insert_with(|| path.clone());
        self
    }
}

impl From<What> for Fault {
    fn from(what: What) -> Self {
        Fault { what, at: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::UnknownKey(key, _) => write!(f, "unknown key `{key}`"),
            What::UnknownChoice(choice, _) => write!(f, "unknown value {choice}"),
            What::MissingKey(key) => write!(f, "missing key `{key}`"),
            What::WrongValue(want, have) => write!(f, "expected {want}, found {have}"),
            What::WrongLength(message) | What::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        What::Other(message.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        What::WrongValue(want(expected), have(found)).into()
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        What::WrongValue(want(expected), have(found)).into()
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        What::WrongLength(format!(
            "expected {}, found {length} values",
            want(expected)
        ))
        .into()
    }

    fn unknown_variant(found: &str, choices: &'static [&'static str]) -> Self {
        What::UnknownChoice(format!("\"{found}\""), choices).into()
    }

    fn unknown_field(found: &str, keys: &'static [&'static str]) -> Self {
        What::UnknownKey(found.to_owned(), keys).into()
    }

    fn missing_field(key: &'static str) -> Self {
        What::MissingKey(key).into()
    }
}

/// Serde names Rust types; an operator reads words.
fn want(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    match expected.as_str() {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other if other.starts_with("a nonzero") => format!("{other}, not zero"),
        other => other.to_owned(),
    }
}

fn have(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(truth) => format!("{truth}"),
        Unexpected::Unsigned(number) => format!("{number}"),
        Unexpected::Signed(number) => format!("{number}"),
        Unexpected::Float(number) => format!("{number}"),
        Unexpected::Str(text) => format!("\"{text}\""),
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}
