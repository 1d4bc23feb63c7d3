//! Restarting sick containers.
//!
//! A restart answers a failed health check, a hang, and a memory runaway that is critical or confirmed; memory that climbs far from
//! any limit is worth knowing and no reason to act. It does not answer a crash
//! loop: the engine restarts that container already, and each restart more costs its dependants another outage; it is said once and
//! left to people, and as long as it goes on no other signal gets the container restarted either. Where the label says `recreate`, what
//! no restart cures is taken further ([`crate::escalate`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    Action, ActionKind, Check, ContainerId, ContainerState, Expectation, HealthState, Mode, Phase,
    ServiceId, Severity, Signal, SignalId, SignalKind, Step, Timestamp,
};

use crate::depends;
use crate::draft::{Decision, Draft, admit, say};
use crate::escalate::{self, Rung};
use crate::fleet::{Certainty, Replica};
use crate::ledger::doubled;
use crate::reattach;
use crate::relocate;
use crate::state::State;
use crate::update;

const HOUR: Duration = Duration::from_secs(3_600);
/// What a blocked restart waits for is looked at this often.
pub(crate) const RECHECK: Duration = Duration::from_secs(1);

/// What to do about the sick containers of a service, most urgent first. At most one is acted on.
pub(crate) fn decide(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Decision> {
    let mut sick: BTreeMap<&ContainerId, Vec<&Signal>> = BTreeMap::new();
    for signal in state.signals.open(service) {
        if let (Some(container), true) = (&signal.subject.container, is_ours(signal.kind)) {
            sick.entry(container).or_default().push(signal);
        }
    }
    let mut sick: Vec<(&ContainerId, Vec<&Signal>)> = sick.into_iter().collect();
    sick.sort_by_key(|(_, signals)| {
        let worst = signals.iter().map(|signal| signal.severity).max();
        let first = signals.iter().map(|signal| signal.opened_at).min();
        (std::cmp::Reverse(worst), first)
    });
    let mut decisions = Vec::new();
    let mut answered: BTreeSet<&ContainerId> = BTreeSet::new();
    for (container, signals) in sick {
        let decision = about(state, service, container, &signals, now);
        let acted = matches!(decision, Decision::Act(_));
        if decision != Decision::Nothing {
            answered.insert(container);
        }
        decisions.push(decision);
        if acted {
            return decisions;
        }
    }
    decisions.extend(reattach::decide(state, service, &answered, now));
    decisions
}

pub(crate) fn is_ours(kind: SignalKind) -> bool {
    match kind {
        SignalKind::Unhealthy
        | SignalKind::Hang
        | SignalKind::MemoryRunaway
        | SignalKind::CrashLoop => true,
        SignalKind::Overload
        | SignalKind::Throttling
        | SignalKind::CpuAnomaly
        | SignalKind::MemoryAnomaly
        | SignalKind::NetworkAnomaly
        | SignalKind::IoAnomaly
        | SignalKind::ErrorLogs
        | SignalKind::LogStorm
        | SignalKind::LogNovelty
        | SignalKind::LogSilence
        | SignalKind::OddReplica
        | SignalKind::NetworkDelay
        | SignalKind::NodePressure
        | SignalKind::UnusualPattern
        | SignalKind::TelemetryMissing
        | SignalKind::TelemetryLost
        | SignalKind::Standstill
        | SignalKind::LimitNear
        | SignalKind::AppAnomaly
        | SignalKind::RequestAnomaly => false,
    }
}

fn about(
    state: &State,
    service: &ServiceId,
    container: &ContainerId,
    signals: &[&Signal],
    now: Timestamp,
) -> Decision {
    let Some(replica) = state.fleet.find(service, container) else {
        return Decision::Nothing;
    };
    if update::watches(state, service, &replica) || relocate::watches(state, service, &replica, now)
    {
        return Decision::Nothing;
    }
    // One that is isolated is people's; one that moved away has a successor.
    if replica.record.is_isolated() || relocate::has_taken(state, service, container) {
        return Decision::Nothing;
    }
    let policy = &replica.record.policy;
    if !policy.heal || policy.mode.min(state.config.max_mode) == Mode::Observe {
        return Decision::Nothing;
    }
    if let Some(looping) = signals
        .iter()
        .find(|signal| signal.kind == SignalKind::CrashLoop)
    {
        if policy.recreate {
            let signals = [*looping];
            let rung = escalate::rung(state, service, &replica, &signals, now);
            return escalate::answer(state, service, &replica, &signals, rung, now);
        }
        return say(
            state,
            quarantine(state, service, &replica, looping),
            None,
            now,
        );
    }
    if replica.record.state != ContainerState::Running {
        return Decision::Nothing;
    }
    let (ready, later) = actionable(state, &replica, signals, now);
    if ready.is_empty() {
        return later.map_or(Decision::Nothing, Decision::Wait);
    }
    if policy.recreate {
        match escalate::rung(state, service, &replica, &ready, now) {
            Rung::Restart => {}
            rung @ (Rung::RollBack(..)
            | Rung::Recreate(_)
            | Rung::Move(_)
            | Rung::Isolate(_)
            | Rung::People(_)) => {
                return escalate::answer(state, service, &replica, &ready, rung, now);
            }
        }
    }
    let draft = draft(state, service, &replica, &ready);
    match obstacle(state, service, &replica, &ready, now) {
        Obstacle::None => admit(state, draft, policy.mode, now),
        Obstacle::Busy => Decision::Nothing,
        Obstacle::Until(until) | Obstacle::Waits(_, until) => Decision::Wait(until),
        Obstacle::Said(why, until) => say(state, draft.held(&why), Some(until), now),
    }
}

/// Signals a restart answers now, and when one that is not confirmed yet would be.
pub(crate) fn actionable<'a>(
    state: &State,
    replica: &Replica<'_>,
    signals: &[&'a Signal],
    now: Timestamp,
) -> (Vec<&'a Signal>, Option<Timestamp>) {
    let mut ready = Vec::new();
    let mut later = None;
    for signal in signals {
        // Told of a process that has been replaced since: the new one is to be judged by its own telemetry.
        if replica
            .record
            .started_at
            .is_some_and(|started| started > signal.at)
        {
            continue;
        }
        // A health check that fails for want of CPU: more replicas cure that. It is raised once the overload is over.
        if signal.kind == SignalKind::Unhealthy && signal.severity != Severity::Critical {
            continue;
        }
        // It climbs, and no limit is near: a cache that fills looks the same. It is raised when the limit, or the node's end, nears.
        if signal.kind == SignalKind::MemoryRunaway && signal.severity == Severity::Info {
            continue;
        }
        let confirmed_at = signal.opened_at + state.config.heal.confirm_after;
        let patient =
            signal.kind == SignalKind::MemoryRunaway && signal.severity != Severity::Critical;
        if patient && now < confirmed_at {
            later = Some(later.map_or(confirmed_at, |known: Timestamp| known.min(confirmed_at)));
        } else {
            ready.push(*signal);
        }
    }
    (ready, later)
}

/// What keeps a restart that is called for from being done.
pub(crate) enum Obstacle {
    None,
    /// A plan of the service runs; its end is an event.
    Busy,
    Until(Timestamp),
    /// For something that is likely to come; not worth a line in the journal.
    Waits(String, Timestamp),
    Said(String, Timestamp),
}

pub(crate) fn obstacle(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    now: Timestamp,
) -> Obstacle {
    match in_the_way(state, service, replica, signals, now) {
        Obstacle::None => restarted_often(state, service, &replica.record.id, now),
        other
        @ (Obstacle::Busy | Obstacle::Until(_) | Obstacle::Waits(..) | Obstacle::Said(..)) => other,
    }
}

/// What keeps anything from being done about a sick container, a restart or more.
pub(crate) fn in_the_way(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    now: Timestamp,
) -> Obstacle {
    let hold = state.hold_end(service);
    if hold > now {
        return Obstacle::Until(hold);
    }
    let replicas = state.fleet.replicas(service);
    if is_busy(state, service, replica, replicas.len()) {
        return Obstacle::Busy;
    }
    if !state.is_fresh(replica, now) {
        let listening_until = state.listening_until();
        if replica.certainty == Certainty::Doubtful && listening_until > now {
            return Obstacle::Until(listening_until);
        }
        return Obstacle::Said(state.silence_of(replica, now), now + RECHECK);
    }
    let id = &replica.record.id;
    let others = || replicas.iter().filter(|other| other.record.id != *id);
    let mut kinds = signals.iter().map(|signal| signal.kind);
    let only_memory = !signals.is_empty() && kinds.all(|kind| kind == SignalKind::MemoryRunaway);
    let coming = others().any(|other| {
        other.record.state == ContainerState::Running
            && other.record.health == HealthState::Starting
    });
    if only_memory && coming && !others().any(|other| other.record.is_serving()) {
        // It still serves, alone; another one is about to.
        return Obstacle::Until(now + RECHECK);
    }
    let opened = signals.iter().map(|signal| signal.opened_at).min();
    if let Some((why, until)) =
        opened.and_then(|opened| depends::waits_for(state, replica, opened, now))
    {
        return Obstacle::Waits(why, until);
    }
    Obstacle::None
}

/// A plan of the service runs, or a restart there has yet to be judged: replicas are restarted one after the other.
fn is_busy(state: &State, service: &ServiceId, replica: &Replica<'_>, replicas: usize) -> bool {
    let id = &replica.record.id;
    let mut active = state
        .plans
        .active()
        .filter(|entry| entry.plan.service == *service);
    active.any(|entry| match entry.phase {
        Phase::Decided => entry.plan.kind.touches_containers(),
        Phase::Executed => {
            let mut steps = entry.plan.steps.iter();
            let same = steps.any(|step| step.action.target() == id);
            match entry.plan.kind {
                ActionKind::Restart => same || replicas > 1,
                // The one it made has another id.
                ActionKind::Recreate => true,
                ActionKind::UpdateLimits
                | ActionKind::CreateReplica
                | ActionKind::RemoveReplica
                | ActionKind::PullImage
                | ActionKind::Stop
                | ActionKind::Export
                | ActionKind::Isolate
                | ActionKind::Rejoin => false,
            }
        }
        Phase::Suggested | Phase::Failed | Phase::Judged => false,
    })
}

fn restarted_often(
    state: &State,
    service: &ServiceId,
    id: &ContainerId,
    now: Timestamp,
) -> Obstacle {
    let restarts = state.plans.restarts(service, id);
    let mut lately = restarts.iter().copied().filter(|at| *at + HOUR > now);
    let (first, count) = (lately.next(), lately.count() + 1);
    if let Some(first) = first
        && count >= state.config.heal.hourly as usize
    {
        let why = format!(
            "it was restarted {count} times in the last hour, the most allowed; it is left to people"
        );
        return Obstacle::Said(why, first + HOUR);
    }
    match backoff_end(state, &restarts, now) {
        Some(until) if until > now => Obstacle::Until(until),
        Some(_) | None => Obstacle::None,
    }
}

/// When the wait after the last of these restarts ends.
fn backoff_end(state: &State, restarts: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
    let config = &state.config.heal;
    let last = *restarts.last()?;
    if now.since(last) >= config.backoff_reset {
        return None;
    }
    let gaps = restarts
        .windows(2)
        .rev()
        .take_while(|pair| pair[1].since(pair[0]) < config.backoff_reset);
    let doublings = u32::try_from(gaps.count()).unwrap_or(u32::MAX);
    Some(last + doubled(config.backoff, doublings).min(config.backoff_reset))
}

fn draft(state: &State, service: &ServiceId, replica: &Replica<'_>, signals: &[&Signal]) -> Draft {
    let config = &state.config.heal;
    let record = replica.record;
    let name = &record.name;
    let kinds: Vec<&str> = signals.iter().map(|signal| signal.kind.as_str()).collect();
    let within_s = config.verdict_within.as_secs();
    let ids: Vec<SignalId> = signals.iter().map(|signal| signal.id.clone()).collect();
    let reasons: Vec<&str> = signals
        .iter()
        .map(|signal| signal.reason.as_str())
        .collect();
    let serving = state
        .fleet
        .replicas(service)
        .iter()
        .filter(|other| other.record.id != record.id && other.record.is_serving())
        .count();
    let meanwhile = match serving {
        0 => {
            format!("no other replica of {service} serves, and {name} does not do its work either")
        }
        others => format!("{others} other replicas of {service} serve meanwhile"),
    };
    Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::Restart,
        signals: ids.clone(),
        reason: reasons.join("; "),
        steps: vec![Step {
            node: replica.node.clone(),
            action: Action::Restart {
                container: record.id.clone(),
                name: name.clone(),
                grace: config.grace,
            },
        }],
        expected: Expectation {
            text: format!(
                "{name} works again after its restart: {} is over within {within_s} s and does not come back; {meanwhile}",
                kinds.join(" and ")
            ),
            check: Check::SignalsResolve { signals: ids },
            within: config.verdict_within,
        },
        alternatives: vec![
            format!(
                "wait: {} does not pass by itself as a rule",
                kinds.join(" and ")
            ),
            format!("add a replica: it would not bring {name} back"),
        ],
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: signals.iter().find_map(|signal| signal.traceparent.clone()),
    }
}

/// What is said of a crash loop: nothing to do but for people.
fn quarantine(state: &State, service: &ServiceId, replica: &Replica<'_>, signal: &Signal) -> Draft {
    let name = &replica.record.name;
    Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::Restart,
        signals: vec![signal.id.clone()],
        reason: format!(
            "{}; more restarts would not help, it is left to people",
            signal.reason
        ),
        steps: Vec::new(),
        expected: Expectation {
            text: format!(
                "someone looks at the last log lines of {name} and at what was changed before they began"
            ),
            check: Check::SignalsResolve {
                signals: vec![signal.id.clone()],
            },
            within: state.config.heal.verdict_within,
        },
        alternatives: vec![format!(
            "restart {name}: the engine has done so {} times",
            replica.record.restarts
        )],
        deadline: state.config.heal.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: signal.traceparent.clone(),
    }
}
