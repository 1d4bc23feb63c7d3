//! Several hosts, each with an engine of its own: they are seen as one fleet, and a lost one is told.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::Bus;
use console::api::ServiceStatus;
use control::{FleetCapacity, Hearing, NodeRoom};
use e2e::containers::Containers;
use e2e::hosts::{Fleet, Host, HostFacts};
use e2e::topic::Topic;
use e2e::wait::until;
use units::Metric;
use wire::{Telemetry, topic};

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);

fn facts<'a>(name: &'a str, zone: &'a str, cost: f64) -> HostFacts<'a> {
    HostFacts { name, zone, cost }
}

async fn rooms(fleet: &Fleet) -> Option<BTreeMap<String, NodeRoom>> {
    let capacity: FleetCapacity = fleet.console.ask("nodes").await?;
    let rooms = capacity.nodes.into_iter();
    Some(rooms.map(|it| (it.node.to_string(), it)).collect())
}

async fn heard(fleet: &Fleet, name: &str, hearing: Hearing) {
    let what = format!("{name}: {hearing:?}");
    until(&what, SEEN, || async {
        let rooms = rooms(fleet).await?;
        (rooms.get(name)?.hearing == hearing).then_some(())
    })
    .await;
}

async fn service(fleet: &Fleet, name: &str, serving: usize) -> ServiceStatus {
    let what = format!("{serving} of {name} serve");
    until(&what, SEEN, || async {
        let services: Vec<ServiceStatus> = fleet.console.ask("services").await?;
        let found = services
            .into_iter()
            .find(|it| it.service.as_str() == name)?;
        (found.serving == serving).then_some(found)
    })
    .await
}

/// What a verb prints.
async fn said(fleet: &Fleet, words: &[&str]) -> String {
    let output = fleet.told(words).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until usage and log lines of every host's containers have come, which are read from files of its own engine.
async fn read_from(bus: &Bus, hosts: &BTreeSet<&str>) {
    let mut samples = Topic::open(bus, topic::SAMPLES).await;
    let mut logs = Topic::open(bus, topic::LOGS).await;
    let (mut used, mut wrote) = (BTreeSet::new(), BTreeSet::new());
    let began = std::time::Instant::now();
    while used.len() < hosts.len() || wrote.len() < hosts.len() {
        assert!(
            began.elapsed() < SEEN,
            "usage of {used:?} and lines of {wrote:?} alone"
        );
        samples
            .read(|record| {
                if let Telemetry::Samples(rows) = wire::decode_telemetry(record).unwrap() {
                    let rows = rows.into_iter();
                    let rows = rows.filter(|it| it.metrics.get(Metric::CpuUsage).is_some());
                    used.extend(rows.map(|it| it.node.to_string()));
                }
            })
            .await;
        logs.read(|record| {
            let lines = wire::decode_logs(record).unwrap().into_iter();
            wrote.extend(lines.map(|it| it.node.to_string()));
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_seen_and_lost_ones_told() {
    let plan = [
        facts("a", "east", 1.0),
        facts("b", "west", 2.0),
        facts("c", "west", 0.5),
    ];
    let mut fleet = Fleet::start(&plan, &[]).await;
    let image = Containers::at(&fleet.host("a").engine());
    for host in fleet.hosts() {
        if host.name() != "a" {
            host.load(image.image(), &fleet.host("a").engine());
        }
        let limits = ["--cpus", "0.2", "--memory", "32m", "--restart", "always"];
        let run = [
            "run",
            "--detach",
            "--name",
            "web",
            "--label",
            "io.homeostat.service=web",
        ];
        let order = [image.image(), "lines", "100000", "40", "2"];
        host.docker(&[&run[..], &limits, &order].concat());
    }

    let web = service(&fleet, "web", 3).await;
    let nodes: Vec<&str> = web.nodes.iter().map(|it| it.as_str()).collect();
    assert_eq!((nodes, web.replicas), (vec!["a", "b", "c"], 3));
    let bus = Bus::kafka(&fleet.kafka().config()).unwrap();
    read_from(&bus, &BTreeSet::from(["a", "b", "c"])).await;
    let rooms = until("each has told of its container", SEEN, || async {
        let rooms = rooms(&fleet).await?;
        let told = |it: &NodeRoom| it.capacity.is_some() && it.containers == 1;
        (rooms.len() == 3 && rooms.values().all(told)).then_some(rooms)
    })
    .await;
    for HostFacts { name, zone, cost } in plan {
        let room = &rooms[name];
        assert_eq!(room.facts.zone.as_deref(), Some(zone));
        assert_eq!(room.facts.cost, Some(cost));
        assert_eq!(room.hearing, Hearing::Speaks);
    }
    let told = said(&fleet, &["nodes"]).await;
    for word in ["east", "west", " a ", " b ", " c "] {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
    assert!(
        !told.contains("unknown") && !told.contains("silent"),
        "{told}"
    );

    fleet.host_mut("b").cut_power();
    heard(&fleet, "b", Hearing::Silent).await;
    let told = said(&fleet, &["nodes"]).await;
    assert!(
        told.contains("b, silent") && !told.contains("a, silent"),
        "{told}"
    );
    fleet.host_mut("b").start_again().await;
    heard(&fleet, "b", Hearing::Speaks).await;
    fleet.cut_off("c");
    heard(&fleet, "c", Hearing::Silent).await;
    assert_eq!(running(fleet.host("c"), "web").len(), 1, "it runs on");
    fleet.join("c");
    heard(&fleet, "c", Hearing::Speaks).await;
    service(&fleet, "web", 3).await;
}

/// Ids of running containers of a name.
fn running(host: &Host, name: &str) -> Vec<String> {
    let name = format!("name=^{name}$");
    let listed = host.docker(&["ps", "--quiet", "--no-trunc", "--filter", &name]);
    listed.lines().map(ToOwned::to_owned).collect()
}
