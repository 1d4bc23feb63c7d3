//! Moves off a node that is short, step by step.
#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;

use control::Event;
use units::{
    Action, ActionKind, Bytes, ContainerState, HealthState, JournalEntry, Limits, Millicores, Mode,
    NodeCapacity, NodeId, NodeOrder, NodeWanted, Outcome, OutcomeResult, Phase, Policy, Refusal,
    Severity, Signal, SignalKind, Subject, VerdictKind,
};
use world::{World, acting, policy, secs};

const GIB: u64 = 1 << 30;

fn movable() -> Policy {
    Policy {
        movable: true,
        ..policy(None)
    }
}

/// `job` and `web` on node `a`, both movable, and `b` with room for either.
fn fleet(of_web: Policy) -> World {
    let mut world = World::new(acting());
    world.capacity_of_nodes = NodeCapacity {
        cpu: Millicores(4_000),
        memory: Bytes(8 * GIB),
    };
    let staying = Policy {
        movable: false,
        ..of_web.clone()
    };
    world = world
        .with("a", "job", "job", staying.clone())
        .with("a", "web", "web", of_web)
        .with("b", "db", "db", staying);
    for (name, cpu) in [("job", 2_000), ("web", 1_500), ("db", 500)] {
        let record = world.container(name);
        record.limits = Limits {
            cpu: Some(Millicores(cpu)),
            memory: Some(Bytes(GIB)),
        };
        record.spec = Some(Arc::default());
    }
    world.leading()
}

fn pressure(world: &mut World) -> Signal {
    let subject = Subject::node(NodeId::from("a"));
    world.open_about(SignalKind::NodePressure, subject, Severity::Warning)
}

/// Time goes by, and what is commanded is done and answered.
fn live(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.pass(secs(1));
        world.actuate();
    }
}

/// Until this was done.
fn live_until(world: &mut World, kind: ActionKind) {
    while world.count(kind) == 0 {
        live(world, 1);
    }
    live(world, 1);
}

/// What was sent, each with its node; what a new leader sends again is the same.
fn sent(world: &World) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let sent = world
        .commands
        .iter()
        .filter(|it| seen.insert(it.id.clone()));
    sent.map(|it| format!("{} on {}", it.action, it.node))
        .collect()
}

const WHOLE: [&str; 3] = [
    "tell how web is made on a",
    "add replica web, as it is made on a on b",
    "stop web on a",
];

#[test]
fn a_container_goes_off_a_node_that_is_short_the_new_one_first() {
    let mut world = fleet(movable());
    let signal = pressure(&mut world);
    live(&mut world, 115);
    assert_eq!(
        sent(&world),
        Vec::<String>::new(),
        "not yet for long enough"
    );
    live(&mut world, 200);
    assert_eq!(sent(&world), WHOLE);
    let plans = world.in_phase(Phase::Judged);
    for entry in &plans {
        assert_eq!(
            entry.verdict.as_ref().unwrap().kind,
            VerdictKind::Helped,
            "{entry:#?}"
        );
        assert_eq!(entry.plan.relocation, plans[0].plan.relocation);
    }
    assert_eq!(plans[0].plan.cause.signals, [signal.id]);
    let why = &plans[0].plan.cause.reason;
    assert!(
        why.starts_with(
            "move of web from node a to b: what a is asked for falls from 88% of its CPU"
        ),
        "{why}"
    );
    let (_, old) = world.place("web");
    assert_eq!(old.state, ContainerState::Exited);
    assert_eq!(world.nodes[&NodeId::from("b")].len(), 2);
}

#[test]
fn at_every_moment_as_many_serve_as_before() {
    let mut world = fleet(movable());
    pressure(&mut world);
    for _ in 0..400 {
        live(&mut world, 1);
        let web = world.nodes.values().flatten();
        let web = web.filter(|it| it.service.as_str() == "web" && it.is_serving());
        assert!(web.count() >= 1);
    }
    assert_eq!(sent(&world), WHOLE);
}

#[test]
fn what_homeostat_made_is_removed() {
    let mut world = fleet(movable());
    world.container("web").made_by = Some("web-create_replica-1".into());
    pressure(&mut world);
    live(&mut world, 300);
    assert_eq!(sent(&world)[2], "remove replica web on a");
}

#[test]
fn a_controller_that_takes_over_at_any_time_brings_it_to_the_same_end() {
    for at in (110..240).step_by(3) {
        let mut world = fleet(movable());
        pressure(&mut world);
        live(&mut world, at);
        world.take_over();
        live(&mut world, 400 - at);
        assert_eq!(sent(&world), WHOLE, "taken over after {at} s");
    }
}

#[test]
fn one_that_cannot_be_made_there_changes_nothing_and_is_not_tried_again_soon() {
    let mut world = fleet(movable());
    world.broken = vec![NodeId::from("b")];
    pressure(&mut world);
    live(&mut world, 3_000);
    assert_eq!(sent(&world), WHOLE[..2]);
    live(&mut world, 1_000);
    assert_eq!(
        world.count(ActionKind::Export),
        2,
        "an hour later once more"
    );
    assert_eq!(world.count(ActionKind::Stop), 0);
}

#[test]
fn one_that_does_not_serve_there_goes_again() {
    let mut world = fleet(movable());
    pressure(&mut world);
    live_until(&mut world, ActionKind::CreateReplica);
    let b = NodeId::from("b");
    world.nodes.get_mut(&b).unwrap()[1].health = HealthState::Unhealthy;
    live(&mut world, 200);
    assert_eq!(sent(&world)[2..], ["remove replica web on b"]);
    let removal = world
        .entries()
        .find(|it| it.plan.kind == ActionKind::RemoveReplica);
    let removal = removal.unwrap();
    assert!(removal.plan.undo_of.is_some());
    let why = &removal.plan.cause.reason;
    assert!(why.contains("web on node b is running"), "{why}");
    assert_eq!(world.place("web").0, NodeId::from("a"));
}

#[test]
fn what_fails_once_it_is_alone_is_taken_back_whole() {
    let mut world = fleet(movable());
    pressure(&mut world);
    live_until(&mut world, ActionKind::Stop);
    let b = NodeId::from("b");
    let at = world.nodes[&b]
        .iter()
        .position(|it| it.made_by.is_some())
        .unwrap();
    world.nodes.get_mut(&b).unwrap()[at].state = ContainerState::Exited;
    live(&mut world, 300);
    assert_eq!(
        sent(&world)[3..],
        ["restart web on a", "remove replica web on b"]
    );
    assert_eq!(world.place("web").1.state, ContainerState::Running);
}

/// Where the new one is.
fn there(world: &mut World) -> &mut units::ContainerRecord {
    let on_b = world.nodes.get_mut(&NodeId::from("b")).unwrap();
    let found = on_b.iter_mut().find(|it| it.made_by.is_some());
    found.unwrap()
}

#[test]
fn what_is_all_there_is_stays_though_it_ends_for_a_while() {
    // The one before was removed, and what serves in its place is taken to be worse.
    let mut world = fleet(movable());
    world.container("web").made_by = Some("web-create_replica-1".into());
    pressure(&mut world);
    live_until(&mut world, ActionKind::RemoveReplica);
    let web = Subject::service("web".into());
    world.open_about(SignalKind::Overload, web, Severity::Critical);
    live(&mut world, 30);
    there(&mut world).state = ContainerState::Exited;
    live(&mut world, 60);
    there(&mut world).state = ContainerState::Running;
    live(&mut world, 60);
    let went = sent(&world);
    assert_eq!(went.last().unwrap(), "remove replica web on a", "{went:?}");

    // The stop failed, and yet it ended.
    let mut world = fleet(movable());
    pressure(&mut world);
    while world.count(ActionKind::Stop) == 0 {
        world.actuate();
        world.pass(secs(1));
    }
    let mut outcomes = world.engine();
    for outcome in &mut outcomes {
        outcome.result = OutcomeResult::Failed {
            error: "the engine did half of it".to_owned(),
        };
        world.answer(outcome.clone());
    }
    assert_eq!(outcomes.len(), 1);
    world.tell_inventory();
    live(&mut world, 30);
    there(&mut world).state = ContainerState::Exited;
    live(&mut world, 60);
    let went = sent(&world);
    assert_eq!(went.last().unwrap(), "stop web on a", "{went:?}");
    there(&mut world).state = ContainerState::Running;
    live(&mut world, 60);
    let went = sent(&world);
    assert_eq!(went.last().unwrap(), "stop web on a", "{went:?}");
}

#[test]
fn why_not_tells_of_a_move_under_way_and_of_one_that_went_wrong() {
    let mut world = fleet(movable());
    world.broken = vec![NodeId::from("b")];
    pressure(&mut world);
    let told = |world: &World| -> Vec<String> {
        let reasons = world.core.why_not(&"web".into(), world.now).unwrap();
        let texts = reasons.into_iter().map(|it| it.text);
        texts.filter(|it| it.contains("move of web")).collect()
    };
    assert_eq!(told(&world), Vec::<String>::new());
    while world.count(ActionKind::Export) == 0 {
        world.pass(secs(1));
    }
    let under_way = "the move of web from node a to b is under way";
    assert!(told(&world)[0].starts_with(under_way), "{:?}", told(&world));
    live(&mut world, 10);
    let lost = "the move of web from node a to b went wrong: add replica web, as it is made on a failed on node b: no such network";
    assert!(told(&world)[0].starts_with(lost), "{:?}", told(&world));
}

#[test]
fn of_a_move_whose_image_did_not_come_in_time_it_is_told_what_took_so_long() {
    let mut world = fleet(movable());
    pressure(&mut world);
    while world.count(ActionKind::CreateReplica) == 0 {
        world.actuate();
        world.pass(secs(1));
    }
    let outcomes = world.engine();
    assert_eq!(outcomes.len(), 1);
    for outcome in outcomes {
        world.answer(Outcome {
            result: OutcomeResult::Refused {
                refusal: Refusal::Expired,
                reason: "its deadline passed while it had its image pulled".to_owned(),
            },
            ..outcome
        });
    }
    live(&mut world, 30);
    let reasons = world.core.why_not(&"web".into(), world.now).unwrap();
    let mut texts = reasons.into_iter().map(|it| it.text);
    let lost =
        "went wrong: node b did not begin it: its deadline passed while it had its image pulled";
    assert!(texts.any(|it| it.contains(lost)));
}

#[test]
fn what_is_not_movable_or_only_observed_stays() {
    let observed = Policy {
        mode: Mode::Observe,
        ..movable()
    };
    for of_web in [policy(None), observed] {
        let mut world = fleet(of_web);
        pressure(&mut world);
        live(&mut world, 600);
        assert_eq!(sent(&world), Vec::<String>::new());
    }
}

#[test]
fn where_it_may_only_be_suggested_it_is_said_and_an_approval_brings_the_whole_move() {
    let suggested = Policy {
        mode: Mode::Suggest,
        ..movable()
    };
    let mut world = fleet(suggested);
    pressure(&mut world);
    live(&mut world, 300);
    assert_eq!(sent(&world), Vec::<String>::new());
    let said = world.in_phase(Phase::Suggested);
    assert_eq!(said.len(), 1, "said once");
    let id = said[0].plan.id.clone();
    world.approve(&id);
    live(&mut world, 300);
    assert_eq!(sent(&world), WHOLE);
}

#[test]
fn what_would_be_cut_off_from_others_by_it_is_left_where_it_is() {
    let mut world = fleet(movable());
    let network = units::NetworkSpec {
        name: "shop".to_owned(),
        ..units::NetworkSpec::default()
    };
    for name in ["web", "job"] {
        world.container(name).spec = Some(Arc::new(units::ContainerSpec {
            networks: vec![network.clone()],
            ..units::ContainerSpec::default()
        }));
    }
    pressure(&mut world);
    live(&mut world, 600);
    assert_eq!(sent(&world), Vec::<String>::new());
}

#[test]
fn what_a_person_stops_meanwhile_is_theirs() {
    let mut world = fleet(movable());
    pressure(&mut world);
    live_until(&mut world, ActionKind::CreateReplica);
    world.container("web").state = ContainerState::Exited;
    live(&mut world, 600);
    assert_eq!(sent(&world), WHOLE[..2]);
}

#[test]
fn when_somebody_puts_another_in_its_place_meanwhile_the_new_one_goes() {
    let mut world = fleet(movable());
    pressure(&mut world);
    live_until(&mut world, ActionKind::CreateReplica);
    world.container("web").id = "deployed".into();
    live(&mut world, 150);
    assert_eq!(sent(&world)[2..], ["remove replica web on b"]);
}

fn order(world: &mut World, node: &str, wanted: NodeWanted) {
    let order = NodeOrder {
        node: NodeId::from(node),
        wanted,
        at: world.now,
        by: Some("ann".to_owned()),
    };
    let entry = JournalEntry::Node(order);
    world.journal.push(entry.clone());
    world.tell(Event::Journal(Box::new(entry)));
}

#[test]
fn a_node_that_is_to_be_drained_gives_away_what_may_be_moved_and_keeps_the_rest() {
    let mut world = fleet(movable());
    order(&mut world, "a", NodeWanted::Drained);
    live(&mut world, 200);
    assert_eq!(sent(&world), WHOLE);
    let why = &world.in_phase(Phase::Judged)[0].plan.cause.reason;
    assert_eq!(
        why,
        "move of web from node a to b: node a is to be drained, ordered by ann"
    );
    let capacity = world.core.capacity(world.now);
    assert_eq!(capacity.nodes[0].wanted, NodeWanted::Drained);
    let stays = "a is to be drained, and 1 containers stay on it";
    let remarks = &capacity.remarks;
    assert!(remarks[0].starts_with(stays), "{remarks:?}");
    live(&mut world, 600);
    assert_eq!(sent(&world), WHOLE, "nothing more, and nothing comes back");
}

#[test]
fn a_drain_outlives_a_controller_and_ends_with_the_order_to_open() {
    let mut world = fleet(movable());
    order(&mut world, "a", NodeWanted::Drained);
    world.take_over();
    live(&mut world, 100);
    world.take_over();
    live(&mut world, 200);
    assert_eq!(sent(&world), WHOLE);
    let mut world = fleet(movable());
    order(&mut world, "a", NodeWanted::Drained);
    world.now = world.now + secs(1);
    order(&mut world, "a", NodeWanted::Open);
    let begun = sent(&world);
    live(&mut world, 200);
    assert!(begun.len() <= 1, "{begun:?}");
    let mut world = fleet(movable());
    order(&mut world, "a", NodeWanted::Open);
    live(&mut world, 200);
    assert_eq!(sent(&world), Vec::<String>::new());
}

#[test]
fn nothing_comes_to_a_node_that_is_cordoned() {
    let mut world = fleet(movable());
    order(&mut world, "b", NodeWanted::Cordoned);
    pressure(&mut world);
    live(&mut world, 600);
    assert_eq!(sent(&world), Vec::<String>::new());
}

#[test]
fn of_a_node_that_is_drained_a_few_go_at_a_time() {
    let mut world = fleet(movable());
    for number in 0..8 {
        let name = format!("worker-{number}");
        world = world.with("a", &name, &name, movable());
        let record = world.container(&name);
        record.limits = Limits {
            cpu: Some(Millicores(100)),
            memory: Some(Bytes(GIB / 8)),
        };
        record.spec = Some(Arc::default());
    }
    world.tell_inventory();
    order(&mut world, "a", NodeWanted::Drained);
    let mut most = 0;
    for _ in 0..900 {
        live(&mut world, 1);
        let there = world.nodes.values().flatten();
        most = most.max(there.filter(|it| it.is_serving()).count());
    }
    let left = world.nodes[&NodeId::from("a")].iter();
    let left: Vec<&str> = left
        .filter(|it| it.is_serving())
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(left, ["job"]);
    assert_eq!(most, 11 + 3, "the new one comes first, of three at a time");
}

#[test]
fn nothing_else_of_the_service_is_taken_away_or_changed_meanwhile() {
    let mut world = fleet(movable());
    pressure(&mut world);
    live(&mut world, 300);
    for entry in &world.journal {
        let JournalEntry::Plan(entry) = entry else {
            continue;
        };
        assert!(entry.plan.relocation.is_some(), "{entry:#?}");
        for step in &entry.plan.steps {
            assert!(!matches!(step.action, Action::UpdateLimits { .. }));
        }
    }
}

#[test]
fn nothing_is_made_on_a_node_that_fell_silent_and_the_move_is_given_up() {
    // Given up, another is begun for the node that is short still.
    for (silent_s, begun) in [(60, 1), (330, 2)] {
        let mut world = fleet(movable());
        pressure(&mut world);
        while world.count(ActionKind::Export) == 0 {
            world.pass(secs(1));
        }
        let b = NodeId::from("b");
        let holds = world.nodes.remove(&b).unwrap();
        // It is told how it is made when the other node is silent already.
        world.pass(secs(11));
        live(&mut world, silent_s);
        assert_eq!(world.count(ActionKind::CreateReplica), 0, "{silent_s} s");
        world.nodes.insert(b, holds);
        live(&mut world, 60);
        assert_eq!(world.count(ActionKind::CreateReplica), 1, "{silent_s} s");
        assert_eq!(world.count(ActionKind::Export), begun, "{silent_s} s");
    }
}

/// Its budget keeps the old one for longer than a move is begun again for. Meanwhile that one turns sick, and nothing heals it while it is
/// on its way.
#[test]
fn a_late_move_is_not_taken_back_to_one_that_does_not_serve() {
    let mut world = fleet(movable());
    world.config.budget.service_hourly = 2;
    world.take_over();
    pressure(&mut world);
    live_until(&mut world, ActionKind::CreateReplica);
    live(&mut world, 120);
    assert_eq!(sent(&world), WHOLE[..2]);
    world.container("web").health = HealthState::Unhealthy;
    live(&mut world, 3_600);
    assert_eq!(sent(&world), WHOLE);
    let (_, old) = world.place("web");
    assert_eq!(old.state, ContainerState::Exited);
}

/// Its last words are that it serves; what serves now is not taken away for that.
#[test]
fn what_serves_stays_where_the_node_it_came_from_is_gone() {
    let mut world = fleet(movable());
    let mut second = world.place("web").1;
    second.id = units::ContainerId::from("id-web-2");
    second.name = units::ContainerName::from("web-2");
    world.nodes.insert(NodeId::from("c"), vec![second]);
    live(&mut world, 5);
    order(&mut world, "a", NodeWanted::Drained);
    live_until(&mut world, ActionKind::CreateReplica);
    live(&mut world, 2);
    world.down.insert(NodeId::from("a"));
    live(&mut world, 2 * 3_600);
    assert_eq!(
        world.count(ActionKind::RemoveReplica),
        0,
        "{:?}",
        sent(&world)
    );
}
