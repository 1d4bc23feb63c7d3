//! What goes over the wire to each kind of sink: pure functions from a notice to bytes, within that sink's limits.

pub(crate) mod pagerduty;
pub(crate) mod slack;
mod text;
pub(crate) mod webhook;

use units::{ActionKind, Evidence, Phase, PlanEntry, SignalKind, Update, VerdictKind};

use crate::notice::{Change, Condition, Notice};
use text::{clip, human_duration, human_number};

/// One request to a sink, without what changes from attempt to attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Which of the sink's addresses.
    pub(crate) endpoint: Endpoint,
    /// The JSON to send.
    pub(crate) body: Vec<u8>,
}

/// Which of a sink's addresses a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The only one, or that for alerts.
    Main,
    /// PagerDuty's for changes.
    Changes,
}

/// One line that says it all, unescaped and unbounded.
fn headline(notice: &Notice) -> String {
    match notice {
        Notice::Condition {
            change,
            condition: Condition::Signal(signal),
        } => {
            let what = format!("{}: {}", words(signal.kind), signal.subject);
            match change {
                Change::Opened => format!("[{}] {what}", signal.severity),
                Change::Changed => format!("[{}] {what} (severity changed)", signal.severity),
                Change::Resolved => {
                    let lasted = human_duration(signal.at.since(signal.opened_at));
                    format!("[resolved] {what} after {lasted}")
                }
            }
        }
        Notice::Condition {
            change,
            condition: Condition::Breaker(_),
        } => match change {
            Change::Opened | Change::Changed => {
                "[critical] Homeostat stopped acting: too much turned sick at once".to_owned()
            }
            Change::Resolved => "[resolved] Homeostat acts again".to_owned(),
        },
        Notice::Plan(entry) => format!(
            "[{}] {}: {}",
            plan_standing(entry),
            entry.plan.service,
            plan_summary(entry)
        ),
        Notice::Test { .. } => "[test] Homeostat reaches this sink".to_owned(),
    }
}

/// The sentence behind the headline.
fn reason(notice: &Notice) -> &str {
    match notice {
        Notice::Condition {
            condition: Condition::Signal(signal),
            ..
        } => &signal.reason,
        Notice::Condition {
            condition: Condition::Breaker(entry),
            ..
        } => &entry.reason,
        Notice::Plan(entry) => match (&entry.verdict, entry.phase) {
            (Some(verdict), Phase::Judged) => &verdict.reason,
            (Some(_) | None, _) => &entry.plan.cause.reason,
        },
        Notice::Test { .. } => "sent by hand to see whether it arrives; nothing is wrong",
    }
}

fn words(kind: SignalKind) -> String {
    kind.as_str().replace('_', " ")
}

/// How a plan stands, in a word or two.
fn plan_standing(entry: &PlanEntry) -> &'static str {
    if order_over(entry).is_some() {
        // That an order is over is said as a suggestion of nothing, whose kind tells how it ended.
        return match entry.plan.kind {
            ActionKind::CreateReplica => "update finished",
            ActionKind::PullImage => "update refused",
            ActionKind::Recreate
            | ActionKind::Restart
            | ActionKind::UpdateLimits
            | ActionKind::RemoveReplica
            | ActionKind::Stop
            | ActionKind::Export
            | ActionKind::Isolate
            | ActionKind::Rejoin => "update rolled back",
        };
    }
    match (
        entry.phase,
        entry.verdict.as_ref().map(|verdict| verdict.kind),
    ) {
        (Phase::Suggested, _) => "suggestion",
        (Phase::Decided | Phase::Executed, _) if entry.plan.undo_of.is_some() => "undo",
        (Phase::Decided | Phase::Executed, _) => "action",
        (Phase::Failed, _) => "action failed",
        (Phase::Judged, Some(VerdictKind::Helped)) => "helped",
        (Phase::Judged, Some(VerdictKind::NoEffect)) => "no effect",
        (Phase::Judged, Some(VerdictKind::Worse)) => "made it worse",
        (Phase::Judged, Some(VerdictKind::Unknown) | None) => "not judged",
    }
}

/// The order whose end this says, if it does.
fn order_over(entry: &PlanEntry) -> Option<&Update> {
    let says_end = entry.phase == Phase::Suggested && entry.plan.steps.is_empty();
    entry.plan.update.as_ref().filter(|_| says_end)
}

/// A plan's steps in a line: the one, or the kind and how many. Of an order that is over, the image.
fn plan_summary(entry: &PlanEntry) -> String {
    if let Some(update) = order_over(entry) {
        return update.image.clone();
    }
    match entry.plan.steps.as_slice() {
        [only] => only.action.to_string(),
        steps => {
            let what = match entry.plan.kind {
                ActionKind::Restart => "restart containers",
                ActionKind::Recreate => "recreate containers",
                ActionKind::UpdateLimits => "set limits",
                ActionKind::CreateReplica => "add replicas",
                ActionKind::RemoveReplica => "remove replicas",
                ActionKind::PullImage => "pull images",
                ActionKind::Stop => "stop containers",
                ActionKind::Export => "tell how containers are made",
                ActionKind::Isolate => "isolate containers",
                ActionKind::Rejoin => "put containers back into their networks",
            };
            format!("{what} ({})", steps.len())
        }
    }
}

/// A piece of evidence in a line.
fn evidence_line(evidence: &Evidence) -> String {
    let number = |value| human_number(value, &evidence.unit);
    format!(
        "{}: {}, expected {} to {}",
        clip(&evidence.feature, 120),
        number(evidence.observed),
        number(evidence.expected_low),
        number(evidence.expected_high),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    #[test]
    fn headlines_say_what_where_and_how_it_stands() {
        let lines: Vec<_> = examples::all()
            .iter()
            .map(|(_, notice)| headline(notice))
            .collect();
        assert_eq!(
            lines,
            [
                "[critical] memory runaway: shop-web-1",
                "[warning] memory runaway: shop-web-1 (severity changed)",
                "[resolved] memory runaway: shop-web-1 after 1m 35s",
                "[action] shop/web: restart shop-web-1",
                "[made it worse] shop/web: restart shop-web-1",
                "[critical] Homeostat stopped acting: too much turned sick at once",
                "[test] Homeostat reaches this sink",
            ]
        );
    }

    #[test]
    fn the_end_of_an_update_says_how_it_ended_and_the_steps_before_what_is_done() {
        let told = |kind, phase, steps| headline(&examples::of_update(kind, phase, steps));
        for (kind, says) in [
            (
                ActionKind::CreateReplica,
                "[update finished] shop/web: shop/web:4",
            ),
            (
                ActionKind::Recreate,
                "[update rolled back] shop/web: shop/web:4",
            ),
            (
                ActionKind::PullImage,
                "[update refused] shop/web: shop/web:4",
            ),
        ] {
            assert_eq!(told(kind, Phase::Suggested, Vec::new()), says);
        }
        let pull = units::Action::PullImage {
            container: units::ContainerId::from("4f1d2c3b4a59"),
            name: units::ContainerName::from("shop-web-1"),
            reference: "shop/web:4".to_owned(),
        };
        assert_eq!(
            told(ActionKind::PullImage, Phase::Decided, vec![pull]),
            "[action] shop/web: pull shop/web:4 for shop-web-1"
        );
    }

    #[test]
    fn evidence_is_shown_in_its_unit() {
        let signal = examples::signal();
        assert_eq!(
            evidence_line(&signal.evidence[0]),
            "memory_working_set_bytes: 87.0 MiB, expected 20.0 MiB to 32.0 MiB"
        );
    }
}

#[cfg(test)]
#[path = "golden_tests.rs"]
mod golden_tests;
