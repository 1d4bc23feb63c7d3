//! Limits in place: raised at once where they are too low, before a replica is added; lowered patiently; within the label, and undone.
#![allow(clippy::unwrap_used)]

mod world;

use control::Config;
use units::{
    Action, ActionKind, Bytes, EventKind, Evidence, LimitRange, Limits, LimitsPolicy, Metric,
    Millicores, Mode, Need, NodeCapacity, Phase, Policy, Severity, Signal, SignalKind, SignalPhase,
    Subject, Usage, VerdictKind,
};
use world::{World, acting, policy, secs};

/// 100m..1000m of CPU and 64..512 MiB of memory.
fn labelled(scale: Option<(u32, u32)>) -> Policy {
    Policy {
        limits: Some(LimitsPolicy {
            cpu: Some(LimitRange {
                min: Millicores(100),
                max: Millicores(1_000),
            }),
            memory: Some(LimitRange {
                min: Bytes::from_mib(64),
                max: Bytes::from_mib(512),
            }),
        }),
        ..policy(scale)
    }
}

/// Containers `web-1` … on node `a`, of 250m and 256 MiB each.
fn world(config: Config, policy: Policy, replicas: usize) -> World {
    let mut world = World::new(config);
    for number in 1..=replicas {
        world = world.with("a", &format!("web-{number}"), "web", policy.clone());
    }
    for record in world.nodes.values_mut().flatten() {
        record.limits = Limits {
            cpu: Some(Millicores(250)),
            memory: Some(Bytes::from_mib(256)),
        };
    }
    world.leading()
}

fn single() -> World {
    world(acting(), labelled(None), 1)
}

fn overload(world: &mut World) -> Signal {
    world.open_about(
        SignalKind::Overload,
        Subject::service("web".into()),
        Severity::Critical,
    )
}

/// What needs so much, by a week of history.
fn needs(cpu: u64, memory_mib: u64) -> Option<Usage> {
    Some(Usage {
        history: secs(7 * 86_400),
        cpu: Need {
            lower: Millicores(cpu / 2),
            target: Millicores(cpu),
            upper: Millicores(cpu),
            recent_peak: Millicores(cpu),
        },
        memory: Some(Need {
            lower: Bytes::from_mib(memory_mib / 2),
            target: Bytes::from_mib(memory_mib),
            upper: Bytes::from_mib(memory_mib),
            recent_peak: Bytes::from_mib(memory_mib * 8 / 10),
        }),
    })
}

fn limits(world: &mut World, name: &str) -> (u64, u64) {
    let limits = world.container(name).limits;
    (
        limits.cpu.unwrap().0,
        limits.memory.unwrap().0 / 1024 / 1024,
    )
}

/// So many seconds of load, with actuators that answer.
fn settle(world: &mut World, load: f64, seconds: u64) {
    for _ in 0..seconds / 10 {
        world.carry("web", load, 0.0, 10);
        world.actuate();
    }
}

/// Kinds and reasons of what was judged.
fn verdicts(world: &World) -> Vec<(VerdictKind, String)> {
    let judged = world.in_phase(Phase::Judged).into_iter();
    judged
        .filter_map(|entry| entry.verdict.clone())
        .map(|verdict| (verdict.kind, verdict.reason))
        .collect()
}

#[test]
fn a_service_that_waits_for_its_limit_gets_a_higher_one_in_place() {
    let mut world = single();
    world.load("web", 245.0, 0.4);
    let overload = overload(&mut world);
    // 245 at 60 % of the time shown, and 70 % of the limit to be used.
    assert_eq!(world.sent(), ["set limits of web-1: CPU 500m"]);
    let plan = world.last().plan.clone();
    assert_eq!(plan.kind, ActionKind::UpdateLimits);
    assert_eq!(plan.cause.signals, std::slice::from_ref(&overload.id));
    assert!(plan.alternatives[0].contains("add a replica"), "{plan:?}");
    assert!(plan.alternatives[1].contains("restart"), "{plan:?}");
    world.actuate();
    assert_eq!(limits(&mut world, "web-1"), (500, 256));
    world.carry("web", 245.0, 0.0, 2);
    world.resolve(&overload);
    assert_eq!(verdicts(&world)[0].0, VerdictKind::Helped);
    world.carry("web", 245.0, 0.0, 300);
    assert_eq!(world.commands.len(), 1, "{:?}", world.sent());
}

#[test]
fn a_higher_limit_comes_before_a_replica_and_a_replica_where_it_is_not_enough() {
    let mut world = world(acting(), labelled(Some((1, 4))), 1);
    world.carry("web", 230.0, 0.0, 3);
    assert_eq!(world.sent(), ["set limits of web-1: CPU 330m"]);
    world.actuate();
    world.carry("web", 230.0, 0.0, 10);
    assert_eq!(
        verdicts(&world)[0].0,
        VerdictKind::Helped,
        "{:?}",
        verdicts(&world)
    );
    world.carry("web", 300.0, 0.0, 10);
    world.actuate();
    world.carry("web", 300.0, 0.0, 30);
    assert_eq!(world.replicas("web"), 1, "{:?}", world.sent());
    // More than the label allows one replica to use.
    world.carry("web", 900.0, 0.0, 20);
    assert!(
        world.sent().last().unwrap().starts_with("add replica"),
        "{:?}",
        world.sent()
    );
}

#[test]
fn where_no_replica_may_be_added_it_is_raised_as_far_as_it_goes() {
    let mut world = world(acting(), labelled(Some((1, 1))), 1);
    for _ in 0..20 {
        world.carry("web", 2_000.0, 0.3, 10);
        world.actuate();
    }
    assert_eq!(limits(&mut world, "web-1").0, 1_000);
    assert_eq!(world.count(ActionKind::CreateReplica), 0);
    assert_eq!(
        world.count(ActionKind::UpdateLimits),
        2,
        "{:?}",
        world.sent()
    );
}

#[test]
fn no_more_is_given_than_the_node_has() {
    let mut world = single();
    world.capacity_of_nodes = NodeCapacity {
        cpu: Millicores(400),
        memory: Bytes::from_mib(300),
    };
    world.tell_inventory();
    world.load("web", 245.0, 0.5);
    overload(&mut world);
    assert_eq!(world.sent(), ["set limits of web-1: CPU 400m"]);
}

#[test]
fn one_container_that_is_throttled_gets_what_it_asks_for() {
    let mut world = world(acting(), labelled(None), 2);
    world.load("web", 300.0, 0.1);
    let evidence = |feature: &str, metric, observed| Evidence {
        feature: feature.to_owned(),
        metric,
        unit: String::new(),
        observed,
        expected_low: 0.0,
        expected_high: 0.0,
        since: world.now,
    };
    let evidence = vec![
        evidence("cpu_throttled_share", None, 0.25),
        evidence("cpu_usage_seconds", Some(Metric::CpuUsage), 0.24),
    ];
    let (node, record) = world.place("web-2");
    let subject = Subject::container(record.service, node, record.id, record.name);
    let fingerprint = subject.fingerprint(SignalKind::Throttling);
    let signal = Signal {
        id: units::SignalId::of(&fingerprint, world.now),
        fingerprint,
        phase: SignalPhase::Open,
        kind: SignalKind::Throttling,
        reason: "web-2 hit its CPU limit".to_owned(),
        subject,
        severity: Severity::Info,
        score: units::Ratio::saturating(0.9),
        confidence: units::Confidence::Medium,
        opened_at: world.now,
        at: world.now,
        evidence,
        traceparent: None,
    };
    world.say(signal);
    // 240 of which 320 are asked for, at 70 %.
    assert_eq!(world.sent(), ["set limits of web-2: CPU 460m"]);
}

#[test]
fn a_kill_for_want_of_memory_is_answered_once_with_a_fifth_or_a_hundred_megabytes_more() {
    let mut world = single();
    world.load("web", 50.0, 0.0);
    world.happen("web-1", EventKind::OutOfMemory);
    // 100 MB are more than a fifth of 256 MiB.
    assert_eq!(world.sent(), ["set limits of web-1: memory 352.0 MiB"]);
    let reason = world.last().plan.cause.reason.clone();
    assert!(reason.contains("was killed for want of memory"), "{reason}");
    world.actuate();
    world.carry("web", 50.0, 0.0, 130);
    assert_eq!(
        verdicts(&world)[0].0,
        VerdictKind::Helped,
        "{:?}",
        verdicts(&world)
    );
    assert_eq!(world.commands.len(), 1, "one kill, one raise");
    world.happen("web-1", EventKind::OutOfMemory);
    world.actuate();
    world.carry("web", 50.0, 0.0, 130);
    world.happen("web-1", EventKind::OutOfMemory);
    world.actuate();
    assert_eq!(limits(&mut world, "web-1"), (250, 512), "the label's most");
    world.carry("web", 50.0, 0.0, 130);
    world.happen("web-1", EventKind::OutOfMemory);
    world.carry("web", 50.0, 0.0, 130);
    assert_eq!(
        world.count(ActionKind::UpdateLimits),
        3,
        "{:?}",
        world.sent()
    );
}

#[test]
fn a_change_of_memory_that_waits_for_its_verdict_holds_no_replica_back() {
    let mut policy = labelled(Some((1, 4)));
    policy.limits.as_mut().unwrap().cpu = None;
    let mut world = world(acting(), policy, 1);
    world.load("web", 100.0, 0.0);
    world.happen("web-1", EventKind::OutOfMemory);
    world.actuate();
    world.carry("web", 240.0, 0.0, 3);
    assert_eq!(world.sent()[1..], ["add replica web-1-r1"]);
}

#[test]
fn a_kill_told_by_a_clock_that_is_ahead_is_answered_once() {
    let mut world = single();
    world.load("web", 50.0, 0.0);
    let (node, record) = world.place("web-1");
    let event = units::ContainerEvent {
        at: world.now + secs(4),
        at_unix_ns: None,
        node,
        service: record.service,
        container: record.id,
        name: record.name,
        kind: EventKind::OutOfMemory,
    };
    world.tell(control::Event::Container(Box::new(event)));
    world.actuate();
    world.carry("web", 50.0, 0.0, 400);
    assert_eq!(
        world.count(ActionKind::UpdateLimits),
        1,
        "{:?}",
        world.sent()
    );
}

#[test]
fn memory_that_runs_away_gets_more_room_once_and_is_then_left_to_a_restart() {
    let mut world = single();
    world.load("web", 50.0, 0.0);
    let runaway = world.open(SignalKind::MemoryRunaway, "web-1", Severity::Warning);
    assert_eq!(world.sent(), ["set limits of web-1: memory 352.0 MiB"]);
    world.actuate();
    world.carry("web", 50.0, 0.0, 10);
    world.resolve(&runaway);
    world.carry("web", 50.0, 0.0, 20);
    let again = world.open(SignalKind::MemoryRunaway, "web-1", Severity::Warning);
    world.carry("web", 50.0, 0.0, 3);
    assert_eq!(verdicts(&world)[0].0, VerdictKind::NoEffect);
    world.carry("web", 50.0, 0.0, 30);
    assert_eq!(world.sent().last().unwrap(), "restart web-1");
    world.resolve(&again);
    assert_eq!(world.count(ActionKind::UpdateLimits), 1);
}

#[test]
fn a_critical_leak_is_restarted_and_not_fed() {
    let mut world = single();
    world.load("web", 50.0, 0.0);
    world.open(SignalKind::MemoryRunaway, "web-1", Severity::Critical);
    assert_eq!(world.sent(), ["restart web-1"]);
}

#[test]
fn wide_limits_are_lowered_one_container_at_a_time_and_not_below_what_is_in_use() {
    let mut world = world(acting(), labelled(None), 2);
    world.usage = needs(70, 100);
    world.carry("web", 100.0, 0.0, 10);
    assert_eq!(
        world.sent(),
        ["set limits of web-1: CPU 130m memory 128.0 MiB"],
        "half at the most"
    );
    world.actuate();
    world.carry("web", 100.0, 0.0, 125);
    assert_eq!(
        verdicts(&world)[0].0,
        VerdictKind::Helped,
        "{:?}",
        verdicts(&world)
    );
    assert_eq!(world.commands.len(), 1, "the other one has its time");
    settle(&mut world, 100.0, 5 * 3_600);
    for name in ["web-1", "web-2"] {
        // 70m at 70 % are 100m, the label's least; 100 MiB are above 80 MiB with their margin.
        assert_eq!(limits(&mut world, name), (100, 100), "{:?}", world.sent());
    }
    let before = world.commands.len();
    world.carry("web", 100.0, 0.0, 7_200);
    assert_eq!(world.commands.len(), before, "and there it stays");
}

#[test]
fn a_short_history_a_signal_or_a_small_gain_lower_nothing() {
    let short = Usage {
        history: secs(23 * 3_600),
        ..needs(50, 70).unwrap()
    };
    let near = needs(160, 240);
    for usage in [None, Some(short), near] {
        let mut world = single();
        world.usage = usage;
        world.carry("web", 50.0, 0.0, 60);
        assert!(world.commands.is_empty(), "{usage:?}: {:?}", world.sent());
    }
    let mut world = single();
    world.open(SignalKind::ErrorLogs, "web-1", Severity::Warning);
    world.usage = needs(50, 70);
    world.carry("web", 50.0, 0.0, 60);
    assert!(world.commands.is_empty());
}

#[test]
fn a_lowering_that_brings_overload_is_undone_and_not_repeated_soon() {
    let mut world = single();
    world.usage = needs(100, 250);
    world.carry("web", 60.0, 0.0, 2);
    assert_eq!(world.sent(), ["set limits of web-1: CPU 150m"]);
    world.actuate();
    world.carry("web", 60.0, 0.0, 20);
    let overload = overload(&mut world);
    assert_eq!(verdicts(&world)[0].0, VerdictKind::Worse);
    let undo = world.in_phase(Phase::Decided).last().unwrap().plan.clone();
    assert_eq!(
        undo.undo_of.as_ref(),
        Some(&world.in_phase(Phase::Judged)[0].plan.id)
    );
    world.actuate();
    assert_eq!(limits(&mut world, "web-1"), (250, 256));
    world.resolve(&overload);
    world.carry("web", 60.0, 0.0, 7_000);
    assert_eq!(
        world.count(ActionKind::UpdateLimits),
        2,
        "{:?}",
        world.sent()
    );
    world.take_over();
    world.carry("web", 60.0, 0.0, 100);
    assert_eq!(
        world.count(ActionKind::UpdateLimits),
        2,
        "held, also by the next leader"
    );
    world.carry("web", 60.0, 0.0, 400);
    assert_eq!(
        world.count(ActionKind::UpdateLimits),
        3,
        "two hours are over"
    );
}

#[test]
fn a_container_killed_under_its_lower_limit_gets_the_one_before_back() {
    let mut world = single();
    world.usage = needs(160, 100);
    world.carry("web", 60.0, 0.0, 2);
    assert_eq!(world.sent(), ["set limits of web-1: memory 128.0 MiB"]);
    world.actuate();
    world.carry("web", 60.0, 0.0, 20);
    world.happen("web-1", EventKind::OutOfMemory);
    world.actuate();
    assert_eq!(limits(&mut world, "web-1"), (250, 256));
    assert_eq!(verdicts(&world)[0].0, VerdictKind::Worse);
}

#[test]
fn long_use_of_nearly_all_of_a_limit_raises_it_without_a_signal() {
    let mut world = single();
    world.usage = needs(280, 200);
    world.carry("web", 160.0, 0.0, 2);
    assert_eq!(world.sent(), ["set limits of web-1: CPU 280m"]);
    world.actuate();
    world.carry("web", 160.0, 0.0, 100);
    assert_eq!(world.commands.len(), 1);
}

#[test]
fn without_the_label_or_a_limit_nothing_is_changed() {
    let unlabelled = world(acting(), policy(None), 1);
    let mut unlimited = single();
    unlimited.container("web-1").limits = Limits::default();
    unlimited.tell_inventory();
    let mut cpu_only = labelled(None);
    cpu_only.limits.as_mut().unwrap().memory = None;
    let mut memory_alone = world(acting(), cpu_only, 1);
    memory_alone.happen("web-1", EventKind::OutOfMemory);
    assert!(memory_alone.commands.is_empty());
    for mut world in [unlabelled, unlimited] {
        world.usage = needs(70, 100);
        world.carry("web", 245.0, 0.4, 10);
        overload(&mut world);
        world.happen("web-1", EventKind::OutOfMemory);
        world.carry("web", 245.0, 0.4, 60);
        assert_eq!(
            world.count(ActionKind::UpdateLimits),
            0,
            "{:?}",
            world.sent()
        );
    }
}

#[test]
fn in_observe_nothing_is_said_and_in_suggest_it_is_said_once() {
    for (mode, ceiling, said) in [
        (Mode::Observe, Mode::Act, 0),
        (Mode::Act, Mode::Observe, 0),
        (Mode::Suggest, Mode::Act, 1),
        (Mode::Act, Mode::Suggest, 1),
    ] {
        let config = Config {
            max_mode: ceiling,
            ..acting()
        };
        let policy = Policy {
            mode,
            ..labelled(Some((1, 4)))
        };
        let mut world = world(config, policy, 1);
        world.load("web", 245.0, 0.4);
        overload(&mut world);
        world.carry("web", 245.0, 0.4, 60);
        world.take_over();
        world.carry("web", 245.0, 0.4, 60);
        assert!(world.commands.is_empty());
        let all = world.in_phase(Phase::Suggested);
        assert_eq!(all.len(), said, "{mode} under {ceiling}: {all:#?}");
        assert!(
            all.iter()
                .all(|it| it.plan.kind == ActionKind::UpdateLimits)
        );
    }
}

#[test]
fn what_people_change_is_theirs_for_a_while() {
    let mut world = single();
    world.load("web", 245.0, 0.4);
    world.happen("web-1", EventKind::Updated);
    let overload = overload(&mut world);
    world.carry("web", 245.0, 0.4, 50);
    assert!(world.commands.is_empty(), "{:?}", world.sent());
    world.carry("web", 245.0, 0.4, 15);
    assert_eq!(world.count(ActionKind::UpdateLimits), 1);
    // Its own change is none of theirs.
    world.actuate();
    world.happen("web-1", EventKind::Updated);
    world.resolve(&overload);
    world.happen("web-1", EventKind::OutOfMemory);
    world.carry("web", 245.0, 0.0, 10);
    assert_eq!(
        world.count(ActionKind::UpdateLimits),
        2,
        "{:?}",
        world.sent()
    );
}

#[test]
fn what_changes_nothing_is_not_tried_for_ever_and_replicas_take_over() {
    let mut world = world(acting(), labelled(Some((1, 4))), 1);
    world.load("web", 245.0, 0.3);
    overload(&mut world);
    world.actuate();
    // The node has no more CPU to give: whatever the limit, as much is used, and waited for.
    for _ in 0..40 {
        world.carry("web", 245.0, 0.3, 10);
        world.actuate();
    }
    let kinds: Vec<ActionKind> = world.commands.iter().map(|it| it.action.kind()).collect();
    assert!(kinds.contains(&ActionKind::UpdateLimits), "{kinds:?}");
    assert!(world.count(ActionKind::UpdateLimits) <= 3, "{kinds:?}");
}

#[test]
fn the_same_facts_again_change_nothing() {
    let mut world = single();
    world.load("web", 245.0, 0.4);
    overload(&mut world);
    world.happen("web-1", EventKind::OutOfMemory);
    world.actuate();
    let before = world.commands.len();
    let (signals, events) = (world.signals.clone(), world.events.clone());
    for _ in 0..3 {
        for signal in signals.clone() {
            world.tell(control::Event::Signal(Box::new(signal)));
        }
        for event in events.clone() {
            world.tell(control::Event::Container(Box::new(event)));
        }
        world.take_over();
    }
    assert_eq!(world.commands.len(), before, "{:?}", world.sent());
}

#[test]
fn why_no_limit_is_changed_is_said() {
    let has = |world: &World, words: &str| {
        let reasons = world.core.why_not(&"web".into(), world.now).unwrap();
        let ours = reasons
            .iter()
            .filter(|it| it.action == Some(ActionKind::UpdateLimits));
        let texts: Vec<&str> = ours.map(|it| it.text.as_str()).collect();
        assert!(
            texts.iter().any(|it| it.contains(words)),
            "no {words:?} in {texts:#?}"
        );
    };
    has(
        &world(acting(), policy(None), 1),
        "label io.homeostat.limits",
    );
    let mut world = single();
    has(&world, "no forecast of it has come");
    world.usage = needs(160, 240);
    world.load("web", 60.0, 0.0);
    has(&world, "nothing waits for its CPU limit");
    has(&world, "not far above what it needs");
    world.usage = Some(Usage {
        history: secs(7_200),
        ..needs(60, 70).unwrap()
    });
    world.pass(secs(1));
    world.load("web", 60.0, 0.0);
    has(&world, "watched for 2 h");
    world.container("web-1").limits.memory = Some(Bytes::from_mib(512));
    world.tell_inventory();
    world.happen("web-1", EventKind::OutOfMemory);
    has(&world, "as high as its label and its node allow");
}

mod anything {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// Whatever the load, the history and what is killed: the auditor finds nothing (the world asks it), limits stay in the
        /// label's range once they are touched, nothing is set below what is in use, and what was raised was too low by some sign.
        #[test]
        fn limits_stay_within_the_label_and_above_what_is_in_use(
            steps in proptest::collection::vec(
                (0.0f64..3_000.0, 0.0f64..1.0, 10u64..2_000, 10u64..900, 0u8..12, any::<bool>()), 1..40,
            ),
        ) {
            let mut config = acting();
            config.resize.lower_every = secs(60);
            let mut world = world(config, labelled(Some((1, 3))), 2);
            let mut before = 0;
            for (load, throttled, cpu, memory, event, critical) in steps {
                // The first second of a step is decided by what was known before.
                let known = memory.min(std::mem::replace(&mut before, memory));
                world.usage = needs(cpu, memory);
                let sent = world.commands.len();
                world.carry("web", load, throttled, 20);
                match event {
                    0 => world.happen("web-1", EventKind::OutOfMemory),
                    1 => drop(overload(&mut world)),
                    2 => {
                        let severity = if critical { Severity::Critical } else { Severity::Warning };
                        world.open(SignalKind::MemoryRunaway, "web-2", severity);
                    }
                    3 => drop(world.open(SignalKind::Throttling, "web-1", Severity::Info)),
                    4 => world.happen("web-2", EventKind::Updated),
                    _ => {
                        for signal in std::mem::take(&mut world.signals) {
                            if signal.phase != SignalPhase::Resolve {
                                world.resolve(&signal);
                            }
                        }
                    }
                }
                for command in &world.commands[sent..] {
                    let Action::UpdateLimits { container, limits, .. } = &command.action else {
                        continue;
                    };
                    let mut all = world.nodes.values().flatten();
                    let Some(record) = all.find(|record| record.id == *container) else {
                        continue;
                    };
                    prop_assert!(limits.cpu.is_none_or(|it| (100..=1_000).contains(&it.0)));
                    if let (Some(to), Some(from)) = (limits.memory, record.limits.memory) {
                        prop_assert!((64..=512).contains(&(to.0 >> 20)));
                        prop_assert!(to >= from || to >= Bytes::from_mib(known * 8 / 10));
                    }
                }
                world.actuate();
            }
        }
    }
}
