//! Moves off nodes that are short of something.

use std::collections::BTreeSet;
use std::time::Duration;

use units::{NodeId, Relocation, ServiceId, Severity, Signal, SignalKind, Timestamp};

use crate::capacity::{self, Advice, SuggestedMove};
use crate::draft::{Decision, admit};
use crate::fleet::Replica;
use crate::state::State;
use crate::update;

use super::course::Course;
use super::is_running;
use super::next::is_above_most;
use super::steps::{self, Purpose};

/// The whole fleet is looked at this often at the most.
pub(crate) const LOOKED_EVERY: Duration = Duration::from_secs(10);

/// When the fleet is to be looked at for a node that is short, if one is.
pub(crate) fn due(state: &State) -> Option<Timestamp> {
    let short = state.signals.open_about_nodes(SignalKind::NodePressure);
    let short = short.filter(|it| it.severity != Severity::Info);
    short
        .map(|it| it.opened_at + state.config.relocate.after)
        .min()
}

/// What is to be moved away from nodes that have been short for long enough: of each node one container at a time.
pub(crate) fn relief(state: &State, now: Timestamp) -> Vec<(ServiceId, Decision)> {
    let short: Vec<&Signal> = pressed(state, now).collect();
    let nodes: BTreeSet<&NodeId> = short
        .iter()
        .filter_map(|it| it.subject.node.as_ref())
        .collect();
    let free = nodes
        .into_iter()
        .filter(|node| is_settled(state, node, now));
    let free: BTreeSet<&NodeId> = free.collect();
    if free.is_empty() {
        return Vec::new();
    }
    let advised = capacity::relief(state, now);
    let mut decisions = Vec::new();
    for advice in advised.iter().filter(|it| free.contains(&it.node)) {
        let causes = short
            .iter()
            .filter(|it| it.subject.node.as_ref() == Some(&advice.node));
        let causes: Vec<&Signal> = causes.copied().collect();
        decisions.extend(first(state, advice, &causes, now));
    }
    decisions
}

/// Open, and for long enough.
fn pressed(state: &State, now: Timestamp) -> impl Iterator<Item = &Signal> {
    let short = state.signals.open_about_nodes(SignalKind::NodePressure);
    let after = state.config.relocate.after;
    short.filter(move |it| it.severity != Severity::Info && it.opened_at + after <= now)
}

/// No container is on its way from the node or to it, and the last one was long enough ago to see what that brought.
fn is_settled(state: &State, node: &NodeId, now: Timestamp) -> bool {
    let settle = state.config.relocate.settle;
    let moves = state.plans.all().filter(|entry| {
        let relocation = entry.plan.relocation.as_ref();
        entry.phase != units::Phase::Suggested
            && relocation.is_some_and(|it| it.from == *node || it.to == *node)
    });
    moves
        .into_iter()
        .all(|entry| entry.phase.is_final() && entry.at + settle <= now)
}

/// The first of the advised moves that can be made.
fn first(
    state: &State,
    advice: &Advice,
    causes: &[&Signal],
    now: Timestamp,
) -> Option<(ServiceId, Decision)> {
    let able = advice.moves.iter().filter(|it| it.caution.is_none());
    let (step, replica) = able
        .filter_map(|it| Some((it, goes(state, it, now)?)))
        .next()?;
    let relocation = Relocation {
        container: replica.record.id.clone(),
        name: replica.record.name.clone(),
        from: step.from.clone(),
        to: step.to.clone(),
        at: now,
    };
    let purpose = Purpose {
        signals: causes.iter().map(|it| it.id.clone()).collect(),
        reason: advice.benefit.clone(),
        alternatives: vec![
            format!("leave it: node {} stays short", step.from),
            "add a replica elsewhere: it would bring no room here".to_owned(),
        ],
    };
    let draft = steps::export(state, &step.service, &replica, relocation, purpose);
    let decision = admit(state, draft, replica.record.policy.mode, now);
    Some((step.service.clone(), decision))
}

/// The container, if it may go now.
fn goes<'a>(state: &'a State, step: &SuggestedMove, now: Timestamp) -> Option<Replica<'a>> {
    let service = &step.service;
    let mut replicas = state.fleet.replicas(service).into_iter();
    let replica = replicas.find(|it| *it.node == step.from && it.record.name == step.container)?;
    let busy = state.plans.active().any(|it| it.plan.service == *service);
    let waits = busy
        || state.hold_end(service) > now
        || update::is_running(state, service)
        || is_running(state, service, now)
        || lost_lately(state, service, now)
        || is_above_most(state, service, now)
        || !replica.record.is_serving()
        || !state.is_fresh(&replica, now);
    (!waits).then_some(replica)
}

/// Its last move went wrong.
fn lost_lately(state: &State, service: &ServiceId, now: Timestamp) -> bool {
    let course = Course::of(state, service);
    let lost = course.and_then(|it| it.lost_at());
    lost.is_some_and(|at| at + state.config.relocate.retry > now)
}
