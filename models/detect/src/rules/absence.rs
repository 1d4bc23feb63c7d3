//! Absence: samples of a running container still come, and what they always told is not in them any more.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Confidence, ContainerName, ContainerState, Metric, Ratio, Sample, Severity, Steady};

use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::duration;

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 3,
    of: 3,
    calm: 1,
};

/// Numbers that every running container has, read from different files.
const VITAL: [Metric; 2] = [Metric::CpuUsage, Metric::MemoryUsage];
/// They are missing after this many times what a whole sample may be late by: files are read again when a container starts.
const TIMES_LATE: u32 = 3;

/// Where none of them was ever read, that is told after this many times it: a container that has just started has none yet.
const TIMES_LATE_EVER: u32 = 6;

/// When each of them was read last; absent for one that never was, and before the first sample of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Absence {
    last: [Option<Steady>; VITAL.len()],
    since: Option<Steady>,
}

impl Absence {
    /// Takes a sample and judges it. `late` is how late a whole sample may be.
    pub(crate) fn read(&mut self, sample: &Sample, run: Steady, late: Duration) -> Reading {
        if sample.state != ContainerState::Running {
            *self = Absence::default();
            return Reading::Normal;
        }
        let since = *self.since.get_or_insert(run);
        let allowed = late * TIMES_LATE;
        let mut missing = Vec::new();
        for (last, metric) in self.last.iter_mut().zip(VITAL) {
            match (sample.metrics.get(metric), *last) {
                (Some(_), _) => *last = Some(run),
                (None, Some(last)) if run.since(last) >= allowed => {
                    missing.push((metric, run.since(last)));
                }
                (None, _) => {}
            }
        }
        // One alone may be what this kernel does not count.
        let never = self.last.iter().all(Option::is_none);
        if never && run.since(since) >= late * TIMES_LATE_EVER {
            missing.extend(VITAL.map(|metric| (metric, run.since(since))));
        }
        match missing.is_empty() {
            true => Reading::Normal,
            false => Reading::Violates(finding(&sample.name, &missing, allowed)),
        }
    }
}

fn finding(name: &ContainerName, missing: &[(Metric, Duration)], allowed: Duration) -> Finding {
    let names: Vec<&str> = missing.iter().map(|(metric, _)| metric.column()).collect();
    let have = match names.len() {
        1 => "has",
        _ => "have",
    };
    let longest = missing.iter().map(|(_, lasting)| *lasting).max();
    let proofs = missing.iter().map(|(metric, lasting)| Proof {
        metric: Some(*metric),
        ..Proof::derived(
            "metric_absent_seconds",
            "s",
            lasting.as_secs_f64(),
            (0.0, allowed.as_secs_f64()),
        )
    });
    Finding {
        severity: Severity::Warning,
        score: Ratio::saturating(1.0),
        confidence: Confidence::High,
        reason: format!(
            "samples of {name} come, and {} {have} not been in them for {}; look at its node's collector",
            names.join(" and "),
            duration(longest.unwrap_or_default())
        ),
        proofs: proofs.collect(),
    }
}
