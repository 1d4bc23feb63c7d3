//! The last thing that is done about a sick container before people: it is taken out of its networks and left running for them to look
//! at. Only where others of the service carry on without it, and only for what a request would come to grief with: one that keeps ending
//! serves nobody as it is, and memory that climbs is no reason to turn requests away.
//!
//! What was isolated is people's ([`units::ContainerRecord::is_isolated`]): it is no capacity, and nothing more is done about it. Where
//! the service comes to want it after all, it is put back, once.

use units::{
    Action, ActionKind, Attachment, Check, ContainerRecord, ContainerState, Expectation,
    NetworkSpec, OutcomeResult, Phase, PlanEntry, ScalePolicy, ServiceId, Signal, SignalId,
    SignalKind, Step, Timestamp, VerdictKind,
};

use crate::depends;
use crate::draft::{Decision, Draft, admit};
use crate::escalate::told;
use crate::fleet::Replica;
use crate::further::{decided, hindrance};
use crate::judge::{Finding, due};
use crate::ledger;
use crate::state::State;

/// Networks named to people; who is in more finds the others in the plan's outcome.
const NAMED_MAX: usize = 4;
/// Tries to put one back.
const TRIES_MAX: usize = 3;

/// Why a container is not isolated; nothing where it may be.
pub(crate) fn bar(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    tries: &[&PlanEntry],
    now: Timestamp,
) -> Option<String> {
    let record = replica.record;
    if !signals.iter().any(|signal| warrants(signal.kind)) {
        return Some("it is neither unhealthy nor does it hang".to_owned());
    }
    if record.state != ContainerState::Running {
        return Some(format!("it is {}", record.state));
    }
    let own = record.spec.as_deref().filter(|spec| spec.has_own_network());
    if own.is_none_or(|spec| spec.networks.is_empty()) {
        return Some("it has no network of its own that it could be taken out of".to_owned());
    }
    if tries.iter().any(|it| it.plan.kind == ActionKind::Isolate) {
        return Some("that was tried before".to_owned());
    }
    let (others, least) = (others(state, service, replica, now), least(state, service));
    (others < least)
        .then(|| format!("{others} other replicas of {service} serve, and {least} must"))
}

/// What requests come to grief with.
fn warrants(kind: SignalKind) -> bool {
    match kind {
        SignalKind::Unhealthy | SignalKind::Hang => true,
        SignalKind::MemoryRunaway
        | SignalKind::CrashLoop
        | SignalKind::Overload
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

/// Others that serve, as their nodes said a short time ago, and of which nothing is told that calls for healing.
fn others(state: &State, service: &ServiceId, one: &Replica<'_>, now: Timestamp) -> usize {
    let replicas = state.fleet.replicas(service);
    let others = replicas.iter().filter(|it| it.record.id != one.record.id);
    let serve = others.filter(|it| {
        it.record.is_serving() && state.is_fresh(it, now) && depends::sickness(state, it).is_none()
    });
    serve.count()
}

/// So many must serve without it.
fn least(state: &State, service: &ServiceId) -> usize {
    let replicas = state.fleet.replicas(service);
    let scales = replicas
        .iter()
        .filter_map(|it| it.record.policy.scale.as_ref());
    scales.map(ScalePolicy::least).max().unwrap_or(1) as usize
}

/// The decision to isolate it; `why` tells of the rungs before.
pub(crate) fn answer(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    why: &str,
    now: Timestamp,
) -> Decision {
    let draft = draft(state, service, replica, signals, why, now);
    let obstacle = hindrance(state, service, replica, signals, ActionKind::Isolate, now);
    decided(state, replica, draft, obstacle, now)
}

fn draft(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    why: &str,
    now: Timestamp,
) -> Draft {
    let config = &state.config.heal;
    let record = replica.record;
    let name = &record.name;
    let ids: Vec<SignalId> = signals.iter().map(|signal| signal.id.clone()).collect();
    let reasons: Vec<&str> = signals.iter().map(|it| it.reason.as_str()).collect();
    let others = others(state, service, replica, now);
    let tried = told(state, service, replica, now);
    Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::Isolate,
        signals: ids,
        reason: format!(
            "{}; {why}; out of its networks it runs on and is left to people, who put it back with `{}` or recreate it{tried}",
            reasons.join("; "),
            back(record).join("; "),
        ),
        steps: vec![Step {
            node: replica.node.clone(),
            action: Action::Isolate {
                container: record.id.clone(),
                name: name.clone(),
            },
        }],
        expected: Expectation {
            text: format!(
                "no request reaches {name} any more, and {others} other replicas of {service} carry on: no overload opens within {} s",
                config.verdict_within.as_secs()
            ),
            check: Check::NoOverload,
            within: config.verdict_within,
        },
        alternatives: vec![
            format!("leave {name} in its networks: what it is asked for comes to grief"),
            format!("stop {name}: nobody could see any more what it does"),
        ],
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: signals.iter().find_map(|signal| signal.traceparent.clone()),
    }
}

/// What people type to put it back.
pub(crate) fn back(record: &ContainerRecord) -> Vec<String> {
    let spec = record.spec.as_deref();
    let networks = spec.into_iter().flat_map(|spec| &spec.networks);
    let line = |network: &NetworkSpec| {
        let id = record.id.as_str();
        // The engine gives a container the beginning of its id as an alias by itself.
        let own = network
            .aliases
            .iter()
            .filter(|alias| !id.starts_with(alias.as_str()));
        let aliases: String = own.map(|alias| format!("--alias {alias} ")).collect();
        format!(
            "docker network connect {aliases}{} {}",
            network.name, record.name
        )
    };
    networks.take(NAMED_MAX).map(line).collect()
}

/// What is found of one that was isolated.
pub(crate) fn judged(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    let service = &entry.plan.service;
    let name = entry.plan.steps.first()?.action.name();
    let after_s = now.since(entry.at).as_secs();
    let since = entry.plan.created_at;
    let overloads = state
        .signals
        .opened_since(service, SignalKind::Overload, since);
    if let Some(signal) = overloads.first() {
        let reason = &signal.reason;
        let text = format!("{service} came under overload without {name}: {reason}");
        return Some((VerdictKind::Worse, text));
    }
    let replicas = state.fleet.replicas(service);
    let serving = replicas.iter().filter(|it| it.record.is_serving());
    let heard = serving.clone().any(|it| state.seems_fresh(it, now));
    match serving.count() {
        0 => {
            let text =
                format!("nothing of {service} serves any more, {after_s} s after {name} went");
            Some((VerdictKind::Worse, text))
        }
        _ if now < due(entry) => None,
        _ if !heard => {
            let text = format!("no node with a replica of {service} that served was heard lately");
            Some((VerdictKind::Unknown, text))
        }
        others => {
            let text = format!(
                "{others} replicas of {service} serve without {name}, and no overload opened for {after_s} s; it is left to people"
            );
            Some((VerdictKind::Helped, text))
        }
    }
}

/// What is found of one that was put back.
pub(crate) fn rejoined(state: &State, entry: &PlanEntry, now: Timestamp) -> Finding {
    if now < due(entry) {
        return None;
    }
    let action = &entry.plan.steps.first()?.action;
    let name = action.name();
    let replica = state.fleet.find(&entry.plan.service, action.target());
    Some(match replica {
        Some(it) if it.record.is_isolated() => (
            VerdictKind::NoEffect,
            format!("{name} is in none of its networks"),
        ),
        Some(_) => (
            VerdictKind::Helped,
            format!("{name} is in its networks again"),
        ),
        None => (VerdictKind::Unknown, format!("{name} is gone")),
    })
}

/// The networks that a plan took a container out of.
fn networks(entry: &PlanEntry) -> &[Attachment] {
    let mut outcomes = entry.outcomes.iter().map(|outcome| match &outcome.result {
        OutcomeResult::Succeeded { networks, .. } => networks.as_slice(),
        OutcomeResult::Refused { .. }
        | OutcomeResult::Failed { .. }
        | OutcomeResult::Vanished
        | OutcomeResult::Interrupted => &[],
    });
    outcomes.find(|it| !it.is_empty()).unwrap_or_default()
}

/// One of these plans put it back, or may yet; or enough of them failed.
pub(crate) fn is_undone<'a>(undoing: impl Iterator<Item = &'a PlanEntry>) -> bool {
    let tries: Vec<bool> = undoing.map(|it| it.phase == Phase::Failed).collect();
    tries.len() >= TRIES_MAX || tries.iter().any(|failed| !failed)
}

/// Puts back what a plan isolated, unless somebody was there first.
pub(crate) fn rejoin(
    state: &State,
    service: &ServiceId,
    entry: &PlanEntry,
    now: Timestamp,
) -> Decision {
    let Some(action) = entry.plan.steps.first().map(|step| &step.action) else {
        return Decision::Nothing;
    };
    let Some(replica) = state.fleet.find(service, action.target()) else {
        return Decision::Nothing;
    };
    let (record, networks) = (replica.record, networks(entry));
    let is_there = record.state == ContainerState::Running && record.is_isolated();
    if !is_there || networks.is_empty() || !state.is_fresh(&replica, now) {
        return Decision::Nothing;
    }
    let retry = ledger::retry_at(
        &state.plans,
        &state.config.ledger,
        service,
        ActionKind::Rejoin,
    );
    if retry > now {
        return Decision::Wait(retry);
    }
    let config = &state.config.heal;
    let name = &record.name;
    let why = entry
        .verdict
        .as_ref()
        .map(|verdict| verdict.reason.as_str());
    let why = why.unwrap_or("it made things worse");
    let draft = Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::Rejoin,
        signals: entry.plan.cause.signals.clone(),
        reason: format!("the isolation before made things worse: {why}"),
        steps: vec![Step {
            node: replica.node.clone(),
            action: Action::Rejoin {
                container: record.id.clone(),
                name: name.clone(),
                networks: networks.to_vec(),
            },
        }],
        expected: Expectation {
            text: format!(
                "{name} is in its networks again within {} s, as sick as it was; people are to look at it there",
                config.verdict_within.as_secs()
            ),
            check: Check::NoOverload,
            within: config.verdict_within,
        },
        alternatives: vec![format!(
            "leave {name} out: {service} is worse off without it"
        )],
        deadline: config.deadline,
        undo_of: Some(entry.plan.id.clone()),
        approval: None,
        update: None,
        traceparent: entry.plan.traceparent.clone(),
    };
    admit(state, draft, record.policy.mode, now)
}
