//! What ran on a lost node runs elsewhere, once, and gives way to nothing when the node is back.
#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;

use control::Event;
use units::{
    ActionKind, Bytes, ContainerState, EventKind, Fenced, JournalEntry, Limits, Millicores, Mode,
    NodeCapacity, NodeId, NodeOrder, NodeWanted, Phase, Policy, ServiceId, Severity, SignalKind,
    Subject, VerdictKind,
};
use world::{World, acting, policy, secs};

const GIB: u64 = 1 << 30;

fn movable() -> Policy {
    Policy {
        movable: true,
        heal: false,
        ..policy(None)
    }
}

fn singleton() -> Policy {
    Policy {
        singleton: true,
        ..movable()
    }
}

fn node(name: &str) -> NodeId {
    NodeId::from(name)
}

/// `web` on `a`, room for it on `b` and `c`.
fn fleet(of_web: Policy) -> World {
    fleet_of(acting(), of_web)
}

fn fleet_of(config: control::Config, of_web: Policy) -> World {
    let mut world = World::new(config);
    world.capacity_of_nodes = NodeCapacity {
        cpu: Millicores(4_000),
        memory: Bytes(8 * GIB),
    };
    let staying = Policy {
        movable: false,
        ..of_web.clone()
    };
    world = world
        .with("a", "web", "web", of_web)
        .with("a", "job", "job", staying.clone())
        .with("b", "db", "db", staying.clone())
        .with("c", "mail", "mail", staying);
    for record in world.nodes.values_mut().flatten() {
        record.limits = Limits {
            cpu: Some(Millicores(1_000)),
            memory: Some(Bytes(GIB)),
        };
        record.spec = Some(Arc::default());
    }
    world.container("mail").limits.cpu = Some(Millicores(2_000));
    let mut world = world.leading().beats();
    live(&mut world, 20);
    world
}

/// Time goes by, and what is commanded is done and answered.
fn live(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.pass(secs(1));
        world.actuate();
    }
}

fn sent(world: &World) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let sent = world
        .commands
        .iter()
        .filter(|it| seen.insert(it.id.clone()));
    sent.map(|it| format!("{} on {}", it.action, it.node))
        .collect()
}

fn why_not(world: &World) -> String {
    let reasons = world.core.why_not(&ServiceId::from("web"), world.now);
    let reasons = reasons.unwrap().into_iter().map(|it| it.text);
    reasons.collect::<Vec<_>>().join("; ")
}

/// Nothing was heard for the seconds of this test of what is on `a`.
fn lose(world: &mut World, name: &str) {
    world.down.insert(node(name));
}

fn comes_back(world: &mut World, name: &str) {
    world.down.remove(&node(name));
}

const MADE: &str = "add replica web, as it is made on a on b";

#[test]
fn what_ran_on_a_lost_node_runs_elsewhere_and_the_old_one_goes_when_it_is_back() {
    let mut world = fleet(movable());
    lose(&mut world, "a");
    live(&mut world, 6);
    assert_eq!(sent(&world), Vec::<String>::new(), "within the lease");
    live(&mut world, 3);
    assert_eq!(sent(&world), [MADE]);
    live(&mut world, 8);
    let entry = world.last().clone();
    let verdict = entry.verdict.clone().unwrap();
    assert_eq!(verdict.kind, VerdictKind::Helped, "{}", verdict.reason);
    let reason = &entry.plan.cause.reason;
    assert!(
        reason.contains("failover of web from lost node a to b: nothing was heard of its actuator"),
        "{reason}"
    );
    // Nothing more happens for as long as it is away, however long that is and whoever leads.
    live(&mut world, 300);
    world.take_over();
    world.now = world.now + secs(3 * 86_400);
    live(&mut world, 120);
    assert_eq!(sent(&world), [MADE]);
    comes_back(&mut world, "a");
    live(&mut world, 60);
    assert_eq!(sent(&world), [MADE, "stop web on a"]);
    let running = |it: &&units::ContainerRecord| it.state == ContainerState::Running;
    let all = world.nodes.values().flatten();
    let of_web = all
        .filter(|it| it.service.as_str() == "web")
        .filter(running);
    assert_eq!(of_web.count(), 1);
    live(&mut world, 600);
    assert_eq!(sent(&world).len(), 2, "no flapping");
}

#[test]
fn what_may_run_once_waits_until_its_own_node_has_stopped_it() {
    let mut world = fleet(singleton());
    lose(&mut world, "a");
    live(&mut world, 12);
    assert_eq!(sent(&world), Vec::<String>::new());
    let said = why_not(&world);
    assert!(said.contains("no two of it may run at once"), "{said}");
    live(&mut world, 4);
    assert_eq!(sent(&world), [MADE]);
    // Its own actuator stopped it.
    live(&mut world, 20);
    fence(&mut world);
    comes_back(&mut world, "a");
    live(&mut world, 120);
    assert_eq!(sent(&world), [MADE], "it stays stopped");
    // Long after what was done is forgotten its actuator tells it still.
    live(&mut world, 3 * 3_600);
    assert_eq!(sent(&world), [MADE]);
}

/// The actuator of `a` stops `web`, as its lease is over, and its engine tells of that.
fn fence(world: &mut World) {
    let at = world.now;
    let record = world.container("web");
    let container = record.id.clone();
    record.state = ContainerState::Exited;
    record.finished_at = Some(at);
    world
        .beating
        .insert(node("a"), vec![Fenced { container, at }]);
    world.happen("web", EventKind::Stopping { signal: None });
}

#[test]
fn what_was_stopped_for_want_of_a_lease_is_started_again_where_nothing_took_its_place() {
    let mut world = fleet(singleton());
    lose(&mut world, "a");
    live(&mut world, 7);
    fence(&mut world);
    comes_back(&mut world, "a");
    live(&mut world, 5);
    assert_eq!(sent(&world), ["restart web on a"]);
    let (_, web) = world.place("web");
    assert_eq!(web.state, ContainerState::Running);
    world.beating.insert(node("a"), Vec::new());
    live(&mut world, 120);
    assert_eq!(sent(&world), ["restart web on a"]);
    assert_eq!(world.in_phase(Phase::Judged).len(), 1);
}

#[test]
fn a_node_is_lost_only_when_more_than_one_sign_says_so() {
    // Its collector is heard, its actuator is not.
    let mut world = fleet(movable());
    world.beating.remove(&node("a"));
    live(&mut world, 120);
    assert_eq!(sent(&world), Vec::<String>::new());
    // No heartbeat of any node is heard: it is this side that hears nothing.
    let mut world = fleet(movable());
    world.beating.clear();
    lose(&mut world, "a");
    live(&mut world, 120);
    assert_eq!(sent(&world), Vec::<String>::new());
}

#[test]
fn many_lost_nodes_at_once_are_only_said() {
    let mut world = fleet(movable());
    lose(&mut world, "a");
    lose(&mut world, "c");
    live(&mut world, 9);
    assert_eq!(sent(&world), Vec::<String>::new());
    let said = why_not(&world);
    assert!(said.contains("2 of 3 nodes are lost at once"), "{said}");
    let suggested = world.in_phase(Phase::Suggested);
    assert_eq!(suggested.len(), 1);
    let plan = suggested[0].plan.clone();
    assert_eq!(
        (plan.kind, plan.mode),
        (ActionKind::CreateReplica, Mode::Suggest)
    );
    // One of them is back, and the breaker that most of them opened closes.
    comes_back(&mut world, "c");
    live(&mut world, 150);
    assert_eq!(sent(&world), [MADE]);
}

#[test]
fn a_whole_zone_lost_is_only_said() {
    let mut world = World::new(acting());
    world.capacity_of_nodes = NodeCapacity {
        cpu: Millicores(4_000),
        memory: Bytes(8 * GIB),
    };
    world = world.with("a", "web", "web", movable());
    for at in 0..30 {
        let name = format!("n{at}");
        world = world.with(&name, &name, &name, policy(None));
        world.zones.insert(node(&name), "east".to_owned());
    }
    world = world.with("z", "z", "z", movable());
    for name in ["a", "z"] {
        world.zones.insert(node(name), "west".to_owned());
    }
    for record in world.nodes.values_mut().flatten() {
        record.limits = Limits {
            cpu: Some(Millicores(1_000)),
            memory: Some(Bytes(GIB)),
        };
        record.spec = Some(Arc::default());
    }
    let mut world = world.leading().beats();
    live(&mut world, 20);
    lose(&mut world, "a");
    lose(&mut world, "z");
    live(&mut world, 15);
    assert_eq!(sent(&world), Vec::<String>::new());
    let said = why_not(&world);
    assert!(said.contains("all 2 nodes of zone west are lost"), "{said}");
}

#[test]
fn where_it_cannot_be_made_it_is_tried_elsewhere_later() {
    let mut world = fleet(movable());
    world.broken.push(node("b"));
    lose(&mut world, "a");
    live(&mut world, 12);
    assert_eq!(sent(&world), [MADE]);
    live(&mut world, 90);
    let sent = sent(&world);
    assert!(
        sent.contains(&"add replica web, as it is made on a on c".to_owned()),
        "{sent:?}; {}",
        why_not(&world)
    );
}

#[test]
fn the_same_is_found_by_a_leader_that_begins_when_the_node_is_long_gone() {
    let mut world = fleet(movable());
    lose(&mut world, "a");
    live(&mut world, 3);
    world.take_over();
    assert_eq!(sent(&world), Vec::<String>::new());
    live(&mut world, 15);
    assert_eq!(sent(&world), [MADE]);
    // What was told to be made no more is not.
    let mut world = fleet(movable());
    let container = world.place("web").1.id;
    world.exports.clear();
    world.tell(Event::ExportGone(container));
    lose(&mut world, "a");
    live(&mut world, 60);
    assert_eq!(sent(&world), Vec::<String>::new());
}

#[test]
fn a_node_that_people_took_out_is_not_waited_for_nor_is_what_ran_there() {
    let mut world = fleet(movable());
    lose(&mut world, "a");
    world.tell(Event::NodeRemoved(node("a")));
    live(&mut world, 60);
    assert_eq!(sent(&world), Vec::<String>::new());
    let fleet = world.core.capacity(world.now);
    assert!(
        fleet.nodes.iter().all(|it| it.node != node("a")),
        "{fleet:?}"
    );
}

#[test]
fn where_all_others_are_short_it_runs_there_at_least() {
    let mut world = fleet(movable());
    for name in ["b", "c"] {
        let subject = Subject::node(node(name));
        world.open_about(SignalKind::NodePressure, subject, Severity::Warning);
    }
    lose(&mut world, "a");
    live(&mut world, 9);
    assert_eq!(sent(&world), [MADE]);
}

#[test]
fn several_of_a_service_are_made_elsewhere_one_after_the_other() {
    let mut world = fleet(movable());
    let on_b = world.place("db").1;
    let mut second = world.place("web").1;
    second.id = units::ContainerId::from("id-web-2");
    second.name = units::ContainerName::from("web-2");
    world.nodes.get_mut(&node("a")).unwrap().push(second);
    assert_eq!(on_b.service.as_str(), "db");
    let mut world = world.beats();
    live(&mut world, 10);
    lose(&mut world, "a");
    live(&mut world, 60);
    // The auditor of this world would say of both at once that one of the service runs already.
    let made = sent(&world);
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(
        made.iter().all(|it| it.starts_with("add replica web")),
        "{made:?}"
    );
}

#[test]
fn what_waited_while_the_controller_stood_still_is_no_loss() {
    let mut world = fleet(movable());
    // It stands still for longer than a lease, and reads what was sent meanwhile one by one.
    world.now = world.now + secs(20);
    for name in ["b", "a", "c"] {
        let beat = units::Heartbeat {
            node: node(name),
            at: world.now,
            lease: secs(6),
            fenced: Vec::new(),
            healed: Vec::new(),
        };
        world.auditor.observe_heartbeat(&beat, world.now);
        world.tell(Event::Heartbeat(Box::new(beat)));
        world.now = world.now + std::time::Duration::from_millis(1);
    }
    live(&mut world, 30);
    assert_eq!(sent(&world), Vec::<String>::new());
}

#[test]
fn a_heartbeat_that_comes_late_is_not_the_return_of_its_node() {
    let mut world = fleet(movable());
    lose(&mut world, "a");
    lose(&mut world, "c");
    live(&mut world, 12);
    for _ in 0..2 {
        let beat = units::Heartbeat {
            node: node("c"),
            at: world.now,
            lease: secs(6),
            fenced: Vec::new(),
            healed: Vec::new(),
        };
        world.auditor.observe_heartbeat(&beat, world.now);
        world.tell(Event::Heartbeat(Box::new(beat)));
        live(&mut world, 2);
    }
    live(&mut world, 30);
    assert_eq!(sent(&world), Vec::<String>::new(), "two are lost still");
}

#[test]
fn what_was_stopped_for_want_of_a_lease_stays_so_while_another_is_anywhere() {
    let mut world = fleet(singleton());
    lose(&mut world, "a");
    live(&mut world, 20);
    assert_eq!(sent(&world), [MADE]);
    // The new one's actuator tells how it is made, too.
    let mut world = world.beats();
    fence(&mut world);
    comes_back(&mut world, "a");
    live(&mut world, 60);
    // The one that took its place is lost in turn, and a third takes that one's.
    lose(&mut world, "b");
    live(&mut world, 120);
    let made = sent(&world);
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(made[1].starts_with("add replica web"), "{made:?}");
    // Whoever leads then, and however long ago that was.
    live(&mut world, 600);
    world.take_over();
    world.now = world.now + secs(4 * 3_600);
    live(&mut world, 600);
    assert_eq!(sent(&world), made, "it stays stopped");
}

#[test]
fn a_singleton_is_not_moved_while_its_node_is_there() {
    for policy in [movable(), singleton()] {
        let is_singleton = policy.singleton;
        let mut world = fleet(policy);
        let order = units::NodeOrder {
            node: node("a"),
            wanted: units::NodeWanted::Drained,
            at: world.now,
            by: None,
        };
        world.tell(Event::Journal(Box::new(units::JournalEntry::Node(order))));
        live(&mut world, 120);
        assert_eq!(sent(&world).is_empty(), is_singleton, "{:?}", sent(&world));
    }
}

#[test]
fn what_took_a_place_and_is_sick_is_healed_as_any_other() {
    let healed = Policy {
        heal: true,
        ..movable()
    };
    let mut world = fleet(healed);
    lose(&mut world, "a");
    for _ in 0..10 {
        world.pass(secs(1));
        world.actuate();
        sicken(&mut world);
    }
    assert_eq!(sent(&world), [MADE]);
    let on_b = world.nodes[&node("b")].iter();
    let mut on_b = on_b.filter(|it| it.service.as_str() == "web");
    let record = on_b.next().unwrap().clone();
    let subject = units::Subject::container(record.service, node("b"), record.id, record.name);
    world.open_about(
        units::SignalKind::Unhealthy,
        subject,
        units::Severity::Critical,
    );
    for _ in 0..30 {
        world.pass(secs(1));
        sicken(&mut world);
    }
    let sent = sent(&world);
    assert!(sent.contains(&"restart web on b".to_owned()), "{sent:?}");
}

/// What was made on `b` in the place of `web` fails its health check.
fn sicken(world: &mut World) {
    for record in world.nodes.get_mut(&node("b")).unwrap() {
        if record.service.as_str() == "web" {
            record.health = units::HealthState::Unhealthy;
        }
    }
}

#[test]
fn the_old_one_goes_also_where_the_new_one_has_moved_on() {
    let mut config = acting();
    config.failover.nodes_share = 1.0;
    let mut world = fleet_of(config, movable());
    lose(&mut world, "a");
    live(&mut world, 20);
    assert_eq!(sent(&world), [MADE]);
    let mut world = world.beats();
    lose(&mut world, "b");
    live(&mut world, 120);
    comes_back(&mut world, "b");
    live(&mut world, 120);
    let made = sent(&world);
    assert_eq!(made[2..], ["remove replica web on b"], "{made:?}");
    comes_back(&mut world, "a");
    live(&mut world, 120);
    let made = sent(&world);
    assert_eq!(made[3..], ["stop web on a"], "{made:?}");
}

/// Lives until so many commands were sent; the last is not carried out yet.
fn live_until_sent(world: &mut World, count: usize) {
    for _ in 0..120 {
        world.pass(secs(1));
        if sent(world).len() == count {
            return;
        }
        world.actuate();
    }
    panic!("{:?}: {}", sent(world), why_not(world));
}

/// Nothing more will be told of what took a place on a node that is lost: that is not waited for.
#[test]
fn a_node_lost_while_the_old_one_goes_is_not_waited_for() {
    let mut world = fleet(movable());
    lose(&mut world, "a");
    live(&mut world, 20);
    comes_back(&mut world, "a");
    live_until_sent(&mut world, 2);
    live(&mut world, 20);
    let mut world = world.beats();
    lose(&mut world, "b");
    live(&mut world, 20);
    comes_back(&mut world, "b");
    live_until_sent(&mut world, 4);
    let on_a = sent(&world);
    assert!(on_a[2].ends_with("on a"), "{on_a:?}");
    assert_eq!(on_a[3], "remove replica web on b");
    // Its last words are of before that, and it has not spoken for long enough to be believed in all.
    let mut world = world.beats();
    lose(&mut world, "a");
    live(&mut world, 10);
    let made = sent(&world);
    assert_eq!(made.len(), 5, "{made:?}: {}", why_not(&world));
    assert!(made[4].starts_with("add replica web"), "{made:?}");
}

#[test]
fn a_node_lost_just_after_a_restart_there_is_not_waited_for() {
    let healed = Policy {
        heal: true,
        ..movable()
    };
    let mut world = fleet(healed);
    world.open(SignalKind::Unhealthy, "web", Severity::Critical);
    live_until_sent(&mut world, 1);
    live(&mut world, 2);
    assert_eq!(sent(&world), ["restart web on a"]);
    lose(&mut world, "a");
    live(&mut world, 10);
    assert_eq!(sent(&world)[1..], [MADE], "{}", why_not(&world));
    let mut judged = world.entries().filter_map(|it| it.verdict.as_ref());
    let verdict = judged.next().unwrap();
    assert_eq!(verdict.kind, VerdictKind::Unknown, "{}", verdict.reason);
}

/// What comes of another plan of the service, elsewhere, can be watched for minutes: its verdict would be of other circumstances anyhow.
#[test]
fn what_is_watched_of_the_service_elsewhere_is_not_waited_for() {
    let mut world = fleet(Policy {
        movable: true,
        heal: false,
        ..policy(Some((1, 3)))
    });
    for _ in 0..5 {
        live(&mut world, 1);
        world.load("web", 950.0, 0.0);
    }
    live(&mut world, 3);
    let added = sent(&world);
    assert_eq!(added.len(), 1, "{added:?}");
    assert!(added[0].starts_with("add replica"), "{added:?}");
    assert_eq!(world.last().phase, Phase::Executed);
    let made_at = world.last().plan.created_at;
    lose(&mut world, "a");
    live(&mut world, 9);
    let sent = sent(&world);
    assert!(
        sent.contains(&MADE.to_owned()),
        "{sent:?}: {}",
        why_not(&world)
    );
    let mut entries = world.entries();
    let scaled = entries.find(|it| it.plan.created_at == made_at && it.verdict.is_some());
    let verdict = scaled.unwrap().verdict.as_ref().unwrap();
    assert_eq!(verdict.kind, VerdictKind::Unknown, "{}", verdict.reason);
    assert!(
        verdict.reason.contains("node a was lost"),
        "{}",
        verdict.reason
    );
}

/// With no place for what is lost, nothing is gained by that: what is done later is watched as ever.
#[test]
fn what_was_begun_after_the_loss_is_watched_to_its_end() {
    let healed = Policy {
        heal: true,
        ..movable()
    };
    let mut world = fleet(healed);
    let mut second = world.place("web").1;
    second.id = units::ContainerId::from("id-web-2");
    second.name = units::ContainerName::from("web-2");
    world.nodes.get_mut(&node("b")).unwrap().push(second);
    for other in ["b", "c"] {
        order(&mut world, other, NodeWanted::Cordoned);
    }
    live(&mut world, 10);
    lose(&mut world, "a");
    live(&mut world, 20);
    assert_eq!(sent(&world), Vec::<String>::new());
    world.open(SignalKind::Unhealthy, "web-2", Severity::Critical);
    live_until_sent(&mut world, 1);
    live(&mut world, 10);
    assert_eq!(sent(&world), ["restart web-2 on b"]);
    assert_eq!(world.last().phase, Phase::Executed);
}

/// A host that fails is drained before it is gone, and that may go wrong.
#[test]
fn a_move_that_went_wrong_before_the_loss_bars_no_failover() {
    let mut world = fleet(movable());
    world.broken.push(node("b"));
    order(&mut world, "a", NodeWanted::Drained);
    live_until_sent(&mut world, 2);
    live(&mut world, 30);
    let before = sent(&world);
    assert!(before[1].starts_with("add replica web"), "{before:?}");
    assert_eq!(world.in_phase(Phase::Failed).len(), 1, "{before:?}");
    lose(&mut world, "a");
    live(&mut world, 12);
    let made = sent(&world);
    let elsewhere = "add replica web, as it is made on a on c";
    assert_eq!(made[before.len()..], [elsewhere], "{}", why_not(&world));
}

fn order(world: &mut World, name: &str, wanted: NodeWanted) {
    let order = NodeOrder {
        node: node(name),
        wanted,
        at: world.now,
        by: None,
    };
    let entry = JournalEntry::Node(order);
    world.journal.push(entry.clone());
    world.tell(Event::Journal(Box::new(entry)));
}

#[test]
fn what_people_paused_is_made_nowhere() {
    let mut world = fleet(movable());
    world.container("web").state = ContainerState::Paused;
    live(&mut world, 5);
    lose(&mut world, "a");
    live(&mut world, 60);
    assert_eq!(sent(&world), Vec::<String>::new());
}

/// The one that was made elsewhere turned sick, and then the old one is there again.
#[test]
fn a_stand_in_that_does_not_serve_gives_way_to_the_old_one() {
    let mut world = fleet(movable());
    lose(&mut world, "a");
    live(&mut world, 20);
    assert_eq!(sent(&world), [MADE]);
    let on_b = world.nodes.get_mut(&node("b")).unwrap();
    on_b.last_mut().unwrap().health = units::HealthState::Unhealthy;
    live(&mut world, 5);
    comes_back(&mut world, "a");
    live(&mut world, 30);
    assert_eq!(sent(&world), [MADE, "remove replica web on b"]);
    let (at, web) = world.place("web");
    assert_eq!((at, web.state), (node("a"), ContainerState::Running));
}
