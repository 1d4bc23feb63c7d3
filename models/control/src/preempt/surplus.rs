//! Which replicas are more than their services promise.

use std::collections::{BTreeMap, BTreeSet};

use units::{ActionKind, ContainerId, ContainerState, Mode, ScaleTarget, ServiceId, Timestamp};

use crate::budget;
use crate::fleet::Replica;
use crate::ledger;
use crate::relocate;
use crate::scale::{Group, is_blocked, overloads};
use crate::shrink::last_worse;
use crate::state::State;
use crate::update;

/// What services could give, found once for each that is asked about.
pub(crate) struct Surplus<'a> {
    state: &'a State,
    now: Timestamp,
    known: BTreeMap<ServiceId, Option<Spare>>,
}

/// What one service could give.
struct Spare {
    /// The highest priority of its containers.
    priority: u32,
    count: usize,
    of: BTreeSet<ContainerId>,
}

impl<'a> Surplus<'a> {
    pub(crate) fn new(state: &'a State, now: Timestamp) -> Self {
        Surplus {
            state,
            now,
            known: BTreeMap::new(),
        }
    }

    /// How many replicas of its service could go for one of priority `below`, if this is one of them; else none.
    pub(crate) fn of(&mut self, replica: &Replica<'_>, below: u32) -> usize {
        let record = replica.record;
        let policy = &record.policy;
        // Most are left out by what they say themselves.
        if record.made_by.is_none() || policy.scale.is_none() || policy.priority >= below {
            return 0;
        }
        let (state, now) = (self.state, self.now);
        let service = &record.service;
        let known = self
            .known
            .entry(service.clone())
            .or_insert_with(|| spare(state, service, now));
        match known {
            Some(spare) if spare.priority < below && spare.of.contains(&record.id) => spare.count,
            Some(_) | None => 0,
        }
    }
}

/// What a service could give now. Nothing of one that people, a pause, an update, a move, another plan or the ledger hold, that is overloaded, or
/// that a removal harmed a short time ago.
fn spare(state: &State, service: &ServiceId, now: Timestamp) -> Option<Spare> {
    const KIND: ActionKind = ActionKind::RemoveReplica;
    let group = Group::of(state, service, now)?;
    let config = &state.config;
    let worse = last_worse(state, service).is_some_and(|at| at + config.scale.down_hold > now);
    let paused = group
        .replicas
        .iter()
        .any(|it| it.record.state == ContainerState::Paused);
    let hands_off = paused
        || group.mode.min(config.max_mode) != Mode::Act
        || is_blocked(state, &group, KIND, now).is_some()
        || update::is_running(state, service)
        || relocate::is_running(state, service, now)
        || ledger::quarantined(&state.plans, &config.ledger, service, KIND, now).is_some()
        || !overloads(state, service).is_empty()
        || budget::left(&state.plans, &config.budget, service, now).service == 0;
    if worse || hands_off {
        return None;
    }
    let serving = group
        .replicas
        .iter()
        .filter(|it| it.record.is_serving() && state.is_fresh(it, now))
        .count();
    let promised = usize::try_from(promised(state, &group, now)?).ok()?;
    // One that does not serve yet is none that could stay in the place of another.
    let count = serving.min(group.current as usize).checked_sub(promised)?;
    let of = group
        .replicas
        .iter()
        .filter(|it| it.counts() && it.record.made_by.is_some() && state.is_fresh(it, now));
    Some(Spare {
        priority: state.fleet.priority(service),
        count,
        of: of.map(|it| it.record.id.clone()).collect(),
    })
}

/// The fewest that its label lets serve, and where a share of seconds was promised those that keep the promise; nothing where it is not
/// known how many do.
fn promised(state: &State, group: &Group<'_>, now: Timestamp) -> Option<u32> {
    let least = group.policy.least();
    match &group.policy.target {
        ScaleTarget::Cpu(_) | ScaleTarget::Metric(_) => Some(least),
        ScaleTarget::Slo(_) => {
            let forecast = group.load(state)?.newest()?;
            let is_known = forecast.at + group.stale(state) >= now;
            let sizing = group.sizing(forecast).filter(|_| is_known)?;
            Some(least.max(sizing.replicas))
        }
    }
}
