//! Simulated series: what must be seen, how soon, and what must not be seen.

use std::time::Duration;

use units::{
    ContainerRecord, ContainerState, EngineInfo, HealthState, Limits, NodeCapacity, NodeFacts,
    NodeId, NodeInventory, Policy, Severity, Signal, SignalKind, SignalPhase, Timestamp,
};

use crate::testing::{Hung, Machine, Noise, World};
use crate::{Detector, NodeWatch, Settings, Stream};

const MIB: f64 = 1024.0 * 1024.0;

fn demo(seed: u64) -> World {
    let machines = vec![
        Machine::web("demo-web"),
        Machine::patient(),
        Machine::worker(),
        Machine::traffic(),
    ];
    World::new(seed, machines)
}

fn told(signals: &[Signal]) -> Vec<String> {
    signals
        .iter()
        .map(|signal| format!("{:?} {}: {}", signal.phase, signal.kind, signal.reason))
        .collect()
}

#[test]
fn a_quiet_minute_is_quiet() {
    for seed in 0..50 {
        let signals = demo(seed).run(90);
        assert!(signals.is_empty(), "seed {seed}: {:?}", told(&signals));
    }
}

#[test]
fn a_load_step_is_overload_within_five_seconds() {
    for seed in 0..20 {
        let mut world = demo(seed);
        assert_eq!(told(&world.run(30)), [""; 0]);
        world.machine("demo-web").requests_per_s = 45.0;
        let (seconds, signal) = world.run_until(SignalKind::Overload, SignalPhase::Open);
        assert!(seconds <= 5, "seed {seed}: {seconds}");
        assert_eq!(signal.subject.container, None);
        assert_eq!(signal.traceparent.as_deref(), Some("00-trace"));
        assert_eq!(
            world
                .run(20)
                .iter()
                .filter(|s| s.phase == SignalPhase::Open)
                .count(),
            0
        );
        world.machine("demo-web").requests_per_s = 15.0;
        let (seconds, _) = world.run_until(SignalKind::Overload, SignalPhase::Resolve);
        assert!(seconds <= 30, "seed {seed}: {seconds}");
    }
}

#[test]
fn a_hang_is_seen_within_five_seconds_and_resolves_after_a_restart() {
    for seed in 0..20 {
        let mut world = demo(seed);
        world.run(45);
        world.machine("demo-patient").hung = Hung::Yes;
        let (seconds, signal) = world.run_until(SignalKind::Hang, SignalPhase::Open);
        assert!(seconds <= 5, "seed {seed}: {seconds}");
        assert_eq!(signal.severity, Severity::Critical);
        assert!(
            signal.reason.starts_with("demo-patient gets "),
            "{}",
            signal.reason
        );
        assert!(signal.score.get() > 0.9, "{signal:?}");
        assert_eq!(
            world
                .run(20)
                .iter()
                .filter(|s| s.phase == SignalPhase::Open)
                .count(),
            0
        );
        world.machine("demo-patient").start();
        let signals = world.run(60);
        assert_eq!(signals.len(), 1, "{:?}", told(&signals));
        assert_eq!(signals[0].phase, SignalPhase::Resolve);
    }
}

#[test]
fn no_requests_is_no_hang() {
    let mut world = demo(1);
    world.run(60);
    world.machine("demo-patient").requests_per_s = 0.0;
    let signals = world.run(120);
    assert!(
        signals.iter().all(|s| s.kind != SignalKind::Hang),
        "{:?}",
        told(&signals)
    );
}

#[test]
fn a_leak_is_seen_before_the_limit() {
    for seed in 0..20 {
        let mut world = demo(seed);
        world.run(45);
        world.machine("demo-patient").leak_per_s = 8.0 * MIB;
        let (_, signal) = world.run_until(SignalKind::MemoryRunaway, SignalPhase::Open);
        let left =
            world.machine("demo-patient").memory_limit - world.machine("demo-patient").memory;
        assert!(left >= 36.0 * MIB, "seed {seed}: {left} bytes left");
        assert!(
            signal.reason.contains("hits the limit in about"),
            "{}",
            signal.reason
        );
    }
}

#[test]
fn a_slow_leak_is_seen_minutes_ahead() {
    let mut world = demo(2);
    world.run(60);
    world.machine("demo-patient").leak_per_s = 0.1 * MIB;
    let (_, signal) = world.run_until(SignalKind::MemoryRunaway, SignalPhase::Open);
    assert_eq!(signal.severity, Severity::Warning);
    let patient = world.machine("demo-patient");
    assert!(patient.memory_limit - patient.memory > 30.0 * MIB);
}

#[test]
fn a_sawtooth_of_collected_garbage_is_no_runaway_once_known() {
    let mut world = demo(3);
    let mut opened = 0;
    for cycle in 0..20 {
        for _ in 0..60 {
            let patient = world.machine("demo-patient");
            patient.leak_per_s = 1.0 * MIB;
            let signals = world.second().signals;
            let runaway = signals
                .iter()
                .filter(|s| s.kind == SignalKind::MemoryRunaway && s.phase == SignalPhase::Open);
            opened += usize::from(cycle > 0) * runaway.count();
        }
        world.machine("demo-patient").memory = 10.0 * MIB;
    }
    assert_eq!(opened, 0);
}

#[test]
fn error_lines_are_seen_within_five_seconds_with_an_example() {
    let mut world = demo(4);
    world.run(30);
    world.machine("demo-patient").error_lines_per_s = 20;
    let (seconds, signal) = world.run_until(SignalKind::ErrorLogs, SignalPhase::Open);
    assert!(seconds <= 5, "{seconds}");
    assert!(
        signal.reason.contains("upstream timed out"),
        "{}",
        signal.reason
    );
    world.machine("demo-patient").error_lines_per_s = 0;
    let (seconds, _) = world.run_until(SignalKind::ErrorLogs, SignalPhase::Resolve);
    assert!(seconds <= 15, "{seconds}");
}

#[test]
fn a_failing_health_check_opens_at_once_and_resolves_when_it_passes() {
    let mut world = demo(5);
    world.machine("demo-web").health = HealthState::Healthy;
    world.run(3);
    world.machine("demo-web").health = HealthState::Unhealthy;
    let signals = world.second().signals;
    assert_eq!(signals.len(), 1);
    assert_eq!(signals[0].kind, SignalKind::Unhealthy);
    world.machine("demo-web").start();
    world.machine("demo-web").health = HealthState::Starting;
    assert!(world.run(5).is_empty());
    world.machine("demo-web").health = HealthState::Healthy;
    assert_eq!(world.second().signals[0].phase, SignalPhase::Resolve);
}

#[test]
fn a_health_check_that_starves_in_an_overload_is_not_critical_until_that_is_over() {
    let mut world = demo(17);
    world.run(40);
    world.machine("demo-web").requests_per_s = 60.0;
    world.run_until(SignalKind::Overload, SignalPhase::Open);
    world.machine("demo-web").health = HealthState::Unhealthy;
    let (_, open) = world.run_until(SignalKind::Unhealthy, SignalPhase::Open);
    assert_eq!(open.severity, Severity::Warning);
    assert!(open.reason.contains("overloaded"), "{}", open.reason);
    world.machine("demo-web").requests_per_s = 5.0;
    world.run_until(SignalKind::Overload, SignalPhase::Resolve);
    let (seconds, raised) = world.run_until(SignalKind::Unhealthy, SignalPhase::Update);
    assert_eq!((seconds, raised.severity), (1, Severity::Critical));
}

const HOUR_MS: i64 = 3_600_000;

#[test]
fn a_clock_that_steps_back_and_forth_raises_nothing_and_stops_nothing() {
    let mut world = demo(18);
    world.run(90);
    for step_ms in [-HOUR_MS, 2 * HOUR_MS, -1_500, HOUR_MS, -HOUR_MS] {
        world.step_ms(step_ms);
        let mut before: Option<Timestamp> = None;
        for _ in 0..60 {
            let step = world.second();
            assert_eq!(told(&step.signals), [""; 0], "{step_ms}");
            let web = step
                .loads
                .iter()
                .find(|load| load.service.as_str() == "web");
            let web = web.unwrap();
            // Rates go on in the very second of the step, and times do not go back.
            assert!(web.cpu_millicores > 0.0, "{step_ms}: {web:?}");
            assert!(before.is_none_or(|before| before < web.at), "{step_ms}");
            before = Some(web.at);
        }
        let all = ["demo-web", "demo-patient", "demo-worker", "demo-traffic"];
        let beat = inventory(&world, &all);
        let signals = world
            .detector
            .inventory(world.at, &beat, NodeWatch::Owner, Stream::Live);
        assert_eq!(told(&signals), [""; 0], "{step_ms}");
        assert_eq!(world.detector.counts().containers, 4);
    }
    world.machine("demo-patient").error_lines_per_s = 20;
    let (seconds, _) = world.run_until(SignalKind::ErrorLogs, SignalPhase::Open);
    assert!(seconds <= 5, "{seconds}");
}

#[test]
fn what_is_open_goes_on_over_a_step_of_the_clock() {
    for step_ms in [HOUR_MS, -HOUR_MS] {
        let mut world = demo(20);
        world.run(60);
        world.machine("demo-patient").hung = Hung::Yes;
        world.machine("demo-web").requests_per_s = 45.0;
        world.machine("demo-worker").error_lines_per_s = 20;
        let signals = world.run(12);
        let open = |signals: &[Signal]| {
            let opened = signals.iter().filter(|it| it.phase == SignalPhase::Open);
            opened.map(|it| it.kind).collect::<Vec<_>>()
        };
        let opened = open(&signals);
        for kind in [
            SignalKind::Hang,
            SignalKind::Overload,
            SignalKind::ErrorLogs,
        ] {
            assert!(opened.contains(&kind), "{step_ms}: {:?}", told(&signals));
        }
        world.step_ms(step_ms);
        let after = world.run(40);
        let changed: Vec<_> = after
            .into_iter()
            .filter(|it| it.phase != SignalPhase::Update)
            .collect();
        assert_eq!(told(&changed), [""; 0], "{step_ms}");
        // Later states are told at later times.
        world.machine("demo-patient").start();
        world.machine("demo-web").requests_per_s = 8.0;
        world.machine("demo-worker").error_lines_per_s = 0;
        for resolve in world
            .run(40)
            .iter()
            .filter(|it| it.phase == SignalPhase::Resolve)
        {
            let newest = signals
                .iter()
                .filter(|it| it.id == resolve.id)
                .map(|it| it.at)
                .max();
            assert!(
                newest.is_some_and(|newest| newest < resolve.at),
                "{step_ms}: {resolve:?}"
            );
        }
        assert!(world.detector.counts().open.is_empty(), "{step_ms}");
    }
}

#[test]
fn a_crash_loop_is_counted_over_a_step_of_the_clock_and_none_is_made_of_it() {
    for step_ms in [HOUR_MS, -HOUR_MS] {
        let mut world = demo(21);
        world.run(10);
        assert!(crash(&mut world, 2, 1.0).is_empty());
        world.step_ms(step_ms);
        let signals = crash(&mut world, 1, 1.0);
        assert_eq!(
            signals[0].kind,
            SignalKind::CrashLoop,
            "{step_ms}: {:?}",
            told(&signals)
        );
        let (seconds, _) = world.run_until(SignalKind::CrashLoop, SignalPhase::Resolve);
        assert!((50..=65).contains(&seconds), "{step_ms}: {seconds}");
    }
}

/// Collectors of before took the uptime from the time of day.
#[test]
fn an_uptime_that_steps_with_the_clock_is_no_start() {
    for step_ms in [HOUR_MS, -HOUR_MS] {
        let mut world = demo(22);
        world.run(60);
        world.step_ms(step_ms);
        for machine in &mut world.machines {
            machine.uptime += step_ms as f64 / 1_000.0;
        }
        assert_eq!(told(&world.run(60)), [""; 0]);
        world.machine("demo-patient").hung = Hung::Yes;
        let (seconds, _) = world.run_until(SignalKind::Hang, SignalPhase::Open);
        assert!(seconds <= 5, "{step_ms}: {seconds}");
    }
}

#[test]
fn samples_delivered_twice_or_late_are_passed_over() {
    let mut world = demo(23);
    let mut old = Vec::new();
    for second in 0..90 {
        assert_eq!(told(&world.second().signals), [""; 0]);
        old.push(world.batch.clone());
        let known = world.detector.clone();
        for back in [0, 1, 5] {
            let Some(batch) = old.iter().rev().nth(back) else {
                continue;
            };
            let step = world.detector.samples(batch, None);
            assert_eq!(step, crate::Step::default(), "{second} {back}");
        }
        assert_eq!(world.detector, known, "{second}");
        let Some(batch) = old.iter().rev().nth(40) else {
            continue;
        };
        assert_eq!(world.detector.samples(batch, None), crate::Step::default());
    }
}

#[test]
fn after_its_node_booted_a_container_goes_on_and_what_is_gone_is_forgotten() {
    let mut world = demo(24);
    world.run(90);
    let gone = world.machines.pop().unwrap();
    world.step_ms(45_000);
    world.steady = units::Steady::from_millis(20_000);
    for machine in &mut world.machines {
        machine.start();
    }
    assert_eq!(told(&world.run(90)), [""; 0]);
    assert_eq!(
        world.detector.counts().containers,
        3,
        "{} is gone",
        gone.name
    );
    world.machine("demo-patient").hung = Hung::Yes;
    let (seconds, _) = world.run_until(SignalKind::Hang, SignalPhase::Open);
    assert!(seconds <= 5, "{seconds}");
}

#[test]
fn lost_lines_are_told_with_their_number_and_resolve_after_a_quiet_minute() {
    let mut world = demo(25);
    world.run(30);
    world.machine("demo-web").lines_lost = 400.0;
    let (seconds, open) = world.run_until(SignalKind::TelemetryLost, SignalPhase::Open);
    assert_eq!((seconds, open.severity), (1, Severity::Warning));
    assert!(
        open.reason
            .starts_with("400 log lines of demo-web were lost: "),
        "{}",
        open.reason
    );
    assert_eq!(open.evidence[0].observed, 400.0);
    assert_eq!(open.evidence[0].since, open.opened_at);
    world.run(20);
    world.machine("demo-web").lines_lost = 412.0;
    world.step_ms(HOUR_MS);
    let (seconds, resolve) = world.run_until(SignalKind::TelemetryLost, SignalPhase::Resolve);
    assert_eq!(seconds, 61);
    assert!(
        resolve.reason.contains("412 log lines lost in all"),
        "{}",
        resolve.reason
    );
    // The collector was started again, and then lost one more.
    world.machine("demo-web").lines_lost = 0.0;
    assert_eq!(told(&world.run(5)), [""; 0]);
    world.machine("demo-web").lines_lost = 1.0;
    let (_, again) = world.run_until(SignalKind::TelemetryLost, SignalPhase::Open);
    assert!(
        again
            .reason
            .starts_with("1 log line of demo-web was lost: "),
        "{}",
        again.reason
    );
    assert_ne!(again.id, open.id);
}

/// Ends and is started again by the engine every few seconds.
fn crash(world: &mut World, times: u32, exit_code: f64) -> Vec<Signal> {
    let mut signals = Vec::new();
    for _ in 0..times {
        let worker = world.machine("demo-worker");
        worker.state = ContainerState::Restarting;
        worker.exit_code = Some(exit_code);
        signals.extend(world.run(1));
        let worker = world.machine("demo-worker");
        worker.start();
        worker.restarts += 1.0;
        worker.exit_code = None;
        signals.extend(world.run(4));
    }
    signals
}

#[test]
fn three_failed_starts_are_a_crash_loop_and_a_steady_minute_ends_it() {
    let mut world = demo(6);
    world.run(10);
    assert!(crash(&mut world, 2, 1.0).is_empty());
    let signals = crash(&mut world, 1, 1.0);
    assert_eq!(
        signals[0].kind,
        SignalKind::CrashLoop,
        "{:?}",
        told(&signals)
    );
    let (seconds, _) = world.run_until(SignalKind::CrashLoop, SignalPhase::Resolve);
    assert!((50..=65).contains(&seconds), "{seconds}");
}

#[test]
fn jobs_that_end_well_are_no_crash_loop() {
    let mut world = demo(7);
    world.run(10);
    let signals = crash(&mut world, 12, 0.0);
    assert!(signals.is_empty(), "{:?}", told(&signals));
}

#[test]
fn a_restart_by_a_person_resolves_and_raises_nothing() {
    let mut world = demo(8);
    world.run(60);
    for _ in 0..4 {
        let web = world.machine("demo-web");
        web.state = ContainerState::Exited;
        web.exit_code = Some(143.0);
        world.run(2);
        world.machine("demo-web").start();
        world.machine("demo-web").exit_code = None;
        let signals = world.run(12);
        assert!(signals.is_empty(), "{:?}", told(&signals));
    }
}

#[test]
fn a_long_step_becomes_the_new_normal() {
    let mut world = demo(9);
    world.run(120);
    world.machine("demo-worker").idle_cores = 0.6;
    let (_, open) = world.run_until(SignalKind::CpuAnomaly, SignalPhase::Open);
    assert_eq!(open.severity, Severity::Info);
    let (_, raised) = world.run_until(SignalKind::CpuAnomaly, SignalPhase::Update);
    assert_eq!(raised.id, open.id);
    let (_, resolve) = world.run_until(SignalKind::CpuAnomaly, SignalPhase::Resolve);
    assert!(resolve.reason.contains("new normal"), "{}", resolve.reason);
    assert!(world.run(300).is_empty());
}

#[test]
fn hours_of_noise_with_daily_jobs_raise_at_most_info() {
    let mut world = demo(10);
    let mut pace = Noise::seeded(99);
    let mut opened = Vec::new();
    for minute in 0..6 * 60 {
        let job = minute % 120 == 60;
        world.machine("demo-worker").idle_cores = if job { 0.5 } else { 0.05 };
        let swing = 1.0 + 0.3 * (f64::from(minute) / 40.0).sin() + 0.05 * pace.normal();
        world.machine("demo-web").requests_per_s = 8.0 * swing;
        world.machine("demo-patient").requests_per_s = 10.0 * swing;
        world.machine("demo-traffic").requests_per_s = 18.0 * swing;
        opened.extend(
            world
                .run(60)
                .into_iter()
                .filter(|s| s.phase == SignalPhase::Open),
        );
    }
    assert!(
        opened.iter().all(|s| s.severity == Severity::Info),
        "{:?}",
        told(&opened)
    );
    let beside_jobs: Vec<_> = opened
        .iter()
        .filter(|s| s.subject.to_string() != "demo-worker")
        .cloned()
        .collect();
    assert!(beside_jobs.is_empty(), "{:?}", told(&beside_jobs));
    assert!(opened.len() <= 3, "one a job: {:?}", told(&opened));
}

#[test]
fn what_is_remembered_does_not_grow_with_time() {
    let mut world = demo(19);
    world.run(300);
    let early = postcard::to_stdvec(&world.detector).unwrap().len();
    world.run(3 * 3_600);
    let late = postcard::to_stdvec(&world.detector).unwrap().len();
    assert!(late <= early + 64, "{early} bytes became {late}");
    assert!(late < 4 * 2_304, "{late} bytes for four containers");
}

#[test]
fn a_fresh_replica_is_judged_by_its_siblings_usual() {
    let mut world = demo(11);
    world.run(120);
    let mut replica = Machine::web("demo-web-r1");
    replica.uptime = 0.0;
    world.machines.push(replica);
    world.run(14);
    world.machine("demo-web-r1").hung = Hung::Yes;
    let (seconds, signal) = world.run_until(SignalKind::Hang, SignalPhase::Open);
    assert!(seconds <= 5, "{seconds}");
    assert_eq!(signal.subject.to_string(), "demo-web-r1");
}

fn inventory(world: &World, names: &[&str]) -> NodeInventory {
    let record = |machine: &Machine| ContainerRecord {
        id: format!("id-of-{}", machine.name).as_str().into(),
        name: machine.name.into(),
        service: machine.service.into(),
        image: "demo".into(),
        state: ContainerState::Running,
        health: HealthState::None,
        restarts: 0,
        created_at: None,
        started_at: None,
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy::default(),
        label_problems: Vec::new(),
        replica_of: None,
        made_by: None,
        copy_obstacles: Vec::new(),
        spec: None,
    };
    NodeInventory {
        node: NodeId::from("node-a"),
        at: world.at,
        steady: Some(world.steady),
        capacity: NodeCapacity::default(),
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers: world
            .machines
            .iter()
            .filter(|machine| names.contains(&machine.name))
            .map(record)
            .collect(),
    }
}

#[test]
fn a_silent_container_is_missing_and_a_removed_one_is_gone() {
    let mut world = demo(12);
    world.run(30);
    let worker = world.machines.remove(2);
    let all = ["demo-web", "demo-patient", "demo-worker", "demo-traffic"];
    let mut signals = Vec::new();
    for _ in 0..15 {
        world.run(1);
        let mut seen = inventory(&world, &all);
        world.machines.push(worker.clone());
        seen.containers = inventory(&world, &all).containers;
        world.machines.pop();
        signals.extend(
            world
                .detector
                .inventory(world.at, &seen, NodeWatch::Owner, Stream::Live),
        );
    }
    assert_eq!(signals.len(), 1, "{:?}", told(&signals));
    assert_eq!(signals[0].kind, SignalKind::TelemetryMissing);
    let seen = inventory(&world, &all);
    let signals = world
        .detector
        .inventory(world.at, &seen, NodeWatch::Owner, Stream::Live);
    assert_eq!(signals[0].phase, SignalPhase::Resolve);
    assert!(signals[0].reason.contains("gone"), "{}", signals[0].reason);
    assert_eq!(world.detector.counts().containers, 3);
}

#[test]
fn behind_the_stream_absence_proves_nothing() {
    let mut world = demo(13);
    world.run(5);
    let mut later = inventory(&world, &["demo-web"]);
    later.at = world.at + Duration::from_secs(300);
    later.steady = Some(world.steady + Duration::from_secs(300));
    let signals = world
        .detector
        .inventory(later.at, &later, NodeWatch::Owner, Stream::Behind);
    assert!(signals.is_empty());
    assert_eq!(world.detector.counts().containers, 4);
}

#[test]
fn a_silent_node_is_told_once_by_its_owner_and_resolves_when_heard() {
    let mut world = demo(14);
    world.run(5);
    let beat = inventory(&world, &["demo-web"]);
    let now = world.at;
    world
        .detector
        .inventory(now, &beat, NodeWatch::Owner, Stream::Live);
    let owner = |_: &NodeId| NodeWatch::Owner;
    assert!(
        world
            .detector
            .tick(now + Duration::from_secs(9), owner)
            .is_empty()
    );
    assert!(
        world
            .detector
            .tick(now + Duration::from_secs(11), |_| NodeWatch::Other)
            .is_empty()
    );
    let open = world.detector.tick(now + Duration::from_secs(11), owner);
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].opened_at, beat.at + Duration::from_secs(10));
    assert!(
        world
            .detector
            .tick(now + Duration::from_secs(12), owner)
            .is_empty()
    );
    let resolved = world.detector.inventory(
        now + Duration::from_secs(13),
        &beat,
        NodeWatch::Owner,
        Stream::Live,
    );
    assert_eq!(resolved[0].phase, SignalPhase::Resolve);
}

#[test]
fn silence_while_nobody_listened_is_not_the_nodes() {
    let mut world = demo(16);
    world.run(5);
    let beat = inventory(&world, &["demo-web"]);
    let now = world.at;
    world
        .detector
        .inventory(now, &beat, NodeWatch::Owner, Stream::Live);
    let later = now + Duration::from_secs(600);
    world.detector.resume(later);
    assert!(world.detector.tick(later, |_| NodeWatch::Owner).is_empty());
    let silent = later + Duration::from_secs(11);
    assert_eq!(world.detector.tick(silent, |_| NodeWatch::Owner).len(), 1);
}

#[test]
fn beyond_its_room_a_detector_counts_and_keeps_what_it_has() {
    let mut world = demo(15);
    world.detector = Detector::new(Settings {
        max_containers: 3,
        ..Settings::default()
    });
    world.run(10);
    let counts = world.detector.counts();
    assert_eq!(counts.containers, 3);
    assert_eq!(counts.evicted, 10);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]

    /// A detector that was written and read back tells exactly what the other one tells.
    #[test]
    fn a_restored_detector_goes_on_as_before(
        seed in 0u64..1_000, at in 1u32..150, fault in 0u32..120, which in 0u8..5,
    ) {
        let mut world = demo(seed);
        let mut seen = Vec::new();
        let mut restored: Option<Detector> = None;
        for second in 0..200 {
            if second == fault {
                let patient = world.machine("demo-patient");
                match which {
                    0 => patient.hung = Hung::Yes,
                    1 => patient.leak_per_s = 4.0 * MIB,
                    2 => patient.error_lines_per_s = 20,
                    3 => patient.requests_per_s = 200.0,
                    _ => patient.start(),
                }
            }
            if second == at {
                let bytes = postcard::to_stdvec(&world.detector).unwrap();
                let copy: Detector = postcard::from_bytes(&bytes).unwrap();
                proptest::prop_assert_eq!(&copy, &world.detector);
                restored = Some(copy.with_settings(Settings::default()));
                seen.clear();
            }
            seen.extend(world.second().signals);
        }
        let mut copy = demo(seed);
        let mut again = Vec::new();
        for second in 0..200 {
            if second == fault {
                let patient = copy.machine("demo-patient");
                match which {
                    0 => patient.hung = Hung::Yes,
                    1 => patient.leak_per_s = 4.0 * MIB,
                    2 => patient.error_lines_per_s = 20,
                    3 => patient.requests_per_s = 200.0,
                    _ => patient.start(),
                }
            }
            if second == at {
                copy.detector = restored.take().unwrap();
                again.clear();
            }
            again.extend(copy.second().signals);
        }
        proptest::prop_assert_eq!(seen, again);
        proptest::prop_assert_eq!(world.detector, copy.detector);
    }
}
