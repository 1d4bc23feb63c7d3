//! Which records are done in every sink, and so how far the log may be committed.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bus::{Position, TopicPartition};
use tokio::sync::Notify;

/// A record's share in one notice of one sink. Settled, it counts towards the commit; dropped without that (on
/// shutdown, or when the partition went to another member), the record comes again.
#[derive(Debug, Clone)]
pub(crate) struct Ticket(Arc<Open>);

#[derive(Debug)]
struct Open {
    position: Position,
    sinks_left: AtomicUsize,
    settled: Settled,
}

/// The records settled since last asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settled(Arc<(Mutex<Vec<Position>>, Notify)>);

impl Ticket {
    /// A ticket to be settled `sinks` times: give each sink a clone.
    pub(crate) fn new(position: Position, sinks: usize, settled: &Settled) -> Self {
        Ticket(Arc::new(Open {
            position,
            sinks_left: AtomicUsize::new(sinks),
            settled: settled.clone(),
        }))
    }

    /// This sink is done with the record.
    pub(crate) fn settle(self) {
        if self.0.sinks_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.settled.push(self.0.position.clone());
        }
    }

    /// The partition the record came from.
    pub(crate) fn home(&self) -> TopicPartition {
        self.0.position.topic_partition()
    }
}

impl Settled {
    fn push(&self, position: Position) {
        // As many positions as notices can wait in all sinks at most: the lanes' bounds are its bound.
        self.0
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(position);
        self.0.1.notify_one();
    }

    /// Waits until there is something to take.
    pub(crate) async fn ready(&self) {
        self.0.1.notified().await;
    }

    fn take(&self) -> Vec<Position> {
        std::mem::take(&mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The reader's account of its partitions.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    partitions: HashMap<TopicPartition, Partition>,
    settled: Settled,
}

#[derive(Debug, Default)]
struct Partition {
    waiting: BTreeSet<u64>,
    read: Option<u64>,
    committed: Option<u64>,
}

impl Progress {
    /// Notes a record that `sinks` sinks have to settle. With none, it is done at once.
    pub(crate) fn begin(&mut self, position: &Position, sinks: usize) -> Option<Ticket> {
        let partition = self
            .partitions
            .entry(position.topic_partition())
            .or_default();
        partition.read = Some(position.offset);
        if sinks == 0 {
            return None;
        }
        partition.waiting.insert(position.offset);
        Some(Ticket::new(position.clone(), sinks, &self.settled))
    }

    /// Where tickets report.
    pub(crate) fn settled(&self) -> Settled {
        self.settled.clone()
    }

    /// Forgets partitions that went to another member.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.partitions.remove(partition);
        }
    }

    /// The newest position of each partition with nothing open before it, where that moved.
    pub(crate) fn committable(&mut self) -> Vec<Position> {
        for position in self.settled.take() {
            if let Some(partition) = self.partitions.get_mut(&position.topic_partition()) {
                partition.waiting.remove(&position.offset);
            }
        }
        let moved = self.partitions.iter_mut().filter_map(|(home, partition)| {
            let done = match partition.waiting.first() {
                Some(oldest) => oldest.checked_sub(1),
                None => partition.read,
            }?;
            if partition
                .committed
                .is_some_and(|committed| committed >= done)
            {
                return None;
            }
            partition.committed = Some(done);
            Some(Position {
                topic: Arc::clone(&home.topic),
                partition: home.partition,
                offset: done,
            })
        });
        moved.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position {
            topic: "homeostat.signals".into(),
            partition: 0,
            offset,
        }
    }

    #[test]
    fn a_commit_stops_before_the_oldest_open_record() {
        let mut progress = Progress::default();
        let first = progress.begin(&at(10), 1).unwrap();
        let second = progress.begin(&at(11), 2).unwrap();
        assert!(progress.begin(&at(12), 0).is_none());
        second.clone().settle();
        second.settle();
        assert_eq!(progress.committable(), [at(9)]);
        first.settle();
        assert_eq!(progress.committable(), [at(12)]);
        assert_eq!(progress.committable(), []);
    }

    #[test]
    fn every_sink_has_to_settle() {
        let mut progress = Progress::default();
        let ticket = progress.begin(&at(0), 2).unwrap();
        ticket.clone().settle();
        assert_eq!(progress.committable(), []);
        ticket.settle();
        assert_eq!(progress.committable(), [at(0)]);
    }

    #[test]
    fn a_dropped_ticket_keeps_its_record_open_and_a_revoked_partition_commits_nothing() {
        let mut progress = Progress::default();
        drop(progress.begin(&at(0), 1));
        let later = progress.begin(&at(1), 1).unwrap();
        progress.revoke(&[at(0).topic_partition()]);
        later.settle();
        assert_eq!(progress.committable(), []);
    }
}
