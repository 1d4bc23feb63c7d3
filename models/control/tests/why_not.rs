//! Why nothing is done: the reasons that are given are those that decide.
#![allow(clippy::unwrap_used)]

mod world;

use control::Config;
use units::{ActionKind, Mode, Policy, ServiceId, Severity, SignalKind};
use world::{World, acting, policy, secs};

/// `action container: text`, of what keeps a service as it is.
fn reasons(world: &World) -> Vec<String> {
    let reasons = world.core.why_not(&ServiceId::from("web"), world.now);
    reasons
        .unwrap()
        .iter()
        .map(|reason| {
            let action = reason.action.map_or("all", ActionKind::as_str);
            let name = reason.container.as_ref().map_or("", |name| name.as_str());
            format!("{action} {name}: {}", reason.text)
        })
        .collect()
}

#[track_caller]
fn has(world: &World, action: &str, words: &str) {
    let reasons = reasons(world);
    let found = reasons
        .iter()
        .any(|reason| reason.starts_with(action) && reason.contains(words));
    assert!(found, "no {words:?} of {action} in {reasons:#?}");
}

fn single(config: Config, policy: Policy) -> World {
    World::new(config)
        .with("a", "web-1", "web", policy)
        .leading()
}

#[test]
fn a_service_that_is_not_known_has_no_reasons() {
    let world = single(acting(), policy(None));
    assert_eq!(world.core.why_not(&ServiceId::from("db"), world.now), None);
}

#[test]
fn the_locks_are_named_with_what_opens_them() {
    let world = single(Config::default(), policy(None));
    has(&world, "all", "controller.max_mode is observe");
    let watched = Policy {
        mode: Mode::Suggest,
        heal: false,
        ..policy(None)
    };
    let mut world = single(acting(), watched);
    has(&world, "all", "io.homeostat.mode");
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    has(&world, "restart web-1", "io.homeostat.heal is not true");
    has(&world, "create_replica", "label io.homeostat.scale");
}

#[test]
fn what_no_restart_answers_is_said_with_its_signal() {
    let mut world = single(acting(), policy(None));
    has(&world, "restart", "no signal about it is open");
    world.open(SignalKind::CpuAnomaly, "web-1", Severity::Warning);
    has(
        &world,
        "restart",
        "cpu_anomaly is open, and no restart answers that",
    );
}

#[test]
fn what_was_just_done_is_waited_for() {
    let mut world = single(acting(), policy(None));
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    assert_eq!(world.sent(), ["restart web-1"]);
    has(&world, "all", "is being carried out");
    world.pass(secs(2));
    world.actuate();
    has(&world, "all", "waits for its verdict");
}

#[test]
fn load_that_fits_and_load_that_is_unknown_are_told_apart() {
    let mut world = single(acting(), policy(Some((1, 4))));
    has(&world, "create_replica", "no forecast of it has come");
    world.load("web", 100.0, 0.0);
    has(&world, "create_replica", "1 replicas carry");
    has(&world, "remove_replica", "the fewest");
}
