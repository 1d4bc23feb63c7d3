//! Life-cycle events of containers.

use serde::{Deserialize, Serialize};

use crate::{ContainerId, ContainerName, HealthState, NodeId, ServiceId, Timestamp};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// It was created, not started.
    Created,
    /// Its process was started.
    Started,
    /// Its process ended.
    Died {
        /// Exit code of the first process.
        exit_code: Option<i64>,
    },
    /// It was asked to stop, or was killed, by way of the engine: a person, a deploy or Homeostat, not a crash.
    Stopping {
        /// The signal's name or number, when the engine told it.
        signal: Option<String>,
    },
    /// The kernel killed a process in it for want of memory.
    OutOfMemory,
    /// Its health check changed its mind.
    Health {
        /// The new state.
        state: HealthState,
    },
    /// It was paused.
    Paused,
    /// It was resumed.
    Unpaused,
    /// Its limits or restart policy were changed.
    Updated,
    /// It was given another name.
    Renamed {
        /// The name before.
        from: ContainerName,
    },
    /// It was removed.
    Removed,
    /// Events may have been missed before this one; the inventory was listed again.
    Gap,
}

/// One event, as told by the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerEvent {
    /// When the engine saw it.
    pub at: Timestamp,
    /// The same in nanoseconds since the Unix epoch, as the engine tells it: with container and kind it identifies the event, so
    /// that one sent twice is recognised. Absent for what the engine did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_unix_ns: Option<i64>,
    /// Where.
    pub node: NodeId,
    /// The service.
    pub service: ServiceId,
    /// The engine's id.
    pub container: ContainerId,
    /// The container's name.
    pub name: ContainerName,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}
