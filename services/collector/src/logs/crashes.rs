//! The reader of logs against real files, a log that comes and goes, and kills at any point: every line arrives, under one number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{NewRecord, Record};
use proptest::prelude::*;
use tempfile::TempDir;
use units::{ContainerId, ContainerName, LogLine, LogStream, NodeId, ServiceId};

use super::backlog::Backlog;
use super::dispatch::{Dispatch, Launch};
use super::gunzip::packed;
use super::position::Positions;
use super::settings::LogConfig;
use super::shelf::{compressed, rotated};
use super::work::{Parts, Work};
use super::{Command, Identity, Run, Seen};
use crate::cgroup::Host;
use crate::deliver::Fate;
use crate::events::Instruments;
use crate::inspect::LogFile;
use crate::tally::Tally;

/// More than a test rotates: nothing is removed before it is read.
const FILES: usize = 60;
/// Longer than a record may be under way before it goes to the disk, and than a trace is held.
const STEP: Duration = Duration::from_millis(1_100);

/// The lines of a record, as a reader sees them.
pub(super) fn lines_of(record: NewRecord) -> Vec<LogLine> {
    let position = bus::Position {
        topic: record.topic,
        partition: record.partition.unwrap_or(0),
        offset: 0,
    };
    wire::decode_logs(&Record {
        position,
        timestamp_ms: 0,
        key: record.key,
        value: record.value,
        headers: record.headers,
    })
    .unwrap()
}

/// What a container wrote, by stream.
#[derive(Default)]
pub(super) struct Writer {
    lines: i64,
    written: BTreeMap<&'static str, Vec<String>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Driver {
    JsonFile,
    Local,
}

/// A node with one container, and the log it sends to.
pub(super) struct World {
    pub(super) directory: TempDir,
    driver: Driver,
    spool_bytes: u64,
    config: LogConfig,
    /// Between two lines.
    step_ns: i64,
    writer: Writer,
    work: Option<Work>,
    pub(super) tally: Arc<Tally>,
    pub(super) now: Instant,
    /// Under way, by partition.
    under_way: Vec<Launch>,
    /// In the log, in order.
    pub(super) arrived: Vec<LogLine>,
    /// How many of them the collector had written down.
    saved: usize,
    /// Lines that arrived though the collector did not know it when it was killed.
    pub(super) doubted: BTreeSet<(&'static str, u64)>,
}

impl World {
    pub(super) fn new(driver: Driver, spool_bytes: u64) -> World {
        World::configured(driver, spool_bytes, LogConfig::default(), 1)
    }

    pub(super) fn configured(
        driver: Driver,
        spool_bytes: u64,
        config: LogConfig,
        step_ns: i64,
    ) -> World {
        let mut world = World {
            directory: tempfile::tempdir().unwrap(),
            driver,
            spool_bytes,
            config,
            step_ns,
            writer: Writer::default(),
            work: None,
            tally: Arc::default(),
            now: Instant::now(),
            under_way: Vec::new(),
            arrived: Vec::new(),
            saved: 0,
            doubted: BTreeSet::new(),
        };
        fs::create_dir_all(world.path().parent().unwrap()).unwrap();
        fs::write(world.path(), "").unwrap();
        world.start(Seen::Later);
        world
    }

    fn path(&self) -> PathBuf {
        match self.driver {
            Driver::JsonFile => self.directory.path().join("c/c-json.log"),
            Driver::Local => self.directory.path().join("c/local-logs/container.log"),
        }
    }

    fn start(&mut self, seen: Seen) {
        let state = self.directory.path().join("state");
        let mut positions = Positions::open(Some(state.join("logs"))).unwrap();
        let limits = spool::Limits::new(self.spool_bytes, Duration::from_secs(3600), 4096).unwrap();
        let (backlog, found) = Backlog::open(&state.join("spool"), limits, 0).unwrap();
        for (partition, covers) in found.covers {
            positions.spooled(partition, covers);
        }
        let instruments = Instruments::new(&kit::metrics::Metrics::new("collector", "0"));
        let meta = wire::Meta::new("collector/0@n");
        let mut work = Work::new(Parts {
            dispatch: Dispatch::new(positions, Some(backlog), meta, instruments.clone()),
            partitions: 2,
            host: Host::open(Path::new("/")).unwrap(),
            treatment: self.config.treatment().unwrap(),
            watcher: None,
            tally: Arc::clone(&self.tally),
            instruments,
        });
        work.obey(Command::Open {
            identity: Identity {
                node: NodeId::from("n"),
                id: ContainerId::from("c"),
                name: ContainerName::from("c"),
                service: ServiceId::from("s"),
            },
            log: LogFile {
                path: self.path(),
                files_max: Some(FILES),
                place: crate::inspect::Place::Host,
            },
            run: Run::Live,
            seen,
        });
        self.work = Some(work);
    }

    /// Everything in memory is gone; a record under way may have reached the log all the same.
    pub(super) fn kill(&mut self, reached: Reached) {
        self.work = None;
        for launch in std::mem::take(&mut self.under_way) {
            match reached {
                Reached::Log => self.arrived.extend(lines_of(launch.record)),
                Reached::Nothing => {}
            }
        }
        for line in &self.arrived[self.saved..] {
            let numbers = line.sequence..line.sequence + u64::from(line.lines);
            let stream = name(line.stream);
            self.doubted.extend(numbers.map(|number| (stream, number)));
        }
        self.saved = self.arrived.len();
        self.start(Seen::AtStart);
    }

    /// Ends the process without a word; what is under way does not arrive.
    pub(super) fn stop(&mut self) {
        self.work = None;
        self.under_way.clear();
    }

    pub(super) fn work(&mut self) -> &mut Work {
        self.work.as_mut().unwrap()
    }

    pub(super) fn round(&mut self) {
        let now = self.now;
        self.work().round(now);
        let launches = self.work().take_launches();
        self.under_way.extend(launches);
    }

    /// Time passes: what is under way gets stuck.
    pub(super) fn wait(&mut self) {
        self.now += STEP;
        self.round();
    }

    pub(super) fn save(&mut self) {
        self.work().save().unwrap();
        self.saved = self.arrived.len();
    }

    pub(super) fn deliver(&mut self) {
        for launch in std::mem::take(&mut self.under_way) {
            self.arrived.extend(lines_of(launch.record));
            self.work().arrived(launch.partition, Fate::Delivered);
        }
    }

    /// The log takes everything until nothing is left.
    pub(super) fn finish(&mut self) {
        // Each turn delivers at least a record, or passes the times that something waits for: a trace, and then the end.
        let mut idle = 0;
        for _ in 0..400 {
            self.wait();
            idle = if self.under_way.is_empty() {
                idle + 1
            } else {
                0
            };
            self.deliver();
            if idle == 5 && self.work().is_settled() && !self.work().is_behind() {
                self.save();
                return;
            }
        }
        panic!("it does not come to an end");
    }

    pub(super) fn write(&mut self, stream: &'static str, text: &str, pieces: usize) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(self.path())
            .unwrap();
        let size = text.len().div_ceil(pieces).max(1);
        let parts: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        // No two lines have the same time: the engine counts nanoseconds.
        self.writer.lines += 1;
        for (index, part) in parts.iter().enumerate() {
            let ends = index + 1 == parts.len();
            file.write_all(&self.frame(stream, part, ends, index))
                .unwrap();
        }
        let lines = self.writer.written.entry(stream).or_default();
        lines.push(text.to_owned());
    }

    fn frame(&self, stream: &str, text: &[u8], ends: bool, index: usize) -> Vec<u8> {
        match self.driver {
            Driver::JsonFile => {
                let mut log = String::from_utf8(text.to_vec()).unwrap();
                log.push_str(if ends { "\n" } else { "" });
                let ns = self.writer.lines * self.step_ns;
                let (s, ns) = (5 + ns / 1_000_000_000, ns % 1_000_000_000);
                let time = format!("2026-01-02T03:04:{s:02}.{ns:09}Z");
                let written = serde_json::json!({"log": log, "stream": stream, "time": time});
                format!("{written}\n").into_bytes()
            }
            Driver::Local => {
                let piece = formats::log::json_file::Piece {
                    text: text.into(),
                    stream: if stream == "stdout" {
                        LogStream::Stdout
                    } else {
                        LogStream::Stderr
                    },
                    at_unix_ns: 1_767_323_045_000_000_000 + self.writer.lines * self.step_ns,
                    ends_line: ends,
                };
                let part = match (index, ends) {
                    (0, true) => formats::log::local::Part::Whole,
                    _ => formats::log::local::Part::Piece(index as u32 + 1),
                };
                formats::log::local::encode(&piece, part)
            }
        }
    }

    fn rotate(&self) {
        let path = self.path();
        if fs::metadata(&path).unwrap().len() == 0 {
            // The engine rotates what is full.
            return;
        }
        for index in (1..FILES).rev() {
            let (from, to) = (rotated(&path, index - 1), rotated(&path, index));
            if compressed(&from).exists() {
                fs::rename(compressed(&from), compressed(&to)).unwrap();
            } else if from.exists() {
                fs::rename(from, to).unwrap();
            }
        }
        fs::write(&path, "").unwrap();
    }

    /// The engine compresses the file that was rotated so many times.
    fn compress(&self, index: usize) {
        let plain = rotated(&self.path(), index);
        if let Ok(text) = fs::read(&plain) {
            fs::write(compressed(&plain), packed(&text)).unwrap();
            fs::remove_file(plain).unwrap();
        }
    }

    /// The lines that arrived, by stream and number; of those that came twice the first.
    pub(super) fn received(&self) -> BTreeMap<(&'static str, u64), String> {
        let mut received = BTreeMap::new();
        for line in &self.arrived {
            let stream = name(line.stream);
            for (number, text) in (line.sequence..).zip(line.text.split('\n')) {
                received
                    .entry((stream, number))
                    .or_insert_with(|| text.to_owned());
            }
            assert_eq!(line.text.split('\n').count(), line.lines as usize);
        }
        received
    }

    pub(super) fn written(&self) -> BTreeMap<(&'static str, u64), String> {
        let streams = self.writer.written.iter();
        streams
            .flat_map(|(stream, lines)| {
                (0..)
                    .zip(lines)
                    .map(|(number, text)| ((*stream, number), text.clone()))
            })
            .collect()
    }
}

pub(super) const fn name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    }
}

/// What became of a record under way when its sender was killed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reached {
    Log,
    Nothing,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Write(&'static str, String, usize),
    Rotate,
    Compress(usize),
    Round,
    /// Time passes: what is under way gets stuck.
    Wait,
    Deliver,
    Save,
    Kill(Reached),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let stream = prop_oneof![Just("stdout"), Just("stderr")];
    let text = prop_oneof![
        4 => "[a-z ]{1,40}",
        1 => Just("java.lang.IllegalStateException: broken".to_owned()),
        2 => Just("\tat com.acme.Shop.buy(Shop.java:7)".to_owned()),
        1 => "[a-zé€]{200,300}",
    ];
    prop_oneof![
        10 => (stream, text, 1_usize..4).prop_map(|(stream, text, pieces)| {
            // Pieces of the engine are cut without regard for characters; here each has to be text for JSON.
            let pieces = if text.is_ascii() { pieces } else { 1 };
            Step::Write(stream, text, pieces)
        }),
        2 => Just(Step::Rotate),
        1 => (1_usize..4).prop_map(Step::Compress),
        5 => Just(Step::Round),
        3 => Just(Step::Wait),
        3 => Just(Step::Deliver),
        1 => Just(Step::Save),
        2 => prop_oneof![Just(Reached::Log), Just(Reached::Nothing)].prop_map(Step::Kill),
    ]
}

pub(super) fn live_through(world: &mut World, steps: Vec<Step>) {
    let mut rotations = 0;
    for step in steps {
        match step {
            Step::Write(stream, text, pieces) => world.write(stream, &text, pieces),
            Step::Rotate => {
                rotations += 1;
                if rotations < FILES {
                    world.rotate();
                }
            }
            Step::Compress(index) => world.compress(index),
            Step::Round => world.round(),
            Step::Wait => world.wait(),
            Step::Deliver => world.deliver(),
            Step::Save => world.save(),
            Step::Kill(reached) => world.kill(reached),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_line_arrives_under_its_number_through_rotations_outages_and_kills(
        steps in proptest::collection::vec(step(), 1..90),
        local in any::<bool>(),
    ) {
        let driver = if local { Driver::Local } else { Driver::JsonFile };
        let mut world = World::new(driver, 64 * 1024 * 1024);
        live_through(&mut world, steps);
        world.work().obey(Command::Ended(ContainerId::from("c")));
        world.finish();
        prop_assert_eq!(world.received(), world.written());
        let lost: u64 = world.arrived.iter().map(|line| line.lost_before).sum();
        prop_assert_eq!(lost, 0);
    }
}

#[test]
fn while_the_log_is_away_reading_goes_on_and_what_waits_arrives_in_order_before_what_is_new() {
    let mut world = World::new(Driver::JsonFile, 64 * 1024 * 1024);
    for number in 0..50 {
        world.write("stdout", &number.to_string(), 1);
        world.wait();
    }
    assert!(world.work().is_behind());
    assert_eq!(world.tally.of(&ContainerId::from("c")).unwrap().lines, 50);
    world.finish();
    assert!(!world.work().is_behind());
    let numbers: Vec<u64> = world.arrived.iter().map(|line| line.sequence).collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    world.write("stdout", "direct", 1);
    world.round();
    world.wait();
    assert_eq!(world.under_way.len(), 1);
    assert!(!world.work().is_behind());
}

#[test]
fn another_number_of_partitions_is_taken_once_nothing_is_under_way() {
    let mut world = World::new(Driver::JsonFile, 64 * 1024 * 1024);
    world.write("stdout", "before", 1);
    world.round();
    world.work().obey(Command::Partitions(1));
    world.write("stdout", "after", 1);
    world.round();
    assert_eq!(world.under_way.len(), 1);
    world.round();
    world.deliver();
    world.finish();
    assert_eq!(world.received(), world.written());
}
