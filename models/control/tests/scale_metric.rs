//! Replicas by what the pages of containers tell: by their own series, and by another service's.
#![allow(clippy::unwrap_used)]

mod world;

use proptest::prelude::*;
use units::{ActionKind, HealthState, Phase, ServiceId, VerdictKind};
use world::{World, acting, counted_by, secs};

const REQUESTS: &str = "metric:http_requests_total=50";
const WAITING: &str = "metric@queue:jobs_waiting=100";

/// One replica that may carry 50 requests a second.
fn asked() -> World {
    World::new(acting())
        .with("a", "web-1", "web", counted_by(REQUESTS, 1, 6))
        .leading()
}

/// One worker for a hundred jobs each, and a queue that tells how many wait.
fn working() -> World {
    World::new(acting())
        .with("a", "worker-1", "worker", counted_by(WAITING, 1, 8))
        .with("b", "queue-1", "queue", world::policy(None))
        .leading()
}

/// Pages are read every five seconds, for so many readings, by all replicas.
fn requests(world: &mut World, a_second: f64, readings: u32) {
    for _ in 0..readings {
        world.pass(secs(5));
        let ready = u32::try_from(world.replicas("web")).unwrap();
        world.load_told("web", "http_requests_total", a_second, (ready, ready));
    }
}

fn waiting(world: &mut World, jobs: f64, readings: u32) {
    for _ in 0..readings {
        world.pass(secs(5));
        world.load_told("queue", "jobs_waiting", jobs, (1, 1));
    }
}

/// What keeps a service as it is, by kind of action.
fn why_not(world: &World, service: &str, kind: ActionKind) -> String {
    let reasons = world.core.why_not(&ServiceId::from(service), world.now);
    let texts = reasons.unwrap().into_iter();
    let of = texts.filter(|reason| reason.action == Some(kind));
    of.map(|reason| reason.text).collect::<Vec<_>>().join("; ")
}

#[test]
fn two_readings_that_agree_add_what_is_needed_and_name_it() {
    let mut world = asked();
    requests(&mut world, 40.0, 5);
    requests(&mut world, 90.0, 1);
    assert!(world.commands.is_empty(), "one reading is not enough");
    // The same reading told again is not a second one.
    let told = world.forecasts.last().unwrap().clone();
    world.pass(secs(1));
    let again = units::Forecast {
        at: world.now,
        ..told
    };
    world.tell(control::Event::Forecast(Box::new(again)));
    assert!(world.commands.is_empty(), "nor is its repetition");
    requests(&mut world, 90.0, 1);
    assert_eq!(world.sent(), ["add replica web-1-r1"]);
    let plan = &world.last().plan;
    let reason = &plan.cause.reason;
    assert!(
        reason.contains("http_requests_total of web is 90/s, and 90/s is expected in 30 s; 1 replicas of web carry 50/s, 50/s each"),
        "{reason}"
    );
    let expected = &plan.expected.text;
    assert!(expected.contains("from 90/s to about 45/s"), "{expected}");
    world.actuate();
    requests(&mut world, 90.0, 4);
    let verdict = world.last().verdict.clone().unwrap();
    assert_eq!(verdict.kind, VerdictKind::Helped, "{}", verdict.reason);
    assert!(
        verdict.reason.contains("45/s for each"),
        "{}",
        verdict.reason
    );
    assert_eq!(world.commands.len(), 1);
}

#[test]
fn no_step_more_than_doubles_and_a_load_near_the_target_changes_nothing() {
    let mut world = asked();
    requests(&mut world, 54.0, 10);
    assert!(world.commands.is_empty(), "8 % above what it is to carry");
    requests(&mut world, 5_000.0, 2);
    assert_eq!(world.count(ActionKind::CreateReplica), 1);
    world.actuate();
    requests(&mut world, 5_000.0, 4);
    assert_eq!(world.count(ActionKind::CreateReplica), 3);
    world.actuate();
    requests(&mut world, 5_000.0, 6);
    world.actuate();
    requests(&mut world, 5_000.0, 100);
    world.actuate();
    assert_eq!(world.replicas("web"), 6, "the most");
}

#[test]
fn one_goes_after_a_whole_window_of_less() {
    let mut world = asked();
    requests(&mut world, 90.0, 2);
    world.actuate();
    requests(&mut world, 90.0, 4);
    requests(&mut world, 40.0, 58);
    assert_eq!(world.count(ActionKind::RemoveReplica), 0);
    requests(&mut world, 40.0, 8);
    assert_eq!(world.count(ActionKind::RemoveReplica), 1);
    let reason = world.last().plan.cause.reason.clone();
    assert!(
        reason.contains("http_requests_total of web was 40/s at most"),
        "{reason}"
    );
    world.actuate();
    requests(&mut world, 40.0, 40);
    assert_eq!(
        world.last().verdict.as_ref().unwrap().kind,
        VerdictKind::Helped
    );
}

#[test]
fn a_replica_that_does_not_tell_or_does_not_serve_keeps_all() {
    let mut world = asked();
    requests(&mut world, 90.0, 2);
    world.actuate();
    requests(&mut world, 90.0, 4);
    for _ in 0..120 {
        world.pass(secs(5));
        world.load_told("web", "http_requests_total", 10.0, (1, 2));
    }
    assert_eq!(world.count(ActionKind::RemoveReplica), 0);
    let said = why_not(&world, "web", ActionKind::RemoveReplica);
    assert!(
        said.contains("1 of the 2 ready containers of web did not tell http_requests_total"),
        "{said}"
    );
    world.container("web-1-r1").health = HealthState::Unhealthy;
    for _ in 0..120 {
        world.pass(secs(5));
        world.load_told("web", "http_requests_total", 10.0, (1, 1));
    }
    assert_eq!(world.count(ActionKind::RemoveReplica), 0);
    let said = why_not(&world, "web", ActionKind::RemoveReplica);
    assert!(said.contains("not all of its replicas serve"), "{said}");
}

#[test]
fn a_series_that_is_not_told_moves_nothing_whatever_the_cpu_does() {
    let mut world = asked();
    let said = why_not(&world, "web", ActionKind::CreateReplica);
    assert!(
        said.contains("no ready container of web has told http_requests_total"),
        "{said}"
    );
    world.carry("web", 249.0, 0.6, 60);
    assert!(world.commands.is_empty(), "{:?}", world.sent());
    requests(&mut world, 90.0, 2);
    world.actuate();
    requests(&mut world, 90.0, 4);
    let before = world.commands.len();
    world.carry("web", 10.0, 0.0, 900);
    assert_eq!(world.commands.len(), before, "missing is no zero");
    let said = why_not(&world, "web", ActionKind::RemoveReplica);
    assert!(
        said.contains("the newest http_requests_total of web is"),
        "{said}"
    );
}

#[test]
fn workers_follow_a_queue_that_another_service_tells() {
    let mut world = working();
    waiting(&mut world, 80.0, 5);
    assert!(world.commands.is_empty());
    waiting(&mut world, 390.0, 2);
    assert_eq!(
        world.sent(),
        ["add replica worker-1-r1"],
        "never more than twice as many"
    );
    let reason = world.last().plan.cause.reason.clone();
    assert!(reason.contains("jobs_waiting of queue is 390"), "{reason}");
    assert_eq!(world.last().plan.service, ServiceId::from("worker"));
    world.actuate();
    waiting(&mut world, 390.0, 4);
    let helped = world.in_phase(Phase::Judged);
    let verdict = helped[0].verdict.clone().unwrap();
    assert_eq!(verdict.kind, VerdictKind::Helped, "{}", verdict.reason);
    assert!(
        verdict.reason.contains("fell from 390 to 195"),
        "{}",
        verdict.reason
    );
    assert_eq!(world.count(ActionKind::CreateReplica), 3);
    world.actuate();
    assert_eq!(world.replicas("worker"), 4);
    waiting(&mut world, 0.0, 70);
    assert_eq!(world.count(ActionKind::RemoveReplica), 1);
}

#[test]
fn a_leader_that_takes_over_decides_from_the_same_readings() {
    let mut world = working();
    waiting(&mut world, 390.0, 1);
    world.take_over();
    assert!(world.commands.is_empty());
    waiting(&mut world, 390.0, 1);
    assert_eq!(world.sent(), ["add replica worker-1-r1"]);
}

#[test]
fn a_latency_that_replicas_do_not_divide_stops_at_the_most() {
    let policy = counted_by("metric:wait_seconds{quantile=\"0.99\"}=0.2", 1, 4);
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy)
        .leading();
    for _ in 0..200 {
        world.pass(secs(5));
        let ready = u32::try_from(world.replicas("web")).unwrap();
        let total = 0.5 * f64::from(ready);
        world.load_told(
            "web",
            "wait_seconds{quantile=\"0.99\"}",
            total,
            (ready, ready),
        );
        world.actuate();
    }
    assert!(world.replicas("web") <= 4);
    let judged = world.in_phase(Phase::Judged);
    let first = judged[0].verdict.clone().unwrap();
    assert_eq!(first.kind, VerdictKind::NoEffect, "{}", first.reason);
    assert!(
        first.reason.contains("0.5 for each replica of web"),
        "{}",
        first.reason
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is told and whatever is missing: the range holds, no step more than doubles, and nothing goes while something is missing.
    #[test]
    fn the_range_and_the_step_hold_for_any_load(
        readings in proptest::collection::vec((0.0f64..2_000.0, 0u32..3), 1..60),
    ) {
        let mut world = asked();
        for (total, missing) in readings {
            world.pass(secs(5));
            let ready = u32::try_from(world.replicas("web")).unwrap();
            let missing = missing.min(ready - 1);
            let before = (world.commands.len(), world.count(ActionKind::RemoveReplica));
            world.load_told("web", "http_requests_total", total, (ready - missing, ready));
            let made = world.commands.len() - before.0;
            prop_assert!(made <= ready.max(1) as usize);
            if missing > 0 {
                prop_assert_eq!(world.count(ActionKind::RemoveReplica), before.1);
            }
            world.actuate();
            prop_assert!((1..=6).contains(&world.replicas("web")));
        }
    }
}
