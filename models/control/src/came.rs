//! What became of a plan, for what goes on from there.

use std::time::Duration;

use units::{OutcomeResult, Phase, PlanEntry, Refusal, Timestamp, VerdictKind};

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
            let mut failures = entry.outcomes.iter().filter_map(|it| failure(&it.result));
            match failures.next() {
                Some(why) => Came::Bad(format!("{what} failed: {why}")),
                None => Came::Void,
            }
        }
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
