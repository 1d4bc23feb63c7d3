//! The topics of a log and what of them lies in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use tokio::sync::Notify;

use super::disk::StoredTopic;
use super::lock;
use super::segment::{Keep, Segment};
use crate::{BusError, Record, Retention, TopicSpec};

/// A topic and what of it lies in memory.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(super) name: Arc<str>,
    /// Its number in the store; zero where there is none.
    pub(super) id: u32,
    retention: Mutex<Retention>,
    partitions: Vec<Mutex<Segment>>,
    /// Woken when something is appended. Readers that are gone are dropped when the next one comes.
    readers: Mutex<Vec<Weak<Notify>>>,
}

/// How an existing topic compares with what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Same,
    /// Only the amounts of its retention differ.
    OtherAmounts,
}

impl Topic {
    pub(super) fn new(stored: &StoredTopic, segment: impl Fn(u32) -> Segment) -> Self {
        Self {
            name: Arc::clone(&stored.name),
            id: stored.id,
            retention: Mutex::new(stored.retention),
            partitions: (0..stored.partitions)
                .map(|partition| Mutex::new(segment(partition)))
                .collect(),
            readers: Mutex::default(),
        }
    }

    pub(super) fn partition_count(&self) -> u32 {
        // Built from a u32.
        self.partitions.len() as u32
    }

    pub(super) fn retention(&self) -> Retention {
        *lock(&self.retention)
    }

    /// Takes other amounts of retention, in memory too where memory is the only copy.
    pub(super) fn set_retention(&self, retention: Retention) {
        *lock(&self.retention) = retention;
        for segment in &self.partitions {
            lock(segment).set_retention(retention);
        }
    }

    pub(super) fn segment(&self, partition: u32) -> Result<MutexGuard<'_, Segment>, BusError> {
        let segment =
            self.partitions
                .get(partition as usize)
                .ok_or_else(|| BusError::UnknownPartition {
                    topic: Arc::clone(&self.name),
                    partition,
                })?;
        Ok(lock(segment))
    }

    pub(super) fn end(&self, partition: u32) -> Result<u64, BusError> {
        Ok(self.segment(partition)?.end())
    }

    /// Takes in a record that the store has made durable.
    pub(super) fn push(&self, record: Record) {
        if let Some(segment) = self.partitions.get(record.position.partition as usize) {
            lock(segment).push(record);
        }
    }

    pub(super) fn add_reader(&self, wake: &Arc<Notify>) {
        let mut readers = lock(&self.readers);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(wake));
    }

    pub(super) fn wake_readers(&self) {
        for reader in lock(&self.readers).iter().filter_map(Weak::upgrade) {
            reader.notify_one();
        }
    }

    /// Amounts of retention follow the configuration; what would lose or reshuffle records does not.
    pub(super) fn compare(&self, spec: &TopicSpec) -> Result<Fit, BusError> {
        let mismatch = |found: String, wanted: String| {
            Err(BusError::TopicMismatch {
                topic: Arc::clone(&self.name),
                found,
                wanted,
            })
        };
        if self.partition_count() < spec.partitions {
            let found = format!("{} partitions", self.partition_count());
            return mismatch(found, format!("{} partitions", spec.partitions));
        }
        let retention = self.retention();
        match (retention, spec.retention) {
            (Retention::Compact, Retention::Compact) => Ok(Fit::Same),
            (Retention::Delete { .. }, Retention::Delete { .. }) if retention == spec.retention => {
                Ok(Fit::Same)
            }
            (Retention::Delete { .. }, Retention::Delete { .. }) => Ok(Fit::OtherAmounts),
            (Retention::Compact, Retention::Delete { .. }) => mismatch(
                "compaction".to_owned(),
                "retention by time and size".to_owned(),
            ),
            (Retention::Delete { .. }, Retention::Compact) => mismatch(
                "retention by time and size".to_owned(),
                "compaction".to_owned(),
            ),
        }
    }
}

/// All topics of a log.
#[derive(Debug, Default)]
pub(crate) struct Topics(RwLock<BTreeMap<Arc<str>, Arc<Topic>>>);

impl Topics {
    pub(super) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    pub(super) fn insert(&self, topic: Topic) {
        let mut topics = self.0.write().unwrap_or_else(PoisonError::into_inner);
        topics.insert(Arc::clone(&topic.name), Arc::new(topic));
    }
}

/// A new topic with nothing in it.
pub(super) fn empty_segment(keep: Keep) -> impl Fn(u32) -> Segment {
    move |_| Segment::new(0, 0, keep)
}
