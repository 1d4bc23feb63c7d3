//! Moves off nodes that are short of something, or that people want drained.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{Mode, NodeId, NodeOrder, ServiceId, Severity, Signal, SignalKind, Timestamp};

use crate::budget;
use crate::capacity::{self, Advice, AdviceKind, Making, RoomToMove, SuggestedMove};
use crate::draft::{Decision, admit, say};
use crate::fleet::Replica;
use crate::preempt::{self, Surplus};
use crate::state::State;

use super::begin::{bar, begin, is_free};
use super::is_running;
use super::steps::Purpose;

/// The whole fleet is looked at this often at the most.
pub(crate) const LOOKED_EVERY: Duration = Duration::from_secs(10);

/// When the fleet is to be looked at for a node that is short or to be drained, if one is.
pub(crate) fn due(state: &State) -> Option<Timestamp> {
    let drains = state.node_orders.drains();
    let drain = drains
        .filter(|it| holds_movable(state, &it.node))
        .map(|it| it.at);
    let short = state.signals.open_about_nodes(SignalKind::NodePressure);
    let short = short.filter(|it| it.severity != Severity::Info);
    let short = short.map(|it| it.opened_at + state.config.relocate.after);
    short.chain(drain).min()
}

/// Something on it may be moved, as far as its labels say.
fn holds_movable(state: &State, node: &NodeId) -> bool {
    let mut on_it = state.fleet.on_node(node);
    on_it.any(|it| it.counts() && it.record.policy.movable)
}

/// A move that is worth it, and what for.
pub(crate) struct Candidate {
    step: SuggestedMove,
    purpose: Purpose,
    kind: AdviceKind,
    /// How important it is beside what else waits for a budget.
    pub(crate) priority: u32,
}

/// What a look at the fleet came to.
#[derive(Default)]
pub(crate) struct Looked {
    pub(crate) moves: Vec<Candidate>,
    /// Who is to make room for a container that has none to move to.
    pub(crate) room: Option<RoomToMove>,
}

/// What is to be moved away from nodes that are to be drained, and from those that have been short for long enough; best first.
pub(crate) fn relief(state: &State, now: Timestamp) -> Looked {
    let short: Vec<&Signal> = pressed(state, now).collect();
    let nodes = short.iter().filter_map(|it| it.subject.node.as_ref());
    let free: BTreeSet<&NodeId> = nodes.filter(|it| is_settled(state, it, now)).collect();
    let drains = state.node_orders.drains();
    let drains = drains.filter(|it| holds_movable(state, &it.node));
    let drains: BTreeMap<&NodeId, &NodeOrder> = drains.map(|it| (&it.node, it)).collect();
    if free.is_empty() && drains.is_empty() {
        return Looked::default();
    }
    let may = |replica: &Replica<'_>, kind: AdviceKind| {
        let due = match kind {
            AdviceKind::Drain => !is_full(state, replica.node, now),
            AdviceKind::Relieve => free.contains(replica.node),
            AdviceKind::Empty => false,
        };
        due && is_able(state, replica, now)
            && preempt::can_pay_move(state, &replica.record.service, now)
            && replica.record.policy.mode.min(state.config.max_mode) == Mode::Act
    };
    let mut making = Making {
        may: &may,
        surplus: Surplus::new(state, now),
        claims: preempt::claims(state, now)
            .filter(|it| it.is_for_a_move(state, now))
            .collect(),
    };
    let found = capacity::relief(state, &mut making, now);
    let mut moves = Vec::new();
    for advice in found.advice {
        let purpose = match advice.kind {
            AdviceKind::Drain => drains.get(&advice.node).map(|order| emptied(order)),
            AdviceKind::Relieve if free.contains(&advice.node) => Some(relieved(&advice, &short)),
            AdviceKind::Relieve | AdviceKind::Empty => None,
        };
        let Some(purpose) = purpose else { continue };
        let of = |step: &SuggestedMove| state.fleet.priority(&step.service);
        // Of a node that is short the least important goes first, for the sake of those that stay.
        let most = advice.moves.iter().map(of).max().unwrap_or_default();
        moves.extend(advice.moves.into_iter().map(|step| Candidate {
            purpose: purpose.clone(),
            kind: advice.kind,
            priority: match advice.kind {
                AdviceKind::Drain => of(&step),
                AdviceKind::Relieve | AdviceKind::Empty => most,
            },
            step,
        }));
    }
    Looked {
        moves,
        room: found.room,
    }
}

fn emptied(order: &NodeOrder) -> Purpose {
    Purpose {
        signals: Vec::new(),
        reason: order.to_string(),
        alternatives: vec![format!("leave it: people want node {} empty", order.node)],
    }
}

fn relieved(advice: &Advice, short: &[&Signal]) -> Purpose {
    let node = &advice.node;
    let causes = short.iter();
    let causes = causes.filter(|it| it.subject.node.as_ref() == Some(node));
    Purpose {
        signals: causes.map(|it| it.id.clone()).collect(),
        reason: advice.benefit.clone(),
        alternatives: vec![
            format!("leave it: node {node} stays short"),
            "add a replica elsewhere: it would bring no room here".to_owned(),
        ],
    }
}

/// What begins a move, if it may be begun now. What speaks against it is said with it.
pub(crate) fn set_out(
    state: &State,
    candidate: &Candidate,
    now: Timestamp,
) -> Option<(ServiceId, Decision)> {
    let Candidate {
        step,
        purpose,
        kind,
        priority: _,
    } = candidate;
    let replica = goes(state, step, now)?;
    let draft = begin(
        state,
        &step.service,
        &replica,
        &step.to,
        purpose.clone(),
        now,
    );
    let budget = &state.config.budget;
    let waits = match kind {
        AdviceKind::Relieve | AdviceKind::Empty => !is_settled(state, &step.from, now),
        // There is always another one later: that a budget is spent for now is nothing to tell people of each.
        AdviceKind::Drain => {
            is_full(state, &step.from, now)
                || budget::admit(&state.plans, budget, &step.service, &draft.steps, now).is_err()
        }
    };
    if waits || (step.caution.is_some() && *kind != AdviceKind::Drain) {
        return None;
    }
    let decision = match &step.caution {
        None => admit(state, draft, replica.record.policy.mode, now),
        Some(caution) => say(state, draft.held(caution), None, now),
    };
    Some((step.service.clone(), decision))
}

/// As many containers of the node as may be are on their way.
fn is_full(state: &State, node: &NodeId, now: Timestamp) -> bool {
    let moves = state.plans.all().filter(|entry| {
        let relocation = entry.plan.relocation.as_ref();
        relocation.is_some_and(|it| it.from == *node)
    });
    let services: BTreeSet<&ServiceId> = moves.map(|entry| &entry.plan.service).collect();
    let running = services.into_iter().filter(|it| is_running(state, it, now));
    running.count() >= state.config.relocate.drain_parallel as usize
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

/// The container, if it may go now.
fn goes<'a>(state: &'a State, step: &'a SuggestedMove, now: Timestamp) -> Option<Replica<'a>> {
    let service = &step.service;
    let mut replicas = state.fleet.replicas(service).into_iter();
    let replica = replicas.find(|it| *it.node == step.from && it.record.name == step.container)?;
    let there = Replica {
        node: &step.to,
        ..replica
    };
    // Who gave room there for another does not move into it.
    let may = is_able(state, &replica, now) && preempt::held(state, &there, now).is_none();
    may.then_some(replica)
}

fn is_able(state: &State, replica: &Replica<'_>, now: Timestamp) -> bool {
    let service = &replica.record.service;
    is_free(state, service, now)
        && bar(state, replica, now).is_none()
        && replica.record.is_serving()
        && state.is_fresh(replica, now)
}
