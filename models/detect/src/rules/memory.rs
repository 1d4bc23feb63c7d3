//! Memory runaway: memory that cannot be given back grows towards the limit and does not fall back.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerName, Metric, Ratio, Severity, Steady};

use super::confidence;
use super::trend::{Trend, push, trend};
use crate::baseline::Baseline;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{bytes, duration, percent};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 2,
    of: 3,
    calm: 20,
};

/// The quick window: a leak that fills the limit within a minute. Six samples.
const QUICK_SAMPLES: usize = 6;
const QUICK_HORIZON: Duration = Duration::from_secs(60);
/// Programs fill their heap as they start; the quick window does not judge that.
const QUICK_AFTER: Duration = Duration::from_secs(20);
/// The slow window: a leak that fills the limit within ten minutes. Two minutes, one value each five seconds.
const SLOW_SAMPLES: usize = 24;
const SLOW_STEP: Duration = Duration::from_secs(5);
const SLOW_HORIZON: Duration = Duration::from_secs(600);
/// Below this share of the limit there is time to look again.
const USED_MIN: f64 = 0.60;
/// … unless the limit is hit before anybody could act.
const USED_IMMINENT: f64 = 0.40;
const IMMINENT: Duration = Duration::from_secs(10);
/// From this share on any steady rise counts.
const USED_CRITICAL: f64 = 0.90;
const USED_CALM: f64 = 0.85;
/// A window must have grown by this share of the limit.
const GROWTH_MIN: f64 = 0.02;
/// A fall by this share of the limit, without a restart, shows that what was reached before it is part of a cycle …
const FALL_MIN: f64 = 0.10;
/// … and only what exceeds that by this factor is new.
const BEYOND_CYCLE: f64 = 1.05;

/// The recent memory of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Growth {
    quick: VecDeque<(Steady, f32)>,
    slow: VecDeque<(Steady, f32)>,
    /// Highest since the last fall.
    peak: f64,
    /// Highest of the peaks that were followed by a fall of their own.
    cycle_peak: f64,
}

impl Growth {
    /// Takes a value.
    pub(crate) fn advance(&mut self, run: Steady, value: f64, limit: f64) {
        if value < self.peak - FALL_MIN * limit {
            self.cycle_peak = self.cycle_peak.max(self.peak);
            self.peak = value;
            self.quick.clear();
            self.slow.clear();
        }
        self.peak = self.peak.max(value);
        push(&mut self.quick, QUICK_SAMPLES, run, value);
        let due = self
            .slow
            .back()
            .is_none_or(|(last, _)| run.since(*last) >= SLOW_STEP);
        if due {
            push(&mut self.slow, SLOW_SAMPLES, run, value);
        }
    }

    /// Forgets the run before: a restart is no fall of its own.
    pub(crate) fn forget(&mut self) {
        *self = Growth {
            cycle_peak: self.cycle_peak,
            ..Growth::default()
        };
    }

    /// Judges the newest value.
    pub(crate) fn read(&self, now: &Memory<'_>) -> Reading {
        let used = now.bytes / now.limit_bytes;
        let left = (now.limit_bytes - now.bytes).max(0.0);
        let quick = trend(&self.quick, QUICK_SAMPLES);
        let slow = trend(&self.slow, SLOW_SAMPLES / 2);
        let in_cycle = now.bytes < self.cycle_peak * BEYOND_CYCLE && used < USED_CRITICAL;
        let grown_up = now.uptime.is_none_or(|uptime| uptime >= QUICK_AFTER);
        let hits = |trend: &Option<Trend>, horizon: Duration| {
            let rise = trend.as_ref()?;
            if rise.per_second <= 0.0 || rise.grown < GROWTH_MIN * now.limit_bytes {
                return None;
            }
            let to_limit = Duration::from_secs_f64((left / rise.per_second).min(1e9));
            (to_limit <= horizon).then_some((rise.per_second, to_limit))
        };
        let near = used >= USED_CRITICAL;
        let soonest = if (grown_up && !in_cycle) || near {
            hits(&quick, QUICK_HORIZON).or_else(|| hits(&slow, SLOW_HORIZON))
        } else {
            None
        };
        let soonest = soonest.filter(|(_, to_limit)| {
            used >= USED_MIN || (used >= USED_IMMINENT && *to_limit <= IMMINENT)
        });
        match soonest {
            Some((rate, to_limit)) => Reading::Violates(finding(now, used, rate, to_limit)),
            None if used >= USED_CALM => Reading::Between,
            None => Reading::Normal,
        }
    }
}

/// What a judgement needs to know of the newest sample.
pub(crate) struct Memory<'a> {
    pub(crate) name: &'a ContainerName,
    pub(crate) metric: Metric,
    pub(crate) bytes: f64,
    pub(crate) limit_bytes: f64,
    pub(crate) uptime: Option<Duration>,
    pub(crate) usual: &'a Baseline,
}

fn finding(now: &Memory<'_>, used: f64, rate: f64, to_limit: Duration) -> Finding {
    let soon = used >= USED_CRITICAL || to_limit <= QUICK_HORIZON;
    Finding {
        severity: if soon {
            Severity::Critical
        } else {
            Severity::Warning
        },
        score: Ratio::saturating(now.usual.score(now.bytes)),
        confidence: confidence(now.usual.samples()),
        reason: format!(
            "{} uses {} of its memory limit of {} and grows by {}/s; it hits the limit in about {}",
            now.name,
            percent(used),
            bytes(now.limit_bytes),
            bytes(rate),
            duration(to_limit),
        ),
        proofs: vec![
            Proof::of(
                now.metric,
                "bytes",
                now.bytes,
                (0.0, USED_MIN * now.limit_bytes),
            ),
            Proof::derived(
                "memory_growth_bytes_per_second",
                "bytes/s",
                rate,
                (0.0, 0.0),
            ),
            Proof::derived(
                "time_to_memory_limit_seconds",
                "s",
                to_limit.as_secs_f64(),
                (SLOW_HORIZON.as_secs_f64(), 1e9),
            ),
        ],
    }
}
