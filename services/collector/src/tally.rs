//! What was read of each container's log and what was lost of its telemetry, counted since this collector started.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use units::{ContainerId, Metric, MetricRow};

/// By container. Whoever counts adds; the sampler tells it with each sample, and forgets containers that are gone.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<HashMap<ContainerId, Counts>>);

/// The counts of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Log lines read, those that were dropped afterwards included.
    pub(crate) lines: u64,
    /// Bytes of their text.
    pub(crate) bytes: u64,
    /// Log lines lost: never read, or dropped from a full spool.
    pub(crate) lines_lost: u64,
    /// Log lines dropped by the rate limit.
    pub(crate) lines_limited: u64,
    /// Samples dropped from a full spool.
    pub(crate) samples_lost: u64,
}

impl Tally {
    /// Adds to the counts of a container.
    pub(crate) fn add(&self, id: &ContainerId, add: impl FnOnce(&mut Counts)) {
        let mut all = self.lock();
        match all.get_mut(id) {
            Some(counts) => add(counts),
            None => add(all.entry(id.clone()).or_default()),
        }
    }

    /// Forgets containers that are not there any more.
    pub(crate) fn keep_only(&self, is_there: impl Fn(&ContainerId) -> bool) {
        self.lock().retain(|id, _| is_there(id));
    }

    /// A look at all of them, for the length of one tick.
    pub(crate) fn look(&self) -> Look<'_> {
        Look(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Counts>> {
        // Counts are whole after each addition: a panic elsewhere leaves none half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while the rows of a tick are made.
pub(crate) struct Look<'a>(MutexGuard<'a, HashMap<ContainerId, Counts>>);

impl Look<'_> {
    /// Writes the counts of a container into its row; a container of which nothing was counted has none.
    pub(crate) fn fill(&self, id: &ContainerId, row: &mut MetricRow) {
        let Some(counts) = self.0.get(id) else {
            return;
        };
        row.set(Metric::LogLines, counts.lines as f64);
        row.set(Metric::LogBytes, counts.bytes as f64);
        row.set(Metric::LogLinesLost, counts.lines_lost as f64);
        row.set(Metric::LogLinesLimited, counts.lines_limited as f64);
        row.set(Metric::SamplesLost, counts.samples_lost as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_until_the_container_is_gone() {
        let tally = Tally::default();
        let id = ContainerId::from("a");
        tally.add(&id, |counts| counts.lines += 2);
        tally.add(&id, |counts| counts.samples_lost += 3);
        let row = || {
            let mut row = MetricRow::default();
            tally.look().fill(&id, &mut row);
            row
        };
        assert_eq!(row().get(Metric::LogLines), Some(2.0));
        assert_eq!(row().get(Metric::SamplesLost), Some(3.0));
        tally.keep_only(|_| false);
        assert_eq!(row(), MetricRow::default());
    }
}
