//! What people say of signals: taken over HTTP, written to the log, and shown with the signals it is about.
#![allow(clippy::unwrap_used)]

mod rig;

use std::time::Duration;

use console::View;
use console::api::{Approved, BarStatus, Explanation, Heard, ListedSignal};
use rig::Rig;
use units::*;

/// The opening of an anomaly of this container of the service `web`, so many seconds ago.
fn signal(container: &str, seconds_ago: u64) -> Signal {
    let subject = Subject::container(
        ServiceId::from("web"),
        NodeId::from("node-a"),
        ContainerId::from(container),
        ContainerName::from("web-1"),
    );
    let fingerprint = subject.fingerprint(SignalKind::CpuAnomaly);
    let opened_at = kit::now() - Duration::from_secs(seconds_ago);
    Signal {
        id: SignalId::of(&fingerprint, opened_at),
        fingerprint,
        phase: SignalPhase::Open,
        kind: SignalKind::CpuAnomaly,
        subject,
        severity: Severity::Info,
        score: Ratio::saturating(0.99),
        confidence: Confidence::Low,
        opened_at,
        at: opened_at,
        reason: "busy".to_owned(),
        evidence: vec![Evidence {
            feature: "cpu_usage_seconds".to_owned(),
            metric: Some(Metric::CpuUsage),
            unit: "cores".to_owned(),
            observed: 3.0,
            expected_low: 0.0,
            expected_high: 1.0,
            since: opened_at,
        }],
        traceparent: None,
    }
}

fn resolved(signal: &Signal, after: Duration) -> Signal {
    Signal {
        phase: SignalPhase::Resolve,
        at: signal.opened_at + after,
        ..signal.clone()
    }
}

const LISTED: &str = "signals?all=true";

/// A console that knows these signals.
async fn with(signals: &[Signal]) -> Rig {
    let rig = Rig::start().await;
    rig.tell(signals).await;
    let wanted = signals.len();
    rig.until(LISTED, |listed: &Vec<ListedSignal>| listed.len() == wanted)
        .await;
    rig
}

async fn written(rig: &Rig) -> Vec<Feedback> {
    let read = rig.read::<Feedback>().await.into_iter();
    read.map(|(key, feedback)| {
        assert_eq!(key, feedback.fingerprint.as_str().as_bytes());
        feedback
    })
    .collect()
}

#[tokio::test]
async fn a_dismissal_is_written_shown_and_raises_the_bar_once() {
    let open = signal("c1", 60);
    let rig = with(std::slice::from_ref(&open)).await;
    let id = &open.id.as_str()[..6];
    let path = format!("signals/{id}/dismiss");
    for _ in 0..2 {
        let answer = rig.post(&path, r#"{"because": " nightly "}"#).await;
        assert_eq!(answer.status(), 200);
        let heard: Heard = answer.json().await.unwrap();
        let said = heard.listed.said.unwrap();
        assert_eq!(said.opinion, Opinion::Dismissed);
        assert_eq!(said.because.as_deref(), Some("nightly"));
        assert_eq!(heard.bar.unwrap().dismissed, 1);
    }
    let written = written(&rig).await;
    assert_eq!(written.len(), 1, "said twice, it counts once");
    assert_eq!(written[0].evidence, open.evidence);

    let bars = rig.client.get(rig.url("feedback")).send().await.unwrap();
    let bars: Vec<BarStatus> = bars.json().await.unwrap();
    assert_eq!(bars.len(), 1);
    assert!(bars[0].beyond.is_some_and(|beyond| beyond > 2.9));
    let explained = rig.client.get(rig.url(&format!("signals/{id}")));
    let explained: Explanation = explained.send().await.unwrap().json().await.unwrap();
    assert_eq!(explained.said.unwrap().opinion, Opinion::Dismissed);
    assert!(explained.bar.is_some() && !explained.confidence_why.is_empty());
}

#[tokio::test]
async fn an_acknowledgement_marks_the_open_signal_and_raises_nothing() {
    let (open, over) = (signal("c1", 60), signal("c2", 600));
    let over = resolved(&over, Duration::from_secs(5));
    let rig = with(&[open.clone(), over.clone()]).await;
    let answer = rig.post(&format!("signals/{}/ack", open.id), "{}").await;
    let heard: Heard = answer.json().await.unwrap();
    assert_eq!(heard.bar, None);
    let listed = rig
        .until(LISTED, |listed: &Vec<ListedSignal>| {
            listed.iter().any(|it| it.said.is_some())
        })
        .await;
    let said = listed.iter().find(|it| it.signal.id == open.id).unwrap();
    assert_eq!(said.said.as_ref().unwrap().opinion, Opinion::Acknowledged);

    let (status, error) = rig.refused(&format!("signals/{}/ack", over.id), "{}").await;
    assert_eq!(status, 409, "{error}");
    assert!(error.contains("is over"), "{error}");
    assert_eq!(written(&rig).await.len(), 1);
}

#[tokio::test]
async fn ids_and_bodies_that_are_none_are_refused_with_what_to_do() {
    let (first, second) = (signal("c1", 60), signal("c1", 30));
    let rig = with(&[first.clone(), second]).await;
    let common = first.fingerprint.as_str();
    let id = first.id.as_str();
    let long = format!(r#"{{"because": "{}"}}"#, "x".repeat(400));
    let huge = format!(r#"{{"because": "{}"}}"#, "x".repeat(40_000));
    for (path, body, status, says) in [
        ("zzz", "{}", 404, "`homeostat signals` lists them"),
        (common, "{}", 409, "is the beginning of 2 signals' ids"),
        ("a%20b", "{}", 400, "is no signal's id"),
        ("%1b%5b2J", "{}", 400, "is no signal's id"),
        (id, "", 400, "the body is not"),
        (id, r#"{"why": "x"}"#, 400, "unknown field"),
        (id, &long, 400, "more than 300 characters"),
        (id, r#"{"because": "\u001b[2J"}"#, 400, "that is no text"),
    ] {
        let refused = rig.refused(&format!("signals/{path}/dismiss"), body).await;
        assert_eq!(refused.0, status, "{path} {body}: {refused:?}");
        assert!(refused.1.contains(says), "{path} {body}: {refused:?}");
    }
    let answer = rig.post(&format!("signals/{id}/dismiss"), &huge).await;
    assert_eq!(answer.status(), 413);
    let answer = rig.client.get(rig.url(&format!("signals/{id}/dismiss")));
    assert_eq!(answer.send().await.unwrap().status(), 405);
    assert_eq!(written(&rig).await, []);
}

#[tokio::test]
async fn pages_of_other_sites_cannot_say_anything() {
    let open = signal("c1", 60);
    let rig = with(std::slice::from_ref(&open)).await;
    let url = rig.url(&format!("signals/{}/dismiss", open.id));
    let host = rig.address.to_string();
    let json = "application/json";
    let requests: [(&[(&str, &str)], u16); 5] = [
        (&[("content-type", "text/plain")], 415),
        (
            &[("content-type", json), ("origin", "https://evil.example")],
            403,
        ),
        (
            &[("content-type", json), ("sec-fetch-site", "cross-site")],
            403,
        ),
        (&[("content-type", json), ("host", "evil.example")], 403),
        (
            &[
                ("content-type", json),
                ("host", &host),
                ("sec-fetch-site", "none"),
            ],
            200,
        ),
    ];
    for (headers, status) in requests {
        let mut request = rig.client.post(&url).body("{}");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{headers:?}");
    }
    let preflight = rig.client.request(reqwest::Method::OPTIONS, &url);
    let answer = preflight.send().await.unwrap();
    assert_eq!(answer.headers().get("access-control-allow-origin"), None);
    assert_eq!(written(&rig).await.len(), 1);
}

#[test]
fn similar_signals_are_of_the_same_kind_and_service_and_say_what_came_of_them() {
    let mut view = View::default();
    let earlier = resolved(&signal("c1", 600), Duration::from_secs(65));
    let other_kind = Signal {
        id: SignalId::from("other"),
        kind: SignalKind::IoAnomaly,
        ..earlier.clone()
    };
    let now = signal("c2", 0);
    view.feedback(Feedback::of(
        &earlier,
        Opinion::Dismissed,
        earlier.at,
        Some("backup".to_owned()),
    ));
    for signal in [&earlier, &other_kind, &now] {
        view.signal(signal.clone());
    }
    let explained = view.explain(now.id.as_str(), now.at).unwrap();
    assert_eq!(explained.said, None);
    assert_eq!(explained.bar.unwrap().because.as_deref(), Some("backup"));
    assert_eq!(explained.similar.len(), 1);
    let similar = &explained.similar[0];
    assert_eq!(similar.id, earlier.id);
    assert_eq!(similar.lasted_ms, Some(65_000));
    assert_eq!(similar.said.as_ref().unwrap().opinion, Opinion::Dismissed);
}

#[test]
fn feedback_is_bounded_and_what_is_older_changes_nothing() {
    let mut view = View::default();
    let signal = signal("c1", 60);
    view.signal(signal.clone());
    let say = |opinion, at| Feedback::of(&signal, opinion, at, None);
    view.feedback(say(Opinion::Dismissed, signal.at));
    view.feedback(say(
        Opinion::Acknowledged,
        signal.at + Duration::from_secs(1),
    ));
    let listed = view.find(signal.id.as_str()).unwrap();
    assert_eq!(listed.said.unwrap().opinion, Opinion::Dismissed);
    for number in 0..5_000u64 {
        view.feedback(Feedback {
            signal: SignalId::new(format!("{number}")),
            ..say(Opinion::Dismissed, signal.at + Duration::from_secs(number))
        });
    }
    assert_eq!(view.find(signal.id.as_str()).unwrap().said, None);
    assert_eq!(view.bars(kit::now()).len(), 1);
}

/// A plan that was only suggested.
fn suggested(id: &str) -> PlanEntry {
    let at = kit::now();
    PlanEntry {
        at,
        plan: Plan {
            relocation: None,
            preemption: None,
            id: PlanId::from(id),
            generation: Generation(1),
            service: ServiceId::from("web"),
            kind: ActionKind::Restart,
            mode: Mode::Suggest,
            created_at: at,
            deadline: at + Duration::from_secs(30),
            cause: Cause {
                signals: vec![SignalId::from("s1")],
                reason: "web-1 hangs".to_owned(),
            },
            steps: vec![Step {
                node: NodeId::from("node-a"),
                action: Action::Restart {
                    container: ContainerId::from("c1"),
                    name: ContainerName::from("web-1"),
                    grace: Duration::from_secs(10),
                },
            }],
            expected: Expectation {
                text: "it works again".to_owned(),
                check: Check::NoOverload,
                within: Duration::from_secs(60),
            },
            alternatives: Vec::new(),
            undo_of: None,
            approval: None,
            update: None,
            traceparent: None,
        },
        phase: Phase::Suggested,
        outcomes: Vec::new(),
        verdict: None,
    }
}

/// A console over a journal that holds these.
async fn over(entries: &[PlanEntry]) -> Rig {
    let rig = Rig::start().await;
    for entry in entries {
        rig.tell(&[JournalEntry::Plan(Box::new(entry.clone()))])
            .await;
    }
    rig.until("actions", |actions: &Vec<PlanEntry>| {
        actions.len() == entries.len()
    })
    .await;
    rig
}

async fn approvals(rig: &Rig) -> Vec<Approval> {
    let mut approvals = Vec::new();
    for (key, entry) in rig.read::<JournalEntry>().await {
        match entry {
            JournalEntry::Approval(approval) => {
                assert_eq!(key, approval.plan.as_str().as_bytes());
                approvals.push(approval);
            }
            JournalEntry::Plan(_)
            | JournalEntry::Breaker(_)
            | JournalEntry::Update(_)
            | JournalEntry::Node(_) => {}
        }
    }
    approvals
}

#[tokio::test]
async fn an_approval_of_what_was_suggested_is_written_to_the_journal_once() {
    let rig = over(&[suggested("shop/web-restart-17")]).await;
    for body in [
        r#"{"plan": "shop/web", "by": " ada "}"#,
        r#"{"plan": "shop/web-restart-17"}"#,
    ] {
        let answer = rig.post("approvals", body).await;
        assert_eq!(answer.status(), 200);
        let approved: Approved = answer.json().await.unwrap();
        assert_eq!(approved.approval.by.as_deref(), Some("ada"));
        assert_eq!(approved.suggested.plan.steps.len(), 1);
        assert_eq!(approved.until, approved.approval.at + Approval::VALID);
    }
    let approvals = approvals(&rig).await;
    assert_eq!(approvals.len(), 1, "said twice, it counts once");
    assert_eq!(approvals[0].plan, PlanId::from("shop/web-restart-17"));
}

#[tokio::test]
async fn what_cannot_be_approved_is_refused_with_why() {
    let decided = PlanEntry {
        phase: Phase::Decided,
        ..suggested("db-restart-1")
    };
    let mut empty = suggested("loop-restart-1");
    empty.plan.steps.clear();
    let mut upon = PlanEntry {
        phase: Phase::Judged,
        ..suggested("web-restart-2")
    };
    upon.plan.approval = Some(Approval {
        plan: PlanId::from("web-restart-1"),
        at: kit::now(),
        by: None,
    });
    let all = [
        decided,
        empty,
        suggested("web-restart-1"),
        upon,
        suggested("web-scale-1"),
    ];
    let rig = over(&all).await;
    for (body, status, says) in [
        (
            r#"{"plan": "nothing"}"#,
            404,
            "`homeostat actions` lists them",
        ),
        (r#"{"plan": ""}"#, 404, "no plan's id begins"),
        (
            r#"{"plan": "web-"}"#,
            409,
            "is the beginning of 3 plans' ids",
        ),
        (r#"{"plan": "db-restart-1"}"#, 409, "is decided already"),
        (
            r#"{"plan": "loop"}"#,
            409,
            "has no step to carry out: web-1 hangs",
        ),
        (
            r#"{"plan": "web-restart-1"}"#,
            409,
            "carried out as web-restart-2",
        ),
        (
            r#"{"plan": "web-scale-1", "by": "\u001b[2J"}"#,
            400,
            "no text",
        ),
        (r#"{"plan": 3}"#, 400, "the body is not"),
        (
            r#"{"plan": "web-scale-1", "force": true}"#,
            400,
            "the body is not",
        ),
    ] {
        let (got, error) = rig.refused("approvals", body).await;
        assert_eq!(got, status, "{body}: {error}");
        assert!(error.contains(says), "{body}: {error}");
    }
    assert_eq!(approvals(&rig).await, Vec::new());
}

#[test]
fn a_plan_that_is_over_stays_so_when_an_older_state_of_it_comes_late() {
    let of = |phase| PlanEntry {
        phase,
        ..suggested("web-restart-1")
    };
    let mut view = View::default();
    for phase in [Phase::Decided, Phase::Judged, Phase::Executed] {
        view.journal(JournalEntry::Plan(Box::new(of(phase))));
    }
    let actions = view.actions();
    assert_eq!(actions.len(), 1);
    assert_eq!(actions[0].phase, Phase::Judged);
}
