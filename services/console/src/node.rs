//! `POST /api/v1/nodes/{node}/orders`: a person cordons a node, has it drained, or opens it again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use units::{JournalEntry, NodeId, NodeOrder, NodeWanted};

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
    #[error("no node {0:?} is known; `homeostat nodes` lists them")]
    Unknown(String),
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

impl NotOrdered {
    fn status(&self) -> StatusCode {
        match self {
            NotOrdered::Refused(refused) => refused.status(),
            NotOrdered::BadBody(_) | NotOrdered::BadName(_) => StatusCode::BAD_REQUEST,
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
        let known = self.view.core().capacity(now);
        if !known.nodes.iter().any(|it| it.node == node) {
            let said: String = node.as_str().chars().take(SAID_CHARS_MAX).collect();
            return Err(NotOrdered::Unknown(said));
        }
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
}
