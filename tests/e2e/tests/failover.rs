//! Hosts are lost: what ran on one runs elsewhere, what may run once never runs twice for long, and nothing flaps when the host is back.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bus::Bus;
use e2e::hosts::{Fleet, Host, HostFacts, told};
use e2e::topic::Topic;
use e2e::wait::until;
use units::{ActionKind, PlanEntry, Timestamp};
use wire::topic;

/// What a node says has come through Kafka, on a busy machine.
const SEEN: Duration = Duration::from_secs(90);
/// Every step of a failover is judged.
const JUDGED: Duration = Duration::from_secs(180);
/// The lease of actuators here.
const LEASE: Duration = Duration::from_secs(6);
/// Nodes tell of themselves so often before it is said that nothing more happens.
const QUIET: usize = 5;

/// Three hosts, one in each zone.
async fn start() -> Fleet {
    let settings = [
        ("controller.people.hold", "5s"),
        ("controller.scale.startup", "5s"),
        ("actuator.lease", "6s"),
        ("controller.failover.lease", "6s"),
    ];
    let facts = |name, zone| HostFacts {
        name,
        zone,
        cost: 1.0,
    };
    let hosts = [facts("a", "east"), facts("b", "west"), facts("c", "south")];
    Fleet::start(&hosts, &settings).await
}

async fn actions(fleet: &Fleet) -> Vec<PlanEntry> {
    let asked = || fleet.console.ask::<Vec<PlanEntry>>("actions");
    until("the actions are listed", SEEN, asked).await
}

/// Waits until every plan is over and nothing more was decided while all nodes told of themselves some times.
async fn settled(fleet: &Fleet, bus: &Bus) {
    until("every plan is over", JUDGED, || async {
        let all = actions(fleet).await;
        all.iter().all(|it| it.phase.is_final()).then_some(())
    })
    .await;
    let before = actions(fleet).await.len();
    let mut inventories = Topic::open(bus, topic::INVENTORY).await;
    inventories.read(|_earlier| ()).await;
    let mut seen = 0;
    let began = Instant::now();
    while seen < QUIET * fleet.hosts().len() {
        assert!(began.elapsed() < SEEN, "only {seen} inventories");
        inventories.read(|_| seen += 1).await;
    }
    let after = actions(fleet).await;
    assert_eq!(after.len(), before, "nothing more happens: {after:#?}");
}

/// When a container began or ended, as its engine tells.
fn time(host: &Host, id: &str, field: &str) -> Timestamp {
    let format = format!("{{{{.State.{field}}}}}");
    let text = host.docker(&["inspect", "--format", &format, id]);
    let at: jiff::Timestamp = text.trim().parse().unwrap();
    Timestamp::from_millis(at.as_millisecond())
}

fn state(host: &Host, id: &str) -> String {
    host.docker(&["inspect", "--format", "{{.State.Status}}", id])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_on_a_killed_host_runs_elsewhere_and_nothing_flaps_when_it_is_back() {
    let mut fleet = start().await;
    let (_images, image) = fleet.checked_image();
    let bus = Bus::kafka(&fleet.kafka().config()).unwrap();
    let id = fleet.host("a").run_movable(&image, "web", &[]);
    fleet.alone("web", &("a".to_owned(), id.clone())).await;
    told(&bus, &[&id]).await;
    settled(&fleet, &bus).await;
    fleet.host_mut("a").cut_power();
    let there = fleet.elsewhere("web", "a").await;
    fleet.host_mut("a").start_again().await;
    // Its engine starts it again.
    until("the old one is stopped", JUDGED, || async {
        let all = actions(&fleet).await;
        let mut stops = all.iter().filter(|it| it.plan.kind == ActionKind::Stop);
        stops.any(|it| it.phase.is_final()).then_some(())
    })
    .await;
    settled(&fleet, &bus).await;
    fleet.alone("web", &there).await;
    assert_eq!(state(fleet.host("a"), &id), "exited", "it is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_run_once_is_stopped_where_it_is_cut_off_and_runs_elsewhere() {
    let fleet = start().await;
    let (_images, image) = fleet.checked_image();
    let bus = Bus::kafka(&fleet.kafka().config()).unwrap();
    let a = fleet.host("a");
    let once = a.run_movable(&image, "once", &["io.homeostat.singleton=true"]);
    let web = a.run_movable(&image, "web", &[]);
    fleet.alone("once", &("a".to_owned(), once.clone())).await;
    told(&bus, &[&once, &web]).await;
    settled(&fleet, &bus).await;

    fleet.cut_off("a");
    let (host, successor) = fleet.elsewhere("once", "a").await;
    let beside = fleet.elsewhere("web", "a").await;
    assert_eq!(state(a, &once), "exited", "its own actuator stopped it");
    assert_eq!(state(a, &web), "running", "two of it do no harm");
    let ended = time(a, &once, "FinishedAt");
    let began = time(fleet.host(&host), &successor, "StartedAt");
    eprintln!("the one ended at {ended}, the other began at {began}");
    assert!(ended <= began + LEASE, "both ran for too long");

    fleet.join("a");
    fleet.alone("web", &beside).await;
    until("the old one is stopped", JUDGED, || async {
        (state(a, &web) == "exited").then_some(())
    })
    .await;
    settled(&fleet, &bus).await;
    fleet.alone("once", &(host, successor)).await;
    fleet.alone("web", &beside).await;
    assert_eq!(state(a, &once), "exited");
}
