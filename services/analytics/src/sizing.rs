//! How many replicas each service needs whose label promises a share of seconds, and how long its replicas take to start.
//!
//! Loads come about once a second; inventories tell what is promised, which replicas serve and which start. What one replica can
//! carry may change at any time, so loads are looked at in hundredths of it.

mod startup;

use std::collections::{BTreeMap, BTreeSet};

use control::sizing::{Replicas, Second, Settings, Sizer, View};
use detect::ServiceLoad;
use forecast::DemandForecaster;
use serde::{Deserialize, Serialize};
use startup::Startups;
use units::{
    ContainerId, ContainerRecord, ContainerState, HealthState, NodeId, NodeInventory, Ratio,
    ScaleTarget, ServiceId, Sizing, Timestamp,
};

/// A replica is full when so much of its CPU limit is used over a second: within the second, requests wait then.
const FULL: f64 = 0.9;
/// What a full replica carries, in the unit that loads are looked at in.
const FULL_LOAD: f64 = 100.0;
/// From this share of throttled periods on, a full service was asked for more than it gave …
const THROTTLED_MIN: f64 = 0.1;
/// … and by no more than this share of it.
const THROTTLED_MAX: f64 = 0.5;
/// What waits is not believed to be more than so many seconds' worth of all replicas.
const BACKLOG_MAX_S: f64 = 60.0;
/// So many seconds without a load are taken as if it had stayed; a longer silence is left out.
const SILENCE_MAX_S: u32 = 30;

/// The services of a partition that may be scaled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sizings(BTreeMap<ServiceId, Scaled>);

/// What follows from a load, for its forecast.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sized {
    pub(crate) startup_s: Option<u32>,
    pub(crate) sizing: Option<Sizing>,
}

/// A service that may be scaled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Scaled {
    replicas: BTreeMap<ContainerId, Replica>,
    startups: Startups,
    promise: Option<Promise>,
    rehearsed: Option<Box<Rehearsed>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Replica {
    node: NodeId,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    Serving,
    /// For the first time, since then by its node's clock.
    Starting(Timestamp),
    /// Again, since then.
    Returning(Timestamp),
    /// It does not run, or is sick.
    Away,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Promise {
    min: u32,
    max: u32,
    slo: Ratio,
}

/// The forecast and the sizing of a service, fed with the same seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rehearsed {
    startup_s: u32,
    promise: Promise,
    forecaster: DemandForecaster,
    sizer: Sizer,
    stepped_at: Option<Timestamp>,
    backlog: f64,
    wanted: Option<u32>,
}

impl Sizings {
    /// Takes the state of a node, as far as it concerns services of this partition.
    pub(crate) fn inventory(
        &mut self,
        inventory: &NodeInventory,
        knows: impl Fn(&ServiceId) -> bool,
    ) {
        let scaled: Vec<&ContainerRecord> = inventory
            .containers
            .iter()
            .filter(|record| record.policy.scale.is_some() && knows(&record.service))
            .collect();
        let there: BTreeSet<&ContainerId> = scaled.iter().map(|record| &record.id).collect();
        for service in self.0.values_mut() {
            service
                .replicas
                .retain(|id, replica| replica.node != inventory.node || there.contains(id));
        }
        for record in scaled {
            let service = self.0.entry(record.service.clone()).or_default();
            service.take(record, &inventory.node, inventory.at);
        }
        // Without replicas nobody says any more that it may be scaled.
        self.0.retain(|_, service| !service.replicas.is_empty());
    }

    /// Forgets the services that are not known any more.
    pub(crate) fn retain(&mut self, knows: impl Fn(&ServiceId) -> bool) {
        self.0.retain(|service, _| knows(service));
    }

    /// Takes the load of a service.
    pub(crate) fn observe(&mut self, load: &ServiceLoad) -> Sized {
        let Some(service) = self.0.get_mut(&load.service) else {
            return Sized::default();
        };
        Sized {
            startup_s: service.startups.longest_s(),
            sizing: service.observe(load),
        }
    }
}

impl Scaled {
    fn take(&mut self, record: &ContainerRecord, node: &NodeId, at: Timestamp) {
        let before = self.replicas.get(&record.id);
        let before = before.map(|replica| replica.standing);
        let began = record.started_at.or(record.created_at);
        let starts =
            record.state == ContainerState::Running && record.health == HealthState::Starting;
        let standing = match (record.is_serving(), starts, before) {
            (true, _, _) => Standing::Serving,
            (false, true, None | Some(Standing::Starting(_))) => {
                Standing::Starting(began.unwrap_or(at))
            }
            (false, true, Some(_)) => Standing::Returning(began.unwrap_or(at)),
            (false, false, _) => Standing::Away,
        };
        if let (Standing::Serving, Some(began)) = (standing, began) {
            let took = at.since(began);
            match before {
                None => self.startups.first_seen(took),
                Some(Standing::Starting(_)) => self.startups.seen(took),
                Some(Standing::Serving | Standing::Returning(_) | Standing::Away) => {}
            }
        }
        if let (Some(scale), ContainerState::Running) = (&record.policy.scale, record.state) {
            self.promise = match scale.target {
                ScaleTarget::Slo(slo) => Some(Promise {
                    min: scale.min,
                    max: scale.max,
                    slo,
                }),
                ScaleTarget::Cpu(_) | ScaleTarget::Metric(_) => None,
            };
        }
        let replica = Replica {
            node: node.clone(),
            standing,
        };
        self.replicas.insert(record.id.clone(), replica);
    }

    fn observe(&mut self, load: &ServiceLoad) -> Option<Sizing> {
        let Some(promise) = self.promise else {
            self.rehearsed = None;
            return None;
        };
        let startup_s = self.startups.planned_s();
        let usable = self
            .rehearsed
            .take()
            .and_then(|known| known.under(promise, startup_s));
        let rehearsed = match usable {
            Some(known) => known,
            None => Box::new(Rehearsed::new(promise, startup_s)?),
        };
        let rehearsed = self.rehearsed.insert(rehearsed);
        let counted = count(&self.replicas, load.at, f64::from(startup_s));
        rehearsed.observe(load, counted)
    }
}

/// The replicas that serve and that start, and what they will have served with within the next start-up time.
fn count(replicas: &BTreeMap<ContainerId, Replica>, at: Timestamp, startup_s: f64) -> Replicas {
    let mut counted = Replicas::default();
    for replica in replicas.values() {
        match replica.standing {
            Standing::Serving => {
                counted.ready += 1;
                counted.upcoming += startup_s;
            }
            Standing::Starting(since) | Standing::Returning(since) => {
                counted.starting += 1;
                counted.upcoming += at.since(since).as_secs_f64().min(startup_s);
            }
            Standing::Away => {}
        }
    }
    counted
}

impl Rehearsed {
    /// Nothing for a promise that cannot be planned with; labels do not allow one.
    fn new(promise: Promise, startup_s: u32) -> Option<Self> {
        let settings = Settings {
            startup_s,
            slo: promise.slo,
            replica_capacity: FULL_LOAD,
            min: promise.min,
            max: promise.max,
        };
        Some(Rehearsed {
            startup_s,
            promise,
            forecaster: DemandForecaster::new(startup_s),
            sizer: Sizer::new(settings).ok()?,
            stepped_at: None,
            backlog: 0.0,
            wanted: None,
        })
    }

    /// The same under another range; nothing where what was learnt is of no use for this promise or start-up time.
    fn under(mut self: Box<Self>, promise: Promise, startup_s: u32) -> Option<Box<Self>> {
        if self.startup_s != startup_s || self.promise.slo != promise.slo {
            return None;
        }
        if self.promise != promise {
            self.sizer.set_range(promise.min, promise.max).ok()?;
            self.promise = promise;
        }
        Some(self)
    }

    fn observe(&mut self, load: &ServiceLoad, counted: Replicas) -> Option<Sizing> {
        // A load that is no number tells nothing, and neither do replicas that can carry nothing.
        let unit = load.replica_capacity.0 as f64 * FULL / FULL_LOAD;
        let used = load.cpu_millicores / unit;
        if !used.is_finite() || used < 0.0 {
            return None;
        }
        let full = FULL_LOAD * f64::from(load.replicas);
        let throttled = load.throttled.clamp(0.0, THROTTLED_MAX);
        let is_capped = throttled >= THROTTLED_MIN && used >= full;
        let unserved = match is_capped {
            true => used * throttled / (1.0 - throttled),
            false => 0.0,
        };
        for _ in 0..self.steps(load.at) {
            self.backlog = match is_capped {
                true => (self.backlog + unserved).min(full * BACKLOG_MAX_S),
                false => (used - full).max(0.0),
            };
            let arrived = used + unserved;
            self.forecaster.observe(arrived);
            let second = Second {
                arrived,
                outlook: self.forecaster.outlook(),
                replicas: Replicas {
                    backlog: self.backlog,
                    ..counted
                },
            };
            let wanted = self.sizer.observe(&second);
            self.wanted = wanted.or(self.wanted);
        }
        self.sizing(unit)
    }

    /// Whole seconds since the last load; samples a little early or late are steps of a second too.
    fn steps(&mut self, at: Timestamp) -> u32 {
        let Some(last) = self.stepped_at else {
            self.stepped_at = Some(at);
            return 1;
        };
        let steps = (at.since(last).as_secs_f64() + 0.5) as u32;
        // A clock that was set back is a new beginning too.
        if steps > 0 || at < last {
            self.stepped_at = Some(at);
        }
        if steps > SILENCE_MAX_S { 1 } else { steps }
    }

    fn sizing(&self, unit: f64) -> Option<Sizing> {
        let stance = self.sizer.stance();
        let outlook = self.forecaster.outlook();
        let expected = match stance.view {
            View::Steady => outlook.steady,
            View::Rising => outlook.rising,
        };
        Some(Sizing {
            replicas: self.wanted?,
            expected: expected.load * unit,
            spread: expected.spread * unit,
            price: stance.price,
            slo: self.promise.slo,
            broken: self.sizer.broken(),
        })
    }
}

#[cfg(test)]
mod tests;
