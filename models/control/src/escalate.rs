//! What follows when restarts do not help: a roll back to the image before, or one new container in the place of the sick one; then
//! what [`crate::further`] knows, and people. Only where the label `io.homeostat.heal` says `recreate`.
//!
//! Restarts have not helped when the last [`LOST_RESTARTS`] of the container for the same kind of signal were judged so, or when it
//! keeps ending, which no restart answers. What was tried is read from the journal, by the name of the container, which it keeps;
//! which image was there before, from [`crate::images`], whose memory a restart of the controller ends: then one new container of the
//! same image is all that is tried.

use std::time::Duration;

use units::{
    Action, ActionKind, Check, ContainerState, Expectation, ImageChange, NodeId, OutcomeResult,
    Phase, PlanEntry, Refusal, ServiceId, Severity, Signal, SignalId, SignalKind, Step, Subject,
    Timestamp, VerdictKind,
};

use crate::depends;
use crate::draft::{Decision, Draft, admit, say};
use crate::fleet::Replica;
use crate::further;
use crate::heal::{Obstacle, is_ours, obstacle};
use crate::idle;
use crate::images::image_of;
use crate::isolate;
use crate::ledger;
use crate::relocate;
use crate::state::State;

/// Restarts in a row that did not help before more is done.
const LOST_RESTARTS: usize = 2;
/// An image that came longer ago than this is not the reason.
const RECENT: Duration = Duration::from_secs(3_600);
/// The image before must have served for so long without a break to be gone back to, and its container not been sick in the end.
const PROVEN: Duration = Duration::from_secs(600);
/// Tries that are told of, the newest; what is left to people is found in full in the journal.
const TOLD_MAX: usize = 6;

/// How far healing has to go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rung {
    Restart,
    /// A new container of the image before.
    RollBack(ImageChange, String),
    /// A new container, and why of no other image.
    Recreate(String),
    /// A new container on this node, the sick one kept until that serves.
    Move(NodeId),
    /// Out of its networks, left running; and what was found of the rungs before.
    Isolate(String),
    /// Nothing is left to try, and why.
    People(String),
}

/// What is to be done about a container with these signals.
pub(crate) fn rung(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    now: Timestamp,
) -> Rung {
    let tries = tries(state, service, replica, now);
    let recreated = tries
        .iter()
        .rfind(|entry| entry.plan.kind == ActionKind::Recreate);
    let looping = signals
        .iter()
        .any(|signal| signal.kind == SignalKind::CrashLoop);
    let since = recreated.map_or(Timestamp::EPOCH, |entry| entry.plan.created_at);
    let is_spent = recreated.is_some_and(|entry| has_failed(state, service, entry, signals));
    if !looping && !is_spent && !restarts_lost(state, service, &tries, since, signals) {
        return Rung::Restart;
    }
    match recreated {
        None => {}
        // Its end is waited for as that of every plan is.
        Some(entry) if !entry.phase.is_final() => {
            return Rung::Recreate("it is being recreated".to_owned());
        }
        Some(_) => return further::rung(state, service, replica, signals, &tries, now),
    }
    let name = &replica.record.name;
    let sharers = depends::sharers(&state.fleet, replica);
    if let Some(sharer) = sharers.first() {
        let other = &sharer.record.name;
        return Rung::People(format!(
            "{name} cannot be recreated: {other} shares its network, and would be left without any"
        ));
    }
    match replica.record.state {
        ContainerState::Running | ContainerState::Restarting => {}
        ContainerState::Created
        | ContainerState::Paused
        | ContainerState::Exited
        | ContainerState::Dead => {
            return Rung::People(format!("{name} is {}", replica.record.state));
        }
    }
    match roll_back(state, service, replica, signals, now) {
        Ok((change, why)) => Rung::RollBack(change, why),
        Err(why) => Rung::Recreate(why),
    }
}

/// What was done about the container under this name within the time the ledger looks back, earliest first. What was never begun
/// was no try.
fn tries<'a>(
    state: &'a State,
    service: &ServiceId,
    replica: &Replica<'_>,
    now: Timestamp,
) -> Vec<&'a PlanEntry> {
    let window = state.config.ledger.quarantine;
    let heals = |entry: &&PlanEntry| match entry.plan.kind {
        ActionKind::Restart | ActionKind::Recreate | ActionKind::Isolate => true,
        ActionKind::UpdateLimits
        | ActionKind::CreateReplica
        | ActionKind::RemoveReplica
        | ActionKind::PullImage
        | ActionKind::Stop
        | ActionKind::Export
        | ActionKind::Rejoin => false,
    };
    let mut found: Vec<&PlanEntry> = state
        .plans
        .acted(service)
        .filter(heals)
        .filter(|entry| entry.plan.update.is_none() && entry.plan.relocation.is_none())
        .filter(|entry| !idle::is_start(&entry.plan))
        .filter(|entry| entry.plan.created_at + window > now)
        .filter(|entry| {
            let mut steps = entry.plan.steps.iter();
            steps.any(|it| it.node == *replica.node && *it.action.name() == replica.record.name)
        })
        .filter(|entry| is_begun(entry))
        .collect();
    found.sort_by(|a, b| (a.plan.created_at, &a.plan.id).cmp(&(b.plan.created_at, &b.plan.id)));
    found
}

/// It came to its node in time, for all that is known.
pub(crate) fn is_begun(entry: &PlanEntry) -> bool {
    let mut outcomes = entry.outcomes.iter().peekable();
    outcomes.peek().is_none()
        || outcomes.any(|outcome| match &outcome.result {
            OutcomeResult::Refused { refusal, .. } => match refusal {
                Refusal::StaleGeneration | Refusal::Expired => false,
                Refusal::NotOptedIn
                | Refusal::Unsafe
                | Refusal::NotOurs
                | Refusal::BelowUse
                | Refusal::NoKey => true,
            },
            OutcomeResult::Succeeded { .. }
            | OutcomeResult::Failed { .. }
            | OutcomeResult::Vanished
            | OutcomeResult::Interrupted => true,
        })
}

/// It was done for a kind of signal that is open now. The signals of a container that is gone may be forgotten; their ids still tell
/// what they were about.
fn is_of_kind(state: &State, service: &ServiceId, entry: &PlanEntry, signals: &[&Signal]) -> bool {
    let Some(step) = entry.plan.steps.first() else {
        return false;
    };
    let (id, name) = (step.action.target().clone(), step.action.name().clone());
    let subject = Subject::container(service.clone(), step.node.clone(), id, name);
    signals.iter().any(|signal| {
        let same = subject.fingerprint(signal.kind);
        entry.plan.cause.signals.iter().any(|id| {
            id.as_str().starts_with(same.as_str())
                || state.signals.kind_of(service, id) == Some(signal.kind)
        })
    })
}

/// The new container was as sick as the one before, or could not be made: no restart will do what it did not.
fn has_failed(state: &State, service: &ServiceId, entry: &PlanEntry, signals: &[&Signal]) -> bool {
    let failed = match entry.phase {
        Phase::Failed => true,
        Phase::Judged => match entry.verdict.as_ref().map(|it| it.kind) {
            Some(VerdictKind::NoEffect | VerdictKind::Worse) => true,
            Some(VerdictKind::Helped | VerdictKind::Unknown) | None => false,
        },
        Phase::Suggested | Phase::Decided | Phase::Executed => false,
    };
    failed && is_of_kind(state, service, entry, signals)
}

/// The last restarts after `since` for a kind of signal that is open again, or still, did not help.
fn restarts_lost(
    state: &State,
    service: &ServiceId,
    tries: &[&PlanEntry],
    since: Timestamp,
    signals: &[&Signal],
) -> bool {
    let restarts = tries
        .iter()
        .filter(|entry| entry.plan.kind == ActionKind::Restart && entry.plan.created_at > since)
        .filter(|entry| is_of_kind(state, service, entry, signals));
    let last: Vec<bool> = restarts
        .rev()
        .filter(|entry| entry.phase == Phase::Judged)
        .take(LOST_RESTARTS)
        .map(|entry| match entry.verdict.as_ref().map(|it| it.kind) {
            Some(VerdictKind::NoEffect | VerdictKind::Worse) => true,
            Some(VerdictKind::Helped | VerdictKind::Unknown) | None => false,
        })
        .collect();
    last.len() == LOST_RESTARTS && last.iter().all(|lost| *lost)
}

/// The image to go back to, with why; or why there is none.
fn roll_back(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    now: Timestamp,
) -> Result<(ImageChange, String), String> {
    let name = &replica.record.name;
    let from = image_of(replica).ok_or("its node does not tell which image it runs")?;
    let before = state.images.before(replica);
    let before = before.ok_or("no other image of it was seen before this one")?;
    let ours = state.plans.acted(service).any(|entry| {
        entry.plan.kind == ActionKind::Recreate
            && entry.outcomes.iter().any(|outcome| match &outcome.result {
                OutcomeResult::Succeeded { created, .. } => {
                    created.as_ref() == Some(&replica.record.id)
                }
                OutcomeResult::Refused { .. }
                | OutcomeResult::Failed { .. }
                | OutcomeResult::Vanished
                | OutcomeResult::Interrupted => false,
            })
    });
    if ours {
        return Err("its image is the one it was given here".to_owned());
    }
    let changed_at = before.changed_at;
    if changed_at + RECENT <= now {
        return Err(format!("its image has been the same since {changed_at}"));
    }
    let served_min = before.served.as_secs() / 60;
    let proven_min = PROVEN.as_secs() / 60;
    if before.served < PROVEN {
        return Err(format!(
            "{}, which it ran before, was seen to serve for {served_min} min, and {proven_min} are asked for",
            before.image
        ));
    }
    if signals.iter().any(|signal| signal.opened_at <= changed_at) {
        return Err("it was sick before its image changed".to_owned());
    }
    let sick_before = state
        .signals
        .last_told(service, &before.container, |signal| {
            is_ours(signal.kind) && signal.severity != Severity::Info
        });
    if sick_before.is_some_and(|at| at > changed_at - PROVEN) {
        return Err(format!(
            "it was sick with {} too, shortly before that went",
            before.image
        ));
    }
    let first = signals.iter().map(|signal| signal.opened_at).min();
    let after_s = first.unwrap_or(now).since(changed_at).as_secs();
    let why = format!(
        "{name} became sick {after_s} s after {from} took the place of {}, which had served for {served_min} min without a break",
        before.image
    );
    let to = before.image.clone();
    Ok((ImageChange { from, to }, why))
}

/// The decision about a rung above the restart.
pub(crate) fn answer(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    rung: Rung,
    now: Timestamp,
) -> Decision {
    let tried = told(state, service, replica, now);
    let draft = match rung {
        Rung::Restart => return Decision::Nothing,
        Rung::Move(to) => return further::go(state, service, replica, signals, &to, now),
        Rung::Isolate(why) => return isolate::answer(state, service, replica, signals, &why, now),
        Rung::People(why) => {
            let draft = left(state, service, replica, signals, &why, &tried);
            return say(state, draft, None, now);
        }
        Rung::RollBack(change, why) => {
            let alternatives = vec![
                format!(
                    "recreate {} from {}: that image is what changed",
                    replica.record.name, change.from
                ),
                "leave it to people: what the image before did is known, and it served".to_owned(),
            ];
            let draft = draft(state, service, replica, signals, Some(change));
            Draft {
                reason: format!("{}; {why}{tried}", draft.reason),
                alternatives,
                ..draft
            }
        }
        Rung::Recreate(why) => {
            let alternatives = vec![
                format!("roll its image back: {why}"),
                "leave it to people: a new container without what the old one wrote outside its volumes may be all it needs".to_owned(),
            ];
            let draft = draft(state, service, replica, signals, None);
            Draft {
                reason: format!("{}{tried}", draft.reason),
                alternatives,
                ..draft
            }
        }
    };
    match hindrance(state, service, replica, signals, now) {
        Obstacle::None => admit(state, draft, replica.record.policy.mode, now),
        Obstacle::Busy => Decision::Nothing,
        Obstacle::Until(until) | Obstacle::Waits(_, until) => Decision::Wait(until),
        Obstacle::Said(why, until) => say(state, draft.held(&why), Some(until), now),
    }
}

/// What keeps a new container from being put in the place of a sick one.
pub(crate) fn hindrance(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    now: Timestamp,
) -> Obstacle {
    let config = &state.config.ledger;
    let retry = ledger::retry_at(&state.plans, config, service, ActionKind::Recreate);
    match obstacle(state, service, replica, signals, now) {
        Obstacle::None if retry > now => Obstacle::Until(retry),
        other => other,
    }
}

/// A new container in the place of this one: as it is, or of another image.
pub(crate) fn draft(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    image: Option<ImageChange>,
) -> Draft {
    let config = &state.config.heal;
    let record = replica.record;
    let name = &record.name;
    let ids: Vec<SignalId> = signals.iter().map(|signal| signal.id.clone()).collect();
    let reasons: Vec<&str> = signals.iter().map(|it| it.reason.as_str()).collect();
    let within_s = config.verdict_within.as_secs();
    let from = image
        .as_ref()
        .map_or_else(String::new, |image| format!(" from {}", image.to));
    Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::Recreate,
        signals: ids.clone(),
        reason: reasons.join("; "),
        steps: vec![Step {
            node: replica.node.clone(),
            action: Action::Recreate {
                container: record.id.clone(),
                name: name.clone(),
                grace: config.grace,
                image,
            },
        }],
        expected: Expectation {
            text: format!(
                "a new container runs as {name}{from} and is not sick {within_s} s later; what the old one wrote outside its volumes is gone with it, and should the new one not start, the old one is put back"
            ),
            check: Check::SignalsResolve { signals: ids },
            within: config.verdict_within,
        },
        alternatives: Vec::new(),
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: signals.iter().find_map(|signal| signal.traceparent.clone()),
    }
}

/// What is said when nothing is left to try.
fn left(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    signals: &[&Signal],
    why: &str,
    tried: &str,
) -> Draft {
    let name = &replica.record.name;
    let draft = draft(state, service, replica, signals, None);
    Draft {
        reason: format!("{}; {why}; it is left to people{tried}", draft.reason),
        steps: Vec::new(),
        expected: Expectation {
            text: format!(
                "someone looks at the last log lines of {name} and at what was changed before they began"
            ),
            ..draft.expected
        },
        alternatives: vec![format!("more of the same for {name}: it has not helped")],
        ..draft
    }
}

/// `; tried: …`, of the newest tries; nothing where there were none.
pub(crate) fn told(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    now: Timestamp,
) -> String {
    let tries = tries(state, service, replica, now);
    let newest = tries.iter().rev().take(TOLD_MAX).rev();
    let mut texts: Vec<String> = newest.map(|entry| outcome(entry)).collect();
    texts.extend(relocate::last(state, service, now));
    match texts.is_empty() {
        true => String::new(),
        false => format!("; tried: {}", texts.join(", ")),
    }
}

fn outcome(entry: &PlanEntry) -> String {
    let steps = entry.plan.steps.first();
    let what = steps.map_or_else(String::new, |step| step.action.to_string());
    let at = entry.plan.created_at;
    let failed = entry.outcomes.iter().find_map(|it| match &it.result {
        OutcomeResult::Failed { error } => Some(error.as_str()),
        OutcomeResult::Refused { reason, .. } => Some(reason.as_str()),
        OutcomeResult::Succeeded { .. } | OutcomeResult::Vanished | OutcomeResult::Interrupted => {
            None
        }
    });
    let came = match (&entry.verdict, entry.phase) {
        (Some(verdict), _) => verdict.kind.as_str().replace('_', " "),
        (None, Phase::Failed) => format!("failed ({})", failed.unwrap_or("no answer")),
        (None, Phase::Suggested | Phase::Decided | Phase::Executed | Phase::Judged) => {
            "not judged yet".to_owned()
        }
    };
    format!("{what} at {at}: {came}")
}
