//! `POST /api/v1/nodes/{node}/orders` and `/removal`: a person cordons a node, has it drained, opens it again, or takes out one that is there
//! no more.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use control::{Hearing, NodeRoom};
use serde::{Deserialize, Serialize};
use units::{
    JournalEntry, NodeId, NodeInventory, NodeOrder, NodeWanted, StandingExport, Timestamp,
};

use crate::http::problem;
use crate::person::{self, BadName};
use crate::say::{Desk, Unwritten};
use crate::trust::{self, Refused};

/// So many characters of what is no node are said back.
const SAID_CHARS_MAX: usize = 100;

/// The body of `POST /nodes/{node}/orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderNode {
    /// What is wanted of it.
    pub wanted: NodeWanted,
    /// Who orders it, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The body of `POST /nodes/{node}/removal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveNode {
    /// Who takes it out, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A node was taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRemoved {
    /// Which.
    pub node: NodeId,
    /// When.
    pub at: Timestamp,
    /// Containers it held when it last told.
    pub containers: usize,
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
enum NotOrdered {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(
        "the body is not {{\"wanted\": \"open\", \"cordoned\" or \"drained\", \"by\": NAME}}: {0}"
    )]
    BadBody(serde_json::Error),
    #[error(transparent)]
    BadName(#[from] BadName),
    #[error("the body is not {{\"by\": NAME}} or {{}}: {0}")]
    BadRemoval(serde_json::Error),
    #[error(
        "node {0} still tells of itself, and would be back at once; drain it, stop its collector and actuator, and remove it then"
    )]
    Speaks(NodeId),
    #[error("no node {0:?} is known; `homeostat nodes` lists them")]
    Unknown(String),
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

impl NotOrdered {
    fn status(&self) -> StatusCode {
        match self {
            NotOrdered::Refused(refused) => refused.status(),
            NotOrdered::BadBody(_) | NotOrdered::BadRemoval(_) | NotOrdered::BadName(_) => {
                StatusCode::BAD_REQUEST
            }
            NotOrdered::Speaks(_) => StatusCode::CONFLICT,
            NotOrdered::Unknown(_) => StatusCode::NOT_FOUND,
            NotOrdered::Unwritten(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

pub(crate) async fn order(
    State(desk): State<Desk>,
    Path(node): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match desk.order_node(&node, &headers, &body).await {
        Ok(order) => Json(order).into_response(),
        Err(error) => problem(error.status(), error.to_string()),
    }
}

pub(crate) async fn remove(
    State(desk): State<Desk>,
    Path(node): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match desk.remove_node(&node, &headers, &body).await {
        Ok(removed) => Json(removed).into_response(),
        Err(error) => problem(error.status(), error.to_string()),
    }
}

impl Desk {
    async fn order_node(
        &self,
        node: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<NodeOrder, NotOrdered> {
        trust::check(headers, self.listens)?;
        let order: OrderNode = serde_json::from_slice(body).map_err(NotOrdered::BadBody)?;
        let by = person::name(order.by)?;
        let _turn = self.turn.lock().await;
        let node = NodeId::from(node);
        let now = kit::now();
        self.known(&node, now)?;
        let order = NodeOrder {
            node,
            wanted: order.wanted,
            at: now,
            by,
        };
        let entry = JournalEntry::Node(order.clone());
        self.write(&entry).await?;
        tracing::info!("{order}");
        let event = control::Event::Journal(Box::new(entry));
        self.view.hear(event);
        Ok(order)
    }

    /// Takes a node out of the inventory, with what is wanted of it and how its containers are made. One that speaks again is there again.
    async fn remove_node(
        &self,
        node: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<NodeRemoved, NotOrdered> {
        trust::check(headers, self.listens)?;
        let RemoveNode { by } = serde_json::from_slice(body).map_err(NotOrdered::BadRemoval)?;
        let by = person::name(by)?;
        let _turn = self.turn.lock().await;
        let (node, now) = (NodeId::from(node), kit::now());
        let known = self.known(&node, now)?;
        if known.hearing == Hearing::Speaks {
            return Err(NotOrdered::Speaks(node));
        }
        if known.wanted != NodeWanted::Open {
            let order = NodeOrder {
                node: node.clone(),
                wanted: NodeWanted::Open,
                at: now,
                by: by.clone(),
            };
            self.write(&JournalEntry::Node(order)).await?;
        }
        let exports = self.view.core().exports_of(&node);
        for container in exports {
            self.take_back::<StandingExport>(container.as_str()).await?;
        }
        self.take_back::<NodeInventory>(node.as_str()).await?;
        tracing::info!(%node, by, "the node was taken out of the inventory");
        self.view.hear(control::Event::NodeRemoved(node.clone()));
        Ok(NodeRemoved {
            node,
            at: now,
            containers: known.containers,
        })
    }

    fn known(&self, node: &NodeId, now: Timestamp) -> Result<NodeRoom, NotOrdered> {
        let known = self.view.core().capacity(now);
        let mut nodes = known.nodes.into_iter();
        nodes.find(|it| it.node == *node).ok_or_else(|| {
            let said = node.as_str().chars().take(SAID_CHARS_MAX);
            NotOrdered::Unknown(said.collect())
        })
    }
}
