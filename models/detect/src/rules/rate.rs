//! A rate against the usual one: the rule that error logs, log storms and counted errors share.

use serde::{Deserialize, Serialize};
use units::{Confidence, Ratio};

use super::confidence;
use crate::baseline::Baseline;
use crate::gate::Reading;

/// A rate is at least so many spreads above the usual one.
const DISTANCE_MIN: f64 = 5.0;
/// Least spread of log lines, in lines a second.
const SPREAD_MIN: f64 = 0.5;

/// From where on a rate is too high.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// At least this many a second …
    pub(crate) rate_min: f64,
    /// … and this many times the usual rate.
    pub(crate) times_usual_min: f64,
}

/// What is usual for a rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UsualRate {
    usual: Baseline,
}

/// A rate that is too high.
pub(crate) struct TooHigh {
    /// The usual one.
    pub(crate) level: f64,
    /// The least that is too high.
    pub(crate) floor: f64,
    pub(crate) score: Ratio,
    pub(crate) confidence: Confidence,
}

impl Default for UsualRate {
    fn default() -> Self {
        UsualRate {
            usual: Baseline::new(SPREAD_MIN),
        }
    }
}

impl UsualRate {
    /// One whose spread is at least this much a second.
    pub(crate) fn with_spread(least: f64) -> Self {
        UsualRate {
            usual: Baseline::new(least),
        }
    }

    /// The same expectation with little weight.
    pub(crate) fn as_prior(&self) -> Self {
        UsualRate {
            usual: self.usual.as_prior(),
        }
    }

    /// Judges a rate; one that is not too high gives what else is to be said of it.
    pub(crate) fn judge(&self, rate: f64, bounds: Bounds) -> Result<TooHigh, Reading> {
        let level = self.usual.level().ok_or(Reading::Unknown)?;
        let floor = bounds.rate_min.max(bounds.times_usual_min * level);
        if rate < floor / 2.0 {
            return Err(Reading::Normal);
        }
        if rate < floor || self.usual.distance(rate) < DISTANCE_MIN {
            return Err(Reading::Between);
        }
        Ok(TooHigh {
            level,
            floor,
            score: Ratio::saturating(self.usual.score(rate)),
            confidence: confidence(self.usual.samples()),
        })
    }

    /// Learns a rate.
    pub(crate) fn learn(&mut self, rate: f64) {
        self.usual.learn(rate);
    }
}
