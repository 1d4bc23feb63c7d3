//! Room for what is more important: where a container of one service has no room anywhere, a replica of a less important one goes, if it
//! is more than that service promises.
//!
//! Who has no room is a container that is to leave a node that is short or drained and that no other node takes ([`moving`]), and a replica
//! that is to be added where all nodes of its service are short ([`room`]). Who goes is a replica that Homeostat made, of a service that is
//! strictly less important, acts, may be scaled, and has more than its label promises ([`Surplus`]): one at a time, by an ordinary removal
//! with its own budget, verdict and way back. What promises nothing more, or never opted in, stays, however unimportant it is.
//!
//! A removal carries whom it is for ([`units::Preemption`]), and nothing else is kept: that room is being made, was made and is not taken yet
//! ([`Claim`]), and that the service that gave it must not take it back ([`held`]), follow from the plans, so a controller that takes over
//! finds the same.

mod claim;
mod plan;
mod surplus;

use units::{ActionKind, Mode, NodeId, ServiceId, Timestamp};

use crate::budget;
use crate::capacity::{Beside, RoomToMove, Site, beside};
use crate::draft::{Decision, admit};
use crate::fleet::Replica;
use crate::ledger;
use crate::place::Resources;
use crate::scale::Group;
use crate::state::State;

pub(crate) use claim::{Claim, claims, held, standing};
pub(crate) use surplus::Surplus;

/// Steps of a replica more.
const GROWTH_STEPS: u32 = 1;
/// Steps of a move: how it is made is told, it is made, and the other one goes.
const MOVE_STEPS: u32 = 3;

/// Where a replica more finds room.
pub(crate) enum Room {
    /// Wherever it would go anyway: a node is not short, or nobody can make room.
    Anywhere,
    /// On this node room was made for one.
    On(NodeId),
    /// A replica is going for it.
    Awaited,
    /// This is done for it first.
    Made(Decision),
}

/// Where a replica more of this service finds room; `able` are the containers it could be made from.
pub(crate) fn room(
    state: &State,
    group: &Group<'_>,
    able: &[&Replica<'_>],
    now: Timestamp,
) -> Room {
    if state.fleet.is_level()
        || group.mode.min(state.config.max_mode) != Mode::Act
        || !can_take(state, group.service, now)
    {
        return Room::Anywhere;
    }
    let closed: Vec<&NodeId> = state.node_orders.closed().collect();
    let mut templates: Vec<&Replica<'_>> = Vec::new();
    for replica in able.iter().filter(|it| !closed.contains(&it.node)) {
        if !state.is_pressed(replica.node) {
            return Room::Anywhere;
        }
        if templates.iter().all(|it| it.node != replica.node) {
            templates.push(replica);
        }
    }
    if templates.is_empty() {
        return Room::Anywhere;
    }
    let mine =
        claims(state, now).filter(|it| it.is_of_growth(group.service) && !it.is_taken(state));
    let mine: Vec<Claim<'_>> = mine.collect();
    if mine.iter().any(|it| it.is_pending(state)) {
        return Room::Awaited;
    }
    let sites: Vec<Site<'_>> = templates
        .into_iter()
        .map(|template| Site {
            template,
            made: made_on(&mine, template.node),
        })
        .collect();
    match beside(state, &sites, &mut Surplus::new(state, now)) {
        Beside::Room(node) => Room::On(node),
        Beside::Nobody => Room::Anywhere,
        Beside::Out(victim) => match plan::removal(state, group.service, None, &victim, now) {
            None => Room::Anywhere,
            Some(draft) => Room::Made(admit(state, draft, Mode::Act, now)),
        },
    }
}

/// Room for a replica more would be used: nothing else keeps it from being made.
fn can_take(state: &State, service: &ServiceId, now: Timestamp) -> bool {
    let config = &state.config;
    let kind = ActionKind::CreateReplica;
    ledger::quarantined(&state.plans, &config.ledger, service, kind, now).is_none()
        && can_pay(state, service, GROWTH_STEPS, now)
}

/// The hour leaves so many steps to a service, and to all one more for whoever makes room.
fn can_pay(state: &State, service: &ServiceId, steps: u32, now: Timestamp) -> bool {
    let left = budget::left(&state.plans, &state.config.budget, service, now);
    left.service >= steps && left.global > steps
}

/// The same for a container that is to move.
pub(crate) fn can_pay_move(state: &State, service: &ServiceId, now: Timestamp) -> bool {
    can_pay(state, service, MOVE_STEPS, now)
}

/// What was made free there for one service.
fn made_on(claims: &[Claim<'_>], node: &NodeId) -> Resources {
    let there = claims.iter().filter(|it| it.node() == node);
    let frees = there.map(|it| it.preemption.frees);
    frees.fold(Resources::default(), |sum, it| {
        sum.plus(Resources::new(it.cpu, it.memory))
    })
}

/// What makes room for a container that is to leave its node, if nothing that was begun since stands in its way.
pub(crate) fn moving(state: &State, room: &RoomToMove, now: Timestamp) -> Decision {
    let RoomToMove {
        service,
        container,
        victim,
    } = room;
    let replica = state.fleet.find(&victim.service, &victim.container);
    let below = state.fleet.priority_least(service);
    let may_go = replica.is_some_and(|it| Surplus::new(state, now).of(&it, below) > 0);
    if !may_go {
        return Decision::Nothing;
    }
    match plan::removal(state, service, Some(container), victim, now) {
        None => Decision::Nothing,
        Some(draft) => admit(state, draft, Mode::Act, now),
    }
}
