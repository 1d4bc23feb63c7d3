//! Nodes that are cordoned, drained and opened again over HTTP.
#![allow(clippy::unwrap_used)]

mod rig;

use console::api::NodeRemoved;
use control::{FleetCapacity, Hearing};
use rig::Rig;
use units::*;

/// What a node tells that holds nothing.
fn empty(node: &str) -> NodeInventory {
    NodeInventory {
        node: NodeId::from(node),
        at: kit::now(),
        steady: None,
        capacity: NodeCapacity::default(),
        facts: NodeFacts::default(),
        engine: EngineInfo::default(),
        containers: Vec::<ContainerRecord>::new(),
    }
}

/// A console that knows a node.
async fn knowing(node: &str) -> Rig {
    let rig = Rig::start().await;
    rig.tell(&[empty(node)]).await;
    rig.until("nodes", |fleet: &FleetCapacity| fleet.nodes.len() == 1)
        .await;
    rig
}

#[tokio::test]
async fn an_order_is_written_to_the_journal_and_shown_until_there_is_another() {
    let rig = knowing("node-a").await;
    let mut orders = Vec::new();
    for (word, wanted) in [("drained", NodeWanted::Drained), ("open", NodeWanted::Open)] {
        let body = format!(r#"{{"wanted": "{word}", "by": " ada "}}"#);
        let order: NodeOrder = rig.taken("nodes/node-a/orders", &body).await;
        assert_eq!((order.wanted, order.by.as_deref()), (wanted, Some("ada")));
        orders.push(order);
        rig.until("nodes", |fleet: &FleetCapacity| {
            fleet.nodes[0].wanted == wanted
        })
        .await;
    }
    let written: Vec<(Vec<u8>, JournalEntry)> = rig.read().await;
    let expected = orders.into_iter().map(|order| {
        let key = b"node-a".to_vec();
        (key, JournalEntry::Node(order))
    });
    assert_eq!(written, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_with_the_next_step() {
    let rig = knowing("node-a").await;
    for (node, body, status, says) in [
        (
            "node-b",
            r#"{"wanted": "drained"}"#,
            404,
            "`homeostat nodes` lists them",
        ),
        (
            "node-a",
            r#"{"wanted": "gone"}"#,
            400,
            "unknown variant `gone`",
        ),
        (
            "node-a",
            r#"{"wanted": "open", "force": true}"#,
            400,
            "the body is not",
        ),
        (
            "node-a",
            r#"{"wanted": "open", "by": "\u001b[2J"}"#,
            400,
            "no text",
        ),
    ] {
        let path = format!("nodes/{node}/orders");
        let (told, error) = rig.refused(&path, body).await;
        assert_eq!(told, status, "{error}");
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(rig.read::<JournalEntry>().await, []);
}

#[tokio::test]
async fn a_node_that_is_there_no_more_is_taken_out_and_one_that_speaks_is_not() {
    let rig = knowing("node-a").await;
    let (told, error) = rig.refused("nodes/node-a/removal", "{}").await;
    assert_eq!(told, 409, "{error}");
    assert!(error.contains("stop its collector"), "{error}");
    let (told, error) = rig.refused("nodes/node-b/removal", "{}").await;
    assert_eq!(told, 404, "{error}");
    let drained = r#"{"wanted": "drained"}"#;
    let _order: NodeOrder = rig.taken("nodes/node-a/orders", drained).await;
    rig.tell(&[StandingExport {
        container: ContainerId::from("c1"),
        name: ContainerName::from("web"),
        service: ServiceId::from("web"),
        node: NodeId::from("node-a"),
        at: kit::now(),
        sealed: "sealed".to_owned(),
        image: ImageSource::Registry,
    }])
    .await;
    rig.until("nodes", |fleet: &FleetCapacity| {
        fleet.nodes[0].hearing == Hearing::Silent
    })
    .await;
    let removed: NodeRemoved = rig.taken("nodes/node-a/removal", r#"{"by": "ada"}"#).await;
    assert_eq!(removed.node, NodeId::from("node-a"));
    rig.until("nodes", |fleet: &FleetCapacity| fleet.nodes.is_empty())
        .await;
    assert_eq!(rig.last::<NodeInventory>("node-a").await, None);
    assert_eq!(rig.last::<StandingExport>("c1").await, None);
    let orders: Vec<(Vec<u8>, JournalEntry)> = rig.read().await;
    assert!(
        matches!(orders.last(), Some((_, JournalEntry::Node(order))) if order.wanted == NodeWanted::Open),
        "{orders:?}"
    );
    // One that speaks again is there again.
    rig.tell(&[empty("node-a")]).await;
    rig.until("nodes", |fleet: &FleetCapacity| fleet.nodes.len() == 1)
        .await;
}
