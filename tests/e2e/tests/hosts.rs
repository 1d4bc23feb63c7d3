//! Several hosts, each with an engine of its own: they are seen as one fleet, a lost one is told, and what runs on one moves to another.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bus::Bus;
use console::api::ServiceStatus;
use control::{FleetCapacity, Hearing, NodeRoom};
use e2e::containers::Containers;
use e2e::hosts::{Fleet, Host, HostFacts};
use e2e::topic::Topic;
use e2e::wait::until;
use e2e::watch::Watch;
use units::{ActionKind, Metric, NodeInventory, NodeWanted, Phase, PlanEntry};
use wire::{Telemetry, topic};

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);
/// A move has three steps, each watched for some time.
const MOVED: Duration = Duration::from_secs(300);
/// Checks that pass.
const HEALTH: &str = r#"HEALTHCHECK --interval=1s --timeout=5s --retries=3 CMD ["/writer","go"]"#;
/// Some 20 s of a node: the fleet is looked at for moves every 10 s.
const INVENTORIES: usize = 10;
/// What the container is given that nobody else may read.
const SECRET: &str = "correct horse battery staple";

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
    let began = Instant::now();
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

/// What has to be the same of a container wherever it runs.
fn made(host: &Host, id: &str) -> String {
    let format = "{{json .Config.Env}} {{json .Config.Cmd}} {{json .Config.Healthcheck}} {{.HostConfig.NanoCpus}} \
                  {{.HostConfig.Memory}} {{json .HostConfig.RestartPolicy}} {{.Image}}";
    host.docker(&["inspect", "--format", format, id])
}

fn state(host: &Host, id: &str) -> String {
    host.docker(&["inspect", "--format", "{{.State.Status}}", id])
}

async fn actions(fleet: &Fleet) -> Vec<PlanEntry> {
    let asked = || fleet.console.ask::<Vec<PlanEntry>>("actions");
    until("the actions are listed", SEEN, asked).await
}

/// The text as it stands, and as Base64 shows it at each of three offsets, without what depends on its neighbours.
fn readings(text: &str) -> Vec<Vec<u8>> {
    let offsets = (0..3).map(|offset| {
        let padded = [&vec![0; offset][..], text.as_bytes()].concat();
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(padded);
        encoded.as_bytes()[offset + 1..encoded.len() - 2].to_vec()
    });
    offsets.chain([text.as_bytes().to_vec()]).collect()
}

/// No record of these topics says the secret, and some do say what was sealed.
async fn nobody_reads(bus: &Bus, secret: &str) {
    let readings = readings(secret);
    let mut sealed = 0;
    for name in [
        topic::COMMANDS,
        topic::OUTCOMES,
        topic::JOURNAL,
        topic::INVENTORY,
        topic::EVENTS,
    ] {
        let mut records = 0;
        let read = |record: &bus::Record| {
            records += 1;
            let has = |what: &[u8]| record.value.windows(what.len()).any(|it| it == what);
            let leaks = readings.iter().any(|it| has(it));
            assert!(!leaks, "{name}: {}", String::from_utf8_lossy(&record.value));
            sealed += usize::from(has(b"\"sealed\""));
        };
        Topic::open(bus, name).await.read(read).await;
        assert!(records > 0, "{name} is empty");
    }
    assert!(sealed > 0, "nothing was sealed");
}

/// Waits until both nodes have told of themselves so often that the controller has looked at the fleet anew.
async fn looked_anew(bus: &Bus) {
    let mut inventories = Topic::open(bus, topic::INVENTORY).await;
    inventories.read(|_earlier| ()).await;
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let began = Instant::now();
    while told.len() < 2 || told.values().any(|it| *it < INVENTORIES) {
        assert!(began.elapsed() < SEEN, "only {told:?} inventories");
        inventories
            .read(|record| {
                let inventory: NodeInventory = wire::decode(record).unwrap();
                *told.entry(inventory.node.to_string()).or_default() += 1;
            })
            .await;
    }
}

/// A container before it moves.
struct Original {
    name: &'static str,
    id: String,
    as_made: String,
}

/// Starts a container that may be moved, with a secret in its environment.
fn start(host: &Host, name: &str, image: &str) -> String {
    let secret = format!("PASSWORD={SECRET}");
    let run = [
        "run", "--detach", "--name", name, "--env", &secret, "--cpus", "0.5", "--memory", "64m",
    ];
    let service = format!("io.homeostat.service={name}");
    let labels = [
        service.as_str(),
        "io.homeostat.mode=act",
        "io.homeostat.move=true",
    ];
    let labels: Vec<&str> = labels.iter().flat_map(|it| ["--label", it]).collect();
    host.docker(&[&run[..], &labels, &[image, "idle"]].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_gives_its_containers_to_another_and_nothing_fails_meanwhile() {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("controller.relocate.soak", "5s"),
        ("actuator.images.listen", "0.0.0.0:8475"),
    ];
    let fleet = Fleet::start(
        &[facts("a", "east", 1.0), facts("b", "west", 1.0)],
        &settings,
    )
    .await;
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    let images = Containers::at(&a.engine());
    let built = images.version("1", &[HEALTH]);
    let registry = fleet.registry().await;
    let image = registry.reference("shop:1");
    a.docker(&["tag", &built, &image]);
    a.docker(&["push", "--quiet", &image]);
    // Built there, and in no registry.
    let own = images.version("2", &[HEALTH, "ENV VERSION=2"]);
    let originals = [("shop", image.as_str()), ("till", &own)].map(|(name, image)| {
        let id = start(a, name, image);
        Original {
            name,
            as_made: made(a, &id),
            id,
        }
    });
    until("they are healthy, and may be moved", SEEN, || async {
        let movable = rooms(&fleet).await?.get("a")?.movable == 2;
        let healthy = |it: &Original| {
            let name = format!("name=^{}$", it.name);
            let listed = [
                "ps",
                "--quiet",
                "--filter",
                &name,
                "--filter",
                "health=healthy",
            ];
            !a.docker(&listed).is_empty()
        };
        (movable && originals.iter().all(healthy)).then_some(())
    })
    .await;
    let watch = Watch::start([a.engine(), b.engine()]);
    ["shop", "till"].into_iter().for_each(|it| watch.add(it));

    said(&fleet, &["node", "drain", "a", "--by", "ada"]).await;
    let mut successors = Vec::new();
    for Original { name, id, as_made } in &originals {
        assert!(as_made.contains(SECRET), "{as_made}");
        let successor = until(&format!("{name} runs on b alone"), MOVED, || async {
            let there = running(b, name).pop()?;
            (state(a, id) == "exited").then_some(there)
        })
        .await;
        assert_eq!(made(b, &successor), *as_made);
        successors.push(successor);
    }
    let called = b.docker(&["inspect", "--format", "{{.Config.Image}}", &successors[1]]);
    assert_eq!(called, own);
    let moved = until("every step is judged", MOVED, || async {
        let actions = actions(&fleet).await;
        let is_over = actions.len() >= 6 && actions.iter().all(|it| it.phase.is_final());
        is_over.then_some(actions)
    })
    .await;
    assert!(
        moved.iter().all(|it| it.phase == Phase::Judged),
        "{moved:#?}"
    );
    let kinds: BTreeSet<&str> = moved.iter().map(|it| it.plan.kind.as_str()).collect();
    let expected = [
        ActionKind::Export,
        ActionKind::CreateReplica,
        ActionKind::Stop,
    ];
    assert_eq!(kinds, expected.iter().map(|it| it.as_str()).collect());
    let fewest = ["shop", "till"].map(|it| watch.end(it));
    assert_eq!(fewest, [1, 1], "so many were healthy at the least");
    let told = said(&fleet, &["nodes"]).await;
    assert!(told.contains("a, to be drained"), "{told}");
    let bus = Bus::kafka(&fleet.kafka().config()).unwrap();
    nobody_reads(&bus, SECRET).await;

    said(&fleet, &["node", "uncordon", "a", "--by", "ada"]).await;
    until("a is open again", SEEN, || async {
        (rooms(&fleet).await?.get("a")?.wanted == NodeWanted::Open).then_some(())
    })
    .await;
    looked_anew(&bus).await;
    assert_eq!(
        actions(&fleet).await.len(),
        moved.len(),
        "nothing moves back"
    );
    for (Original { name, id, .. }, successor) in originals.iter().zip(successors) {
        assert_eq!(running(b, name), vec![successor]);
        assert_eq!(state(a, id), "exited");
    }
}
