//! What an operator may set.

use std::time::Duration;

use detect::Settings;
use kit::config::{HumanDuration, Invalid, Validate};
use serde::{Deserialize, Serialize};

/// Fewest and most containers of one partition.
const CONTAINERS: std::ops::RangeInclusive<usize> = 1..=20_000;

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
            ..Config::default()
        };
        let keys: Vec<String> = config.problems().into_iter().map(|it| it.key).collect();
        assert_eq!(keys, ["relearn_after", "max_containers"]);
    }
}
