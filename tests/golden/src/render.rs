//! Effects as people read them.

use control::Effect;
use units::{JournalEntry, PlanEntry, Timestamp};

/// The lines of one effect.
pub(crate) fn effect(now: Timestamp, effect: &Effect) -> String {
    let at = now.as_millis() as f64 / 1_000.0;
    match effect {
        Effect::Command(command) => format!(
            "{at:8.1} command  {} on {}: {} (generation {}, until {:.1})\n",
            command.id,
            command.node,
            command.action,
            command.generation,
            command.deadline.as_millis() as f64 / 1_000.0
        ),
        Effect::Journal(entry) => match entry.as_ref() {
            JournalEntry::Plan(entry) => plan(at, entry),
            JournalEntry::Breaker(entry) => {
                let state = entry.open_until.map_or("closes".to_owned(), |until| {
                    format!("opens until {:.1}", until.as_millis() as f64 / 1_000.0)
                });
                format!("{at:8.1} breaker  {state}: {}\n", entry.reason)
            }
            JournalEntry::Approval(approval) => format!("{at:8.1} approval {approval}\n"),
            JournalEntry::Update(update) => format!("{at:8.1} order    {update}\n"),
            JournalEntry::Node(order) => format!("{at:8.1} order    {order}\n"),
        },
    }
}

fn plan(at: f64, entry: &PlanEntry) -> String {
    let plan = &entry.plan;
    let steps: Vec<String> = plan
        .steps
        .iter()
        .map(|step| step.action.to_string())
        .collect();
    let mut text = format!(
        "{at:8.1} {:<8} {}: {}\n",
        entry.phase.as_str(),
        plan.id,
        steps.join(", ")
    );
    if let Some(verdict) = &entry.verdict {
        text.push_str(&format!(
            "           verdict {}: {}\n",
            verdict.kind.as_str(),
            verdict.reason
        ));
    } else if entry.outcomes.is_empty() {
        text.push_str(&format!("           because {}\n", plan.cause.reason));
        text.push_str(&format!("           expected: {}\n", plan.expected.text));
        for other in &plan.alternatives {
            text.push_str(&format!("           not taken: {other}\n"));
        }
    }
    text
}
