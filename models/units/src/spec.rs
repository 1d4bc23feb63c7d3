//! What a container was created from: what is needed to make it again elsewhere.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration_ms;

/// What the engine was told when it created a container, as far as making it again needs it. Values of environment variables
/// stay with the engine: they hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Content address of the image it runs, such as `sha256:…`, whatever its tag names by now.
    pub image_digest: String,
    /// Its program with arguments; absent: the image's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its arguments; absent: the image's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Names of its environment variables, without values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// Where it stands in a compose project, when it is part of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compose: Option<ComposeSpec>,
    /// How it is attached: `bridge`, `host`, `none`, `container:<id>` or a network's name.
    pub network_mode: String,
    /// The networks it is in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkSpec>,
    /// Ports it publishes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortSpec>,
    /// Where the engine has published them, while it runs: ports of the host that it chose are told here. Absent in records of older
    /// collectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<PortSpec>,
    /// Ports it or its image says that it listens on, such as `80/tcp`. Absent in records of older collectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<String>,
    /// Volumes, bind mounts and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountSpec>,
    /// What the engine does when it ends.
    pub restart: RestartSpec,
    /// Its health check, when it has one of its own or of its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
    /// The signal that asks it to stop; absent: `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Where its log goes: the driver's name.
    pub log_driver: String,
}

impl ContainerSpec {
    /// It was made to be in a network of its engine: not in its host's or another container's, and not in none.
    pub fn has_own_network(&self) -> bool {
        // Podman's ways to reach out without a network of the engine are none that a container could be taken out of either.
        const OTHERS: [&str; 5] = ["host", "none", "private", "pasta", "slirp4netns"];
        let mode = self.network_mode.as_str();
        let kind = mode.split_once(':').map_or(mode, |(kind, _)| kind);
        !mode.is_empty() && !OTHERS.contains(&kind) && !matches!(kind, "container" | "ns")
    }
}

/// A container's place in a compose project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ComposeSpec {
    /// The project.
    pub project: String,
    /// The service within it.
    pub service: String,
    /// Services of the project that must be there first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
}

/// A network a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The network's name.
    pub name: String,
    /// Other names it answers to there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Its addresses there, IPv4 and IPv6, while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PortSpec {
    /// The container's port with its protocol, such as `80/tcp`.
    pub container: String,
    /// The host's address; empty for all.
    pub host_address: String,
    /// The host's port: as asked for, empty where the engine chooses; or as published.
    pub host_port: String,
}

/// Where a mount comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A named or anonymous volume.
    Volume,
    /// A path of the host.
    Bind,
    /// Memory.
    Tmpfs,
    /// Something else of the engine's.
    Other,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Where it comes from.
    pub kind: MountKind,
    /// The volume's name or the host's path.
    pub source: String,
    /// Where it is in the container.
    pub target: String,
    /// The volume's driver; empty for others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// `ro` or `rw`.
    pub access: String,
}

/// The engine's restart policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RestartSpec {
    /// `no`, `on-failure`, `always` or `unless-stopped`.
    pub policy: String,
    /// Most attempts of `on-failure`; absent for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u64>,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthSpec {
    /// The command, led by `CMD` or `CMD-SHELL`.
    pub test: Vec<String>,
    /// Time between two.
    #[serde(with = "duration_ms")]
    pub interval: Duration,
    /// How long one may take.
    #[serde(with = "duration_ms")]
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u64,
    /// How long failures do not count after its start.
    #[serde(with = "duration_ms")]
    pub start_period: Duration,
}
