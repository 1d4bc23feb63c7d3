//! The name that a service goes by in its networks, read from a label such as `web`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name in a network that its containers share, as the engine's own DNS answers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkAlias(String);

impl NetworkAlias {
    /// Longest name that DNS takes (RFC 1035, 2.3.4).
    const LENGTH_MAX: usize = 253;
    /// Longest part of it between two dots.
    const PART_MAX: usize = 63;

    /// Reads the label's value; what is wrong with it, and what to write, otherwise.
    pub(crate) fn parse(text: &str) -> Result<NetworkAlias, &'static str> {
        let is_part = |part: &str| {
            let within = !part.is_empty() && part.len() <= Self::PART_MAX;
            within
                && part
                    .chars()
                    .all(|it| it.is_ascii_alphanumeric() || "-_".contains(it))
        };
        match text.len() <= Self::LENGTH_MAX && text.split('.').all(is_part) {
            true => Ok(NetworkAlias(text.to_owned())),
            false => Err("write the name that others in its networks call it by, such as web"),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_name_that_dns_takes() {
        for name in ["web", "shop_web-1", "web.internal"] {
            assert_eq!(NetworkAlias::parse(name).unwrap().as_str(), name);
        }
        let (long, longer) = ("w".repeat(64), "w.".repeat(127));
        for wrong in ["", "web.", "web shop", "web:80", "wéb", &long, &longer] {
            assert!(NetworkAlias::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
