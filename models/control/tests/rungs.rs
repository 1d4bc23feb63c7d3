//! What follows where a new container did not cure it: one on another node, then out of its networks, then people.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use units::{
    Action, ActionKind, Bytes, ContainerId, ContainerRecord, ContainerSpec, ContainerState, Limits,
    Millicores, NetworkSpec, NodeCapacity, NodeId, Outcome, OutcomeResult, Phase, Policy,
    ScalePolicy, ScaleTarget, ServiceId, Severity, Signal, SignalKind, SignalPhase, Subject,
    VerdictKind,
};
use world::{World, acting, policy, secs};

const GIB: u64 = 1 << 30;

fn recreating() -> Policy {
    Policy {
        recreate: true,
        ..policy(None)
    }
}

fn movable() -> Policy {
    Policy {
        movable: true,
        ..recreating()
    }
}

fn in_network(name: &str) -> Option<Arc<ContainerSpec>> {
    Some(Arc::new(ContainerSpec {
        network_mode: "shop".to_owned(),
        networks: vec![NetworkSpec {
            name: format!("shop-{name}"),
            aliases: vec!["web".to_owned()],
            addresses: Vec::new(),
        }],
        ..ContainerSpec::default()
    }))
}

/// What makes a container sick, whichever it is: its node and its name.
type Place = (&'static str, &'static str);

/// A fleet in which some places make sick, and in which somebody tells.
struct Ward {
    world: World,
    kind: SignalKind,
    sick: Vec<Place>,
    told: BTreeMap<ContainerId, Signal>,
    /// Actuators are asked.
    seconds: u64,
}

impl Ward {
    /// `web-1` on `a` and `web-2` on `b`; `c` has room.
    fn new(policy: Policy) -> Self {
        Ward::of(&[("a", "web-1"), ("b", "web-2")], policy)
    }

    fn of(places: &[Place], policy: Policy) -> Self {
        let mut world = World::new(acting());
        world.capacity_of_nodes = NodeCapacity {
            cpu: Millicores(4_000),
            memory: Bytes(8 * GIB),
        };
        for (node, name) in places {
            world = world.with(node, name, "web", policy.clone());
        }
        world = world.with("c", "db", "db", recreating());
        for record in world.nodes.values_mut().flatten() {
            record.limits = Limits {
                cpu: Some(Millicores(1_000)),
                memory: Some(Bytes(GIB)),
            };
            record.spec = in_network(record.name.as_str());
        }
        // The node with the most room.
        world.container("db").limits.cpu = Some(Millicores(500));
        Ward {
            world: world.leading(),
            kind: SignalKind::Hang,
            sick: vec![("a", "web-1")],
            told: BTreeMap::new(),
            seconds: 0,
        }
    }

    /// The same, in which the program is sick wherever it is.
    fn hopeless(policy: Policy) -> Self {
        let mut ward = Ward::new(policy);
        ward.sick.push(("c", "web-1"));
        ward
    }

    fn sick(&self) -> BTreeSet<ContainerId> {
        let all = self.world.nodes.iter();
        let all = all.flat_map(|(node, records)| records.iter().map(move |it| (node, it)));
        let sick = all.filter(|(node, record)| {
            let place = (node.as_str(), record.name.as_str());
            let runs = matches!(
                record.state,
                ContainerState::Running | ContainerState::Restarting
            );
            runs && self.sick.contains(&place)
        });
        sick.map(|(_, record)| record.id.clone()).collect()
    }

    /// Tells what is sick: soon after it is, again and again, and when it is over.
    fn tell(&mut self) {
        let sick = self.sick();
        let over: Vec<ContainerId> = self.told.keys().cloned().collect();
        for id in over.into_iter().filter(|id| !sick.contains(id)) {
            let signal = self.told.remove(&id).unwrap();
            self.world.resolve(&signal);
        }
        if !self.seconds.is_multiple_of(5) {
            return;
        }
        for id in sick {
            let (node, record) = self.find(&id);
            match self.told.get(&id) {
                Some(signal) => {
                    let again = Signal {
                        phase: SignalPhase::Update,
                        at: self.world.now,
                        ..signal.clone()
                    };
                    self.world.say(again);
                }
                None => {
                    let subject = Subject::container(record.service, node, record.id, record.name);
                    let signal = self
                        .world
                        .open_about(self.kind, subject, Severity::Critical);
                    self.told.insert(id, signal);
                }
            }
        }
    }

    fn find(&self, id: &ContainerId) -> (NodeId, ContainerRecord) {
        let mut all = self.world.nodes.iter();
        let found = all.find_map(|(node, records)| {
            let record = records.iter().find(|it| it.id == *id)?;
            Some((node.clone(), record.clone()))
        });
        found.unwrap()
    }

    fn live(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.seconds += 1;
            self.world.pass(secs(1));
            self.world.actuate();
            self.tell();
        }
    }

    /// Until this was done, or for half an hour.
    fn live_until(&mut self, kind: ActionKind) {
        let end = self.seconds + 1_800;
        while self.world.count(kind) == 0 && self.seconds < end {
            self.live(1);
        }
        self.live(1);
    }

    /// What was sent, each with its node; what a new leader sends again is the same.
    fn sent(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let commands = self.world.commands.iter();
        let sent = commands.filter(|it| seen.insert(it.id.clone()));
        sent.map(|it| format!("{} on {}", it.action, it.node))
            .collect()
    }

    fn said(&self) -> Vec<String> {
        let said = self.world.in_phase(Phase::Suggested).into_iter();
        said.map(|it| it.plan.cause.reason.clone()).collect()
    }

    fn why_not(&self) -> String {
        let reasons = self
            .world
            .core
            .why_not(&ServiceId::from("web"), self.world.now);
        let texts = reasons.unwrap().into_iter().map(|it| it.text);
        texts.collect::<Vec<_>>().join("\n")
    }

    fn verdict(&self, kind: ActionKind) -> (VerdictKind, String) {
        let mut judged = self.world.in_phase(Phase::Judged).into_iter();
        let last = judged.rfind(|it| it.plan.kind == kind).unwrap();
        let verdict = last.verdict.as_ref().unwrap();
        (verdict.kind, verdict.reason.clone())
    }
}

const WHOLE: [&str; 7] = [
    "restart web-1 on a",
    "restart web-1 on a",
    "recreate web-1 on a",
    "tell how web-1 is made on a",
    "add replica web-1, as it is made on a on c",
    "remove replica web-1 on c",
    "take web-1 out of its networks on a",
];

#[test]
fn the_whole_ladder_ends_with_people_who_find_it_running() {
    let mut ward = Ward::hopeless(movable());
    ward.live(1_800);
    assert_eq!(ward.sent(), WHOLE);
    let (kind, text) = ward.verdict(ActionKind::Isolate);
    assert_eq!(kind, VerdictKind::Helped, "{text}");
    let decided = ward.world.in_phase(Phase::Decided);
    let isolate = decided.last().unwrap();
    let reason = &isolate.plan.cause.reason;
    for words in [
        "docker network connect --alias web shop-web-1 web-1",
        "left to people",
        "one move is enough",
        "move of web-1 from node a to c",
    ] {
        assert!(reason.contains(words), "{words}: {reason}");
    }
    let (_, record) = ward.world.place("web-1");
    assert_eq!(record.state, ContainerState::Running);
    assert!(record.is_isolated());
    let why = ward.why_not();
    assert!(why.contains("web-1 is in none of its networks"), "{why}");
    ward.live(4_000);
    assert_eq!(ward.sent(), WHOLE, "it stays people's");
}

#[test]
fn one_that_another_node_cures_moves_there_for_good() {
    let mut ward = Ward::new(movable());
    ward.live(1_800);
    assert_eq!(ward.sent()[..5], WHOLE[..5]);
    assert_eq!(ward.sent()[5..], ["stop web-1 on a"]);
    let export = ward.world.in_phase(Phase::Judged);
    let export = export
        .into_iter()
        .find(|it| it.plan.kind == ActionKind::Export);
    let plan = &export.unwrap().plan;
    assert_eq!(plan.cause.signals.len(), 1);
    assert!(
        plan.cause.reason.contains("tried: restart web-1 at"),
        "{}",
        plan.cause.reason
    );
    let c = &ward.world.nodes[&NodeId::from("c")];
    assert!(
        c.iter()
            .any(|it| it.name.as_str() == "web-1" && it.is_serving())
    );
    ward.live(4_000);
    assert_eq!(ward.sent().len(), 6);
}

#[test]
fn one_that_keeps_ending_moves_in_whichever_state_it_is_met() {
    for restarting in 0..4 {
        let mut ward = Ward::new(movable());
        ward.kind = SignalKind::CrashLoop;
        for second in 0..1_200 {
            ward.live(1);
            let state = match second % 4 == restarting {
                true => ContainerState::Running,
                false => ContainerState::Restarting,
            };
            for id in ward.sick() {
                let mut all = ward.world.nodes.values_mut().flatten();
                all.find(|it| it.id == id).unwrap().state = state;
            }
        }
        let sent = ward.sent();
        assert_eq!(sent[0], "recreate web-1 on a", "{sent:?}");
        assert_eq!(sent[1..3], WHOLE[3..5], "{sent:?}");
        assert_eq!(sent[3..], ["stop web-1 on a"], "{sent:?}");
    }
}

#[test]
fn one_that_keeps_ending_on_every_node_is_left_to_people_in_its_networks() {
    let mut ward = Ward::hopeless(movable());
    ward.kind = SignalKind::CrashLoop;
    ward.live(1_800);
    let sent = ward.sent();
    assert_eq!(sent[0], "recreate web-1 on a");
    assert_eq!(sent[1..4], WHOLE[3..6]);
    assert_eq!(sent.len(), 4);
    let said = ward.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("neither unhealthy nor does it hang"),
        "{said:?}"
    );
}

/// What is missing for a rung, and what is said of it.
type Missing = (fn(&mut Ward), &'static str);

fn after_recreation(ward: &mut Ward, happens: fn(&mut Ward)) {
    ward.live_until(ActionKind::Recreate);
    happens(ward);
    ward.live(1_800);
}

#[test]
fn without_what_a_move_needs_it_is_isolated_instead() {
    let missing: [Missing; 4] = [
        (
            |ward| {
                for record in ward.world.nodes.values_mut().flatten() {
                    record.policy.movable = false;
                }
            },
            "the label io.homeostat.move is not true",
        ),
        (
            |ward| {
                let record = ward.world.container("web-1");
                record.copy_obstacles = vec!["it mounts a host path".to_owned()];
            },
            "it mounts a host path",
        ),
        (
            |ward| ward.world.container("db").limits.cpu = Some(Millicores(3_500)),
            "no other node that speaks, and is short of nothing, has room",
        ),
        (
            |ward| {
                let subject = Subject::node(NodeId::from("c"));
                let kind = SignalKind::NodePressure;
                ward.world.open_about(kind, subject, Severity::Warning);
            },
            "no other node that speaks, and is short of nothing, has room",
        ),
    ];
    for (happens, why) in missing {
        let mut ward = Ward::hopeless(movable());
        // The other replica's node has none either.
        ward.world.container("web-2").limits.cpu = Some(Millicores(3_500));
        after_recreation(&mut ward, happens);
        let sent = ward.sent();
        assert_eq!(sent[..3], WHOLE[..3], "{why}");
        assert_eq!(sent[3..], WHOLE[6..], "{why}: {:?}", ward.said());
        let decided = ward.world.in_phase(Phase::Decided);
        let reason = &decided.last().unwrap().plan.cause.reason;
        assert!(reason.contains(why), "{why}: {reason}");
    }
}

#[test]
fn without_what_an_isolation_needs_it_is_left_to_people() {
    let missing: [Missing; 6] = [
        (
            |ward| ward.world.container("web-2").state = ContainerState::Exited,
            "0 other replicas of web serve, and 1 must",
        ),
        (
            |ward| ward.sick.push(("b", "web-2")),
            "0 other replicas of web serve, and 1 must",
        ),
        (
            |ward| {
                for record in ward.world.nodes.values_mut().flatten() {
                    record.policy.scale = Some(ScalePolicy {
                        min: 2,
                        max: 2,
                        target: ScaleTarget::Cpu(units::Ratio::saturating(0.7)),
                    });
                }
            },
            "1 other replicas of web serve, and 2 must",
        ),
        (
            |ward| ward.world.container("web-1").spec = Some(Arc::default()),
            "no network of its own",
        ),
        (
            |ward| ward.world.container("web-1").spec = None,
            "no network of its own",
        ),
        (
            |ward| {
                let mut shares = ContainerSpec::clone(in_network("db").unwrap().as_ref());
                let (_, record) = ward.world.place("web-1");
                shares.network_mode = format!("container:{}", record.id);
                let sharer = ContainerRecord {
                    id: "id-side".into(),
                    name: "side".into(),
                    service: "side".into(),
                    spec: Some(Arc::new(shares)),
                    policy: Policy::default(),
                    ..record
                };
                let a = NodeId::from("a");
                ward.world.nodes.get_mut(&a).unwrap().push(sharer);
            },
            "side shares the network of web-1",
        ),
    ];
    for (happens, why) in missing {
        let mut ward = Ward::new(recreating());
        after_recreation(&mut ward, happens);
        assert_eq!(ward.world.count(ActionKind::Isolate), 0, "{why}");
        let said = ward.said().join("\n");
        assert!(said.contains(why), "{why}: {said}");
        assert!(said.contains("left to people"), "{why}: {said}");
        assert!(ward.why_not().contains(why), "{why}: {}", ward.why_not());
    }
}

/// To the moment after it was isolated.
fn isolated() -> Ward {
    let mut ward = Ward::new(recreating());
    ward.live_until(ActionKind::Isolate);
    assert!(ward.world.place("web-1").1.is_isolated());
    ward
}

#[test]
fn an_overload_puts_it_back_into_the_networks_it_was_in() {
    let mut ward = isolated();
    ward.live(10);
    let subject = Subject::service(ServiceId::from("web"));
    let kind = SignalKind::Overload;
    ward.world.open_about(kind, subject, Severity::Critical);
    ward.live(100);
    let sent = ward.sent();
    assert_eq!(sent.len(), 5, "{sent:?}");
    let rejoin = ward.world.commands.last().unwrap();
    let Action::Rejoin { networks, .. } = &rejoin.action else {
        panic!("{rejoin:?}");
    };
    assert_eq!(networks[0].network, "shop-web-1");
    assert_eq!(networks[0].aliases, ["web"]);
    assert_eq!(ward.verdict(ActionKind::Isolate).0, VerdictKind::Worse);
    assert_eq!(ward.verdict(ActionKind::Rejoin).0, VerdictKind::Helped);
    assert_eq!(ward.world.place("web-1").1.spec, in_network("web-1"));
    ward.live(1_800);
    assert_eq!(ward.sent().len(), 5, "once");
    let said = ward.said().join("\n");
    assert!(
        said.contains("not isolated: that was tried before"),
        "{said}"
    );
}

#[test]
fn it_is_put_back_when_nothing_of_the_service_serves_any_more() {
    let mut ward = isolated();
    ward.live(10);
    ward.world.container("web-2").state = ContainerState::Exited;
    ward.live(70);
    assert_eq!(ward.world.count(ActionKind::Rejoin), 1);
    let (kind, text) = ward.verdict(ActionKind::Isolate);
    assert_eq!(kind, VerdictKind::Worse);
    assert!(text.contains("nothing of web serves any more"), "{text}");
}

#[test]
fn what_people_put_back_first_is_not_put_back_again() {
    let mut ward = isolated();
    ward.live(10);
    ward.world.container("web-1").spec = in_network("web-1");
    ward.world.container("web-2").state = ContainerState::Exited;
    ward.live(70);
    assert_eq!(ward.verdict(ActionKind::Isolate).0, VerdictKind::Helped);
    assert_eq!(ward.world.count(ActionKind::Rejoin), 0);
}

#[test]
fn a_rejoin_that_fails_is_tried_three_times() {
    let mut ward = isolated();
    ward.world.container("web-2").state = ContainerState::Exited;
    for _ in 0..700 {
        ward.world.pass(secs(1));
        let open = ward.world.commands.clone().into_iter();
        let open: Vec<_> = open
            .filter(|it| !ward.world.done.contains_key(&it.id))
            .collect();
        for command in open {
            let outcome = Outcome {
                command: command.id.clone(),
                plan: command.plan,
                node: command.node,
                began_at: ward.world.now,
                at: ward.world.now,
                result: OutcomeResult::Failed {
                    error: "no such network".to_owned(),
                },
                traceparent: None,
                note: None,
            };
            ward.world.done.insert(command.id, outcome.clone());
            ward.world.answer(outcome);
        }
    }
    assert_eq!(ward.world.count(ActionKind::Rejoin), 3);
}

#[test]
fn a_controller_that_takes_over_at_any_time_comes_to_the_same() {
    for at in (5..700).step_by(23) {
        let mut ward = Ward::hopeless(movable());
        ward.live(at);
        ward.world.take_over();
        ward.live(1_100 - at);
        assert_eq!(ward.sent(), WHOLE, "taken over after {at} s");
    }
}

#[test]
fn an_isolated_one_is_no_capacity_and_another_takes_its_place() {
    let scaling = Policy {
        scale: Some(ScalePolicy {
            min: 1,
            max: 3,
            target: ScaleTarget::Cpu(units::Ratio::saturating(0.7)),
        }),
        ..recreating()
    };
    let mut ward = Ward::new(scaling);
    ward.live_until(ActionKind::Isolate);
    for _ in 0..200 {
        ward.live(1);
        // Both run, and both give samples; one carries what two did.
        ward.world.load_of("web", 900.0, 2);
    }
    assert_eq!(
        ward.world.count(ActionKind::CreateReplica),
        1,
        "{:?}",
        ward.sent()
    );
    let made = ward.world.commands.last().unwrap();
    assert!(made.action.to_string().contains("like") || made.node.as_str() == "b");
    // Much less: what is one too many is not the isolated one.
    ward.live(1);
    for _ in 0..900 {
        ward.live(1);
        ward.world.load_of("web", 10.0, 3);
    }
    let removed: Vec<String> = ward
        .sent()
        .into_iter()
        .filter(|it| it.starts_with("remove"))
        .collect();
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert!(removed[0].ends_with("on b"), "{removed:?}");
    assert!(ward.world.place("web-1").1.is_isolated());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever is sick where, and whatever each rung comes to: no isolation leaves fewer than one other that serves and is well, no
    /// service is moved for healing twice in an hour, and what is isolated is not touched again but to be put back.
    #[test]
    fn no_isolation_takes_the_last_and_no_service_wanders(
        places in proptest::collection::vec((0..4_usize, 0..3_usize), 1..6),
        changes in proptest::collection::vec((0..900_u64, 0..4_usize, 0..3_usize), 0..4),
        hangs in proptest::bool::ANY,
    ) {
        const NODES: [&str; 4] = ["a", "b", "c", "d"];
        const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];
        let fleet = [("a", "web-1"), ("b", "web-2"), ("d", "web-3")];
        let mut ward = Ward::of(&fleet, movable());
        ward.kind = match hangs {
            true => SignalKind::Hang,
            false => SignalKind::Unhealthy,
        };
        ward.sick = places.into_iter().map(|(node, name)| (NODES[node], NAMES[name])).collect();
        let mut out: BTreeSet<ContainerId> = BTreeSet::new();
        let mut seen = 0;
        for second in 0..1_500_u64 {
            for (at, node, name) in &changes {
                if *at == second {
                    ward.sick.push((NODES[*node], NAMES[*name]));
                }
            }
            ward.seconds += 1;
            ward.world.pass(secs(1));
            let sick = ward.told.clone();
            for command in &ward.world.commands[seen..] {
                let target = command.action.target();
                let rejoins = command.action.kind() == ActionKind::Rejoin;
                prop_assert!(rejoins || !out.contains(target), "{command:?}");
                if command.action.kind() == ActionKind::Isolate {
                    let all = ward.world.nodes.values().flatten();
                    let others = all.filter(|it| {
                        it.service.as_str() == "web" && it.is_serving() && it.id != *target
                            && !sick.contains_key(&it.id)
                    });
                    prop_assert!(others.count() >= 1);
                    out.insert(target.clone());
                }
            }
            seen = ward.world.commands.len();
            ward.world.actuate();
            ward.tell();
        }
        prop_assert!(ward.world.count(ActionKind::Export) <= 1);
    }
}
