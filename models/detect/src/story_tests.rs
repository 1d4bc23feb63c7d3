//! Simulated faults of replicas, memory, connections, disks and nodes: each seen in time, and ordinary life left in peace.

use std::time::Duration;

use units::{
    Bytes, ContainerId, Direction, EngineInfo, Link, Millicores, NodeCapacity, NodeFacts, NodeId,
    NodeInventory, NodeMetric, Point, SeriesKind, ServiceId, Severity, Signal, SignalKind,
    SignalPhase,
};

use crate::testing::{Machine, Noise, World};
use crate::{Detector, NodeWatch, Settings, Stream};

const MIB: f64 = 1024.0 * 1024.0;
const WEB: [&str; 5] = ["web-1", "web-2", "web-3", "web-4", "web-5"];

fn told(signals: &[Signal]) -> Vec<String> {
    signals
        .iter()
        .map(|signal| format!("{:?} {}: {}", signal.phase, signal.kind, signal.reason))
        .collect()
}

fn opened(signals: Vec<Signal>) -> Vec<Signal> {
    let opens = |signal: &Signal| signal.phase == SignalPhase::Open;
    signals.into_iter().filter(opens).collect()
}

/// Five replicas that share forty requests a second, and a job beside them.
fn five(seed: u64) -> World {
    let replica = |name| {
        let mut web = Machine::web(name);
        web.limit_cores = Some(0.5);
        web.rtt_s = Some(0.000_4);
        web
    };
    let mut machines: Vec<Machine> = WEB.into_iter().map(replica).collect();
    machines.push(Machine::worker());
    World::new(seed, machines)
}

fn odd(world: &mut World, within_s: u32) -> Signal {
    let (seconds, signal) = world.run_until(SignalKind::OddReplica, SignalPhase::Open);
    assert!(seconds <= within_s, "{seconds} s: {}", signal.reason);
    assert_eq!(signal.severity, Severity::Warning);
    assert_eq!(signal.subject.to_string(), "web-3", "{}", signal.reason);
    assert!(
        signal.reason.contains("its 4 siblings"),
        "{}",
        signal.reason
    );
    signal
}

#[test]
fn a_replica_that_computes_five_times_as_long_is_odd_within_thirty_seconds() {
    for seed in 0..10 {
        let mut world = five(seed);
        assert_eq!(told(&world.run(90)), [""; 0], "seed {seed}");
        world.machine("web-3").cpu_s_per_request *= 5.0;
        let signal = odd(&mut world, 30);
        assert_eq!(signal.evidence[0].feature, "cpu_per_traffic");
        assert!(signal.evidence[0].observed > 2.0 * signal.evidence[0].expected_high);
        world.machine("web-3").cpu_s_per_request /= 5.0;
        let (seconds, _) = world.run_until(SignalKind::OddReplica, SignalPhase::Resolve);
        assert!(seconds <= 60, "{seconds}");
    }
}

/// It waits instead of computing, so that its clients, each with one request at a time, get less from it.
#[test]
fn a_replica_that_waits_five_times_as_long_is_odd_within_thirty_seconds() {
    for seed in 0..10 {
        let mut world = five(seed);
        assert_eq!(told(&world.run(120)), [""; 0], "seed {seed}");
        world.machine("web-3").requests_per_s /= 5.0;
        let signal = odd(&mut world, 30);
        assert_eq!(signal.evidence[0].feature, "traffic_bytes_per_second");
    }
}

#[test]
fn a_replica_that_is_far_away_or_fails_or_hoards_memory_is_odd() {
    type Fault = fn(&mut Machine);
    let faults: [(Fault, &str); 3] = [
        (|web| web.rtt_s = Some(0.050), "tcp_rtt_median_seconds"),
        (|web| web.memory = 300.0 * MIB, "memory_bytes"),
        (|web| web.error_lines_per_s = 2, "error_lines_per_second"),
    ];
    for (fault, feature) in faults {
        let mut world = five(3);
        for name in WEB {
            world.machine(name).memory_limit = 1_024.0 * MIB;
        }
        world.run(90);
        fault(world.machine("web-3"));
        assert_eq!(odd(&mut world, 30).evidence[0].feature, feature);
    }
}

#[test]
fn a_replica_that_stands_by_is_left_and_one_that_its_load_balancer_drops_is_odd() {
    let mut world = five(4);
    world.machine("web-5").requests_per_s = 0.0;
    assert_eq!(told(&world.run(400)), [""; 0]);
    let mut world = five(4);
    world.run(120);
    world.machine("web-3").requests_per_s = 0.0;
    odd(&mut world, 30);
}

#[test]
fn a_young_replica_and_many_that_differ_are_not_odd() {
    let mut world = five(5);
    world.run(90);
    let mut fresh = Machine::web("web-6");
    fresh.uptime = 0.0;
    fresh.cpu_s_per_request *= 5.0;
    world.machines.push(fresh);
    let kinds = |signals: Vec<Signal>| -> Vec<SignalKind> {
        opened(signals).iter().map(|it| it.kind).collect()
    };
    assert!(!kinds(world.run(55)).contains(&SignalKind::OddReplica));
    world.machines.pop();
    for name in &WEB[..3] {
        world.machine(name).cpu_s_per_request *= 3.0;
    }
    assert!(!kinds(world.run(120)).contains(&SignalKind::OddReplica));
}

#[test]
fn what_a_replica_always_does_is_its_way_in_the_end() {
    let mut world = five(6);
    world.machine("web-1").cpu_s_per_request *= 4.0;
    world.machine("web-1").limit_cores = Some(2.0);
    world.run_until(SignalKind::OddReplica, SignalPhase::Open);
    let (_, signal) = world.run_until(SignalKind::OddReplica, SignalPhase::Resolve);
    assert!(signal.reason.contains("its way"), "{}", signal.reason);
    assert_eq!(told(&opened(world.run(900))), [""; 0]);
}

#[test]
fn hours_of_uneven_load_on_five_replicas_make_none_of_them_odd() {
    let mut world = five(7);
    let mut pace = Noise::seeded(77);
    let mut weights = [1.0; 5];
    let mut signals = Vec::new();
    for minute in 0..150 {
        let job = minute % 5 == 4;
        world.machine("demo-worker").idle_cores = if job { 0.4 } else { 0.05 };
        let swing = 1.0 + 0.3 * (f64::from(minute) / 20.0).sin();
        for (name, weight) in WEB.into_iter().zip(&mut weights) {
            *weight = (*weight * (0.3 * pace.normal()).exp()).clamp(0.3, 2.5);
            let machine = world.machine(name);
            machine.requests_per_s = 8.0 * swing * *weight;
            machine.rtt_s = Some(0.000_4 * (0.2 * pace.normal()).exp());
        }
        signals.extend(opened(world.run(60)));
    }
    signals.retain(|signal| signal.subject.to_string() != "demo-worker");
    assert_eq!(told(&signals), [""; 0]);
}

fn hoard(seed: u64, limit: f64) -> World {
    let mut world = World::new(seed, vec![Machine::patient(), Machine::worker()]);
    world.machine("demo-patient").memory_limit = limit;
    world.run(90);
    world
}

#[test]
fn a_leak_of_a_megabyte_a_second_is_known_within_thirty_seconds_and_is_no_reason_to_restart() {
    for seed in 0..10 {
        for limit in [2_048.0 * MIB, f64::INFINITY] {
            let mut world = hoard(seed, limit);
            world.machine("demo-patient").leak_per_s = 1e6;
            let (seconds, signal) = world.run_until(SignalKind::MemoryRunaway, SignalPhase::Open);
            assert!(seconds <= 30, "seed {seed}: {seconds}");
            assert_eq!(signal.severity, Severity::Info, "{}", signal.reason);
            let says = signal.reason.contains("it hits its limit in about");
            assert_eq!(says, limit.is_finite(), "{}", signal.reason);
        }
    }
}

#[test]
fn a_cache_that_fills_and_levels_off_is_at_most_worth_knowing() {
    let mut world = hoard(11, 2_048.0 * MIB);
    let mut signals = Vec::new();
    let mut rate = 4.0 * MIB;
    for _ in 0..300 {
        world.machine("demo-patient").leak_per_s = rate;
        rate *= 0.98;
        signals.extend(world.second().signals);
    }
    let runaway = |signal: &&Signal| signal.kind == SignalKind::MemoryRunaway;
    assert!(
        signals
            .iter()
            .filter(runaway)
            .all(|it| it.severity == Severity::Info)
    );
    assert!(
        world
            .detector
            .counts()
            .open
            .keys()
            .all(|(kind, _)| *kind != SignalKind::MemoryRunaway)
    );
}

#[test]
fn filling_up_after_a_start_and_a_known_cycle_are_no_leak() {
    let mut world = World::new(12, vec![Machine::patient()]);
    world.machine("demo-patient").memory_limit = f64::INFINITY;
    world.machine("demo-patient").uptime = 0.0;
    world.machine("demo-patient").leak_per_s = 2.0 * MIB;
    let kind = SignalKind::MemoryRunaway;
    let runaways =
        |signals: Vec<Signal>| opened(signals).iter().filter(|it| it.kind == kind).count();
    assert_eq!(runaways(world.run(50)), 0);
    world.machine("demo-patient").leak_per_s = 0.0;
    world.run(60);
    let mut count = Vec::new();
    for _ in 0..6 {
        world.machine("demo-patient").leak_per_s = 1.5 * MIB;
        count.push(runaways(world.run(60)));
        world.machine("demo-patient").memory = 100.0 * MIB;
    }
    assert_eq!(count[1..], [0; 5], "{count:?}");
}

#[test]
fn a_leak_on_a_node_without_memory_to_give_is_a_warning() {
    let mut world = hoard(13, f64::INFINITY);
    let mut page = Pages::new(&world);
    page.memory_left = 0.03;
    for _ in 0..4 {
        world.run(10);
        page.tell(&mut world);
    }
    world.machine("demo-patient").leak_per_s = 1e6;
    let (seconds, signal) = world.run_until(SignalKind::MemoryRunaway, SignalPhase::Open);
    assert!(seconds <= 30, "{seconds}");
    assert_eq!(signal.severity, Severity::Warning);
    assert!(
        signal.reason.contains("its node is out of memory in about"),
        "{}",
        signal.reason
    );
}

fn link(world: &World, peer: Option<&str>, port: u16, rtt_ms: f64, connections: u32) -> Link {
    Link {
        at: world.at,
        steady: world.steady,
        node: NodeId::from("node-a"),
        service: ServiceId::from("patient"),
        container: ContainerId::from("id-of-demo-patient"),
        peer: [10, 0, 0, port as u8].into(),
        peer_service: peer.map(ServiceId::from),
        direction: Direction::Outbound,
        port,
        connections,
        rtt_median: Duration::from_secs_f64(rtt_ms / 1e3),
        retransmits: 0,
    }
}

/// Ten seconds, and a read of the sockets: one way to a database, one to somewhere else.
fn read_sockets(world: &mut World, noise: &mut Noise, more_ms: f64) -> Vec<Signal> {
    let mut signals = world.run(10);
    let links = [
        link(
            world,
            Some("db"),
            5432,
            0.3 + 0.2 * noise.uniform() + more_ms,
            4,
        ),
        link(world, None, 443, 20.0 + 20.0 * noise.uniform(), 3),
    ];
    signals.extend(world.detector.links(&links, None));
    signals
}

#[test]
fn a_delay_of_a_hundred_milliseconds_is_seen_within_thirty_seconds_and_names_the_way() {
    for seed in 0..10 {
        let mut world = hoard(seed, 96.0 * MIB);
        let mut noise = Noise::seeded(seed);
        for _ in 0..12 {
            assert_eq!(told(&read_sockets(&mut world, &mut noise, 0.0)), [""; 0]);
        }
        let reads: Vec<Signal> = (0..3)
            .flat_map(|_| read_sockets(&mut world, &mut noise, 100.0))
            .collect();
        let open = &reads[0];
        assert_eq!(open.kind, SignalKind::NetworkDelay);
        assert!(open.reason.contains("to db, port 5432"), "{}", open.reason);
        assert!(
            open.reason.contains("the other 1 go on as usual"),
            "{}",
            open.reason
        );
        let calm: Vec<Signal> = (0..3)
            .flat_map(|_| read_sockets(&mut world, &mut noise, 0.0))
            .collect();
        assert_eq!(calm.last().map(|it| it.phase), Some(SignalPhase::Resolve));
    }
}

/// Connections are so short that none was open when the sockets were read, until they became slow.
#[test]
fn a_delay_within_the_node_is_seen_without_history_and_becomes_usual_in_the_end() {
    let mut world = hoard(20, 96.0 * MIB);
    let mut read = |rtt_ms| {
        let mut signals = world.run(10);
        let way = link(&world, Some("db"), 5432, rtt_ms, 1);
        signals.extend(world.detector.links(&[way], None));
        signals
    };
    assert_eq!(told(&read(100.0)), [""; 0]);
    let open = read(100.0);
    assert_eq!(open[0].kind, SignalKind::NetworkDelay);
    let later: Vec<Signal> = (0..90).flat_map(|_| read(100.0)).collect();
    let resolves = later.iter().filter(|it| it.phase == SignalPhase::Resolve);
    assert_eq!(resolves.count(), 1, "{:?}", told(&later));
    assert_eq!(told(&opened(later)), [""; 0]);
}

#[test]
fn segments_sent_again_are_told() {
    let mut world = hoard(21, 96.0 * MIB);
    let mut noise = Noise::seeded(21);
    for _ in 0..6 {
        world.machine("demo-patient").send_segments(1_000.0, 2.0);
        assert_eq!(told(&read_sockets(&mut world, &mut noise, 0.0)), [""; 0]);
    }
    let mut signals = Vec::new();
    for _ in 0..3 {
        world.machine("demo-patient").send_segments(1_000.0, 120.0);
        signals.extend(read_sockets(&mut world, &mut noise, 0.0));
    }
    assert_eq!(signals[0].kind, SignalKind::NetworkDelay);
    let says = signals[0]
        .reason
        .contains("sends 12% of its segments again");
    assert!(says, "{}", signals[0].reason);
}

#[test]
fn an_hour_of_ways_that_vary_is_quiet() {
    let mut world = hoard(14, 96.0 * MIB);
    let mut noise = Noise::seeded(14);
    for _ in 0..360 {
        let more_ms = (1.5 * noise.normal()).exp().min(9.0);
        assert_eq!(
            told(&opened(read_sockets(&mut world, &mut noise, more_ms))),
            [""; 0]
        );
    }
}

#[test]
fn a_disk_hog_is_seen_within_thirty_seconds_however_the_kernel_writes_back() {
    for seed in 0..10 {
        for every_s in [1, 5] {
            let mut world = hoard(seed, 96.0 * MIB);
            let worker = world.machine("demo-worker");
            worker.write_bytes_per_s = 50.0 * MIB;
            worker.write_every_s = every_s;
            let (seconds, signal) = world.run_until(SignalKind::IoAnomaly, SignalPhase::Open);
            assert!(seconds <= 30, "seed {seed}: {seconds}");
            assert_eq!(signal.subject.to_string(), "demo-worker");
        }
    }
}

#[test]
fn one_burst_of_writing_is_no_hog() {
    let mut world = hoard(15, 96.0 * MIB);
    world.machine("demo-worker").write_bytes_per_s = 300.0 * MIB;
    let mut signals = world.run(1);
    world.machine("demo-worker").write_bytes_per_s = 0.0;
    signals.extend(world.run(60));
    assert_eq!(told(&signals), [""; 0]);
}

#[test]
fn a_cpu_hog_without_a_limit_is_seen_within_fifteen_seconds() {
    for seed in 0..10 {
        let mut world = hoard(seed, 96.0 * MIB);
        world.machine("demo-worker").idle_cores = 1.0;
        let (seconds, signal) = world.run_until(SignalKind::CpuAnomaly, SignalPhase::Open);
        assert!(seconds <= 15, "seed {seed}: {seconds}");
        assert_eq!(signal.subject.to_string(), "demo-worker");
    }
}

/// The series of node-a, told every ten seconds.
struct Pages {
    busy: f64,
    waiting: f64,
    memory_left: f64,
    disk_left: f64,
    idle_s: f64,
    busy_s: f64,
    waiting_s: f64,
}

impl Pages {
    fn new(world: &World) -> Self {
        assert!(world.detector.counts().containers > 0);
        Pages {
            busy: 0.3,
            waiting: 0.05,
            memory_left: 0.6,
            disk_left: 0.4,
            idle_s: 1_000.0,
            busy_s: 1_000.0,
            waiting_s: 10.0,
        }
    }

    /// The page of now: ten seconds of two cores later.
    fn tell(&mut self, world: &mut World) -> Vec<Signal> {
        self.busy_s += 20.0 * self.busy;
        self.idle_s += 20.0 * (1.0 - self.busy);
        self.waiting_s += 10.0 * self.waiting;
        let total = 4_096.0 * MIB;
        let disk = 40_960.0 * MIB;
        let rows = [
            (NodeMetric::Cpu, "mode=\"user\"", self.busy_s),
            (NodeMetric::Cpu, "mode=\"idle\"", self.idle_s),
            (
                NodeMetric::Pressure,
                "resource=\"cpu\",tasks=\"some\"",
                self.waiting_s,
            ),
            (NodeMetric::MemoryTotal, "", total),
            (NodeMetric::MemoryAvailable, "", total * self.memory_left),
            (NodeMetric::FilesystemBytes, "mount=\"/var\"", disk),
            (
                NodeMetric::FilesystemFree,
                "mount=\"/var\"",
                disk * self.disk_left,
            ),
        ];
        let point = |(metric, labels, value): (NodeMetric, &str, f64)| Point {
            at: world.at,
            steady: world.steady,
            node: NodeId::from("node-a"),
            service: None,
            container: None,
            name: metric.name().to_owned(),
            labels: labels.to_owned(),
            kind: SeriesKind::from(metric.kind()),
            value,
        };
        let points: Vec<Point> = rows.into_iter().map(point).collect();
        let risers = world.detector.risers(&NodeId::from("node-a"));
        world.detector.node_points(&points, &risers, None)
    }
}

#[test]
fn a_node_short_of_cpu_is_told_with_the_neighbour_that_rose_and_explains_its_containers() {
    let mut world = hoard(16, 96.0 * MIB);
    let mut pages = Pages::new(&world);
    for _ in 0..5 {
        world.run(10);
        assert_eq!(told(&pages.tell(&mut world)), [""; 0]);
    }
    pages.busy = 0.99;
    pages.waiting = 0.8;
    world.machine("demo-worker").idle_cores = 1.8;
    let mut signals = Vec::new();
    for _ in 0..3 {
        world.run(10);
        signals.extend(pages.tell(&mut world));
    }
    assert_eq!(told(&signals).len(), 1, "{:?}", told(&signals));
    let open = &signals[0];
    assert_eq!(open.kind, SignalKind::NodePressure);
    assert_eq!(open.subject.to_string(), "node node-a");
    assert!(
        open.reason.contains("the CPU use of demo-worker rose most"),
        "{}",
        open.reason
    );
    let patient = world.machine("demo-patient");
    patient.requests_per_s = 20.0;
    patient.cpu_s_per_request = 0.05;
    let (_, signal) = world.run_until(SignalKind::Overload, SignalPhase::Open);
    assert!(
        signal.reason.ends_with("; its node is short of CPU"),
        "{}",
        signal.reason
    );
    pages.busy = 0.3;
    pages.waiting = 0.05;
    let mut signals = Vec::new();
    for _ in 0..3 {
        world.run(10);
        signals.extend(pages.tell(&mut world));
    }
    assert_eq!(
        signals.last().map(|it| it.phase),
        Some(SignalPhase::Resolve)
    );
}

#[test]
fn a_shortage_told_elsewhere_is_heard() {
    let mut world = hoard(17, 96.0 * MIB);
    let mut pages = Pages::new(&world);
    let mut other = hoard(17, 96.0 * MIB);
    pages.busy = 1.0;
    pages.waiting = 0.9;
    for _ in 0..3 {
        world.run(10);
        other.run(10);
        for signal in pages.tell(&mut world) {
            other.detector.node_signal(&signal);
        }
    }
    let patient = other.machine("demo-patient");
    patient.requests_per_s = 20.0;
    patient.cpu_s_per_request = 0.05;
    let (_, signal) = other.run_until(SignalKind::Overload, SignalPhase::Open);
    assert!(
        signal.reason.ends_with("; its node is short of CPU"),
        "{}",
        signal.reason
    );
}

#[test]
fn a_full_disk_is_told_and_a_node_taken_out_ends_it() {
    let mut world = hoard(18, 96.0 * MIB);
    let mut pages = Pages::new(&world);
    pages.disk_left = 0.005;
    let mut signals = Vec::new();
    for _ in 0..3 {
        world.run(10);
        signals.extend(pages.tell(&mut world));
    }
    assert_eq!(signals[0].severity, Severity::Critical);
    assert!(
        signals[0].reason.contains("left at /var"),
        "{}",
        signals[0].reason
    );
    let now = world.at;
    let ends = world.detector.node_removed(now, &NodeId::from("node-a"));
    let pressure = |signal: &Signal| signal.kind == SignalKind::NodePressure;
    assert!(ends.iter().any(pressure), "{:?}", told(&ends));
}

/// The node's memory is known from its heartbeat where its series go elsewhere.
#[test]
fn a_leak_without_a_limit_is_held_against_the_nodes_memory() {
    let mut world = hoard(19, f64::INFINITY);
    let beat: NodeInventory = NodeInventory {
        node: NodeId::from("node-a"),
        at: world.at,
        steady: Some(world.steady),
        capacity: NodeCapacity {
            cpu: Millicores(2_000),
            memory: Bytes::from_mib(600),
        },
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers: Vec::new(),
    };
    let now = world.at;
    world
        .detector
        .inventory(now, &beat, NodeWatch::Owner, Stream::Behind);
    world.machine("demo-patient").leak_per_s = 1e6;
    let (_, signal) = world.run_until(SignalKind::MemoryRunaway, SignalPhase::Open);
    assert!(
        signal
            .reason
            .contains("its node is out of memory in about 10 min"),
        "{}",
        signal.reason
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(12))]

    /// A detector that was written and read back tells exactly what the other one tells.
    #[test]
    fn restored_in_the_middle_of_a_fault_it_goes_on_as_before(seed in 0u64..1_000, at in 1u32..15, which in 0u8..4) {
        let mut plain = Vec::new();
        let mut states = Vec::new();
        for restored in [false, true] {
            let mut world = five(seed);
            world.machines.push(Machine::patient());
            let mut noise = Noise::seeded(seed);
            let mut pages: Option<Pages> = None;
            let mut signals = Vec::new();
            for round in 0..18 {
                if round == 10 {
                    match which {
                        0 => world.machine("web-2").cpu_s_per_request *= 5.0,
                        1 => world.machine("demo-patient").leak_per_s = 1e6,
                        2 => world.machine("demo-worker").write_bytes_per_s = 50.0 * MIB,
                        _ => world.machine("demo-worker").idle_cores = 1.8,
                    }
                }
                let more_ms = if round >= 10 { 80.0 } else { 0.0 };
                signals.extend(read_sockets(&mut world, &mut noise, more_ms));
                let pages = pages.get_or_insert_with(|| Pages::new(&world));
                pages.waiting = if round >= 10 { 0.8 } else { 0.1 };
                pages.busy = if round >= 10 { 0.95 } else { 0.2 };
                signals.extend(pages.tell(&mut world));
                if restored && round == at {
                    let bytes = postcard::to_stdvec(&world.detector).unwrap();
                    let copy: Detector = postcard::from_bytes(&bytes).unwrap();
                    world.detector = copy.with_settings(Settings::default());
                }
            }
            states.push(world.detector);
            plain.push(signals);
        }
        proptest::prop_assert_eq!(&plain[0], &plain[1]);
        proptest::prop_assert_eq!(&states[0], &states[1]);
    }
}
