//! What actuators say without being asked: that they are there, what they stopped because they were cut off, and how containers are made
//! that are to run elsewhere should their node be lost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ContainerId, ContainerName, NodeId, ServiceId, Timestamp, duration_ms};

/// An actuator is there. Its lease lasts so long after it sent the last one of these that the log acknowledged: what may run once at most
/// is stopped by itself when that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose.
    pub node: NodeId,
    /// When it was sent, by the node's clock.
    pub at: Timestamp,
    /// How long the lease lasts.
    #[serde(rename = "lease_ms", with = "duration_ms")]
    pub lease: Duration,
    /// What was stopped when the lease was over, and was not started since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fenced: Vec<Fenced>,
}

/// A container that was stopped because its node's lease was over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    /// Which.
    pub container: ContainerId,
    /// When its actuator began to stop it, by the node's clock.
    pub at: Timestamp,
}

/// How a container is made, told in case its node is lost. The newest of a container counts; its key is taken back once the container is
/// gone, or does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingExport {
    /// Which.
    pub container: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Whose it is.
    pub service: ServiceId,
    /// Where it runs.
    pub node: NodeId,
    /// When it was told, by the node's clock.
    pub at: Timestamp,
    /// How it is made, sealed by its actuator for those of other nodes.
    pub sealed: String,
}
