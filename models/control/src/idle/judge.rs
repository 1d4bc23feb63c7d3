//! Whether it was right to stop what was idle, and whether what was started serves.

use units::{ContainerState, Forecast, PlanEntry, Timestamp, VerdictKind};

use super::group_of;
use crate::fleet::Replica;
use crate::judge::{Finding, due};
use crate::loads::Load;
use crate::state::State;

/// The container a plan is about, if it is still there.
fn target<'a>(state: &'a State, entry: &PlanEntry) -> Option<Replica<'a>> {
    let step = entry.plan.steps.first()?;
    state.fleet.find(&entry.plan.service, step.action.target())
}

fn unknown(why: String) -> Finding {
    Some((VerdictKind::Unknown, why))
}

/// Whether anybody asked for a service soon after it was stopped. Load that comes is another load and no fault of the stop: it was right
/// by all that was known, and what it cost is one start.
pub(crate) fn stopped(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    let service = &entry.plan.service;
    let over = now >= due(entry);
    let Some(replica) = target(state, entry) else {
        let gone = format!("the last container of {service} was removed before it could be judged");
        return over.then_some((VerdictKind::Unknown, gone));
    };
    let name = &replica.record.name;
    let started = replica.record.started_at;
    let started = started.map(|at| state.fleet.here(replica.node, at));
    if replica.record.state == ContainerState::Running
        && started.is_some_and(|at| at > entry.plan.created_at)
    {
        return unknown(format!("{name} runs again, and nothing here started it"));
    }
    let replicas = state.fleet.replicas(service);
    let group = group_of(state, service, replica, replicas);
    let newest: Option<&Forecast> = group
        .as_ref()
        .and_then(|it| it.load(state)?.newest())
        .filter(|it| it.at > entry.plan.created_at);
    if let (Some(group), Some(newest)) = (&group, newest)
        && newest.observed > 0.0
    {
        let after_s = now.since(entry.at).as_secs();
        return unknown(format!(
            "{} is {} {after_s} s after {name} was stopped, where it had been 0: another load",
            group.told(newest),
            group.short(newest, newest.observed),
        ));
    }
    if !over {
        return None;
    }
    let within_s = entry.plan.expected.within.as_secs();
    match (&group, newest) {
        (Some(_), Some(newest)) if newest.at > entry.at => {
            let reason =
                format!("nobody asked for {service} for {within_s} s after {name} was stopped");
            Some((VerdictKind::Helped, reason))
        }
        (_, _) => unknown(format!(
            "the load of {service} is not known since {}",
            entry.at
        )),
    }
}

/// Whether what was started serves.
pub(crate) fn started(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    let service = &entry.plan.service;
    let over = now >= due(entry);
    let Some(replica) = target(state, entry) else {
        let gone = format!("the container of {service} that was started was removed");
        return over.then_some((VerdictKind::Unknown, gone));
    };
    let (name, record) = (&replica.record.name, replica.record);
    let is_seen = state.seems_fresh(&replica, now);
    let after_s = now.since(entry.at).as_secs();
    if record.is_serving() && is_seen {
        let reason = format!("{name} serves {after_s} s after it was started");
        return Some((VerdictKind::Helped, reason));
    }
    if !over {
        return None;
    }
    if !is_seen {
        return unknown(format!(
            "node {} has said nothing since {}",
            replica.node, replica.seen_at
        ));
    }
    let touched = state
        .people
        .last(&state.plans, &state.fleet, &state.beats, service);
    if touched.is_some_and(|at| at >= entry.plan.created_at) {
        return unknown(format!(
            "somebody else changed {service} since {name} was started"
        ));
    }
    let load = group_of(state, service, replica, Vec::new());
    let load = load.and_then(|group| {
        let newest = group.load(state).and_then(Load::newest)?;
        Some(format!(
            "; {} is {}",
            group.told(newest),
            group.short(newest, newest.observed)
        ))
    });
    let reason = format!(
        "{name} is {} and {} {after_s} s after it was started, and does not serve{}",
        record.state,
        record.health,
        load.unwrap_or_default()
    );
    Some((VerdictKind::Worse, reason))
}
