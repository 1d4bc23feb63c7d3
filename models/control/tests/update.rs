//! A person orders another image: one container of it first, then the others, and back when it is no good.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{UpdatePhase, UpdateStatus};
use proptest::prelude::*;
use units::{
    Action, ActionKind, ContainerSpec, ContainerState, EventKind, HealthState, JournalEntry, Mode,
    OutcomeResult, Phase, Policy, ServiceId, Severity, SignalKind, Subject, VerdictKind,
};
use world::{World, acting, policy, secs};

const OLD: &str = "shop/web:1";
const NEW: &str = "shop/web:2";
const NEWER: &str = "shop/web:3";

fn updatable(scale: Option<(u32, u32)>) -> Policy {
    Policy {
        update: true,
        ..policy(scale)
    }
}

fn runs(world: &mut World, name: &str, image: &str) {
    let record = world.container(name);
    record.image = image.to_owned();
    record.spec = Some(Arc::new(ContainerSpec {
        image_digest: format!("sha256:{image}"),
        ..ContainerSpec::default()
    }));
}

/// Three replicas on two nodes that may be two to four.
fn three() -> World {
    with_policy(updatable(Some((2, 4))))
}

fn with_policy(policy: Policy) -> World {
    let mut world = World::new(acting())
        .with("a", "web-1", "web", policy.clone())
        .with("a", "web-2", "web", policy.clone())
        .with("b", "web-3", "web", policy);
    for name in ["web-1", "web-2", "web-3"] {
        runs(&mut world, name, OLD);
    }
    world.leading()
}

fn alone(policy: Policy) -> World {
    let mut world = World::new(acting()).with("a", "web-1", "web", policy);
    runs(&mut world, "web-1", OLD);
    world.leading()
}

/// The engines do what they are told, and time goes by; what each image does to a container that runs it shows at once.
fn go_on(world: &mut World, seconds: u64, does: &dyn Fn(&mut units::ContainerRecord)) {
    for _ in 0..seconds {
        let before: Vec<_> = ids(world);
        world.engine_and_answers(&before, does);
        world.pass(secs(1));
    }
}

fn ids(world: &World) -> Vec<units::ContainerId> {
    let all = world.nodes.values().flatten();
    all.map(|record| record.id.clone()).collect()
}

fn fine(_: &mut units::ContainerRecord) {}

fn images(world: &World) -> BTreeMap<String, String> {
    let all = world.nodes.values().flatten();
    all.map(|it| (it.name.to_string(), it.image.clone()))
        .collect()
}

fn all_run(world: &World, image: &str, names: &[&str]) {
    let expected: BTreeMap<String, String> = names
        .iter()
        .map(|name| ((*name).to_owned(), image.to_owned()))
        .collect();
    assert_eq!(images(world), expected);
}

const THREE: [&str; 3] = ["web-1", "web-2", "web-3"];

fn status(world: &World) -> UpdateStatus {
    let service = ServiceId::from("web");
    world.core.update_status(&service).unwrap()
}

fn why_not(world: &World) -> String {
    let reasons = world.core.why_not(&ServiceId::from("web"), world.now);
    let texts = reasons.unwrap().into_iter();
    texts.map(|it| it.text).collect::<Vec<_>>().join("\n")
}

fn is_new(record: &units::ContainerRecord) -> bool {
    record.image == NEW
}

fn unhealthy(record: &mut units::ContainerRecord) {
    if is_new(record) {
        record.health = HealthState::Unhealthy;
    }
}

#[test]
fn a_good_image_comes_to_one_more_first_and_then_to_each_in_turn() {
    let mut world = three();
    world.order("web", NEW);
    assert_eq!(
        world.sent(),
        ["pull shop/web:2 for web-1", "pull shop/web:2 for web-3",]
    );
    assert_eq!(status(&world).phase, UpdatePhase::Pulling);
    world.actuate();
    assert_eq!(
        world.sent()[2],
        "add replica web-1-r1 from shop/web:2 (shop/web:2)"
    );
    assert_eq!(status(&world).phase, UpdatePhase::Canary);
    let mut least = usize::MAX;
    for _ in 0..200 {
        go_on(&mut world, 1, &fine);
        let serving = world.nodes.values().flatten();
        least = least.min(serving.filter(|it| it.is_serving()).count());
    }
    let recreated = world.count(ActionKind::Recreate);
    assert_eq!((recreated, world.count(ActionKind::RemoveReplica)), (3, 1));
    assert_eq!(least, 3, "as many serve as before, always");
    all_run(&world, NEW, &THREE);
    let status = status(&world);
    assert_eq!(
        (status.phase, status.done, status.of),
        (UpdatePhase::Finished, 3, 3)
    );
    assert!(
        status.reason.contains("all 3 replicas run shop/web:2"),
        "{status:?}"
    );
    let said = world.in_phase(Phase::Suggested);
    assert_eq!(said.len(), 1, "{said:#?}");
    let before = world.commands.len();
    world.pass(secs(600));
    assert_eq!(world.commands.len(), before, "it is over");
}

#[test]
fn the_first_is_watched_for_longer_than_the_others() {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 59, &fine);
    assert_eq!(world.count(ActionKind::Recreate), 0);
    go_on(&mut world, 4, &fine);
    assert_eq!(world.count(ActionKind::Recreate), 1);
    assert_eq!(status(&world).phase, UpdatePhase::Rolling);
    go_on(&mut world, 12, &fine);
    assert_eq!(world.count(ActionKind::Recreate), 1);
    go_on(&mut world, 5, &fine);
    assert_eq!(world.count(ActionKind::Recreate), 2);
}

fn bad_canary(does: &dyn Fn(&mut units::ContainerRecord)) -> World {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 200, does);
    assert_eq!(
        world.count(ActionKind::Recreate),
        0,
        "nothing else is touched"
    );
    assert_eq!(world.count(ActionKind::RemoveReplica), 1);
    all_run(&world, OLD, &THREE);
    assert_eq!(status(&world).phase, UpdatePhase::RolledBack);
    world
}

#[test]
fn a_first_one_that_is_unhealthy_goes_and_nothing_else_is_touched() {
    let world = bad_canary(&unhealthy);
    let reason = status(&world).reason;
    assert!(
        reason.contains("rolled back because web-1-r1 is unhealthy"),
        "{reason}"
    );
    let judged = world.in_phase(Phase::Judged);
    let worse = judged
        .iter()
        .find(|it| it.plan.kind == ActionKind::CreateReplica);
    assert_eq!(
        worse.unwrap().verdict.as_ref().unwrap().kind,
        VerdictKind::Worse
    );
}

#[test]
fn a_first_one_that_keeps_ending_goes() {
    bad_canary(&|record| {
        if is_new(record) {
            record.state = ContainerState::Restarting;
            record.restarts = 1;
        }
    });
}

#[test]
fn a_first_one_that_ended_goes() {
    bad_canary(&|record| {
        if is_new(record) {
            record.state = ContainerState::Exited;
        }
    });
}

#[test]
fn a_first_one_that_a_signal_tells_of_goes() {
    for severity in [Severity::Info, Severity::Warning] {
        let mut world = three();
        world.order("web", NEW);
        go_on(&mut world, 5, &fine);
        world.open(SignalKind::ErrorLogs, "web-1-r1", severity);
        go_on(&mut world, 200, &fine);
        match severity {
            Severity::Info => all_run(&world, NEW, &THREE),
            Severity::Warning | Severity::Critical => all_run(&world, OLD, &THREE),
        }
    }
}

#[test]
fn what_is_told_of_the_old_ones_too_says_nothing_of_the_new_image() {
    let mut world = three();
    world.open(SignalKind::ErrorLogs, "web-2", Severity::Warning);
    world.order("web", NEW);
    go_on(&mut world, 5, &fine);
    world.open(SignalKind::ErrorLogs, "web-1-r1", Severity::Warning);
    go_on(&mut world, 58, &fine);
    assert!(
        world.count(ActionKind::Recreate) > 0,
        "{}",
        status(&world).reason
    );
}

#[test]
fn a_signal_about_the_service_that_opens_meanwhile_turns_it_round() {
    let mut world = three();
    let web = || Subject::service("web".into());
    world.open_about(SignalKind::LogStorm, web(), Severity::Warning);
    world.order("web", NEW);
    go_on(&mut world, 70, &fine);
    assert!(world.count(ActionKind::Recreate) > 0, "it was open before");
    world.open_about(SignalKind::ErrorLogs, web(), Severity::Warning);
    go_on(&mut world, 100, &fine);
    all_run(&world, OLD, &THREE);
}

#[test]
fn what_is_bad_at_the_second_goes_back_everywhere_the_last_first() {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 200, &|record| {
        if is_new(record) && record.name.as_str() == "web-2" {
            record.health = HealthState::Unhealthy;
        }
    });
    all_run(&world, OLD, &THREE);
    let sent = world.sent();
    assert_eq!(
        sent[3..],
        [
            "recreate web-1 from shop/web:2 (shop/web:2)",
            "recreate web-2 from shop/web:2 (shop/web:2)",
            "recreate web-2 from shop/web:1 (shop/web:1)",
            "recreate web-1 from shop/web:1 (shop/web:1)",
            "remove replica web-1-r1",
        ]
    );
    assert_eq!(status(&world).phase, UpdatePhase::RolledBack);
    let before = world.commands.len();
    go_on(&mut world, 400, &fine);
    assert_eq!(world.commands.len(), before, "it is never tried again");
}

#[test]
fn a_pull_that_fails_ends_it_and_nothing_was_touched() {
    let mut world = three();
    world.order("web", NEW);
    let outcomes = world.engine();
    for mut outcome in outcomes {
        let error = "no such image".to_owned();
        outcome.result = OutcomeResult::Failed { error };
        world.answer(outcome);
    }
    let status = status(&world);
    assert_eq!(status.phase, UpdatePhase::Refused);
    assert!(status.reason.contains("no such image"), "{status:?}");
    go_on(&mut world, 300, &fine);
    assert_eq!(world.commands.len(), 2);
}

#[test]
fn nodes_that_disagree_about_the_image_end_it() {
    let mut world = three();
    world.order("web", NEW);
    let outcomes = world.engine();
    for mut outcome in outcomes {
        if let (OutcomeResult::Succeeded { image, .. }, "b") =
            (&mut outcome.result, outcome.node.as_str())
        {
            image.as_mut().unwrap().id = "sha256:another".to_owned();
        }
        world.answer(outcome);
    }
    assert_eq!(status(&world).phase, UpdatePhase::Refused);
    assert!(status(&world).reason.contains("sha256:another on node b"));
}

#[test]
fn an_image_that_all_run_already_is_done() {
    let mut world = three();
    world.order("web", OLD);
    go_on(&mut world, 5, &fine);
    assert_eq!(status(&world).phase, UpdatePhase::Finished);
    assert_eq!(world.commands.len(), 2, "only pulled");
}

#[test]
fn what_does_not_allow_it_is_left_alone_and_told() {
    let mut unwilling = updatable(Some((2, 4)));
    unwilling.update = false;
    let mut watched = updatable(Some((2, 4)));
    watched.mode = Mode::Observe;
    for (policy, why) in [
        (unwilling, "io.homeostat.update=true"),
        (watched, "only watched"),
    ] {
        let mut world = with_policy(policy);
        world.order("web", NEW);
        go_on(&mut world, 100, &fine);
        assert_eq!(world.commands, Vec::new());
        assert_eq!(status(&world).phase, UpdatePhase::Refused);
        assert!(
            status(&world).reason.contains(why),
            "{}",
            status(&world).reason
        );
        assert_eq!(world.in_phase(Phase::Suggested).len(), 1, "said once");
    }
}

#[test]
fn an_order_is_consent_where_things_are_only_suggested() {
    let mut world = with_policy(Policy {
        mode: Mode::Suggest,
        ..updatable(Some((2, 4)))
    });
    world.order("web", NEW);
    go_on(&mut world, 200, &fine);
    all_run(&world, NEW, &THREE);
}

#[test]
fn a_service_that_nobody_knows_cannot_be_updated() {
    let mut world = three();
    world.pass(secs(20));
    world.order("shop", NEW);
    world.pass(secs(20));
    let status = world.core.update_status(&ServiceId::from("shop")).unwrap();
    assert_eq!(status.phase, UpdatePhase::Refused);
}

#[test]
fn what_cannot_be_copied_is_replaced_in_place_one_at_a_time() {
    let mut world = three();
    for name in THREE {
        world.container(name).copy_obstacles = vec!["it has a port of its own".to_owned()];
    }
    world.tell_inventory();
    world.order("web", NEW);
    go_on(&mut world, 200, &fine);
    all_run(&world, NEW, &THREE);
    assert_eq!(world.count(ActionKind::CreateReplica), 0);
    assert_eq!(status(&world).phase, UpdatePhase::Finished);
}

#[test]
fn what_cannot_be_copied_and_is_promised_in_full_is_not_touched() {
    let mut world = with_policy(updatable(Some((3, 4))));
    for name in THREE {
        world.container(name).copy_obstacles = vec!["it has a port of its own".to_owned()];
    }
    world.tell_inventory();
    world.order("web", NEW);
    go_on(&mut world, 100, &fine);
    all_run(&world, OLD, &THREE);
    assert_eq!(status(&world).phase, UpdatePhase::Refused);
    assert!(
        status(&world).reason.contains("3 are promised"),
        "{}",
        status(&world).reason
    );
}

#[test]
fn one_alone_has_a_short_gap_and_its_reason_says_so() {
    let mut world = alone(updatable(None));
    world.container("web-1").copy_obstacles = vec!["it has a port of its own".to_owned()];
    world.tell_inventory();
    world.order("web", NEW);
    world.actuate();
    let plan = world.last().plan.clone();
    assert!(
        plan.cause.reason.contains("nothing of web serves until"),
        "{plan:#?}"
    );
    go_on(&mut world, 100, &fine);
    all_run(&world, NEW, &["web-1"]);
}

#[test]
fn a_newer_order_takes_the_place_of_one_that_is_not_over() {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 70, &fine);
    assert_eq!(world.count(ActionKind::Recreate), 1);
    world.order("web", NEWER);
    go_on(&mut world, 250, &fine);
    all_run(&world, NEWER, &THREE);
    assert_eq!(
        world.count(ActionKind::CreateReplica),
        1,
        "the one beside them is used again"
    );
    assert_eq!(status(&world).phase, UpdatePhase::Finished);
}

#[test]
fn the_one_beside_them_is_not_replaced_while_it_is_all_that_serves() {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 70, &fine);
    let sick = |record: &mut units::ContainerRecord| {
        if record.image != NEWER && record.made_by.is_none() {
            record.health = HealthState::Unhealthy;
        }
    };
    for name in THREE {
        sick(world.container(name));
    }
    world.tell_inventory();
    world.order("web", NEWER);
    let before = world.commands.len();
    go_on(&mut world, 400, &sick);
    let sent = world.sent().split_off(before);
    let replaced = |name: &str| {
        let of = format!("recreate {name} from {NEWER}");
        sent.iter().position(|it| it.starts_with(&of))
    };
    let beside = replaced("web-1-r1");
    let first = THREE.into_iter().filter_map(replaced).min();
    assert!(
        first.is_some() && beside.is_none_or(|at| at > first.unwrap()),
        "{sent:?}"
    );
    all_run(&world, NEWER, &THREE);
}

#[test]
fn more_than_are_allowed_need_none_beside_them() {
    let mut world = with_policy(updatable(Some((1, 2))));
    world.order("web", NEW);
    go_on(&mut world, 250, &fine);
    all_run(&world, NEW, &THREE);
    assert_eq!(world.count(ActionKind::CreateReplica), 0);
    assert_eq!(status(&world).phase, UpdatePhase::Finished);
}

#[test]
fn one_beside_them_that_people_stopped_is_not_replaced() {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 70, &fine);
    world.container("web-1-r1").state = ContainerState::Exited;
    world.tell_inventory();
    world.order("web", NEWER);
    go_on(&mut world, 400, &fine);
    all_run(&world, NEWER, &THREE);
}

#[test]
fn a_newer_order_that_is_bad_goes_back_to_what_all_ran_before_both() {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 70, &fine);
    world.order("web", NEWER);
    go_on(&mut world, 250, &|record| {
        if record.image == NEWER {
            record.health = HealthState::Unhealthy;
        }
    });
    all_run(&world, OLD, &THREE);
    assert_eq!(status(&world).phase, UpdatePhase::RolledBack);
}

#[test]
fn going_back_by_order_is_an_update_to_the_image_before() {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 70, &fine);
    world.order("web", OLD);
    go_on(&mut world, 250, &fine);
    all_run(&world, OLD, &THREE);
    assert_eq!(status(&world).phase, UpdatePhase::Finished);
}

#[test]
fn people_at_work_make_it_wait_and_it_is_said() {
    let mut world = three();
    world.happen("web-1", EventKind::Updated);
    world.order("web", NEW);
    assert_eq!(world.commands, Vec::new());
    assert!(
        why_not(&world).contains("waits: somebody else changed"),
        "{}",
        why_not(&world)
    );
    go_on(&mut world, 300, &fine);
    all_run(&world, NEW, &THREE);
}

#[test]
fn a_spent_budget_makes_it_wait_for_the_hour_to_pass() {
    let mut config = acting();
    config.budget.service_hourly = 4;
    let mut world = World::new(config);
    for (node, name) in [("a", "web-1"), ("a", "web-2"), ("a", "web-3")] {
        world = world.with(node, name, "web", updatable(Some((2, 4))));
        runs(&mut world, name, OLD);
    }
    let mut world = world.leading();
    world.order("web", NEW);
    go_on(&mut world, 200, &fine);
    assert_eq!(world.commands.len(), 4);
    assert!(
        status(&world).reason.contains("budget"),
        "{}",
        status(&world).reason
    );
    go_on(&mut world, 3_700, &fine);
    all_run(&world, NEW, &THREE);
}

#[test]
fn what_it_put_there_is_not_healed_and_the_others_are() {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 5, &fine);
    let hang = world.open(SignalKind::Hang, "web-3", Severity::Critical);
    assert_eq!(world.sent().last().unwrap(), "restart web-3");
    go_on(&mut world, 2, &fine);
    world.resolve(&hang);
    world.open(SignalKind::Hang, "web-1-r1", Severity::Critical);
    go_on(&mut world, 100, &fine);
    assert_eq!(world.count(ActionKind::Restart), 1);
}

#[test]
fn the_load_keeps_the_one_that_was_made_beside_them() {
    let mut world = three();
    world.order("web", NEW);
    go_on(&mut world, 5, &fine);
    for _ in 0..130 {
        go_on(&mut world, 1, &fine);
        // Three replicas carry 525 at the target, four 700.
        world.load("web", 650.0, 0.0);
    }
    assert_eq!(
        status(&world).phase,
        UpdatePhase::Finished,
        "{}",
        status(&world).reason
    );
    all_run(&world, NEW, &["web-1", "web-1-r1", "web-2", "web-3"]);
}

#[test]
fn what_nobody_answered_for_is_looked_for_before_it_ends() {
    let mut world = three();
    world.order("web", NEW);
    world.actuate();
    // The container is made, and nobody says so.
    let lost = world.engine();
    assert_eq!(lost.len(), 1);
    world.tell_inventory();
    world.pass(secs(300));
    go_on(&mut world, 400, &fine);
    all_run(&world, NEW, &THREE);
    assert_eq!(
        world.count(ActionKind::CreateReplica),
        1,
        "none is made twice"
    );
}

#[test]
fn a_ledger_of_losses_does_not_count_what_people_ordered() {
    let mut world = three();
    for _ in 0..3 {
        world.order("web", NEW);
        go_on(&mut world, 60, &unhealthy);
        assert_eq!(status(&world).phase, UpdatePhase::RolledBack);
    }
    go_on(&mut world, 3_700, &fine);
    world.carry("web", 900.0, 0.0, 3);
    assert_eq!(
        world.sent().last().unwrap().as_str(),
        "add replica web-3-r1"
    );
}

#[derive(Debug, Clone, Copy)]
enum Doing {
    Fine,
    Unhealthy(usize),
    Crashing(usize),
    Slow(usize),
}

fn does(doing: Doing) -> impl Fn(&mut units::ContainerRecord) {
    let name = |index: usize| ["web-1-r1", "web-1", "web-2", "web-3"][index % 4];
    move |record| {
        let is = |index| is_new(record) && record.name.as_str() == name(index);
        match doing {
            Doing::Unhealthy(index) if is(index) => record.health = HealthState::Unhealthy,
            Doing::Crashing(index) if is(index) => {
                record.state = ContainerState::Restarting;
                record.restarts = 1;
            }
            Doing::Slow(index) if is(index) => record.health = HealthState::Starting,
            Doing::Fine | Doing::Unhealthy(_) | Doing::Crashing(_) | Doing::Slow(_) => {}
        }
    }
}

fn doing() -> impl Strategy<Value = Doing> {
    prop_oneof![
        Just(Doing::Fine),
        (0_usize..4).prop_map(Doing::Unhealthy),
        (0_usize..4).prop_map(Doing::Crashing),
        (0_usize..4).prop_map(Doing::Slow),
    ]
}

/// The story of an order: what the image does, when another is ordered, when the controller is killed.
fn story(doing: Doing, second: Option<u64>, kills: &[u64]) -> World {
    let mut world = three();
    world.order("web", NEW);
    for second_of in 0..500 {
        if second == Some(second_of) {
            world.order("web", NEWER);
        }
        go_on(&mut world, 1, &does(doing));
        if kills.contains(&second_of) {
            world.take_over();
        }
    }
    world
}

fn told(world: &World) -> Vec<String> {
    let entries = world.journal.iter().map(|entry| match entry {
        JournalEntry::Plan(entry) => {
            let kind = entry.verdict.as_ref().map(|it| it.kind.as_str());
            let reason = &entry.plan.cause.reason;
            format!(
                "{} {} {kind:?} {reason}",
                entry.plan.id,
                entry.phase.as_str()
            )
        }
        JournalEntry::Breaker(entry) => entry.reason.clone(),
        JournalEntry::Approval(entry) => entry.to_string(),
        JournalEntry::Update(order) => order.to_string(),
        JournalEntry::Node(order) => order.to_string(),
    });
    entries.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: (ProptestConfig::default().cases / 8).max(1), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the image does and whoever leads, one image runs in the end, nothing is left over, and a controller that was killed did
    /// what one that was not would have done.
    #[test]
    fn it_ends_with_one_image_and_a_killed_controller_does_the_same(
        doing in doing(),
        second in prop::option::of(0_u64..150),
        kills in prop::collection::vec(0_u64..200, 1..12),
    ) {
        let steady = story(doing, second, &[]);
        let killed = story(doing, second, &kills);
        prop_assert_eq!(told(&steady), told(&killed));
        let images = images(&steady);
        prop_assert_eq!(images.len(), 3, "{:?}", images);
        let different: std::collections::BTreeSet<&String> = images.values().collect();
        prop_assert_eq!(different.len(), 1, "{:?}", images);
        prop_assert!(status(&steady).phase.is_final());
        let made = steady.commands.iter().filter(|it| matches!(it.action, Action::CreateReplica { .. }));
        prop_assert!(made.count() <= 2);
    }
}

/// Neither waits for the other for ever: what was not changed yet is made elsewhere as it is, and rolled forward with the rest.
#[test]
fn an_update_goes_on_with_what_was_made_elsewhere_of_a_lost_node() {
    let policy = Policy {
        movable: true,
        ..updatable(Some((2, 5)))
    };
    let mut world = World::new(acting());
    world.capacity_of_nodes = units::NodeCapacity {
        cpu: units::Millicores(4_000),
        memory: units::Bytes(8 << 30),
    };
    for (node, name) in [("a", "web-1"), ("b", "web-2"), ("c", "web-3")] {
        world = world.with(node, name, "web", policy.clone());
        runs(&mut world, name, OLD);
        world.container(name).limits = units::Limits {
            cpu: Some(units::Millicores(500)),
            memory: Some(units::Bytes(1 << 30)),
        };
    }
    let mut world = world.leading().beats();
    go_on(&mut world, 20, &fine);
    world.order("web", NEW);
    while world.count(ActionKind::CreateReplica) == 0 {
        go_on(&mut world, 1, &fine);
    }
    go_on(&mut world, 2, &fine);
    world.down.insert(units::NodeId::from("c"));
    go_on(&mut world, 900, &fine);
    let seen = (images(&world), why_not(&world));
    assert_eq!(status(&world).phase, UpdatePhase::Finished, "{seen:?}");
    world.down.clear();
    go_on(&mut world, 300, &fine);
    let running = world.nodes.values().flatten();
    let running = running.filter(|it| it.state == units::ContainerState::Running);
    let running: Vec<&str> = running.map(|it| it.image.as_str()).collect();
    assert_eq!(running, [NEW; 3], "{:?}", images(&world));
}
