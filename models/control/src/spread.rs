//! On which node a new replica is made, where a service runs on several: it is made from a container beside it, so those nodes are the
//! choice. In this order: not on a node that is short of something, on the one with the fewest replicas of the service, so that the
//! loss of one takes the fewest away, and on the one with the most room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use units::{NodeId, SignalKind};

use crate::capacity;
use crate::fleet::Replica;
use crate::state::State;

/// A node's room is told apart in so many parts of it: less is no reason to prefer one.
const PARTS: f64 = 20.0;

/// Where the next replica goes, from what it is copied, and how many replicas that node has.
struct Site<'a> {
    template: &'a Replica<'a>,
    replicas: u32,
    /// Parts of it that are free; the least where it is not known.
    free: u32,
    is_short: bool,
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
            replicas: 0,
            free: 0,
            is_short: false,
        });
    }
    if sites.len() > 1 {
        let short = short(state);
        for (node, site) in &mut sites {
            let here = all.iter().filter(|it| it.node == *node && it.counts());
            site.replicas = u32::try_from(here.count()).unwrap_or(u32::MAX);
            site.is_short = short.contains(node);
            let free = capacity::free_share(state, node).unwrap_or(0.0);
            site.free = (free * PARTS) as u32;
        }
    }
    let mut chosen = Vec::new();
    while chosen.len() < count as usize {
        // Equal ones are told apart by name.
        let best = sites
            .values_mut()
            .min_by_key(|site| (site.is_short, site.replicas, Reverse(site.free)));
        let Some(site) = best else { break };
        site.replicas = site.replicas.saturating_add(1);
        chosen.push(site.template);
    }
    chosen
}

fn short(state: &State) -> BTreeSet<&NodeId> {
    let open = state.signals.open_about_nodes(SignalKind::NodePressure);
    open.filter_map(|signal| signal.subject.node.as_ref())
        .collect()
}
