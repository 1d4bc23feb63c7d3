//! What is found of the steps of a move.

use std::time::Duration;

use units::{
    ActionKind, ContainerRecord, ContainerState, HealthState, NodeId, PlanEntry, Severity,
    SignalKind, Timestamp, VerdictKind,
};

use crate::fleet::{Replica, in_state};
use crate::heal::is_ours;
use crate::judge::{Finding, created, due};
use crate::state::State;

use super::course::{Course, action};

/// What takes the place of one of a lost node must have served for so long.
const SERVES_FOR: Duration = Duration::from_secs(5);

/// What is found of an executed step.
pub(crate) fn judged(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    let plan = &entry.plan;
    match plan.kind {
        ActionKind::Export => {
            let name = action(entry)?.name();
            Some((VerdictKind::Helped, format!("how {name} is made was told")))
        }
        ActionKind::CreateReplica => {
            let made = created(entry).first().copied()?;
            stands(state, entry, state.fleet.find(&plan.service, made), now)
        }
        ActionKind::Stop | ActionKind::RemoveReplica if plan.undo_of.is_none() => {
            let course = Course::of(state, &plan.service)?;
            stands(state, entry, course.stand_in(state), now)
        }
        ActionKind::Stop
        | ActionKind::RemoveReplica
        | ActionKind::Restart
        | ActionKind::Recreate
        | ActionKind::UpdateLimits
        | ActionKind::PullImage
        | ActionKind::Isolate
        | ActionKind::Rejoin => as_before(state, entry, now),
    }
}

/// The node where is watched whether the new one serves, of a step that took the old one away.
pub(crate) fn watched_on<'a>(state: &'a State, entry: &PlanEntry) -> Option<&'a NodeId> {
    let plan = &entry.plan;
    let takes_away = matches!(plan.kind, ActionKind::Stop | ActionKind::RemoveReplica);
    if !takes_away || plan.undo_of.is_some() || plan.relocation.is_none() {
        return None;
    }
    Some(Course::of(state, &plan.service)?.stand_in(state)?.node)
}

/// The new one serves, and nothing is told of it that would have it healed, nor of the service that it lacks capacity.
fn stands(
    state: &State,
    entry: &PlanEntry,
    successor: Option<Replica<'_>>,
    now: Timestamp,
) -> Finding {
    let service = &entry.plan.service;
    let after_s = now.since(entry.at).as_secs();
    let open = state.signals.open(service);
    let complaint = open.iter().find(|signal| {
        let about =
            successor.is_some_and(|it| signal.subject.container.as_ref() == Some(&it.record.id));
        let about_it = about && is_ours(signal.kind) && signal.severity != Severity::Info;
        // One more makes no service short; one less may.
        let short = signal.kind == SignalKind::Overload
            && entry.plan.kind != ActionKind::CreateReplica
            && signal.opened_at > entry.plan.created_at;
        about_it || short
    });
    if let Some(signal) = complaint {
        let text = format!(
            "{} is open after {after_s} s: {}",
            signal.kind, signal.reason
        );
        return Some((VerdictKind::Worse, text));
    }
    let to = &entry.plan.relocation.as_ref()?.to;
    if let Some(replica) = successor
        && let Some(standing) = broken(replica.record)
    {
        let name = &replica.record.name;
        let text = format!("{name} on node {to} is {standing} after {after_s} s");
        return Some((VerdictKind::Worse, text));
    }
    // In the place of one whose node is lost there is nothing to compare it with: it serves, or does not.
    let is_early = entry.plan.relocation.as_ref().is_some_and(|it| it.lost)
        && entry.at + SERVES_FOR <= now
        && successor.is_some_and(|it| it.record.is_serving() && state.is_fresh(&it, now));
    if now < due(entry) && !is_early {
        return None;
    }
    let Some(replica) = successor else {
        let text = format!("what was made on node {to} is gone");
        return Some((VerdictKind::Worse, text));
    };
    let name = &replica.record.name;
    if !state.seems_fresh(&replica, now) {
        let text = format!("node {to} has said nothing since {}", replica.seen_at);
        return Some((VerdictKind::Unknown, text));
    }
    Some(match replica.record.is_serving() {
        true => (
            VerdictKind::Helped,
            format!("{name} serves on node {to} after {after_s} s"),
        ),
        false => (
            VerdictKind::NoEffect,
            format!("{name} on node {to} does not serve after {after_s} s"),
        ),
    })
}

/// What was taken back: some of the service serves.
fn as_before(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    if now < due(entry) {
        return None;
    }
    let replicas = state.fleet.replicas(&entry.plan.service);
    let serving = replicas.iter().filter(|it| it.record.is_serving()).count();
    let text = format!("{serving} replicas of {} serve", entry.plan.service);
    Some(match serving {
        0 => (VerdictKind::NoEffect, text),
        _ => (VerdictKind::Helped, text),
    })
}

/// It will not serve by waiting.
fn broken(record: &ContainerRecord) -> Option<String> {
    let is_broken = match record.state {
        ContainerState::Running => record.health == HealthState::Unhealthy || record.restarts > 0,
        ContainerState::Restarting | ContainerState::Exited | ContainerState::Dead => true,
        ContainerState::Created | ContainerState::Paused => false,
    };
    is_broken.then(|| match record.restarts {
        0 => in_state(record),
        restarts => format!("{} and was restarted {restarts} times", in_state(record)),
    })
}
