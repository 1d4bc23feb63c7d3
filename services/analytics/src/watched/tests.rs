use units::{
    Bytes, ContainerName, ContainerRecord, EngineInfo, Limits, MetricRow, MetricTarget, Millicores,
    NodeCapacity, Policy, ScalePolicy,
};

use super::*;

fn second(second: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + second * 1_000)
}

fn record(name: &str, service: &str, of: Option<&str>, metric: &str) -> ContainerRecord {
    let target = MetricTarget {
        service: of.map(ServiceId::from),
        metric: SeriesSelector::parse(metric).unwrap(),
        per_replica: 10.0,
    };
    ContainerRecord {
        id: ContainerId::from(name),
        name: ContainerName::from(name),
        service: ServiceId::from(service),
        image: "app:1".to_owned(),
        state: ContainerState::Running,
        health: HealthState::None,
        restarts: 0,
        created_at: None,
        started_at: None,
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy {
            scale: Some(ScalePolicy {
                min: 1,
                max: 8,
                target: ScaleTarget::Metric(Box::new(target)),
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

fn inventory(containers: Vec<ContainerRecord>) -> NodeInventory {
    NodeInventory {
        node: NodeId::from("a"),
        at: second(0),
        steady: None,
        capacity: NodeCapacity {
            cpu: Millicores(8_000),
            memory: Bytes(1 << 34),
        },
        facts: units::NodeFacts::default(),
        engine: EngineInfo::default(),
        containers,
    }
}

fn asking(of: Option<&str>, metric: &str) -> Watched {
    let mut watched = Watched::default();
    watched.inventory(&inventory(vec![record("web-1", "web", of, metric)]), |_| {
        true
    });
    watched
}

fn sample(watched: &mut Watched, service: &str, name: &str, at: i64, health: HealthState) {
    watched.sample(&Sample {
        at: second(at),
        steady: Steady::from_millis(at as u64 * 1_000),
        node: NodeId::from("a"),
        service: ServiceId::from(service),
        container: ContainerId::from(name),
        name: ContainerName::from(name),
        state: ContainerState::Running,
        health,
        metrics: MetricRow::default(),
    });
}

fn point(
    service: &str,
    name: &str,
    at: i64,
    (metric, labels, kind): (&str, &str, SeriesKind),
    value: f64,
) -> Point {
    Point {
        at: second(at),
        steady: Steady::from_millis(at as u64 * 1_000),
        node: NodeId::from("a"),
        service: Some(ServiceId::from(service)),
        container: Some(ContainerId::from(name)),
        name: metric.to_owned(),
        labels: labels.to_owned(),
        kind,
        value,
    }
}

const BUSY: (&str, &str, SeriesKind) = ("in_flight", "", SeriesKind::Gauge);
const ASKED: (&str, &str, SeriesKind) = ("asked_total", "code=\"200\"", SeriesKind::Unknown);
const FAILED: (&str, &str, SeriesKind) = ("asked_total", "code=\"500\"", SeriesKind::Counter);

fn load(watched: &mut Watched, service: &str, at: i64) -> Option<MetricLoad> {
    watched.loads(&ServiceId::from(service), second(at)).pop()
}

#[test]
fn a_gauge_is_summed_over_labels_and_ready_containers() {
    let mut watched = asking(None, "in_flight");
    for name in ["web-1", "web-2"] {
        sample(&mut watched, "web", name, 10, HealthState::Healthy);
    }
    sample(&mut watched, "web", "web-3", 10, HealthState::Starting);
    let one = ("in_flight", "path=\"/a\"", SeriesKind::Gauge);
    let points = [
        point("web", "web-1", 9, BUSY, 4.0),
        point("web", "web-1", 9, one, 2.0),
        point("web", "web-2", 10, BUSY, 5.0),
        point("web", "web-3", 10, BUSY, 90.0),
        point("web", "web-2", 10, ("other", "", SeriesKind::Gauge), 7.0),
    ];
    assert!(watched.follows(&points[0]) && !watched.follows(&points[4]));
    watched.points(&points);
    let load = load(&mut watched, "web", 10).unwrap();
    assert_eq!(
        (load.total, load.containers, load.missing),
        (11.0, 2, 0),
        "{load:?}"
    );
    assert_eq!((load.at, load.unit), (second(10), LoadUnit::Level));
}

#[test]
fn a_counter_is_a_rate_and_a_restart_of_it_none() {
    let mut watched = asking(None, "asked_total");
    let mut at = |second, good, bad| {
        sample(&mut watched, "web", "web-1", second, HealthState::None);
        watched.points(&[
            point("web", "web-1", second, ASKED, good),
            point("web", "web-1", second, FAILED, bad),
        ]);
        load(&mut watched, "web", second)
    };
    assert_eq!(at(0, 1_000.0, 10.0), None, "no rate is known of one page");
    let load = at(10, 1_200.0, 15.0).unwrap();
    assert_eq!((load.total, load.unit), (20.5, LoadUnit::PerSecond));
    // It began anew: the rate of before stands until the next page.
    assert_eq!(at(20, 3.0, 0.0).unwrap().total, 20.5);
    assert_eq!(at(30, 103.0, 0.0).unwrap().total, 10.0);
}

#[test]
fn what_a_ready_container_does_not_tell_is_missing_and_no_zero() {
    let mut watched = asking(None, "in_flight");
    for at in [0, 15, 30] {
        for name in ["web-1", "web-2"] {
            sample(&mut watched, "web", name, at, HealthState::None);
        }
        watched.points(&[point("web", "web-1", at, BUSY, 40.0)]);
        let load = load(&mut watched, "web", at).unwrap();
        assert_eq!((load.total, load.containers, load.missing), (40.0, 1, 1));
    }
    for name in ["web-1", "web-2"] {
        sample(&mut watched, "web", name, 200, HealthState::None);
    }
    assert_eq!(
        load(&mut watched, "web", 200),
        None,
        "an old number is none"
    );
}

#[test]
fn a_container_that_tells_again_is_no_rise_of_the_load() {
    let mut watched = asking(None, "in_flight");
    let mut last = None;
    for at in 0..12 {
        let at = at * 15;
        for name in ["web-1", "web-2"] {
            sample(&mut watched, "web", name, at, HealthState::None);
        }
        let mut points = vec![point("web", "web-1", at, BUSY, 40.0)];
        if at >= 150 {
            points.push(point("web", "web-2", at, BUSY, 40.0));
        }
        watched.points(&points);
        last = load(&mut watched, "web", at);
    }
    let last = last.unwrap();
    assert_eq!((last.total, last.missing), (80.0, 0));
    assert_eq!(last.points[2].expected, 80.0, "{last:?}");
}

#[test]
fn another_service_is_asked_for_what_it_tells_while_somebody_asks() {
    let mut watched = asking(Some("queue"), "in_flight");
    sample(&mut watched, "queue", "queue-1", 0, HealthState::None);
    watched.points(&[
        point("queue", "queue-1", 0, BUSY, 0.0),
        point("web", "web-1", 0, BUSY, 3.0),
    ]);
    assert_eq!(load(&mut watched, "queue", 0).unwrap().total, 0.0);
    assert_eq!(load(&mut watched, "web", 0), None);
    watched.inventory(&inventory(Vec::new()), |_| true);
    assert_eq!(watched, Watched::default());
    let mut elsewhere = Watched::default();
    let asks = inventory(vec![record("web-1", "web", Some("queue"), "in_flight")]);
    elsewhere.inventory(&asks, |service| service.as_str() == "web");
    assert_eq!(elsewhere, Watched::default(), "another partition's");
    watched.inventory(&asks, |_| true);
    watched.node_removed(&NodeId::from("a"));
    assert_eq!(watched, Watched::default());
}

proptest::proptest! {
    #[test]
    fn a_total_is_the_sum_of_what_is_told_and_never_made_up(
        told in proptest::collection::vec(proptest::option::of(0.0f64..1e6), 1..12),
        at in 0i64..20,
    ) {
        let mut watched = asking(None, "in_flight");
        let mut points = Vec::new();
        for (number, value) in told.iter().enumerate() {
            let name = format!("web-{number}");
            sample(&mut watched, "web", &name, at, HealthState::None);
            points.extend(value.map(|value| point("web", &name, at, BUSY, value)));
        }
        watched.points(&points);
        let load = load(&mut watched, "web", at);
        let known: Vec<f64> = told.iter().flatten().copied().collect();
        proptest::prop_assert_eq!(load.is_some(), !known.is_empty());
        if let Some(load) = load {
            let sum: f64 = known.iter().sum();
            proptest::prop_assert!((load.total - sum).abs() <= 1e-6 * sum.max(1.0));
            proptest::prop_assert_eq!(load.containers as usize, known.len());
            proptest::prop_assert_eq!(load.missing as usize, told.len() - known.len());
        }
    }
}
