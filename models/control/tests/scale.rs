//! Replicas: added quickly, removed patiently, within what the labels allow.
#![allow(clippy::unwrap_used)]

mod world;

use units::{
    ActionKind, ContainerState, EventKind, HealthState, OutcomeResult, Phase, Severity, SignalKind,
    Subject, VerdictKind,
};
use world::{World, acting, policy, promising, secs};

/// One replica of 250 millicores, 1..4 at 70 %.
fn single() -> World {
    World::new(acting())
        .with("a", "web-1", "web", policy(Some((1, 4))))
        .leading()
}

/// Grown to two by load, and judged.
fn grown() -> World {
    let mut world = single();
    world.carry("web", 230.0, 0.0, 3);
    world.actuate();
    world.carry("web", 230.0, 0.0, 10);
    assert_eq!(world.last().phase, Phase::Judged);
    assert_eq!(world.replicas("web"), 2);
    world
}

#[test]
fn two_forecasts_in_agreement_add_what_the_load_needs() {
    let mut world = single();
    world.carry("web", 100.0, 0.0, 5);
    world.carry("web", 240.0, 0.0, 1);
    assert!(world.commands.is_empty(), "one forecast is not enough");
    world.carry("web", 240.0, 0.0, 1);
    assert_eq!(world.sent(), ["add replica web-1-r1"]);
    let plan = &world.last().plan;
    assert!(
        plan.cause.reason.contains("web uses 240m of CPU"),
        "{}",
        plan.cause.reason
    );
    world.carry("web", 240.0, 0.0, 5);
    assert_eq!(world.commands.len(), 1, "the one to come counts");
    world.actuate();
    world.carry("web", 240.0, 0.0, 10);
    let verdict = world.last().verdict.clone().unwrap();
    assert_eq!(verdict.kind, VerdictKind::Helped, "{}", verdict.reason);
    assert_eq!(world.commands.len(), 1);
}

#[test]
fn waiting_for_the_limit_proves_that_more_is_asked_for() {
    let mut world = single();
    world.carry("web", 180.0, 0.4, 2);
    assert_eq!(
        world.sent(),
        ["add replica web-1-r1"],
        "180m of 175m, but throttled"
    );
    world.actuate();
    // Twice the replicas carry twice as much, and still all they can.
    world.carry("web", 450.0, 0.4, 8);
    let helped = world.in_phase(Phase::Judged);
    assert!(
        helped[0]
            .verdict
            .as_ref()
            .unwrap()
            .reason
            .contains("carries 450m of CPU instead of 180m")
    );
    assert_eq!(
        world.count(ActionKind::CreateReplica),
        3,
        "at most twice as many in a step"
    );
    world.actuate();
    world.carry("web", 900.0, 0.4, 300);
    assert_eq!(world.replicas("web"), 4, "never more than the labels allow");
}

#[test]
fn a_load_near_the_target_changes_nothing() {
    let mut world = grown();
    let before = world.commands.len();
    for load in [330.0, 345.0, 365.0, 380.0] {
        world.carry("web", load, 0.0, 40);
    }
    assert_eq!(world.commands.len(), before);
}

#[test]
fn replicas_that_do_not_serve_yet_count_and_broken_ones_are_undone() {
    let mut world = single();
    world.carry("web", 240.0, 0.0, 2);
    world.actuate();
    world.container("web-1-r1").health = HealthState::Starting;
    world.carry("web", 245.0, 0.3, 100);
    assert_eq!(
        world.count(ActionKind::CreateReplica),
        1,
        "no second one while the first starts"
    );
    world.container("web-1-r1").state = ContainerState::Exited;
    world.carry("web", 245.0, 0.3, 25);
    let judged = world.in_phase(Phase::Judged);
    assert_eq!(judged[0].verdict.as_ref().unwrap().kind, VerdictKind::Worse);
    assert_eq!(
        world.count(ActionKind::RemoveReplica),
        1,
        "{:?}",
        world.sent()
    );
    let undo = world.in_phase(Phase::Decided).last().unwrap().plan.clone();
    assert_eq!(undo.undo_of.as_ref(), Some(&judged[0].plan.id));
}

#[test]
fn one_goes_after_a_whole_window_of_less_and_only_one_we_made() {
    let mut world = grown();
    world.carry("web", 100.0, 0.0, 280);
    assert_eq!(world.count(ActionKind::RemoveReplica), 0);
    world.carry("web", 100.0, 0.0, 40);
    assert_eq!(world.sent().last().unwrap(), "remove replica web-1-r1");
    world.actuate();
    world.carry("web", 100.0, 0.0, 1_000);
    assert_eq!(
        world.count(ActionKind::RemoveReplica),
        1,
        "web-1 is not ours to remove"
    );
    assert_eq!(
        world.last().verdict.as_ref().unwrap().kind,
        VerdictKind::Helped
    );
}

#[test]
fn a_gap_in_the_forecasts_begins_the_window_anew() {
    let mut world = grown();
    world.carry("web", 100.0, 0.0, 250);
    world.pass(secs(30));
    world.carry("web", 100.0, 0.0, 280);
    assert_eq!(world.count(ActionKind::RemoveReplica), 0);
    world.carry("web", 100.0, 0.0, 40);
    assert_eq!(world.count(ActionKind::RemoveReplica), 1);
}

#[test]
fn a_removal_that_brings_overload_is_undone_and_not_repeated_soon() {
    let mut world = grown();
    world.carry("web", 100.0, 0.0, 310);
    world.actuate();
    assert_eq!(world.replicas("web"), 1);
    world.carry("web", 110.0, 0.0, 10);
    let overload = world.open_about(
        SignalKind::Overload,
        Subject::service("web".into()),
        Severity::Critical,
    );
    let worse = world
        .in_phase(Phase::Judged)
        .last()
        .unwrap()
        .verdict
        .clone()
        .unwrap();
    assert_eq!(worse.kind, VerdictKind::Worse);
    assert_eq!(world.sent().last().unwrap(), "add replica web-1-r1");
    assert!(world.last().plan.undo_of.is_some());
    world.actuate();
    world.resolve(&overload);
    world.carry("web", 100.0, 0.0, 600);
    assert_eq!(world.count(ActionKind::RemoveReplica), 1);
    world.take_over();
    world.carry("web", 100.0, 0.0, 200);
    assert_eq!(
        world.count(ActionKind::RemoveReplica),
        1,
        "held, also by the next leader"
    );
    world.carry("web", 100.0, 0.0, 150);
    assert_eq!(world.count(ActionKind::RemoveReplica), 2, "15 min are over");
}

#[test]
fn a_deploy_is_not_load() {
    let mut world = single();
    world.carry("web", 100.0, 0.0, 5);
    world.happen("web-1", EventKind::Created);
    world.carry("web", 240.0, 0.0, 55);
    assert!(world.commands.is_empty());
    world.carry("web", 100.0, 0.0, 60);
    assert!(world.commands.is_empty());
}

#[test]
fn what_cannot_be_copied_is_said_once_an_hour() {
    let mut world = single();
    world.container("web-1").copy_obstacles = vec!["it publishes host port 80".to_owned()];
    world.tell_inventory();
    world.carry("web", 240.0, 0.0, 3_000);
    assert!(world.commands.is_empty());
    let said = world.in_phase(Phase::Suggested);
    assert_eq!(said.len(), 1);
    assert!(
        said[0]
            .plan
            .cause
            .reason
            .contains("it publishes host port 80")
    );
    world.carry("web", 240.0, 0.0, 700);
    assert_eq!(world.in_phase(Phase::Suggested).len(), 2);
}

#[test]
fn old_forecasts_move_nothing() {
    let mut world = single();
    world.load("web", 240.0, 0.0);
    world.pass(secs(11));
    world.tell_inventory();
    let stale = world.forecasts[0].clone();
    for step in 1..5_u64 {
        let mut forecast = stale.clone();
        forecast.at = stale.at + std::time::Duration::from_millis(step);
        world.tell(control::Event::Forecast(Box::new(forecast)));
    }
    assert!(world.commands.is_empty());
}

#[test]
fn what_would_be_wanted_is_known_where_nothing_is_done() {
    let mut world = World::new(control::Config::default())
        .with("a", "web-1", "web", policy(Some((1, 4))))
        .leading();
    world.carry("web", 240.0, 0.0, 3);
    let status = world.core.status();
    assert_eq!(
        (status.services[0].current, status.services[0].desired),
        (1, 2)
    );
    assert_eq!((status.fleet.up, status.fleet.silent), (1, 0));
    assert_eq!(status.fleet.containers[&ContainerState::Running], 1);
    assert!(world.journal.is_empty() && world.commands.is_empty());
}

#[test]
fn replicas_of_a_silent_node_are_no_reason_to_remove_another() {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy(Some((2, 4))))
        .with("b", "web-2", "web", policy(Some((2, 4))))
        .with("c", "db-1", "db", policy(None))
        .leading();
    world.carry("web", 400.0, 0.0, 3);
    world.actuate();
    world.carry("web", 400.0, 0.0, 10);
    assert_eq!(world.replicas("web"), 3);
    // The host dies: what it held does not serve, though nothing says so.
    world.nodes.remove(&units::NodeId::from("b"));
    world.carry("web", 100.0, 0.0, 400);
    assert_eq!(world.count(ActionKind::RemoveReplica), 0);
}

#[test]
fn a_replica_that_a_person_paused_is_not_removed_as_useless() {
    let mut world = single();
    world.carry("web", 230.0, 0.0, 3);
    world.actuate();
    let made = world.container("web-1-r1");
    made.health = HealthState::Starting;
    world.carry("web", 230.0, 0.0, 60);
    world.container("web-1-r1").state = ContainerState::Paused;
    world.carry("web", 230.0, 0.0, 200);
    assert_eq!(world.count(ActionKind::RemoveReplica), 0);
}

#[test]
fn replicas_that_give_samples_and_are_in_no_inventory_yet_are_not_added_again() {
    let mut world = single();
    // Three carry it, as the forecast tells, and the node of two of them has not spoken.
    for _ in 0..5 {
        world.pass(secs(1));
        world.load_of("web", 240.0, 3);
    }
    assert!(world.commands.is_empty(), "{:?}", world.sent());
    world.carry("web", 240.0, 0.0, 2);
    assert_eq!(world.sent(), ["add replica web-1-r1"]);
}

#[test]
fn one_that_ended_and_comes_back_leaves_no_room_above_the_most() {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy(Some((1, 2))))
        .with("a", "web-2", "web", policy(Some((1, 2))))
        .leading();
    let ended = world.now;
    let record = world.container("web-2");
    record.state = ContainerState::Exited;
    record.finished_at = Some(ended);
    world.carry("web", 400.0, 0.0, 30);
    assert!(world.commands.is_empty(), "{:?}", world.sent());
    world.container("web-2").state = ContainerState::Restarting;
    world.carry("web", 400.0, 0.0, 60);
    assert!(world.commands.is_empty(), "however long its backoff is");
    world.container("web-2").state = ContainerState::Exited;
    world.carry("web", 400.0, 0.0, 3);
    assert_eq!(world.sent(), ["add replica web-1-r1"], "nobody starts it");
}

#[test]
fn useless_replicas_that_were_just_started_again_get_their_time_to_serve() {
    let mut world = single();
    world.carry("web", 230.0, 0.0, 3);
    world.actuate();
    let started = world.now + secs(110);
    let replica = world.container("web-1-r1");
    replica.health = HealthState::Unhealthy;
    world.carry("web", 230.0, 0.0, 110);
    world.container("web-1-r1").started_at = Some(started);
    world.carry("web", 230.0, 0.0, 25);
    assert_eq!(
        world.count(ActionKind::RemoveReplica),
        0,
        "{:?}",
        world.sent()
    );
    world.carry("web", 230.0, 0.0, 20);
    assert_eq!(
        world.count(ActionKind::RemoveReplica),
        1,
        "{:?}",
        world.sent()
    );
}

fn promised() -> World {
    World::new(acting())
        .with("a", "web-1", "web", promising(1, 6))
        .leading()
}

fn carry_sized(world: &mut World, observed: f64, sized: u32, seconds: u64) {
    for _ in 0..seconds {
        world.pass(secs(1));
        world.load_sized("web", observed, sized);
    }
}

#[test]
fn replicas_follow_what_a_promise_needs_and_not_a_share() {
    let mut world = promised();
    // Nine tenths of one replica: the share of 70 % would ask for a second one, the promise does not.
    carry_sized(&mut world, 225.0, 1, 10);
    assert!(world.commands.is_empty());
    carry_sized(&mut world, 150.0, 2, 2);
    assert_eq!(world.sent(), ["add replica web-1-r1"]);
    let reason = world.last().plan.cause.reason.clone();
    assert!(
        reason.contains("2 replicas are worth their cost for a promise of 99.9%"),
        "{reason}"
    );
    world.actuate();
    carry_sized(&mut world, 150.0, 2, 10);
    assert_eq!(world.replicas("web"), 2);
    assert_eq!(world.commands.len(), 1);
}

#[test]
fn replicas_go_once_every_forecast_could_do_without() {
    let mut world = promised();
    // Never more than twice as many in a step.
    for _ in 0..2 {
        carry_sized(&mut world, 300.0, 3, 10);
        world.actuate();
    }
    carry_sized(&mut world, 300.0, 3, 150);
    assert_eq!(world.replicas("web"), 3);
    let made = world.commands.len();
    carry_sized(&mut world, 300.0, 2, 10);
    carry_sized(&mut world, 300.0, 3, 1);
    carry_sized(&mut world, 300.0, 2, 15);
    assert_eq!(world.commands.len(), made, "one of the last asked for all");
    carry_sized(&mut world, 300.0, 2, 5);
    assert_eq!(world.commands.len(), made + 1);
    assert_eq!(world.count(ActionKind::RemoveReplica), 1);
    let reason = world.last().plan.cause.reason.clone();
    assert!(reason.contains("for a promise of 99.9%"), "{reason}");
}

#[test]
fn none_goes_while_those_left_would_be_full() {
    let mut world = promised();
    carry_sized(&mut world, 460.0, 2, 3);
    world.actuate();
    // Of 500m that two carry; one carries 250m.
    carry_sized(&mut world, 240.0, 1, 400);
    assert_eq!(world.count(ActionKind::RemoveReplica), 0);
    carry_sized(&mut world, 200.0, 1, 100);
    assert_eq!(world.count(ActionKind::RemoveReplica), 1);
}

#[test]
fn until_a_number_is_known_a_share_is_kept() {
    let mut world = promised();
    world.carry("web", 240.0, 0.0, 2);
    assert_eq!(world.sent(), ["add replica web-1-r1"]);
}

#[test]
fn useless_replicas_are_removed_one_after_the_other() {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy(Some((1, 4))))
        .with("a", "web-2", "web", policy(Some((1, 4))))
        .leading();
    world.carry("web", 680.0, 0.0, 3);
    world.actuate();
    let made = ["add replica web-1-r1", "add replica web-1-r2"];
    assert_eq!(world.sent(), made);
    world.container("web-1-r1").health = HealthState::Unhealthy;
    world.container("web-1-r2").health = HealthState::Unhealthy;
    world.carry("web", 680.0, 0.0, 125);
    assert_eq!(world.sent()[2..], ["remove replica web-1-r1"]);
    world.actuate();
    world.carry("web", 680.0, 0.0, 125);
    assert_eq!(world.sent()[3], "remove replica web-1-r2");
    let undone: Vec<_> = world
        .in_phase(Phase::Decided)
        .iter()
        .map(|entry| entry.plan.undo_of.clone())
        .collect();
    assert!(undone[1].is_some() && undone[1] == undone[2]);
}

#[test]
fn a_second_useless_replica_waits_while_the_removal_of_the_first_may_go_on() {
    for goes_on in [true, false] {
        let mut world = World::new(acting())
            .with("a", "web-1", "web", policy(Some((1, 4))))
            .with("a", "web-2", "web", policy(Some((1, 4))))
            .leading();
        world.carry("web", 680.0, 0.0, 3);
        world.actuate();
        world.container("web-1-r1").health = HealthState::Unhealthy;
        world.container("web-1-r2").health = HealthState::Unhealthy;
        world.carry("web", 680.0, 0.0, 125);
        assert_eq!(world.sent()[2..], ["remove replica web-1-r1"]);
        let is_there = world.nodes.clone();
        let mut outcomes = world.engine();
        outcomes[0].result = OutcomeResult::Interrupted;
        if goes_on {
            world.nodes = is_there;
        }
        world.answer(outcomes.remove(0));
        world.tell_inventory();
        world.carry("web", 680.0, 0.0, 30);
        // Once the first is seen to be gone nothing is waited for.
        assert_eq!(world.sent().len(), if goes_on { 3 } else { 4 });
        world.carry("web", 680.0, 0.0, 15);
        assert_eq!(world.sent()[3], "remove replica web-1-r2");
    }
}

#[test]
fn a_replica_that_ended_on_a_node_not_heard_since_leaves_no_room_above_the_most() {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy(Some((1, 2))))
        .with("b", "web-2", "web", policy(Some((1, 2))))
        .with("c", "db-1", "db", policy(None))
        .leading();
    let ended = world.now;
    let record = world.container("web-2");
    record.state = ContainerState::Exited;
    record.finished_at = Some(ended);
    world.tell_inventory();
    // Cut off: somebody may start it any time.
    let b = units::NodeId::from("b");
    let held = world.nodes.remove(&b).unwrap();
    world.carry("web", 400.0, 0.0, 300);
    assert!(world.commands.is_empty(), "{:?}", world.sent());
    world.nodes.insert(b, held);
    world.carry("web", 400.0, 0.0, 3);
    assert_eq!(world.sent(), ["add replica web-1-r1"], "it is still ended");
}
