//! Error logs: lines of level error or worse, per second of event time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerName, LogLine, Ratio, Severity};

use super::confidence;
use crate::baseline::Baseline;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::logs::{Risen, Second};
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

/// What is usual for the error lines of one container, and the last of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErrorRate {
    example: Option<String>,
    usual: Baseline,
}

impl Default for ErrorRate {
    fn default() -> Self {
        ErrorRate {
            example: None,
            usual: Baseline::new(0.5),
        }
    }
}

impl ErrorRate {
    /// Keeps an error line as the example.
    pub(crate) fn remember(&mut self, line: &LogLine) {
        self.example = Some(excerpt(&line.text));
    }

    /// Judges a closed second. `risen` finds the template of errors whose rate rose most.
    pub(crate) fn read(
        &self,
        name: &ContainerName,
        second: &Second,
        lasting: Duration,
        risen: impl FnOnce() -> Option<Risen>,
    ) -> Reading {
        let Some(level) = self.usual.level() else {
            return Reading::Unknown;
        };
        let floor = RATE_MIN.max(TIMES_USUAL_MIN * level);
        if second.errors < floor / 2.0 {
            return Reading::Normal;
        }
        if second.errors < floor || self.usual.distance(second.errors) < DISTANCE_MIN {
            return Reading::Between;
        }
        let risen = risen();
        let example = match (&risen, &self.example) {
            (Some(risen), _) => risen.clause(),
            (None, Some(last)) => format!("the last: {last}"),
            (None, None) => String::new(),
        };
        let mut proofs = vec![Proof::derived(
            "error_lines_per_second",
            "lines/s",
            second.errors,
            (0.0, floor),
        )];
        proofs.extend(risen.map(|risen| risen.proof(TIMES_USUAL_MIN)));
        Reading::Violates(Finding {
            severity: Severity::Warning,
            score: Ratio::saturating(self.usual.score(second.errors)),
            confidence: confidence(self.usual.samples()),
            reason: format!(
                "{name} logs {} error lines/s for {}, usually {}; {example}",
                number(second.errors),
                duration(lasting),
                number(level),
            ),
            proofs,
        })
    }

    /// Learns a closed second.
    pub(crate) fn learn(&mut self, second: &Second) {
        self.usual.learn(second.errors);
    }

    /// Takes what is so now for usual.
    pub(crate) fn relearn(&mut self) {
        self.usual = ErrorRate::default().usual;
    }
}
