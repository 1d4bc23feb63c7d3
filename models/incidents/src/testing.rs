//! What stories are told with.

use std::sync::Arc;
use std::time::Duration;

use units::*;

use crate::{Event, Incidents};

/// One thing that is told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Signal(Signal),
    Inventory(NodeInventory),
    Links(Vec<Link>),
    Container(ContainerEvent),
    Journal(JournalEntry),
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
}

/// Incidents that were told all of it at `now`.
pub(crate) fn told(now: Timestamp, story: &[Told]) -> Incidents {
    let mut incidents = Incidents::default();
    for one in story {
        incidents.handle(
            now,
            match one {
                Told::Signal(signal) => Event::Signal(signal),
                Told::Inventory(inventory) => Event::Inventory(inventory),
                Told::Links(links) => Event::Links(links),
                Told::Container(event) => Event::Container(event),
                Told::Journal(entry) => Event::Journal(entry),
            },
        );
    }
    incidents
}

/// The only replica of `service`, on `node`.
pub(crate) fn replica(service: &str, node: &str) -> Subject {
    Subject::container(
        ServiceId::from(service),
        NodeId::from(node),
        ContainerId::new(format!("{service}-id")),
        ContainerName::new(format!("{service}-1")),
    )
}

pub(crate) fn signal(kind: SignalKind, subject: Subject, opened: i64) -> Signal {
    let fingerprint = subject.fingerprint(kind);
    Signal {
        id: SignalId::of(&fingerprint, at(opened)),
        fingerprint,
        phase: SignalPhase::Open,
        kind,
        severity: Severity::Warning,
        score: Ratio::saturating(0.99),
        confidence: Confidence::Medium,
        opened_at: at(opened),
        at: at(opened),
        reason: format!("{kind} of {subject}"),
        subject,
        evidence: Vec::new(),
        traceparent: None,
    }
}

/// The same with a number that rose above the expected.
pub(crate) fn risen(kind: SignalKind, subject: Subject, opened: i64, feature: &str) -> Signal {
    let mut signal = signal(kind, subject, opened);
    signal.evidence = vec![Evidence {
        feature: feature.to_owned(),
        metric: None,
        unit: "cores".to_owned(),
        observed: 2.0,
        expected_low: 0.1,
        expected_high: 0.3,
        since: at(opened),
    }];
    signal
}

pub(crate) fn over(mut signal: Signal, ended: i64) -> Signal {
    signal.phase = SignalPhase::Resolve;
    signal.at = at(ended);
    signal
}

/// A container made at `created` from the image `digest`.
pub(crate) fn container(service: &str, created: i64, digest: &str) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::new(format!("{service}-id")),
        name: ContainerName::new(format!("{service}-1")),
        service: ServiceId::from(service),
        image: format!("shop/{service}:{digest}"),
        state: ContainerState::Running,
        health: HealthState::None,
        restarts: 0,
        created_at: Some(at(created)),
        started_at: Some(at(created)),
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy::default(),
        label_problems: Vec::new(),
        replica_of: None,
        made_by: None,
        copy_obstacles: Vec::new(),
        spec: Some(Arc::new(ContainerSpec {
            image_digest: digest.to_owned(),
            ..ContainerSpec::default()
        })),
    }
}

/// The same as part of a compose project.
pub(crate) fn composed(service: &str, depends_on: &[&str]) -> ContainerRecord {
    let mut record = container(service, -100_000, "sha256:1");
    record.spec = Some(Arc::new(ContainerSpec {
        compose: Some(ComposeSpec {
            project: "shop".to_owned(),
            service: service.to_owned(),
            depends_on: depends_on.iter().map(|it| (*it).to_owned()).collect(),
        }),
        ..ContainerSpec::default()
    }));
    record
}

pub(crate) fn inventory(node: &str, taken: i64, containers: Vec<ContainerRecord>) -> Told {
    Told::Inventory(NodeInventory {
        node: NodeId::from(node),
        at: at(taken),
        steady: None,
        capacity: NodeCapacity::default(),
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers,
    })
}

/// `caller` holds connections to `callee`.
pub(crate) fn calls(caller: &str, callee: &str) -> Told {
    Told::Links(vec![Link {
        at: at(0),
        steady: Steady::from_millis(0),
        node: NodeId::from("node-a"),
        service: ServiceId::from(caller),
        container: ContainerId::new(format!("{caller}-id")),
        peer: [10, 0, 0, 1].into(),
        peer_service: Some(ServiceId::from(callee)),
        direction: Direction::Outbound,
        port: 80,
        connections: 3,
        rtt_median: Duration::from_micros(200),
        retransmits: 0,
    }])
}

pub(crate) fn event(service: &str, node: &str, happened: i64, kind: EventKind) -> Told {
    Told::Container(ContainerEvent {
        at: at(happened),
        at_unix_ns: None,
        node: NodeId::from(node),
        service: ServiceId::from(service),
        container: ContainerId::new(format!("{service}-id")),
        name: ContainerName::new(format!("{service}-1")),
        kind,
    })
}

/// Homeostat lowered the limits of `service`'s replica on `node-a`, for want of use.
pub(crate) fn limits_lowered(service: &str, done: i64, because: &[SignalId]) -> Told {
    let service_id = ServiceId::from(service);
    let plan = Plan {
        relocation: None,
        preemption: None,
        id: PlanId::of(&service_id, "update_limits", at(done - 1)),
        generation: Generation(1),
        service: service_id,
        kind: ActionKind::UpdateLimits,
        mode: Mode::Act,
        created_at: at(done - 1),
        deadline: at(done + 30),
        cause: Cause {
            signals: because.to_vec(),
            reason: "it uses a tenth of its limit".to_owned(),
        },
        steps: vec![Step {
            node: NodeId::from("node-a"),
            action: Action::UpdateLimits {
                container: ContainerId::new(format!("{service}-id")),
                name: ContainerName::new(format!("{service}-1")),
                limits: Limits {
                    cpu: Some(Millicores(100)),
                    memory: None,
                },
            },
        }],
        expected: Expectation {
            text: "nothing gets worse".to_owned(),
            check: Check::NoOverload,
            within: Duration::from_secs(60),
        },
        alternatives: Vec::new(),
        undo_of: None,
        approval: None,
        update: None,
        traceparent: None,
    };
    let outcome = Outcome {
        command: CommandId::of(&plan.id, 0),
        plan: plan.id.clone(),
        node: NodeId::from("node-a"),
        began_at: at(done),
        at: at(done),
        result: OutcomeResult::Succeeded {
            networks: Vec::new(),
            sealed: None,
            created: None,
            previous: None,
            image: None,
        },
        traceparent: None,
        note: None,
    };
    Told::Journal(JournalEntry::Plan(Box::new(PlanEntry {
        at: at(done),
        plan,
        phase: Phase::Executed,
        outcomes: vec![outcome],
        verdict: None,
    })))
}
