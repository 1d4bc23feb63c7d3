//! What the nodes hold, as they last said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    ContainerId, ContainerRecord, ContainerState, NodeId, NodeInventory, ServiceId, Timestamp,
};

/// All nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    nodes: BTreeMap<NodeId, Node>,
    by_service: BTreeMap<ServiceId, BTreeSet<(NodeId, ContainerId)>>,
    /// Oldest first, so that the silent ones are found without looking at all.
    by_age: BTreeSet<(Timestamp, NodeId)>,
}

#[derive(Debug, Clone)]
struct Node {
    at: Timestamp,
    containers: BTreeMap<ContainerId, ContainerRecord>,
}

/// A container with its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replica<'a> {
    pub(crate) node: &'a NodeId,
    /// When its node last spoke.
    pub(crate) seen_at: Timestamp,
    pub(crate) record: &'a ContainerRecord,
}

impl Replica<'_> {
    /// It serves or will: one that starts, is paused or is sick comes back, and must not be replaced twice.
    pub(crate) fn counts(&self) -> bool {
        match self.record.state {
            ContainerState::Running | ContainerState::Paused => true,
            ContainerState::Created => self.record.made_by.is_some(),
            ContainerState::Restarting | ContainerState::Exited | ContainerState::Dead => false,
        }
    }
}

/// Nodes that stopped speaking, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) silent: usize,
    pub(crate) known: usize,
}

impl Fleet {
    /// Takes a node's state unless a newer one is known. Returns the services it concerns.
    pub(crate) fn apply(&mut self, inventory: NodeInventory) -> BTreeSet<ServiceId> {
        let mut touched = BTreeSet::new();
        let NodeInventory {
            node,
            at,
            containers,
            steady: _,
            capacity: _,
            engine: _,
        } = inventory;
        if let Some(known) = self.nodes.get(&node) {
            if known.at >= at {
                return touched;
            }
            self.by_age.remove(&(known.at, node.clone()));
            for record in known.containers.values() {
                touched.insert(record.service.clone());
                if let Some(members) = self.by_service.get_mut(&record.service) {
                    members.remove(&(node.clone(), record.id.clone()));
                    if members.is_empty() {
                        self.by_service.remove(&record.service);
                    }
                }
            }
        }
        for record in &containers {
            touched.insert(record.service.clone());
            self.by_service
                .entry(record.service.clone())
                .or_default()
                .insert((node.clone(), record.id.clone()));
        }
        self.by_age.insert((at, node.clone()));
        let containers = containers
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect();
        self.nodes.insert(node, Node { at, containers });
        touched
    }

    /// Every container of a service, by node and id.
    pub(crate) fn replicas(&self, service: &ServiceId) -> Vec<Replica<'_>> {
        let members = self.by_service.get(service).into_iter().flatten();
        members
            .filter_map(|(node, container)| self.lookup(node, container))
            .collect()
    }

    /// One container of a service.
    pub(crate) fn find(&self, service: &ServiceId, container: &ContainerId) -> Option<Replica<'_>> {
        let members = self.by_service.get(service)?;
        let (node, id) = members.iter().find(|(_, id)| id == container)?;
        self.lookup(node, id)
    }

    fn lookup(&self, node: &NodeId, container: &ContainerId) -> Option<Replica<'_>> {
        let (node, held) = self.nodes.get_key_value(node)?;
        let record = held.containers.get(container)?;
        Some(Replica {
            node,
            seen_at: held.at,
            record,
        })
    }

    /// Every service, by name.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.by_service.keys()
    }

    pub(crate) fn service_count(&self) -> usize {
        self.by_service.len()
    }

    /// Nodes that have not spoken for `stale`. One silent for `forgotten` is gone, not silent.
    pub(crate) fn silence(&self, now: Timestamp, stale: Duration, forgotten: Duration) -> Silence {
        let gone_before = now - forgotten;
        let silent_before = now - stale;
        let mut silence = Silence {
            silent: 0,
            known: self.by_age.len(),
        };
        for (at, _) in &self.by_age {
            if *at < gone_before {
                silence.known -= 1;
            } else if *at < silent_before {
                silence.silent += 1;
            } else {
                break;
            }
        }
        silence
    }

    /// Every node with when it last spoke, earliest first.
    pub(crate) fn last_seen(&self) -> impl Iterator<Item = (&NodeId, Timestamp)> {
        self.by_age.iter().map(|(at, node)| (node, *at))
    }

    /// Containers of the nodes that spoke at or after `since`, by state.
    pub(crate) fn states(&self, since: Timestamp) -> BTreeMap<ContainerState, u32> {
        let mut states: BTreeMap<ContainerState, u32> = ContainerState::ALL
            .into_iter()
            .map(|state| (state, 0))
            .collect();
        let known = self.nodes.values().filter(|node| node.at >= since);
        for record in known.flat_map(|node| node.containers.values()) {
            *states.entry(record.state).or_default() += 1;
        }
        states
    }

    /// When the next node becomes silent, should it say nothing more.
    pub(crate) fn next_silence(&self, now: Timestamp, stale: Duration) -> Option<Timestamp> {
        let fresh = self.by_age.iter().find(|(at, _)| *at >= now - stale)?;
        Some(fresh.0 + stale + Duration::from_millis(1))
    }

    /// A name is taken on a node, by whatever service.
    pub(crate) fn is_named(&self, node: &NodeId, name: &str) -> bool {
        let held = self.nodes.get(node);
        held.is_some_and(|node| node.containers.values().any(|it| it.name.as_str() == name))
    }
}
