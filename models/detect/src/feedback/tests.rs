//! The bar as numbers, and what a gate makes of it.

use proptest::prelude::*;
use units::{ContainerId, ContainerName, Evidence, Ratio, Signal, SignalPhase};

use super::*;
use crate::clock::Moment;
use crate::gate::{Gates, Proof, Reading, Scene};
use crate::testing::{Machine, World};
use crate::{Detector, NodeWatch, Settings};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const RULE: Confirmation = Confirmation {
    needed: 8,
    of: 10,
    calm: 3,
};

fn container(service: &str, id: &str) -> Subject {
    Subject::container(
        ServiceId::from(service),
        NodeId::from("node-a"),
        ContainerId::from(id),
        ContainerName::from("web-1"),
    )
}

/// A dismissal of a signal that showed `observed` where at most 1 was expected.
fn dismissal(kind: SignalKind, subject: Subject, observed: f64, at: Timestamp) -> Feedback {
    let fingerprint = subject.fingerprint(kind);
    Feedback {
        signal: SignalId::of(&fingerprint, at),
        fingerprint,
        kind,
        subject,
        severity: Severity::Info,
        opinion: Opinion::Dismissed,
        at,
        because: None,
        evidence: vec![Evidence {
            feature: "cpu".to_owned(),
            metric: None,
            unit: "cores".to_owned(),
            observed,
            expected_low: 0.0,
            expected_high: 1.0,
            since: at,
        }],
    }
}

fn bar(kind: SignalKind, times: i64) -> Bar {
    let mut bars = Bars::default();
    for second in 0..times {
        let at = NOW + Duration::from_secs(second as u64);
        bars.take(&dismissal(kind, container("web", "a"), 3.0, at));
    }
    let subject = container("web", "another");
    bars.of(kind, &subject, NOW).unwrap().clone()
}

fn finding(severity: Severity, observed: f64) -> Finding {
    Finding {
        severity,
        score: Ratio::saturating(0.99),
        confidence: units::Confidence::Low,
        reason: "it is so".to_owned(),
        proofs: vec![Proof::derived("cpu", "cores", observed, (0.0, 1.0))],
    }
}

/// The reading at which it opens when each shows this.
fn opens_at(gates: &mut Gates, kind: SignalKind, severity: Severity, observed: f64) -> Option<u64> {
    (1..=200).find(|second| {
        let scene = Scene {
            now: Moment::of(NOW + Duration::from_secs(*second)),
            subject: container("web", "a"),
            traceparent: None,
            update_every: Duration::from_secs(30),
        };
        let reading = Reading::Violates(finding(severity, observed));
        gates.step(kind, reading, RULE, &scene).is_some()
    })
}

fn opens_behind(bar: Option<&Bar>, severity: Severity, observed: f64) -> Option<u64> {
    let mut gates = Gates::default();
    let kind = bar.map_or(SignalKind::CpuAnomaly, |bar| bar.kind);
    bar.into_iter().for_each(|bar| gates.raise(bar));
    opens_at(&mut gates, kind, severity, observed)
}

#[test]
fn each_dismissal_raises_the_bar_up_to_its_most_and_time_lowers_it() {
    let heights = [1, 2, 4, 9].map(|times| bar(SignalKind::CpuAnomaly, times).height(NOW).round());
    assert_eq!(heights, [1.0, 2.0, 4.0, HEIGHT_MAX]);
    let once = bar(SignalKind::CpuAnomaly, 1);
    assert!((once.height(NOW + HALF_LIFE) - 0.5).abs() < 1e-9);
    assert_eq!(once.until(), NOW + DAY * 6);
    assert!(once.stands(NOW + DAY * 5) && !once.stands(NOW + DAY * 6));
    assert!(!bar(SignalKind::CpuAnomaly, 9).stands(NOW + DAY * 13));
}

#[test]
fn a_deviation_must_last_longer_and_lie_further_out() {
    assert_eq!(opens_behind(None, Severity::Info, 3.0), Some(8));
    let once = bar(SignalKind::CpuAnomaly, 1);
    assert_eq!(opens_behind(Some(&once), Severity::Info, 3.0), None);
    assert_eq!(opens_behind(Some(&once), Severity::Info, 3.9), None);
    assert_eq!(opens_behind(Some(&once), Severity::Info, 4.0), Some(16));
    let often = bar(SignalKind::CpuAnomaly, 9);
    assert_eq!(opens_behind(Some(&often), Severity::Info, 6.9), None);
    assert_eq!(opens_behind(Some(&often), Severity::Info, 7.0), Some(40));
}

#[test]
fn facts_and_what_is_critical_still_open_however_often_they_were_dismissed() {
    for kind in SignalKind::ALL {
        let often = bar(kind, 50);
        let opened = opens_behind(Some(&often), Severity::Critical, 1.01);
        assert!(opened.is_some_and(|second| second <= 40), "{kind}");
    }
    for kind in [
        SignalKind::CrashLoop,
        SignalKind::Unhealthy,
        SignalKind::TelemetryMissing,
    ] {
        let opened = opens_behind(Some(&bar(kind, 50)), Severity::Info, 1.01);
        assert!(opened.is_some(), "{kind}");
        let usual = Confirmation {
            needed: 1,
            of: 1,
            calm: 1,
        };
        let most = bar(kind, 50).confirmation(usual, NOW);
        assert_eq!((most.needed, most.of), (21, 64), "{kind}");
    }
}

#[test]
fn an_open_signal_stays_open_and_what_is_held_back_still_stirs() {
    let mut gates = Gates::default();
    let kind = SignalKind::CpuAnomaly;
    assert!(opens_at(&mut gates, kind, Severity::Info, 3.0).is_some());
    gates.raise(&bar(kind, 1));
    assert!(gates.is_open(kind));

    let mut gates = Gates::default();
    gates.raise(&bar(kind, 1));
    assert_eq!(opens_at(&mut gates, kind, Severity::Info, 3.0), None);
    assert!(gates.is_stirring(kind) && !gates.is_open(kind));
}

#[test]
fn acknowledgements_repeats_and_older_records_raise_nothing() {
    let mut bars = Bars::default();
    let first = dismissal(SignalKind::CpuAnomaly, container("web", "a"), 3.0, NOW);
    let ack = Feedback {
        opinion: Opinion::Acknowledged,
        ..first.clone()
    };
    assert_eq!(bars.take(&ack), None);
    assert!(bars.take(&first).is_some());
    let again = Feedback {
        at: NOW + DAY,
        ..first.clone()
    };
    let older = dismissal(
        SignalKind::CpuAnomaly,
        container("web", "b"),
        3.0,
        NOW - DAY,
    );
    for nothing in [&first, &again, &older] {
        assert_eq!(bars.take(nothing), None);
    }
    let (other_kind, other_service) = (
        bars.of(SignalKind::IoAnomaly, &container("web", "a"), NOW),
        bars.of(SignalKind::CpuAnomaly, &container("db", "a"), NOW),
    );
    assert_eq!((other_kind, other_service), (None, None));
}

#[test]
fn bars_are_bounded() {
    let mut bars = Bars::default();
    for number in 0..2 * BARS_MAX {
        let subject = Subject::service(ServiceId::new(format!("service-{number}")));
        let at = NOW + Duration::from_secs(number as u64);
        bars.take(&dismissal(SignalKind::Overload, subject, 2.0, at));
    }
    assert_eq!(bars.0.len(), BARS_MAX);
    let newest = Subject::service(ServiceId::new(format!("service-{}", 2 * BARS_MAX - 1)));
    assert!(bars.of(SignalKind::Overload, &newest, NOW).is_some());
    bars.prune_nodes(NOW + DAY * 30);
    assert_eq!(bars.0.len(), BARS_MAX);
    bars.prune_services(NOW + DAY * 30);
    assert_eq!(bars, Bars::default());
}

#[test]
fn distance_is_in_times_the_bound_that_was_crossed() {
    let shown = [
        (3.0, (0.0, 1.0)),
        (0.5, (0.0, 1.0)),
        (5.0, (0.0, 0.0)),
        (1.0, (4.0, 8.0)),
        (0.0, (4.0, 8.0)),
        (f64::NAN, (0.0, 1.0)),
        (f64::INFINITY, (0.0, 1.0)),
    ]
    .map(|(observed, expected)| distance(observed, expected));
    assert_eq!(shown, [2.0, 0.0, 5.0, 3.0, DISTANCE_MAX, 0.0, DISTANCE_MAX]);
}

#[test]
fn a_deviation_says_what_else_strays_and_no_more_than_three_numbers_are_told() {
    let mut world = World::new(11, vec![Machine::traffic()]);
    world.run(200);
    let traffic = world.machine("demo-traffic");
    traffic.requests_per_s = 4_000.0;
    traffic.idle_cores = 0.6;
    traffic.memory = 40.0 * 1024.0 * 1024.0;
    let (_, open) = world.run_until(SignalKind::CpuAnomaly, SignalPhase::Open);
    let features: Vec<&str> = open.evidence.iter().map(|it| &*it.feature).collect();
    assert_eq!(features.len(), 3, "{features:?}");
    assert_eq!(features[0], units::Metric::CpuUsage.column());
}

/// A world whose worker had one busy spell, which was dismissed.
fn dismissed_world() -> (World, Signal) {
    let mut sibling = Machine::worker();
    sibling.name = "demo-sibling";
    let machines = vec![Machine::worker(), sibling, Machine::traffic()];
    let mut world = World::new(11, machines);
    world.run(200);
    world.machine("demo-worker").idle_cores = 0.6;
    let (_, open) = world.run_until(SignalKind::CpuAnomaly, SignalPhase::Open);
    world.machine("demo-worker").idle_cores = 0.05;
    world.run_until(SignalKind::CpuAnomaly, SignalPhase::Resolve);
    let dismissed = Feedback::of(&open, Opinion::Dismissed, world.at, None);
    world.detector.feedback(&dismissed);
    (world, open)
}

fn opened(signals: &[Signal]) -> Vec<(SignalKind, String)> {
    let opened = signals.iter().filter(|it| it.phase == SignalPhase::Open);
    opened.map(|it| (it.kind, it.subject.to_string())).collect()
}

#[test]
fn the_same_again_is_not_told_and_more_of_it_is() {
    let (mut world, _) = dismissed_world();
    assert_eq!(world.detector.counts().bars, 1);
    world.machine("demo-worker").idle_cores = 0.6;
    assert_eq!(opened(&world.run(60)), []);
    world.machine("demo-worker").idle_cores = 0.05;
    world.run(60);
    world.machine("demo-worker").idle_cores = 3.0;
    let told = opened(&world.run(60));
    assert_eq!(told, [(SignalKind::CpuAnomaly, "demo-worker".to_owned())]);
}

#[test]
fn a_container_made_anew_keeps_the_bar_and_others_have_none() {
    let (mut world, _) = dismissed_world();
    let mut anew = Machine::worker();
    anew.name = "demo-worker-anew";
    world.machines[0] = anew;
    world.run(200);
    world.machine("demo-worker-anew").idle_cores = 0.6;
    assert_eq!(opened(&world.run(60)), []);
    for other in ["demo-sibling", "demo-traffic"] {
        world.machine(other).idle_cores = 0.6;
        let told = opened(&world.run(60));
        assert_eq!(told, [(SignalKind::CpuAnomaly, other.to_owned())]);
    }
}

#[test]
fn a_detector_that_was_written_and_read_back_tells_the_same_behind_its_bars() {
    let (mut world, open) = dismissed_world();
    let bytes = postcard::to_stdvec(&world.detector).unwrap();
    let copy: Detector = postcard::from_bytes(&bytes).unwrap();
    let mut copy = copy.with_settings(Settings::default());
    assert_eq!(copy, world.detector);
    copy.feedback(&Feedback::of(&open, Opinion::Dismissed, world.at, None));
    assert_eq!(copy, world.detector, "the feedback is read again");
    world.machine("demo-worker").idle_cores = 3.0;
    let mut told = 0;
    for _ in 0..60 {
        let step = world.second();
        told += step.signals.len();
        assert_eq!(copy.samples(&world.batch, Some("00-trace")), step);
    }
    assert!(told > 0);
}

#[test]
fn feedback_may_come_before_its_subject_and_the_bar_goes_in_time() {
    let mut detector = Detector::new(Settings::default());
    let dismissed = dismissal(SignalKind::CpuAnomaly, container("worker", "x"), 3.0, NOW);
    detector.feedback(&dismissed);
    assert_eq!(detector.counts().bars, 0);
    let mut world = World::new(5, vec![Machine::worker()]);
    world.detector = detector;
    world.run(2);
    assert_eq!(world.detector.counts().bars, 1);
    world.at = world.at + DAY * 7;
    world.steady = world.steady + DAY * 7;
    world.run(2);
    assert_eq!(world.detector.counts().bars, 0);
}

#[test]
fn a_silent_node_is_told_later_and_told() {
    let mut detector = Detector::new(Settings::default());
    let node = Subject::node(NodeId::from("node-a"));
    for second in 0..50 {
        let at = NOW + Duration::from_secs(second);
        let silent = dismissal(SignalKind::TelemetryMissing, node.clone(), 9.0, at);
        detector.feedback(&silent);
    }
    assert_eq!(detector.counts().node_bars, 1);
    let inventory = units::NodeInventory {
        node: NodeId::from("node-a"),
        at: NOW,
        steady: None,
        capacity: units::NodeCapacity::default(),
        engine: units::EngineInfo::default(),
        facts: units::NodeFacts::default(),
        containers: Vec::new(),
    };
    detector.inventory(NOW, &inventory, NodeWatch::Owner, crate::Stream::Live);
    let told = (1..120).find_map(|second| {
        let now = NOW + Duration::from_secs(second);
        let signals = detector.tick(now, |_| NodeWatch::Owner);
        let signal = signals.into_iter().next()?;
        Some((second, signal))
    });
    let (second, signal) = told.unwrap();
    assert_eq!((second, signal.phase), (30, SignalPhase::Open));
    let usual = NOW + Settings::default().telemetry_after;
    assert_eq!(signal.opened_at, usual, "its time is its own");
}

proptest! {
    #[test]
    fn whatever_the_numbers_a_bar_is_finite_and_sinks(
        dismissals in proptest::collection::vec((any::<f64>(), 0..1_000_000u64), 1..20),
        later in 0..2_000_000u64,
    ) {
        let mut bars = Bars::default();
        let mut at = NOW;
        for (observed, wait) in dismissals {
            at = at + Duration::from_secs(wait + 1);
            bars.take(&dismissal(SignalKind::CpuAnomaly, container("web", "a"), observed, at));
        }
        let subject = container("web", "a");
        let bar = bars.of(SignalKind::CpuAnomaly, &subject, at).unwrap();
        let (now, then) = (bar.height(at), bar.height(at + Duration::from_secs(later)));
        prop_assert!(now <= HEIGHT_MAX && then <= now);
        prop_assert!(bar.beyond(at).is_none_or(|it| (0.0..=DISTANCE_MAX).contains(&it)));
    }
}
