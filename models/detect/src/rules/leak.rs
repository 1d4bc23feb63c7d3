//! Slow leak: memory climbs steadily, limit or not.
//!
//! A cache that fills looks just the same until it levels off, so a climb alone is worth knowing and no more: a warning gets
//! containers restarted. It matters where the node itself is short of memory and would have none left soon; near the limit of the
//! container [`super::memory`] speaks.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerName, Metric, Ratio, Severity, Steady};

use super::{confidence, trend};
use crate::baseline::Baseline;
use crate::gate::{Finding, Proof, Reading};
use crate::rules::node::{NodeStanding, Supply};
use crate::text::{bytes, duration};

/// The window: twenty seconds, one value each two.
const VALUES: usize = 11;
const STEP: Duration = Duration::from_secs(2);
/// The climb must be at least so fast, in bytes a second; below half of it there is none.
const SLOPE_MIN: f64 = 500_000.0;
/// Of all pairs of values, the later one is higher in so many more than it is lower, as a share (Kendall's tau against time:
/// Mann, "Nonparametric tests against trend", Econometrica 13, 1945).
const TAU_MIN: f64 = 0.85;
/// Both halves of the window must climb by this share of the whole's slope: a single step is no climb.
const HALF_MIN: f64 = 0.5;
/// Programs fill their heap and their caches as they start.
const WARM_UP: Duration = Duration::from_secs(60);
/// A fall by this share, without a restart, shows that what was reached before is part of a cycle; at least so many bytes.
const FALL_MIN: f64 = 0.10;
const FALL_BYTES_MIN: f64 = 4.0 * 1024.0 * 1024.0;
/// A node that is short of memory and will have none left within this time is near its end.
const NODE_HORIZON: Duration = Duration::from_secs(600);
/// Only what exceeds the cycle by this factor is new.
const BEYOND_CYCLE: f64 = 1.05;

/// The recent memory of one container, thinned out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Leak {
    window: VecDeque<(Steady, f32)>,
    /// Highest since the last fall.
    peak: f64,
    /// Highest of the peaks that were followed by a fall.
    cycle_peak: f64,
}

/// What a judgement needs to know of the newest sample.
pub(crate) struct Climb<'a> {
    pub(crate) name: &'a ContainerName,
    pub(crate) metric: Metric,
    pub(crate) bytes: f64,
    pub(crate) limit_bytes: Option<f64>,
    pub(crate) uptime: Option<Duration>,
    pub(crate) usual: &'a Baseline,
    pub(crate) node: NodeStanding,
    pub(crate) lasting: Duration,
}

impl Leak {
    /// Takes a value.
    pub(crate) fn advance(&mut self, run: Steady, value: f64) {
        if value < self.peak - (FALL_MIN * self.peak).max(FALL_BYTES_MIN) {
            self.cycle_peak = self.cycle_peak.max(self.peak);
            self.peak = value;
            self.window.clear();
        }
        self.peak = self.peak.max(value);
        let newest = self.window.back();
        if newest.is_some_and(|(last, _)| run.since(*last) < STEP) {
            return;
        }
        if self.window.len() == VALUES {
            self.window.pop_front();
        }
        self.window.push_back((run, value as f32));
    }

    /// Forgets the run before: a restart is no fall of its own.
    pub(crate) fn forget(&mut self) {
        *self = Leak {
            cycle_peak: self.cycle_peak,
            ..Leak::default()
        };
    }

    /// Judges the newest value.
    pub(crate) fn read(&self, now: &Climb<'_>) -> Reading {
        let warm = now.uptime.is_none_or(|uptime| uptime >= WARM_UP);
        if self.window.len() < VALUES || !warm {
            return Reading::Normal;
        }
        // Most containers do not climb at all, and are done with here.
        let ends = self.window.front().zip(self.window.back());
        let least = SLOPE_MIN / 4.0 * STEP.as_secs_f64() * (VALUES - 1) as f64;
        if ends.is_none_or(|(first, last)| f64::from(last.1 - first.1) < least) {
            return Reading::Normal;
        }
        let slope = trend::slope(self.window.iter().copied(), VALUES);
        if slope < SLOPE_MIN / 2.0 || now.bytes < self.cycle_peak * BEYOND_CYCLE {
            return Reading::Normal;
        }
        let half = VALUES / 2 + 1;
        let early = trend::slope(self.window.iter().take(half).copied(), half);
        let late = trend::slope(self.window.iter().skip(VALUES - half).copied(), half);
        let steady = early.min(late) >= HALF_MIN * slope;
        if slope < SLOPE_MIN || !steady || tau(&self.window) < TAU_MIN {
            return Reading::Between;
        }
        Reading::Violates(finding(now, slope))
    }
}

fn finding(now: &Climb<'_>, slope: f64) -> Finding {
    let limit = now.limit_bytes;
    let (left, until) = match (limit, now.node.memory_left) {
        (Some(limit), Some(left)) if left < limit - now.bytes => {
            (Some(left), "its node is out of memory")
        }
        (Some(limit), _) => (Some(limit - now.bytes), "it hits its limit"),
        (None, left) => (left, "its node is out of memory"),
    };
    let seconds = left.map(|left| (left.max(0.0) / slope).min(1e9));
    let node_left = now.node.memory_left.map(|left| left / slope);
    let short = now.node.memory == Supply::Short
        && node_left.is_some_and(|seconds| seconds <= NODE_HORIZON.as_secs_f64());
    let mut reason = format!(
        "{} holds {} of memory and has grown steadily by {}/s for {}",
        now.name,
        bytes(now.bytes),
        bytes(slope),
        duration(now.lasting + STEP * (VALUES as u32 - 1)),
    );
    if let Some(seconds) = seconds {
        let time = duration(Duration::from_secs_f64(seconds));
        reason.push_str(&format!("; at this pace {until} in about {time}"));
    }
    if short {
        reason.push_str("; the node is short of memory already");
    }
    let usual = (0.0, now.usual.range().1);
    let mut proofs = vec![
        Proof::derived(
            "memory_growth_bytes_per_second",
            "bytes/s",
            slope,
            (0.0, SLOPE_MIN),
        ),
        Proof::of(now.metric, "bytes", now.bytes, usual),
    ];
    if let Some(seconds) = seconds {
        let far = (Duration::from_secs(3_600).as_secs_f64(), 1e9);
        proofs.push(Proof::derived(
            "time_to_memory_exhausted_seconds",
            "s",
            seconds,
            far,
        ));
    }
    Finding {
        severity: match short {
            true => Severity::Warning,
            false => Severity::Info,
        },
        score: Ratio::saturating(now.usual.score(now.bytes)),
        confidence: confidence(now.usual.samples()),
        reason,
        proofs,
    }
}

fn tau(window: &VecDeque<(Steady, f32)>) -> f64 {
    let (mut balance, mut pairs) = (0i32, 0i32);
    for (index, (_, earlier)) in window.iter().enumerate() {
        for (_, later) in window.iter().skip(index + 1) {
            pairs += 1;
            balance += i32::from(later > earlier) - i32::from(later < earlier);
        }
    }
    f64::from(balance) / f64::from(pairs.max(1))
}
