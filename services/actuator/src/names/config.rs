//! The part of the configuration about names in networks.

use std::time::Duration;

use kit::config::{HumanDuration, Invalid, Validate};
use serde::{Deserialize, Serialize};

const DRAIN_DEFAULT: HumanDuration = HumanDuration::from_secs(5);
/// Longer than any command is given.
const DRAIN_MAX: Duration = Duration::from_secs(15 * 60);

/// Section `[actuator.dns]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// How long a container that gave up its name goes on serving those who had asked for it, before it is taken away: as long as
    /// they may use what they were told, and their last request takes.
    pub drain: HumanDuration,
}

impl Default for Dns {
    fn default() -> Self {
        Dns {
            drain: DRAIN_DEFAULT,
        }
    }
}

impl Validate for Dns {
    fn problems(&self) -> Vec<Invalid> {
        let is_long = self.drain.get() > DRAIN_MAX;
        let message = || format!("{} is longer than any command has", self.drain);
        let problem =
            is_long.then(|| Invalid::new("drain", message()).suggest("write at most 15m"));
        problem.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_has_its_bound() {
        assert!(Dns::default().problems().is_empty());
        let long = Dns {
            drain: HumanDuration::from_secs(901),
        };
        assert_eq!(long.problems()[0].key, "drain");
    }
}
