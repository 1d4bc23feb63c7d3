//! Whether a change of limits did what was expected of it.

use units::{
    Action, Check, ContainerId, ContainerState, Limits, OutcomeResult, PlanEntry, Severity, Signal,
    SignalId, SignalKind, Timestamp, VerdictKind,
};

use crate::judge::{Finding, GROWN, carried, carries_more, due};
use crate::loads::Load;
use crate::plans::outcome_of;
use crate::scale::{Group, wants_more};
use crate::signals::Standing;
use crate::state::State;

/// What a plan changed.
struct Changed<'a> {
    containers: Vec<&'a ContainerId>,
    cpu: bool,
    memory: bool,
    /// Some limit is lower than before.
    lowered: bool,
}

impl<'a> Changed<'a> {
    fn by(entry: &'a PlanEntry) -> Self {
        let mut changed = Changed {
            containers: Vec::new(),
            cpu: false,
            memory: false,
            lowered: false,
        };
        for (index, step) in entry.plan.steps.iter().enumerate() {
            changed.containers.push(step.action.target());
            let Action::UpdateLimits { limits, .. } = &step.action else {
                continue;
            };
            changed.cpu |= limits.cpu.is_some();
            changed.memory |= limits.memory.is_some();
            let before = previous(entry, index).unwrap_or_default();
            let less = limits
                .cpu
                .is_some_and(|to| before.cpu.is_some_and(|from| to < from));
            let tighter = limits
                .memory
                .is_some_and(|to| before.memory.is_some_and(|from| to < from));
            changed.lowered |= less || tighter;
        }
        changed
    }
}

/// The limits that a step found.
pub(super) fn previous(entry: &PlanEntry, index: usize) -> Option<Limits> {
    match &outcome_of(entry, index)?.result {
        OutcomeResult::Succeeded { previous, .. } => *previous,
        OutcomeResult::Refused { .. }
        | OutcomeResult::Failed { .. }
        | OutcomeResult::Vanished
        | OutcomeResult::Interrupted => None,
    }
}

/// The judgement on changed limits, once it can be made.
pub(crate) fn judged(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    let changed = Changed::by(entry);
    if let Some(finding) = trouble(state, entry, &changed, now) {
        return Some(finding);
    }
    let load = state.loads.get(&entry.plan.service);
    let early = match &entry.plan.expected.check {
        Check::SignalsResolve { signals } => {
            // Whether it uses less of its limit says nothing: the signal that is open still knows better.
            let more = load.filter(|_| changed.cpu);
            resolved(state, entry, signals, &changed)
                .or_else(|| helped(more.and_then(|load| carries_more(load, entry))))
        }
        Check::UtilisationAtMost { ratio } => {
            helped(load.and_then(|load| carried(load, entry, *ratio)))
        }
        Check::NoOverload | Check::LimitsHold | Check::ServesAsWell | Check::SuccessorServes => {
            None
        }
    };
    match early {
        Some(finding) => Some(finding),
        None if now < due(entry) => None,
        None => Some(at_last(state, entry, &changed, now)),
    }
}

fn helped(reason: Option<String>) -> Finding {
    reason.map(|reason| (VerdictKind::Helped, reason))
}

/// What shows that the limits are too low since.
fn trouble(state: &State, entry: &PlanEntry, changed: &Changed<'_>, now: Timestamp) -> Finding {
    let plan = &entry.plan;
    let kind = match changed.lowered {
        true => VerdictKind::Worse,
        false => VerdictKind::NoEffect,
    };
    if changed.memory {
        let since = match changed.lowered {
            true => plan.created_at,
            false => entry.at,
        };
        let killed = changed.containers.iter().find_map(|id| {
            let at = state.ooms.last(&state.fleet, &plan.service, id)?;
            (at > since).then_some(at)
        });
        if let Some(at) = killed {
            let after_s = at.since(entry.at).as_secs();
            let reason = format!(
                "a container of {} was killed for want of memory {after_s} s after its limit was changed",
                plan.service
            );
            return Some((kind, reason));
        }
    }
    if !changed.lowered {
        return None;
    }
    if let Some(signal) = opened(state, entry, changed) {
        let after_s = signal.opened_at.since(entry.at).as_secs();
        let reason = format!(
            "{} opened {after_s} s after limits of {} were lowered: {}",
            signal.kind, plan.service, signal.reason
        );
        return Some((VerdictKind::Worse, reason));
    }
    if changed.cpu {
        wanting(state, entry, now)
    } else {
        None
    }
}

/// The first signal since the decision that lower limits may have brought about.
fn opened<'a>(state: &'a State, entry: &PlanEntry, changed: &Changed<'_>) -> Option<&'a Signal> {
    let cpu: &[SignalKind] = match changed.cpu {
        true => &[SignalKind::Overload, SignalKind::Throttling],
        false => &[],
    };
    let memory: &[SignalKind] = match changed.memory {
        true => &[SignalKind::MemoryRunaway],
        false => &[],
    };
    let plan = &entry.plan;
    let all = cpu.iter().chain(memory);
    let since = all.flat_map(|kind| {
        state
            .signals
            .opened_since(&plan.service, *kind, plan.created_at)
    });
    let ours = since.filter(|signal| {
        let container = signal.subject.container.as_ref();
        let severe = signal.severity != Severity::Info || signal.kind == SignalKind::Throttling;
        severe && container.is_none_or(|id| changed.containers.contains(&id))
    });
    ours.min_by_key(|signal| signal.opened_at)
}

/// With less CPU for each, the load asks for more replicas.
fn wanting(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    let service = &entry.plan.service;
    let load = state.loads.get(service)?;
    let group = Group::of(state, service, now)?;
    if group.metric().is_some() {
        // Less CPU for each says nothing about what the label counts.
        return None;
    }
    let desired = wants_more(state, &group, load, now)?;
    let seen = load.newest()?.observed;
    let reason = format!("{service} needs {desired} replicas since, at {seen:.0}m of CPU");
    Some(match load.observed_at(entry.plan.created_at) {
        Some(before) if seen <= before * GROWN => (VerdictKind::Worse, reason),
        Some(before) => (
            VerdictKind::Unknown,
            format!("{reason}, where it was {before:.0}m before: another load"),
        ),
        None => (VerdictKind::Unknown, reason),
    })
}

fn resolved(
    state: &State,
    entry: &PlanEntry,
    signals: &[SignalId],
    changed: &Changed<'_>,
) -> Finding {
    let service = &entry.plan.service;
    let standing = |id: &SignalId| state.signals.standing(service, id);
    let again = signals.iter().find_map(|id| match standing(id) {
        Standing::Reopened { at } => Some(at),
        Standing::Open | Standing::Resolved | Standing::Unknown => None,
    });
    if let Some(at) = again {
        let after_s = at.since(entry.at).as_secs();
        let reason =
            format!("the same opened again {after_s} s after limits of {service} were raised");
        return Some((VerdictKind::NoEffect, reason));
    }
    // Memory that falls short of a higher limit is no proof yet that it does not grow on.
    let over = !changed.memory && signals.iter().all(|id| standing(id) == Standing::Resolved);
    over.then(|| {
        let reason = format!("what was open about {service} is over with the higher limits");
        (VerdictKind::Helped, reason)
    })
}

/// What is found when the time is up.
fn at_last(
    state: &State,
    entry: &PlanEntry,
    changed: &Changed<'_>,
    now: Timestamp,
) -> (VerdictKind, String) {
    let service = &entry.plan.service;
    let within_s = entry.plan.expected.within.as_secs();
    if let Some(reason) = unjudgeable(state, entry, changed, now) {
        return (VerdictKind::Unknown, reason);
    }
    match &entry.plan.expected.check {
        Check::SignalsResolve { signals } => {
            let mut open = 0;
            for id in signals {
                match state.signals.standing(service, id) {
                    Standing::Open | Standing::Reopened { .. } => open += 1,
                    Standing::Resolved => {}
                    Standing::Unknown => {
                        let reason = "the signals that led to it are not known any more";
                        return (VerdictKind::Unknown, reason.to_owned());
                    }
                }
            }
            match open {
                0 => (
                    VerdictKind::Helped,
                    format!(
                        "what was open about {service} is over, and stayed so for {within_s} s"
                    ),
                ),
                open => (
                    VerdictKind::NoEffect,
                    format!(
                        "{open} of {} signals are still open {within_s} s after the change of limits",
                        signals.len()
                    ),
                ),
            }
        }
        Check::UtilisationAtMost { ratio } => {
            let newest = state.loads.get(service).and_then(Load::newest);
            match newest.filter(|forecast| forecast.at > entry.at) {
                Some(forecast) => (
                    VerdictKind::NoEffect,
                    format!(
                        "{service} uses {:.0}m of CPU {within_s} s after its limits were raised, still more than they carry at {ratio}",
                        forecast.observed
                    ),
                ),
                None => (
                    VerdictKind::Unknown,
                    format!("the load of {service} is not known since {}", entry.at),
                ),
            }
        }
        Check::NoOverload | Check::LimitsHold | Check::ServesAsWell | Check::SuccessorServes => (
            VerdictKind::Helped,
            format!("{service} ran under its new limits for {within_s} s and lacked nothing"),
        ),
    }
}

/// Why nothing can be said of the containers that were changed, if so.
fn unjudgeable(
    state: &State,
    entry: &PlanEntry,
    changed: &Changed<'_>,
    now: Timestamp,
) -> Option<String> {
    let service = &entry.plan.service;
    changed.containers.iter().find_map(|id| {
        let found = state.fleet.find(service, id);
        let Some(replica) = found.filter(|replica| state.is_fresh(replica, now)) else {
            return Some(format!(
                "a container of {service} is gone, or its node silent, since its limits were changed"
            ));
        };
        let record = replica.record;
        let began = record.started_at.map(|at| state.fleet.here(replica.node, at));
        let is_another = began.is_some_and(|at| at > entry.at);
        (record.state != ContainerState::Running || is_another).then(|| {
            format!("{} was stopped or restarted since its limits were changed", record.name)
        })
    })
}
