//! Everything a decision is made from.

use units::{ServiceId, Timestamp};

use crate::breaker::Breaker;
use crate::config::Config;
use crate::fleet::{Fleet, Replica};
use crate::loads::Loads;
use crate::people::People;
use crate::plans::Plans;
use crate::signals::Signals;

/// Facts from the topics, and the constants.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) fleet: Fleet,
    pub(crate) signals: Signals,
    pub(crate) loads: Loads,
    pub(crate) plans: Plans,
    pub(crate) people: People,
    pub(crate) breaker: Breaker,
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        State {
            config,
            fleet: Fleet::default(),
            signals: Signals::default(),
            loads: Loads::default(),
            plans: Plans::default(),
            people: People::default(),
            breaker: Breaker::default(),
        }
    }

    /// What is known of a container is new enough to act on.
    pub(crate) fn is_fresh(&self, replica: &Replica<'_>, now: Timestamp) -> bool {
        replica.seen_at + self.config.telemetry_stale >= now
    }

    /// The end of the time in which people's changes keep the loop away from a service; it may have passed.
    pub(crate) fn hold_end(&self, service: &ServiceId) -> Timestamp {
        self.people
            .last(&self.plans, &self.fleet, service)
            .map_or(Timestamp::EPOCH, |at| at + self.config.people_hold)
    }

    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.signals.prune(now);
        self.plans.prune(now);
        self.people.prune(&self.fleet, now, self.config.people_hold);
        self.loads.prune(now);
    }
}
