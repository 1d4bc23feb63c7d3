//! Whom a more important container would put out.

use super::filter::other_than_room;
use super::{Container, ContainerIndex, HostIndex, Hosts, Priority};

/// Hosts looked at: those with the most free room. A fleet that is full is full of what could be put out.
const HOSTS_MAX: usize = 512;

/// Containers to stop so that another fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preemption {
    /// Where there is room then.
    pub on: HostIndex,
    /// Whom to stop, the least important first; each is of lower priority than the one that comes.
    pub out: Vec<ContainerIndex>,
}

/// The host on which the least important containers, and the fewest of them, would have to go. Nothing where even all containers of
/// lower priority would not make room.
pub fn preempt(hosts: &Hosts, container: &Container) -> Option<Preemption> {
    let roomiest = hosts.with_room(Default::default()).rev();
    let looked_at = roomiest
        .flat_map(|(_, equals)| equals.iter().copied())
        .take(HOSTS_MAX);
    looked_at
        .filter(|on| other_than_room(hosts, container, *on).is_none())
        .filter_map(|on| out_of(hosts, container, on))
        .min_by_key(|(highest, plan)| (*highest, plan.out.len(), plan.on))
        .map(|(_, plan)| plan)
}

fn out_of(
    hosts: &Hosts,
    container: &Container,
    on: HostIndex,
) -> Option<(Option<Priority>, Preemption)> {
    let mut lower: Vec<(ContainerIndex, &Container)> = hosts
        .on(on)
        .filter(|(_, it)| it.priority < container.priority)
        .collect();
    lower.sort_by_key(|(index, it)| (it.priority, std::cmp::Reverse(it.asks), *index));
    let mut free = hosts.free(on);
    let mut out = Vec::new();
    for (index, it) in lower {
        if container.asks.fits(free) {
            break;
        }
        free = free.plus(it.asks);
        out.push((index, it.asks, it.priority));
    }
    if !container.asks.fits(free) {
        return None;
    }
    // Who turned out not to be in the way stays; the most important ones are asked first.
    for at in (0..out.len()).rev() {
        let without = free.minus(out[at].1);
        if container.asks.fits(without) {
            free = without;
            out.remove(at);
        }
    }
    let highest = out.iter().map(|it| it.2).max();
    let out = out.into_iter().map(|it| it.0).collect();
    Some((highest, Preemption { on, out }))
}
