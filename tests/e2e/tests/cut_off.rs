//! The leading controller is cut off from Kafka, and then it and a host at the same time: the other controller goes on, what may run
//! once never runs twice for longer than the lease, and nothing is undone or done twice when both are back. Engines alone are asked.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bus::Bus;
use e2e::homeostat::Homeostat;
use e2e::hosts::{Apart, Fleet, HostFacts, running, told};
use e2e::wait::until;
use units::PlanEntry;

/// A leader is missed, another is elected and has read the topics.
const ELECTED: Duration = Duration::from_secs(120);
/// A move has three steps, each watched for some time.
const MOVED: Duration = Duration::from_secs(300);
/// The lease of actuators here.
const LEASE: Duration = Duration::from_secs(6);
const LOOK_EVERY: Duration = Duration::from_millis(200);

const SETTINGS: [(&str, &str); 5] = [
    ("controller.people.hold", "5s"),
    ("controller.scale.startup", "5s"),
    ("controller.relocate.soak", "5s"),
    ("actuator.lease", "6s"),
    ("controller.failover.lease", "6s"),
];

/// Counts, again and again, how many of a service run on all engines together.
struct Count {
    is_over: Arc<AtomicBool>,
    looking: JoinHandle<Seen>,
}

/// What was seen of a service: how few and how many of it ran, and the longest that more than one did.
#[derive(Debug, Default)]
struct Seen {
    fewest: usize,
    most: usize,
    doubled: Duration,
}

impl Count {
    fn start(fleet: &Fleet, service: &str) -> Count {
        let engines: Vec<String> = fleet.hosts().iter().map(|it| it.engine()).collect();
        let service = service.to_owned();
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let looking = std::thread::spawn(move || {
            let mut seen = Seen {
                fewest: usize::MAX,
                ..Seen::default()
            };
            let mut since = None;
            while !until.load(Ordering::Relaxed) {
                let began = Instant::now();
                let runs = |engine: &String| running(engine, &service);
                let count: usize = engines.iter().map(runs).sum();
                seen.fewest = seen.fewest.min(count);
                seen.most = seen.most.max(count);
                match count {
                    0 | 1 => since = None,
                    _more => {
                        let first = *since.get_or_insert(began);
                        seen.doubled = seen.doubled.max(first.elapsed());
                    }
                }
                std::thread::sleep(LOOK_EVERY);
            }
            seen
        });
        Count { is_over, looking }
    }

    fn end(self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        self.looking.join().unwrap()
    }
}

async fn leads(controller: &Homeostat) -> bool {
    controller.metric("homeostat_leader").await == Some(1.0)
}

async fn led_by(controller: &Homeostat, what: &str) {
    until(what, ELECTED, || async {
        leads(controller).await.then_some(())
    })
    .await;
}

/// Joined again, the one that was cut off may be elected anew.
async fn one_leads(fleet: &Fleet, apart: &Apart) {
    until("one of the two leads", ELECTED, || async {
        let (here, there) = (
            leads(&fleet.controller).await,
            leads(&apart.controller).await,
        );
        (here != there).then_some(())
    })
    .await;
}

async fn settled(fleet: &Fleet) {
    until("every plan is over", MOVED, || async {
        let all: Vec<PlanEntry> = fleet.console.ask("actions").await?;
        all.iter().all(|it| it.phase.is_final()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_cut_off_and_then_a_host_as_well_and_nothing_is_lost_or_doubled() {
    let facts = ["a", "b", "c"].map(|name| HostFacts {
        name,
        zone: name,
        cost: 1.0,
    });
    let mut fleet = Fleet::start(&facts, &SETTINGS).await;
    let (_images, image) = fleet.checked_image();
    let bus = Bus::kafka(&fleet.kafka().config()).unwrap();
    let web = fleet.host("a").run_movable(&image, "web", &[]);
    let singleton = ["io.homeostat.singleton=true"];
    let once = fleet.host("a").run_movable(&image, "once", &singleton);
    let here = |id: &String| ("a".to_owned(), id.clone());
    fleet.alone("web", &here(&web)).await;
    fleet.alone("once", &here(&once)).await;
    told(&bus, &[&web, &once]).await;
    let apart = fleet.controller_apart().await;
    fleet.controller.kill_9();
    led_by(&apart.controller, "the one apart leads").await;

    // Alone and cut off it does nothing, nor do the actuators: their leases are between them and the log.
    let (of_web, of_once) = (Count::start(&fleet, "web"), Count::start(&fleet, "once"));
    let drained = fleet.told(&["node", "drain", "a", "--by", "ada"]).await;
    assert!(drained.status.success(), "{drained:?}");
    until("something begins", MOVED, || async {
        let all: Vec<PlanEntry> = fleet.console.ask("actions").await?;
        (!all.is_empty()).then_some(())
    })
    .await;
    fleet.cut_apart(&apart);
    fleet.controller.restart();
    led_by(&fleet.controller, "the other leads").await;
    let there = fleet.elsewhere("web", "a").await;
    fleet.alone("web", &there).await;
    settled(&fleet).await;
    fleet.join_apart(&apart);
    one_leads(&fleet, &apart).await;
    let seen = of_web.end();
    assert!(seen.fewest > 0, "web was away: {seen:?}");
    // No order moves what may run once.
    let seen = of_once.end();
    assert_eq!((seen.fewest, seen.most), (1, 1), "{seen:?}");
    fleet.alone("web", &there).await;
    fleet.alone("once", &here(&once)).await;

    // Both at once: the host with the one that may run once, and whoever leads.
    fleet.controller.kill_9();
    led_by(&apart.controller, "the one apart leads again").await;
    settled(&fleet).await;
    let (of_web, of_once) = (Count::start(&fleet, "web"), Count::start(&fleet, "once"));
    fleet.cut_apart(&apart);
    fleet.cut_off("a");
    fleet.controller.restart();
    led_by(&fleet.controller, "the other leads").await;
    let elsewhere = fleet.elsewhere("once", "a").await;
    fleet.join_apart(&apart);
    fleet.join("a");
    one_leads(&fleet, &apart).await;
    fleet.alone("once", &elsewhere).await;
    settled(&fleet).await;
    let seen = of_once.end();
    assert!(seen.doubled <= LEASE, "it ran twice for too long: {seen:?}");
    let seen = of_web.end();
    assert_eq!(
        (seen.fewest, seen.most),
        (1, 1),
        "web was touched: {seen:?}"
    );
    fleet.alone("once", &elsewhere).await;
    fleet.alone("web", &there).await;
}
