//! A signal in full: why its confidence is what it is, and what came of signals like it. Pure.

use serde::{Deserialize, Serialize};
use units::{
    Basis, Confidence, Phase, PlanEntry, Severity, Signal, SignalId, SignalPhase, Subject,
    Timestamp, Verdict,
};

use crate::feedback::{Opinions, Said};

/// Similar signals shown with an explanation.
const SIMILAR_SHOWN: usize = 5;

/// An earlier signal of the same kind about the same service, or node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Similar {
    /// Its id.
    pub id: SignalId,
    /// What it was about.
    pub subject: Subject,
    /// How much it mattered.
    pub severity: Severity,
    /// When it opened.
    pub opened_at: Timestamp,
    /// How long it was open, in milliseconds; absent while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasted_ms: Option<u64>,
    /// What was done about it, oldest first.
    pub done: Vec<Done>,
    /// What was said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

/// A plan that a signal caused, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Its steps, such as `restart web-1`.
    pub action: String,
    /// How far it came.
    pub phase: Phase,
    /// The judgement, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// Signals like this one that opened before it, newest first.
pub(crate) fn similar<'a>(
    signal: &Signal,
    signals: impl Iterator<Item = &'a Signal>,
    plans: impl Fn(&SignalId) -> Vec<PlanEntry>,
    opinions: &Opinions,
) -> Vec<Similar> {
    let is_similar = |other: &&Signal| {
        other.kind == signal.kind
            && other.opened_at < signal.opened_at
            && is_of_same(&other.subject, &signal.subject)
    };
    let mut found: Vec<&Signal> = signals.filter(is_similar).collect();
    found.sort_by_key(|other| std::cmp::Reverse(other.opened_at));
    found.truncate(SIMILAR_SHOWN);
    let similar = |other: &Signal| Similar {
        id: other.id.clone(),
        subject: other.subject.clone(),
        severity: other.severity,
        opened_at: other.opened_at,
        lasted_ms: lasted_ms(other),
        done: plans(&other.id).iter().map(done).collect(),
        said: opinions.of(&other.id),
    };
    found.into_iter().map(similar).collect()
}

fn is_of_same(one: &Subject, other: &Subject) -> bool {
    match (&one.service, &other.service) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.node == other.node,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn lasted_ms(signal: &Signal) -> Option<u64> {
    match signal.phase {
        SignalPhase::Open | SignalPhase::Update => None,
        SignalPhase::Resolve => {
            let lasted = signal.at.since(signal.opened_at);
            Some(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX))
        }
    }
}

fn done(entry: &PlanEntry) -> Done {
    let steps = entry.plan.steps.iter().map(|step| step.action.to_string());
    Done {
        action: steps.collect::<Vec<_>>().join(", "),
        phase: entry.phase,
        verdict: entry.verdict.clone(),
    }
}

/// Why a signal's confidence is what it is.
pub(crate) fn confidence_why(signal: &Signal) -> &'static str {
    match (signal.kind.basis(), signal.confidence) {
        (Basis::Fact, _) => "it is a fact, not a judgement against what is usual",
        (Basis::Judgement | Basis::Deviation, Confidence::Low) => {
            "less than an hour of history stands behind what is usual here"
        }
        (Basis::Judgement | Basis::Deviation, Confidence::Medium) => {
            "at least an hour of history, and less than a day, stands behind what is usual here"
        }
        (Basis::Judgement | Basis::Deviation, Confidence::High) => {
            "at least a day of history stands behind what is usual here"
        }
    }
}
