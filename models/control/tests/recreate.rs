//! What follows when restarts do not help: a roll back, one new container, and then people.
#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;

use units::{
    ActionKind, ContainerId, ContainerSpec, ContainerState, EventKind, Phase, PlanEntry, Policy,
    ServiceId, Severity, Signal, SignalKind, VerdictKind,
};
use world::{World, acting, policy, secs};

fn recreating() -> Policy {
    Policy {
        recreate: true,
        ..policy(None)
    }
}

fn runs(world: &mut World, tag: &str) {
    let record = world.container("web-1");
    record.image = format!("shop/web:{tag}");
    record.spec = Some(Arc::new(ContainerSpec {
        image_digest: format!("sha256:{tag}{tag}{tag}"),
        ..ContainerSpec::default()
    }));
}

fn single() -> World {
    let mut world = World::new(acting()).with("a", "web-1", "web", recreating());
    runs(&mut world, "1");
    world.leading()
}

/// A person puts a container of another image in the place of the one there is.
fn deploy(world: &mut World, tag: &str) {
    let now = world.now;
    world.happen("web-1", EventKind::Removed);
    let record = world.container("web-1");
    record.id = ContainerId::new(format!("id-deployed-{tag}"));
    record.created_at = Some(now);
    record.started_at = Some(now);
    runs(world, tag);
    world.happen("web-1", EventKind::Created);
    world.tell_inventory();
}

fn loops(world: &mut World) -> Signal {
    world.container("web-1").state = ContainerState::Restarting;
    world.tell_inventory();
    world.open(SignalKind::CrashLoop, "web-1", Severity::Critical)
}

fn said(world: &World) -> Vec<String> {
    let said = world.in_phase(Phase::Suggested).into_iter();
    said.map(|entry| entry.plan.cause.reason.clone()).collect()
}

fn verdicts(world: &World) -> Vec<VerdictKind> {
    let judged = world.in_phase(Phase::Judged).into_iter();
    judged
        .map(|entry: &PlanEntry| entry.verdict.as_ref().unwrap().kind)
        .collect()
}

fn why_not(world: &World) -> String {
    let reasons = world.core.why_not(&ServiceId::from("web"), world.now);
    let texts = reasons.unwrap().into_iter();
    texts.map(|it| it.text).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_crash_loop_is_answered_with_one_new_container_and_then_left_to_people() {
    let mut world = single();
    loops(&mut world);
    assert_eq!(world.sent(), ["recreate web-1"]);
    let plan = world.last().plan.clone();
    let no_other = "no other image of it was seen before this one";
    assert!(plan.alternatives[0].contains(no_other), "{plan:#?}");
    world.pass(secs(1));
    world.actuate();
    world.pass(secs(20));
    loops(&mut world);
    world.pass(secs(60));
    assert_eq!(verdicts(&world), [VerdictKind::NoEffect]);
    world.take_over();
    world.pass(secs(1_800));
    assert_eq!(world.sent(), ["recreate web-1"], "once");
    let said = said(&world);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("left to people; tried: recreate web-1 at"),
        "{said:?}"
    );
    assert!(said[0].contains("no effect"), "{said:?}");
    assert!(
        why_not(&world).contains("a new container was tried"),
        "{}",
        why_not(&world)
    );
}

#[test]
fn without_its_own_word_a_crash_loop_is_left_to_people() {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy(None))
        .leading();
    loops(&mut world);
    world.pass(secs(600));
    assert!(world.commands.is_empty());
    assert!(why_not(&world).contains("does not say recreate"));
}

#[test]
fn two_restarts_that_did_not_help_are_followed_by_a_new_container() {
    let mut world = single();
    for _ in 0..2 {
        let before = world.commands.len();
        let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
        for _ in 0..70 {
            if world.commands.len() == before {
                world.pass(secs(1));
            }
        }
        world.actuate();
        world.resolve(&hang);
        world.pass(secs(10));
        let again = world.open(SignalKind::Hang, "web-1", Severity::Critical);
        world.resolve(&again);
        world.pass(secs(1));
    }
    assert_eq!(verdicts(&world), [VerdictKind::NoEffect; 2]);
    let hang = world.open(SignalKind::Hang, "web-1", Severity::Critical);
    world.pass(secs(61));
    assert_eq!(
        world.sent(),
        ["restart web-1", "restart web-1", "recreate web-1"]
    );
    let reason = &world.last().plan.cause.reason;
    assert!(reason.contains("tried: restart web-1 at"), "{reason}");
    world.actuate();
    world.resolve(&hang);
    world.pass(secs(65));
    assert_eq!(verdicts(&world).last(), Some(&VerdictKind::Helped));
    assert_eq!(world.commands.len(), 3);
}

#[test]
fn a_container_that_crash_loops_since_its_image_changed_is_rolled_back() {
    let mut world = single();
    world.pass(secs(700));
    deploy(&mut world, "2");
    world.pass(secs(20));
    let bad = loops(&mut world);
    world.pass(secs(30));
    assert!(world.commands.is_empty(), "a person is at it");
    world.pass(secs(15));
    assert_eq!(world.sent(), ["recreate web-1 from shop/web:1 (111)"]);
    let reason = world.last().plan.cause.reason.clone();
    for words in [
        "shop/web:2 (222) took the place of shop/web:1 (111)",
        "served for 11 min",
    ] {
        assert!(reason.contains(words), "{reason}");
    }
    world.actuate();
    world.resolve(&bad);
    world.pass(secs(65));
    assert_eq!(verdicts(&world), [VerdictKind::Helped]);
    assert_eq!(world.container("web-1").image, "shop/web:1");
    world.pass(secs(600));
    assert_eq!(world.commands.len(), 1);
    // Its change of image is no reason to go on from there.
    loops(&mut world);
    world.pass(secs(60));
    assert_eq!(world.commands.len(), 1);
    assert!(said(&world)[0].contains("left to people"));
}

#[test]
fn a_roll_back_that_made_it_worse_is_undone_and_the_rest_left_to_people() {
    let mut world = single();
    world.pass(secs(700));
    deploy(&mut world, "2");
    world.pass(secs(20));
    loops(&mut world);
    world.pass(secs(50));
    world.actuate();
    world.pass(secs(5));
    loops(&mut world);
    world.pass(secs(2));
    assert_eq!(verdicts(&world), [VerdictKind::Worse]);
    let sent = world.sent();
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(sent[1], "recreate web-1 from shop/web:2 (222)");
    let undo = world.in_phase(Phase::Decided).last().unwrap().plan.clone();
    assert!(undo.undo_of.is_some());
    world.actuate();
    assert_eq!(world.container("web-1").image, "shop/web:2");
    world.pass(secs(10));
    loops(&mut world);
    world.pass(secs(600));
    assert_eq!(world.commands.len(), 2);
    let said = said(&world);
    let last = said.last().unwrap();
    assert!(last.contains("left to people"), "{said:?}");
    assert!(last.contains("from shop/web:1 (111) at"), "{said:?}");
    assert!(last.contains("from shop/web:2 (222) at"), "{said:?}");
}

type Happening<'a> = &'a dyn Fn(&mut World);

#[test]
fn without_proof_of_the_image_before_nothing_is_rolled_back() {
    let forgetful = |world: &mut World| {
        deploy(world, "2");
        world.take_over();
        world.pass(secs(20));
    };
    let early = |world: &mut World| {
        world.pass(secs(120));
        deploy(world, "2");
        world.pass(secs(20));
    };
    let long_ago = |world: &mut World| {
        world.pass(secs(700));
        deploy(world, "2");
        world.pass(secs(3_601));
    };
    let sick_before = |world: &mut World| {
        world.pass(secs(700));
        let hang = world.open(SignalKind::Unhealthy, "web-1", Severity::Warning);
        world.pass(secs(5));
        world.resolve(&hang);
        deploy(world, "2");
        world.pass(secs(20));
    };
    let before: [(Happening<'_>, &str); 4] = [
        (&forgetful, "no other image of it was seen"),
        (&early, "was seen to serve for 2 min"),
        (&long_ago, "has been the same since"),
        (&sick_before, "it was sick with shop/web:1 (111) too"),
    ];
    for (happens, why) in before {
        let mut world = single();
        happens(&mut world);
        loops(&mut world);
        world.pass(secs(50));
        assert_eq!(world.sent(), ["recreate web-1"], "{why}");
        let roll_back = &world.last().plan.alternatives[0];
        assert!(roll_back.contains(why), "{why}: {roll_back}");
    }
}

#[test]
fn who_owns_the_network_of_another_is_not_recreated() {
    let mut world = single().with("a", "side-1", "side", policy(None));
    world.container("side-1").spec = Some(Arc::new(ContainerSpec {
        network_mode: "container:id-web-1".to_owned(),
        ..ContainerSpec::default()
    }));
    world.tell_inventory();
    loops(&mut world);
    world.pass(secs(100));
    assert!(world.commands.is_empty());
    assert!(said(&world)[0].contains("side-1 shares its network"));
}

#[test]
fn a_recreation_that_failed_is_a_try_and_its_reason_is_told() {
    let mut world = single();
    loops(&mut world);
    let command = world.commands[0].clone();
    world.answer(units::Outcome {
        command: command.id,
        plan: command.plan,
        node: command.node,
        began_at: world.now,
        at: world.now,
        result: units::OutcomeResult::Failed {
            error: "cannot start the new web-1: no space left; the one before was put back"
                .to_owned(),
        },
        traceparent: None,
        note: None,
    });
    world.pass(secs(100));
    assert_eq!(world.count(ActionKind::Recreate), 1);
    let said = said(&world);
    assert!(said[0].contains("no space left"), "{said:?}");
}
