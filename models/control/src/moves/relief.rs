//! Taking what is too much away from one host.

use units::Ratio;

use crate::place::{ContainerIndex, HostIndex, Hosts, Movable, Move, Resources, obstacle, room};

/// Moves that relieve one host at a time; where more were needed the rest waits for the next plan.
const MOVES_MAX: usize = 16;
/// Different amounts of free room that are looked at for one container, from the smallest on that suffices.
const ROOMS_MAX: usize = 64;

/// The fewest moves found that bring a host to at most `most` of its room; with 0 all that may be moved goes, as from a host that is
/// failing. They are done in `hosts` when this returns. Nothing is moved where moving would not bring it there.
pub fn relieve(hosts: &mut Hosts, host: HostIndex, most: Ratio) -> Vec<Move> {
    let capacity = hosts.host(host).capacity;
    let share = |whole: u64| (whole as f64 * most.get()).floor() as u64;
    let most = Resources::new(
        units::Millicores(share(capacity.cpu.0)),
        units::Bytes(share(capacity.memory.0)),
    );
    let mut moves = Vec::new();
    while moves.len() < MOVES_MAX {
        let excess = hosts.used_on(host).minus(most);
        if excess == Resources::default() {
            return moves;
        }
        let Some((index, to)) = next(hosts, host, excess) else {
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

/// The smallest container whose leaving suffices; where none does, the largest.
fn next(hosts: &Hosts, host: HostIndex, excess: Resources) -> Option<(ContainerIndex, HostIndex)> {
    let whole = hosts.largest();
    let mut going: Vec<(bool, f64, ContainerIndex)> = hosts
        .on(host)
        .filter(|(_, it)| it.movable == Movable::Yes)
        .map(|(index, it)| (excess.fits(it.asks), it.asks.size(whole), index))
        .collect();
    going.sort_by(|a, b| {
        let order = match (a.0, b.0) {
            (true, true) => a.1.total_cmp(&b.1),
            (true, false) => std::cmp::Ordering::Less,
            (false, true) => std::cmp::Ordering::Greater,
            (false, false) => b.1.total_cmp(&a.1),
        };
        order.then(a.2.cmp(&b.2))
    });
    going
        .into_iter()
        .find_map(|(_, _, index)| Some((index, roomiest(hosts, index, host)?)))
}

/// The host with the most room: relief must not heat up another.
pub(crate) fn roomiest(hosts: &Hosts, index: ContainerIndex, from: HostIndex) -> Option<HostIndex> {
    let (container, _) = hosts.container(index)?;
    let may = |it: &HostIndex| *it != from && obstacle(hosts, container, *it).is_none();
    let mut rooms = hosts.with_room(container.asks).rev().take(ROOMS_MAX);
    rooms.find_map(|(_, equals)| equals.iter().copied().find(may))
}
