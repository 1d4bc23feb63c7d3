//! Notices for tests: names and log text hold what sinks must not take literally.

use std::sync::Arc;
use std::time::Duration;

use units::{
    Action, ActionKind, BreakerEntry, Cause, Check, Confidence, ContainerId, ContainerName,
    Evidence, Expectation, Generation, Metric, Mode, NodeId, Phase, Plan, PlanEntry, PlanId, Ratio,
    ServiceId, Severity, Signal, SignalId, SignalKind, SignalPhase, Step, Subject, Timestamp,
    Update, UpdateId, Verdict, VerdictKind,
};

use crate::notice::{Change, Condition, Notice};

pub(crate) const OPENED_AT: Timestamp = Timestamp::from_millis(1_790_000_000_000);

pub(crate) fn signal() -> Signal {
    let subject = Subject::container(
        ServiceId::from("shop/web"),
        NodeId::from("node-a"),
        ContainerId::from("4f1d2c3b4a5968778695a4b3c2d1e0f04f1d2c3b4a5968778695a4b3c2d1e0f0"),
        ContainerName::from("shop-web-1"),
    );
    let fingerprint = subject.fingerprint(SignalKind::MemoryRunaway);
    Signal {
        id: SignalId::of(&fingerprint, OPENED_AT),
        fingerprint,
        phase: SignalPhase::Open,
        kind: SignalKind::MemoryRunaway,
        subject,
        severity: Severity::Critical,
        score: Ratio::saturating(0.9991),
        confidence: Confidence::Medium,
        opened_at: OPENED_AT,
        at: OPENED_AT,
        reason: "memory grows 8.0 MiB/s & reaches its limit in 40 s; last line: <!channel> *boom*"
            .to_owned(),
        evidence: vec![Evidence {
            feature: "memory_working_set_bytes".to_owned(),
            metric: Some(Metric::MemoryWorkingSet),
            unit: "bytes".to_owned(),
            observed: 91_226_112.0,
            expected_low: 20_971_520.0,
            expected_high: 33_554_432.0,
            since: Timestamp::from_millis(1_789_999_970_000),
        }],
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
    }
}

fn told(change: Change, signal: Signal) -> Notice {
    Notice::Condition {
        change,
        condition: Condition::Signal(Arc::new(signal)),
    }
}

pub(crate) fn opened() -> Notice {
    told(Change::Opened, signal())
}

pub(crate) fn changed() -> Notice {
    let at = OPENED_AT + Duration::from_secs(30);
    told(
        Change::Changed,
        Signal {
            phase: SignalPhase::Update,
            severity: Severity::Warning,
            at,
            ..signal()
        },
    )
}

pub(crate) fn resolved() -> Notice {
    let at = OPENED_AT + Duration::from_secs(95);
    told(
        Change::Resolved,
        Signal {
            phase: SignalPhase::Resolve,
            at,
            ..signal()
        },
    )
}

pub(crate) fn plan_entry() -> PlanEntry {
    let service = ServiceId::from("shop/web");
    let signal = signal();
    PlanEntry {
        at: OPENED_AT,
        plan: Plan {
            relocation: None,
            preemption: None,
            id: PlanId::of(&service, "restart", OPENED_AT),
            generation: Generation(7),
            service,
            kind: ActionKind::Restart,
            mode: Mode::Act,
            created_at: OPENED_AT,
            deadline: OPENED_AT + Duration::from_secs(60),
            cause: Cause {
                signals: vec![signal.id.clone()],
                reason: "shop-web-1 will hit its memory limit in 40 s".to_owned(),
            },
            steps: vec![Step {
                node: NodeId::from("node-a"),
                action: Action::Restart {
                    container: ContainerId::from("4f1d2c3b4a59"),
                    name: ContainerName::from("shop-web-1"),
                    grace: Duration::from_secs(10),
                },
            }],
            expected: Expectation {
                text: "memory falls back and the signal resolves".to_owned(),
                check: Check::SignalsResolve {
                    signals: vec![signal.id],
                },
                within: Duration::from_secs(120),
            },
            alternatives: vec!["raise the limit: the node has no memory left".to_owned()],
            undo_of: None,
            approval: None,
            update: None,
            traceparent: signal.traceparent,
        },
        phase: Phase::Decided,
        outcomes: Vec::new(),
        verdict: None,
    }
}

pub(crate) fn decided() -> Notice {
    Notice::Plan(Arc::new(plan_entry()))
}

pub(crate) fn judged() -> Notice {
    let at = OPENED_AT + Duration::from_secs(100);
    Notice::Plan(Arc::new(PlanEntry {
        at,
        phase: Phase::Judged,
        verdict: Some(Verdict {
            kind: VerdictKind::Worse,
            at,
            reason: "the signal opened again after 20 s".to_owned(),
        }),
        ..plan_entry()
    }))
}

/// A plan of an update of this kind.
pub(crate) fn of_update(kind: ActionKind, phase: Phase, actions: Vec<Action>) -> Notice {
    let mut entry = plan_entry();
    let service = entry.plan.service.clone();
    entry.phase = phase;
    entry.plan.kind = kind;
    entry.plan.update = Some(Update {
        id: UpdateId::of(&service, OPENED_AT),
        service,
        image: "shop/web:4".to_owned(),
        at: OPENED_AT,
        by: Some("ada".to_owned()),
    });
    let node = NodeId::from("node-a");
    let step = |action| Step {
        node: node.clone(),
        action,
    };
    entry.plan.steps = actions.into_iter().map(step).collect();
    Notice::Plan(Arc::new(entry))
}

pub(crate) fn breaker_entry() -> BreakerEntry {
    BreakerEntry {
        at: OPENED_AT,
        generation: Generation(7),
        open_until: Some(OPENED_AT + Duration::from_secs(300)),
        reason: "6 of 8 services turned sick within 30 s".to_owned(),
        services: vec![ServiceId::from("shop/web"), ServiceId::from("shop/db")],
    }
}

pub(crate) fn breaker_opened() -> Notice {
    Notice::Condition {
        change: Change::Opened,
        condition: Condition::Breaker(Arc::new(breaker_entry())),
    }
}

/// One of each kind, by the name of its golden file.
pub(crate) fn all() -> Vec<(&'static str, Notice)> {
    vec![
        ("signal-opened", opened()),
        ("signal-changed", changed()),
        ("signal-resolved", resolved()),
        ("plan-decided", decided()),
        ("plan-judged", judged()),
        ("breaker-opened", breaker_opened()),
        ("test", Notice::Test { at: OPENED_AT }),
    ]
}

/// As long and as hostile as names and texts get.
pub(crate) fn monstrous() -> Vec<Notice> {
    let long = "&<>é😀`*_\n".repeat(3_000);
    let evidence = vec![
        Evidence {
            feature: long.clone(),
            ..signal().evidence.remove(0)
        };
        50
    ];
    let subject = Subject::service(ServiceId::new(long.clone()));
    let signal = Signal {
        reason: long.clone(),
        evidence,
        subject,
        ..signal()
    };
    let mut entry = PlanEntry {
        phase: Phase::Judged,
        ..plan_entry()
    };
    entry.plan.steps = vec![entry.plan.steps[0].clone(); 200];
    entry.plan.cause.reason = long.clone();
    entry.plan.alternatives = vec![long.clone(); 20];
    entry.plan.expected.text = long.clone();
    entry.plan.service = ServiceId::new(long.clone());
    entry.verdict = Some(Verdict {
        kind: VerdictKind::Unknown,
        at: OPENED_AT,
        reason: long.clone(),
    });
    let breaker = BreakerEntry {
        reason: long.clone(),
        services: vec![ServiceId::new(long); 100],
        ..breaker_entry()
    };
    vec![
        told(Change::Opened, signal.clone()),
        told(Change::Changed, signal.clone()),
        told(Change::Resolved, signal),
        Notice::Plan(Arc::new(entry)),
        Notice::Condition {
            change: Change::Opened,
            condition: Condition::Breaker(Arc::new(breaker)),
        },
    ]
}
