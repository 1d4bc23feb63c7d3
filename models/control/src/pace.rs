//! When a node spoke, by the clock of this side: its records may wait to be read, and its clocks go as they like.

use std::time::Duration;

use units::{NodeInventory, Steady, Timestamp};

/// Two tells of a node are as far apart here as there, give or take this, unless one of them had waited to be read.
const DELIVERY_PLAY: Duration = Duration::from_secs(3);
/// Two tells say how a node's clock goes beside that of this side only when they are further apart than this: of closer ones both may
/// have waited, and be read in one go.
const PACE_OVER: Duration = Duration::from_secs(6);
/// Clocks drift apart by less than one part in this many.
const DRIFT_PARTS: u32 = 1_000;
/// Words that all waited as long for this long did not wait: the steady clock they are told by stood still.
const STOOD_AFTER: Duration = Duration::from_secs(60);

/// How a node's steady clock stands to the clock of this side, by the tell that waited least to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    there: Steady,
    pub(crate) here: Timestamp,
    pub(crate) standing: Standing,
    late: Option<Late>,
}

/// Tells that have all waited as long, by the steady clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Late {
    since: Timestamp,
    waited: Duration,
}

/// What is known of the tell a pace is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may have waited itself.
    Open,
    /// The one after it came as fast as it was made: neither waited, or both did and were read as far apart by chance.
    Likely,
    /// Tells since have come as fast as they were made, so it did not wait.
    Proven,
}

/// When a node spoke, by the clock of this side, and its pace. It says so itself where nothing else is known: its record may have lain
/// in the topic, or on the node, for long. Once its steady clock has been seen to go on as fast here as there, that clock tells how
/// long a record has waited, however far the time of day is off.
pub(crate) fn heard_at(
    pace: Option<Pace>,
    inventory: &NodeInventory,
    now: Timestamp,
) -> (Timestamp, Option<Pace>) {
    let said_at = inventory.at.min(now);
    let Some(steady) = inventory.steady else {
        return (said_at, None);
    };
    let anew = Pace {
        there: steady,
        here: now,
        standing: Standing::Open,
        late: None,
    };
    let Some(pace) = pace.filter(|pace| steady > pace.there) else {
        return (said_at, Some(anew));
    };
    let is_proven = pace.standing == Standing::Proven;
    let there = steady.since(pace.there);
    let here = now.since(pace.here);
    let drift = there / DRIFT_PARTS;
    if here.abs_diff(there) > DELIVERY_PLAY && !is_proven {
        // One of the two waited; which, those to come will tell.
        return (said_at, Some(anew));
    }
    let waited = here.saturating_sub(there + drift);
    if waited > DELIVERY_PLAY {
        let late = pace
            .late
            .filter(|late| late.waited.abs_diff(waited) <= DELIVERY_PLAY);
        let late = late.unwrap_or(Late { since: now, waited });
        let off = inventory.at.since(now).max(now.since(inventory.at));
        // What waited is read faster than it was made, and is over soon. A clock that stood still, as that of a machine that was halted
        // does, leaves every word as late as the one before; the time of day tells which it is.
        if now.since(late.since) >= STOOD_AFTER && off <= DELIVERY_PLAY {
            return (said_at, Some(anew));
        }
        let late = Some(late);
        return (now - waited, Some(Pace { late, ..pace }));
    }
    if !is_proven && there <= PACE_OVER {
        let standing = match there > DELIVERY_PLAY {
            true => Standing::Likely,
            false => pace.standing,
        };
        return (said_at, Some(Pace { standing, ..pace }));
    }
    let kept = if here <= there + drift { anew } else { pace };
    let standing = Standing::Proven;
    let late = None;
    let pace = Pace {
        standing,
        late,
        ..kept
    };
    (now, Some(pace))
}
