//! What a core tells those who ask. Nothing changes by it.

use std::collections::BTreeSet;

use units::{ContainerId, NodeId, ServiceId, Timestamp};

use super::Core;
use crate::capacity::{self, FleetCapacity};
use crate::status::{self, Status};
use crate::update::{self, UpdateStatus};
use crate::why_not::{self, Reason};

impl Core {
    /// Figures for metrics.
    pub fn status(&self) -> Status {
        let leading = self.leading.map(|leadership| leadership.generation);
        status::of(&self.state, leading, &self.wanted, self.now)
    }

    /// Why nothing more is done about a service than is done: what stands before each kind of action, general reasons first. An
    /// empty list: something is about to be done. Nothing where no container of the service is known.
    pub fn why_not(&self, service: &ServiceId, now: Timestamp) -> Option<Vec<Reason>> {
        why_not::why_not(&self.state, service, now)
    }

    /// The nodes and the room on them: what each needs, whether it may be lost, and which moves would be worth it. Nothing is moved. Of
    /// n containers it costs about n log n.
    pub fn capacity(&self, now: Timestamp) -> FleetCapacity {
        capacity::of(&self.state, now)
    }

    /// The containers of a node of which it is told how they are made, in case it is lost.
    pub fn exports_of(&self, node: &NodeId) -> Vec<ContainerId> {
        self.state.beats.exports_of(node).cloned().collect()
    }

    /// The nodes that are not silent: what they hold is known.
    pub fn nodes_heard(&self, now: Timestamp) -> BTreeSet<NodeId> {
        let since = now - self.state.config.telemetry_stale;
        let known = self.state.fleet.known(since);
        known.map(|known| known.node.clone()).collect()
    }

    /// How far the newest order of an update of a service has come. Nothing where none is remembered.
    pub fn update_status(&self, service: &ServiceId) -> Option<UpdateStatus> {
        update::status(&self.state, service, self.now)
    }

    /// The same of every service with an order, by service.
    pub fn updates(&self) -> Vec<UpdateStatus> {
        let services = self.state.orders.services();
        services.filter_map(|it| self.update_status(it)).collect()
    }
}
