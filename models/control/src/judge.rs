//! Whether a plan did what was expected of it.

use std::time::Duration;

use units::{
    ActionKind, ContainerId, ContainerState, OutcomeResult, Phase, PlanEntry, Ratio, ServiceId,
    SignalId, SignalKind, Timestamp, Verdict, VerdictKind,
};

use crate::failover;
use crate::fleet::Replica;
use crate::idle;
use crate::isolate;
use crate::loads::Load;
use crate::recreated;
use crate::relocate;
use crate::resize;
use crate::scale::{Group, wants_more};
use crate::signals::Standing;
use crate::state::State;
use crate::update;

/// A forecast may still hold samples from before the last step for this long.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);
/// Use this much above the target is still what was expected.
pub(crate) const ALLOWANCE: f64 = 1.1;
/// A load this many times that of the decision is another load.
pub(crate) const GROWN: f64 = 1.2;
/// Replicas that carry this many times what was carried before were needed.
pub(crate) const CARRIED: f64 = 1.1;
/// So many forecasts have to agree.
pub(crate) const AGREEING: u32 = 2;

/// The judgement on an executed plan, once it can be made: some are clear early, the rest when their time is up.
pub(crate) fn judge(state: &State, entry: &PlanEntry, now: Timestamp) -> Option<Verdict> {
    if let Some(text) = cut_short(state, entry, now) {
        return Some(verdict((VerdictKind::Unknown, text), now));
    }
    if entry.plan.kind == ActionKind::UpdateLimits {
        return resize::judged(state, entry, now).map(|found| verdict(found, now));
    }
    let found = match &entry.plan.expected.check {
        units::Check::NoOverload if entry.plan.kind == ActionKind::Isolate => {
            isolate::judged(state, entry, now)
        }
        units::Check::NoOverload if entry.plan.kind == ActionKind::Rejoin => {
            isolate::rejoined(state, entry, now)
        }
        units::Check::SignalsResolve { .. } if entry.plan.kind == ActionKind::Recreate => {
            recreated::found(state, entry, now)
        }
        units::Check::SignalsResolve { signals } => restarted(state, entry, signals, now),
        units::Check::UtilisationAtMost { .. } if idle::is_start(&entry.plan) => {
            idle::started(state, entry, now)
        }
        units::Check::UtilisationAtMost { ratio } => added(state, entry, *ratio, now),
        units::Check::NoOverload if entry.plan.kind == ActionKind::Stop => {
            idle::stopped(state, entry, now)
        }
        units::Check::NoOverload | units::Check::LimitsHold => removed(state, entry, now),
        units::Check::ServesAsWell => update::judged(state, entry, now),
        units::Check::SuccessorServes => relocate::judged(state, entry, now),
    };
    found.map(|found| verdict(found, now))
}

/// Whether nothing more will be found of a plan that was carried out.
pub(crate) fn is_cut_short(state: &State, entry: &PlanEntry, now: Timestamp) -> bool {
    cut_short(state, entry, now).is_some()
}

/// Why a plan that was carried out is watched no longer. It keeps everything else of its service waiting meanwhile, and what ran on a lost
/// node is to be made elsewhere.
fn cut_short(state: &State, entry: &PlanEntry, now: Timestamp) -> Option<String> {
    let plan = &entry.plan;
    if entry.phase != Phase::Executed || plan.update.is_some() {
        return None;
    }
    let heals = matches!(plan.kind, ActionKind::Restart | ActionKind::Recreate);
    let node = match &plan.relocation {
        None if heals => plan.steps.first().map(|step| &step.node),
        None => None,
        Some(_) => relocate::watched_on(state, entry),
    };
    if let Some(node) = node.filter(|node| failover::is_lost(state, node, now)) {
        return Some(format!(
            "node {node} was lost while it was watched there what came of it"
        ));
    }
    let changes_load = matches!(
        plan.kind,
        ActionKind::UpdateLimits | ActionKind::CreateReplica | ActionKind::RemoveReplica
    );
    if plan.relocation.is_some() || !(heals || changes_load) {
        return None;
    }
    let node = failover::awaited_on(state, &plan.service, plan.created_at, now)?;
    Some(format!(
        "node {node} was lost meanwhile, and what ran there of {} is made elsewhere first",
        plan.service
    ))
}

fn verdict((kind, reason): (VerdictKind, String), now: Timestamp) -> Verdict {
    Verdict {
        kind,
        at: now,
        reason,
    }
}

/// When the judgement is due at the latest.
pub(crate) fn due(entry: &PlanEntry) -> Timestamp {
    entry.at + entry.plan.expected.within
}

pub(crate) type Finding = Option<(VerdictKind, String)>;

fn restarted(state: &State, entry: &PlanEntry, signals: &[SignalId], now: Timestamp) -> Finding {
    let service = &entry.plan.service;
    let step = entry.plan.steps.first()?;
    let (name, container) = (step.action.name(), step.action.target());
    let looping = state
        .signals
        .opened_since(service, SignalKind::CrashLoop, entry.plan.created_at);
    if looping
        .iter()
        .any(|signal| signal.subject.container.as_ref() == Some(container))
    {
        return Some((
            VerdictKind::Worse,
            format!("{name} keeps ending since its restart; a restart cannot be undone"),
        ));
    }
    let standings: Vec<Standing> = signals
        .iter()
        .map(|id| state.signals.standing(service, id))
        .collect();
    for standing in &standings {
        if let Standing::Reopened { at } = standing {
            let after_s = at.since(entry.at).as_secs();
            return Some((
                VerdictKind::NoEffect,
                format!("the same opened again {after_s} s after the restart of {name}"),
            ));
        }
    }
    if now < due(entry) {
        return None;
    }
    let Some(replica) = state.fleet.find(service, container) else {
        return Some((
            VerdictKind::Unknown,
            format!("{name} was removed before it could be judged"),
        ));
    };
    if !state.seems_fresh(&replica, now) {
        let reason = format!(
            "node {} has said nothing since {}",
            replica.node, replica.seen_at
        );
        return Some((VerdictKind::Unknown, reason));
    }
    Some(at_last(entry, &replica, &standings))
}

/// What is found of a restart when its time is up.
fn at_last(
    entry: &PlanEntry,
    replica: &Replica<'_>,
    standings: &[Standing],
) -> (VerdictKind, String) {
    let within_s = entry.plan.expected.within.as_secs();
    let name = &replica.record.name;
    let all = standings.len();
    let open = standings
        .iter()
        .filter(|standing| **standing == Standing::Open)
        .count();
    if open > 0 {
        let reason = format!(
            "{open} of {all} signals are still open {within_s} s after the restart of {name}"
        );
        return (VerdictKind::NoEffect, reason);
    }
    if standings.contains(&Standing::Unknown) {
        let reason =
            format!("the signals that led to the restart of {name} are not known any more");
        return (VerdictKind::Unknown, reason);
    }
    if replica.record.state != ContainerState::Running {
        let state = replica.record.state;
        let reason =
            format!("{name} is {state} {within_s} s after its restart; a restart cannot be undone");
        return (VerdictKind::Worse, reason);
    }
    let signals = match all {
        // It was cut off from its network, which is told from the order of starts.
        0 => {
            let reason = format!("{name} runs {within_s} s after its restart");
            return (VerdictKind::Helped, reason);
        }
        1 => "the signal is".to_owned(),
        _ => format!("all {all} signals are"),
    };
    let reason =
        format!("{signals} over and stayed so for {within_s} s after the restart of {name}");
    (VerdictKind::Helped, reason)
}

pub(crate) fn created(entry: &PlanEntry) -> Vec<&ContainerId> {
    let made = entry
        .outcomes
        .iter()
        .filter_map(|outcome| match &outcome.result {
            OutcomeResult::Succeeded { created, .. } => created.as_ref(),
            OutcomeResult::Refused { .. }
            | OutcomeResult::Failed { .. }
            | OutcomeResult::Vanished
            | OutcomeResult::Interrupted => None,
        });
    made.collect()
}

fn serving(state: &State, service: &ServiceId, containers: &[&ContainerId]) -> usize {
    let serves = |id: &&&ContainerId| {
        state
            .fleet
            .find(service, id)
            .is_some_and(|it| it.record.is_serving())
    };
    containers.iter().filter(serves).count()
}

fn added(state: &State, entry: &PlanEntry, target: Ratio, now: Timestamp) -> Finding {
    let service = &entry.plan.service;
    let made = created(entry);
    let serve = serving(state, service, &made);
    let over = now >= due(entry);
    let within_s = entry.plan.expected.within.as_secs();
    if serve < made.len() {
        let worse = format!(
            "{} of {} new replicas do not serve after {within_s} s",
            made.len() - serve,
            made.len()
        );
        return over.then_some((VerdictKind::Worse, worse));
    }
    let causes = &entry.plan.cause.signals;
    let resolved = |id: &SignalId| state.signals.standing(service, id) == Standing::Resolved;
    if !causes.is_empty() && causes.iter().all(resolved) {
        return Some((
            VerdictKind::Helped,
            format!(
                "the overload of {service} is over with {} new replicas",
                made.len()
            ),
        ));
    }
    let group = Group::of(state, service, now).filter(|group| group.metric().is_some());
    if let Some(group) = group {
        let made = u32::try_from(made.len()).unwrap_or(u32::MAX);
        return group.added_metric(state, entry, made, now);
    }
    let load = state.loads.get(service);
    match load.and_then(|load| carried(load, entry, target)) {
        Some(reason) => Some((VerdictKind::Helped, reason)),
        None if !over => None,
        None => Some(match load.and_then(Load::newest) {
            Some(newest) if newest.at > entry.at => {
                let reason = format!(
                    "{service} uses {:.0}m of CPU {within_s} s after {} replicas were added, which is still more than they carry at {target}",
                    newest.observed,
                    made.len()
                );
                (VerdictKind::NoEffect, reason)
            }
            Some(_) | None => (
                VerdictKind::Unknown,
                format!("the load of {service} is not known since {}", entry.at),
            ),
        }),
    }
}

/// The new replicas brought each one's share down, or carry what could not be carried before.
pub(crate) fn carried(load: &Load, entry: &PlanEntry, target: Ratio) -> Option<String> {
    let after = load.last(AGREEING, entry.at + SETTLE);
    if after.len() < AGREEING as usize {
        return None;
    }
    let newest = after.first()?;
    let share = |forecast: &units::Forecast| {
        let capacity = f64::from(forecast.replicas.max(1)) * forecast.replica_capacity.0 as f64;
        forecast.observed / capacity
    };
    let service = &entry.plan.service;
    if after
        .iter()
        .all(|forecast| share(forecast) <= target.get() * ALLOWANCE)
    {
        return Some(format!(
            "{} replicas of {service} are at {:.0}% of their CPU, {target} is the target",
            newest.replicas,
            share(newest) * 100.0
        ));
    }
    carries_more(load, entry)
}

/// It carries what it could not carry before, and perhaps needs more still.
pub(crate) fn carries_more(load: &Load, entry: &PlanEntry) -> Option<String> {
    let after = load.last(AGREEING, entry.at + SETTLE);
    if after.len() < AGREEING as usize {
        return None;
    }
    let newest = after.first()?;
    let before = load.observed_at(entry.plan.created_at)?;
    let more = after
        .iter()
        .all(|forecast| forecast.observed >= before * CARRIED);
    let service = &entry.plan.service;
    more.then(|| {
        format!(
            "{service} carries {:.0}m of CPU instead of {before:.0}m, and needs more still",
            newest.observed
        )
    })
}

fn removed(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    let service = &entry.plan.service;
    let overload = state
        .signals
        .opened_since(service, SignalKind::Overload, entry.plan.created_at);
    if let Some(signal) = overload.first() {
        let after_s = signal.opened_at.since(entry.at).as_secs();
        return Some((
            VerdictKind::Worse,
            format!(
                "{service} came under overload {after_s} s after the removal: {}",
                signal.reason
            ),
        ));
    }
    let group = Group::of(state, service, now);
    let load = match &group {
        Some(group) => group.load(state),
        None => state.loads.get(service),
    };
    // That it would have had a use for it was known when it went for another service.
    if entry.plan.preemption.is_none()
        && let (Some(load), Some(group)) = (load, &group)
        && let Some(desired) = wants_more(state, group, load, now)
        && let Some(newest) = load.newest()
    {
        let seen = newest.observed;
        let before = load.observed_at(entry.plan.created_at);
        let at = group.amount(newest, seen);
        let reason = format!("{service} needs {desired} replicas again, at {at}");
        return Some(match before {
            Some(before) if seen <= before * GROWN => (
                VerdictKind::Worse,
                format!("{reason}, as much as at the removal"),
            ),
            Some(before) => (
                VerdictKind::Unknown,
                format!(
                    "{reason}, where it was {} at the removal: another load",
                    group.amount(newest, before)
                ),
            ),
            None => (VerdictKind::Unknown, reason),
        });
    }
    if now < due(entry) {
        return None;
    }
    let within_s = entry.plan.expected.within.as_secs();
    Some(match load.and_then(Load::newest) {
        Some(newest) if newest.at > entry.at => (
            VerdictKind::Helped,
            format!(
                "{service} runs with one replica less and came under no overload for {within_s} s"
            ),
        ),
        Some(_) | None => (
            VerdictKind::Unknown,
            format!("the load of {service} is not known since {}", entry.at),
        ),
    })
}
