//! Which positions can be committed: commands end in any order, a commit covers everything before it.

use std::collections::BTreeMap;

use bus::{Position, TopicPartition};

/// The records that were read and are not yet dealt with, and how far each partition can be committed.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    partitions: BTreeMap<TopicPartition, Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Offsets that were read, and whether they are dealt with. Bounded by the commands in flight: whoever reads stops at
    /// that many, and everything dealt with before the first that is not leaves at once.
    open: BTreeMap<u64, Dealt>,
    /// Dealt with up to here, not committed yet.
    ready: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dealt {
    NotYet,
    With,
}

impl Tracker {
    /// A record was read.
    pub(crate) fn read(&mut self, position: &Position) {
        let partition = self
            .partitions
            .entry(position.topic_partition())
            .or_default();
        partition.open.insert(position.offset, Dealt::NotYet);
    }

    /// It was dealt with. Unknown ones are those of partitions that were taken away.
    pub(crate) fn done(&mut self, position: &Position) {
        let Some(partition) = self.partitions.get_mut(&position.topic_partition()) else {
            return;
        };
        if let Some(dealt) = partition.open.get_mut(&position.offset) {
            *dealt = Dealt::With;
        }
        while let Some(first) = partition.open.first_entry() {
            if *first.get() == Dealt::NotYet {
                break;
            }
            partition.ready = Some(Position {
                offset: *first.key(),
                ..position.clone()
            });
            first.remove();
        }
    }

    /// The partition belongs to another member now.
    pub(crate) fn revoked(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
    }

    /// Takes what can be committed.
    pub(crate) fn take_ready(&mut self) -> Vec<Position> {
        let partitions = self.partitions.values_mut();
        partitions
            .filter_map(|partition| partition.ready.take())
            .collect()
    }

    /// Gives back what could not be committed, unless more became ready since.
    pub(crate) fn put_back(&mut self, positions: Vec<Position>) {
        for position in positions {
            if let Some(partition) = self.partitions.get_mut(&position.topic_partition()) {
                partition.ready.get_or_insert(position);
            }
        }
    }

    /// Records that wait for one before them, or are not dealt with.
    pub(crate) fn open(&self) -> usize {
        self.partitions
            .values()
            .map(|partition| partition.open.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position {
            topic: "t".into(),
            partition: 0,
            offset,
        }
    }

    #[test]
    fn nothing_is_committed_past_a_record_that_is_not_dealt_with() {
        let mut tracker = Tracker::default();
        for offset in [3, 4, 9] {
            tracker.read(&at(offset));
        }
        tracker.done(&at(4));
        tracker.done(&at(9));
        assert!(tracker.take_ready().is_empty());
        tracker.done(&at(3));
        assert_eq!(tracker.take_ready(), [at(9)]);
        assert!(tracker.take_ready().is_empty());
        assert_eq!(tracker.open(), 0);
    }

    #[test]
    fn a_commit_that_failed_comes_again_unless_overtaken() {
        let mut tracker = Tracker::default();
        tracker.read(&at(1));
        tracker.done(&at(1));
        let ready = tracker.take_ready();
        tracker.put_back(ready.clone());
        assert_eq!(tracker.take_ready(), ready);
        tracker.read(&at(2));
        tracker.done(&at(2));
        tracker.put_back(ready);
        assert_eq!(tracker.take_ready(), [at(2)]);
    }

    #[test]
    fn a_partition_that_went_away_is_forgotten() {
        let mut tracker = Tracker::default();
        tracker.read(&at(1));
        tracker.revoked(&at(1).topic_partition());
        tracker.done(&at(1));
        assert!(tracker.take_ready().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn in_whatever_order_they_end_all_are_committed_in_the_end(order in proptest::strategy::Strategy::prop_shuffle(proptest::strategy::Just((0..20u64).collect::<Vec<_>>()))) {
            let mut tracker = Tracker::default();
            for offset in 0..20 {
                tracker.read(&at(offset));
            }
            let mut committed = None;
            let mut dealt = std::collections::BTreeSet::new();
            for offset in &order {
                tracker.done(&at(*offset));
                dealt.insert(*offset);
                for position in tracker.take_ready() {
                    committed = Some(position.offset);
                    proptest::prop_assert!((0..=position.offset).all(|it| dealt.contains(&it)));
                }
            }
            proptest::prop_assert_eq!(committed, Some(19));
        }
    }
}
