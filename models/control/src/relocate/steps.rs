//! The plans of a move, each of one step.

use std::time::Duration;

use units::{
    Action, ActionKind, Check, ContainerName, Expectation, NodeId, Origin, PlanEntry, Relocation,
    ServiceId, SignalId, Step,
};

use crate::draft::Draft;
use crate::fleet::Replica;
use crate::grow::free_name;
use crate::loads::{Load, startup};
use crate::state::State;

use super::course::Course;

/// What a move is begun for.
#[derive(Debug, Clone)]
pub(crate) struct Purpose {
    pub(crate) signals: Vec<SignalId>,
    pub(crate) reason: String,
    pub(crate) alternatives: Vec<String>,
}

/// The node it leaves tells how it is made.
pub(super) fn export(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    relocation: Relocation,
    purpose: Purpose,
) -> Draft {
    let text = format!(
        "how {} is made is known on node {}; nothing that runs is touched",
        relocation.name, relocation.to
    );
    let Purpose {
        signals,
        reason,
        alternatives,
    } = purpose;
    let step = Step {
        node: replica.node.clone(),
        action: Action::Export {
            container: replica.record.id.clone(),
            name: replica.record.name.clone(),
        },
    };
    Draft {
        signals,
        reason: format!("{relocation}: {reason}"),
        alternatives,
        ..draft(state, service, &relocation, step, text, Duration::ZERO)
    }
}

/// One made so on the node it goes to.
pub(super) fn create(state: &State, course: &Course<'_>, original: &Replica<'_>) -> Draft {
    let relocation = course.relocation;
    let sealed = course.sealed().unwrap_or_default();
    let within = watched(state, course.service);
    Draft {
        reason: format!("{relocation}: the new one comes first"),
        alternatives: vec![format!(
            "stop {} before: nothing would serve in its place meanwhile",
            relocation.name
        )],
        deadline: state.config.relocate.create_deadline,
        ..made(state, original, relocation, sealed, within)
    }
}

/// One made as its lost node told beforehand.
pub(crate) fn stand_in(
    state: &State,
    original: &Replica<'_>,
    relocation: Relocation,
    sealed: &str,
    why: &str,
) -> Draft {
    let (name, from) = (&relocation.name, &relocation.from);
    let within = takes(state, &original.record.service).saturating_mul(2);
    Draft {
        reason: format!("{relocation}: {why}"),
        alternatives: vec![format!(
            "wait for {from}: until it is back nothing serves in the place of {name}"
        )],
        deadline: state.config.relocate.create_deadline,
        ..made(state, original, &relocation, sealed, within)
    }
}

fn made(
    state: &State,
    original: &Replica<'_>,
    relocation: &Relocation,
    sealed: &str,
    within: Duration,
) -> Draft {
    let name = name(state, original, &relocation.to);
    let text = format!(
        "{name} serves on node {} within {} s, and nothing is told of it that calls for healing",
        relocation.to,
        within.as_secs()
    );
    let step = Step {
        node: relocation.to.clone(),
        action: Action::CreateReplica {
            template: relocation.container.clone(),
            name,
            image: None,
            origin: Some(Origin {
                node: relocation.from.clone(),
                sealed: sealed.to_owned(),
            }),
        },
    };
    draft(
        state,
        &original.record.service,
        relocation,
        step,
        text,
        within,
    )
}

/// The one that was there goes.
pub(super) fn retire(
    state: &State,
    course: &Course<'_>,
    original: &Replica<'_>,
    successor: &Replica<'_>,
) -> Draft {
    let relocation = course.relocation;
    let (container, name) = (original.record.id.clone(), original.record.name.clone());
    let grace = state.config.relocate.grace;
    let new = &successor.record.name;
    let (kept, action) = match original.record.made_by {
        Some(_) => (
            "",
            Action::RemoveReplica {
                container,
                name,
                grace,
            },
        ),
        None => (
            "; a person made it, so it is kept, stopped",
            Action::Stop {
                container,
                name,
                grace,
            },
        ),
    };
    let step = Step {
        node: relocation.from.clone(),
        action,
    };
    let soak = state.config.relocate.soak;
    let text = format!(
        "{new} on node {} serves on without it for {} s, and no overload opens",
        relocation.to,
        soak.as_secs()
    );
    Draft {
        reason: format!("{relocation}: {new} serves there{kept}"),
        alternatives: vec![format!(
            "keep both: node {} is to be relieved",
            relocation.from
        )],
        ..draft(state, course.service, relocation, step, text, soak)
    }
}

/// The one that was stopped, once more.
pub(super) fn start_again(
    state: &State,
    course: &Course<'_>,
    original: &Replica<'_>,
    of: &PlanEntry,
    why: &str,
) -> Draft {
    let relocation = course.relocation;
    let name = original.record.name.clone();
    let within = watched(state, course.service);
    let text = format!("{name} serves on node {} again", relocation.from);
    let step = Step {
        node: relocation.from.clone(),
        action: Action::Restart {
            container: original.record.id.clone(),
            name,
            grace: state.config.relocate.grace,
        },
    };
    Draft {
        reason: format!("{relocation} is taken back: {why}"),
        undo_of: Some(of.plan.id.clone()),
        ..draft(state, course.service, relocation, step, text, within)
    }
}

/// The new one goes.
pub(super) fn remove(
    state: &State,
    course: &Course<'_>,
    successor: &Replica<'_>,
    of: &PlanEntry,
    why: &str,
) -> Draft {
    let relocation = course.relocation;
    let name = successor.record.name.clone();
    let text = format!(
        "{} serves without {name}, as before the move",
        course.service
    );
    let step = Step {
        node: successor.node.clone(),
        action: Action::RemoveReplica {
            container: successor.record.id.clone(),
            name: name.clone(),
            grace: state.config.relocate.grace,
        },
    };
    Draft {
        reason: format!("{relocation} is taken back: {why}"),
        alternatives: vec![format!("keep {name}: there would be one too many")],
        undo_of: Some(of.plan.id.clone()),
        ..draft(
            state,
            course.service,
            relocation,
            step,
            text,
            Duration::ZERO,
        )
    }
}

/// The name it has, where that is free on the other node.
fn name(state: &State, original: &Replica<'_>, to: &NodeId) -> ContainerName {
    let name = &original.record.name;
    if !state.fleet.is_named(to, name.as_str()) {
        return name.clone();
    }
    let there = Replica {
        node: to,
        ..*original
    };
    let replicas = state.fleet.replicas(&original.record.service);
    free_name(state, &replicas, &there, &[])
}

/// How long a new one may take to serve, with a margin.
fn watched(state: &State, service: &ServiceId) -> Duration {
    let takes = takes(state, service);
    takes.saturating_mul(2).max(state.config.relocate.soak)
}

/// How long a replica of the service takes to serve: as they have taken, else as assumed.
pub(crate) fn takes(state: &State, service: &ServiceId) -> Duration {
    let assumed = state.config.scale.startup;
    let forecast = state.loads.get(service).and_then(Load::newest);
    forecast.map_or(assumed, |forecast| startup(forecast, assumed))
}

fn draft(
    state: &State,
    service: &ServiceId,
    relocation: &Relocation,
    step: Step,
    text: String,
    within: Duration,
) -> Draft {
    let kind: ActionKind = step.action.kind();
    Draft {
        service: service.clone(),
        kind,
        signals: Vec::new(),
        reason: String::new(),
        steps: vec![step],
        expected: Expectation {
            text,
            check: Check::SuccessorServes,
            within,
        },
        alternatives: Vec::new(),
        deadline: state.config.relocate.deadline,
        undo_of: None,
        approval: None,
        update: None,
        relocation: Some(relocation.clone()),
        preemption: None,
        traceparent: None,
    }
}
