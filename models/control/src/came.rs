//! What became of a plan, for what goes on from there.

use std::time::Duration;

use units::{Outcome, OutcomeResult, Phase, PlanEntry, Refusal, Timestamp, VerdictKind};

use crate::people::LATE;
use crate::plans::is_answered;

/// A step that nobody answered for may still be under way so long after it could last begin.
const SETTLES: Duration = Duration::from_secs(60);

/// What became of one plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// It is not over.
    Open,
    Good,
    Bad(String),
    /// It came to nothing, or nobody can say: what is there is looked at again.
    Void,
}

/// Until when a plan that failed without an answer may still come about.
pub(crate) fn settles_at(entry: &PlanEntry) -> Option<Timestamp> {
    let is_open = entry.phase == Phase::Failed && !is_answered(entry);
    is_open.then(|| entry.plan.deadline + LATE + SETTLES)
}

/// What became of a plan.
pub(crate) fn came(entry: &PlanEntry) -> Came {
    let first = entry.plan.steps.first();
    let what = first.map_or_else(String::new, |step| step.action.to_string());
    match entry.phase {
        Phase::Decided | Phase::Executed => Came::Open,
        Phase::Suggested => Came::Void,
        Phase::Judged => match &entry.verdict {
            None => Came::Void,
            Some(verdict) => match verdict.kind {
                VerdictKind::Helped => Came::Good,
                VerdictKind::Unknown => Came::Void,
                VerdictKind::Worse | VerdictKind::NoEffect => Came::Bad(verdict.reason.clone()),
            },
        },
        Phase::Failed => {
            let outcomes = entry.outcomes.iter();
            let mut failures = outcomes.filter_map(|it| Some((&it.node, failure(&it.result)?)));
            match failures.next() {
                Some((node, why)) => Came::Bad(format!("{what} failed on node {node}: {why}")),
                None => Came::Void,
            }
        }
    }
}

/// Why a plan came to nothing, as far as anybody said; none of one that did not.
pub(crate) fn void(entry: &PlanEntry) -> Option<String> {
    if came(entry) != Came::Void {
        return None;
    }
    let judged = entry.verdict.as_ref().map(|it| it.reason.clone());
    let told = || entry.outcomes.iter().find_map(untold);
    // Neither an answer nor a verdict: whoever should have answered did not.
    let silent = || {
        let node = &entry.plan.steps.first()?.node;
        let is_silent = entry.phase == Phase::Failed && entry.outcomes.is_empty();
        is_silent.then(|| {
            format!("nobody answered for it on node {node}: see whether the actuator runs there, and what it logs")
        })
    };
    judged.or_else(told).or_else(silent)
}

/// Why a step was not carried out, where that is no failure.
fn untold(outcome: &Outcome) -> Option<String> {
    let node = &outcome.node;
    match &outcome.result {
        OutcomeResult::Refused { reason, .. } => {
            Some(format!("node {node} did not begin it: {reason}"))
        }
        OutcomeResult::Interrupted => Some(format!(
            "it was interrupted on node {node}, whose engine or actuator ended in the middle"
        )),
        OutcomeResult::Vanished => Some(format!("what it is about is gone from node {node}")),
        OutcomeResult::Succeeded { .. } | OutcomeResult::Failed { .. } => None,
    }
}

fn failure(result: &OutcomeResult) -> Option<&str> {
    match result {
        OutcomeResult::Failed { error } => Some(error),
        OutcomeResult::Refused { refusal, reason } => match refusal {
            Refusal::NotOptedIn
            | Refusal::Unsafe
            | Refusal::NotOurs
            | Refusal::BelowUse
            | Refusal::NoKey => Some(reason),
            Refusal::StaleGeneration | Refusal::Expired => None,
        },
        OutcomeResult::Succeeded { .. } | OutcomeResult::Vanished | OutcomeResult::Interrupted => {
            None
        }
    }
}
