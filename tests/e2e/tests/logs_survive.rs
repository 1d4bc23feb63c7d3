//! No line is lost, and what cannot be kept is counted: a collector killed with -9 again and again, Kafka away for minutes,
//! and writers faster than the rotation of their files.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bus::Bus;
use bus::testing::KafkaBroker;
use e2e::containers::Containers;
use e2e::homeostat::Homeostat;
use e2e::tally::Tally;
use e2e::topic::Topic;
use e2e::wait::until;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use tokio::sync::Mutex;
use units::Metric;
use wire::{Telemetry, topic};

/// Half of them write steadily from first to last, the others all at once, one after the other.
const WRITERS: usize = 20;
const STEADY: usize = 10;
const LINES: u32 = 50_000;
/// With the engine's envelope 14 MB a container: one rotation, and nothing that leaves with the third file.
const LINE_BYTES: u32 = 220;
const ROTATION: [&str; 4] = ["--log-opt", "max-size=10m", "--log-opt", "max-file=3"];
/// Nearly 5 MB/s.
const BURST_PER_SECOND: u32 = 22_000;
/// While a collector is killed twice before Kafka goes, and once after it is back.
const BEFORE_OUTAGE: Duration = Duration::from_secs(25);
const AFTER_OUTAGE: Duration = Duration::from_secs(10);
const OUTAGE_SECONDS: u64 = 120;
/// Shortens the outage while developing.
const OUTAGE_VARIABLE: &str = "HOMEOSTAT_E2E_OUTAGE_SECONDS";
const KILLS: usize = 5;
/// After the last fault, until every line has to be there.
const ARRIVAL: Duration = Duration::from_secs(300);
const END: Duration = Duration::from_secs(120);
/// Printed, so that a failing run can be repeated with the same moments.
const SEED: u64 = 20_261_125;

/// Files so small that they come and go while the collector works.
const SMALL_FILES: [&str; 4] = ["--log-opt", "max-size=100k", "--log-opt", "max-file=2"];
const SMALL_LINES: u32 = 40_000;
/// Each file is there for a third of a second, so a collector that runs meets every one.
const SMALL_PER_SECOND: u32 = 2_000;
/// 9 MB of text a container for a spool of 4 MB.
const SMALL_SPOOL_BYTES: &str = "4194304";

/// A collector follows every container of the machine, so these tests would be each other's load.
static ALONE: Mutex<()> = Mutex::const_new(());

#[derive(Debug, Clone, Copy)]
enum Fault {
    Burst(usize),
    Kill,
    StopKafka,
    StartKafka,
}

fn collector(broker: &KafkaBroker, dir: &std::path::Path, more: &[(&str, &str)]) -> Homeostat {
    let mut settings = vec![
        ("node", "node-a"),
        ("partitions", "2"),
        ("bus.backend", "kafka"),
        ("bus.kafka.brokers", broker.brokers()),
    ];
    settings.extend_from_slice(more);
    Homeostat::start(&["collector"], dir, &settings)
}

fn write(containers: &Containers, number: usize, per_second: u32) -> String {
    let order = [LINES, LINE_BYTES, per_second].map(|it| it.to_string());
    containers.run(
        &number.to_string(),
        &[&["--network", "none"], &ROTATION[..]].concat(),
        &["lines", &order[0], &order[1], &order[2]],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_lines_arrive_though_collector_and_kafka_die() {
    let _alone = ALONE.lock().await;
    let outage = std::env::var(OUTAGE_VARIABLE).map_or(OUTAGE_SECONDS, |it| it.parse().unwrap());
    let outage = Duration::from_secs(outage);
    let broker = KafkaBroker::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let containers = Containers::new();
    let mut collector = collector(&broker, dir.path(), &[]);
    collector.ready().await;

    let whole = BEFORE_OUTAGE + outage + AFTER_OUTAGE;
    let steady_per_second = LINES / u32::try_from(whole.as_secs()).unwrap() + 1;
    let mut ids: Vec<String> = (0..STEADY)
        .map(|number| write(&containers, number, steady_per_second))
        .collect();
    let began = Instant::now();
    for (at, fault) in faults(outage) {
        tokio::time::sleep(at.saturating_sub(began.elapsed())).await;
        println!("{:.1} s: {fault:?}", began.elapsed().as_secs_f64());
        match fault {
            Fault::Burst(number) => ids.push(write(&containers, number, BURST_PER_SECOND)),
            Fault::Kill => collector.restart(),
            Fault::StopKafka => broker.kill_9().unwrap(),
            Fault::StartKafka => broker.restart().unwrap(),
        }
    }
    until("every writer has written", END, || async {
        (containers.running() == 0).then_some(())
    })
    .await;

    let bus = Bus::kafka(&broker.config()).unwrap();
    let mut logs = Topic::open(&bus, topic::LOGS).await;
    let mut tally = Tally::default();
    let waited = Instant::now();
    while !tally.is_complete(&ids, LINES) && waited.elapsed() < ARRIVAL {
        read(&mut logs, &mut tally).await;
        assert_eq!(collector.ended(), None, "the collector has ended");
    }
    println!(
        "{:.0} s after the last fault: {} lines came again",
        waited.elapsed().as_secs_f64(),
        ids.iter()
            .filter_map(|id| Some(tally.of(id)?.repeats()))
            .sum::<u64>()
    );
    // What comes twice may come late.
    read(&mut logs, &mut tally).await;
    let report = tally.report(&ids, LINES);
    assert!(report.is_empty(), "of {LINES} lines each:\n{report}");
}

/// What happens when, in order: bursts all along, two kills before Kafka goes, two while it is away, one after it is back.
fn faults(outage: Duration) -> Vec<(Duration, Fault)> {
    println!("seed {SEED}");
    let mut random = StdRng::seed_from_u64(SEED);
    let back = BEFORE_OUTAGE + outage;
    let mut faults = vec![(BEFORE_OUTAGE, Fault::StopKafka), (back, Fault::StartKafka)];
    let windows: [(f64, f64); KILLS] = [
        (0.2, 0.5),
        (0.6, 0.95),
        (1.1, 1.4),
        (1.5, 1.9),
        // The backlog drains.
        (2.1, 2.6),
    ];
    for (from, to) in windows {
        let moment: f64 = random.random_range(from..to);
        let at = match moment {
            ..1.0 => BEFORE_OUTAGE.mul_f64(moment),
            ..2.0 => BEFORE_OUTAGE + outage.mul_f64(moment - 1.0),
            _ => back + AFTER_OUTAGE.mul_f64(moment - 2.0),
        };
        faults.push((at, Fault::Kill));
    }
    let bursts = WRITERS - STEADY;
    for number in 0..bursts {
        let part = (number as f64 + 0.5) / bursts as f64;
        let at = (back + AFTER_OUTAGE).mul_f64(part);
        faults.push((at, Fault::Burst(STEADY + number)));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

async fn read(logs: &mut Topic, tally: &mut Tally) {
    logs.read(|record| {
        for line in wire::decode_logs(record).unwrap() {
            tally.add(&line);
        }
    })
    .await;
}

/// Writes many lines, then the last one when told so. Its files are small.
fn burst(containers: &Containers, name: &str, per_second: u32) -> String {
    let order = [SMALL_LINES, LINE_BYTES, per_second].map(|it| it.to_string());
    containers.run(
        name,
        &[&["--network", "none"], &SMALL_FILES[..]].concat(),
        &["burst", &order[0], &order[1], &order[2]],
    )
}

async fn written(containers: &Containers, name: &str) {
    until(&format!("{name} has written"), END, || async {
        containers.exec(name, &["written"]).then_some(())
    })
    .await;
}

/// Waits for the last line of each.
async fn last_lines(bus: &Bus, ids: &[String]) -> Tally {
    let mut logs = Topic::open(bus, topic::LOGS).await;
    let mut tally = Tally::default();
    let waited = Instant::now();
    loop {
        read(&mut logs, &mut tally).await;
        let has = |id: &String| tally.of(id).is_some_and(|lines| lines.has(SMALL_LINES));
        if ids.iter().all(has) {
            // What was sent before may be in another partition.
            read(&mut logs, &mut tally).await;
            return tally;
        }
        let report = tally.report(ids, SMALL_LINES + 1);
        assert!(waited.elapsed() < ARRIVAL, "no last line:\n{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_running_collector_cannot_keep_is_counted_to_the_line() {
    let _alone = ALONE.lock().await;
    let broker = KafkaBroker::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let containers = Containers::new();
    let spool = [("collector.spool.logs_bytes_max", SMALL_SPOOL_BYTES)];
    let collector = collector(&broker, dir.path(), &spool);
    collector.ready().await;
    broker.kill_9().unwrap();
    let names = ["one", "two"];
    let ids: Vec<String> = names
        .iter()
        .map(|name| burst(&containers, name, SMALL_PER_SECOND))
        .collect();
    for name in names {
        written(&containers, name).await;
    }
    broker.restart().unwrap();
    for name in names {
        assert!(containers.exec(name, &["go"]), "{name} goes on");
    }
    let bus = Bus::kafka(&broker.config()).unwrap();
    let tally = last_lines(&bus, &ids).await;
    let mut lost = Vec::new();
    for id in &ids {
        let lines = tally.of(id).unwrap();
        println!("{id:.12}: jumps {:?}", lines.jumps());
        assert_eq!(lines.contradictions(), Vec::<String>::new());
        for (number, left_out, told) in lines.jumps() {
            assert_eq!(
                told, left_out,
                "{id:.12}: said to be lost before line {number}"
            );
        }
        let written = u64::from(SMALL_LINES) + 1;
        assert_eq!(lines.distinct() + lines.lost(), written, "{id:.12}");
        assert_eq!(lines.limited(), 0, "{id:.12}");
        lost.push(lines.lost());
    }
    assert!(
        lost.iter().sum::<u64>() > 0,
        "the spool held it all: nothing was tried"
    );
    samples_say_lost(&bus, &ids, &lost).await;
}

/// The samples of the containers count what was lost as their lines do.
async fn samples_say_lost(bus: &Bus, ids: &[String], lost: &[u64]) {
    let mut samples = Topic::open(bus, topic::SAMPLES).await;
    let mut told = vec![None; ids.len()];
    let waited = Instant::now();
    loop {
        samples
            .read(|record| {
                let Telemetry::Samples(rows) = wire::decode_telemetry(record).unwrap() else {
                    return;
                };
                for row in rows {
                    let index = ids.iter().position(|id| id == row.container.as_str());
                    let count = row.metrics.get(Metric::LogLinesLost);
                    if let (Some(index), Some(count)) = (index, count) {
                        told[index] = Some(count as u64);
                    }
                }
            })
            .await;
        let right = told
            .iter()
            .zip(lost)
            .all(|(told, lost)| *told == Some(*lost));
        if right {
            return;
        }
        assert!(
            waited.elapsed() < END,
            "log_lines_lost is {told:?}, the lines say {lost:?}"
        );
    }
}

/// Files that came and went while nobody looked cannot be counted; that some are gone must be said where it happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_stood_still_says_where_lines_are_missing() {
    let _alone = ALONE.lock().await;
    let broker = KafkaBroker::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let containers = Containers::new();
    let collector = collector(&broker, dir.path(), &[]);
    collector.ready().await;
    let id = burst(&containers, "one", BURST_PER_SECOND / 4);
    let bus = Bus::kafka(&broker.config()).unwrap();
    let mut logs = Topic::open(&bus, topic::LOGS).await;
    let waited = Instant::now();
    let mut arrived = false;
    while !arrived {
        assert!(waited.elapsed() < END, "the first lines do not arrive");
        logs.read_until(|record| {
            let lines = wire::decode_logs(record).unwrap();
            arrived = lines.iter().any(|line| line.container.as_str() == id);
            match arrived {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
        .await;
    }
    collector.signal(Signal::STOP);
    written(&containers, "one").await;
    collector.signal(Signal::CONT);
    assert!(containers.exec("one", &["go"]));
    let tally = last_lines(&bus, std::slice::from_ref(&id)).await;
    let lines = tally.of(&id).unwrap();
    println!("jumps {:?}", lines.jumps());
    assert_eq!(lines.contradictions(), Vec::<String>::new());
    let written = u64::from(SMALL_LINES) + 1;
    let known = lines.distinct() + lines.lost();
    assert!(known <= written, "{known} came or are lost of {written}");
    assert!(
        lines.distinct() < written,
        "nothing was rotated away: nothing was tried"
    );
    for (number, left_out, told) in lines.jumps() {
        assert!(
            told > 0,
            "{left_out} lines before {number} are missing and nobody says so"
        );
    }
}
