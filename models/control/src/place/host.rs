//! Where containers are placed.

use std::collections::{BTreeMap, BTreeSet};

use units::NodeId;

use super::Resources;

/// A host, as far as what is placed there depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// Which it is.
    pub id: NodeId,
    /// What it has for containers.
    pub capacity: Resources,
    /// Its architecture, such as `amd64`.
    pub architecture: String,
    /// Its zone; hosts without one are a zone of their own.
    pub zone: String,
    /// Labels of its engine.
    pub labels: BTreeMap<String, String>,
    /// Digests of the images it holds.
    pub images: BTreeSet<String>,
    /// Names of its local volumes.
    pub volumes: BTreeSet<String>,
    /// What it costs, against an ordinary host.
    pub cost: Cost,
    /// Whether it takes containers.
    pub intake: Intake,
}

impl Host {
    /// An empty host without labels, images, volumes or zone, at the ordinary cost.
    pub fn plain(id: NodeId, capacity: Resources) -> Self {
        Host {
            id,
            capacity,
            architecture: String::new(),
            zone: String::new(),
            labels: BTreeMap::new(),
            images: BTreeSet::new(),
            volumes: BTreeSet::new(),
            cost: Cost::default(),
            intake: Intake::Open,
        }
    }
}

/// What a host costs, where an ordinary one costs 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Cost(f64);

impl Cost {
    /// So many times an ordinary host's; what is no number, or negative, counts as an ordinary host's.
    pub fn new(times_ordinary: f64) -> Self {
        match times_ordinary {
            times if times.is_finite() && times >= 0.0 => Cost(times),
            _ => Cost::default(),
        }
    }

    pub(super) fn get(self) -> f64 {
        self.0
    }
}

impl Default for Cost {
    fn default() -> Self {
        Cost(1.0)
    }
}

/// Whether a host takes containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intake {
    /// It does.
    Open,
    /// It does not: it is failing, silent, or being emptied.
    Closed,
}
