//! On which of its nodes a service grows.
#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;

use units::{
    ActionKind, Bytes, Limits, Millicores, NodeCapacity, NodeId, Severity, SignalKind, Subject,
};
use world::{World, acting, policy};

const GIB: u64 = 1 << 30;

/// `web` with a replica on each of these nodes, and on `a` a job with these limits.
fn fleet(nodes: &[&str], job_millicores: u64) -> World {
    let mut world = World::new(acting());
    world.capacity_of_nodes = NodeCapacity {
        cpu: Millicores(4_000),
        memory: Bytes(8 * GIB),
    };
    let mut names = vec![("job".to_owned(), job_millicores)];
    world = world.with("a", "job", "job", policy(None));
    for (at, node) in nodes.iter().enumerate() {
        let name = format!("web-{}", at + 1);
        world = world.with(node, &name, "web", policy(Some((1, 8))));
        names.push((name, 250));
    }
    for (name, cpu) in names {
        let record = world.container(&name);
        record.limits = Limits {
            cpu: Some(Millicores(cpu)),
            memory: Some(Bytes(GIB)),
        };
        record.spec = Some(Arc::default());
    }
    world.leading()
}

/// `name on node` of every replica that is added under this load.
fn grown(mut world: World, observed: f64) -> Vec<String> {
    world.carry("web", observed, 0.0, 3);
    let steps = world
        .entries()
        .filter(|it| it.plan.kind == ActionKind::CreateReplica);
    let steps = steps.flat_map(|entry| &entry.plan.steps);
    steps
        .map(|it| format!("{} on {}", it.action.name(), it.node))
        .collect()
}

fn pressure(world: &mut World, node: &str) {
    let subject = Subject::node(NodeId::from(node));
    world.open_about(SignalKind::NodePressure, subject, Severity::Warning);
}

#[test]
fn a_replica_goes_to_the_node_with_the_fewest_of_its_service() {
    let world = fleet(&["a", "b", "b"], 100);
    assert_eq!(grown(world, 600.0), ["web-1-r1 on a"]);
    let world = fleet(&["a", "a", "b"], 100);
    assert_eq!(grown(world, 600.0), ["web-3-r1 on b"]);
}

#[test]
fn among_equals_the_node_with_the_most_room_is_taken() {
    assert_eq!(grown(fleet(&["a", "b"], 3_000), 400.0), ["web-2-r1 on b"]);
    assert_eq!(grown(fleet(&["b", "a"], 3_000), 400.0), ["web-1-r1 on b"]);
}

#[test]
fn room_that_is_not_known_is_none() {
    let mut world = fleet(&["a", "b"], 3_000);
    world.container("web-2").limits.memory = None;
    world.tell_inventory();
    assert_eq!(grown(world, 400.0), ["web-1-r1 on a"]);
}

#[test]
fn a_node_that_is_short_gets_none_while_there_is_another() {
    let mut world = fleet(&["a", "b"], 3_000);
    pressure(&mut world, "b");
    assert_eq!(grown(world, 400.0), ["web-1-r1 on a"]);
    let mut world = fleet(&["a", "b"], 3_000);
    pressure(&mut world, "a");
    pressure(&mut world, "b");
    assert_eq!(
        grown(world, 400.0),
        ["web-2-r1 on b"],
        "somewhere it must go"
    );
}

#[test]
fn several_at_once_are_spread() {
    let mut added = grown(fleet(&["a", "b"], 100), 900.0);
    added.sort();
    assert_eq!(added, ["web-1-r1 on a", "web-2-r1 on b"]);
}

#[test]
fn one_that_goes_leaves_the_most_crowded_node() {
    for (crowded, gone) in [("a", "web-1-r1"), ("b", "web-2-r1")] {
        let mut world = fleet(&["a", "b"], 100);
        world.carry("web", 900.0, 0.0, 3);
        world.actuate();
        assert_eq!(world.replicas("web"), 4, "{:?}", world.sent());
        world = world.with(crowded, "web-9", "web", policy(Some((1, 8))));
        world.tell_inventory();
        world.carry("web", 60.0, 0.0, 900);
        let first = world.sent().into_iter().find(|it| it.starts_with("remove"));
        assert_eq!(first.unwrap(), format!("remove replica {gone}"));
    }
}
