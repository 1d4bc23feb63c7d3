//! What follows where a new container did not cure it: one on another node, where the label lets it move; and where that did not help
//! either, or cannot be, out of its networks ([`crate::isolate`]). Then people.
//!
//! A sick program would be as sick on every node, so a service is moved for it once within the time the ledger looks back, and not at
//! all after any other move of it within that.

use std::time::Duration;

use units::{
    ActionKind, ContainerState, NodeId, PlanEntry, ServiceId, Signal, SignalId, Timestamp,
};

use crate::capacity;
use crate::depends;
use crate::draft::{Decision, Draft, admit, say};
use crate::escalate::{Rung, told};
use crate::fleet::Replica;
use crate::heal::{Obstacle, RECHECK, in_the_way};
use crate::isolate;
use crate::ledger;
use crate::relocate::{self, Purpose};
use crate::state::State;

/// A node is looked for in so long after the last try was found not to help: a look at the whole fleet is not free, and what lasts
/// longer waits for people anyway.
const SOUGHT: Duration = Duration::from_secs(600);
const TRIED: &str = "a new container was tried and did not cure it";

/// How far it goes after a new container; `tries` are those of the container, earliest first.
pub(crate) fn rung(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    tries: &[&PlanEntry],
    now: Timestamp,
) -> Rung {
    let name = &replica.record.name;
    if let Some(sharer) = depends::sharers(&state.fleet, replica).first() {
        let other = &sharer.record.name;
        return Rung::People(format!(
            "{TRIED}; {other} shares the network of {name}, and would be left without any"
        ));
    }
    // Its end is waited for as that of every plan is.
    let mut isolations = tries
        .iter()
        .filter(|it| it.plan.kind == ActionKind::Isolate);
    if isolations.any(|it| !it.phase.is_final()) {
        return Rung::Isolate("it is being isolated".to_owned());
    }
    let stays = match target(state, service, replica, tries, now) {
        Ok(to) => return Rung::Move(to),
        Err(why) => why,
    };
    match isolate::bar(state, service, replica, signals, tries, now) {
        None => Rung::Isolate(format!("{TRIED}; not moved: {stays}")),
        Some(why) => Rung::People(format!("{TRIED}; not moved: {stays}; not isolated: {why}")),
    }
}

/// The node to move to, or why it stays.
fn target(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    tries: &[&PlanEntry],
    now: Timestamp,
) -> Result<NodeId, String> {
    let record = replica.record;
    if !record.policy.movable {
        return Err("the label io.homeostat.move is not true".to_owned());
    }
    match record.state {
        ContainerState::Running | ContainerState::Restarting => {}
        ContainerState::Created
        | ContainerState::Paused
        | ContainerState::Exited
        | ContainerState::Dead => return Err(format!("it is {}", record.state)),
    }
    if let Some(moved) = relocate::last(state, service, now) {
        return Err(format!("one move is enough ({moved})"));
    }
    if let Some(why) = relocate::bar(state, replica, now) {
        return Err(why);
    }
    if tries.last().is_none_or(|last| last.at + SOUGHT <= now) {
        let sought_min = SOUGHT.as_secs() / 60;
        return Err(format!("no node was found for it in {sought_min} min"));
    }
    capacity::elsewhere(state, service, &record.id, now)
}

/// What keeps these rungs from being taken now.
pub(crate) fn hindrance(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    kind: ActionKind,
    now: Timestamp,
) -> Obstacle {
    match in_the_way(state, service, replica, signals, now) {
        Obstacle::None => {}
        other
        @ (Obstacle::Busy | Obstacle::Until(_) | Obstacle::Waits(..) | Obstacle::Said(..)) => {
            return other;
        }
    }
    let mut active = state.plans.active();
    if active.any(|it| it.plan.service == *service) {
        return Obstacle::Busy;
    }
    if !relocate::is_free(state, service, now) {
        return Obstacle::Until(now + RECHECK);
    }
    let retry = ledger::retry_at(&state.plans, &state.config.ledger, service, kind);
    match retry > now {
        true => Obstacle::Until(retry),
        false => Obstacle::None,
    }
}

/// The decision to move it.
pub(crate) fn go(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    to: &NodeId,
    now: Timestamp,
) -> Decision {
    let name = &replica.record.name;
    let reasons: Vec<&str> = signals.iter().map(|it| it.reason.as_str()).collect();
    let tried = told(state, service, replica, now);
    let purpose = Purpose {
        signals: signals
            .iter()
            .map(|it| it.id.clone())
            .collect::<Vec<SignalId>>(),
        reason: format!(
            "{}; {TRIED} on node {}{tried}",
            reasons.join("; "),
            replica.node
        ),
        alternatives: vec![
            format!("isolate {name}: it may be its node that makes it sick, and {to} is another"),
            "leave it to people: until they come it does not do its work".to_owned(),
        ],
    };
    let draft = Draft {
        traceparent: signals.iter().find_map(|signal| signal.traceparent.clone()),
        ..relocate::begin(state, service, replica, to, purpose, now)
    };
    let obstacle = hindrance(state, service, replica, signals, ActionKind::Export, now);
    decided(state, replica, draft, obstacle, now)
}

/// The decision about a draft that may be hindered.
pub(crate) fn decided(
    state: &State,
    replica: &Replica<'_>,
    draft: Draft,
    obstacle: Obstacle,
    now: Timestamp,
) -> Decision {
    match obstacle {
        Obstacle::None => admit(state, draft, replica.record.policy.mode, now),
        Obstacle::Busy => Decision::Nothing,
        Obstacle::Until(until) | Obstacle::Waits(_, until) => Decision::Wait(until),
        Obstacle::Said(why, until) => say(state, draft.held(&why), Some(until), now),
    }
}
