//! What helped and what did not. A kind of action that keeps losing for a service is left alone for a while.

use std::time::Duration;

use units::{
    ActionKind, Check, OutcomeResult, Phase, Plan, PlanEntry, Refusal, ServiceId, Timestamp,
    Verdict, VerdictKind,
};

use crate::config;
use crate::idle;
use crate::plans::Plans;

/// A waiting time is doubled no more often than this.
const DOUBLINGS_MAX: u32 = 10;

/// What is weighed together: a kind of action. Restarts that start what rests are one of their own: neither says anything of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    Kind(ActionKind),
    Start,
}

impl Tried {
    pub(crate) fn of(kind: ActionKind, check: &Check) -> Self {
        match idle::starts(kind, check) {
            true => Tried::Start,
            false => Tried::Kind(kind),
        }
    }

    /// What carrying this plan out is a try of.
    pub(crate) fn by(plan: &Plan) -> Self {
        Tried::of(plan.kind, &plan.expected.check)
    }
}

impl From<ActionKind> for Tried {
    fn from(kind: ActionKind) -> Self {
        Tried::Kind(kind)
    }
}

/// What a finished plan says of its kind of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// It helped: what was before is forgiven.
    Won,
    /// It says nothing.
    Neither,
    /// It did not help.
    Lost,
    /// It cannot work here, and trying again will not change that.
    Hopeless,
}

fn weigh(entry: &PlanEntry) -> Weight {
    match entry.phase {
        Phase::Suggested | Phase::Decided | Phase::Executed => Weight::Neither,
        Phase::Judged => match entry.verdict.as_ref().map(|verdict| verdict.kind) {
            Some(VerdictKind::Helped) => Weight::Won,
            Some(VerdictKind::NoEffect | VerdictKind::Worse) => Weight::Lost,
            Some(VerdictKind::Unknown) | None => Weight::Neither,
        },
        Phase::Failed => entry
            .outcomes
            .iter()
            .map(|outcome| weigh_failure(&outcome.result))
            .max_by_key(|weight| *weight as u8)
            .unwrap_or(Weight::Lost),
    }
}

fn weigh_failure(result: &OutcomeResult) -> Weight {
    match result {
        OutcomeResult::Succeeded { .. } | OutcomeResult::Vanished => Weight::Neither,
        OutcomeResult::Failed { .. } | OutcomeResult::Interrupted => Weight::Lost,
        OutcomeResult::Refused { refusal, .. } => match refusal {
            Refusal::StaleGeneration | Refusal::Expired => Weight::Lost,
            Refusal::NotOptedIn
            | Refusal::Unsafe
            | Refusal::NotOurs
            | Refusal::BelowUse
            | Refusal::NoKey => Weight::Hopeless,
        },
    }
}

/// Losses in a row, and when the last was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Streak {
    pub(crate) losses: u32,
    pub(crate) last: Timestamp,
}

/// How a kind of action has done lately for a service.
pub(crate) fn streak(
    plans: &Plans,
    config: &config::Ledger,
    service: &ServiceId,
    tried: Tried,
) -> Streak {
    let mut finished: Vec<&PlanEntry> = plans
        .acted(service)
        .filter(|entry| entry.phase.is_final() && Tried::by(&entry.plan) == tried)
        // What came of a person's order, or of a move, says nothing of what is done for other reasons.
        .filter(|entry| entry.plan.update.is_none() && entry.plan.relocation.is_none())
        .collect();
    finished.sort_by(|a, b| (a.at, &a.plan.id).cmp(&(b.at, &b.plan.id)));
    let mut streak = Streak::default();
    for entry in finished {
        match weigh(entry) {
            Weight::Won => streak.losses = 0,
            Weight::Neither => continue,
            Weight::Lost => streak.losses = streak.losses.saturating_add(1),
            Weight::Hopeless => streak.losses = streak.losses.max(config.losses),
        }
        streak.last = entry.at;
    }
    streak
}

/// Until when a kind of action is left alone for a service, when it is.
pub(crate) fn quarantined(
    plans: &Plans,
    config: &config::Ledger,
    service: &ServiceId,
    tried: impl Into<Tried>,
    now: Timestamp,
) -> Option<Timestamp> {
    let streak = streak(plans, config, service, tried.into());
    let until = streak.last + config.quarantine;
    (streak.losses >= config.losses && until > now).then_some(until)
}

/// The verdict, with what follows of it for the kind of action.
pub(crate) fn weighed(
    plans: &Plans,
    config: &config::Ledger,
    entry: &PlanEntry,
    mut verdict: Verdict,
    now: Timestamp,
) -> Verdict {
    let plan = &entry.plan;
    // Nothing of an order is tried twice, and a move is weighed as a whole, so there is nothing to leave alone.
    if plan.update.is_some() || plan.relocation.is_some() {
        return verdict;
    }
    let judged = PlanEntry {
        at: verdict.at,
        phase: Phase::Judged,
        verdict: Some(verdict.clone()),
        ..entry.clone()
    };
    let mut with = plans.only(&plan.service);
    with.apply(judged, now);
    if let Some(until) = quarantined(&with, config, &plan.service, Tried::by(plan), now) {
        verdict.reason = format!(
            "{}; {} did not help {} {} times in a row, so it is left alone until {until}",
            verdict.reason, plan.kind, plan.service, config.losses
        );
    }
    verdict
}

/// When the next try may be made after losses: a wait that doubles with each.
pub(crate) fn retry_at(
    plans: &Plans,
    config: &config::Ledger,
    service: &ServiceId,
    tried: impl Into<Tried>,
) -> Timestamp {
    let streak = streak(plans, config, service, tried.into());
    match streak.losses {
        0 => Timestamp::EPOCH,
        losses => streak.last + doubled(config.backoff, losses - 1),
    }
}

/// `base`, doubled `times`.
pub(crate) fn doubled(base: Duration, times: u32) -> Duration {
    base.saturating_mul(1 << times.min(DOUBLINGS_MAX))
}
