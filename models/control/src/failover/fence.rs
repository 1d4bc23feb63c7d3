//! Starting again what was stopped because its node was cut off.

use units::{Action, ActionKind, Check, ContainerState, Expectation, ServiceId, Step, Timestamp};

use super::loss::lease;
use crate::draft::{Decision, Draft, admit};
use crate::fleet::Replica;
use crate::heal::RECHECK;
use crate::relocate;
use crate::state::State;

/// What to do about a container of the service that its own node stopped and nobody took the place of.
pub(crate) fn start(state: &State, service: &ServiceId, now: Timestamp) -> Decision {
    let replicas = state.fleet.replicas(service);
    // It is told for as long as it stands still, also long after something else took its place.
    if replicas.iter().any(is_up) {
        return Decision::Nothing;
    }
    let mut fenced = replicas.iter().filter(|it| {
        it.record.state == ContainerState::Exited
            && state.beats.is_fenced(it.node, &it.record.id)
            && !relocate::has_stand_in(state, service, &it.record.id)
    });
    let Some(replica) = fenced.next() else {
        return Decision::Nothing;
    };
    let beat = state.beats.of(replica.node);
    let is_heard = beat.is_some_and(|beat| beat.read_at + lease(state, replica.node) >= now);
    if !is_heard || !state.is_fresh(replica, now) || !relocate::is_free(state, service, now) {
        return Decision::Wait(now + RECHECK);
    }
    admit(
        state,
        draft(state, service, replica),
        replica.record.policy.mode,
        now,
    )
}

fn is_up(replica: &Replica<'_>) -> bool {
    replica.counts() || replica.record.state == ContainerState::Restarting
}

fn draft(state: &State, service: &ServiceId, replica: &Replica<'_>) -> Draft {
    let (container, name) = (replica.record.id.clone(), replica.record.name.clone());
    let node = replica.node;
    let within = relocate::takes(state, service).saturating_mul(2);
    Draft {
        service: service.clone(),
        kind: ActionKind::Restart,
        signals: Vec::new(),
        reason: format!(
            "{name} was stopped by its own node {node}, which was cut off; {node} is heard again, and nothing has taken its place"
        ),
        expected: Expectation {
            text: format!("{name} serves within {} s", within.as_secs()),
            check: Check::SuccessorServes,
            within,
        },
        alternatives: vec![format!(
            "make one on another node: {name} is there, and starts sooner"
        )],
        steps: vec![Step {
            node: node.clone(),
            action: Action::Restart {
                container,
                name,
                grace: state.config.relocate.grace,
            },
        }],
        deadline: state.config.relocate.deadline,
        undo_of: None,
        approval: None,
        update: None,
        relocation: None,
        preemption: None,
        traceparent: None,
    }
}
