//! What actuators say without being asked: that they are there, what they stopped because they were cut off, and how containers are made
//! that are to run elsewhere should their node be lost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ContainerId, ContainerName, Generation, Mode, NodeId, PlanEntry, ServiceId, Timestamp,
    duration_ms,
};

/// An actuator is there. Its lease lasts so long after it sent the last one of these that the log acknowledged: what may run once at most
/// is stopped by itself when that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What the actuator did by itself while it was cut off, told until it has been heard for a while: plans as a controller would have
    /// made them, with what became of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub healed: Vec<PlanEntry>,
}

/// How far actuators may heal by themselves while they are cut off: what the leader goes by, told when it begins to lead. That of the
/// newest generation counts; beside it, as ever, the labels of the containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingPolicy {
    /// The leader's.
    pub generation: Generation,
    /// When it was told, by the leader's clock.
    pub at: Timestamp,
    /// The ceiling of all labels. Only under `act` is anything done.
    pub max_mode: Mode,
    /// How long a container may take to stop before it is killed.
    #[serde(rename = "grace_ms", with = "duration_ms")]
    pub grace: Duration,
    /// Least time between the first and second restart of a container; it doubles with each one more.
    #[serde(rename = "backoff_ms", with = "duration_ms")]
    pub backoff: Duration,
    /// Restarts of one container in an hour; then it is left alone.
    pub hourly: u32,
    /// Restarts in an hour, of all containers of a service on the node.
    pub service_hourly: u32,
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
    /// Where others get its image.
    #[serde(default, skip_serializing_if = "ImageSource::is_registry")]
    pub image: ImageSource,
}

/// Where other nodes get the image of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// From a registry.
    #[default]
    Registry,
    /// From its own node alone, since it was built or loaded there: nowhere, once that is lost.
    Node,
}

impl ImageSource {
    /// It is in a registry.
    pub const fn is_registry(&self) -> bool {
        matches!(self, ImageSource::Registry)
    }
}
