//! Log storm: far more lines a second than usual, of whatever level.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::ContainerName;

use super::rate::{Bounds, UsualRate};
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::logs::{Risen, Second, severity};
use crate::text::{duration, number};

/// A burst of a few seconds is no storm: programs start, end and list things.
pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 5,
    of: 8,
    calm: 10,
};

const BOUNDS: Bounds = Bounds {
    rate_min: 50.0,
    times_usual_min: 8.0,
};
/// Until then it may be a job that comes and goes.
const WARNING_AFTER: Duration = Duration::from_secs(15);

/// What is usual for the lines of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LineRate {
    usual: UsualRate,
}

impl LineRate {
    /// The same expectation with little weight.
    pub(crate) fn as_prior(&self) -> Self {
        LineRate {
            usual: self.usual.as_prior(),
        }
    }

    /// Judges a closed second. `risen` finds the template whose rate rose most.
    pub(crate) fn read(
        &self,
        name: &ContainerName,
        second: &Second,
        lasting: Duration,
        risen: impl FnOnce() -> Option<Risen>,
    ) -> Reading {
        let high = match self.usual.judge(second.lines, BOUNDS) {
            Ok(high) => high,
            Err(reading) => return reading,
        };
        let risen = risen();
        let most = risen
            .as_ref()
            .map_or_else(String::new, |risen| format!("; {}", risen.clause()));
        let mut proofs = vec![Proof::derived(
            "log_lines_per_second",
            "lines/s",
            second.lines,
            (0.0, high.floor),
        )];
        proofs.extend(risen.map(|risen| risen.proof(BOUNDS.times_usual_min)));
        Reading::Violates(Finding {
            severity: severity(lasting, WARNING_AFTER),
            score: high.score,
            confidence: high.confidence,
            reason: format!(
                "{name} logs {} lines/s for {}, usually {}{most}",
                number(second.lines),
                duration(lasting),
                number(high.level),
            ),
            proofs,
        })
    }

    /// Learns a closed second.
    pub(crate) fn learn(&mut self, second: &Second) {
        self.usual.learn(second.lines);
    }

    /// Takes what is so now for usual.
    pub(crate) fn relearn(&mut self) {
        *self = LineRate::default();
    }
}
