//! Task limit: a container nears the number of tasks (processes and threads) it may have; beyond it nothing in it can start any more.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Confidence, ContainerName, Metric, MetricRow, Ratio, Severity, Steady};

use super::trend::{Trend, push, trend};
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{duration, percent};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 3,
    of: 5,
    calm: 10,
};

/// The window: two minutes, one value each ten seconds; half of it must be there.
const VALUES: usize = 12;
const STEP: Duration = Duration::from_secs(10);
/// Below this share of the limit nothing is followed.
const USED_FOLLOWED: f64 = 0.25;
/// From this share on a steady rise counts that reaches the limit within the time beside it.
const USED_RISING: f64 = 0.50;
const HORIZON: Duration = Duration::from_secs(600);
/// A window must have grown by this share of the limit.
const GROWN_MIN: f64 = 0.02;
/// Programs start their threads as they start.
const WARM_UP: Duration = Duration::from_secs(120);
/// From this share on it is near, whether it rises or not.
const USED_NEAR: f64 = 0.90;
const USED_CRITICAL: f64 = 0.98;
const USED_CALM: f64 = 0.80;

/// The recent number of tasks of one container that may have only so many.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tasks(VecDeque<(Steady, f32)>);

impl Tasks {
    /// Forgets the run before.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// Takes a sample and judges it.
    pub(crate) fn read(
        &mut self,
        name: &ContainerName,
        row: &MetricRow,
        run: Steady,
        uptime: Option<Duration>,
    ) -> Reading {
        let limit = row.get(Metric::PidsLimit).filter(|limit| *limit > 0.0);
        let (Some(tasks), Some(limit)) = (row.get(Metric::Pids), limit) else {
            return Reading::Unknown;
        };
        let used = tasks / limit;
        if used < USED_FOLLOWED {
            self.0.clear();
            return Reading::Normal;
        }
        if self
            .0
            .back()
            .is_none_or(|(last, _)| run.since(*last) >= STEP)
        {
            push(&mut self.0, VALUES, run, tasks);
        }
        let rise = trend(&self.0, VALUES / 2)
            .filter(|rise| rise.per_second > 0.0 && rise.grown >= GROWN_MIN * limit);
        let left = rise.map(|rise: Trend| {
            let seconds = (limit - tasks).max(0.0) / rise.per_second;
            Duration::from_secs_f64(seconds.min(1e9))
        });
        let grown_up = uptime.is_none_or(|uptime| uptime >= WARM_UP);
        let soon = left.filter(|left| grown_up && used >= USED_RISING && *left <= HORIZON);
        match (used >= USED_NEAR, soon) {
            (false, None) if used < USED_CALM => Reading::Normal,
            (false, None) => Reading::Between,
            (_, soon) => Reading::Violates(finding(name, (tasks, limit), soon)),
        }
    }
}

fn finding(name: &ContainerName, (tasks, limit): (f64, f64), soon: Option<Duration>) -> Finding {
    let used = tasks / limit;
    let mut reason = format!(
        "{name} has {tasks:.0} of the {limit:.0} tasks it may have, {}",
        percent(used)
    );
    let bound = USED_NEAR * limit;
    let mut proofs = vec![Proof::of(Metric::Pids, "tasks", tasks, (0.0, bound))];
    if let Some(left) = soon {
        let time = duration(left);
        reason.push_str(&format!(
            "; at this pace it has all of them in about {time}"
        ));
        let lead = Proof::derived(
            "time_to_task_limit_seconds",
            "s",
            left.as_secs_f64(),
            (HORIZON.as_secs_f64(), 1e9),
        );
        proofs.insert(0, lead);
    }
    Finding {
        severity: match (used >= USED_CRITICAL, soon) {
            (true, _) => Severity::Critical,
            (false, Some(_)) => Severity::Warning,
            // One that always has so many works with them.
            (false, None) => Severity::Info,
        },
        score: Ratio::saturating(used),
        // Both numbers are the kernel's.
        confidence: Confidence::High,
        reason,
        proofs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads these numbers of tasks of a hundred, one a second, and tells the severity at the last.
    fn severity_after(counts: impl Iterator<Item = f64>) -> Option<Severity> {
        let mut tasks = Tasks::default();
        let mut last = None;
        for (second, count) in counts.enumerate() {
            let mut row = MetricRow::default();
            row.set(Metric::Pids, count);
            row.set(Metric::PidsLimit, 100.0);
            let run = Steady::from_millis(second as u64 * 1_000);
            last = match tasks.read(&ContainerName::from("web"), &row, run, None) {
                Reading::Violates(finding) => Some(finding.severity),
                Reading::Between | Reading::Normal | Reading::Unknown => None,
            };
            assert!(tasks.0.len() <= VALUES);
        }
        last
    }

    #[test]
    fn a_rise_is_told_before_the_limit_and_many_tasks_alone_are_worth_knowing() {
        let rising = |from: f64, per_s: f64| (0..90).map(move |at| from + per_s * f64::from(at));
        assert_eq!(severity_after(rising(30.0, 0.3)), Some(Severity::Warning));
        assert_eq!(severity_after(rising(72.0, 0.3)), Some(Severity::Critical));
        assert_eq!(severity_after(rising(92.0, 0.0)), Some(Severity::Info));
        assert_eq!(severity_after(rising(85.0, 0.0)), None);
        assert_eq!(severity_after(rising(10.0, 0.1)), None);
        let pool = (0..600).map(|at| 60.0 + f64::from(at % 20));
        assert_eq!(severity_after(pool), None);
    }
}
