//! What an operator may set.

use std::time::Duration;

use detect::Settings;
use kit::config::{HumanDuration, Invalid, Validate, under};
use serde::{Deserialize, Serialize};

/// Fewest and most containers of one partition.
const CONTAINERS: std::ops::RangeInclusive<usize> = 1..=20_000;
/// Shortest and longest time between two trainings of a service.
const EVERY: (HumanDuration, HumanDuration) = (
    HumanDuration::from_secs(10 * 60),
    HumanDuration::from_secs(7 * 24 * 60 * 60),
);
/// Shortest and longest life of a service before it is trained: less than half an hour has too few rows to hold any back.
const HISTORY_MIN: (HumanDuration, HumanDuration) = (
    HumanDuration::from_secs(30 * 60),
    HumanDuration::from_secs(24 * 60 * 60),
);
/// Least and most of one core; trainings are done one at a time.
const CPU_PERCENT: std::ops::RangeInclusive<usize> = 1..=100;
/// Fewest rows, as one service needs, and most: some 1.3 GB.
const ROWS: std::ops::RangeInclusive<usize> = 1_000..=10_000_000;

/// Section `analytics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often the state of the detectors is written to the log. After a restart, at most this much is read again.
    pub checkpoint_every: HumanDuration,
    /// An open signal is told again at most this often, unless it became more severe.
    pub update_every: HumanDuration,
    /// After this long, a deviation is taken for the new normal.
    pub relearn_after: HumanDuration,
    /// After its start, a container is not compared with what was usual for this long.
    pub grace: HumanDuration,
    /// A node or container is reported when nothing came from it for this long.
    pub telemetry_after: HumanDuration,
    /// Containers followed in one partition; those beyond it are counted and not judged.
    pub max_containers: usize,
    /// Models of services, trained in the background.
    pub training: Training,
}

/// Section `analytics.training`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Whether models are trained. Containers are scored by the models there are, whoever trained them.
    pub run: Switch,
    /// Each service is trained once in this time, at a moment of its own.
    pub every: HumanDuration,
    /// A service is not trained before so much of its life is held.
    pub history_min: HumanDuration,
    /// CPU time all trainings may take, in percent of one core.
    pub cpu_percent: u32,
    /// Rows held for trainings, of all services; a row is ten seconds of one container, and takes 132 bytes. Beyond them the oldest of
    /// the service with most go.
    pub max_rows: usize,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl Default for Training {
    fn default() -> Self {
        Training {
            run: Switch::On,
            every: HumanDuration::from_secs(60 * 60),
            history_min: HumanDuration::from_secs(60 * 60),
            cpu_percent: 2,
            max_rows: 250_000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let settings = Settings::default();
        Config {
            checkpoint_every: HumanDuration::from_secs(10),
            update_every: settings.update_every.into(),
            relearn_after: settings.relearn_after.into(),
            grace: settings.grace.into(),
            telemetry_after: settings.telemetry_after.into(),
            max_containers: settings.max_containers,
            training: Training::default(),
        }
    }
}

impl Config {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            update_every: self.update_every.get(),
            relearn_after: self.relearn_after.get(),
            grace: self.grace.get(),
            telemetry_after: self.telemetry_after.get(),
            max_containers: self.max_containers,
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Invalid> {
        let least = [
            (
                "checkpoint_every",
                self.checkpoint_every,
                Duration::from_millis(10),
            ),
            ("update_every", self.update_every, Duration::from_secs(1)),
            ("relearn_after", self.relearn_after, Duration::from_secs(60)),
            (
                "telemetry_after",
                self.telemetry_after,
                Duration::from_secs(5),
            ),
        ];
        let mut problems = Vec::new();
        for (key, value, least) in least {
            if value.get() < least {
                let least = HumanDuration::from(least);
                let message = format!("{value} is too short");
                problems.push(Invalid::new(key, message).suggest(format!("{least} or more")));
            }
        }
        if !CONTAINERS.contains(&self.max_containers) {
            let message = format!("{} containers cannot be followed", self.max_containers);
            let suggestion = format!("{} to {}", CONTAINERS.start(), CONTAINERS.end());
            problems.push(Invalid::new("max_containers", message).suggest(suggestion));
        }
        problems.extend(under("training", &self.training));
        problems
    }
}

impl Validate for Training {
    fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        let durations = [
            ("every", self.every, EVERY),
            ("history_min", self.history_min, HISTORY_MIN),
        ];
        for (key, value, (least, most)) in durations {
            if !(least..=most).contains(&value) {
                let message = format!("{value} is not possible");
                problems.push(Invalid::new(key, message).suggest(format!("{least} to {most}")));
            }
        }
        let cpu_percent = usize::try_from(self.cpu_percent).unwrap_or(usize::MAX);
        let numbers = [
            ("cpu_percent", cpu_percent, CPU_PERCENT),
            ("max_rows", self.max_rows, ROWS),
        ];
        for (key, value, range) in numbers {
            if !range.contains(&value) {
                let message = format!("{value} is not possible");
                let suggestion = format!("{} to {}", range.start(), range.end());
                problems.push(Invalid::new(key, message).suggest(suggestion));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_those_of_the_detectors() {
        let config = Config::default();
        assert_eq!(config.problems(), []);
        assert_eq!(config.settings(), Settings::default());
    }

    #[test]
    fn what_cannot_work_is_refused_by_key() {
        let config = Config {
            relearn_after: HumanDuration::from_secs(1),
            max_containers: 0,
            training: Training {
                every: HumanDuration::from_secs(1),
                history_min: HumanDuration::from_secs(1),
                cpu_percent: 0,
                max_rows: 1,
                ..Training::default()
            },
            ..Config::default()
        };
        let keys: Vec<String> = config.problems().into_iter().map(|it| it.key).collect();
        let expected = [
            "relearn_after",
            "max_containers",
            "training.every",
            "training.history_min",
            "training.cpu_percent",
            "training.max_rows",
        ];
        assert_eq!(keys, expected);
    }
}
