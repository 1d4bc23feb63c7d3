//! On which node a new replica is made, where a service runs on several: it is made from a container beside it, so those nodes are the
//! choice. In this order: not on a node that is short of something or cordoned, on the one with the fewest replicas of the service, so that the
//! loss of one takes the fewest away, and on the one with the most room. One that is removed goes from where the next would go last.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use units::{NodeId, SignalKind};

use crate::capacity;
use crate::fleet::Replica;
use crate::state::State;

/// A node's room is told apart in so many parts of it: less is no reason to prefer one.
const PARTS: f64 = 20.0;

/// A node on which a replica can be made, and from what.
struct Site<'a> {
    template: &'a Replica<'a>,
    crowd: Crowd,
    /// Parts of the node that are free; none where that is not known.
    free: u32,
}

/// The templates for `count` new replicas, one for each. `able` are those that can be copied, in the order of age, and `all` the
/// replicas of the service that serve or will.
pub(crate) fn templates<'a>(
    state: &State,
    able: &[&'a Replica<'a>],
    all: &[Replica<'_>],
    count: u32,
) -> Vec<&'a Replica<'a>> {
    let mut sites: BTreeMap<&NodeId, Site<'a>> = BTreeMap::new();
    for template in able {
        sites.entry(template.node).or_insert_with(|| Site {
            template,
            crowd: Crowd::default(),
            free: 0,
        });
    }
    if sites.len() > 1 {
        let crowds = crowds(state, all);
        for (node, site) in &mut sites {
            site.crowd = crowds.get(node).copied().unwrap_or_default();
            let free = capacity::free_share(state, node).unwrap_or(0.0);
            site.free = (free * PARTS) as u32;
        }
    }
    let mut chosen = Vec::new();
    while chosen.len() < count as usize {
        // Equal ones are told apart by name.
        let best = sites
            .values_mut()
            .min_by_key(|site| (site.crowd, Reverse(site.free)));
        let Some(site) = best else { break };
        site.crowd.replicas += 1;
        chosen.push(site.template);
    }
    chosen
}

/// How crowded a node is: by what it is short of first, then by replicas of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Crowd {
    is_short: bool,
    replicas: u32,
}

/// How crowded the nodes of a service are; `all` are its replicas that serve or will.
pub(crate) fn crowds<'a>(state: &State, all: &[Replica<'a>]) -> BTreeMap<&'a NodeId, Crowd> {
    let mut crowds: BTreeMap<&NodeId, Crowd> = BTreeMap::new();
    for replica in all.iter().filter(|it| it.counts()) {
        crowds.entry(replica.node).or_default().replicas += 1;
    }
    if crowds.len() > 1 {
        let short = short(state);
        for (node, crowd) in &mut crowds {
            crowd.is_short = short.contains(node);
        }
    }
    crowds
}

/// Nodes that are short of something, and those on which people want nothing new.
fn short(state: &State) -> BTreeSet<&NodeId> {
    let open = state.signals.open_about_nodes(SignalKind::NodePressure);
    let open = open.filter_map(|signal| signal.subject.node.as_ref());
    open.chain(state.node_orders.closed()).collect()
}
