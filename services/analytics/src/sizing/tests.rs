use units::{
    Bytes, ContainerName, EngineInfo, Limits, Millicores, Mode, NodeCapacity, NodeFacts, Policy,
    ScalePolicy,
};

use super::*;

const SLO: f64 = 0.01;
const REPLICA: Millicores = Millicores(500);

fn second(second: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + second * 1_000)
}

fn container(name: &str, target: ScaleTarget, created: Timestamp) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::from(name),
        name: ContainerName::from(name),
        service: ServiceId::from("web"),
        image: "web:1".to_owned(),
        state: ContainerState::Running,
        health: HealthState::None,
        restarts: 0,
        created_at: Some(created),
        started_at: Some(created),
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy {
            mode: Mode::Act,
            scale: Some(ScalePolicy {
                min: 1,
                max: 20,
                target,
            }),
            ..Policy::default()
        },
        label_problems: Vec::new(),
        replica_of: None,
        made_by: None,
        copy_obstacles: Vec::new(),
        spec: None,
    }
}

fn promise() -> ScaleTarget {
    ScaleTarget::Slo(Ratio::saturating(SLO))
}

fn inventory(at: Timestamp, containers: Vec<ContainerRecord>) -> NodeInventory {
    NodeInventory {
        node: NodeId::from("a"),
        at,
        steady: None,
        capacity: NodeCapacity {
            cpu: Millicores(8_000),
            memory: Bytes(1 << 34),
        },
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers,
    }
}

fn tell(sizings: &mut Sizings, at: Timestamp, containers: Vec<ContainerRecord>) {
    sizings.inventory(&inventory(at, containers), |_| true);
}

fn load(at: Timestamp, cpu_millicores: f64, replicas: u32, throttled: f64) -> ServiceLoad {
    ServiceLoad {
        service: ServiceId::from("web"),
        at,
        cpu_millicores,
        replicas,
        replica_capacity: REPLICA,
        throttled,
        busiest_cpu_millicores: cpu_millicores / f64::from(replicas),
        busiest_memory_bytes: None,
    }
}

/// So many old replicas under a promise.
fn promised(replicas: u32) -> Sizings {
    let mut sizings = Sizings::default();
    let all =
        (0..replicas).map(|number| container(&format!("web-{number}"), promise(), second(-9_000)));
    tell(&mut sizings, second(0), all.collect());
    sizings
}

/// A load around a level, a little unsteady, never twice the same.
fn around(level: f64, second: i64) -> f64 {
    level * (1.0 + 0.05 * ((second * second) as f64).sin())
}

#[test]
fn a_promise_is_met_by_what_the_load_needs_and_a_little_more() {
    let mut sizings = promised(4);
    let mut last = None;
    for at in 0..3 * 3_600 {
        let load = load(second(at), around(1_500.0, at), 4, 0.0);
        let sizing = sizings.observe(&load).sizing;
        assert_eq!(sizing.is_some(), at >= 69, "{at}");
        last = sizing;
    }
    // 1,575m at the most, of which a full replica carries 450m.
    let last = last.unwrap();
    assert_eq!(last.replicas, 4, "{last:?}");
    assert!((1_400.0..1_600.0).contains(&last.expected), "{last:?}");
    assert!((20.0..120.0).contains(&last.spread), "{last:?}");
    assert_eq!((last.slo.get(), last.broken.get()), (SLO, 0.0));
}

#[test]
fn more_is_asked_for_where_the_limit_holds_back_and_the_promise_is_seen_to_break() {
    let mut sizings = promised(2);
    for at in 0..600 {
        sizings.observe(&load(second(at), around(600.0, at), 2, 0.0));
    }
    let mut last = None;
    for at in 600..660 {
        last = sizings.observe(&load(second(at), 995.0, 2, 0.4)).sizing;
    }
    let last = last.unwrap();
    // 995m given of 1,658m asked for, besides what waits.
    assert!(last.replicas >= 4, "{last:?}");
    assert!(last.broken.get() > 0.05, "{last:?}");
}

#[test]
fn without_a_promise_nothing_is_sized() {
    let mut sizings = Sizings::default();
    let share = ScaleTarget::Cpu(Ratio::saturating(0.7));
    tell(
        &mut sizings,
        second(0),
        vec![container("web-0", share, second(-9_000))],
    );
    for at in 0..100 {
        let sized = sizings.observe(&load(second(at), 100.0, 1, 0.0));
        assert_eq!(sized, Sized::default());
    }
    let mut unknown = Sizings::default();
    let all = vec![container("web-0", promise(), second(-9_000))];
    unknown.inventory(&inventory(second(0), all), |_| false);
    assert_eq!(unknown, Sizings::default(), "another partition's");
}

#[test]
fn starts_that_are_seen_are_learnt() {
    let mut sizings = promised(1);
    let mut young = container("web-9", promise(), second(10));
    young.health = HealthState::Starting;
    let old = || container("web-0", promise(), second(-9_000));
    for at in [12, 17, 22] {
        tell(&mut sizings, second(at), vec![old(), young.clone()]);
    }
    young.health = HealthState::Healthy;
    tell(&mut sizings, second(47), vec![old(), young.clone()]);
    let sized = sizings.observe(&load(second(48), 100.0, 2, 0.0));
    assert_eq!(
        sized.startup_s,
        Some(42),
        "37 and the time until it is made"
    );
    // It starts again, and that takes longer; the first start counts.
    young.health = HealthState::Starting;
    young.started_at = Some(second(100));
    tell(&mut sizings, second(101), vec![old(), young.clone()]);
    young.health = HealthState::Healthy;
    tell(&mut sizings, second(400), vec![old(), young]);
    let sized = sizings.observe(&load(second(401), 100.0, 2, 0.0));
    assert_eq!(sized.startup_s, Some(42));
}

#[test]
fn another_range_keeps_what_was_learnt() {
    let mut sizings = promised(1);
    for at in 0..200 {
        sizings.observe(&load(second(at), around(2_000.0, at), 1, 0.0));
    }
    let mut narrow = container("web-0", promise(), second(-9_000));
    narrow.policy.scale = Some(ScalePolicy {
        min: 2,
        max: 3,
        target: promise(),
    });
    tell(&mut sizings, second(200), vec![narrow]);
    let mut last = None;
    for at in 200..215 {
        last = sizings
            .observe(&load(second(at), around(2_000.0, at), 1, 0.0))
            .sizing;
        assert!(last.is_some(), "{at}");
    }
    assert_eq!(last.unwrap().replicas, 3, "the most there may be");
}

#[test]
fn services_and_replicas_that_are_gone_are_forgotten() {
    let mut sizings = promised(3);
    tell(&mut sizings, second(5), Vec::new());
    assert_eq!(sizings, Sizings::default());
    let mut sizings = promised(3);
    sizings.retain(|_| false);
    assert_eq!(sizings, Sizings::default());
}

#[test]
fn a_silence_and_a_clock_set_back_do_not_end_it() {
    let mut sizings = promised(2);
    let mut asked = 0;
    for at in (0..120).chain(4_000..4_100).chain(50..200) {
        let sized = sizings.observe(&load(second(at), around(600.0, at), 2, 0.0));
        asked += u32::from(sized.sizing.is_some());
    }
    assert_eq!(asked, 51 + 100 + 150);
    let broken = load(second(300), f64::NAN, 2, 0.0);
    assert_eq!(sizings.observe(&broken).sizing, None);
}

#[test]
fn written_and_read_back_it_goes_on_as_before() {
    let mut one = promised(2);
    for at in 0..900 {
        one.observe(&load(second(at), around(700.0, at), 2, 0.0));
    }
    let state = postcard::to_stdvec(&one).unwrap();
    assert!(state.len() < 64 * 1024, "{} bytes", state.len());
    let mut other: Sizings = postcard::from_bytes(&state).unwrap();
    assert_eq!(one, other);
    for at in 900..1_800 {
        let load = load(second(at), around(700.0, at), 2, 0.0);
        assert_eq!(one.observe(&load), other.observe(&load), "{at}");
    }
    assert_eq!(one, other);
}
