//! The fleet as it is: what is needed, what would not fit elsewhere, and which moves are advised.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use control::{AdviceKind, Config, Core, Event, FleetCapacity, Hearing, NodeRoom, Survives};
use proptest::prelude::*;
use units::*;
use world::{World, acting, policy, secs};

const GIB: u64 = 1 << 30;

fn movable() -> Policy {
    Policy {
        movable: true,
        ..policy(None)
    }
}

/// Gives a container limits and says what it was made from.
fn sized(world: &mut World, name: &str, cpu: u64, memory_gib: u64) {
    let record = world.container(name);
    record.limits = Limits {
        cpu: Some(Millicores(cpu)),
        memory: Some(Bytes(memory_gib * GIB)),
    };
    record.spec = Some(Arc::default());
}

/// Nodes of four cores and eight GiB with containers `(node, name, millicores)`, each of a service of its own, of one GiB, and
/// movable.
fn fleet(containers: &[(&str, &str, u64)]) -> World {
    let mut world = World::new(acting());
    world.capacity_of_nodes = NodeCapacity {
        cpu: Millicores(4_000),
        memory: Bytes(8 * GIB),
    };
    for (node, name, _) in containers {
        world = world.with(node, name, name, movable());
    }
    for (_, name, cpu) in containers {
        sized(&mut world, name, *cpu, 1);
    }
    world
}

fn seen(mut world: World) -> (World, FleetCapacity) {
    world.tell_inventory();
    let report = world.core.capacity(world.now);
    (world, report)
}

fn node<'a>(report: &'a FleetCapacity, name: &str) -> &'a NodeRoom {
    let found = report.nodes.iter().find(|it| it.node.as_str() == name);
    found.unwrap()
}

fn survives(report: &FleetCapacity) -> Vec<Survives> {
    report.nodes.iter().map(|it| it.survives).collect()
}

/// What is said of the first container that would find no place.
fn why(node: &NodeRoom) -> String {
    let reasons = node.examples[0].why.iter();
    let reasons = reasons.map(|it| match it.nodes {
        Some(nodes) => format!("{} ({nodes})", it.text),
        None => it.text.clone(),
    });
    reasons.collect::<Vec<_>>().join("; ")
}

/// `container from>to` of every move that is advised for a reason.
fn moves(report: &FleetCapacity, kind: AdviceKind) -> Vec<String> {
    let advice = report.advice.iter().filter(|it| it.kind == kind);
    advice
        .flat_map(|it| &it.moves)
        .map(|it| format!("{} {}>{}", it.container, it.from, it.to))
        .collect()
}

#[test]
fn a_fleet_of_nobody_is_an_empty_report() {
    let core = Core::new(Config::default());
    assert_eq!(
        core.capacity(Timestamp::from_millis(5)),
        FleetCapacity::default()
    );
}

#[test]
fn a_node_alone_is_not_survived_and_an_empty_one_is() {
    let (_, report) = seen(fleet(&[("a", "web", 500)]));
    assert_eq!(survives(&report), [Survives::No]);
    assert_eq!(why(&report.nodes[0]), "there is no other node");
    assert_eq!(report.without_spare(), 1);
    let mut world = fleet(&[("a", "web", 500)]);
    world.nodes.insert(NodeId::from("b"), Vec::new());
    let (_, report) = seen(world);
    assert_eq!(survives(&report), [Survives::Yes, Survives::Yes]);
    assert_eq!(node(&report, "a").needed.known.cpu, Millicores(500));
}

#[test]
fn what_would_not_fit_is_named_with_what_is_missing() {
    let (_, report) = seen(fleet(&[
        ("a", "db", 3_000),
        ("b", "web", 2_000),
        ("c", "job", 1_500),
    ]));
    let a = node(&report, "a");
    assert_eq!((a.survives, a.stranded), (Survives::No, 1));
    assert_eq!(a.examples[0].container.as_str(), "db");
    assert_eq!(why(a), "too little CPU is free (2)");
    assert_eq!(node(&report, "b").survives, Survives::Yes);
}

#[test]
fn what_fits_alone_but_not_beside_the_others_is_told_so() {
    let (_, report) = seen(fleet(&[
        ("a", "x", 2_000),
        ("a", "y", 2_000),
        ("b", "z", 1_500),
    ]));
    assert_eq!(node(&report, "a").stranded, 1);
    assert!(why(node(&report, "a")).contains("leaves no room"));
}

#[test]
fn what_is_not_known_is_counted_and_never_none() {
    let mut world = fleet(&[("a", "web", 500), ("b", "db", 500), ("c", "job", 500)]);
    world.container("db").limits.memory = None;
    let (mut world, report) = seen(world);
    let b = node(&report, "b");
    assert_eq!((b.needed.unknown, b.survives), (1, Survives::Unknown));
    assert_eq!(b.movable, 0);
    // The third node suffices without it.
    assert_eq!(node(&report, "a").survives, Survives::Yes);
    assert!(report.kept[0].why.contains("is not known"), "{report:#?}");
    // What its service uses stands in.
    world.usage = Some(Usage {
        history: secs(3_600),
        cpu: Need {
            lower: Millicores(1),
            target: Millicores(100),
            upper: Millicores(200),
            recent_peak: Millicores(50),
        },
        memory: Some(Need {
            lower: Bytes(1),
            target: Bytes(2 * GIB),
            upper: Bytes(4 * GIB),
            recent_peak: Bytes(GIB),
        }),
    });
    world.load("db", 100.0, 0.0);
    let (_, report) = seen(world);
    let b = node(&report, "b");
    assert_eq!((b.needed.unknown, b.survives), (0, Survives::Yes));
    assert_eq!(b.needed.known.memory, Bytes(2 * GIB));
    assert_eq!(b.needed.known.cpu, Millicores(500), "its limit is set");
}

#[test]
fn a_node_whose_containers_are_not_known_is_trusted_with_nothing_more() {
    let mut world = fleet(&[("a", "web", 500), ("b", "db", 500)]);
    world.container("db").limits.cpu = None;
    let (_, report) = seen(world);
    assert_eq!(survives(&report), [Survives::Unknown, Survives::Unknown]);
    assert_eq!(report.without_spare(), 0);
    assert!(report.advice.is_empty());
}

#[test]
fn what_is_tied_to_its_node_is_lost_unless_it_runs_elsewhere_too() {
    let mut world = fleet(&[("a", "db", 500), ("b", "web", 500), ("c", "job", 500)]);
    let tied = "it mounts the path /data of the host";
    world.container("db").copy_obstacles = vec![tied.to_owned()];
    let (world, report) = seen(world);
    assert_eq!(survives(&report)[0], Survives::No);
    assert_eq!(why(node(&report, "a")), tied);
    let mut world = world.with("b", "agent", "db", movable());
    sized(&mut world, "agent", 100, 1);
    let (_, report) = seen(world);
    assert_eq!(survives(&report)[0], Survives::Yes);
}

#[test]
fn a_fixed_port_is_free_on_another_node_or_is_not() {
    let publish = |world: &mut World, name: &str| {
        let record = world.container(name);
        record.copy_obstacles = vec![
            "it publishes 80/tcp on the fixed host port 80, which only one container can have: publish a range of ports, or let the engine choose"
                .to_owned(),
        ];
        record.spec = Some(Arc::new(ContainerSpec {
            ports: vec![PortSpec {
                container: "80/tcp".to_owned(),
                host_address: String::new(),
                host_port: "80".to_owned(),
            }],
            ..ContainerSpec::default()
        }));
    };
    let mut world = fleet(&[("a", "web", 500), ("b", "shop", 500)]);
    publish(&mut world, "web");
    let (mut world, report) = seen(world);
    assert_eq!(survives(&report), [Survives::Yes, Survives::Yes]);
    assert_eq!(node(&report, "a").movable, 0, "its address would change");
    publish(&mut world, "shop");
    let (_, report) = seen(world);
    assert_eq!(survives(&report), [Survives::No, Survives::No]);
    assert_eq!(why(node(&report, "a")), "port 80 is taken (1)");
}

#[test]
fn a_silent_node_takes_nothing_and_stops_advice() {
    let mut world = fleet(&[("a", "web", 500), ("b", "db", 500)]);
    world.tell_inventory();
    world.now = world.now + secs(11);
    world.tell_node(&NodeId::from("a"));
    let report = world.core.capacity(world.now);
    assert_eq!(node(&report, "b").hearing, Hearing::Silent);
    assert_eq!(node(&report, "a").survives, Survives::No);
    assert!(report.advice.is_empty());
    assert!(
        report
            .remarks
            .iter()
            .any(|it| it.contains("while one is silent"))
    );
    // Gone at last.
    world.now = world.now + Duration::from_secs(3_600);
    world.tell_node(&NodeId::from("a"));
    assert_eq!(world.core.capacity(world.now).nodes.len(), 1);
}

#[test]
fn the_architecture_is_kept_where_nodes_differ() {
    let mut world = fleet(&[("a", "web", 500), ("b", "db", 500)]);
    world.tell_inventory();
    for (name, architecture) in [("a", "amd64"), ("b", "arm64")] {
        let mut inventory = world.inventories[&NodeId::from(name)].clone();
        inventory.at = inventory.at + secs(1);
        inventory.facts.architecture = Some(architecture.to_owned());
        world.tell(Event::Inventory(Box::new(inventory)));
    }
    let report = world.core.capacity(world.now);
    assert_eq!(
        why(node(&report, "a")),
        "the image is for another architecture (1)"
    );
}

#[test]
fn a_node_the_others_can_do_without_is_advised_to_be_emptied() {
    let (_, report) = seen(fleet(&[
        ("a", "web", 1_000),
        ("b", "db", 1_200),
        ("c", "job", 300),
    ]));
    assert_eq!(moves(&report, AdviceKind::Empty), ["job c>b"]);
    let benefit = &report.advice[0].benefit;
    assert!(benefit.contains("2 nodes in use instead of 3"), "{benefit}");
}

#[test]
fn no_node_is_emptied_that_the_loss_of_another_would_need() {
    let (_, report) = seen(fleet(&[
        ("a", "web", 2_500),
        ("b", "db", 2_500),
        ("c", "job", 300),
    ]));
    assert_eq!(survives(&report), [Survives::Yes; 3]);
    assert!(report.advice.is_empty(), "{:#?}", report.advice);
    assert!(report.remarks[0].starts_with("c could be emptied, and is needed"));
}

#[test]
fn a_node_that_is_short_is_relieved_by_what_may_be_moved() {
    let mut world = fleet(&[
        ("a", "web", 2_000),
        ("a", "db", 1_500),
        ("b", "job", 3_500),
        ("c", "mail", 1_000),
    ]);
    world.container("web").policy.movable = false;
    let (mut world, _) = seen(world);
    let subject = Subject {
        service: None,
        node: Some(NodeId::from("a")),
        container: None,
        name: None,
    };
    world.open_about(SignalKind::NodePressure, subject, Severity::Warning);
    let (_, report) = seen(world);
    assert_eq!(moves(&report, AdviceKind::Relieve), ["db a>c"]);
    assert!(
        report.advice[0].benefit.contains("from 88% of its CPU"),
        "{:?}",
        report.advice[0].benefit
    );
    assert_eq!(
        report.kept[0].why,
        "the label io.homeostat.move is not true"
    );
}

#[test]
fn who_leaves_a_network_of_its_host_is_warned_of() {
    let mut world = fleet(&[("a", "web", 1_000), ("b", "db", 1_200), ("c", "job", 300)]);
    world = world.with("c", "cache", "cache", movable());
    // Only c may be emptied.
    for name in ["web", "db"] {
        world.container(name).policy.movable = false;
    }
    sized(&mut world, "cache", 100, 1);
    for name in ["job", "cache"] {
        world.container(name).spec = Some(Arc::new(ContainerSpec {
            networks: vec![NetworkSpec {
                name: "shop_default".to_owned(),
                ..NetworkSpec::default()
            }],
            ..ContainerSpec::default()
        }));
    }
    let (_, report) = seen(world);
    let caution = report.advice[0].moves[0].caution.as_ref().unwrap();
    assert!(
        caution.contains("the network shop_default, which it shares with 1 others of c"),
        "{caution}"
    );
}

/// What of a container its place depends on, as the tests draw it.
#[derive(Debug, Clone)]
struct Drawn {
    node: usize,
    cpu: Option<u64>,
    memory_gib: u64,
    movable: bool,
    tied: bool,
    port: Option<u16>,
}

prop_compose! {
    fn drawn(nodes: usize)(
        node in 0..nodes, cpu in prop::option::weighted(0.9, 1_u64..2_500), memory_gib in 0_u64..4,
        movable in prop::bool::weighted(0.8), tied in prop::bool::weighted(0.1),
        port in prop::option::weighted(0.2, 80_u16..83),
    ) -> Drawn {
        Drawn { node, cpu, memory_gib, movable, tied, port }
    }
}

fn world_of(nodes: usize, drawn: &[Drawn]) -> World {
    let mut world = fleet(&[]);
    for at in 0..nodes {
        world
            .nodes
            .insert(NodeId::new(format!("n{at}")), Vec::new());
    }
    for (at, it) in drawn.iter().enumerate() {
        let name = format!("c{at:02}");
        let policy = Policy {
            movable: it.movable,
            ..policy(None)
        };
        world = world.with(&format!("n{}", it.node), &name, &name, policy);
        let record = world.container(&name);
        record.limits = Limits {
            cpu: it.cpu.map(Millicores),
            memory: Some(Bytes(it.memory_gib * GIB)),
        };
        let ports = it.port.map(|port| PortSpec {
            container: "80/tcp".to_owned(),
            host_address: String::new(),
            host_port: port.to_string(),
        });
        record.spec = Some(Arc::new(ContainerSpec {
            ports: ports.into_iter().collect(),
            ..ContainerSpec::default()
        }));
        if it.tied {
            record.copy_obstacles = vec!["it is privileged".to_owned()];
        }
    }
    world
}

/// Room and ports of every node as moves are made, kept by other means than those that advise.
struct Books(BTreeMap<NodeId, Vec<ContainerRecord>>);

impl Books {
    fn step(&mut self, container: &ContainerName, from: &NodeId, to: &NodeId) -> ContainerRecord {
        let on = self.0.get_mut(from).unwrap();
        let at = on.iter().position(|it| it.name == *container).unwrap();
        let record = on.remove(at);
        self.0.get_mut(to).unwrap().push(record.clone());
        record
    }

    /// Whether the newest container of a node has its room and its ports there; what was there before may already have been at odds.
    fn within(&self, node: &NodeId, room: NodeCapacity) -> bool {
        fn ports(record: &ContainerRecord) -> impl Iterator<Item = &String> {
            let spec = record.spec.iter();
            spec.flat_map(|it| &it.ports).map(|it| &it.host_port)
        }
        let on = &self.0[node];
        let cpu: u64 = on.iter().map(|it| it.limits.cpu.unwrap().0).sum();
        let memory: u64 = on.iter().map(|it| it.limits.memory.unwrap().0).sum();
        let (newest, others) = on.split_last().unwrap();
        let taken: BTreeSet<&String> = others.iter().flat_map(ports).collect();
        let free = ports(newest).all(|port| !taken.contains(port));
        let asks = newest.limits;
        let has_cpu = cpu <= room.cpu.0 || asks.cpu == Some(Millicores(0));
        let has_memory = memory <= room.memory.0 || asks.memory == Some(Bytes(0));
        has_cpu && has_memory && free
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn advice_moves_only_what_may_be_and_only_to_where_it_fits(
        drawn in prop::collection::vec(drawn(5), 1..25), short in prop::option::of(0_usize..5),
    ) {
        let (mut world, _) = seen(world_of(5, &drawn));
        if let Some(short) = short {
            let subject = Subject {
                service: None,
                node: Some(NodeId::new(format!("n{short}"))),
                container: None,
                name: None,
            };
            world.open_about(SignalKind::NodePressure, subject, Severity::Warning);
        }
        let (world, report) = seen(world);
        let mut books = Books(world.nodes.clone());
        for step in report.advice.iter().flat_map(|it| &it.moves) {
            let record = books.step(&step.container, &step.from, &step.to);
            prop_assert!(record.policy.movable && record.copy_obstacles.is_empty());
            prop_assert!(step.from != step.to);
            prop_assert!(books.within(&step.to, world.capacity_of_nodes), "{:#?}", report.advice);
        }
        for advice in report.advice.iter().filter(|it| it.kind == AdviceKind::Empty) {
            prop_assert!(books.0[&advice.node].is_empty());
        }
    }

    #[test]
    fn a_node_that_is_said_to_be_survived_has_room_for_all_of_it_elsewhere(
        drawn in prop::collection::vec(drawn(4), 0..20),
    ) {
        let (world, report) = seen(world_of(4, &drawn));
        for room in &report.nodes {
            let on = &world.nodes[&room.node];
            let unknown = on.iter().filter(|it| it.limits.cpu.is_none()).count();
            prop_assert_eq!(room.needed.unknown, unknown);
            prop_assert_eq!(room.containers, on.len());
            prop_assert_eq!(room.survives == Survives::No, room.stranded > 0);
            prop_assert_eq!(room.stranded, room.examples.len());
            if room.survives == Survives::Yes {
                prop_assert!(on.iter().all(|it| it.limits.cpu.is_some() && it.copy_obstacles.is_empty()));
                let needed: u64 = on.iter().map(|it| it.limits.cpu.unwrap().0).sum();
                let others = report.nodes.iter().filter(|it| it.node != room.node);
                let free = others.map(|it| 4_000_u64.saturating_sub(it.needed.known.cpu.0));
                prop_assert!(needed <= free.sum::<u64>());
            }
            for lost in &room.examples {
                prop_assert!(!lost.why.is_empty());
            }
        }
    }

    #[test]
    fn a_node_alone_with_something_on_it_is_never_survived(
        drawn in prop::collection::vec(drawn(1), 1..12),
    ) {
        let (_, report) = seen(world_of(1, &drawn));
        prop_assert_eq!(survives(&report), [Survives::No]);
        prop_assert_eq!(report.nodes[0].stranded, drawn.len());
        prop_assert!(report.advice.is_empty());
    }

    #[test]
    fn the_same_fleet_has_the_same_report(drawn in prop::collection::vec(drawn(4), 0..20)) {
        let (world, report) = seen(world_of(4, &drawn));
        prop_assert_eq!(&world.core.capacity(world.now), &report);
        let text = |report: &FleetCapacity| format!("{report:?}");
        let (_, again) = seen(world_of(4, &drawn));
        prop_assert_eq!(text(&again), text(&report));
    }
}

#[test]
fn what_could_not_be_made_elsewhere_for_want_of_its_image_is_told_beforehand() {
    let (mut world, before) = seen(fleet(&[("a", "web", 500), ("b", "job", 500)]).beats());
    let says = |report: &FleetCapacity| {
        let mut remarks = report.remarks.iter();
        remarks.find(|it| it.contains("in no registry")).cloned()
    };
    assert_eq!(says(&before), None);
    let mut exports: Vec<StandingExport> = world.exports.values().cloned().collect();
    exports.sort_by(|a, b| b.name.cmp(&a.name));
    for (told, expected) in exports.into_iter().zip(["web:", "web and 1 more:"]) {
        let image = ImageSource::Node;
        world.tell(Event::Export(Box::new(StandingExport { image, ..told })));
        let report = world.core.capacity(world.now);
        let said = says(&report).unwrap();
        assert!(said.starts_with(expected), "{said}");
    }
}
