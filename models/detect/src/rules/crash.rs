//! Crash loop: it keeps ending and being started again. Jobs that end with 0 and are run again are not one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    Confidence, ContainerName, ContainerState, Metric, Ratio, Sample, Severity, Steady, Timestamp,
};

use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::duration;

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 1,
    of: 1,
    calm: 1,
};

/// Starts after a failure …
const STARTS_MIN: usize = 3;
/// … within this time.
const WINDOW: Duration = Duration::from_secs(120);
/// Running on for this long, it has recovered.
const RECOVERED: Duration = Duration::from_secs(60);
/// More starts than this within the window are not told apart; the oldest are dropped.
const STARTS_KEPT: usize = 16;
/// Exit codes of a process that was told to stop (interrupt, terminate): not its own failure.
const STOPPED_CODES: [i64; 2] = [130, 143];

/// What is remembered of a container's starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Starts {
    restarts: Option<f64>,
    began: Option<Began>,
    failures: Vec<Steady>,
    /// Exit code seen since the last start; between two samples it may end and start unseen.
    exit_code: Option<i64>,
    restarting_seen: u8,
}

/// When the run of the process began, as its first sample told it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Began {
    run_ms: i64,
    /// By the node's time of day then. An uptime that was taken from the time of day moves with its steps, and this does not.
    time_of_day: Timestamp,
}

impl Began {
    /// The engine's start time does not move within a run, but clocks are adjusted and uptimes rounded.
    const PLAY_MS: u64 = 1_500;

    /// Absent for an uptime of nothing: a time of day that was set back to before the start tells no uptime.
    fn of(sample: &Sample, run: Steady) -> Option<Self> {
        let uptime = sample.metrics.get(Metric::Uptime).filter(|it| *it > 0.0)?;
        let uptime = Duration::from_secs_f64(uptime.clamp(0.0, 1e10));
        let now = Timestamp::from_millis(i64::try_from(run.as_millis()).unwrap_or(i64::MAX));
        Some(Began {
            run_ms: (now - uptime).as_millis(),
            time_of_day: sample.at - uptime,
        })
    }

    /// Whether this is the beginning of a later run.
    fn is_after(self, before: Began) -> bool {
        let later = self.run_ms.saturating_sub(before.run_ms) > Self::PLAY_MS as i64;
        let (now, then) = (self.time_of_day.as_millis(), before.time_of_day.as_millis());
        later && now.abs_diff(then) > Self::PLAY_MS
    }
}

/// Whether the sample is of the same run of the process as the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// The same, or the first one seen.
    Same,
    /// It was started since.
    New,
}

impl Starts {
    /// Takes a sample, `run` by its node's clock.
    pub(crate) fn advance(&mut self, sample: &Sample, run: Steady) -> Run {
        let restarts = sample.metrics.get(Metric::Restarts);
        let restarted = match (self.restarts, restarts) {
            (Some(before), Some(now)) if now > before => (now - before) as usize,
            _ => 0,
        };
        self.restarts = restarts.or(self.restarts);
        let same = self.follow_run(sample, run, restarted);
        if let Some(code) = sample.metrics.get(Metric::ExitCode) {
            self.exit_code = Some(code as i64);
        }
        let restarting = sample.state == ContainerState::Restarting;
        self.restarting_seen = if restarting {
            self.restarting_seen.saturating_add(1)
        } else {
            0
        };
        self.failures.retain(|at| run.since(*at) < WINDOW);
        let excess = self.failures.len().saturating_sub(STARTS_KEPT);
        self.failures.drain(..excess);
        same
    }

    fn follow_run(&mut self, sample: &Sample, run: Steady, restarted: usize) -> Run {
        let began = Began::of(sample, run);
        let moved = match (self.began, began) {
            (Some(before), Some(now)) => now.is_after(before),
            _ => false,
        };
        if moved || restarted > 0 || self.began.is_none() {
            self.began = began.or(self.began);
        }
        let failed = self
            .exit_code
            .is_some_and(|code| code != 0 && !STOPPED_CODES.contains(&code));
        let by_policy = if self.exit_code == Some(0) {
            0
        } else {
            restarted
        };
        let by_others = usize::from(moved && restarted == 0 && failed);
        let count = (by_policy + by_others).min(STARTS_KEPT);
        self.failures.extend(std::iter::repeat_n(run, count));
        if moved || restarted > 0 {
            self.exit_code = None;
            return Run::New;
        }
        Run::Same
    }

    /// How long it has been running at this sample.
    pub(crate) fn uptime(&self, run: Steady) -> Option<Duration> {
        let run_ms = i64::try_from(run.as_millis()).unwrap_or(i64::MAX);
        let uptime_ms = run_ms.saturating_sub(self.began?.run_ms);
        Some(Duration::from_millis(u64::try_from(uptime_ms).unwrap_or(0)))
    }

    pub(crate) fn read(&self, name: &ContainerName, sample: &Sample, run: Steady) -> Reading {
        let recovered = self.uptime(run).is_some_and(|uptime| uptime >= RECOVERED);
        if sample.state == ContainerState::Running && recovered {
            return Reading::Normal;
        }
        let in_backoff = self.restarting_seen >= 2
            && self.exit_code != Some(0)
            && self
                .restarts
                .is_some_and(|restarts| restarts >= STARTS_MIN as f64);
        if self.failures.len() >= STARTS_MIN || in_backoff {
            return Reading::Violates(self.finding(name, sample));
        }
        match sample.state {
            ContainerState::Running | ContainerState::Restarting => Reading::Between,
            ContainerState::Created
            | ContainerState::Paused
            | ContainerState::Exited
            | ContainerState::Dead => match self.failures.is_empty() {
                true => Reading::Normal,
                false => Reading::Between,
            },
        }
    }

    fn finding(&self, name: &ContainerName, sample: &Sample) -> Finding {
        let count = self.failures.len();
        let total = self.restarts.unwrap_or(0.0);
        let code = self
            .exit_code
            .map_or(String::new(), |code| format!(" with exit code {code}"));
        let reason = if count > 0 {
            format!(
                "{name} ended{code} and was started again {count} times within {}; {total:.0} restarts in all",
                duration(WINDOW)
            )
        } else {
            format!("{name} ended{code} and waits to be started again; {total:.0} restarts in all")
        };
        let seen = (count as f64).max(1.0);
        let mut proofs = vec![Proof::derived(
            "failed_starts",
            "starts/2min",
            seen,
            (0.0, 0.0),
        )];
        if let Some(restarts) = sample.metrics.get(Metric::Restarts) {
            proofs.push(Proof::of(
                Metric::Restarts,
                "restarts",
                restarts,
                (0.0, 0.0),
            ));
        }
        Finding {
            severity: Severity::Critical,
            score: Ratio::saturating(1.0),
            confidence: Confidence::High,
            reason,
            proofs,
        }
    }
}
