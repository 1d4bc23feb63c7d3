//! PagerDuty Events API v2: triggers and resolves of incidents, and change events for what Homeostat did, so that a
//! responder sees it beside the incident. Change events never page.

use std::collections::BTreeMap;

use serde::Serialize;
use units::{Phase, PlanEntry, Severity, Signal};

use super::text::{clip, clip_line};
use super::{Endpoint, Message, evidence_line, headline, reason};
use crate::notice::{Change, Condition, Notice};

/// PagerDuty's limit on a summary.
const MAX_SUMMARY_CHARS: usize = 1_024;
const MAX_NAME_CHARS: usize = 255;
const MAX_DETAIL_CHARS: usize = 4_000;
const MAX_LINES: usize = 20;
/// PagerDuty's limit on an event.
#[cfg(test)]
pub(super) const MAX_BODY_BYTES: usize = 512 * 1024;

const CLIENT: &str = "Homeostat";

/// The message for a notice; nothing for what PagerDuty has no place for.
pub(crate) fn message(notice: &Notice, routing_key: &str) -> Option<Message> {
    match notice {
        Notice::Condition {
            change: Change::Resolved,
            condition,
        } => {
            let resolve = Resolve {
                routing_key,
                event_action: "resolve",
                dedup_key: condition.dedup_key(),
            };
            Some(encode(Endpoint::Main, &resolve))
        }
        Notice::Condition {
            change: Change::Opened | Change::Changed,
            condition,
        } => {
            let trigger = Trigger {
                routing_key,
                event_action: "trigger",
                dedup_key: condition.dedup_key(),
                client: CLIENT,
                payload: payload(notice, condition),
            };
            Some(encode(Endpoint::Main, &trigger))
        }
        Notice::Plan(entry) => match entry.phase {
            // Nothing was changed, so there is no change to tell.
            Phase::Suggested => None,
            Phase::Decided | Phase::Executed | Phase::Failed | Phase::Judged => Some(encode(
                Endpoint::Changes,
                &change(notice, routing_key, plan_details(entry)),
            )),
        },
        Notice::Test { .. } => Some(encode(
            Endpoint::Changes,
            &change(notice, routing_key, BTreeMap::new()),
        )),
    }
}

fn encode<T: Serialize>(endpoint: Endpoint, event: &T) -> Message {
    let body = serde_json::to_vec(event)
        .expect("the event has text keys and no failing serialiser, so JSON takes it");
    Message { endpoint, body }
}

#[derive(Serialize)]
struct Resolve<'a> {
    routing_key: &'a str,
    event_action: &'static str,
    dedup_key: String,
}

#[derive(Serialize)]
struct Trigger<'a> {
    routing_key: &'a str,
    event_action: &'static str,
    dedup_key: String,
    client: &'static str,
    payload: Payload,
}

#[derive(Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    class: String,
    custom_details: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct ChangeEvent<'a> {
    routing_key: &'a str,
    payload: ChangePayload,
}

#[derive(Serialize)]
struct ChangePayload {
    summary: String,
    source: &'static str,
    timestamp: String,
    custom_details: BTreeMap<&'static str, String>,
}

fn summary(notice: &Notice) -> String {
    clip_line(
        &format!("{}: {}", clip(&headline(notice), 400), reason(notice)),
        MAX_SUMMARY_CHARS,
    )
}

fn name(text: &str) -> String {
    clip_line(text, MAX_NAME_CHARS)
}

fn payload(notice: &Notice, condition: &Condition) -> Payload {
    let severity = match condition.severity() {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    let (source, component, group, class, custom_details) = match condition {
        Condition::Signal(signal) => {
            let subject = &signal.subject;
            let node = subject.node.as_ref().map(|it| name(it.as_str()));
            let service = subject.service.as_ref().map(|it| name(it.as_str()));
            (
                node.or_else(|| service.clone())
                    .unwrap_or_else(|| CLIENT.to_owned()),
                subject.name.as_ref().map(|it| name(it.as_str())),
                service,
                signal.kind.as_str().to_owned(),
                signal_details(signal),
            )
        }
        Condition::Breaker(entry) => {
            let names = entry
                .services
                .iter()
                .take(MAX_LINES)
                .map(|it| name(it.as_str()));
            let services = names.collect::<Vec<_>>().join(", ");
            let mut details = BTreeMap::from([("services", clip(&services, MAX_DETAIL_CHARS))]);
            details.extend(
                entry
                    .open_until
                    .map(|until| ("open_until", until.to_string())),
            );
            (CLIENT.to_owned(), None, None, "breaker".to_owned(), details)
        }
    };
    let timestamp = notice.at().to_string();
    let summary = summary(notice);
    Payload {
        summary,
        source,
        severity,
        timestamp,
        component,
        group,
        class,
        custom_details,
    }
}

fn signal_details(signal: &Signal) -> BTreeMap<&'static str, String> {
    let evidence: Vec<_> = signal
        .evidence
        .iter()
        .take(MAX_LINES)
        .map(evidence_line)
        .collect();
    let mut details = BTreeMap::from([
        ("confidence", signal.confidence.as_str().to_owned()),
        ("evidence", clip(&evidence.join("\n"), MAX_DETAIL_CHARS)),
        ("opened_at", signal.opened_at.to_string()),
        ("reason", clip(&signal.reason, MAX_DETAIL_CHARS)),
        ("score", format!("{:.4}", signal.score.get())),
        ("signal", name(signal.id.as_str())),
    ]);
    let container = signal.subject.container.as_ref();
    details.extend(container.map(|it| ("container", it.short().to_owned())));
    details
}

fn change<'a>(
    notice: &Notice,
    routing_key: &'a str,
    custom_details: BTreeMap<&'static str, String>,
) -> ChangeEvent<'a> {
    let payload = ChangePayload {
        summary: summary(notice),
        source: CLIENT,
        timestamp: notice.at().to_string(),
        custom_details,
    };
    ChangeEvent {
        routing_key,
        payload,
    }
}

fn plan_details(entry: &PlanEntry) -> BTreeMap<&'static str, String> {
    let plan = &entry.plan;
    let step = |step: &units::Step| clip_line(&format!("{} on {}", step.action, step.node), 300);
    let steps: Vec<_> = plan.steps.iter().take(MAX_LINES).map(step).collect();
    let mut details = BTreeMap::from([
        ("cause", clip(&plan.cause.reason, MAX_DETAIL_CHARS)),
        ("expected", clip(&plan.expected.text, MAX_DETAIL_CHARS)),
        ("phase", entry.phase.as_str().to_owned()),
        ("plan", name(plan.id.as_str())),
        ("service", name(plan.service.as_str())),
        ("steps", clip(&steps.join("\n"), MAX_DETAIL_CHARS)),
    ]);
    details.extend(
        entry
            .verdict
            .as_ref()
            .map(|it| ("verdict", it.kind.as_str().to_owned())),
    );
    details.extend(
        plan.undo_of
            .as_ref()
            .map(|it| ("undo_of", name(it.as_str()))),
    );
    details
}
