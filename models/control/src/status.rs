//! Figures for metrics: what the core knows, counted.

use std::collections::BTreeMap;

use units::{ContainerState, Generation, NodeId, ServiceId, Timestamp};

use crate::budget;
use crate::scale::Wanted;
use crate::state::State;

/// Replicas of a scaled service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCount {
    /// The service.
    pub service: ServiceId,
    /// Replicas that serve or will.
    pub current: u32,
    /// Replicas it should have.
    pub desired: u32,
}

/// The nodes and what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetStatus {
    /// Nodes that speak.
    pub up: usize,
    /// Nodes that have stopped speaking.
    pub silent: usize,
    /// Nodes that have been silent for so long that they are taken as gone.
    pub gone: usize,
    /// Containers of the nodes that are not gone, by state.
    pub containers: BTreeMap<ContainerState, u32>,
    /// When each node that is not gone last spoke.
    pub last_seen: Vec<(NodeId, Timestamp)>,
}

/// Figures for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The generation, while leading.
    pub leading: Option<Generation>,
    /// Acting is stopped by the common-cause breaker.
    pub breaker_open: bool,
    /// Steps left of this hour for all services together.
    pub global_left: u32,
    /// Plans that are not over.
    pub active_plans: usize,
    /// Every service whose labels let it be scaled and whose load is known.
    pub services: Vec<ServiceCount>,
    /// The nodes.
    pub fleet: FleetStatus,
}

/// Counts what is known.
pub(crate) fn of(
    state: &State,
    leading: Option<Generation>,
    wanted: &BTreeMap<ServiceId, Wanted>,
    now: Timestamp,
) -> Status {
    let services = wanted.iter().map(|(service, wanted)| ServiceCount {
        service: service.clone(),
        current: wanted.current,
        desired: wanted.desired,
    });
    Status {
        leading,
        breaker_open: state.breaker.is_open(),
        global_left: budget::global_left(&state.plans, &state.config.budget, now),
        active_plans: state.plans.active().count(),
        services: services.collect(),
        fleet: fleet(state, now),
    }
}

fn fleet(state: &State, now: Timestamp) -> FleetStatus {
    let forgotten = state.config.breaker.node_forgotten;
    let silence = state
        .fleet
        .silence(now, state.config.telemetry_stale, forgotten);
    let since = now - forgotten;
    let last_seen = state.fleet.last_seen().filter(|(_, at)| *at >= since);
    FleetStatus {
        up: silence.known - silence.silent,
        silent: silence.silent,
        gone: state.fleet.last_seen().count() - silence.known,
        containers: state.fleet.states(since),
        last_seen: last_seen.map(|(node, at)| (node.clone(), at)).collect(),
    }
}
