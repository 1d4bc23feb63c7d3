//! What the console says of records it has seen.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bus::Bus;
use console::View;
use tokio_util::sync::CancellationToken;
use units::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
}

fn signal(service: &str, opened: i64, phase: SignalPhase, told: i64) -> Signal {
    let subject = Subject::service(ServiceId::from(service));
    let fingerprint = subject.fingerprint(SignalKind::Overload);
    Signal {
        id: SignalId::of(&fingerprint, at(opened)),
        fingerprint,
        phase,
        kind: SignalKind::Overload,
        subject,
        severity: Severity::Critical,
        score: Ratio::saturating(0.99),
        confidence: Confidence::Low,
        opened_at: at(opened),
        at: at(told),
        reason: "too busy".to_owned(),
        evidence: Vec::new(),
        traceparent: None,
    }
}

fn inventory(service: &str, state: ContainerState) -> NodeInventory {
    NodeInventory {
        node: NodeId::from("node-a"),
        at: at(0),
        steady: None,
        capacity: NodeCapacity::default(),
        engine: EngineInfo {
            version: "20.10".to_owned(),
            ..EngineInfo::default()
        },
        facts: NodeFacts::default(),
        containers: vec![ContainerRecord {
            id: ContainerId::from("c1"),
            name: ContainerName::from("web-1"),
            service: ServiceId::from(service),
            image: "web".to_owned(),
            state,
            health: HealthState::None,
            restarts: 0,
            created_at: None,
            started_at: None,
            finished_at: None,
            exit_code: None,
            limits: Limits::default(),
            policy: Policy::default(),
            label_problems: Vec::new(),
            replica_of: None,
            made_by: None,
            copy_obstacles: Vec::new(),
            spec: None,
        }],
    }
}

/// `caller` holds connections to `callee`.
fn link(caller: &str, callee: &str, at: Timestamp) -> Link {
    Link {
        at,
        steady: Steady::from_millis(0),
        node: NodeId::from("node-a"),
        service: ServiceId::from(caller),
        container: ContainerId::from("c1"),
        peer: [10, 0, 0, 2].into(),
        peer_service: Some(ServiceId::from(callee)),
        direction: Direction::Outbound,
        port: 5432,
        connections: 1,
        rtt_median: Duration::from_micros(100),
        retransmits: 0,
    }
}

#[test]
fn a_signal_is_open_until_it_resolves_and_a_repeated_record_does_not_open_it_again() {
    let mut view = View::default();
    view.inventory(inventory("web", ContainerState::Running));
    view.signal(signal("web", 0, SignalPhase::Open, 0));
    assert_eq!(view.status(at(1)).signals_open, 1);
    assert_eq!(view.services()[0].signals_open, 1);
    view.signal(signal("web", 0, SignalPhase::Resolve, 5));
    view.signal(signal("web", 0, SignalPhase::Open, 0));
    assert_eq!(view.status(at(6)).signals_open, 0);
}

#[test]
fn an_id_may_be_shortened_as_long_as_it_is_clear() {
    let mut view = View::default();
    let first = signal("web", 0, SignalPhase::Resolve, 1);
    let second = signal("web", 60, SignalPhase::Open, 60);
    view.signal(first.clone());
    view.signal(second.clone());
    let whole = view.explain(second.id.as_str(), at(90)).unwrap();
    assert_eq!(whole.signal.id, second.id);
    assert_eq!(whole.earlier.len(), 1);
    let both = view
        .explain(first.fingerprint.as_str(), at(90))
        .unwrap_err();
    assert!(
        both.to_string()
            .contains("is the beginning of 2 signals' ids"),
        "{both}"
    );
    let none = view.explain("zzz", at(90)).unwrap_err();
    assert!(
        none.to_string().contains("`homeostat signals` lists them"),
        "{none}"
    );
}

#[test]
fn what_is_not_running_does_not_serve() {
    let mut view = View::default();
    view.inventory(inventory("web", ContainerState::Exited));
    let services = view.services();
    assert_eq!((services[0].replicas, services[0].serving), (1, 0));
    view.node_removed(&NodeId::from("node-a"));
    assert!(view.services().is_empty());
}

#[test]
fn memory_is_bounded_and_open_signals_are_the_last_to_go() {
    let mut view = View::default();
    view.signal(signal("kept", 0, SignalPhase::Open, 0));
    for opened in 1..5_000 {
        view.signal(signal("web", opened, SignalPhase::Resolve, opened));
    }
    let kept = view.signals(console::Which::All);
    assert!(kept.len() <= 2_001, "{}", kept.len());
    assert_eq!(view.status(at(9_000)).signals_open, 1);
}

#[tokio::test]
async fn the_api_answers_from_the_topics() {
    let bus = Bus::memory();
    bus.ensure_topics(&wire::topic::all(1)).await.unwrap();
    let meta = wire::Meta::new("test/1@node-a");
    let opened = kit::now();
    let mut held = inventory("web", ContainerState::Running);
    held.at = opened;
    bus.produce(wire::encode(&held, &meta)).await.unwrap();
    let mut open = signal("web", 0, SignalPhase::Open, 0);
    open.opened_at = opened;
    open.at = opened;
    bus.produce(wire::encode(&open, &meta)).await.unwrap();
    // The database hangs, and web calls it.
    let database = Subject::service(ServiceId::from("db"));
    let mut hang = signal("db", 0, SignalPhase::Open, 0);
    hang.kind = SignalKind::Hang;
    hang.fingerprint = database.fingerprint(SignalKind::Hang);
    hang.opened_at = opened;
    hang.at = opened;
    hang.id = SignalId::of(&hang.fingerprint, opened);
    bus.produce(wire::encode(&hang, &meta)).await.unwrap();
    let link = link("web", "db", opened);
    bus.produce(wire::encode_links(&[link], 0, &meta).unwrap())
        .await
        .unwrap();

    let port = free_port();
    let config = console::Config {
        listen: ([127, 0, 0, 1], port).into(),
    };
    let mut context = kit::Context::new(bus, "console", "node-a");
    context.shutdown = CancellationToken::new();
    let shutdown = context.shutdown.clone();
    let running = tokio::spawn(console::run(config, control::Config::default(), context));

    let base = format!("http://127.0.0.1:{port}");
    let services = until(|| async {
        let answer = reqwest::get(format!("{base}/api/v1/services")).await.ok()?;
        let services: Vec<console::api::ServiceStatus> = answer.json().await.ok()?;
        services
            .iter()
            .any(|service| service.signals_open == 1)
            .then_some(services)
    })
    .await;
    assert_eq!(services[0].service, ServiceId::from("web"));

    let incidents = until(|| async {
        let answer = reqwest::get(format!("{base}/api/v1/incidents"))
            .await
            .ok()?;
        let incidents: Vec<incidents::Incident> = answer.json().await.ok()?;
        (incidents.len() == 1 && incidents[0].signals.len() == 2).then_some(incidents)
    })
    .await;
    assert_eq!(incidents[0].causes[0].subject, database);
    let id = &incidents[0].id;
    let detail = reqwest::get(format!("{base}/api/v1/incidents/{id}"))
        .await
        .unwrap();
    let detail: console::api::IncidentDetail = detail.json().await.unwrap();
    assert_eq!(detail.incident, incidents[0]);
    assert_eq!(detail.signals.len(), 2);
    let explained = reqwest::get(format!("{base}/api/v1/signals/{}", hang.id))
        .await
        .unwrap();
    let explained: console::api::Explanation = explained.json().await.unwrap();
    assert_eq!(&explained.incident.unwrap().id, id);
    let missing = reqwest::get(format!("{base}/api/v1/incidents/nope"))
        .await
        .unwrap();
    assert_eq!(missing.status(), 404);
    let missing: console::api::Problem = missing.json().await.unwrap();
    assert!(missing.error.contains("`homeostat incidents --all`"));

    let reasons = reqwest::get(format!("{base}/api/v1/services/web/why-not"))
        .await
        .unwrap();
    let reasons: Vec<control::Reason> = reasons.json().await.unwrap();
    let ceiling = reasons
        .iter()
        .any(|reason| reason.action.is_none() && reason.text.contains("so it is only watched"));
    assert!(ceiling, "{reasons:?}");
    let missing = reqwest::get(format!("{base}/api/v1/services/nope/why-not"))
        .await
        .unwrap();
    assert_eq!(missing.status(), 404);

    let nodes = reqwest::get(format!("{base}/api/v1/nodes")).await.unwrap();
    let nodes: control::FleetCapacity = nodes.json().await.unwrap();
    assert_eq!(nodes.nodes[0].node, NodeId::from("node-a"));
    assert_eq!(
        (nodes.nodes[0].capacity, nodes.nodes[0].needed.unknown),
        (None, 1)
    );
    assert_eq!(nodes.nodes[0].survives, control::Survives::No);
    assert!(nodes.kept[0].why.contains("io.homeostat.move"));

    let page = reqwest::get(&base).await.unwrap().text().await.unwrap();
    assert!(page.contains("<title>Homeostat</title>"));
    let missing = reqwest::get(format!("{base}/api/v1/signals/nope"))
        .await
        .unwrap();
    assert_eq!(missing.status(), 404);

    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_key_to_change() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let context = kit::Context::new(Bus::memory(), "console", "node-a");
    let error = console::run(
        console::Config { listen },
        control::Config::default(),
        context,
    )
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("console cannot listen on {listen}; set console.listen to a free address")
    );
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

async fn until<T, F: Future<Output = Option<T>>>(mut attempt: impl FnMut() -> F) -> T {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "it did not happen within 30 s"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
