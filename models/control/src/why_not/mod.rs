//! Why nothing is done about a service: every lock, wait and budget that stands before an action, from the same state the
//! decisions are made from.

mod heal;
mod idle;
mod resize;
mod scale;

use serde::{Deserialize, Serialize};
use units::{ActionKind, ContainerName, Mode, Phase, ServiceId, Timestamp};

use crate::budget;
use crate::failover;
use crate::ledger::{self, Tried};
use crate::preempt;
use crate::relocate;
use crate::state::State;
use crate::unsettled;
use crate::update;

/// One reason why an action is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind of action it keeps from being taken. Absent where it is every kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionKind>,
    /// The container it is about. Absent where it is about the service or everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerName>,
    /// In words, with its numbers and, where something can be done, what.
    pub text: String,
    /// When it ends by itself. Absent where it does not, or where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Reason {
    fn of_all(text: String) -> Self {
        Reason {
            action: None,
            container: None,
            text,
            until: None,
        }
    }

    fn of(action: ActionKind, text: impl Into<String>) -> Self {
        Reason {
            action: Some(action),
            ..Reason::of_all(text.into())
        }
    }

    fn until(self, until: Timestamp) -> Self {
        Reason {
            until: Some(until),
            ..self
        }
    }
}

/// The reasons, those that hold for every action first. Nothing where no container of the service is known.
pub(crate) fn why_not(state: &State, service: &ServiceId, now: Timestamp) -> Option<Vec<Reason>> {
    if state.fleet.replicas(service).is_empty() {
        return None;
    }
    let mut reasons = Vec::new();
    reasons.extend(mode(state, service));
    reasons.extend(breaker(state));
    reasons.extend(people(state, service, now));
    reasons.extend(running(state, service));
    reasons.extend(cut_off(state, service, now));
    reasons.extend(ordered(state, service, now));
    reasons.extend(moving(state, service, now));
    reasons.extend(lost(state, service, now));
    reasons.extend(without_room(state, service, now));
    reasons.extend(spent(state, service, now));
    reasons.extend(heal::reasons(state, service, now));
    for kind in [
        ActionKind::Restart,
        ActionKind::Recreate,
        ActionKind::Isolate,
    ] {
        reasons.extend(losing(state, service, kind, now));
    }
    reasons.extend(resize::reasons(state, service, now));
    reasons.extend(losing(state, service, ActionKind::UpdateLimits, now));
    reasons.extend(scale::reasons(state, service, now));
    for kind in [
        ActionKind::CreateReplica,
        ActionKind::RemoveReplica,
        ActionKind::Stop,
    ] {
        reasons.extend(losing(state, service, kind, now));
    }
    Some(reasons)
}

fn mode(state: &State, service: &ServiceId) -> Option<Reason> {
    let ceiling = state.config.max_mode;
    let replicas = state.fleet.replicas(service);
    let labelled = replicas.iter().map(|it| it.record.policy.mode).min()?;
    let is = |mode: Mode| match mode {
        Mode::Observe => "it is only watched",
        Mode::Suggest => "what would be done is only said",
        Mode::Act => "it is acted on",
    };
    let text = if labelled.min(ceiling) == Mode::Act {
        return None;
    } else if labelled <= ceiling {
        format!(
            "the label io.homeostat.mode of one of its containers says, or defaults to, {labelled}, so {}; set it to act",
            is(labelled)
        )
    } else {
        format!(
            "controller.max_mode is {ceiling}, whatever labels say, so {}; set it to act, or start `homeostat up --mode act`",
            is(ceiling)
        )
    };
    Some(Reason::of_all(text))
}

fn breaker(state: &State) -> Option<Reason> {
    let until = state.breaker.open_until()?;
    let text = "the common-cause breaker is open: too much turned sick at once for many causes to be likely";
    Some(Reason::of_all(text.to_owned()).until(until))
}

fn people(state: &State, service: &ServiceId, now: Timestamp) -> Option<Reason> {
    let until = state.hold_end(service);
    let text =
        "somebody else changed one of its containers a short time ago, and is left to finish";
    (until > now).then(|| Reason::of_all(text.to_owned()).until(until))
}

/// Plans of the service that are not over: it has one at a time, and what was done is judged before more is.
fn running(state: &State, service: &ServiceId) -> Vec<Reason> {
    let active = state.plans.active();
    let of_service = active.filter(|entry| entry.plan.service == *service);
    of_service
        .map(|entry| {
            let plan = &entry.plan;
            let (what, until) = match entry.phase {
                Phase::Executed => (
                    "was carried out and waits for its verdict",
                    entry.at + plan.expected.within,
                ),
                Phase::Suggested | Phase::Decided | Phase::Failed | Phase::Judged => {
                    ("is being carried out", plan.deadline)
                }
            };
            let text = format!("plan {} ({}) {what}", plan.id, plan.kind);
            Reason::of_all(text).until(until)
        })
        .collect()
}

/// Replicas that may still be going down: no other one is taken down meanwhile.
fn cut_off(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for open in unsettled::of(state, service, now) {
        for kind in ActionKind::ALL
            .into_iter()
            .filter(|kind| unsettled::takes_down(*kind))
        {
            let text = format!(
                "nobody knows what became of the last action on {}, which may still be going down; no other replica is taken down meanwhile",
                open.action.name()
            );
            reasons.push(Reason::of(kind, text).until(open.until));
        }
    }
    reasons
}

/// A person's order that waits.
fn ordered(state: &State, service: &ServiceId, now: Timestamp) -> Option<Reason> {
    let (text, until) = update::waits(state, service, now)?;
    Some(Reason {
        until,
        ..Reason::of_all(text)
    })
}

/// A move that is under way, or went wrong.
fn moving(state: &State, service: &ServiceId, now: Timestamp) -> Option<Reason> {
    let (text, until) = relocate::standing(state, service, now)?;
    Some(Reason::of_all(text).until(until))
}

/// Containers on lost nodes that are not made elsewhere.
fn lost(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Reason> {
    let kept = failover::why_not(state, service, now).into_iter();
    kept.map(|(it, why)| Reason {
        container: Some(it.record.name.clone()),
        ..Reason::of(
            ActionKind::CreateReplica,
            format!(
                "node {} is lost, and none is made elsewhere: {why}",
                it.node
            ),
        )
    })
    .collect()
}

/// Room that is made for it by a less important service.
fn without_room(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Reason> {
    let waits = preempt::standing(state, service, now).into_iter();
    waits
        .map(|(text, container, until)| {
            let moves = container.and_then(|it| state.fleet.find(service, &it));
            let kind = match moves {
                Some(_) => ActionKind::Export,
                None => ActionKind::CreateReplica,
            };
            Reason {
                container: moves.map(|it| it.record.name.clone()),
                ..Reason::of(kind, text).until(until)
            }
        })
        .collect()
}

/// Budgets with nothing left. One step is the least that anything needs.
fn spent(state: &State, service: &ServiceId, now: Timestamp) -> Vec<Reason> {
    let config = &state.config.budget;
    let left = budget::left(&state.plans, config, service, now);
    let mut reasons = Vec::new();
    if left.service == 0 {
        reasons.push(Reason::of_all(format!(
            "its budget is spent: {} steps in the last hour (controller.budget.service_hourly)",
            config.service_hourly
        )));
    }
    if left.global == 0 {
        reasons.push(Reason::of_all(format!(
            "the budget of all services is spent: {} steps in the last hour (controller.budget.global_hourly)",
            config.global_hourly
        )));
    }
    reasons
}

/// A kind of action that did not help lately.
fn losing(
    state: &State,
    service: &ServiceId,
    tried: impl Into<Tried>,
    now: Timestamp,
) -> Option<Reason> {
    let config = &state.config.ledger;
    let tried = tried.into();
    let kind = match tried {
        Tried::Kind(kind) => kind,
        Tried::Start => ActionKind::Restart,
    };
    if let Some(until) = ledger::quarantined(&state.plans, config, service, tried, now) {
        let text = format!(
            "{kind} did not help the last {} times or more, and is left alone",
            config.losses
        );
        return Some(Reason::of(kind, text).until(until));
    }
    let retry = ledger::retry_at(&state.plans, config, service, tried);
    // Restarts have a wait of their own, by container.
    (tried != Tried::Kind(ActionKind::Restart) && retry > now).then(|| {
        let text = format!("{kind} failed or did not help a short time ago");
        Reason::of(kind, text).until(retry)
    })
}
