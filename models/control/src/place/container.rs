//! What is to be placed.

use std::collections::BTreeMap;
use std::sync::Arc;

use units::{ContainerId, ServiceId};

use super::Resources;

/// A container, as far as its place depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Which it is.
    pub id: ContainerId,
    /// Whose replica it is.
    pub service: ServiceId,
    /// What it is granted: limits, or what it is known to use.
    pub asks: Resources,
    /// What its host must have; shared by the replicas of a service.
    pub needs: Arc<Needs>,
    /// Who goes first where there is not room for all.
    pub priority: Priority,
    /// Whether it may be moved once it runs.
    pub movable: Movable,
}

/// Higher goes first; `io.homeostat.priority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(pub i32);

/// Whether a running container may be made again elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Movable {
    /// Opted in, and nothing ties it to its host.
    Yes,
    /// Not opted in, or tied to its host.
    No,
}

/// What a host must have, and must not have, for a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// The image it runs, by digest; empty when that is all the same.
    pub image: String,
    /// The architecture the image was built for; absent when it runs on any.
    pub architecture: Option<String>,
    /// Labels its host must carry.
    pub labels: BTreeMap<String, String>,
    /// Ports it publishes on its host.
    pub ports: Vec<u16>,
    /// Local volumes it must find there.
    pub volumes: Vec<String>,
    /// Whether replicas of its service may share a host.
    pub apart: Apart,
    /// How its service's replicas are spread over zones.
    pub zones: Zones,
    /// Services it talks to: it had better be in a zone with replicas of them, since latency between zones is the larger one.
    pub peers: Vec<ServiceId>,
}

/// Whether replicas of a service may share a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Apart {
    /// They may.
    #[default]
    Together,
    /// Each on a host of its own.
    OtherHosts,
}

/// How replicas of a service are spread over zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Zones {
    /// In any way.
    #[default]
    Any,
    /// No zone has this many more than any other.
    Even {
        /// Most replicas that a zone may have beyond the emptiest zone's.
        skew_max: u32,
    },
}
