//! What a container needs is healed before it, and what lost its network by a restart is restarted too.
#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;

use proptest::prelude::*;
use units::{
    ComposeSpec, ContainerSpec, ContainerState, EventKind, HealthState, Phase, ServiceId, Severity,
    SignalKind, VerdictKind,
};
use world::{World, acting, policy, secs};

fn compose(service: &str, depends_on: &[&str], network_mode: &str) -> Option<Arc<ContainerSpec>> {
    Some(Arc::new(ContainerSpec {
        compose: Some(ComposeSpec {
            project: "shop".to_owned(),
            service: service.to_owned(),
            depends_on: depends_on.iter().map(|it| (*it).to_owned()).collect(),
        }),
        network_mode: network_mode.to_owned(),
        networks: vec![units::NetworkSpec {
            name: "shop_default".to_owned(),
            ..units::NetworkSpec::default()
        }],
        ..ContainerSpec::default()
    }))
}

/// `web` needs `db`; their containers are `web-1` and `db-1`.
fn pair() -> World {
    let mut world = World::new(acting())
        .with("a", "web-1", "shop/web", policy(None))
        .with("b", "db-1", "shop/db", policy(None))
        .with("c", "other-1", "shop/other", policy(None));
    world.container("web-1").spec = compose("web", &["db"], "shop_default");
    world.container("db-1").spec = compose("db", &[], "shop_default");
    world.leading()
}

fn held(world: &World, service: &str) -> String {
    let reasons = world.core.why_not(&ServiceId::from(service), world.now);
    let texts: Vec<String> = reasons.unwrap().into_iter().map(|it| it.text).collect();
    texts.join("\n")
}

#[test]
fn what_is_needed_is_healed_first_and_the_rest_only_if_that_did_not_help() {
    let mut world = pair();
    let db = world.open(SignalKind::Hang, "db-1", Severity::Critical);
    let web = world.open(SignalKind::Unhealthy, "web-1", Severity::Critical);
    world.pass(secs(1));
    assert_eq!(world.sent(), ["restart db-1"]);
    world.actuate();
    world.resolve(&db);
    world.pass(secs(10));
    world.take_over();
    let why = held(&world, "shop/web");
    assert!(why.contains("db-1, which it needs, serves again"), "{why}");
    world.resolve(&web);
    world.pass(secs(60));
    assert_eq!(world.sent(), ["restart db-1"], "web-1 found back by itself");
}

#[test]
fn a_dependant_that_is_still_sick_a_while_later_is_restarted() {
    let mut world = pair();
    world.container("db-1").health = HealthState::Unhealthy;
    world.tell_inventory();
    let db = world.open(SignalKind::Unhealthy, "db-1", Severity::Critical);
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.pass(secs(1));
    assert_eq!(world.sent(), ["restart db-1"]);
    let why = held(&world, "shop/web");
    assert!(why.contains("db-1 is being healed"), "{why}");
    world.actuate();
    world.pass(secs(1));
    world.resolve(&db);
    world.pass(secs(28));
    assert_eq!(world.sent(), ["restart db-1"]);
    world.pass(secs(3));
    assert_eq!(world.sent(), ["restart db-1", "restart web-1"]);
}

#[test]
fn the_wait_for_what_stays_sick_is_bounded() {
    let mut world = pair();
    world.container("db-1").state = ContainerState::Exited;
    world.container("db-1").exit_code = Some(1);
    world.tell_inventory();
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.pass(secs(590));
    assert!(world.commands.is_empty());
    let why = held(&world, "shop/web");
    assert!(why.contains("db-1 is exited, and it needs that"), "{why}");
    world.pass(secs(15));
    assert_eq!(world.sent(), ["restart web-1"]);
}

#[test]
fn a_job_that_has_ended_well_and_a_replica_that_serves_hold_nobody_back() {
    let mut world = pair();
    world.container("db-1").state = ContainerState::Exited;
    world.container("db-1").exit_code = Some(0);
    world.tell_inventory();
    let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
    assert_eq!(world.sent(), ["restart web-1"], "a migration, for instance");
    world.actuate();
    world.resolve(&hang);

    let mut world = pair().with("b", "db-2", "shop/db", policy(None));
    world.container("db-2").spec = compose("db", &[], "shop_default");
    world.container("db-1").health = HealthState::Unhealthy;
    world.tell_inventory();
    world.open(SignalKind::Hang, "web-1", Severity::Critical);
    assert_eq!(world.sent(), ["restart web-1"], "db-2 serves");
}

/// `proxy-1` lives in the network of `vpn-1`, as `network_mode: service:vpn` makes it.
fn shared() -> World {
    let mut world = World::new(acting())
        .with("a", "vpn-1", "vpn", policy(None))
        .with("a", "proxy-1", "proxy", policy(None))
        .with("a", "apart-1", "apart", policy(None));
    world.container("proxy-1").spec = compose("proxy", &[], "container:id-vpn-1");
    world.leading()
}

#[test]
fn who_shares_the_network_of_a_restarted_container_is_restarted_too() {
    let mut world = shared();
    let hang = world.open(SignalKind::Hang, "vpn-1", Severity::Critical);
    world.pass(secs(1));
    world.actuate();
    world.pass(secs(2));
    assert_eq!(world.sent(), ["restart vpn-1"], "it is sick still");
    let why = held(&world, "proxy");
    assert!(why.contains("lost the network of vpn-1"), "{why}");
    world.resolve(&hang);
    world.pass(secs(1));
    assert_eq!(world.sent(), ["restart vpn-1", "restart proxy-1"]);
    let reason = &world.last().plan.cause.reason;
    assert!(reason.contains("shares the network of vpn-1"), "{reason}");
    world.actuate();
    world.pass(secs(65));
    assert_eq!(world.commands.len(), 2, "once is enough");
    let judged = world.in_phase(Phase::Judged);
    let verdicts: Vec<VerdictKind> = judged
        .iter()
        .map(|entry| entry.verdict.as_ref().unwrap().kind)
        .collect();
    assert_eq!(verdicts, [VerdictKind::Helped, VerdictKind::Helped]);
}

#[test]
fn a_network_lost_by_a_persons_restart_is_brought_back_after_their_time() {
    let mut world = shared();
    world.happen("vpn-1", EventKind::Stopping { signal: None });
    world.container("vpn-1").started_at = Some(world.now);
    world.pass(secs(58));
    assert!(world.commands.is_empty());
    world.pass(secs(3));
    assert_eq!(world.sent(), ["restart proxy-1"]);
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever needs whatever, in circles too, and whoever is sick: everyone that a restart cures is well in the end.
    #[test]
    fn no_needs_keep_anyone_sick_for_ever(
        edges in prop::collection::vec((0_usize..5, 0_usize..5), 0..14),
        sick in prop::collection::btree_set(0_usize..5, 1..5),
        shares in prop::option::of((0_usize..5, 0_usize..5)),
    ) {
        let mut config = acting();
        config.breaker.services_min = 100;
        let mut world = World::new(config);
        for name in NAMES {
            world = world.with("n", name, &format!("shop/{name}"), policy(None));
        }
        for (index, name) in NAMES.into_iter().enumerate() {
            let needed: Vec<&str> = edges.iter().filter(|(from, _)| *from == index).map(|(_, to)| NAMES[*to]).collect();
            let mode = match shares {
                Some((from, to)) if from == index && to != index => format!("container:id-{}", NAMES[to]),
                Some(_) | None => "shop_default".to_owned(),
            };
            world.container(name).spec = compose(name, &needed, &mode);
        }
        let mut world = world.leading();
        let mut open: Vec<_> = sick.iter().map(|index| world.open(SignalKind::Hang, NAMES[*index], Severity::Critical)).collect();
        for _ in 0..100 {
            world.pass(secs(2));
            for outcome in world.actuate() {
                let healed = world.commands.iter().find(|it| it.id == outcome.command).unwrap().action.target().clone();
                while let Some(place) = open.iter().position(|signal| signal.subject.container.as_ref() == Some(&healed)) {
                    let over = open.remove(place);
                    world.resolve(&over);
                }
            }
        }
        prop_assert!(open.is_empty(), "left: {open:#?}");
    }
}
