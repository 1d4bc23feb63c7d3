//! Nodes and containers in the terms of placement.

use std::collections::{BTreeMap, BTreeSet};

use units::{
    ContainerRecord, ContainerState, NodeCapacity, NodeFacts, NodeId, NodeWanted, Timestamp,
};

use super::Hearing;
use super::tied::{self, Known, PIN};
use crate::fleet::{KnownNode, Replica};
use crate::place::{Container, Cost, Host, HostIndex, Hosts, Intake, Movable, Priority, Resources};
use crate::state::State;

/// The fleet, with what placement does not ask for beside it.
pub(super) struct Picture<'a> {
    pub(super) hosts: Hosts,
    /// By host, in the order of names.
    pub(super) nodes: Vec<SeenNode<'a>>,
    /// By container.
    pub(super) held: Vec<Held<'a>>,
}

pub(super) struct SeenNode<'a> {
    pub(super) node: &'a NodeId,
    pub(super) hearing: Hearing,
    pub(super) wanted: NodeWanted,
    pub(super) facts: &'a NodeFacts,
    pub(super) capacity: Option<NodeCapacity>,
    /// Containers of which it is not known what they need.
    pub(super) unknown: usize,
}

pub(super) struct Held<'a> {
    pub(super) replica: Replica<'a>,
    pub(super) known: Known,
    /// What ties it to its node.
    pub(super) tie: Option<String>,
    /// Why it may not be moved.
    pub(super) stays: Option<String>,
}

impl<'a> Picture<'a> {
    /// The nodes that are not gone, with what runs on them or will.
    pub(super) fn of(state: &'a State, now: Timestamp) -> Self {
        let since = now - state.config.breaker.node_forgotten;
        let known: Vec<KnownNode<'a>> = state.fleet.known(since).collect();
        let architectures: BTreeSet<&String> = known
            .iter()
            .filter_map(|it| it.facts.architecture.as_ref())
            .collect();
        // Where all that is known is the same, the others are taken to be so too.
        let mixed = architectures.len() > 1;
        let mut picture = Picture {
            hosts: Hosts::default(),
            nodes: Vec::with_capacity(known.len()),
            held: Vec::new(),
        };
        for node in known {
            picture.add(state, node, mixed.then(|| architecture(node.facts)), now);
        }
        picture
    }

    /// Hosts that hold something of which it is not known what it needs.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = HostIndex> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| node.unknown > 0)
            .map(|(at, _)| HostIndex(at))
    }

    pub(super) fn host_of(&self, node: &NodeId) -> Option<HostIndex> {
        let at = self.nodes.binary_search_by(|it| it.node.cmp(node)).ok()?;
        Some(HostIndex(at))
    }

    fn add(
        &mut self,
        state: &'a State,
        node: KnownNode<'a>,
        architecture: Option<String>,
        now: Timestamp,
    ) {
        let hearing = match node.spoke_at + state.config.telemetry_stale >= now {
            true => Hearing::Speaks,
            false => Hearing::Silent,
        };
        let replicas: Vec<Replica<'a>> =
            state.fleet.on_node(node.node).filter(takes_room).collect();
        let said = node.capacity != NodeCapacity::default();
        let wanted = state.node_orders.wanted(node.node);
        let host = host(&node, hearing, wanted, &replicas);
        let on = self.hosts.add_host(host);
        let mut unknown = 0;
        for replica in replicas {
            let held = self.hold(state, replica, hearing, architecture.clone(), on);
            unknown += usize::from(held == Known::Part);
        }
        self.nodes.push(SeenNode {
            node: node.node,
            hearing,
            wanted,
            facts: node.facts,
            capacity: said.then_some(node.capacity),
            unknown,
        });
    }

    fn hold(
        &mut self,
        state: &State,
        replica: Replica<'a>,
        hearing: Hearing,
        architecture: Option<String>,
        on: HostIndex,
    ) -> Known {
        let record = replica.record;
        let (asks, known) = tied::asks_of(state, &replica);
        let tie = tied::tie(record);
        let stays = tied::stays(record, known, hearing);
        let movable = match stays {
            Some(_) => Movable::No,
            None => Movable::Yes,
        };
        self.hosts.add(
            Container {
                id: record.id.clone(),
                service: record.service.clone(),
                asks,
                needs: tied::needs(record, replica.node, architecture, tie.as_ref()),
                priority: priority_of(record),
                movable,
            },
            on,
        );
        self.held.push(Held {
            replica,
            known,
            tie,
            stays,
        });
        known
    }
}

pub(super) fn priority_of(record: &ContainerRecord) -> Priority {
    Priority(i32::try_from(record.policy.priority).unwrap_or(i32::MAX))
}

/// Whether it uses its node, or will without anybody's doing.
pub(crate) fn takes_room(replica: &Replica<'_>) -> bool {
    match replica.record.state {
        ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => true,
        ContainerState::Created => replica.counts(),
        ContainerState::Exited | ContainerState::Dead => false,
    }
}

/// Its images and volumes are those of its containers: what else it holds is not told.
fn host(
    node: &KnownNode<'_>,
    hearing: Hearing,
    wanted: NodeWanted,
    replicas: &[Replica<'_>],
) -> Host {
    let specs = || replicas.iter().filter_map(|it| it.record.spec.as_deref());
    let mut labels: BTreeMap<String, String> = node.facts.labels.clone();
    labels.insert(PIN.to_owned(), node.node.to_string());
    let capacity = Resources::new(node.capacity.cpu, node.capacity.memory);
    let told = node.capacity != NodeCapacity::default();
    let intake = match (hearing, wanted) {
        (Hearing::Speaks, NodeWanted::Open) if told => Intake::Open,
        (Hearing::Speaks | Hearing::Silent, _) => Intake::Closed,
    };
    Host {
        architecture: architecture(node.facts),
        zone: node.facts.zone.clone().unwrap_or_default(),
        labels,
        images: specs().map(|it| it.image_digest.clone()).collect(),
        volumes: specs().flat_map(tied::volumes).collect(),
        cost: node.facts.cost.map(Cost::new).unwrap_or_default(),
        intake,
        ..Host::plain(node.node.clone(), capacity)
    }
}

fn architecture(facts: &NodeFacts) -> String {
    facts.architecture.clone().unwrap_or_default()
}
