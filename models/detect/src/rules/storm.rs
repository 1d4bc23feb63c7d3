//! Log storm: far more lines a second than usual, of whatever level.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerName, Ratio};

use super::confidence;
use crate::baseline::Baseline;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::logs::{Risen, Second, severity};
use crate::text::{duration, number};

/// A burst of a few seconds is no storm: programs start, end and list things.
pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 5,
    of: 8,
    calm: 10,
};

/// At least this many lines a second …
const RATE_MIN: f64 = 50.0;
/// … and this many times the usual rate …
const TIMES_USUAL_MIN: f64 = 8.0;
/// … and this many spreads above it.
const DISTANCE_MIN: f64 = 5.0;
/// Until then it may be a job that comes and goes.
const WARNING_AFTER: Duration = Duration::from_secs(15);

/// What is usual for the lines of one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LineRate {
    usual: Baseline,
}

impl Default for LineRate {
    fn default() -> Self {
        LineRate {
            usual: Baseline::new(0.5),
        }
    }
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
        let Some(level) = self.usual.level() else {
            return Reading::Unknown;
        };
        let floor = RATE_MIN.max(TIMES_USUAL_MIN * level);
        if second.lines < floor / 2.0 {
            return Reading::Normal;
        }
        if second.lines < floor || self.usual.distance(second.lines) < DISTANCE_MIN {
            return Reading::Between;
        }
        let risen = risen();
        let most = risen
            .as_ref()
            .map_or_else(String::new, |risen| format!("; {}", risen.clause()));
        let mut proofs = vec![Proof::derived(
            "log_lines_per_second",
            "lines/s",
            second.lines,
            (0.0, floor),
        )];
        proofs.extend(risen.map(|risen| risen.proof(TIMES_USUAL_MIN)));
        Reading::Violates(Finding {
            severity: severity(lasting, WARNING_AFTER),
            score: Ratio::saturating(self.usual.score(second.lines)),
            confidence: confidence(self.usual.samples()),
            reason: format!(
                "{name} logs {} lines/s for {}, usually {}{most}",
                number(second.lines),
                duration(lasting),
                number(level),
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
