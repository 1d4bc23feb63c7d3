//! Simulated waiting for I/O, series that stand still or are missing, and bounds that near: seen in time, and ordinary life left in
//! peace.

use units::{
    ContainerId, ContainerState, Metric, NodeId, NodeMetric, Point, SeriesKind, ServiceId,
    Severity, Signal, SignalKind, SignalPhase,
};

use crate::rules::node::Risers;
use crate::testing::{Machine, World};
use crate::{Detector, Settings};

const MIB: f64 = 1024.0 * 1024.0;
/// What a container waits for I/O in ordinary life.
const AT_EASE: f64 = 0.002;
/// As one that writes 60 MB/s past the page cache, where its bytes are not counted: 3.8 s were measured in a minute, or a little more.
const WRITER: f64 = 0.05;

fn told(signals: &[Signal]) -> Vec<String> {
    signals
        .iter()
        .map(|signal| format!("{:?} {}: {}", signal.phase, signal.kind, signal.reason))
        .collect()
}

fn world(seed: u64) -> World {
    let mut machines = vec![Machine::patient(), Machine::worker()];
    for machine in &mut machines {
        machine.io_waiting = Some(AT_EASE);
    }
    World::new(seed, machines)
}

fn node_page(world: &mut World, rows: &[(NodeMetric, &str, f64)]) -> Vec<Signal> {
    let point = |(metric, labels, value): &(NodeMetric, &str, f64)| Point {
        at: world.at,
        steady: world.steady,
        node: NodeId::from("node-a"),
        service: None,
        container: None,
        name: metric.name().to_owned(),
        labels: (*labels).to_owned(),
        kind: SeriesKind::from(metric.kind()),
        value: *value,
    };
    let points: Vec<Point> = rows.iter().map(point).collect();
    world
        .detector
        .node_points(&points, &Risers::default(), None)
}

#[test]
fn a_writer_whose_bytes_nobody_counts_is_seen_within_thirty_seconds_by_its_waiting() {
    for seed in 0..10 {
        let mut world = world(seed);
        assert_eq!(told(&world.run(150)), [""; 0], "seed {seed}");
        world.machine("demo-worker").io_waiting = Some(WRITER);
        let (seconds, open) = world.run_until(SignalKind::IoAnomaly, SignalPhase::Open);
        assert!(seconds <= 30, "seed {seed}: {seconds}");
        assert_eq!(open.subject.to_string(), "demo-worker");
        assert_eq!(open.severity, Severity::Info);
        assert_eq!(open.evidence[0].feature, "io_waiting_share");
        assert_eq!(open.evidence[1].feature, "io_bytes_per_second");
        assert!(open.reason.contains("others may be why"), "{}", open.reason);
        let later = world.run(150);
        let worst = later.iter().map(|it| it.severity).max();
        assert_eq!(worst, Some(Severity::Warning), "{:?}", told(&later));
        world.machine("demo-worker").io_waiting = Some(AT_EASE);
        let (seconds, _) = world.run_until(SignalKind::IoAnomaly, SignalPhase::Resolve);
        assert!(seconds <= 30, "seed {seed}: {seconds}");
    }
}

#[test]
fn a_busy_disk_of_the_node_is_told_with_who_waits_for_it() {
    let mut world = world(30);
    let (mut busy_s, mut idle_s) = (50.0, 0.0);
    let mut tell = |world: &mut World, busy: f64| {
        busy_s += 10.0 * busy;
        idle_s += 10.0;
        let rows = [
            (NodeMetric::DiskIo, "disk=\"sda\"", busy_s),
            (NodeMetric::DiskIo, "disk=\"sdb\"", 7.0),
            (NodeMetric::Cpu, "mode=\"idle\"", idle_s),
        ];
        node_page(world, &rows)
    };
    for _ in 0..15 {
        world.run(10);
        assert_eq!(told(&tell(&mut world, 0.05)), [""; 0]);
    }
    world.machine("demo-worker").io_waiting = Some(WRITER);
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.extend(world.run(10));
        assert_eq!(told(&tell(&mut world, 0.8)), [""; 0]);
    }
    let open = &opened[0];
    assert_eq!(open.kind, SignalKind::IoAnomaly);
    assert_eq!(open.evidence[1].feature, "node_disk_busy_share");
    let says = "a disk of its node was busy 80% of the time";
    assert!(open.reason.contains(says), "{}", open.reason);
}

#[test]
fn starts_stalls_and_a_habit_of_waiting_raise_nothing_and_a_backup_at_most_info() {
    let mut world = world(31);
    assert_eq!(told(&world.run(150)), [""; 0]);
    // It reads itself in after a start.
    world.machine("demo-worker").start();
    world.machine("demo-worker").io_waiting = Some(0.6);
    assert_eq!(told(&world.run(45)), [""; 0]);
    world.machine("demo-worker").io_waiting = Some(AT_EASE);
    assert_eq!(told(&world.run(60)), [""; 0]);
    // One sync of a disk that is slow.
    world.machine("demo-worker").io_waiting = Some(1.0);
    assert_eq!(told(&world.run(2)), [""; 0]);
    world.machine("demo-worker").io_waiting = Some(AT_EASE);
    assert_eq!(told(&world.run(60)), [""; 0]);
    world.machine("demo-worker").io_waiting = Some(0.1);
    let mut backup = world.run(60);
    world.machine("demo-worker").io_waiting = Some(AT_EASE);
    backup.extend(world.run(120));
    let opened = backup.iter().filter(|it| it.phase == SignalPhase::Open);
    assert!(opened.count() <= 1, "{:?}", told(&backup));
    let none_worse = backup.iter().all(|it| it.severity == Severity::Info);
    assert!(none_worse, "{:?}", told(&backup));
    assert!(world.detector.counts().open.is_empty());
}

#[test]
fn an_hour_of_a_database_that_always_waits_is_quiet_and_so_is_a_kernel_that_does_not_tell() {
    let mut world = world(32);
    world.machine("demo-worker").io_waiting = Some(0.2);
    world.machine("demo-patient").io_waiting = None;
    assert_eq!(told(&world.run(3_600)), [""; 0]);
    // It begins to tell: that is no rise.
    world.machine("demo-patient").io_waiting = Some(0.3);
    assert_eq!(told(&world.run(600)), [""; 0]);
}

#[test]
fn what_always_used_cpu_and_stops_is_told_and_ends_when_it_goes_on() {
    let mut world = world(33);
    assert_eq!(told(&world.run(3_900)), [""; 0]);
    world.machine("demo-worker").idle_cores = 0.0;
    let (seconds, open) = world.run_until(SignalKind::Standstill, SignalPhase::Open);
    assert!((60..=70).contains(&seconds), "{seconds}");
    assert_eq!(open.severity, Severity::Info);
    assert!(
        open.reason.contains("used no CPU at all"),
        "{}",
        open.reason
    );
    assert_eq!(open.evidence[0].feature, "cpu_still_seconds");
    world.machine("demo-worker").idle_cores = 0.05;
    let (seconds, _) = world.run_until(SignalKind::Standstill, SignalPhase::Resolve);
    assert!(seconds <= 5, "{seconds}");
    // Paused by a person, it is expected to stand still.
    world.machine("demo-worker").state = ContainerState::Paused;
    assert_eq!(told(&world.run(300)), [""; 0]);
    world.machine("demo-worker").state = ContainerState::Running;
    assert_eq!(told(&world.run(120)), [""; 0]);
}

#[test]
fn what_is_asked_nothing_any_more_is_worth_knowing_and_becomes_usual_in_the_end() {
    let mut world = world(34);
    assert_eq!(told(&world.run(3_900)), [""; 0]);
    world.machine("demo-patient").requests_per_s = 0.0;
    let (seconds, open) = world.run_until(SignalKind::Standstill, SignalPhase::Open);
    assert!((60..=70).contains(&seconds), "{seconds}");
    let says = "sent nothing and received nothing";
    assert!(open.reason.contains(says), "{}", open.reason);
    let later = world.run(4_000);
    assert!(later.iter().all(|it| it.severity == Severity::Info));
    let resolved = later.iter().filter(|it| it.phase == SignalPhase::Resolve);
    assert_eq!(resolved.count(), 1, "{:?}", told(&later));
    assert!(world.detector.counts().open.is_empty());
}

#[test]
fn a_load_that_ebbs_and_containers_without_any_are_left_in_peace() {
    let mut world = world(35);
    let mut signals = world.run(4_000);
    for _ in 0..10 {
        world.machine("demo-patient").requests_per_s /= 2.0;
        signals.extend(world.run(900));
    }
    world.machine("demo-patient").requests_per_s = 10.0;
    signals.extend(world.run(900));
    let still = |signal: &&Signal| signal.kind == SignalKind::Standstill;
    let still: Vec<Signal> = signals.iter().filter(still).cloned().collect();
    assert_eq!(told(&still), [""; 0]);
}

#[test]
fn a_number_that_every_sample_had_and_none_has_any_more_is_missing_and_not_zero() {
    let mut world = world(36);
    assert_eq!(told(&world.run(90)), [""; 0]);
    world.machine("demo-worker").unread = vec![Metric::CpuUsage];
    let (seconds, open) = world.run_until(SignalKind::TelemetryMissing, SignalPhase::Open);
    assert!((30..=35).contains(&seconds), "{seconds}");
    assert!(open.reason.contains("cpu_usage_seconds"), "{}", open.reason);
    assert_eq!(told(&world.run(20)), [""; 0]);
    world.machine("demo-worker").unread = Vec::new();
    let (seconds, resolve) = world.run_until(SignalKind::TelemetryMissing, SignalPhase::Resolve);
    assert_eq!(seconds, 1, "{}", resolve.reason);
    // Of a container that comes, one number may be none of this kernel's; all of them are not.
    let mut newcomer = Machine::new("demo-newcomer", "newcomer");
    newcomer.unread = vec![Metric::MemoryUsage];
    world.machines.push(newcomer);
    assert_eq!(told(&world.run(120)), [""; 0]);
    let mut unseen = Machine::new("demo-unseen", "unseen");
    unseen.unread = vec![Metric::MemoryUsage, Metric::CpuUsage];
    world.machines.push(unseen);
    let (seconds, _) = world.run_until(SignalKind::TelemetryMissing, SignalPhase::Open);
    assert!((60..=65).contains(&seconds), "{seconds}");
    world.machine("demo-unseen").unread = Vec::new();
    world.run_until(SignalKind::TelemetryMissing, SignalPhase::Resolve);
    // What was never told is not missed.
    world.machine("demo-worker").unread = vec![Metric::NetRxBytes, Metric::PsiIoSome];
    assert_eq!(told(&world.run(120)), [""; 0]);
}

#[test]
fn tasks_that_rise_towards_their_limit_are_told_before_it() {
    let mut world = world(37);
    world.machine("demo-worker").tasks_limit = Some(200.0);
    assert_eq!(told(&world.run(300)), [""; 0]);
    let mut told_at = None;
    for _ in 0..300 {
        world.machine("demo-worker").tasks += 0.5;
        let wanted = |signal: &Signal| signal.kind == SignalKind::LimitNear;
        if let Some(signal) = world.second().signals.into_iter().find(wanted) {
            told_at = Some((world.machine("demo-worker").tasks, signal));
            break;
        }
    }
    let (tasks, signal) = told_at.unwrap();
    assert!(tasks <= 110.0, "{tasks}: {}", signal.reason);
    assert_eq!(signal.severity, Severity::Warning);
    assert!(
        signal.reason.contains("it has all of them in about"),
        "{}",
        signal.reason
    );
    world.machine("demo-worker").tasks = 8.0;
    let (seconds, _) = world.run_until(SignalKind::LimitNear, SignalPhase::Resolve);
    assert!(seconds <= 15, "{seconds}");
}

#[test]
fn a_disk_that_fills_steadily_is_told_before_it_is_full_and_a_backup_is_not() {
    const DISK: f64 = 40_960.0 * MIB;
    let mut world = world(38);
    let mut free = 0.45 * DISK;
    let mut tell = |world: &mut World, written_per_s: f64| {
        free -= 10.0 * written_per_s;
        let rows = [
            (NodeMetric::FilesystemBytes, "mount=\"/var\"", DISK),
            (NodeMetric::FilesystemFree, "mount=\"/var\"", free),
        ];
        world.run(10);
        node_page(world, &rows)
    };
    for page in 0..120 {
        // A backup of a minute every ten.
        let written = if page % 60 < 6 { 20.0 * MIB } else { 0.0 };
        assert_eq!(told(&tell(&mut world, written)), [""; 0], "{page}");
    }
    let (page, signal) = (0..60)
        .find_map(|page| Some((page, tell(&mut world, 8.0 * MIB).pop()?)))
        .unwrap();
    assert!(page <= 60, "{page}");
    assert_eq!(signal.kind, SignalKind::NodePressure);
    assert!(
        signal.reason.contains("at this pace none in about"),
        "{}",
        signal.reason
    );
    let calm: Vec<Signal> = (0..60).flat_map(|_| tell(&mut world, 0.0)).collect();
    assert_eq!(calm.last().map(|it| it.phase), Some(SignalPhase::Resolve));
}

#[test]
fn a_node_that_runs_out_of_file_descriptors_is_told() {
    let mut world = world(39);
    let tell = |world: &mut World, open: f64| {
        world.run(10);
        let rows = [
            (NodeMetric::FilesOpen, "", open),
            (NodeMetric::FilesMax, "", 100_000.0),
        ];
        node_page(world, &rows)
    };
    for _ in 0..5 {
        assert_eq!(told(&tell(&mut world, 40_000.0)), [""; 0]);
    }
    let signals: Vec<Signal> = (0..2).flat_map(|_| tell(&mut world, 95_000.0)).collect();
    assert_eq!(signals[0].kind, SignalKind::NodePressure);
    let says = "95% of 100000 are in use";
    assert!(signals[0].reason.contains(says), "{}", signals[0].reason);
}

/// What the patient tells on its page of metrics.
fn app_page(world: &mut World, errors: f64, calls: f64, seconds: f64) -> Vec<Signal> {
    let rows = [
        (
            "http_requests_total",
            "code=\"200\"",
            SeriesKind::Counter,
            calls,
        ),
        (
            "http_requests_total",
            "code=\"503\"",
            SeriesKind::Counter,
            errors,
        ),
        (
            "http_request_duration_seconds_count",
            "",
            SeriesKind::Histogram,
            calls,
        ),
        (
            "http_request_duration_seconds_sum",
            "",
            SeriesKind::Histogram,
            seconds,
        ),
        ("go_goroutines", "", SeriesKind::Gauge, 7.0),
    ];
    let point = |(name, labels, kind, value): (&str, &str, SeriesKind, f64)| Point {
        at: world.at,
        steady: world.steady,
        node: NodeId::from("node-a"),
        service: Some(ServiceId::from("patient")),
        container: Some(ContainerId::from("id-of-demo-patient")),
        name: name.to_owned(),
        labels: labels.to_owned(),
        kind,
        value,
    };
    let mut points: Vec<Point> = rows.into_iter().map(point).collect();
    points.retain(Detector::follows);
    assert_eq!(points.len(), 3);
    world
        .detector
        .node_points(&points, &Risers::default(), None)
}

#[test]
fn what_an_application_counts_as_errors_and_times_is_told_within_a_minute() {
    let mut world = world(40);
    let (mut errors, mut calls, mut seconds) = (40.0, 1_000.0, 10.0);
    let mut page = |world: &mut World, errors_per_s: f64, ms: f64| {
        let mut signals = world.run(15);
        errors += 15.0 * errors_per_s;
        calls += 150.0;
        seconds += 0.15 * ms;
        signals.extend(app_page(world, errors, calls, seconds));
        signals
    };
    for number in 0..60 {
        let ms = 8.0 + f64::from(number % 4);
        assert_eq!(told(&page(&mut world, 0.02, ms)), [""; 0], "{number}");
    }
    let fails: Vec<Signal> = (0..2).flat_map(|_| page(&mut world, 3.0, 9.0)).collect();
    let open = &fails[0];
    assert_eq!(open.kind, SignalKind::AppAnomaly);
    assert_eq!(open.severity, Severity::Warning);
    assert_eq!(open.subject.to_string(), "demo-patient");
    let calm: Vec<Signal> = (0..4).flat_map(|_| page(&mut world, 0.02, 9.0)).collect();
    assert_eq!(calm.last().map(|it| it.phase), Some(SignalPhase::Resolve));
    let slow: Vec<Signal> = (0..3).flat_map(|_| page(&mut world, 0.02, 80.0)).collect();
    let says = "http_request_duration_seconds took 80.0 ms";
    assert!(slow[0].reason.contains(says), "{}", slow[0].reason);
    // Its counters begin anew with it.
    world.machine("demo-patient").start();
    let restart: Vec<Signal> = (0..3).flat_map(|_| page(&mut world, 0.02, 9.0)).collect();
    assert!(restart.iter().all(|it| it.phase == SignalPhase::Resolve));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(8))]

    /// A detector that was written and read back tells exactly what the other one tells.
    #[test]
    fn restored_in_the_middle_it_goes_on_as_before(seed in 0u64..1_000, at in 100u32..330) {
        let mut plain = Vec::new();
        let mut states = Vec::new();
        for restored in [false, true] {
            let mut world = world(seed);
            world.machine("demo-worker").tasks_limit = Some(100.0);
            let mut signals = Vec::new();
            for second in 0..360 {
                if second == 150 {
                    world.machine("demo-worker").io_waiting = Some(WRITER);
                    world.machine("demo-patient").unread = vec![Metric::MemoryUsage];
                }
                world.machine("demo-worker").tasks += 0.2;
                signals.extend(world.second().signals);
                if second % 10 == 0 {
                    let free = 9_000.0 * MIB - f64::from(second) * MIB;
                    let rows = [
                        (NodeMetric::FilesystemBytes, "mount=\"/\"", 20_000.0 * MIB),
                        (NodeMetric::FilesystemFree, "mount=\"/\"", free),
                        (NodeMetric::DiskIo, "disk=\"sda\"", f64::from(second) * 0.7),
                    ];
                    signals.extend(node_page(&mut world, &rows));
                }
                if restored && second == at {
                    let bytes = postcard::to_stdvec(&world.detector).unwrap();
                    let copy: Detector = postcard::from_bytes(&bytes).unwrap();
                    world.detector = copy.with_settings(Settings::default());
                }
            }
            states.push(world.detector);
            plain.push(signals);
        }
        proptest::prop_assert!(plain[0].len() >= 3);
        proptest::prop_assert_eq!(&plain[0], &plain[1]);
        proptest::prop_assert_eq!(&states[0], &states[1]);
    }
}

#[test]
fn the_job_of_every_hour_is_told_twice_and_known_then() {
    let mut world = world(40);
    world.run(300);
    // Processor time of the job, by the hour: the last time it is another one.
    let told_by_hour: Vec<usize> = [0.5, 0.5, 0.5, 0.5, 0.9]
        .map(|cores| {
            world.machine("demo-worker").idle_cores = cores;
            let mut signals = world.run(25);
            world.machine("demo-worker").idle_cores = 0.05;
            signals.extend(world.run(3_600 - 25));
            let opened = signals.iter().filter(|it| it.phase == SignalPhase::Open);
            opened
                .filter(|it| it.kind == SignalKind::CpuAnomaly)
                .count()
        })
        .to_vec();
    assert_eq!(told_by_hour, [1, 1, 0, 0, 1]);
}
