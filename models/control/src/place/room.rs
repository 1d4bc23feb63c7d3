//! Room where there is none: a few containers moved so that one more fits.
//!
//! The free room of a packed fleet lies about in slivers. A container moved into a sliver that it fits, or two exchanged that differ by
//! about a sliver, bring that sliver to another host. This is done, the most room for a move first, until the container fits.

use super::filter::other_than_room;
use super::{
    Container, ContainerIndex, HostIndex, Hosts, Movable, Move, Placement, Resources, obstacle,
};

/// Hosts on which room is tried to be made: those with the most free already.
const TARGETS_MAX: usize = 32;
/// Hosts whose slivers are looked at: those with the most free.
const PARTNERS_MAX: usize = 512;
/// Moves for one container at most; where more were needed no room is made.
const MOVES_MAX: usize = 8;
/// Hosts with room that are looked at for one container that leaves.
const ROOMS_MAX: usize = 64;

/// Makes room by at most `moves_max` moves, which are done in `hosts` when this returns. The reserve takes nothing and is no target.
/// Nothing is moved where it cannot be done.
pub fn make(
    hosts: &mut Hosts,
    container: &Container,
    reserve: Option<HostIndex>,
    moves_max: usize,
) -> Option<Placement> {
    let moves_max = moves_max.min(MOVES_MAX);
    if moves_max == 0 {
        return None;
    }
    let roomiest = |count: usize| -> Vec<HostIndex> {
        let nothing = Resources::default();
        let groups = hosts.with_room(nothing).rev();
        groups
            .flat_map(|(_, equals)| equals.iter().copied())
            .filter(|it| Some(*it) != reserve)
            .take(count)
            .collect()
    };
    let partners = roomiest(PARTNERS_MAX);
    let could = |on: HostIndex| {
        container.asks.fits(hosts.host(on).capacity)
            && other_than_room(hosts, container, on).is_none()
    };
    let targets: Vec<HostIndex> = roomiest(PARTNERS_MAX)
        .into_iter()
        .filter(|it| could(*it))
        .take(TARGETS_MAX)
        .collect();
    let mut best: Option<Placement> = None;
    for on in targets {
        // A way that is no shorter than the one known is of no use.
        let moves_max = best
            .as_ref()
            .map_or(moves_max, |it| it.moves.len().saturating_sub(1));
        let Some(moves) = gather(hosts, container.asks, on, &partners, moves_max) else {
            continue;
        };
        undo(hosts, &moves);
        best = Some(Placement { on, moves });
    }
    let best = best?;
    for step in &best.moves {
        hosts.relocate(step.container, step.to);
    }
    Some(best)
}

/// Takes moves back, the last one first.
pub(crate) fn undo(hosts: &mut Hosts, moves: &[Move]) {
    for step in moves.iter().rev() {
        hosts.relocate(step.container, step.from);
    }
}

/// Moves until `asks` fits on `on`; where it cannot, all is taken back.
fn gather(
    hosts: &mut Hosts,
    asks: Resources,
    on: HostIndex,
    partners: &[HostIndex],
    moves_max: usize,
) -> Option<Vec<Move>> {
    let mut moves: Vec<Move> = Vec::new();
    while !asks.fits(hosts.free(on)) {
        let left = moves_max - moves.len();
        let step = match left {
            0 => None,
            1 => away(hosts, asks, on, partners),
            _ => {
                let one = away(hosts, asks, on, partners);
                match one {
                    Some(step) if step.suffices => Some(step),
                    one => better(one, exchange(hosts, asks, on, partners)),
                }
            }
        };
        let Some(step) = step else {
            undo(hosts, &moves);
            return None;
        };
        moves.extend(
            step.changes
                .iter()
                .filter_map(|&(container, to)| hosts.relocate(container, to)),
        );
    }
    Some(moves)
}

/// What one or two moves would bring.
struct Step {
    changes: Vec<(ContainerIndex, HostIndex)>,
    suffices: bool,
    /// Room won for each move; of steps that suffice, less the sliver that is left over.
    worth: f64,
}

fn better(a: Option<Step>, b: Option<Step>) -> Option<Step> {
    match (a, b) {
        (Some(a), Some(b)) if (b.suffices, b.worth) > (a.suffices, a.worth) => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}

/// What `won` is worth towards what is missing, when `left` remains free where it came from.
fn worth(
    hosts: &Hosts,
    missing: Resources,
    won: Resources,
    left: Resources,
    moves: usize,
) -> (bool, f64) {
    let whole = hosts.largest();
    let suffices = missing.fits(won);
    let useful = Resources::new(won.cpu.min(missing.cpu), won.memory.min(missing.memory));
    match suffices {
        true => (true, -left.size(whole) - moves as f64),
        false => (false, useful.size(whole) / moves as f64),
    }
}

fn movable(hosts: &Hosts, on: HostIndex) -> Vec<(ContainerIndex, &Container)> {
    let may = |it: &(ContainerIndex, &Container)| it.1.movable == Movable::Yes;
    hosts.on(on).filter(may).collect()
}

/// The best container to take away from `on` to where it fits.
fn away(hosts: &Hosts, asks: Resources, on: HostIndex, partners: &[HostIndex]) -> Option<Step> {
    let missing = asks.minus(hosts.free(on));
    let mut best = None;
    for (index, container) in movable(hosts, on) {
        let fits = |it: &HostIndex| *it != on && obstacle(hosts, container, *it).is_none();
        let left = |it: HostIndex| hosts.free(it).minus(container.asks);
        let fitting = partners.iter().copied().filter(fits).take(ROOMS_MAX);
        let tightest = fitting.min_by(|a, b| {
            let whole = hosts.largest();
            left(*a).size(whole).total_cmp(&left(*b).size(whole))
        });
        let Some(to) = tightest else { continue };
        let (suffices, worth) = worth(hosts, missing, container.asks, left(to), 1);
        let changes = vec![(index, to)];
        best = better(
            best,
            Some(Step {
                changes,
                suffices,
                worth,
            }),
        );
    }
    best
}

/// The best exchange of a container of `on` with a smaller one of a partner.
fn exchange(hosts: &Hosts, asks: Resources, on: HostIndex, partners: &[HostIndex]) -> Option<Step> {
    let missing = asks.minus(hosts.free(on));
    let mut best: Option<Step> = None;
    let leaving = movable(hosts, on);
    for &partner in partners.iter().filter(|it| **it != on) {
        for (coming, small) in movable(hosts, partner) {
            let room = hosts.free(partner).plus(small.asks);
            for (going, large) in &leaving {
                let won = large.asks.minus(small.asks);
                let fits = large.asks.fits(room)
                    && small.asks.fits(hosts.free(on).plus(large.asks))
                    && won != Resources::default();
                if !fits {
                    continue;
                }
                let (suffices, worth) = worth(hosts, missing, won, room.minus(large.asks), 2);
                if best
                    .as_ref()
                    .is_some_and(|it| (suffices, worth) <= (it.suffices, it.worth))
                    || other_than_room(hosts, large, partner).is_some()
                    || other_than_room(hosts, small, on).is_some()
                {
                    continue;
                }
                let changes = vec![(*going, partner), (coming, on)];
                best = Some(Step {
                    changes,
                    suffices,
                    worth,
                });
            }
        }
    }
    best
}
