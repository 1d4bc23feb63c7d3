//! Everything a decision is made from.

use units::{NodeId, PlanEntry, ServiceId, Severity, SignalKind, Timestamp};

use crate::breaker::Breaker;
use crate::config::Config;
use crate::failover::{self, Beats};
use crate::fleet::{Certainty, Fleet, Replica};
use crate::idle;
use crate::images::Images;
use crate::loads::Loads;
use crate::node_orders::NodeOrders;
use crate::ooms::Ooms;
use crate::people::People;
use crate::plans::Plans;
use crate::signals::Signals;
use crate::update::Orders;

/// Facts from the topics, and the constants.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) fleet: Fleet,
    pub(crate) images: Images,
    pub(crate) signals: Signals,
    pub(crate) loads: Loads,
    pub(crate) plans: Plans,
    pub(crate) people: People,
    pub(crate) ooms: Ooms,
    pub(crate) breaker: Breaker,
    pub(crate) orders: Orders,
    pub(crate) node_orders: NodeOrders,
    pub(crate) beats: Beats,
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        State {
            config,
            fleet: Fleet::default(),
            images: Images::default(),
            signals: Signals::default(),
            loads: Loads::default(),
            plans: Plans::default(),
            people: People::default(),
            ooms: Ooms::default(),
            breaker: Breaker::default(),
            orders: Orders::default(),
            node_orders: NodeOrders::default(),
            beats: Beats::default(),
        }
    }

    /// What is known of a container is new enough to act on, and surely so.
    pub(crate) fn is_fresh(&self, replica: &Replica<'_>, now: Timestamp) -> bool {
        replica.certainty == Certainty::Sure && self.seems_fresh(replica, now)
    }

    /// The same of a node, whether or not it holds any.
    pub(crate) fn hears(&self, node: &NodeId, now: Timestamp) -> bool {
        let heard = self.fleet.heard(node);
        heard.is_some_and(|(at, certainty)| {
            certainty == Certainty::Sure && at + self.config.telemetry_stale >= now
        })
    }

    /// A node is short of something, so that more on it would do no good.
    pub(crate) fn is_pressed(&self, node: &NodeId) -> bool {
        let mut short = self.signals.open_about_nodes(SignalKind::NodePressure);
        short.any(|it| it.severity != Severity::Info && it.subject.node.as_ref() == Some(node))
    }

    /// The same, as far as its node's clock can be believed: enough to judge what was done, not to act.
    pub(crate) fn seems_fresh(&self, replica: &Replica<'_>, now: Timestamp) -> bool {
        replica.seen_at + self.config.telemetry_stale >= now
    }

    /// Until then every node that can speak does so for the first time since this side began to read.
    pub(crate) fn listening_until(&self) -> Timestamp {
        self.fleet
            .caught_up_at()
            .map_or(Timestamp::EPOCH, |at| at + self.config.telemetry_stale)
    }

    /// What is said of a container whose node is not heard.
    pub(crate) fn silence_of(&self, replica: &Replica<'_>, now: Timestamp) -> String {
        let node = replica.node;
        match (replica.certainty, self.fleet.caught_up_at()) {
            (Certainty::Doubtful, Some(at)) => format!(
                "when node {node} last spoke is not known, and it has not in the last {} s",
                now.since(at).as_secs()
            ),
            (Certainty::Doubtful, None) | (Certainty::Sure, _) => {
                let silent_s = now.since(replica.seen_at).as_secs();
                format!("node {node} last spoke {silent_s} s ago")
            }
        }
    }

    /// The end of the time in which people's changes keep the loop away from a service; it may have passed.
    pub(crate) fn hold_end(&self, service: &ServiceId) -> Timestamp {
        self.people
            .last(&self.plans, &self.fleet, &self.beats, service)
            .map_or(Timestamp::EPOCH, |at| at + self.config.people_hold)
    }

    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.signals.prune(now);
        self.plans.prune(now, |entry| keeps(&self.fleet, entry));
        self.people.prune(&self.fleet, now, self.config.people_hold);
        self.loads.prune(now);
        self.images.prune(now);
        self.ooms.prune(&self.fleet, now);
        self.orders.prune(now);
        self.beats.prune(now, self.config.breaker.node_forgotten);
    }

    /// Whether a plan that is over must not be forgotten.
    pub(crate) fn keeps(&self, entry: &PlanEntry) -> bool {
        keeps(&self.fleet, entry)
    }

    /// What ran on lost nodes counts no more where plans of these services made another in its place.
    pub(crate) fn replace<'a>(&mut self, services: impl Iterator<Item = &'a ServiceId>) {
        for service in services {
            for entry in self.plans.acted(service) {
                if let Some(lost) = failover::stands_in(entry) {
                    self.fleet.replace(&lost.from, &lost.container, lost.at);
                }
            }
        }
    }
}

fn keeps(fleet: &Fleet, entry: &PlanEntry) -> bool {
    idle::keeps(fleet, entry) || failover::keeps(fleet, entry)
}
