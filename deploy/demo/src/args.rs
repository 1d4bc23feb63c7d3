//! The command line: `--name value` pairs, checked against the names a command knows.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// What is wrong with a command line, in words for the person who typed it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError(String);

impl UsageError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn unknown_command(command: &str) -> Self {
        if command.is_empty() {
            Self::new("a command is needed")
        } else {
            Self(format!("unknown command '{command}'"))
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The options of one command, in the order given.
#[derive(Debug)]
pub(crate) struct Options(Vec<(String, String)>);

impl Options {
    /// Reads `--name value` and `--name=value`; a name outside `known` is an error.
    pub(crate) fn parse(words: &[String], known: &[&str]) -> Result<Self, UsageError> {
        let mut pairs = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                return Err(UsageError(format!("unexpected argument '{word}'")));
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, words.next().cloned()),
            };
            if !known.contains(&name) {
                return Err(UsageError(format!("unknown option '--{name}'")));
            }
            let value =
                value.ok_or_else(|| UsageError(format!("option '--{name}' needs a value")))?;
            pairs.push((name.to_owned(), value));
        }
        Ok(Self(pairs))
    }

    /// Every value given for `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The last value given for `name`, or `default`.
    pub(crate) fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T, UsageError> {
        self.all(name).last().map_or(Ok(default), |text| {
            text.parse().map_err(|_| {
                UsageError(format!(
                    "option '--{name}': '{text}' is not a number in range"
                ))
            })
        })
    }

    /// The address given for `name` as `[IP]:PORT`, or every interface at `default_port`.
    pub(crate) fn address(&self, name: &str, default_port: u16) -> Result<SocketAddr, UsageError> {
        let Some(text) = self.all(name).last() else {
            return Ok(any_interface(default_port));
        };
        let parsed = match text.strip_prefix(':') {
            Some(port) => port.parse().ok().map(any_interface),
            None => text.parse().ok(),
        };
        parsed.ok_or_else(|| {
            UsageError(format!(
                "option '--{name}': '{text}' is not an address such as :8080"
            ))
        })
    }
}

fn any_interface(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read_in_both_spellings_and_may_repeat() {
        let options = Options::parse(&words("--target a:1=2 --target=b:2=3"), &["target"]).unwrap();
        assert_eq!(
            options.all("target").collect::<Vec<_>>(),
            ["a:1=2", "b:2=3"]
        );
    }

    #[test]
    fn unknown_and_incomplete_options_are_refused_by_name() {
        for (line, complaint) in [
            ("--burn 3", "unknown option '--burn'"),
            ("--burn-ms", "option '--burn-ms' needs a value"),
            ("burn-ms", "unexpected argument 'burn-ms'"),
        ] {
            let error = Options::parse(&words(line), &["burn-ms"]).unwrap_err();
            assert_eq!(error.to_string(), complaint);
        }
    }

    #[test]
    fn addresses_may_leave_out_the_interface() {
        let options = Options::parse(
            &words("--listen :81 --control 127.0.0.1:82"),
            &["listen", "control"],
        )
        .unwrap();
        assert_eq!(
            options.address("listen", 1).unwrap(),
            "0.0.0.0:81".parse().unwrap()
        );
        assert_eq!(
            options.address("control", 1).unwrap(),
            "127.0.0.1:82".parse().unwrap()
        );
        assert_eq!(
            options.address("other", 7).unwrap(),
            "0.0.0.0:7".parse().unwrap()
        );
        let wrong = Options::parse(&words("--listen here"), &["listen"]).unwrap();
        assert!(
            wrong
                .address("listen", 1)
                .unwrap_err()
                .to_string()
                .contains("'here'")
        );
    }

    #[test]
    fn numbers_outside_their_type_are_refused() {
        let options = Options::parse(&words("--burn-ms -3"), &["burn-ms"]).unwrap();
        assert!(options.number::<u64>("burn-ms", 8).is_err());
        assert_eq!(options.number::<u64>("other", 8), Ok(8));
    }
}
