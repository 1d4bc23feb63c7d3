//! A log file that was written while the collector was away, until all of it lies in Kafka.

use std::time::{Duration, Instant};

use e2e::wait::until;

use super::containers::{Containers, docker};
use super::rig::Rig;
use super::table::{Reach, Table};
use crate::process::Meter;

const LINES: usize = 1_820_000;
const LINE_BYTES: usize = 110;
const MEGABYTE: f64 = 1e6;
const WRITTEN: Duration = Duration::from_secs(120);
const READ: Duration = Duration::from_secs(240);
/// A collector that uses less than this share of a core, for so many looks, waits for nothing more to do.
const QUIET_SHARE: f64 = 0.1;
const QUIET_LOOKS: usize = 6;
const LOOK: Duration = Duration::from_millis(500);
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) async fn run(rig: &Rig, table: &mut Table) {
    let containers = Containers::new();
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("collector.logs", "on"),
        ("collector.interval", "60s"),
        ("collector.inventory_interval", "60s"),
    ];
    // One that has run before reads a log it finds from its beginning.
    let mut before = rig.collector(dir.path(), &settings).await;
    tokio::time::sleep(SETTLE).await;
    before.terminate().await;
    eprintln!("bench: writing {LINES} log lines");
    write(&containers).await;

    let began = Instant::now();
    let collector = rig.collector(dir.path(), &settings).await;
    let mut meter = Meter::of(collector.pid());
    let (seconds, delivered) = loop {
        let seconds = quiet(&mut meter, began).await;
        let mut delivered = Delivered::default();
        rig.read(wire::topic::LOGS, |record| delivered.take(record))
            .await;
        if delivered.distinct == LINES || began.elapsed() >= READ {
            break (seconds, delivered);
        }
    };
    let used = meter.read().as_secs_f64();
    let megabytes = (delivered.distinct * LINE_BYTES) as f64 / MEGABYTE;
    let what = format!("logs, file to Kafka, CPU per MB of {megabytes:.0}");
    table.add(
        "log_cpu_ms_per_mb",
        what,
        used * 1e3 / megabytes,
        "ms",
        Reach::AtMost(8.0),
    );
    table.add(
        "log_mb_per_core_s",
        "  payload a core",
        megabytes / used,
        "MB/s",
        Reach::AtLeast(100.0),
    );
    table.add(
        "log_mb_per_s",
        "  payload by the clock",
        megabytes / seconds,
        "MB/s",
        Reach::Nothing,
    );
    let missing = LINES - delivered.distinct;
    table.add(
        "log_missing",
        "  lines missing",
        missing as f64,
        "",
        Reach::AtMost(0.0),
    );
    let twice = delivered.rows - delivered.distinct;
    table.add(
        "log_twice",
        "  lines delivered more than once",
        twice as f64,
        "",
        Reach::Nothing,
    );
}

/// Has a container write the lines, and waits for the end of its log.
async fn write(containers: &Containers) {
    let (lines, bytes) = (LINES.to_string(), LINE_BYTES.to_string());
    let options = [
        "--network",
        "none",
        "--log-driver",
        "json-file",
        "--log-opt",
        "max-size=2g",
        "--log-opt",
        "max-file=1",
    ];
    let id = containers.run(
        "bench-collector-lines",
        &options,
        &["lines", &lines, &bytes],
    );
    until("the lines are written", WRITTEN, || async {
        (docker(&["logs", "--tail", "1", &id]) == "end").then_some(())
    })
    .await;
}

/// Waits until the collector has nothing more to do, and gives when it last had, in seconds since `began`.
async fn quiet(meter: &mut Meter, began: Instant) -> f64 {
    let mut busy = began.elapsed().as_secs_f64();
    let mut looks = 0;
    while looks < QUIET_LOOKS && began.elapsed() < READ {
        let used = meter.over(LOOK).await.as_secs_f64();
        if used / LOOK.as_secs_f64() < QUIET_SHARE {
            looks += 1;
        } else {
            looks = 0;
            busy = began.elapsed().as_secs_f64();
        }
    }
    busy
}

/// Lines by their numbers.
struct Delivered {
    seen: Vec<bool>,
    rows: usize,
    distinct: usize,
}

impl Default for Delivered {
    fn default() -> Self {
        Delivered {
            seen: vec![false; LINES],
            rows: 0,
            distinct: 0,
        }
    }
}

impl Delivered {
    fn take(&mut self, record: &bus::Record) {
        for row in wire::decode_logs(record).unwrap() {
            // Lines may have been merged into one.
            for line in row.text.lines() {
                let number = line.split(' ').next().and_then(|it| it.parse().ok());
                let number: Option<usize> = number.filter(|number| *number < LINES);
                if let Some(number) = number {
                    self.rows += 1;
                    self.distinct += usize::from(!self.seen[number]);
                    self.seen[number] = true;
                }
            }
        }
    }
}
