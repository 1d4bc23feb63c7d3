//! In which order what is to be looked at is looked at.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use units::ServiceId;

use crate::capacity::RoomToMove;
use crate::fleet::Fleet;
use crate::relocate::{Candidate, Looked};

/// One thing to look at.
pub(crate) enum Turn {
    Service(ServiceId),
    Move(Box<Candidate>),
    Room(RoomToMove),
}

/// The most important first, so that it meets budgets and room before the others. Of equals the services go by name, before moves in
/// their own order.
pub(crate) fn turns(fleet: &Fleet, services: BTreeSet<ServiceId>, looked: Looked) -> Vec<Turn> {
    let mut turns: Vec<Turn> = services.into_iter().map(Turn::Service).collect();
    let moves = looked.moves.into_iter();
    turns.extend(moves.map(|it| Turn::Move(Box::new(it))));
    turns.extend(looked.room.map(Turn::Room));
    if !fleet.is_level() {
        turns.sort_by_cached_key(|turn| {
            Reverse(match turn {
                Turn::Service(service) => fleet.priority(service),
                Turn::Move(candidate) => candidate.priority,
                Turn::Room(room) => fleet.priority(&room.service),
            })
        });
    }
    turns
}
