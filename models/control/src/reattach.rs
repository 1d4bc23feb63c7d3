//! Restarting what lost its network: a container that shares the network of another keeps that of the other's earlier run once the
//! other is started anew, and is cut off. It cannot notice by itself, and nothing but its own restart brings it back.

use std::collections::BTreeSet;

use units::{
    Action, ActionKind, Check, ContainerId, ContainerState, Expectation, Mode, ServiceId, Step,
    Timestamp,
};

use crate::depends;
use crate::draft::{Decision, Draft, admit, say};
use crate::fleet::Replica;
use crate::heal::{Obstacle, RECHECK, obstacle};
use crate::state::State;
use crate::update;

/// What to do about the containers of a service that lost their network, but those in `known`. At most one is acted on.
pub(crate) fn decide(
    state: &State,
    service: &ServiceId,
    known: &BTreeSet<&ContainerId>,
    now: Timestamp,
) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for replica in state.fleet.replicas(service) {
        if known.contains(&replica.record.id) {
            continue;
        }
        let Some(owner) = cut_off(state, &replica) else {
            continue;
        };
        if update::watches(state, service, &replica) {
            continue;
        }
        let decision = about(state, service, &replica, &owner, now);
        let acted = matches!(decision, Decision::Act(_));
        decisions.push(decision);
        if acted {
            break;
        }
    }
    decisions
}

/// The owner of the network a container has lost.
pub(crate) fn cut_off<'a>(state: &'a State, replica: &Replica<'a>) -> Option<Replica<'a>> {
    let runs = |it: &Replica<'_>| it.record.state == ContainerState::Running;
    let owner = depends::owner(&state.fleet, replica)?;
    // Both times are of one engine.
    let started = replica.record.started_at?;
    (runs(replica) && runs(&owner) && owner.record.started_at? > started).then_some(owner)
}

/// What keeps the restart of a container that lost its network from being done.
pub(crate) fn hindrance(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    owner: &Replica<'_>,
    now: Timestamp,
) -> Obstacle {
    let hold = state.hold_end(&owner.record.service);
    if hold > now {
        return Obstacle::Until(hold);
    }
    if let Some(why) = depends::sickness(state, owner) {
        let text = format!("it lost the network of {}; {why}", owner.record.name);
        return Obstacle::Waits(text, now + RECHECK);
    }
    obstacle(state, service, replica, &[], now)
}

fn about(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    owner: &Replica<'_>,
    now: Timestamp,
) -> Decision {
    let policy = &replica.record.policy;
    if !policy.heal || policy.mode.min(state.config.max_mode) == Mode::Observe {
        return Decision::Nothing;
    }
    let draft = draft(state, service, replica, owner);
    match hindrance(state, service, replica, owner, now) {
        Obstacle::None => admit(state, draft, policy.mode, now),
        Obstacle::Busy => Decision::Nothing,
        Obstacle::Until(until) | Obstacle::Waits(_, until) => Decision::Wait(until),
        Obstacle::Said(why, until) => say(state, draft.held(&why), Some(until), now),
    }
}

fn draft(state: &State, service: &ServiceId, replica: &Replica<'_>, owner: &Replica<'_>) -> Draft {
    let config = &state.config.heal;
    let name = &replica.record.name;
    let other = &owner.record.name;
    let within_s = config.verdict_within.as_secs();
    Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::Restart,
        signals: Vec::new(),
        reason: format!(
            "{name} shares the network of {other}, which was started after it: what {name} is in is left of the run before, and reaches nobody"
        ),
        steps: vec![Step {
            node: replica.node.clone(),
            action: Action::Restart {
                container: replica.record.id.clone(),
                name: name.clone(),
                grace: config.grace,
            },
        }],
        expected: Expectation {
            text: format!("{name} is in the network of {other} again, and runs {within_s} s later"),
            check: Check::SignalsResolve {
                signals: Vec::new(),
            },
            within: config.verdict_within,
        },
        alternatives: vec![format!(
            "wait: the network {name} is in does not come back by itself"
        )],
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: None,
    }
}
