//! Processor time and memory at a hundred containers, against Netdata and against the floor.
//!
//! Windows alternate: in one the collector and the floor are counted and Netdata is held, in the next Netdata is counted. The
//! collector runs through all of them, and the floor reads at the other half of the second.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::wait::until;
use units::ContainerState;

use super::containers::{Containers, docker};
use super::floor::Floor;
use super::netdata::Netdata;
use super::rig::{Following, Received, Rig};
use super::table::{Reach, Table};
use crate::engine::now;
use crate::process::{Meter, kept_files, memory_mb, reads};

const IDLE: usize = 90;
const WORKING: usize = 10;
/// Netdata finds each container by scripts of its own, and now and then one of them fails; it is charged for what it charts.
const UNCHARTED_MAX: usize = 5;
const WARM_UP: Duration = Duration::from_secs(15);
const WINDOWS: usize = 6;
const WINDOW: Duration = Duration::from_secs(10);
/// Netdata after it was held, before it is counted.
const SETTLE: Duration = Duration::from_secs(3);
const FIRST_SAMPLES: Duration = Duration::from_secs(30);

pub(crate) async fn run(rig: &Rig, table: &mut Table) {
    let containers = Containers::new();
    start_hundred(&containers);
    let dir = tempfile::tempdir().unwrap();
    let settings = [("collector.logs", "off"), ("collector.interval", "1s")];
    let collector = rig.collector(dir.path(), &settings).await;
    let netdata = Netdata::start();
    let charted = netdata.finds(IDLE + WORKING - UNCHARTED_MAX).await;
    tokio::time::sleep(WARM_UP).await;
    let samples = rig.follow(wire::topic::SAMPLES).await;
    let files = kept_files(collector.pid());
    let floor = Floor::over(&files, phase(&samples).await + 0.5);

    let mut sums = Sums::default();
    let mut meter = Meter::of(collector.pid());
    let mut incumbent = Meter::of(netdata.pid());
    for _ in 0..WINDOWS {
        netdata.pause();
        floor.resume();
        let (began, read_before) = (now(), reads(collector.pid()));
        let (floor_before, files_before) = floor.so_far();
        sums.collector += meter.over(WINDOW).await;
        let (floor_after, files_after) = floor.so_far();
        sums.floor += floor_after - floor_before;
        sums.floor_files += files_after - files_before;
        sums.reads += reads(collector.pid()) - read_before;
        sums.windows.push((began, now()));
        floor.pause();
        netdata.resume();
        tokio::time::sleep(SETTLE).await;
        let began = now();
        sums.netdata += incumbent.over(WINDOW).await;
        sums.netdata_seconds += now() - began;
    }
    let (resident, peak) = memory_mb(collector.pid());
    let (netdata_resident, _) = memory_mb(netdata.pid());
    drop(netdata);
    let counted = Counted::of(&samples.so_far(), &sums.windows);
    assert!(
        counted.containers >= IDLE + WORKING,
        "the collector sampled {} containers",
        counted.containers
    );
    report(table, &sums, &counted, charted, files.len());
    table.add(
        "rss_mb",
        "resident memory after it",
        resident,
        "MB",
        Reach::AtMost(25.0),
    );
    table.add("rss_peak_mb", "  at its peak", peak, "MB", Reach::Nothing);
    let what = "  Netdata's";
    table.add(
        "netdata_rss_mb",
        what,
        netdata_resident,
        "MB",
        Reach::Nothing,
    );
}

#[derive(Default)]
struct Sums {
    collector: Duration,
    reads: f64,
    windows: Vec<(f64, f64)>,
    floor: Duration,
    floor_files: u64,
    netdata: Duration,
    netdata_seconds: f64,
}

/// What the collector published within the windows, of running containers.
struct Counted {
    samples: usize,
    containers: usize,
}

impl Counted {
    fn of(received: &[Received], windows: &[(f64, f64)]) -> Counted {
        let mut samples = 0;
        let mut containers = BTreeSet::new();
        for received in received {
            let within = |(began, ended): &(f64, f64)| (*began..*ended).contains(&received.at);
            // Other telemetry travels on the same topic.
            let Ok(rows) = wire::decode_samples(&received.record) else {
                continue;
            };
            if !windows.iter().any(within) {
                continue;
            }
            for row in rows {
                if row.state == ContainerState::Running {
                    samples += 1;
                    containers.insert(row.container);
                }
            }
        }
        Counted {
            samples,
            containers: containers.len(),
        }
    }
}

fn report(table: &mut Table, sums: &Sums, counted: &Counted, charted: usize, files: usize) {
    let micros = |time: Duration, samples: f64| time.as_secs_f64() * 1e6 / samples;
    let containers = counted.containers as f64;
    let own = micros(sums.collector, counted.samples as f64);
    let incumbent = micros(sums.netdata, sums.netdata_seconds * charted as f64);
    let floor = micros(sums.floor, sums.floor_files as f64) * files as f64 / containers;
    let what = format!(
        "CPU per container-sample, {} containers",
        counted.containers
    );
    table.add("cpu_us", what, own, "µs", Reach::AtMost(60.0));
    table.add(
        "cpu_netdata_ratio",
        "  against Netdata's cgroup collection",
        own / incumbent,
        "×",
        Reach::AtMost(0.5),
    );
    table.add(
        "cpu_floor_ratio",
        "  against a bare read of the same files",
        own / floor,
        "×",
        Reach::AtMost(1.8),
    );
    table.add("netdata_us", "  Netdata", incumbent, "µs", Reach::Nothing);
    table.add("floor_us", "  bare read", floor, "µs", Reach::Nothing);
    table.add(
        "floor_files",
        "  files that are kept open, per container",
        files as f64 / containers,
        "files",
        Reach::Nothing,
    );
    table.add(
        "reads",
        "  reading calls of the collector, per container-sample",
        sums.reads / counted.samples as f64,
        "calls",
        Reach::Nothing,
    );
    let seconds: f64 = sums
        .windows
        .iter()
        .map(|(began, ended)| ended - began)
        .sum();
    table.add(
        "ticks_share",
        "  samples published, of one a second and container",
        100.0 * counted.samples as f64 / (seconds * containers),
        "%",
        Reach::Nothing,
    );
}

/// Ninety that sleep, and ten that compute, write and talk, each to the one before it.
fn start_hundred(containers: &Containers) {
    eprintln!("bench: starting {} containers", IDLE + WORKING);
    containers.run_many(IDLE, "bench-collector-idle", &[], &["idle"]);
    let mut peer = None;
    for number in 0..WORKING {
        let name = format!("bench-collector-work-{number}");
        let mut order = vec!["work"];
        order.extend(peer.as_deref());
        let id = containers.run(&name, &[], &order);
        let address = "{{.NetworkSettings.IPAddress}}";
        peer = Some(docker(&["inspect", "--format", address, &id]));
    }
}

/// The part of the second at which the collector reads.
async fn phase(samples: &Following) -> f64 {
    let at = until("the first samples", FIRST_SAMPLES, || async {
        let received = samples.so_far();
        let mut rows = received
            .iter()
            .filter_map(|it| wire::decode_samples(&it.record).ok())
            .flatten();
        rows.next().map(|row| row.at.as_millis())
    })
    .await;
    at.rem_euclid(1000) as f64 / 1e3
}
