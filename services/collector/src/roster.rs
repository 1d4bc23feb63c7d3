//! Who is on the node: what the engine's side tells the sampler.

use std::net::IpAddr;
use std::sync::Arc;

use formats::scrape::Target;
use units::{
    ContainerId, ContainerName, ContainerState, HealthState, Limits, ServiceId, Timestamp,
};

use crate::cgroup::Network;

/// Whether the engine answers, and its word can be taken for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Engine {
    /// It does.
    Answering,
    /// It does not: states are as of when it last did.
    #[default]
    Away,
}

/// All containers of the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    pub(crate) engine: Engine,
    pub(crate) members: Vec<Member>,
}

/// One container, as far as its samples need to know.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) service: ServiceId,
    pub(crate) state: ContainerState,
    pub(crate) health: HealthState,
    pub(crate) restarts: u64,
    pub(crate) exit_code: Option<i64>,
    pub(crate) started_at: Option<Timestamp>,
    /// Present while it runs.
    pub(crate) process: Option<Process>,
    /// What the engine was told last; that the kernel's files may say otherwise now shows in a change of it.
    pub(crate) limits: Limits,
    /// Where it is reached from this node, while it runs.
    pub(crate) addresses: Arc<[IpAddr]>,
    /// Pages of metrics it serves.
    pub(crate) scrape: Arc<[Target]>,
}

/// One run of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i64,
    /// Tells runs apart that got the same process id.
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) network: Network,
}
