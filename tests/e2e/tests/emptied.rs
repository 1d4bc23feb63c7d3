//! Twenty replicas of five services behind HAProxy leave one host under load: no request fails, the budgets hold at every record of the
//! journal, and how long it took, and what callers felt of it, is told.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bus::Bus;
use console::api::ServiceStatus;
use e2e::hosts::{BACKEND, DEMO, Fleet, Host, HostFacts, PAGE};
use e2e::load::{Load, PerSecond};
use e2e::topic::Topic;
use e2e::wait::until;
use units::{ActionKind, ContainerId, JournalEntry, NodeId, Phase, PlanEntry, PlanId};
use wire::topic;

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(120);
/// Three at once, each with steps that are watched.
const EMPTIED: Duration = Duration::from_secs(900);
const RATE: PerSecond = PerSecond(200);
/// Requests that are waited for where the load is to go on.
const FURTHER: u64 = 2_000;
const SERVICES: [&str; 5] = ["ada", "bob", "cid", "dot", "eve"];
const REPLICAS_OF_EACH: usize = 4;
const REPLICAS: usize = SERVICES.len() * REPLICAS_OF_EACH;
/// What is promised of the loop, as the settings say.
const OF_A_NODE: usize = 2;
const AT_ONCE: usize = 5;
const AWAY_AT_ONCE: usize = 3;

/// The demo's image with a check that twenty containers of one machine can bear.
fn make(host: &Host, image: &str) {
    host.make_demo();
    let made = host.docker(&["create", DEMO]);
    let check = r#"HEALTHCHECK --interval=5s --timeout=5s CMD ["/demo-app","health"]"#;
    host.docker(&["commit", "--change", check, made.trim(), image]);
    host.docker(&["rm", made.trim()]);
    host.docker(&["push", "--quiet", image]);
}

fn run(host: &Host, service: &str, number: usize, image: &str) {
    let name = format!("{service}-{number}");
    let run = ["run", "--detach", "--name", &name, "--publish", "8080"];
    let limits = ["--cpus", "0.1", "--memory", "32m"];
    let (backend, service) = (
        format!("io.homeostat.haproxy={BACKEND}"),
        format!("io.homeostat.service={service}"),
    );
    let labels = [
        service.as_str(),
        "io.homeostat.mode=act",
        "io.homeostat.move=true",
        &backend,
    ];
    let labels = labels.iter().flat_map(|it| ["--label", it]);
    let words = run.into_iter().chain(limits).chain(labels);
    let words = words.chain([image, "web", "--burn-ms", "0"]);
    host.docker(&words.collect::<Vec<_>>());
}

fn running(host: &Host) -> usize {
    let words = ["ps", "--quiet", "--filter", "label=io.homeostat.move=true"];
    host.docker(&words).lines().count()
}

/// What is under way by the journal's records so far.
#[derive(Default)]
struct UnderWay {
    decided: BTreeMap<PlanId, BTreeSet<NodeId>>,
    moving: BTreeSet<ContainerId>,
    most: (usize, usize, usize),
}

impl UnderWay {
    fn take(&mut self, entry: &PlanEntry) {
        let nodes = entry.plan.steps.iter().map(|step| step.node.clone());
        match entry.phase {
            Phase::Decided => self.decided.insert(entry.plan.id.clone(), nodes.collect()),
            Phase::Suggested | Phase::Executed | Phase::Failed | Phase::Judged => {
                self.decided.remove(&entry.plan.id)
            }
        };
        for step in &entry.plan.steps {
            let target = step.action.target().clone();
            match (entry.plan.kind, entry.phase) {
                (ActionKind::Export, Phase::Decided) => self.moving.insert(target),
                (ActionKind::Stop, Phase::Judged | Phase::Failed) => self.moving.remove(&target),
                _other => false,
            };
        }
        let mut of_nodes: BTreeMap<&NodeId, usize> = BTreeMap::new();
        for node in self.decided.values().flatten() {
            *of_nodes.entry(node).or_default() += 1;
        }
        let of_a_node = of_nodes.into_values().max().unwrap_or(0);
        let (node, all, moving) = self.most;
        self.most = (
            node.max(of_a_node),
            all.max(self.decided.len()),
            moving.max(self.moving.len()),
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_replicas_leave_a_host_within_the_budgets_and_no_request_fails() {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("controller.relocate.soak", "5s"),
    ];
    let facts = ["a", "b", "c"].map(|name| HostFacts {
        name,
        zone: "east",
        cost: 1.0,
    });
    let fleet = Fleet::start_balanced(&facts, &settings).await;
    let a = fleet.host("a");
    let registry = fleet.registry().await;
    let image = registry.reference("web:1");
    make(a, &image);
    for service in SERVICES {
        for number in 1..=REPLICAS_OF_EACH {
            run(a, service, number, &image);
        }
    }
    until("all serve", SEEN, || async {
        (fleet.haproxy().serving().await.len() == REPLICAS).then_some(())
    })
    .await;
    until("all are known", SEEN, || async {
        let services: Vec<ServiceStatus> = fleet.console.ask("services").await?;
        let serving: usize = services.iter().map(|it| it.serving).sum();
        (serving == REPLICAS).then_some(())
    })
    .await;
    let before = Load::start(fleet.haproxy().front(), PAGE, RATE);
    before.reaches(FURTHER).await;
    assert_eq!(before.end().await.failed, 0);

    let load = Load::start(fleet.haproxy().front(), PAGE, RATE);
    let began = Instant::now();
    let drained = fleet.told(&["node", "drain", "a", "--by", "ada"]).await;
    assert!(drained.status.success(), "{drained:?}");
    let elsewhere = || running(fleet.host("b")) + running(fleet.host("c"));
    until("none is left", EMPTIED, || async {
        (running(a) == 0 && elsewhere() == REPLICAS).then_some(())
    })
    .await;
    let took_s = began.elapsed().as_secs();
    load.goes_on(FURTHER).await;
    let tally = load.end().await;
    assert_eq!(tally.failed, 0, "{tally}");
    assert_eq!(fleet.haproxy().serving().await.len(), REPLICAS);

    let bus = Bus::kafka(&fleet.kafka().config()).unwrap();
    let mut under_way = UnderWay::default();
    let mut journal = Topic::open(&bus, topic::JOURNAL).await;
    journal
        .read(|record| {
            let entry: JournalEntry = wire::decode(record).unwrap();
            if let JournalEntry::Plan(entry) = entry {
                under_way.take(&entry);
            }
        })
        .await;
    let (of_a_node, all, moving) = under_way.most;
    eprintln!(
        "{REPLICAS} replicas left in {took_s} s; at the most {of_a_node} plans on a node, {all} in all, and {moving} replicas under way"
    );
    assert!(of_a_node <= OF_A_NODE && all <= AT_ONCE && moving <= AWAY_AT_ONCE);
    assert!(moving > 0, "nothing was moved");
}
