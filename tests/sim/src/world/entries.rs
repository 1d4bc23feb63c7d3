//! Journal entries: a line about one, and one of a plan that is not sent.

use units::{JournalEntry, Phase, Plan, PlanEntry, Timestamp, Verdict, VerdictKind};

/// A line about an entry.
pub(super) fn told(entry: &JournalEntry) -> String {
    match entry {
        JournalEntry::Breaker(entry) => format!("breaker {:?}: {}", entry.open_until, entry.reason),
        JournalEntry::Approval(approval) => approval.to_string(),
        JournalEntry::Update(update) => update.to_string(),
        JournalEntry::Node(order) => order.to_string(),
        JournalEntry::Plan(entry) => {
            let steps: Vec<String> = entry
                .plan
                .steps
                .iter()
                .map(|it| it.action.to_string())
                .collect();
            let verdict = entry.verdict.as_ref().map_or("", |it| it.reason.as_str());
            format!(
                "{} {} by {} [{}] {} {verdict}",
                entry.plan.id,
                entry.phase.as_str(),
                entry.plan.generation,
                steps.join(", "),
                entry.plan.cause.reason
            )
        }
    }
}

pub(super) fn failed(now: Timestamp, plan: Plan) -> PlanEntry {
    let verdict = Verdict {
        kind: VerdictKind::Unknown,
        at: now,
        reason: "not sent, because it breaks an invariant".to_owned(),
    };
    PlanEntry {
        at: now,
        plan,
        phase: Phase::Failed,
        outcomes: Vec::new(),
        verdict: Some(verdict),
    }
}
