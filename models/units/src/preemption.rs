//! Room made for a more important service.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ContainerId, NodeCapacity, ServiceId};

/// What a replica goes for that is more than its service promises: a container of a more important one has no room elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preemption {
    /// The service the room is for.
    pub service: ServiceId,
    /// The least priority of that service's containers (`io.homeostat.priority`).
    pub priority: u32,
    /// The highest of the service that gives the replica: less than that.
    pub over: u32,
    /// What becomes free by it.
    pub frees: NodeCapacity,
    /// The container that is to move to where the room is. Absent where a replica is to be added there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerId>,
}

impl fmt::Display for Preemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room for {} of priority {}", self.service, self.priority)
    }
}
