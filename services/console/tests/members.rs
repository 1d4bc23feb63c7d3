//! Which containers serve a service, as load balancers and other tools are told over HTTP.
#![allow(clippy::unwrap_used)]

mod rig;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use console::api::{Member, MemberState, Problem, ServiceMembers};
use rig::Rig;
use serde_json::{Value, json};
use units::*;

const TCP_80: &str = "80/tcp";
const LONG: Duration = Duration::from_secs(3_600);

fn spec(address: &str, exposed: &[&str]) -> ContainerSpec {
    ContainerSpec {
        network_mode: "shop".to_owned(),
        networks: vec![NetworkSpec {
            name: "shop".to_owned(),
            addresses: vec![address.to_owned()],
            ..NetworkSpec::default()
        }],
        exposed: exposed.iter().map(|port| (*port).to_owned()).collect(),
        ..ContainerSpec::default()
    }
}

fn published(on: &str, port: &str) -> PortSpec {
    PortSpec {
        container: TCP_80.to_owned(),
        host_address: on.to_owned(),
        host_port: port.to_owned(),
    }
}

/// A container that serves on its own address.
fn container(service: &str, name: &str, address: &str) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::from(name),
        name: ContainerName::from(name),
        service: ServiceId::from(service),
        image: "shop/web:2".to_owned(),
        state: ContainerState::Running,
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
        spec: Some(Arc::new(spec(address, &[TCP_80]))),
    }
}

fn inventory(node: &str, at: Timestamp, containers: Vec<ContainerRecord>) -> NodeInventory {
    NodeInventory {
        node: NodeId::from(node),
        at,
        steady: None,
        capacity: NodeCapacity::default(),
        engine: EngineInfo::default(),
        facts: NodeFacts {
            address: (node == "node-a").then(|| "10.0.0.7".to_owned()),
            ..NodeFacts::default()
        },
        containers,
    }
}

/// A plan of one step on `node-a`, decided now.
fn plan(service: &str, action: Action, at: Timestamp) -> PlanEntry {
    let service = ServiceId::from(service);
    let plan = Plan {
        relocation: None,
        preemption: None,
        id: PlanId::of(&service, action.kind().as_str(), at),
        generation: Generation(1),
        service,
        kind: action.kind(),
        mode: Mode::Act,
        created_at: at,
        deadline: at + LONG,
        cause: Cause {
            signals: Vec::new(),
            reason: "it hangs".to_owned(),
        },
        steps: vec![Step {
            node: NodeId::from("node-a"),
            action,
        }],
        expected: Expectation {
            text: "it serves".to_owned(),
            check: Check::NoOverload,
            within: Duration::from_secs(60),
        },
        alternatives: Vec::new(),
        undo_of: None,
        approval: None,
        update: None,
        traceparent: None,
    };
    PlanEntry {
        at,
        outcomes: Vec::new(),
        plan,
        phase: Phase::Decided,
        verdict: None,
    }
}

fn restart(name: &str) -> Action {
    Action::Restart {
        container: ContainerId::from(name),
        name: ContainerName::from(name),
        grace: Duration::from_secs(10),
    }
}

/// The plan's step was done at this time.
fn done(mut entry: PlanEntry, at: Timestamp) -> PlanEntry {
    entry.phase = Phase::Executed;
    entry.outcomes = vec![Outcome {
        command: CommandId::of(&entry.plan.id, 0),
        plan: entry.plan.id.clone(),
        node: NodeId::from("node-a"),
        began_at: at,
        at,
        result: OutcomeResult::Succeeded {
            networks: Vec::new(),
            sealed: None,
            created: None,
            previous: None,
            image: None,
        },
        note: None,
        traceparent: None,
    }];
    entry
}

fn journal(entry: &PlanEntry) -> JournalEntry {
    JournalEntry::Plan(Box::new(entry.clone()))
}

fn find<'a>(services: &'a [ServiceMembers], name: &str) -> Option<&'a Member> {
    let mut all = services.iter().flat_map(|it| &it.members);
    all.find(|it| it.name.as_str() == name)
}

fn state(services: &[ServiceMembers], name: &str) -> Option<MemberState> {
    find(services, name).map(|it| it.state)
}

/// What Traefik is told of one service's servers.
fn urls<'a>(configuration: &'a Value, service: &str) -> Vec<&'a str> {
    let servers = &configuration["http"]["services"][service]["loadBalancer"]["servers"];
    let servers = servers.as_array().unwrap().iter();
    servers.map(|it| it["url"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_container_is_told_with_its_state_and_where_it_is_reached() {
    let rig = Rig::start_patient().await;
    let now = kit::now();
    let mut on_node = container("web", "web-1", "172.18.0.2");
    on_node.spec = Some(Arc::new(ContainerSpec {
        published: vec![published("0.0.0.0", "32768"), published("::", "32769")],
        ..spec("172.18.0.2", &[TCP_80])
    }));
    let mut sick = container("web", "web-2", "172.18.0.3");
    sick.health = HealthState::Unhealthy;
    let mut starting = container("web", "web-3", "172.18.0.4");
    starting.health = HealthState::Starting;
    let mut gone = container("web", "web-4", "172.18.0.5");
    gone.state = ContainerState::Exited;
    let mut isolated = container("web", "web-5", "172.18.0.6");
    isolated.spec = Some(Arc::new(ContainerSpec {
        networks: Vec::new(),
        ..spec("", &[TCP_80])
    }));
    let mut untold = container("web", "web-6", "172.18.0.7");
    untold.spec = None;
    let all = vec![on_node, sick, starting, gone, isolated, untold];
    rig.tell(&[inventory("node-a", now, all)]).await;
    let told: Vec<ServiceMembers> = rig
        .until("members?service=web", |it: &Vec<ServiceMembers>| {
            !it.is_empty()
        })
        .await;
    let shown: Vec<_> = told[0]
        .members
        .iter()
        .map(|it| (it.name.as_str(), it.state, it.target.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("web-1", MemberState::Serving, Some("10.0.0.7:32768")),
            ("web-2", MemberState::Unhealthy, Some("172.18.0.3:80")),
            ("web-3", MemberState::Starting, Some("172.18.0.4:80")),
            ("web-4", MemberState::Gone, None),
            ("web-5", MemberState::Unhealthy, None),
            ("web-6", MemberState::Serving, None),
        ]
    );
    let ways: Vec<String> = told[0].members[0]
        .endpoints
        .iter()
        .map(|it| it.target())
        .collect();
    assert_eq!(ways, ["10.0.0.7:32768", "172.18.0.2:80"]);
    assert!(told[0].members[5].notes[0].contains("does not tell its addresses"));
    let (status, error) = rig::told(
        rig.client
            .get(rig.url("members?service=no"))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 404, "{error}");
    assert!(error.contains("`homeostat services` lists them"), "{error}");
}

#[tokio::test]
async fn which_port_balancers_are_told_is_the_only_one_or_the_labels() {
    let rig = Rig::start_patient().await;
    let mut two = container("two", "two-1", "172.18.0.2");
    two.spec = Some(Arc::new(spec("172.18.0.2", &[TCP_80, "8080/tcp"])));
    let mut labelled = container("labelled", "labelled-1", "fd00::2");
    labelled.spec = Some(Arc::new(spec("fd00::2", &[TCP_80, "8080/tcp"])));
    labelled.policy.port = NonZeroU16::new(8080);
    let mut unsaid = container("unsaid", "unsaid-1", "172.18.0.4");
    unsaid.spec = Some(Arc::new(spec("172.18.0.4", &["53/udp"])));
    let mut host = container("host", "host-1", "");
    host.spec = Some(Arc::new(ContainerSpec {
        network_mode: "host".to_owned(),
        networks: Vec::new(),
        ..spec("", &[TCP_80])
    }));
    let mut local = container("local", "local-1", "172.18.0.5");
    local.spec = Some(Arc::new(ContainerSpec {
        published: vec![published("127.0.0.1", "8000")],
        ..spec("172.18.0.5", &[TCP_80])
    }));
    let mut elsewhere = local.clone();
    elsewhere.service = ServiceId::from("elsewhere");
    elsewhere.name = ContainerName::from("elsewhere-1");
    elsewhere.id = ContainerId::from("elsewhere-1");
    elsewhere.spec = Some(Arc::new(ContainerSpec {
        published: vec![published("0.0.0.0", "8000")],
        ..spec("172.18.0.5", &[TCP_80])
    }));
    rig.tell(&[
        inventory(
            "node-a",
            kit::now(),
            vec![two, labelled, unsaid, host, local],
        ),
        inventory("node-b", kit::now(), vec![elsewhere]),
    ])
    .await;
    let told: Vec<ServiceMembers> = rig
        .until("members", |it: &Vec<ServiceMembers>| it.len() == 6)
        .await;
    let target = |name| find(&told, name).unwrap().target.as_deref();
    let notes = |name| find(&told, name).unwrap().notes.join("; ");
    assert_eq!(target("two-1"), None);
    assert!(notes("two-1").contains("80, 8080"), "{}", notes("two-1"));
    assert!(notes("two-1").contains("io.homeostat.port"));
    assert_eq!(target("labelled-1"), Some("[fd00::2]:8080"));
    assert_eq!(target("unsaid-1"), None);
    assert!(notes("unsaid-1").contains("no TCP port"));
    assert_eq!(target("host-1"), Some("10.0.0.7:80"));
    assert_eq!(
        target("local-1"),
        Some("172.18.0.5:80"),
        "loopback is the node's own"
    );
    assert_eq!(target("elsewhere-1"), Some("172.18.0.5:80"));
    assert!(notes("elsewhere-1").contains("set collector.address there"));
    let traefik: Value = rig.until("traefik", |_: &Value| true).await;
    let services = traefik["http"]["services"].as_object().unwrap();
    let names: Vec<&String> = services.keys().collect();
    assert_eq!(names, ["elsewhere", "host", "labelled", "local"]);
    assert_eq!(urls(&traefik, "labelled"), ["http://[fd00::2]:8080"]);
}

#[tokio::test]
async fn what_a_plan_takes_away_is_left_out_at_once_and_until_its_node_tells_how_it_is() {
    let rig = Rig::start_patient().await;
    let start = kit::now();
    let two = || {
        vec![
            container("web", "web-1", "172.18.0.2"),
            container("web", "web-2", "172.18.0.3"),
        ]
    };
    rig.tell(&[inventory("node-a", start, two())]).await;
    rig.until("traefik", |it: &Value| {
        it["http"].is_object() && urls(it, "web").len() == 2
    })
    .await;
    let mut entry = plan("web", restart("web-1"), start);
    entry.phase = Phase::Suggested;
    let limits = Action::UpdateLimits {
        container: ContainerId::from("web-2"),
        name: ContainerName::from("web-2"),
        limits: Limits::default(),
    };
    // Neither of these takes anything away; the last one is only told to wait for it.
    rig.tell(&[journal(&entry), journal(&plan("web", limits, start))])
        .await;
    rig.until("actions", |it: &Vec<PlanEntry>| it.len() == 2)
        .await;
    let all: Vec<ServiceMembers> = rig.until("members", |_| true).await;
    assert_eq!(state(&all, "web-1"), Some(MemberState::Serving));
    assert_eq!(state(&all, "web-2"), Some(MemberState::Serving));

    entry.phase = Phase::Decided;
    rig.tell(&[journal(&entry)]).await;
    let is = |wanted| move |it: &Vec<ServiceMembers>| state(it, "web-1") == Some(wanted);
    rig.until("members", is(MemberState::Leaving)).await;
    let traefik: Value = rig.until("traefik", |_| true).await;
    assert_eq!(urls(&traefik, "web"), ["http://172.18.0.3:80"]);

    // While it is stopped it is on its way back.
    let mut stopped = two();
    stopped[0].state = ContainerState::Exited;
    rig.tell(&[inventory("node-a", kit::now(), stopped)]).await;
    rig.until("members", is(MemberState::Starting)).await;

    // Done, and the node has not said anything since: what it said last was before.
    let end = kit::now();
    let too_soon = end + Duration::from_secs(1);
    rig.tell(&[inventory("node-a", too_soon, two())]).await;
    rig.tell(&[journal(&done(entry, end))]).await;
    rig.until("actions", |it: &Vec<PlanEntry>| {
        it.iter().any(|it| it.phase == Phase::Executed)
    })
    .await;
    let all: Vec<ServiceMembers> = rig.until("members", |_| true).await;
    assert_eq!(state(&all, "web-1"), Some(MemberState::Leaving));
    let after = end + Duration::from_millis(1_001);
    rig.tell(&[inventory("node-a", after, two())]).await;
    rig.until("members", is(MemberState::Serving)).await;
}

#[tokio::test]
async fn a_plan_whose_end_nobody_told_keeps_nothing_out_for_good() {
    let rig = Rig::start_patient().await;
    let long_ago = kit::now() - LONG - LONG;
    let lost = plan("web", restart("web-1"), long_ago);
    let stop = Action::Stop {
        container: ContainerId::from("web-2"),
        name: ContainerName::from("web-2"),
        grace: LONG,
    };
    let slow = plan("web", stop, long_ago);
    rig.tell(&[journal(&lost), journal(&slow)]).await;
    let both = vec![
        container("web", "web-1", "172.18.0.2"),
        container("web", "web-2", "172.18.0.3"),
    ];
    rig.tell(&[inventory("node-a", kit::now(), both)]).await;
    let all: Vec<ServiceMembers> = rig
        .until("members", |it: &Vec<ServiceMembers>| {
            state(it, "web-2") == Some(MemberState::Leaving)
        })
        .await;
    assert_eq!(state(&all, "web-1"), Some(MemberState::Serving));
}

#[tokio::test]
async fn of_a_silent_node_nothing_is_taken_for_serving_or_gone() {
    let rig = Rig::start_patient().await;
    let old = kit::now() - LONG;
    let mut exited = container("web", "web-2", "172.18.0.3");
    exited.state = ContainerState::Exited;
    let both = vec![container("web", "web-1", "172.18.0.2"), exited];
    rig.tell(&[inventory("node-a", old, both)]).await;
    let all: Vec<ServiceMembers> = rig
        .until("members", |it: &Vec<ServiceMembers>| !it.is_empty())
        .await;
    assert_eq!(state(&all, "web-1"), Some(MemberState::Unknown));
    assert_eq!(state(&all, "web-2"), Some(MemberState::Unknown));
    // A balancer goes on with what it had rather than with nothing.
    let answer = rig.client.get(rig.url("traefik")).send().await.unwrap();
    let (status, error) = rig::told(answer).await;
    assert_eq!(status, 503, "{error}");
    let groups: Value = rig.until("members?format=http_sd", |_| true).await;
    assert_eq!(groups[0]["labels"]["__meta_homeostat_state"], "unknown");
    // Another node speaks, so this console hears: what is on the silent one is left out.
    rig.tell(&[inventory(
        "node-b",
        kit::now(),
        vec![container("web", "web-3", "172.18.0.4")],
    )])
    .await;
    let traefik: Value = rig
        .until("traefik", |it: &Value| it["http"].is_object())
        .await;
    assert_eq!(urls(&traefik, "web"), ["http://172.18.0.4:80"]);
}

#[tokio::test]
async fn prometheus_and_traefik_get_the_shapes_they_read() {
    let rig = Rig::start_patient().await;
    // Before there is anything: an empty list, and for Traefik, which would drop all it has, no answer.
    let none: Value = rig.until("members?format=http_sd", |_| true).await;
    assert_eq!(none, json!([]));
    let answer = rig.client.get(rig.url("traefik")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    let _: Problem = answer.json().await.unwrap();
    let mut sick = container("sick", "sick-1", "172.18.0.3");
    sick.health = HealthState::Unhealthy;
    let mut portless = container("portless", "portless-1", "172.18.0.4");
    portless.spec = Some(Arc::new(spec("172.18.0.4", &[])));
    let all = vec![container("shop/web", "web-1", "172.18.0.2"), sick, portless];
    rig.tell(&[inventory("node-a", kit::now(), all)]).await;
    let web = "members?service=shop%2Fweb&format=http_sd";
    let groups: Value = rig.until(web, |it: &Value| it.is_array()).await;
    assert_eq!(
        groups,
        json!([{
            "targets": ["172.18.0.2:80"],
            "labels": {
                "__meta_homeostat_service": "shop/web",
                "__meta_homeostat_node": "node-a",
                "__meta_homeostat_container": "web-1",
                "__meta_homeostat_container_id": "web-1",
                "__meta_homeostat_state": "serving",
            },
        }])
    );
    let answer = rig.client.get(rig.url(web)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let traefik: Value = rig.until("traefik", |_| true).await;
    assert_eq!(
        traefik,
        json!({"http": {"services": {
            "shop/web": {"loadBalancer": {"servers": [{"url": "http://172.18.0.2:80"}]}},
            "sick": {"loadBalancer": {"servers": []}},
        }}})
    );
    let answer = rig.client.get(rig.url("members?format=csv")).send().await;
    assert_eq!(answer.unwrap().status().as_u16(), 400);
}
