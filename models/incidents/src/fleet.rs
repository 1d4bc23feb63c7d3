//! What runs where, and who depends on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use units::{
    ContainerId, ContainerSpec, Direction, Link, NodeId, NodeInventory, ServiceId, Steady,
    Timestamp,
};

use crate::weights::{CONTAINERS_MAX, HOPS_MAX, KEPT, LINKS_MAX, NODES_MAX};

/// The fleet as inventories and links tell it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    nodes: BTreeMap<NodeId, Node>,
    /// From caller to callee, with when it was last seen.
    links: BTreeMap<(ServiceId, ServiceId), Timestamp>,
}

#[derive(Debug, Clone)]
struct Node {
    at: Timestamp,
    steady: Option<Steady>,
    containers: Vec<Placed>,
}

#[derive(Debug, Clone, PartialEq)]
struct Placed {
    id: ContainerId,
    service: ServiceId,
    spec: Option<Arc<ContainerSpec>>,
}

impl Fleet {
    /// Takes a heartbeat; whether it says anything new.
    pub(crate) fn inventory(&mut self, inventory: &NodeInventory) -> bool {
        let known = self.nodes.get(&inventory.node);
        if known.is_some_and(|known| !inventory.is_newer_than(known.at, known.steady)) {
            return false;
        }
        if known.is_none() && self.nodes.len() >= NODES_MAX {
            return false;
        }
        let placed = |record: &units::ContainerRecord| Placed {
            id: record.id.clone(),
            service: record.service.clone(),
            spec: record.spec.clone(),
        };
        let containers: Vec<Placed> = inventory
            .containers
            .iter()
            .take(CONTAINERS_MAX)
            .map(placed)
            .collect();
        let changed = known.is_none_or(|known| known.containers != containers);
        let node = Node {
            at: inventory.at,
            steady: inventory.steady,
            containers,
        };
        self.nodes.insert(inventory.node.clone(), node);
        changed
    }

    /// Takes the news that a node is gone.
    pub(crate) fn remove(&mut self, node: &NodeId) -> bool {
        self.nodes.remove(node).is_some()
    }

    /// Takes links; whether an edge is new.
    pub(crate) fn links(&mut self, links: &[Link]) -> bool {
        let before = self.links.len();
        for link in links {
            let Some(peer) = link
                .peer_service
                .as_ref()
                .filter(|peer| **peer != link.service)
            else {
                continue;
            };
            let edge = match link.direction {
                Direction::Outbound => (link.service.clone(), peer.clone()),
                Direction::Inbound => (peer.clone(), link.service.clone()),
            };
            let seen = self.links.entry(edge).or_insert(link.at);
            *seen = link.at.max(*seen);
        }
        let changed = self.links.len() != before;
        if self.links.len() > LINKS_MAX {
            let mut seen: Vec<Timestamp> = self.links.values().copied().collect();
            seen.sort_unstable();
            // A tenth goes at once, so that this is rare.
            let oldest_kept = seen[seen.len() - LINKS_MAX + LINKS_MAX / 10];
            self.links.retain(|_, at| *at >= oldest_kept);
            let keys = self.links.len();
            if keys > LINKS_MAX {
                // All are of one time: there is no oldest, so the last by name go.
                let extra: Vec<_> = self.links.keys().skip(LINKS_MAX).cloned().collect();
                for edge in extra {
                    self.links.remove(&edge);
                }
            }
        }
        changed
    }

    /// Forgets what was not seen for long; whether anything was.
    pub(crate) fn forget(&mut self, now: Timestamp) -> bool {
        let before = self.links.len();
        self.links.retain(|_, at| now.since(*at) <= KEPT);
        self.links.len() != before
    }

    /// How much is remembered: nodes with their containers, and edges.
    pub(crate) fn size(&self) -> usize {
        let containers = self.nodes.values().map(|node| node.containers.len());
        self.nodes.len() + containers.sum::<usize>() + self.links.len()
    }

    /// The one node a service runs on, when there is exactly one.
    pub(crate) fn only_nodes(&self) -> BTreeMap<&ServiceId, Option<&NodeId>> {
        let mut found: BTreeMap<&ServiceId, Option<&NodeId>> = BTreeMap::new();
        for (id, node) in &self.nodes {
            for container in &node.containers {
                found
                    .entry(&container.service)
                    .and_modify(|only| *only = only.filter(|only| *only == id))
                    .or_insert(Some(id));
            }
        }
        found
    }

    /// Who calls whom: links that were seen, and what compose files declare.
    pub(crate) fn graph(&self) -> Graph<'_> {
        let mut graph = Graph::default();
        for (caller, callee) in self.links.keys() {
            graph.add(caller, callee);
        }
        let containers = || self.nodes.values().flat_map(|node| &node.containers);
        let mut by_compose: BTreeMap<(&str, &str), &ServiceId> = BTreeMap::new();
        for container in containers() {
            if let Some(compose) = container.compose() {
                by_compose.insert((&compose.project, &compose.service), &container.service);
            }
        }
        for container in containers() {
            let Some(compose) = container.compose() else {
                continue;
            };
            for needed in &compose.depends_on {
                if let Some(callee) = by_compose.get(&(compose.project.as_str(), needed.as_str())) {
                    graph.add(&container.service, callee);
                }
            }
        }
        graph
    }
}

impl Placed {
    fn compose(&self) -> Option<&units::ComposeSpec> {
        self.spec.as_ref()?.compose.as_ref()
    }
}

/// Edges from callers to callees.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    callees: BTreeMap<&'a ServiceId, BTreeSet<&'a ServiceId>>,
}

impl<'a> Graph<'a> {
    fn add(&mut self, caller: &'a ServiceId, callee: &'a ServiceId) {
        if caller != callee {
            self.callees.entry(caller).or_default().insert(callee);
        }
    }

    /// The services that one calls itself.
    pub(crate) fn callees(&self, caller: &ServiceId) -> impl Iterator<Item = &'a ServiceId> {
        self.callees.get(caller).into_iter().flatten().copied()
    }

    /// Of `among`, those that each of them calls, itself or through silent others, up to [`HOPS_MAX`] steps.
    pub(crate) fn reach(
        &self,
        among: &BTreeSet<&'a ServiceId>,
    ) -> BTreeMap<&'a ServiceId, BTreeSet<&'a ServiceId>> {
        let from = |start: &'a ServiceId| {
            let mut seen = BTreeSet::from([start]);
            let mut edge = vec![start];
            for _ in 0..HOPS_MAX {
                let next = edge.iter().flat_map(|service| self.callees(service));
                edge = next
                    .collect::<Vec<_>>()
                    .into_iter()
                    .filter(|callee| seen.insert(callee))
                    .collect();
            }
            seen.remove(start);
            seen.retain(|service| among.contains(service));
            (start, seen)
        };
        among.iter().map(|start| from(start)).collect()
    }
}
