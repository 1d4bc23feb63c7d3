//! Whether a step of an update left things as good as they were.

use units::{
    ActionKind, ContainerId, ContainerRecord, ContainerState, HealthState, PlanEntry, Severity,
    Signal, SignalKind, Timestamp, VerdictKind,
};

use crate::judge::{Finding, created, due};
use crate::state::State;

use super::course::{Course, change_of};
use super::steps::standing;

/// What is found of an executed step.
pub(crate) fn judged(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    match entry.plan.kind {
        ActionKind::PullImage => Some((
            VerdictKind::Helped,
            format!("the image is at hand on {} nodes", entry.plan.steps.len()),
        )),
        ActionKind::Recreate | ActionKind::CreateReplica => changed(state, entry, now),
        ActionKind::RemoveReplica
        | ActionKind::Restart
        | ActionKind::UpdateLimits
        | ActionKind::Stop
        | ActionKind::Export
        | ActionKind::Isolate
        | ActionKind::Rejoin => removed(state, entry, now),
    }
}

fn removed(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    if now < due(entry) {
        return None;
    }
    let service = &entry.plan.service;
    let replicas = state.fleet.replicas(service);
    let serving = replicas.iter().filter(|it| it.record.is_serving()).count();
    let text = format!("{serving} replicas of {service} serve");
    Some(match serving {
        0 => (VerdictKind::NoEffect, text),
        _ => (VerdictKind::Helped, text),
    })
}

fn changed(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    let plan = &entry.plan;
    let step = plan.steps.first()?;
    let name = step.action.name();
    let made = created(entry).first().copied();
    let container = made.unwrap_or(step.action.target());
    let image = change_of(entry).map_or_else(String::new, |change| change.to.to_string());
    let course = Course::of(state, &plan.service);
    let replica = state.fleet.find(&plan.service, container);
    let after_s = now.since(entry.at).as_secs();
    let is_back = plan.undo_of.is_some();
    if let (false, Some(course)) = (is_back, &course)
        && let Some(why) = complaint(state, course, container)
            .or_else(|| about_service(state, entry).map(|signal| told(signal, name.as_str())))
    {
        let text = format!("{why}, {after_s} s after {name} was made from {image}");
        return Some((VerdictKind::Worse, text));
    }
    if let (false, Some(replica)) = (is_back, &replica)
        && let Some(state) = broken(replica.record)
    {
        let (from, node) = (change_of(entry).map(|it| &it.to.reference), replica.node);
        // It is gone by the time that people look.
        let step = from.map_or_else(String::new, |reference| {
            format!("; `docker run --rm {reference}` on node {node} shows what it says")
        });
        let text = format!("{name} is {state}, {after_s} s after it was made from {image}{step}");
        return Some((VerdictKind::Worse, text));
    }
    if now < due(entry) {
        return None;
    }
    let Some(replica) = replica else {
        let text = format!("{name} was removed before it could be judged");
        return Some((VerdictKind::Unknown, text));
    };
    if !state.seems_fresh(&replica, now) {
        let (node, at) = (replica.node, replica.seen_at);
        let text = format!("node {node} has said nothing since {at}");
        return Some((VerdictKind::Unknown, text));
    }
    let standing = standing(replica.record);
    Some(match replica.record.is_serving() {
        true => (
            VerdictKind::Helped,
            format!("{name} serves from {image} {after_s} s after it was made"),
        ),
        // It may still begin to; the next step waits for that, and not for ever.
        false => (
            VerdictKind::Unknown,
            format!("{name} is {standing} {after_s} s after it was made from {image}"),
        ),
    })
}

/// It will not serve by waiting.
fn broken(record: &ContainerRecord) -> Option<String> {
    let is_broken = match record.state {
        ContainerState::Running => record.health == HealthState::Unhealthy || record.restarts > 0,
        ContainerState::Restarting | ContainerState::Exited | ContainerState::Dead => true,
        ContainerState::Created | ContainerState::Paused => false,
    };
    is_broken.then(|| match (record.state, record.restarts) {
        (ContainerState::Running, restarts) if restarts > 0 => {
            format!("ending again and again, and was restarted {restarts} times")
        }
        _ => standing(record),
    })
}

/// What a signal tells of this container that none tells of those of the image before.
pub(crate) fn complaint(
    state: &State,
    course: &Course<'_>,
    container: &ContainerId,
) -> Option<String> {
    let service = &course.order.service;
    let open = state.signals.open(service);
    let is_old = |id: &ContainerId| {
        let replica = state.fleet.find(service, id);
        replica.is_some_and(|it| !course.is_ours(state, &it))
    };
    let known: Vec<SignalKind> = open
        .iter()
        .filter(|signal| signal.subject.container.as_ref().is_some_and(is_old))
        .map(|signal| signal.kind)
        .collect();
    let worse = open.iter().find(|signal| {
        signal.subject.container.as_ref() == Some(container)
            && counts(signal)
            && !known.contains(&signal.kind)
    });
    let replica = state.fleet.find(service, container);
    let name = replica.map_or_else(|| container.to_string(), |it| it.record.name.to_string());
    worse.map(|signal| told(signal, &name))
}

/// A signal about the service as a whole that opened since.
fn about_service<'a>(state: &'a State, entry: &PlanEntry) -> Option<&'a Signal> {
    let open = state.signals.open(&entry.plan.service).into_iter();
    open.filter(|signal| counts(signal) && signal.subject.container.is_none())
        .find(|signal| signal.opened_at > entry.plan.created_at)
}

fn told(signal: &Signal, name: &str) -> String {
    match &signal.subject.container {
        Some(_) => format!("{} of {name} is open: {}", signal.kind, signal.reason),
        None => format!("{} is open: {}", signal.kind, signal.reason),
    }
}

/// It says something of what runs, and that is worth acting on.
fn counts(signal: &Signal) -> bool {
    let is_about_it = match signal.kind {
        SignalKind::Overload
        | SignalKind::Throttling
        | SignalKind::CpuAnomaly
        | SignalKind::MemoryAnomaly
        | SignalKind::MemoryRunaway
        | SignalKind::NetworkAnomaly
        | SignalKind::IoAnomaly
        | SignalKind::Unhealthy
        | SignalKind::Hang
        | SignalKind::CrashLoop
        | SignalKind::ErrorLogs
        | SignalKind::LogStorm
        | SignalKind::LogNovelty
        | SignalKind::LogSilence
        | SignalKind::OddReplica
        | SignalKind::NetworkDelay
        | SignalKind::UnusualPattern
        | SignalKind::Standstill
        | SignalKind::LimitNear
        | SignalKind::AppAnomaly
        | SignalKind::RequestAnomaly => true,
        // Of the host, or of how it is watched.
        SignalKind::NodePressure | SignalKind::TelemetryMissing | SignalKind::TelemetryLost => {
            false
        }
    };
    is_about_it && signal.severity != Severity::Info
}
