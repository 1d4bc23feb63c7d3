//! The answers of the HTTP API, as the command line reads them. All under `/api/v1`.

use incidents::{Incident, IncidentId};
use serde::{Deserialize, Serialize};
use units::{
    BreakerEntry, LabelProblem, Mode, NodeId, PlanEntry, ScalePolicy, ServiceId, Signal, Timestamp,
};

pub use crate::approve::{Approved, Consent};
pub use crate::endpoints::{AddressOf, Endpoint};
pub use crate::explain::{Done, Similar};
pub use crate::feedback::{BarStatus, Heard, ListedSignal, Remark, Said};
pub use crate::members::{Member, MemberState, ServiceMembers};
pub use crate::node::{NodeRemoved, OrderNode, RemoveNode};
pub use crate::update::{Back, ListedUpdate, Order, Ordered, Progress};

/// `GET /status`: the fleet at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When this was put together.
    pub at: Timestamp,
    /// Nodes, by name.
    pub nodes: Vec<NodeStatus>,
    /// Services seen.
    pub services: usize,
    /// Containers running.
    pub containers_running: usize,
    /// Signals open now.
    pub signals_open: usize,
    /// Plans under way: decided or waiting for their verdict.
    pub plans_running: usize,
    /// The common-cause breaker, while it is open.
    pub breaker: Option<BreakerEntry>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub node: NodeId,
    /// Age of its newest heartbeat in milliseconds.
    pub heartbeat_age_ms: u64,
    /// Containers on it.
    pub containers: usize,
    /// Engine version.
    pub engine: String,
}

/// `GET /services`: one of the services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub service: ServiceId,
    /// What the labels of its containers allow; the least of them.
    pub mode: Mode,
    /// May it be restarted?
    pub heal: bool,
    /// May it be scaled?
    pub scale: Option<ScalePolicy>,
    /// How important it is beside others, by its labels; the highest of its containers.
    #[serde(default)]
    pub priority: u32,
    /// Its containers that are there, running or not.
    pub replicas: usize,
    /// Of these, running and not unhealthy.
    pub serving: usize,
    /// CPU of all replicas in millicores, when known.
    pub load_millicores: Option<f64>,
    /// Share of the replicas' capacity in use, when known.
    pub utilisation: Option<f64>,
    /// Nodes it runs on.
    pub nodes: Vec<NodeId>,
    /// Open signals about it.
    pub signals_open: usize,
    /// Why no replica can be made of it; empty when one can, or when it is not to be scaled.
    pub copy_obstacles: Vec<String>,
    /// Labels that could not be read.
    pub label_problems: Vec<LabelProblem>,
}

/// `GET /signals/{id}`: a signal with what was done about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The signal's newest state.
    pub signal: Signal,
    /// What was said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// Why its confidence is what it is.
    #[serde(default)]
    pub confidence_why: String,
    /// The bar that stands for its kind and service, or node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bar: Option<BarStatus>,
    /// Earlier signals of the same kind about the same service or node, newest first.
    #[serde(default)]
    pub similar: Vec<Similar>,
    /// Earlier openings of the same kind and subject, newest first.
    pub earlier: Vec<Signal>,
    /// Plans it caused, oldest first.
    pub plans: Vec<PlanEntry>,
    /// The incident it belongs to. Absent when that is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentOf>,
}

/// The incident a signal belongs to, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentOf {
    /// Its id.
    pub id: IncidentId,
    /// How many signals it has.
    pub signals: usize,
    /// The sentence of its likeliest cause. Absent when none can be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// `GET /incidents/{id}`: an incident with its signals and what was done about them. `GET /incidents` answers the incidents alone,
/// newest first: those that are open, and with `?all=true` those of the last day that are over too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentDetail {
    /// The incident with its causes.
    pub incident: Incident,
    /// Its signals in their newest state, in the order they opened.
    pub signals: Vec<Signal>,
    /// Plans they caused, oldest first.
    pub plans: Vec<PlanEntry>,
}

/// `GET /readyz`-like error body of the API: what went wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One sentence.
    pub error: String,
}
