//! The label by which a container says where it serves its metrics.

use std::fmt;
use std::num::NonZeroU16;

/// The label's name.
pub const LABEL_SCRAPE: &str = "io.homeostat.scrape";
/// The path where none is written.
pub const PATH_DEFAULT: &str = "/metrics";
/// Pages of one container. More are an error, and the container is not scraped until it is mended.
pub const TARGETS_MAX: usize = 8;
/// Bytes of a path with its query. A longer one is an error.
pub const PATH_BYTES_MAX: usize = 1_024;

/// A page that a container serves, at its own address: a label cannot make a collector call anything else.
///
/// Displayed as it may be written in the label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    port: NonZeroU16,
    path: String,
}

/// What is wrong with the label's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The value, or what is between two commas, is empty.
    #[error("{LABEL_SCRAPE}: an entry is empty; write :9100/metrics, or take the label away")]
    Empty,
    /// A host or scheme is written.
    #[error(
        "{LABEL_SCRAPE}: {entry:?} names the host {host:?}, but only the container's own address is scraped; write :9100/metrics"
    )]
    Host {
        /// What is written between commas.
        entry: String,
        /// What stands before the port.
        host: String,
    },
    /// The port is missing or none.
    #[error(
        "{LABEL_SCRAPE}: {entry:?} has no port from 1 to 65535 at its front; write :9100/metrics"
    )]
    Port {
        /// What is written between commas.
        entry: String,
    },
    /// The path has characters that a request cannot hold, or too many.
    #[error(
        "{LABEL_SCRAPE}: the path of {entry:?} is longer than {PATH_BYTES_MAX} bytes, or has blanks, # or characters beyond ASCII; write those as %20 and the like"
    )]
    Path {
        /// What is written between commas.
        entry: String,
    },
    /// A page is there more than once.
    #[error("{LABEL_SCRAPE}: {target} is there more than once; leave one out")]
    Twice {
        /// The page.
        target: Target,
    },
    /// There are more than [`TARGETS_MAX`].
    #[error("{LABEL_SCRAPE}: has {count} entries; leave at most {TARGETS_MAX}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// Reads the value of the label: `:9100/metrics`, `:9100` or `9100/metrics`, several separated by commas (write a comma in a path
/// as `%2C`).
///
/// # Errors
/// All that is wrong, in order; at most one for each entry up to [`TARGETS_MAX`].
pub fn targets(value: &str) -> Result<Vec<Target>, Vec<TargetError>> {
    let count = value.split(',').count();
    if count > TARGETS_MAX {
        return Err(vec![TargetError::TooMany { count }]);
    }
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for entry in value.split(',') {
        match entry.trim().parse::<Target>() {
            Ok(target) if found.contains(&target) => errors.push(TargetError::Twice { target }),
            Ok(target) => found.push(target),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(found)
    } else {
        Err(errors)
    }
}

impl Target {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// The path with its query: begins with `/` and holds only what the first line of a request may.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, ":{}{}", self.port, self.path)
    }
}

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.is_empty() {
            return Err(TargetError::Empty);
        }
        let entry = || shortened(text);
        // What stands before `://` is a scheme, and a host follows it.
        let behind_scheme = text
            .split_once("://")
            .filter(|(scheme, _)| !scheme.contains('/'));
        let address = behind_scheme.map_or(text, |(_, behind)| behind);
        let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
        let (host, port) = authority.rsplit_once(':').unwrap_or(("", authority));
        if behind_scheme.is_some() || !host.is_empty() {
            let host = if host.is_empty() { authority } else { host };
            let host = shortened(host);
            return Err(TargetError::Host {
                entry: entry(),
                host,
            });
        }
        // The standard parser takes a sign too.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits);
        let port = port.ok_or_else(|| TargetError::Port { entry: entry() })?;
        if path.len() > PATH_BYTES_MAX
            || path
                .bytes()
                .any(|byte| !byte.is_ascii_graphic() || byte == b'#')
        {
            return Err(TargetError::Path { entry: entry() });
        }
        let path = if path.is_empty() { PATH_DEFAULT } else { path };
        Ok(Self {
            port,
            path: path.to_owned(),
        })
    }
}

/// Labels may be of any length; a message is not.
fn shortened(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &str) -> Vec<String> {
        targets(value)
            .unwrap()
            .iter()
            .map(Target::to_string)
            .collect()
    }

    #[test]
    fn every_way_to_write_a_page_is_read() {
        assert_eq!(written(":9100/metrics"), [":9100/metrics"]);
        assert_eq!(written(":9100"), [":9100/metrics"]);
        assert_eq!(
            written("9100/actuator?format=text"),
            [":9100/actuator?format=text"]
        );
        assert_eq!(written(" 1/ , :65535/a//b:c"), [":1/", ":65535/a//b:c"]);
    }

    #[test]
    fn a_host_is_refused_in_every_disguise() {
        for value in [
            "web:9100/metrics",
            "http://web:9100/metrics",
            "http://web/metrics",
            "http://:9100",
            "10.0.0.1:80",
            "[::1]:9100",
            "user@web:9100",
            "9100:9100",
        ] {
            let errors = targets(value).unwrap_err();
            assert!(
                matches!(errors[..], [TargetError::Host { .. }]),
                "{value}: {errors:?}"
            );
        }
        assert_eq!(
            targets("web:9100").unwrap_err()[0].to_string(),
            "io.homeostat.scrape: \"web:9100\" names the host \"web\", but only the container's own address is scraped; write :9100/metrics"
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let entry = |text: &str| text.to_owned();
        let errors = targets(":0,,/metrics,localhost,:+1,:65536,:1/a b,:1/é").unwrap_err();
        assert_eq!(
            errors,
            [
                TargetError::Port { entry: entry(":0") },
                TargetError::Empty,
                TargetError::Port {
                    entry: entry("/metrics")
                },
                TargetError::Port {
                    entry: entry("localhost")
                },
                TargetError::Port {
                    entry: entry(":+1")
                },
                TargetError::Port {
                    entry: entry(":65536")
                },
                TargetError::Path {
                    entry: entry(":1/a b")
                },
                TargetError::Path {
                    entry: entry(":1/é")
                },
            ]
        );
        let errors = targets(":1,1/metrics").unwrap_err();
        assert!(matches!(&errors[..], [TargetError::Twice { target }] if target.port() == 1));
        let many = [":1"; TARGETS_MAX + 1].join(",");
        let count = TARGETS_MAX + 1;
        assert_eq!(targets(&many), Err(vec![TargetError::TooMany { count }]));
        let long = format!(":1/{}", "a".repeat(PATH_BYTES_MAX));
        assert!(targets(&long).unwrap_err()[0].to_string().len() < 300);
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_refused_and_what_is_read_is_safe_in_a_request(value in "[0-9:/,#?a \r\né@]{0,16}|.{0,16}") {
            for target in targets(&value).into_iter().flatten() {
                prop_assert!(target.path().starts_with('/'));
                prop_assert!(target.path().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
            }
        }
    }
}
