//! The lines of one partition on their way: what gathers, what is next and what is under way.

use std::time::{Duration, Instant};

use spool::EntryId;
use units::ContainerId;

use super::backlog::Parcel;
use super::batch::{Batch, Spans};

/// A record that has not arrived after this long goes to the disk as well, and what comes after it.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// The lines of one partition.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) batch: Batch,
    /// Encoded, and to be sent next.
    pub(super) ready: Option<Parcel>,
    pub(super) flight: Option<Flight>,
}

#[derive(Debug)]
pub(super) enum Flight {
    /// A batch that is nowhere but here, as it is without what its lines tell of a gap.
    Direct { parcel: Parcel, since: Instant },
    /// One that is on the disk too.
    Spooled {
        id: EntryId,
        bytes: usize,
        told: Spans,
    },
}

impl Lane {
    /// Whether what is under way takes too long.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        match &self.flight {
            Some(Flight::Direct { since, .. }) => now.duration_since(*since) >= STUCK_AFTER,
            Some(Flight::Spooled { .. }) | None => false,
        }
    }

    /// What is not on the disk yet and can be put there.
    pub(super) fn to_spool(&self) -> impl Iterator<Item = &Parcel> {
        let flying = match &self.flight {
            Some(Flight::Direct { parcel, .. }) => Some(parcel),
            Some(Flight::Spooled { .. }) | None => None,
        };
        flying.into_iter().chain(&self.ready)
    }

    /// Whether a row of the container is on its way.
    pub(super) fn tells_of(&self, id: &ContainerId) -> bool {
        let spooled = match &self.flight {
            Some(Flight::Spooled { told, .. }) => Some(told),
            Some(Flight::Direct { .. }) | None => None,
        };
        let parcels = self.to_spool().map(|parcel| &parcel.covers.told);
        parcels
            .chain(spooled)
            .chain([&self.batch.covers.told])
            .any(|told| told.contains_key(id))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.batch.rows.is_empty()
            && self.batch.covers.positions.is_empty()
            && self.ready.is_none()
            && self.flight.is_none()
    }
}
