//! N+1: whether what is on each host would fit elsewhere if it died.

use super::filter::other_than_room;
use super::{ContainerIndex, HostIndex, Hosts, Zones, obstacle};

/// Different amounts of free room that are looked at for one container, from the smallest on that suffices.
const ROOMS_MAX: usize = 64;

/// What the death of each host in turn would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survival {
    /// Hosts with something on them.
    pub used: usize,
    /// Those of them whose every container would find another host.
    pub survivable: usize,
    /// Containers that would find none, over all deaths.
    pub stranded: usize,
}

impl Survival {
    /// The share of used hosts that may die; 1 where none is used.
    pub fn share(&self) -> f64 {
        match self.used {
            0 => 1.0,
            used => self.survivable as f64 / used as f64,
        }
    }
}

/// Kills each host in turn. Of n containers in all it costs n log n.
pub fn survival(hosts: &mut Hosts) -> Survival {
    let mut survival = Survival::default();
    for dead in hosts.indices() {
        if hosts.on(dead).len() == 0 {
            continue;
        }
        let stranded = stranded(hosts, dead).len();
        survival.used += 1;
        survival.survivable += usize::from(stranded == 0);
        survival.stranded += stranded;
    }
    survival
}

/// As [`stranded_by`], and sooner where one empty host could take all.
pub(crate) fn stranded(hosts: &mut Hosts, dead: HostIndex) -> Vec<ContainerIndex> {
    match hosts.largest_empty() {
        Some(empty) if takes_all(hosts, dead, empty) => Vec::new(),
        Some(_) | None => stranded_by(hosts, dead),
    }
}

/// The containers that would find no other host if this one died. `hosts` is as before when this returns.
pub fn stranded_by(hosts: &mut Hosts, dead: HostIndex) -> Vec<ContainerIndex> {
    let on: Vec<ContainerIndex> = hosts.on(dead).map(|(index, _)| index).collect();
    let mut moves = Vec::with_capacity(on.len());
    let mut stranded = Vec::new();
    for index in on {
        match tightest(hosts, index, dead) {
            Some(to) => moves.extend(hosts.relocate(index, to)),
            None => stranded.push(index),
        }
    }
    super::room::undo(hosts, &moves);
    stranded
}

/// Whether an empty host could take all that is on another, which mostly saves looking for a place for each.
fn takes_all(hosts: &Hosts, dead: HostIndex, empty: HostIndex) -> bool {
    hosts.used_on(dead).fits(hosts.free(empty))
        && hosts.on(dead).all(|(_, it)| {
            it.needs.zones == Zones::Any && other_than_room(hosts, it, empty).is_none()
        })
}

/// Best fit: the host other than `dead` that has the least left.
fn tightest(hosts: &Hosts, index: ContainerIndex, dead: HostIndex) -> Option<HostIndex> {
    let (container, _) = hosts.container(index)?;
    let may = |it: &HostIndex| *it != dead && obstacle(hosts, container, *it).is_none();
    let whole = hosts.largest();
    hosts
        .with_room(container.asks)
        .filter_map(|(free, equals)| Some((free.size(whole), *equals.iter().find(|it| may(it))?)))
        .take(ROOMS_MAX)
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, host)| host)
}
