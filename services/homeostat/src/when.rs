//! Times on the command line.

use std::str::FromStr;
use std::time::Duration;

use kit::config::HumanDuration;
use units::Timestamp;

/// A time, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Then.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl When {
    /// The time itself.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(at) => at,
            When::Ago(ago) => now - ago,
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Ok(When::At(Timestamp::from_millis(instant.as_millisecond())));
        }
        match text.parse::<HumanDuration>() {
            Ok(ago) => Ok(When::Ago(ago.get())),
            Err(_) => Err(format!(
                "{text:?} is no time; write 2026-03-01T08:00:00Z, or how long ago, as 24h"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_how_long_ago() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let at = |text: &str| text.parse::<When>().map(|when| when.resolve(now));
        assert_eq!(at("2023-11-14T22:13:20Z"), Ok(now));
        assert_eq!(at("2023-11-14T23:13:20+01:00"), Ok(now));
        assert_eq!(at("90m"), Ok(now - Duration::from_secs(5_400)));
        assert!(at("yesterday").unwrap_err().contains("24h"));
    }
}
