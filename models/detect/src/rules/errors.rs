//! Error logs: lines of level error or worse, per second of event time.

use serde::{Deserialize, Serialize};
use units::{ContainerName, LogLine, LogSeverity, Ratio, Severity, Timestamp};

use super::{confidence, held};
use crate::baseline::Baseline;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{duration, excerpt, number};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 3,
    of: 5,
    calm: 10,
};

/// At least this many a second …
const RATE_MIN: f64 = 3.0;
/// … and this many times the usual rate …
const TIMES_USUAL_MIN: f64 = 4.0;
/// … and this many spreads above it.
const DISTANCE_MIN: f64 = 5.0;
/// Seconds that may be closed at once; after a longer silence the rest is skipped.
const CATCH_UP_MAX: i64 = 120;

/// Error lines of one container in the second that is being counted, and what is usual.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErrorRate {
    second: Option<i64>,
    count: u32,
    example: Option<String>,
    usual: Baseline,
    last: Option<(u64, Timestamp)>,
}

impl Default for ErrorRate {
    fn default() -> Self {
        ErrorRate {
            second: None,
            count: 0,
            example: None,
            usual: Baseline::new(0.5),
            last: None,
        }
    }
}

/// A second that has been counted.
pub(crate) struct Second {
    /// Its end.
    pub(crate) at: Timestamp,
    count: f64,
}

impl ErrorRate {
    /// Closes the seconds before `at`, oldest first.
    pub(crate) fn close_until(&mut self, at: Timestamp) -> Vec<Second> {
        let second = at.as_millis().div_euclid(1_000);
        let Some(current) = self.second else {
            self.second = Some(second);
            return Vec::new();
        };
        if second <= current {
            if current - second > CATCH_UP_MAX {
                // The clock stepped back: what is being counted would stay open until it is there again.
                self.second = Some(second);
                self.count = 0;
            }
            return Vec::new();
        }
        let from = current.max(second - CATCH_UP_MAX);
        let mut closed = Vec::new();
        for open in from..second {
            let count = if open == current {
                f64::from(self.count)
            } else {
                0.0
            };
            closed.push(Second {
                at: Timestamp::from_millis((open + 1) * 1_000),
                count,
            });
        }
        self.count = 0;
        self.second = Some(second);
        closed
    }

    /// Counts a line into the open second. One that was delivered twice counts once.
    pub(crate) fn count(&mut self, line: &LogLine) {
        let seen = self
            .last
            .is_some_and(|(sequence, at)| line.sequence <= sequence && line.at <= at);
        if seen {
            return;
        }
        self.last = Some((line.sequence, line.at));
        if line.severity < LogSeverity::Error {
            return;
        }
        self.count = self.count.saturating_add(1);
        self.example = Some(excerpt(&line.text));
    }

    /// Judges a closed second.
    pub(crate) fn read(&self, name: &ContainerName, second: &Second, since: Timestamp) -> Reading {
        let Some(level) = self.usual.level() else {
            return Reading::Unknown;
        };
        let floor = RATE_MIN.max(TIMES_USUAL_MIN * level);
        if second.count < floor / 2.0 {
            return Reading::Normal;
        }
        if second.count < floor || self.usual.distance(second.count) < DISTANCE_MIN {
            return Reading::Between;
        }
        let example = self.example.as_deref().unwrap_or("");
        Reading::Violates(Finding {
            severity: Severity::Warning,
            score: Ratio::saturating(self.usual.score(second.count)),
            confidence: confidence(self.usual.samples()),
            reason: format!(
                "{name} logs {} error lines/s for {}, usually {}; the last: {example}",
                number(second.count),
                duration(held(since, second.at)),
                number(level),
            ),
            proofs: vec![Proof::derived(
                "error_lines_per_second",
                "lines/s",
                second.count,
                (0.0, floor),
            )],
        })
    }

    /// Learns a closed second.
    pub(crate) fn learn(&mut self, second: &Second) {
        self.usual.learn(second.count);
    }

    /// Takes what is so now for usual.
    pub(crate) fn relearn(&mut self) {
        self.usual = ErrorRate::default().usual;
    }
}
