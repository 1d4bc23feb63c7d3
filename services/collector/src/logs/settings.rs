//! Sections `[collector.log]` and `[collector.spool]`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use formats::log::limit::Limits;
use formats::log::redact::{self, RedactError, Redactor, Rules};
use kit::config::{HumanDuration, Invalid, Validate};
use serde::{Deserialize, Serialize};
use spool::LimitsError;

use super::lines::{Multiline, Treatment};
use crate::sources::Switch;

/// A quiet container may write at once what it may write in so many seconds.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");
const SAMPLES_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
const LOGS_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;
const SPOOL_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// A segment is a part of the spool: what is dropped at once when it is full.
const SEGMENTS: u64 = 64;
const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
const SPOOL_AGE_DEFAULT_SECS: u64 = 6 * 60 * 60;
const SPOOL_AGE_MIN: Duration = Duration::from_secs(60);

/// Where logs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogsFrom {
    /// From the engine's files, where the driver keeps any, and over its API elsewhere.
    Files,
    /// Over the engine's API, all of them: where its files may not be read.
    Api,
}

/// Section `[collector.log]`: what is done to log lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Where logs are read.
    pub from: LogsFrom,
    /// Whether tokens, keys and passwords are replaced before a line leaves the node.
    pub redact_secrets: Switch,
    /// Whether e-mail addresses are.
    pub redact_emails: Switch,
    /// Whether numbers of payment cards are.
    pub redact_cards: Switch,
    /// Regular expressions of what else is.
    pub redact_patterns: Vec<String>,
    /// Whether the lines of a stack trace are sent as one.
    pub multiline: Switch,
    /// Lines a second of one container; those beyond it are dropped and counted. Absent: no limit.
    pub lines_per_second: Option<NonZeroU32>,
    /// Bytes of text a second of one container, likewise.
    pub bytes_per_second: Option<NonZeroU32>,
}

/// Section `[collector.spool]`: what waits on disk while the log is away. It is in `spool` under `state_dir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolConfig {
    /// Bytes of samples, series and events on disk; beyond them the oldest are dropped and counted.
    pub samples_bytes_max: u64,
    /// Bytes of log lines on disk; likewise.
    pub logs_bytes_max: u64,
    /// What is older is dropped and counted.
    pub age_max: HumanDuration,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            from: LogsFrom::Files,
            redact_secrets: Switch::On,
            redact_emails: Switch::Off,
            redact_cards: Switch::Off,
            redact_patterns: Vec::new(),
            multiline: Switch::On,
            lines_per_second: None,
            bytes_per_second: None,
        }
    }
}

impl Default for SpoolConfig {
    fn default() -> Self {
        SpoolConfig {
            samples_bytes_max: SAMPLES_BYTES_DEFAULT,
            logs_bytes_max: LOGS_BYTES_DEFAULT,
            age_max: HumanDuration::from_secs(SPOOL_AGE_DEFAULT_SECS),
        }
    }
}

impl LogConfig {
    /// How lines are treated.
    ///
    /// # Errors
    /// When a pattern cannot be used.
    pub(super) fn treatment(&self) -> Result<Treatment, RedactError> {
        let limited = self.lines_per_second.or(self.bytes_per_second).is_some();
        Ok(Treatment {
            multiline: match self.multiline {
                Switch::On => Multiline::Merge,
                Switch::Off => Multiline::Apart,
            },
            limits: limited.then_some(Limits {
                lines: self.lines_per_second,
                bytes: self.bytes_per_second,
                burst_seconds: BURST_SECONDS,
            }),
            redactor: Arc::new(Redactor::new(&self.rules(self.redact_patterns.clone()))?),
        })
    }

    fn rules(&self, extra: Vec<String>) -> Rules {
        let switch = |it| match it {
            Switch::On => redact::Switch::On,
            Switch::Off => redact::Switch::Off,
        };
        Rules {
            secrets: switch(self.redact_secrets),
            emails: switch(self.redact_emails),
            cards: switch(self.redact_cards),
            extra,
        }
    }
}

impl Validate for LogConfig {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        for (index, pattern) in self.redact_patterns.iter().enumerate() {
            if let Err(error) = Redactor::new(&self.rules(vec![pattern.clone()])) {
                let key = format!("redact_patterns[{index}]");
                problems.push(
                    Invalid::new(key, kit::boot::chain(&error))
                        .suggest("write a regular expression such as \"ID-[0-9]{8}\""),
                );
            }
        }
        if self.redact_patterns.len() > redact::EXTRA_MAX {
            let message = format!("{} patterns are too many", self.redact_patterns.len());
            let suggestion = format!(
                "join some with |, so that there are at most {}",
                redact::EXTRA_MAX
            );
            problems.push(Invalid::new("redact_patterns", message).suggest(suggestion));
        }
        problems
    }
}

impl SpoolConfig {
    /// The bounds of the spool of samples, series and events.
    ///
    /// # Errors
    /// When they cannot hold.
    pub(crate) fn sample_limits(&self) -> Result<spool::Limits, LimitsError> {
        self.limits(self.samples_bytes_max)
    }

    /// The bounds of the spool of log lines.
    ///
    /// # Errors
    /// When they cannot hold.
    pub(super) fn log_limits(&self) -> Result<spool::Limits, LimitsError> {
        self.limits(self.logs_bytes_max)
    }

    fn limits(&self, bytes_max: u64) -> Result<spool::Limits, LimitsError> {
        let segment = (bytes_max / SEGMENTS).clamp(spool::SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        spool::Limits::new(bytes_max, self.age_max.get(), segment)
    }
}

impl Validate for SpoolConfig {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        let age = self.age_max.get();
        if age < SPOOL_AGE_MIN {
            let message = format!("{} is shorter than any outage", self.age_max);
            problems.push(Invalid::new("age_max", message).suggest("write 1m or more, such as 6h"));
        }
        let sizes = [
            ("samples_bytes_max", self.samples_bytes_max),
            ("logs_bytes_max", self.logs_bytes_max),
        ];
        for (key, bytes) in sizes {
            let fits =
                bytes >= SPOOL_BYTES_MIN && (age < SPOOL_AGE_MIN || self.limits(bytes).is_ok());
            if !fits {
                let message = format!("{bytes} bytes are too few or too many for a spool");
                problems.push(
                    Invalid::new(key, message)
                        .suggest("write 4194304 (4 MiB) to 274877906944 (256 GiB)"),
                );
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_can_be_made() {
        assert!(LogConfig::default().problems().is_empty());
        assert!(SpoolConfig::default().problems().is_empty());
        assert!(LogConfig::default().treatment().unwrap().limits.is_none());
        SpoolConfig::default().log_limits().unwrap();
        SpoolConfig::default().sample_limits().unwrap();
    }

    #[test]
    fn each_mistake_is_named_with_its_key() {
        let log = LogConfig {
            redact_patterns: vec!["ID-[0-9]+".to_owned(), "(".to_owned(), "x*".to_owned()],
            ..LogConfig::default()
        };
        let keys: Vec<_> = log.problems().into_iter().map(|it| it.key).collect();
        assert_eq!(keys, ["redact_patterns[1]", "redact_patterns[2]"]);
        let spool = SpoolConfig {
            samples_bytes_max: 1,
            logs_bytes_max: 1,
            age_max: HumanDuration::from_secs(1),
        };
        let keys: Vec<_> = spool.problems().into_iter().map(|it| it.key).collect();
        assert_eq!(keys, ["age_max", "samples_bytes_max", "logs_bytes_max"]);
        for bytes in [SPOOL_BYTES_MIN, 1 << 38] {
            let spool = SpoolConfig {
                logs_bytes_max: bytes,
                ..SpoolConfig::default()
            };
            assert!(spool.problems().is_empty(), "{bytes}");
        }
    }
}
