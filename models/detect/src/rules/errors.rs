//! Error logs: lines of level error or worse, per second of event time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerName, LogLine, Severity};

use super::rate::{Bounds, UsualRate};
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::logs::{Risen, Second};
use crate::text::{duration, excerpt, number};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 3,
    of: 5,
    calm: 10,
};

const BOUNDS: Bounds = Bounds {
    rate_min: 3.0,
    times_usual_min: 4.0,
};

/// What is usual for the error lines of one container, and the last of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErrorRate {
    example: Option<String>,
    usual: UsualRate,
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
        let high = match self.usual.judge(second.errors, BOUNDS) {
            Ok(high) => high,
            Err(reading) => return reading,
        };
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
            (0.0, high.floor),
        )];
        proofs.extend(risen.map(|risen| risen.proof(BOUNDS.times_usual_min)));
        Reading::Violates(Finding {
            severity: Severity::Warning,
            score: high.score,
            confidence: high.confidence,
            reason: format!(
                "{name} logs {} error lines/s for {}, usually {}; {example}",
                number(second.errors),
                duration(lasting),
                number(high.level),
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
        self.usual = UsualRate::default();
    }
}
