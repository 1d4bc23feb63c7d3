//! What a node holds: its heartbeat.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Bytes, ContainerId, ContainerName, ContainerSpec, LabelProblem, Millicores, NodeId, PlanId,
    Policy, ServiceId, Steady, Timestamp,
};

/// An inventory of the same boot is late by this much at most; no boot is over so soon.
const LATE_MAX: Duration = Duration::from_secs(10);

/// What the engine says a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Running.
    Running,
    /// Running, frozen by a person.
    Paused,
    /// Waiting for the engine's restart policy.
    Restarting,
    /// Ended.
    Exited,
    /// Being removed, or the engine could not stop it.
    Dead,
}

impl ContainerState {
    /// Every state; the position is the code on the wire.
    pub const ALL: [ContainerState; 6] = [
        ContainerState::Created,
        ContainerState::Running,
        ContainerState::Paused,
        ContainerState::Restarting,
        ContainerState::Exited,
        ContainerState::Dead,
    ];

    /// The word operators know from the engine.
    pub const fn as_str(self) -> &'static str {
        match self {
            ContainerState::Created => "created",
            ContainerState::Running => "running",
            ContainerState::Paused => "paused",
            ContainerState::Restarting => "restarting",
            ContainerState::Exited => "exited",
            ContainerState::Dead => "dead",
        }
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// It has no health check.
    None,
    /// It has not passed yet and may still.
    Starting,
    /// It passes.
    Healthy,
    /// It fails.
    Unhealthy,
}

impl HealthState {
    /// Every state; the position is the code on the wire.
    pub const ALL: [HealthState; 4] = [
        HealthState::None,
        HealthState::Starting,
        HealthState::Healthy,
        HealthState::Unhealthy,
    ];

    /// The word operators know from the engine.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthState::None => "none",
            HealthState::Starting => "starting",
            HealthState::Healthy => "healthy",
            HealthState::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A container's limits; absent where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// CPU.
    pub cpu: Option<Millicores>,
    /// Memory.
    pub memory: Option<Bytes>,
}

/// One container of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// The engine's id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The service it is a replica of.
    pub service: ServiceId,
    /// Image reference it was created from.
    pub image: String,
    /// What it is doing.
    pub state: ContainerState,
    /// What its health check says.
    pub health: HealthState,
    /// Restarts by the engine's restart policy.
    pub restarts: u64,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// When its process was last started.
    pub started_at: Option<Timestamp>,
    /// When its process last ended; absent while running.
    pub finished_at: Option<Timestamp>,
    /// Exit code of the last run; absent while running.
    pub exit_code: Option<i64>,
    /// Its limits.
    pub limits: Limits,
    /// What its labels allow.
    pub policy: Policy,
    /// Labels that could not be read; the policy is then the safest reading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub label_problems: Vec<LabelProblem>,
    /// The container this one was made from, when Homeostat made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_of: Option<ContainerId>,
    /// The plan that made it, when Homeostat made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<PlanId>,
    /// Why no replica can be made from it; empty when one can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy_obstacles: Vec<String>,
    /// What it was created from. Absent in records of older collectors, and where a node holds so many containers that all of
    /// them would not fit into a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Arc<ContainerSpec>>,
}

impl ContainerRecord {
    /// Running, and not known to be unfit to serve.
    pub fn is_serving(&self) -> bool {
        self.state == ContainerState::Running
            && !self.is_isolated()
            && matches!(self.health, HealthState::None | HealthState::Healthy)
    }

    /// It was made to be in a network and is in none: no request reaches it, whatever it does. People look at it, or do this to it
    /// themselves.
    pub fn is_isolated(&self) -> bool {
        let spec = self.spec.as_deref();
        spec.is_some_and(|spec| spec.has_own_network() && spec.networks.is_empty())
    }
}

/// What a node has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeCapacity {
    /// All its cores.
    pub cpu: Millicores,
    /// All its memory.
    pub memory: Bytes,
}

/// What sets a node apart from others, beside its size: where it is, what it costs, and what it can run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeFacts {
    /// Nodes of one zone fail together: a rack, a room, a site. Absent where nobody said; such nodes are a zone of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What it costs, where an ordinary node costs 1. Absent where nobody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Under which address or host name others reach its published ports. Absent where nobody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Labels of the collector's configuration, and of the engine where those do not say otherwise.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What its engine runs, as images name it, such as `amd64`. Absent where the engine does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
}

impl NodeFacts {
    /// These, and of the others what these leave open.
    #[must_use]
    pub fn over(mut self, others: &NodeFacts) -> NodeFacts {
        for (key, value) in &others.labels {
            let entry = self.labels.entry(key.clone());
            entry.or_insert_with(|| value.clone());
        }
        NodeFacts {
            zone: self.zone.or_else(|| others.zone.clone()),
            cost: self.cost.or(others.cost),
            address: self.address.or_else(|| others.address.clone()),
            labels: self.labels,
            architecture: self.architecture.or_else(|| others.architecture.clone()),
        }
    }

    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == NodeFacts::default()
    }
}

/// The engine of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EngineInfo {
    /// Its version.
    pub version: String,
    /// The API version spoken with it.
    pub api_version: String,
    /// cgroup layout: `v1`, `v2` or `hybrid`.
    pub cgroup: String,
}

/// Everything a node holds at one time. Absence of new ones means the node, or its telemetry, is gone.
///
/// `C` is how the containers are held: a writer may keep them encoded for as long as nothing changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeInventory<C = Vec<ContainerRecord>> {
    /// The node.
    pub node: NodeId,
    /// When it was taken.
    pub at: Timestamp,
    /// The same by the node's clock that never steps. Absent in records of older collectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steady: Option<Steady>,
    /// What the node has.
    pub capacity: NodeCapacity,
    /// Its engine.
    pub engine: EngineInfo,
    /// What else is known of it. Absent in records of older collectors.
    #[serde(default, skip_serializing_if = "NodeFacts::is_empty")]
    pub facts: NodeFacts,
    /// Its containers, by name.
    pub containers: C,
}

impl<C> NodeInventory<C> {
    /// Whether it was taken after one that its node took then: by the clock that never steps where both tell it, for the time of day
    /// may have been set in between. A steady clock that fell by more than a few seconds while the time of day rose is that of a
    /// later boot.
    pub fn is_newer_than(&self, at: Timestamp, steady: Option<Steady>) -> bool {
        match (self.steady, steady) {
            (Some(now), Some(before)) if before.since(now) <= LATE_MAX => now > before,
            (Some(_), Some(_)) | (Some(_), None) | (None, Some(_)) | (None, None) => self.at > at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_goes_before_what_the_engine_says() {
        let labels = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            owned.collect()
        };
        let configured = NodeFacts {
            zone: Some("a".to_owned()),
            labels: labels(&[("disk", "ssd")]),
            ..NodeFacts::default()
        };
        let engine = NodeFacts {
            labels: labels(&[("disk", "hdd"), ("rack", "7")]),
            architecture: Some("amd64".to_owned()),
            ..NodeFacts::default()
        };
        let facts = configured.over(&engine);
        assert_eq!(facts.zone.as_deref(), Some("a"));
        assert_eq!(facts.labels, labels(&[("disk", "ssd"), ("rack", "7")]));
        assert_eq!(facts.architecture.as_deref(), Some("amd64"));
    }

    #[test]
    fn a_container_in_none_of_the_networks_it_was_made_for_is_isolated_and_serves_nobody() {
        let record = |mode: &str, networks: &[&str]| {
            let networks = networks.iter().map(|name| crate::NetworkSpec {
                name: (*name).to_owned(),
                ..crate::NetworkSpec::default()
            });
            let spec = ContainerSpec {
                network_mode: mode.to_owned(),
                networks: networks.collect(),
                ..ContainerSpec::default()
            };
            ContainerRecord {
                spec: Some(Arc::new(spec)),
                ..plain()
            }
        };
        assert!(record("shop_default", &[]).is_isolated());
        assert!(!record("shop_default", &[]).is_serving());
        assert!(record("bridge", &[]).is_isolated());
        assert!(record("shop_default", &["shop_default"]).is_serving());
        assert!(!plain().is_isolated(), "nobody knows what it was made from");
        for mode in ["", "host", "none", "container:abc", "pasta:-t", "ns:/a/b"] {
            assert!(!record(mode, &[]).is_isolated(), "{mode}");
        }
    }

    fn plain() -> ContainerRecord {
        ContainerRecord {
            id: "id".into(),
            name: "web-1".into(),
            service: "web".into(),
            image: "web:1".to_owned(),
            state: ContainerState::Running,
            health: HealthState::None,
            restarts: 0,
            created_at: None,
            started_at: None,
            finished_at: None,
            exit_code: None,
            limits: Limits::default(),
            policy: Policy::default(),
            label_problems: Vec::new(),
            replica_of: None,
            made_by: None,
            copy_obstacles: Vec::new(),
            spec: None,
        }
    }
}
