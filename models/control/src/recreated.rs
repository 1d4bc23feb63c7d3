//! Whether a container that took another's place runs where the other one did not.

use units::{
    Action, ContainerId, ContainerState, HealthState, PlanEntry, Severity, SignalKind, Timestamp,
    VerdictKind,
};

use crate::heal::is_ours;
use crate::judge::{Finding, created, due};
use crate::state::State;

/// What is found of it. The signals that led to it are those of the container that is gone, so the new one's own are looked at.
pub(crate) fn found(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    let service = &entry.plan.service;
    let step = entry.plan.steps.first()?;
    let name = step.action.name();
    // A replay knows the new one by the old one's id.
    let container = created(entry).first().copied();
    let container = container.unwrap_or(step.action.target());
    let within_s = entry.plan.expected.within.as_secs();
    if keeps_ending(state, entry, container) {
        let text = format!("{name} keeps ending since it was recreated");
        return Some((worth(state, entry, &step.action), text));
    }
    if now < due(entry) {
        return None;
    }
    let Some(replica) = state.fleet.find(service, container) else {
        let text = format!("{name} was removed before it could be judged");
        return Some((VerdictKind::Unknown, text));
    };
    if !state.is_fresh(&replica, now) {
        let (node, at) = (replica.node, replica.seen_at);
        let text = format!("node {node} has said nothing since {at}");
        return Some((VerdictKind::Unknown, text));
    }
    let open = state.signals.open(service);
    let sick = open.iter().find(|signal| {
        signal.subject.container.as_ref() == Some(container)
            && is_ours(signal.kind)
            && signal.severity != Severity::Info
            && signal.at >= entry.at
    });
    if let Some(signal) = sick {
        let kind = signal.kind;
        let text = format!("{kind} of {name} is open {within_s} s after it was recreated");
        return Some((VerdictKind::NoEffect, text));
    }
    if replica.record.state != ContainerState::Running {
        let state = replica.record.state;
        let text = format!("{name} is {state} {within_s} s after it was recreated");
        return Some((VerdictKind::Worse, text));
    }
    Some(match replica.record.health {
        HealthState::None | HealthState::Healthy => (
            VerdictKind::Helped,
            format!("{name} runs and is not sick {within_s} s after it was recreated"),
        ),
        HealthState::Starting => (
            VerdictKind::Unknown,
            format!("{name} is still starting {within_s} s after it was recreated"),
        ),
        HealthState::Unhealthy => (
            VerdictKind::NoEffect,
            format!("{name} is unhealthy {within_s} s after it was recreated"),
        ),
    })
}

fn keeps_ending(state: &State, entry: &PlanEntry, container: &ContainerId) -> bool {
    let service = &entry.plan.service;
    let since = entry.plan.created_at;
    let looping = state
        .signals
        .opened_since(service, SignalKind::CrashLoop, since);
    let mut looping = looping.iter();
    looping.any(|signal| signal.subject.container.as_ref() == Some(container))
}

/// One that keeps ending is no worse than one that did so before, unless people's image was taken from it for that.
fn worth(state: &State, entry: &PlanEntry, action: &Action) -> VerdictKind {
    let plan = &entry.plan;
    let rolled_back = matches!(action, Action::Recreate { image: Some(_), .. });
    let mut causes = plan.cause.signals.iter();
    let ended_before =
        causes.any(|id| state.signals.kind_of(&plan.service, id) == Some(SignalKind::CrashLoop));
    match rolled_back || !ended_before {
        true => VerdictKind::Worse,
        false => VerdictKind::NoEffect,
    }
}
