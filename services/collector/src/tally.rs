//! What was read and what was lost of each container since the collector started: counters for its samples.

use std::collections::{BTreeSet, HashMap};
use std::ops::AddAssign;
use std::sync::{Mutex, MutexGuard, PoisonError};

use units::{ContainerId, Metric, MetricRow};

/// The counters of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Log lines read.
    pub(crate) lines: u64,
    /// Bytes of their text.
    pub(crate) bytes: u64,
    /// Log lines lost: rotated away unread, or dropped from a full spool.
    pub(crate) lost: u64,
    /// Log lines dropped by the rate limit.
    pub(crate) limited: u64,
    /// Samples dropped from a full spool.
    pub(crate) samples_lost: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.lines += more.lines;
        self.bytes += more.bytes;
        self.lost += more.lost;
        self.limited += more.limited;
        self.samples_lost += more.samples_lost;
    }
}

/// The counters of all containers. They are few thousand at most: one is removed with its container.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<HashMap<ContainerId, Counts>>);

#[allow(dead_code, reason = "the sampler and the outbox read and add to it")]
impl Tally {
    /// The counters of a container; nothing where nothing was counted.
    #[cfg(test)]
    pub(crate) fn of(&self, id: &ContainerId) -> Option<Counts> {
        self.lock().get(id).copied()
    }

    /// Adds to a container's counters.
    pub(crate) fn add(&self, id: &ContainerId, more: Counts) {
        let mut counts = self.lock();
        match counts.get_mut(id) {
            Some(counts) => *counts += more,
            None => {
                counts.insert(id.clone(), more);
            }
        }
    }

    /// Samples of the container were dropped.
    pub(crate) fn lose_samples(&self, id: &ContainerId, samples: u64) {
        self.add(
            id,
            Counts {
                samples_lost: samples,
                ..Counts::default()
            },
        );
    }

    /// The container is gone, and nobody asks any more.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.lock().remove(id);
    }

    /// Forgets all others.
    pub(crate) fn keep_only(&self, alive: &BTreeSet<ContainerId>) {
        self.lock().retain(|id, _| alive.contains(id));
    }

    /// A look at all of them, for the length of one tick.
    pub(crate) fn look(&self) -> Look<'_> {
        Look(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Counts>> {
        // Counters are whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while the rows of a tick are made.
pub(crate) struct Look<'a>(MutexGuard<'a, HashMap<ContainerId, Counts>>);

impl Look<'_> {
    /// Writes the counters of a container into its row; a container of which nothing was counted has none.
    pub(crate) fn fill(&self, id: &ContainerId, row: &mut MetricRow) {
        let Some(counts) = self.0.get(id) else {
            return;
        };
        row.set(Metric::LogLines, counts.lines as f64);
        row.set(Metric::LogBytes, counts.bytes as f64);
        row.set(Metric::LogLinesLost, counts.lost as f64);
        row.set(Metric::LogLinesLimited, counts.limited as f64);
        row.set(Metric::SamplesLost, counts.samples_lost as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_until_the_container_is_gone() {
        let tally = Tally::default();
        let id = ContainerId::from("a");
        assert_eq!(tally.of(&id), None);
        let read = Counts {
            lines: 2,
            bytes: 10,
            ..Counts::default()
        };
        tally.add(&id, read);
        tally.add(&id, read);
        tally.lose_samples(&id, 3);
        let counts = tally.of(&id).unwrap();
        assert_eq!(
            (counts.lines, counts.bytes, counts.samples_lost),
            (4, 20, 3)
        );
        tally.keep_only(&BTreeSet::from([id.clone()]));
        assert!(tally.of(&id).is_some());
        tally.forget(&id);
        assert_eq!(tally.of(&id), None);
    }
}
