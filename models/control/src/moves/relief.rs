//! Taking what is too much away from one host.

use std::collections::BTreeSet;

use units::Ratio;

use crate::place::{
    ContainerIndex, HostIndex, Hosts, Movable, Move, Priority, Resources, obstacle, room,
};

/// Moves that relieve one host at a time; where more were needed the rest waits for the next plan.
const MOVES_MAX: usize = 16;
/// Different amounts of free room that are looked at for one container, from the smallest on that suffices.
const ROOMS_MAX: usize = 64;
/// A host nearer to what a container talks to is taken where it has this share of the roomiest one's room.
const NEARER_ROOM: f64 = 0.5;
/// Hosts beside the roomiest that are looked at for one that is nearer.
const NEARER_MAX: usize = 128;

/// The fewest moves found that bring a host to at most `most` of its room; with 0 all that may be moved goes, as from a host that is
/// failing. They are done in `hosts` when this returns. Nothing is moved where moving would not bring it there. Of containers that would
/// do equally the least important goes: the more important one is disturbed last.
pub fn relieve(hosts: &mut Hosts, host: HostIndex, most: Ratio) -> Vec<Move> {
    let most = share_of(hosts, host, most);
    let mut moves = Vec::new();
    while moves.len() < MOVES_MAX {
        let excess = hosts.used_on(host).minus(most);
        if excess == Resources::default() {
            return moves;
        }
        let mut going = going(hosts, host, excess).into_iter();
        let found = going.find_map(|index| Some((index, roomiest(hosts, index, host)?)));
        let Some((index, to)) = found else {
            break;
        };
        moves.extend(hosts.relocate(index, to));
    }
    if most == Resources::default() || hosts.used_on(host).fits(most) {
        return moves;
    }
    room::undo(hosts, &moves);
    Vec::new()
}

/// All of these hosts that may be moved goes, as far as there is room: the most important first, whichever host it is on, and of equals as
/// [`relieve`] would. The moves of each host, in the order of `from`; they are done in `hosts` when this returns.
pub fn drain(hosts: &mut Hosts, from: &[HostIndex]) -> Vec<Vec<Move>> {
    let levels: BTreeSet<Priority> = from
        .iter()
        .flat_map(|host| hosts.on(*host))
        .filter(|(_, it)| it.movable == Movable::Yes)
        .map(|(_, it)| it.priority)
        .collect();
    let mut moves = vec![Vec::new(); from.len()];
    for level in levels.into_iter().rev() {
        for (host, moves) in from.iter().zip(&mut moves) {
            while moves.len() < MOVES_MAX && hosts.used_on(*host) != Resources::default() {
                let of_level = |index: &ContainerIndex| {
                    let found = hosts.container(*index);
                    found.is_some_and(|(it, _)| it.priority == level)
                };
                let going = going(hosts, *host, hosts.used_on(*host)).into_iter();
                let mut going = going.filter(of_level);
                let found = going.find_map(|index| Some((index, roomiest(hosts, index, *host)?)));
                let Some((index, to)) = found else {
                    break;
                };
                moves.extend(hosts.relocate(index, to));
            }
        }
    }
    moves
}

/// This share of what a host has.
pub(crate) fn share_of(hosts: &Hosts, host: HostIndex, most: Ratio) -> Resources {
    let capacity = hosts.host(host).capacity;
    let share = |whole: u64| (whole as f64 * most.get()).floor() as u64;
    Resources::new(
        units::Millicores(share(capacity.cpu.0)),
        units::Bytes(share(capacity.memory.0)),
    )
}

/// What may leave a host that has `excess` too much, in the order in which it is tried: of what suffices the least important, and the
/// smallest of these; where nothing does, the largest.
pub(crate) fn going(hosts: &Hosts, host: HostIndex, excess: Resources) -> Vec<ContainerIndex> {
    let whole = hosts.largest();
    let on = hosts
        .on(host)
        .filter(|(_, it)| it.movable == Movable::Yes)
        .map(|(index, it)| {
            let (suffices, size) = (excess.fits(it.asks), it.asks.size(whole));
            (suffices, size, it.priority, index)
        });
    let mut going: Vec<_> = on.collect();
    going.sort_by(|a, b| {
        let order = match (a.0, b.0) {
            (true, true) => a.2.cmp(&b.2).then(a.1.total_cmp(&b.1)),
            (true, false) => std::cmp::Ordering::Less,
            (false, true) => std::cmp::Ordering::Greater,
            (false, false) => b.1.total_cmp(&a.1).then(a.2.cmp(&b.2)),
        };
        order.then(a.3.cmp(&b.3))
    });
    going.into_iter().map(|it| it.3).collect()
}

/// The host with the most room, since relief must not heat up another; or one with half as much at the least in whose zone more of the
/// services are that the container talks to.
pub(crate) fn roomiest(hosts: &Hosts, index: ContainerIndex, from: HostIndex) -> Option<HostIndex> {
    let (container, _) = hosts.container(index)?;
    let may = |it: &HostIndex| *it != from && obstacle(hosts, container, *it).is_none();
    let rooms = hosts.with_room(container.asks).rev().take(ROOMS_MAX);
    let mut able = rooms.flat_map(|(_, equals)| equals.iter().copied().filter(may));
    let first = able.next()?;
    if container.needs.peers.is_empty() {
        return Some(first);
    }
    let free = |it: HostIndex| hosts.free(it).size(hosts.largest());
    let least = free(first) * NEARER_ROOM;
    let others = able.take(NEARER_MAX).filter(|it| free(*it) >= least);
    // Of those equally near the one with the most room.
    std::iter::once(first).chain(others).min_by(|a, b| {
        let away = |it: &HostIndex| hosts.peers_away(container, *it);
        let order = away(a).total_cmp(&away(b));
        order.then_with(|| free(*b).total_cmp(&free(*a)))
    })
}
