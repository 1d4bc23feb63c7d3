//! One value of each record, used by the golden files and the property tests.
#![allow(clippy::unwrap_used, dead_code)]

use std::sync::Arc;
use std::time::Duration;

use bus::{NewRecord, Position, Record};
use units::*;

pub(crate) fn at(offset_ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + offset_ms)
}

/// The record as a reader would get it.
pub(crate) fn delivered(record: NewRecord) -> Record {
    Record {
        position: Position {
            topic: record.topic,
            partition: record.partition.unwrap_or(0),
            offset: 42,
        },
        timestamp_ms: at(0).as_millis(),
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}

pub(crate) fn sample() -> Sample {
    let mut metrics = MetricRow::default();
    for (index, metric) in Metric::ALL.iter().enumerate() {
        metrics.set(*metric, index as f64 + 0.5);
    }
    Sample {
        at: at(0),
        steady: Steady::from_millis(5_000),
        node: NodeId::from("node-a"),
        service: ServiceId::from("shop/web"),
        container: ContainerId::from("0123456789abcdef"),
        name: ContainerName::from("shop-web-1"),
        state: ContainerState::Running,
        health: HealthState::Healthy,
        metrics,
    }
}

pub(crate) fn stopped_sample() -> Sample {
    Sample {
        container: ContainerId::from("fedcba9876543210"),
        name: ContainerName::from("shop-job-1"),
        service: ServiceId::from("shop/job"),
        state: ContainerState::Exited,
        health: HealthState::None,
        metrics: MetricRow::default(),
        ..sample()
    }
}

pub(crate) fn line() -> LogLine {
    LogLine {
        at: at(5),
        node: NodeId::from("node-a"),
        service: ServiceId::from("shop/web"),
        container: ContainerId::from("0123456789abcdef"),
        name: ContainerName::from("shop-web-1"),
        stream: LogStream::Stderr,
        severity: LogSeverity::Error,
        sequence: 7,
        lines: 3,
        lost_before: 2,
        limited_before: 4,
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
        text: "payment 12 failed: timeout \u{1f4a5}".to_owned(),
        raw: Some(vec![0xff, 0xfe]),
    }
}

pub(crate) fn subject() -> Subject {
    Subject::container(
        ServiceId::from("shop/web"),
        NodeId::from("node-a"),
        ContainerId::from("0123456789abcdef"),
        ContainerName::from("shop-web-1"),
    )
}

pub(crate) fn signal() -> Signal {
    let fingerprint = subject().fingerprint(SignalKind::Hang);
    Signal {
        id: SignalId::of(&fingerprint, at(0)),
        fingerprint,
        phase: SignalPhase::Open,
        kind: SignalKind::Hang,
        subject: subject(),
        severity: Severity::Critical,
        score: Ratio::saturating(0.995),
        confidence: Confidence::Medium,
        opened_at: at(0),
        at: at(3_000),
        reason: "shop-web-1 gets requests and does no work".to_owned(),
        evidence: vec![Evidence {
            feature: "cpu_usage".to_owned(),
            metric: Some(Metric::CpuUsage),
            unit: "cores".to_owned(),
            observed: 0.001,
            expected_low: 0.05,
            expected_high: 0.09,
            since: at(-4_000),
        }],
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

pub(crate) fn plan() -> Plan {
    Plan {
        relocation: None,
        preemption: None,
        id: PlanId::of(&ServiceId::from("shop/web"), "restart", at(4_000)),
        generation: Generation(3),
        service: ServiceId::from("shop/web"),
        kind: ActionKind::Restart,
        mode: Mode::Act,
        created_at: at(4_000),
        deadline: at(34_000),
        cause: Cause {
            signals: vec![signal().id],
            reason: signal().reason,
        },
        steps: vec![Step {
            node: NodeId::from("node-a"),
            action: Action::Restart {
                container: ContainerId::from("0123456789abcdef"),
                name: ContainerName::from("shop-web-1"),
                grace: Duration::from_secs(10),
            },
        }],
        expected: Expectation {
            text: "the signal resolves within a minute".to_owned(),
            check: Check::SignalsResolve {
                signals: vec![signal().id],
            },
            within: Duration::from_secs(60),
        },
        alternatives: vec!["add a replica: it would not mend this one".to_owned()],
        undo_of: None,
        approval: None,
        update: None,
        traceparent: signal().traceparent,
    }
}

pub(crate) fn outcome() -> Outcome {
    Outcome {
        command: CommandId::of(&plan().id, 0),
        plan: plan().id,
        node: NodeId::from("node-a"),
        began_at: at(4_010),
        at: at(4_400),
        result: OutcomeResult::Succeeded {
            networks: Vec::new(),
            sealed: None,
            created: None,
            previous: None,
            image: None,
        },
        traceparent: None,
        note: None,
    }
}

pub(crate) fn inventory() -> NodeInventory {
    let labels = [
        ("io.homeostat.mode", "act"),
        ("io.homeostat.scale", "1..4"),
        ("io.homeostat.limits", "cpu=100m..2000m,memory=64Mi..1Gi"),
        ("io.homeostat.port", "80"),
        ("io.homeostat.heel", "true"),
    ];
    let labels = labels
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let (policy, label_problems) = Policy::from_labels(&labels);
    NodeInventory {
        node: NodeId::from("node-a"),
        at: at(0),
        steady: Some(Steady::from_millis(5_000)),
        capacity: NodeCapacity {
            cpu: Millicores(2_000),
            memory: Bytes::from_mib(4_096),
        },
        engine: EngineInfo {
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            cgroup: "hybrid".to_owned(),
        },
        facts: NodeFacts {
            zone: Some("a".to_owned()),
            cost: Some(1.5),
            address: Some("10.0.0.7".to_owned()),
            labels: [("disk".to_owned(), "ssd".to_owned())].into(),
            architecture: Some("amd64".to_owned()),
        },
        containers: vec![ContainerRecord {
            id: ContainerId::from("0123456789abcdef"),
            name: ContainerName::from("shop-web-1"),
            service: ServiceId::from("shop/web"),
            image: "shop-web:7".to_owned(),
            state: ContainerState::Running,
            health: HealthState::Healthy,
            restarts: 1,
            created_at: Some(at(-60_000)),
            started_at: Some(at(-50_000)),
            finished_at: None,
            exit_code: None,
            limits: Limits {
                cpu: Some(Millicores(250)),
                memory: None,
            },
            policy,
            label_problems,
            replica_of: None,
            made_by: None,
            copy_obstacles: vec!["publishes the fixed host port 80".to_owned()],
            spec: Some(Arc::new(spec())),
        }],
    }
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        image_digest: "sha256:77".to_owned(),
        entrypoint: Vec::new(),
        command: vec!["serve".to_owned()],
        environment: vec!["PATH".to_owned()],
        compose: Some(ComposeSpec {
            project: "shop".to_owned(),
            service: "web".to_owned(),
            depends_on: vec!["db".to_owned()],
        }),
        network_mode: "shop_default".to_owned(),
        networks: vec![NetworkSpec {
            name: "shop_default".to_owned(),
            aliases: vec!["web".to_owned()],
            addresses: vec!["172.18.0.3".to_owned()],
        }],
        ports: vec![PortSpec {
            container: "80/tcp".to_owned(),
            host_address: String::new(),
            host_port: "80".to_owned(),
        }],
        published: vec![PortSpec {
            container: "80/tcp".to_owned(),
            host_address: "0.0.0.0".to_owned(),
            host_port: "80".to_owned(),
        }],
        exposed: vec!["80/tcp".to_owned()],
        mounts: vec![MountSpec {
            kind: MountKind::Volume,
            source: "assets".to_owned(),
            target: "/assets".to_owned(),
            driver: "local".to_owned(),
            access: "ro".to_owned(),
        }],
        restart: RestartSpec {
            policy: "on-failure".to_owned(),
            attempts_max: Some(3),
        },
        health: Some(HealthSpec {
            test: vec!["CMD".to_owned(), "/check".to_owned()],
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            retries: 3,
            start_period: Duration::ZERO,
        }),
        stop_signal: Some("SIGINT".to_owned()),
        log_driver: "json-file".to_owned(),
    }
}

pub(crate) fn point() -> Point {
    Point {
        at: at(2),
        steady: Steady::from_millis(5_002),
        node: NodeId::from("node-a"),
        service: Some(ServiceId::from("shop/web")),
        container: Some(ContainerId::from("0123456789abcdef")),
        name: "http_requests_total".to_owned(),
        labels: "code=\"200\"".to_owned(),
        kind: SeriesKind::Counter,
        value: 1027.0,
    }
}

pub(crate) fn node_point() -> Point {
    Point {
        service: None,
        container: None,
        name: NodeMetric::Load.name().to_owned(),
        labels: "window=\"1m\"".to_owned(),
        kind: SeriesKind::Gauge,
        value: 0.25,
        ..point()
    }
}

pub(crate) fn link() -> Link {
    Link {
        at: at(3),
        steady: Steady::from_millis(5_003),
        node: NodeId::from("node-a"),
        service: ServiceId::from("shop/web"),
        container: ContainerId::from("0123456789abcdef"),
        peer: "172.18.0.4".parse().unwrap(),
        peer_service: Some(ServiceId::from("shop/db")),
        direction: Direction::Outbound,
        port: 5432,
        connections: 4,
        rtt_median: Duration::from_micros(310),
        retransmits: 2,
    }
}

pub(crate) fn event() -> ContainerEvent {
    ContainerEvent {
        at: at(1),
        at_unix_ns: Some(1_700_000_000_001_000_042),
        node: NodeId::from("node-a"),
        service: ServiceId::from("shop/web"),
        container: ContainerId::from("0123456789abcdef"),
        name: ContainerName::from("shop-web-1"),
        kind: EventKind::Died {
            exit_code: Some(137),
        },
    }
}

pub(crate) fn forecast() -> Forecast {
    Forecast {
        service: ServiceId::from("shop/web"),
        at: at(0),
        metric: LoadMetric::CpuMillicores,
        observed: 310.0,
        recent_peak: 340.5,
        replicas: 2,
        replica_capacity: Millicores(250),
        throttled: 0.25,
        method: "trend of the last minute".to_owned(),
        points: vec![ForecastPoint {
            ahead: Duration::from_secs(30),
            expected: 330.0,
            low: 280.0,
            high: 380.0,
        }],
        startup_s: Some(12),
        sizing: Some(Sizing {
            replicas: 3,
            expected: 330.0,
            spread: 20.0,
            price: 46.7,
            slo: Ratio::saturating(0.001),
            broken: Ratio::saturating(0.0004),
        }),
        usage: Some(Usage {
            history: Duration::from_secs(93_600),
            cpu: Need {
                lower: Millicores(90),
                target: Millicores(190),
                upper: Millicores(420),
                recent_peak: Millicores(160),
            },
            memory: Some(Need {
                lower: Bytes::from_mib(40),
                target: Bytes::from_mib(60),
                upper: Bytes::from_mib(110),
                recent_peak: Bytes::from_mib(50),
            }),
        }),
        loads: Vec::new(),
    }
}
