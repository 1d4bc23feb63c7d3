//! Room for what is more important: who goes for whom, who never does, and who goes first.
#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;

use control::{Config, Event};
use units::{
    ActionKind, Bytes, ContainerId, ContainerState, JournalEntry, Limits, Millicores, Mode,
    NodeCapacity, NodeId, NodeOrder, NodeWanted, Phase, Plan, PlanId, Policy, ServiceId, Severity,
    Signal, SignalKind, Subject, VerdictKind,
};
use world::{World, acting, policy, promising, secs};

const GIB: u64 = 1 << 30;

fn ranked(priority: u32, policy: Policy) -> Policy {
    Policy { priority, ..policy }
}

fn movable(priority: u32) -> Policy {
    Policy {
        movable: true,
        ..ranked(priority, policy(None))
    }
}

fn give(world: &mut World, name: &str, cpu: u64) {
    let record = world.container(name);
    record.limits = Limits {
        cpu: Some(Millicores(cpu)),
        memory: Some(Bytes(GIB / 4)),
    };
    record.spec = Some(Arc::default());
}

fn empty(config: Config) -> World {
    let mut world = World::new(config);
    world.capacity_of_nodes = NodeCapacity {
        cpu: Millicores(4_000),
        memory: Bytes(8 * GIB),
    };
    world
}

fn pressure(world: &mut World, node: &str) -> Signal {
    let subject = Subject::node(NodeId::from(node));
    world.open_about(SignalKind::NodePressure, subject, Severity::Warning)
}

fn drained(world: &World, node: &str) -> JournalEntry {
    JournalEntry::Node(NodeOrder {
        node: NodeId::from(node),
        wanted: NodeWanted::Drained,
        at: world.now,
        by: None,
    })
}

fn drain(world: &mut World, node: &str) {
    let entry = drained(world, node);
    world.journal.push(entry.clone());
    world.tell(Event::Journal(Box::new(entry)));
}

/// Each command once; what a new leader sends again is the same.
fn sent(world: &World) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let sent = world
        .commands
        .iter()
        .filter(|it| seen.insert(it.id.clone()));
    sent.map(|it| format!("{} on {}", it.action, it.node))
        .collect()
}

fn made_room(world: &World) -> Vec<Plan> {
    let decided = world.in_phase(Phase::Decided).into_iter();
    decided
        .filter(|it| it.plan.preemption.is_some())
        .map(|it| it.plan.clone())
        .collect()
}

#[track_caller]
fn has(world: &World, service: &str, words: &str) {
    let reasons = world.core.why_not(&ServiceId::from(service), world.now);
    let reasons: Vec<String> = reasons.unwrap().into_iter().map(|it| it.text).collect();
    let found = reasons.iter().any(|it| it.contains(words));
    assert!(found, "no {words:?} in {reasons:#?}");
}

/// `shop` and three of `batch`, two of them made here, on a node that is short; `shop` needs two.
fn short(shop: Policy, batch: Policy) -> World {
    short_by(acting(), shop, batch)
}

fn short_by(config: Config, shop: Policy, batch: Policy) -> World {
    let mut world = empty(config)
        .with("a", "shop-1", "shop", shop)
        .with("a", "batch-1", "batch", batch.clone())
        .with("a", "batch-1-r1", "batch", batch.clone())
        .with("a", "batch-1-r2", "batch", batch);
    for name in ["shop-1", "batch-1", "batch-1-r1", "batch-1-r2"] {
        give(&mut world, name, 250);
    }
    for name in ["batch-1-r1", "batch-1-r2"] {
        world.container(name).made_by = Some(PlanId::from("earlier"));
    }
    world = world.leading();
    pressure(&mut world, "a");
    world
}

fn shop() -> Policy {
    ranked(200, policy(Some((1, 2))))
}

fn batch(min: u32) -> Policy {
    ranked(100, policy(Some((min, 3))))
}

/// Seconds of this load on `shop`, in which what is commanded is done; `batch` has what three of it carry.
fn live(world: &mut World, shop: f64, seconds: u64) {
    for _ in 0..seconds {
        world.pass(secs(1));
        world.load("shop", shop, 0.0);
        world.load("batch", 500.0, 0.0);
        world.actuate();
    }
}

const GROWN: [&str; 2] = [
    "remove replica batch-1-r1 on a",
    "add replica shop-1-r1 on a",
];

#[test]
fn where_all_nodes_are_short_a_replica_of_less_importance_goes_before_one_is_added() {
    let mut world = short(shop(), batch(1));
    live(&mut world, 240.0, 60);
    assert_eq!(sent(&world), GROWN);
    let plan = &made_room(&world)[0];
    let room = plan.preemption.as_ref().unwrap();
    assert_eq!(
        (room.service.as_str(), room.priority, room.over),
        ("shop", 200, 100)
    );
    assert_eq!(room.frees.cpu, Millicores(250));
    assert_eq!(plan.service.as_str(), "batch");
    assert_eq!(
        plan.cause.reason,
        "room for shop of priority 200: shop needs a replica more, and all of its nodes are short; batch, of priority 100, has 3 replicas and promises 1, so batch-1-r1 goes"
    );
    assert!(
        plan.expected.text.contains("become free on node a"),
        "{plan:#?}"
    );
    assert_eq!(plan.alternatives.len(), 2);
    live(&mut world, 240.0, 120);
    let judged = world.in_phase(Phase::Judged);
    let verdict = judged.iter().find(|it| it.plan.id == plan.id).unwrap();
    let verdict = verdict.verdict.as_ref().unwrap();
    assert_eq!(verdict.kind, VerdictKind::Helped, "{}", verdict.reason);
}

#[test]
fn both_services_tell_what_goes_on() {
    let mut world = short(shop(), batch(1));
    while world.commands.is_empty() {
        world.pass(secs(1));
        world.load("shop", 240.0, 0.0);
        world.load("batch", 500.0, 0.0);
    }
    has(
        &world,
        "shop",
        "it waits for room on node a: batch-1-r1, a replica of batch of priority 100, goes for it",
    );
    live(&mut world, 240.0, 30);
    has(
        &world,
        "batch",
        "batch-1-r1 went from node a for shop of priority 200, and node a is still short; no other is made there before",
    );
}

#[test]
fn nobody_goes_for_what_is_no_more_important_nor_below_what_is_promised() {
    let suggest = Policy {
        mode: Mode::Suggest,
        ..batch(1)
    };
    let never = [
        (ranked(100, shop()), batch(1), "equal"),
        (ranked(99, shop()), batch(1), "less important"),
        (shop(), batch(3), "no more than the fewest"),
        (shop(), ranked(100, policy(None)), "not opted in"),
        (shop(), suggest, "only suggested"),
        (
            shop(),
            ranked(100, promising(1, 3)),
            "a promise nobody knows",
        ),
    ];
    for (shop, batch, case) in never {
        let mut world = short(shop, batch);
        live(&mut world, 240.0, 60);
        let sent = sent(&world);
        assert_eq!(sent, GROWN[1..], "{case}: as it ever was");
    }
}

#[test]
fn what_keeps_a_promise_stays_and_what_is_more_goes() {
    for (kept_by, goes) in [(3, 0), (2, 1)] {
        let mut world = short(shop(), ranked(100, promising(1, 3)));
        for _ in 0..60 {
            world.pass(secs(1));
            world.load_sized("batch", 500.0, kept_by);
            world.load("shop", 240.0, 0.0);
            world.actuate();
        }
        assert_eq!(made_room(&world).len(), goes, "{kept_by} keep the promise");
    }
}

#[test]
fn what_people_made_or_hold_stays() {
    let mut world = short(shop(), batch(1));
    for name in ["batch-1-r1", "batch-1-r2"] {
        world.container(name).made_by = None;
    }
    live(&mut world, 240.0, 60);
    assert_eq!(sent(&world), GROWN[1..], "people made it");
    let mut world = short(shop(), batch(1));
    world.happen("batch-1", units::EventKind::Updated);
    live(&mut world, 240.0, 20);
    assert_eq!(sent(&world), GROWN[1..], "people are at work on it");
    let mut world = short(shop(), batch(1));
    world.container("batch-1-r2").state = ContainerState::Paused;
    live(&mut world, 240.0, 20);
    assert_eq!(sent(&world), GROWN[1..], "people paused one");
    let mut world = short(shop(), batch(1));
    let subject = Subject::service(ServiceId::from("batch"));
    world.open_about(SignalKind::Overload, subject, Severity::Warning);
    live(&mut world, 240.0, 20);
    assert_eq!(sent(&world), GROWN[1..], "it is overloaded itself");
}

#[test]
fn nobody_goes_for_what_could_not_take_the_room() {
    let mut config = acting();
    config.budget.service_hourly = 0;
    let mut world = short_by(config, shop(), batch(1));
    live(&mut world, 240.0, 60);
    assert_eq!(sent(&world), Vec::<String>::new());
    let mut config = acting();
    config.budget.global_hourly = 1;
    let mut world = short_by(config.clone(), shop(), batch(1));
    live(&mut world, 240.0, 60);
    assert_eq!(sent(&world), GROWN[1..], "one step is left, and grows");
    config.budget.global_hourly = 3;
    let mut world = full_by(config, movable(200), 1_000, batch(1), 2);
    drain(&mut world, "a");
    go(&mut world, 200);
    assert_eq!(sent(&world), Vec::<String>::new(), "a move takes three");
}

#[test]
fn where_one_of_its_nodes_is_not_short_it_grows_there() {
    let mut world = short(shop(), batch(1)).with("b", "shop-2", "shop", shop());
    give(&mut world, "shop-2", 250);
    world.container("shop-1").policy.scale.as_mut().unwrap().max = 3;
    world.container("shop-2").policy.scale.as_mut().unwrap().max = 3;
    world.tell_inventory();
    live(&mut world, 480.0, 30);
    assert_eq!(sent(&world), ["add replica shop-2-r1 on b"]);
}

#[test]
fn who_gave_room_takes_it_back_only_when_there_is_some_again() {
    let mut world = short(shop(), batch(1));
    let signal = world.signals[0].clone();
    live(&mut world, 240.0, 600);
    assert_eq!(sent(&world), GROWN, "batch had a use for it all the time");
    // The other one needs less, gives one back, and the node has room.
    live(&mut world, 60.0, 400);
    let after = sent(&world);
    assert_eq!(after[2..], ["remove replica shop-1-r1 on a"]);
    world.resolve(&signal);
    live(&mut world, 60.0, 30);
    assert_eq!(sent(&world)[3..], ["add replica batch-1-r1 on a"]);
    live(&mut world, 60.0, 300);
    assert_eq!(sent(&world).len(), 4);
}

#[test]
fn who_gave_room_that_nobody_wants_any_more_has_it_back() {
    let mut world = short(shop(), batch(1));
    let signal = world.signals[0].clone();
    while made_room(&world).is_empty() {
        world.pass(secs(1));
        world.load("shop", 240.0, 0.0);
        world.load("batch", 500.0, 0.0);
    }
    live(&mut world, 60.0, 30);
    assert_eq!(sent(&world), GROWN[..1], "the node is short still");
    world.resolve(&signal);
    // Its removal is judged first.
    live(&mut world, 60.0, 120);
    assert_eq!(sent(&world)[1..], ["add replica batch-1-r1 on a"]);
}

#[test]
fn who_gave_room_is_held_for_half_an_hour_at_most() {
    let mut world = short(shop(), batch(1));
    live(&mut world, 240.0, 1_780);
    assert_eq!(sent(&world), GROWN);
    live(&mut world, 240.0, 60);
    assert_eq!(sent(&world)[2..], ["add replica batch-1-r1 on a"]);
}

#[test]
fn a_controller_that_takes_over_at_any_time_does_the_same() {
    for at in 1..40 {
        let mut world = short(shop(), batch(1));
        live(&mut world, 240.0, at);
        world.take_over();
        live(&mut world, 240.0, 200);
        assert_eq!(sent(&world), GROWN, "taken over after {at} s");
    }
}

#[test]
fn a_removal_that_made_things_worse_is_not_taken_back_while_the_room_is_wanted() {
    let mut world = short(shop(), batch(1));
    while made_room(&world).is_empty() {
        live(&mut world, 240.0, 1);
    }
    live(&mut world, 240.0, 3);
    let subject = Subject::service(ServiceId::from("batch"));
    world.open_about(SignalKind::Overload, subject, Severity::Warning);
    live(&mut world, 240.0, 300);
    let id = made_room(&world)[0].id.clone();
    let judged = world.in_phase(Phase::Judged);
    let verdict = judged.iter().find(|it| it.plan.id == id).unwrap();
    assert_eq!(verdict.verdict.as_ref().unwrap().kind, VerdictKind::Worse);
    assert_eq!(sent(&world), GROWN);
}

/// `shop` with so much on `a`, which is to be emptied or is short; `b` is full, of `batch` with so many replicas made here and a `db`.
fn full(shop: Policy, cpu: u64, batch: Policy, replicas: usize) -> World {
    full_by(acting(), shop, cpu, batch, replicas)
}

fn full_by(config: Config, shop: Policy, cpu: u64, batch: Policy, replicas: usize) -> World {
    let mut world = empty(config)
        .with("a", "shop", "shop", shop)
        .with("b", "batch-1", "batch", batch.clone())
        .with("b", "db", "db", ranked(10, policy(None)));
    for number in 1..=replicas {
        let name = format!("batch-1-r{number}");
        world = world.with("b", &name, "batch", batch.clone());
        give(&mut world, &name, 1_000);
        world.container(&name).made_by = Some(PlanId::from("earlier"));
    }
    give(&mut world, "shop", cpu);
    give(&mut world, "batch-1", 1_000);
    give(&mut world, "db", 3_000 - 1_000 * replicas as u64);
    world.leading()
}

fn moved(victims: &[&str]) -> Vec<String> {
    let gone = victims.iter().map(|it| format!("remove replica {it} on b"));
    let steps = [
        "tell how shop is made on a",
        "add replica shop, as it is made on a on b",
        "stop shop on a",
    ];
    gone.chain(steps.map(str::to_owned)).collect()
}

fn go(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.pass(secs(1));
        world.actuate();
    }
}

#[test]
fn what_is_to_leave_its_node_finds_room_that_is_made_for_it() {
    for drained in [true, false] {
        let mut world = full(movable(200), 1_000, batch(1), 2);
        match drained {
            true => drain(&mut world, "a"),
            false => _ = pressure(&mut world, "a"),
        }
        go(&mut world, 400);
        assert_eq!(sent(&world), moved(&["batch-1-r1"]), "drained: {drained}");
        let plan = &made_room(&world)[0];
        let room = plan.preemption.as_ref().unwrap();
        assert_eq!(room.container, Some(ContainerId::from("id-shop")));
        assert!(
            plan.cause
                .reason
                .contains("shop is to leave node a, and no other node has room for it"),
            "{}",
            plan.cause.reason
        );
    }
}

#[test]
fn one_goes_after_the_other_until_there_is_room_and_not_one_more() {
    let mut world = full(movable(200), 2_000, ranked(100, policy(Some((1, 4)))), 3);
    give(&mut world, "db", 0);
    world.tell_inventory();
    drain(&mut world, "a");
    go(&mut world, 700);
    assert_eq!(sent(&world), moved(&["batch-1-r1", "batch-1-r2"]));
    let mut world = full(movable(200), 2_000, ranked(100, policy(Some((3, 4)))), 3);
    drain(&mut world, "a");
    go(&mut world, 700);
    assert_eq!(
        sent(&world),
        Vec::<String>::new(),
        "one would bring nothing, and two would break a promise"
    );
}

#[test]
fn nothing_moves_where_nobody_gives_room() {
    let cases = [
        (movable(100), batch(1), "equal"),
        (movable(200), batch(3), "no more than the fewest"),
        (
            Policy {
                mode: Mode::Suggest,
                ..movable(200)
            },
            batch(1),
            "only suggested",
        ),
        (ranked(200, policy(None)), batch(1), "it may not be moved"),
    ];
    for (shop, batch, case) in cases {
        let mut world = full(shop, 1_000, batch, 2);
        drain(&mut world, "a");
        go(&mut world, 200);
        assert_eq!(sent(&world), Vec::<String>::new(), "{case}");
    }
}

#[test]
fn a_move_into_room_that_was_made_outlives_a_controller() {
    for at in (1..200).step_by(7) {
        let mut world = full(movable(200), 1_000, batch(1), 2);
        drain(&mut world, "a");
        go(&mut world, at);
        world.take_over();
        go(&mut world, 400);
        assert_eq!(
            sent(&world),
            moved(&["batch-1-r1"]),
            "taken over after {at} s"
        );
    }
}

#[test]
fn who_gave_room_for_a_move_grows_again_once_the_other_has_gone() {
    let mut world = full(movable(200), 1_000, batch(1), 2);
    drain(&mut world, "a");
    let carry = |world: &mut World, seconds: u64| {
        for _ in 0..seconds {
            world.pass(secs(1));
            world.load("batch", 2_000.0, 0.0);
            world.actuate();
        }
    };
    carry(&mut world, 500);
    assert_eq!(sent(&world), moved(&["batch-1-r1"]));
    has(&world, "batch", "node b has no room for one more");
    let there = world.nodes.get_mut(&NodeId::from("b")).unwrap();
    let moved_there = there.iter_mut().find(|it| it.name.as_str() == "shop");
    moved_there.unwrap().state = ContainerState::Exited;
    carry(&mut world, 30);
    assert_eq!(sent(&world)[4..], ["add replica batch-1-r1 on b"]);
}

#[test]
fn of_two_on_a_drained_node_the_more_important_gets_the_room() {
    for (of_job, of_web, goes) in [(100, 100, "job"), (100, 200, "web"), (200, 100, "job")] {
        let mut world = empty(acting())
            .with("a", "job", "job", movable(of_job))
            .with("a", "web", "web", movable(of_web))
            .with("b", "db", "db", policy(None));
        for (name, cpu) in [("job", 1_500), ("web", 1_500), ("db", 2_000)] {
            give(&mut world, name, cpu);
        }
        let mut world = world.leading();
        drain(&mut world, "a");
        go(&mut world, 200);
        let begun = &sent(&world)[0];
        assert_eq!(*begun, format!("tell how {goes} is made on a"));
        assert_eq!(world.count(ActionKind::Export), 1, "{:?}", sent(&world));
    }
}

#[test]
fn off_two_drained_nodes_too() {
    for (of_job, of_web, goes) in [
        (100, 100, "job is made on a"),
        (100, 200, "web is made on c"),
    ] {
        let mut world = empty(acting())
            .with("a", "job", "job", movable(of_job))
            .with("c", "web", "web", movable(of_web))
            .with("b", "db", "db", policy(None));
        for (name, cpu) in [("job", 1_500), ("web", 1_500), ("db", 2_000)] {
            give(&mut world, name, cpu);
        }
        for node in ["a", "c"] {
            let order = drained(&world, node);
            world.journal.push(order);
        }
        let mut world = world.leading();
        go(&mut world, 200);
        assert_eq!(sent(&world)[0], format!("tell how {goes}"));
        assert_eq!(world.count(ActionKind::Export), 1, "{:?}", sent(&world));
    }
}

#[test]
fn off_a_short_node_the_least_important_of_those_that_suffice_goes() {
    for (of_job, of_web, goes) in [(100, 100, "job"), (200, 100, "web"), (100, 200, "job")] {
        let mut world = empty(acting())
            .with("a", "job", "job", movable(of_job))
            .with("a", "web", "web", movable(of_web))
            .with("b", "db", "db", policy(None));
        for (name, cpu) in [("job", 1_800), ("web", 2_000), ("db", 500)] {
            give(&mut world, name, cpu);
        }
        let mut world = world.leading();
        pressure(&mut world, "a");
        go(&mut world, 130);
        assert_eq!(
            sent(&world)[0],
            format!("tell how {goes} is made on a"),
            "{of_job} and {of_web}"
        );
    }
}

#[test]
fn a_budget_goes_to_the_more_important_first() {
    for (of_last, first) in [(100, "restart alone"), (300, "restart zoo")] {
        let mut config = acting();
        config.budget.global_concurrent = 1;
        let mut world = World::new(config)
            .with("a", "alone", "alone", policy(None))
            .with("a", "busy", "busy", policy(None))
            .with("a", "zoo", "zoo", ranked(of_last, policy(None)))
            .leading();
        go(&mut world, 12);
        world.open(SignalKind::Hang, "busy", Severity::Warning);
        world.open(SignalKind::Hang, "alone", Severity::Warning);
        world.open(SignalKind::Hang, "zoo", Severity::Warning);
        assert_eq!(world.sent(), ["restart busy"]);
        world.actuate();
        go(&mut world, 5);
        assert_eq!(world.sent()[1], first, "{:?}", world.sent());
        assert_eq!(world.commands.len(), 3);
    }
}
