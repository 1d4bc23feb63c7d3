//! Pods that arrive one by one and are placed on hosts for good.
//!
//! Two experiments: how many equal hosts a policy needs so that no pod is turned away ([`fleet`]), and what the death of each host
//! of a mixed fleet does when it is nearly full ([`failover`]). Rivals place and never move; Homeostat's own policy may move a few
//! pods, which is counted.

mod failover;
mod rivals;

use std::collections::BTreeSet;
use std::sync::Arc;

use control::place::{
    Container, ContainerIndex, Host, HostIndex, Hosts, Movable, Needs, Placer, Priority,
};
use units::{ContainerId, NodeId, ServiceId};

pub use control::place::Resources;
pub use failover::{DRAWN_NODES, DRAWS, Failover, failover};

/// The largest share of pods' hosts is searched for between the bound and this many times it.
const HOSTS_MAX_TIMES: f64 = 9.4;

/// Who chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The decision core: [`control::place`].
    Homeostat,
    /// The host on which the least is left, CPU and memory as shares of the largest host's.
    BestFit,
    /// The host with the fewest pods, as Swarm.
    Spread,
    /// Least allocated and balanced, as the default scheduler of Kubernetes.
    Kube,
}

/// What a fleet of equal hosts took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    /// The fewest hosts on which no pod was turned away.
    pub hosts_used: usize,
    /// What no placement can be below: all that is asked for, in hosts.
    pub lower_bound: usize,
    /// Pods placed.
    pub containers: usize,
    /// Pods moved to make room.
    pub moves: usize,
}

/// Why an experiment cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlaceError {
    /// Nothing to place.
    #[error("there are no pods; give a file with at least one that fits a host")]
    NoPods,
    /// Nowhere to place.
    #[error("there are no nodes with CPU; give a file with at least one")]
    NoNodes,
    /// One is too large.
    #[error("pod {at} fits no empty host; leave it out or give larger hosts")]
    TooLarge {
        /// Its position, from 0.
        at: usize,
    },
    /// Even the most hosts tried turned pods away.
    #[error("{hosts} hosts turn pods away under this policy; more are not tried")]
    TooMany {
        /// How many were tried.
        hosts: usize,
    },
}

/// The smallest number of hosts, found by bisection, on which a policy places all pods in their order.
pub fn fleet(pods: &[Resources], host: Resources, policy: Policy) -> Result<Fleet, PlaceError> {
    if pods.is_empty() {
        return Err(PlaceError::NoPods);
    }
    if let Some(at) = pods.iter().position(|pod| !pod.fits(host)) {
        return Err(PlaceError::TooLarge { at });
    }
    let all = pods
        .iter()
        .fold(Resources::default(), |all, it| all.plus(*it));
    let [cpu, memory] = all.shares(host).map(f64::ceil);
    let lower_bound = (cpu.max(memory) as usize).max(1);
    let attempt = |count: usize| {
        let placed = place(&vec![host; count], pods, policy);
        let complete = placed.on.iter().all(Option::is_some);
        complete.then_some(placed.moves)
    };
    let most = ((lower_bound as f64 * HOSTS_MAX_TIMES) as usize).min(pods.len());
    let (mut low, mut high) = (lower_bound.min(most), most);
    let mut moves = attempt(high).ok_or(PlaceError::TooMany { hosts: high })?;
    while low < high {
        let middle = low.midpoint(high);
        match attempt(middle) {
            Some(made) => (high, moves) = (middle, made),
            None => low = middle + 1,
        }
    }
    Ok(Fleet {
        hosts_used: high,
        lower_bound,
        containers: pods.len(),
        moves,
    })
}

/// What a policy made of pods on these hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Where each pod is in the end; absent where it was turned away.
    pub on: Vec<Option<usize>>,
    /// Pods moved to make room.
    pub moves: usize,
}

/// Places pods in their order; none ever leaves.
pub fn place(hosts: &[Resources], pods: &[Resources], policy: Policy) -> Placed {
    match policy {
        Policy::Homeostat => homeostat(hosts, pods),
        Policy::BestFit => rivals::place(hosts, pods, rivals::best_fit),
        Policy::Spread => rivals::place(hosts, pods, rivals::spread),
        Policy::Kube => rivals::place(hosts, pods, rivals::kube),
    }
}

fn homeostat(capacities: &[Resources], pods: &[Resources]) -> Placed {
    let host = |(at, &capacity): (usize, &Resources)| {
        Host::plain(NodeId::new(format!("host-{at}")), capacity)
    };
    let mut hosts = Hosts::new(capacities.iter().enumerate().map(host));
    let mut placer = Placer::default();
    let mut moves = 0;
    let mut placed: Vec<Option<ContainerIndex>> = Vec::with_capacity(pods.len());
    for (at, &asks) in pods.iter().enumerate() {
        let container = container(at, asks);
        let chosen = placer.choose(&mut hosts, &container, &BTreeSet::new());
        placed.push(chosen.map(|placement| {
            moves += placement.moves.len();
            hosts.add(container, placement.on)
        }));
    }
    let on = placed.into_iter().map(|index| {
        let (_, HostIndex(on)) = hosts.container(index?)?;
        Some(on)
    });
    Placed {
        on: on.collect(),
        moves,
    }
}

/// A container that may be moved and goes anywhere.
pub(crate) fn container(at: usize, asks: Resources) -> Container {
    let name = format!("pod-{at}");
    Container {
        id: ContainerId::new(name.as_str()),
        service: ServiceId::new(name),
        asks,
        needs: Arc::new(Needs::default()),
        priority: Priority::default(),
        movable: Movable::Yes,
    }
}

#[cfg(test)]
mod tests;
