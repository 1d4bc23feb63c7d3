//! Whom a more important container would put out.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use units::ServiceId;

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
/// lower priority that may go would not make room.
///
/// `spare` says of a container of lower priority how many of its service may go, if it is one of those that may; else none.
pub fn preempt(
    hosts: &Hosts,
    container: &Container,
    mut spare: impl FnMut(ContainerIndex, &Container) -> usize,
) -> Option<Preemption> {
    let roomiest = hosts.with_room(Default::default()).rev();
    let looked_at = roomiest
        .flat_map(|(_, equals)| equals.iter().copied())
        .take(HOSTS_MAX);
    looked_at
        .filter_map(|on| out_of(hosts, container, on, &mut spare))
        .min_by_key(|(highest, plan)| (*highest, plan.out.len(), plan.on))
        .map(|(_, plan)| plan)
}

/// The same, on this host alone.
pub fn preempt_on(
    hosts: &Hosts,
    container: &Container,
    on: HostIndex,
    mut spare: impl FnMut(ContainerIndex, &Container) -> usize,
) -> Option<Preemption> {
    out_of(hosts, container, on, &mut spare).map(|(_, plan)| plan)
}

fn out_of(
    hosts: &Hosts,
    container: &Container,
    on: HostIndex,
    spare: &mut impl FnMut(ContainerIndex, &Container) -> usize,
) -> Option<(Option<Priority>, Preemption)> {
    if other_than_room(hosts, container, on).is_some() {
        return None;
    }
    let mut lower: Vec<(ContainerIndex, &Container)> = hosts
        .on(on)
        .filter(|(_, it)| it.priority < container.priority)
        .collect();
    lower.sort_by_key(|(index, it)| (it.priority, Reverse(it.asks), *index));
    // More may have been granted than there is: then what goes pays that back first.
    let capacity = hosts.host(on).capacity;
    let mut used = hosts.used_on(on).plus(container.asks);
    let mut out = Vec::new();
    let mut gone: BTreeMap<&ServiceId, usize> = BTreeMap::new();
    for (index, it) in lower {
        if used.fits(capacity) {
            break;
        }
        let of_service = gone.entry(&it.service).or_default();
        if *of_service < spare(index, it) {
            *of_service += 1;
            used = used.minus(it.asks);
            out.push((index, it.asks, it.priority));
        }
    }
    if !used.fits(capacity) {
        return None;
    }
    // Who turned out not to be in the way stays; the most important ones are asked first.
    for at in (0..out.len()).rev() {
        let with = used.plus(out[at].1);
        if with.fits(capacity) {
            used = with;
            out.remove(at);
        }
    }
    let highest = out.iter().map(|it| it.2).max();
    let out = out.into_iter().map(|it| it.0).collect();
    Some((highest, Preemption { on, out }))
}
