//! The log inside one process: the memory back end, and what the local back end shares with it.

mod cursors;
mod group;
mod segment;
mod subscription;
mod tail;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

use self::group::Group;
use self::segment::{Chunk, Keep, Segment, millis};
pub(crate) use self::subscription::EmbeddedSubscription;
pub(crate) use self::tail::EmbeddedTail;
use crate::{
    BusError, MAX_RECORD_BYTES, NewRecord, Position, Retention, TopicPartition, TopicSpec,
    partition_of,
};

/// A topic and what of it lies in memory.
#[derive(Debug)]
pub(crate) struct Topic {
    name: Arc<str>,
    retention: Mutex<Retention>,
    partitions: Vec<Mutex<Segment>>,
    /// Woken when something is appended. Readers that are gone are dropped when the next one comes.
    readers: Mutex<Vec<Weak<Notify>>>,
}

/// A read, done or to be done.
#[derive(Debug)]
pub(crate) enum Read {
    /// Memory had it.
    Memory(Chunk),
}

/// The log of one process.
#[derive(Debug)]
pub(crate) struct Embedded {
    topics: RwLock<BTreeMap<Arc<str>, Arc<Topic>>>,
    groups: Mutex<HashMap<String, Group>>,
    /// The offset to start from, per group and partition.
    committed: Mutex<HashMap<(String, TopicPartition), u64>>,
    closed: AtomicBool,
}

/// A poisoned lock only says that a thread panicked elsewhere: every update under our locks is complete in itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

impl Topic {
    fn new(name: Arc<str>, partitions: u32, retention: Retention) -> Self {
        let segment = || Mutex::new(Segment::new(0, 0, Keep::AsRetention(retention)));
        Self {
            name,
            retention: Mutex::new(retention),
            partitions: (0..partitions).map(|_| segment()).collect(),
            readers: Mutex::default(),
        }
    }

    fn partition_count(&self) -> u32 {
        self.partitions.len() as u32
    }

    fn segment(&self, partition: u32) -> Result<MutexGuard<'_, Segment>, BusError> {
        match self.partitions.get(partition as usize) {
            Some(segment) => Ok(lock(segment)),
            None => Err(BusError::UnknownPartition {
                topic: Arc::clone(&self.name),
                partition,
            }),
        }
    }

    fn end(&self, partition: u32) -> Result<u64, BusError> {
        Ok(self.segment(partition)?.end())
    }

    fn add_reader(&self, wake: &Arc<Notify>) {
        let mut readers = lock(&self.readers);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(wake));
    }

    fn wake_readers(&self) {
        for reader in lock(&self.readers).iter().filter_map(Weak::upgrade) {
            reader.notify_one();
        }
    }
}

impl Embedded {
    pub(crate) fn memory() -> Self {
        Self {
            topics: RwLock::default(),
            groups: Mutex::default(),
            committed: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), BusError> {
        self.check_open()?;
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(spec.name) {
            return check_topic(topic, spec);
        }
        let name: Arc<str> = Arc::from(spec.name);
        let topic = Topic::new(Arc::clone(&name), spec.partitions.max(1), spec.retention);
        topics.insert(name, Arc::new(topic));
        Ok(())
    }

    pub(crate) async fn produce(&self, record: NewRecord) -> Result<Position, BusError> {
        self.check_open()?;
        let topic = self.topic(&record.topic)?;
        check_size(&record)?;
        let partition = record
            .partition
            .unwrap_or_else(|| partition_of(&record.key, topic.partition_count()));
        let position = {
            let mut segment = topic.segment(partition)?;
            let record = segment.place(record, partition, now_ms());
            let position = record.position.clone();
            segment.push(record);
            position
        };
        topic.wake_readers();
        Ok(position)
    }

    pub(crate) fn status(&self) -> Result<(), BusError> {
        self.check_open()
    }

    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().for_each(|topic| topic.wake_readers());
    }

    fn check_open(&self) -> Result<(), BusError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(BusError::Closed);
        }
        Ok(())
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, BusError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics
            .get(name)
            .cloned()
            .ok_or_else(|| BusError::UnknownTopic {
                topic: Arc::from(name),
            })
    }

    fn read(&self, topic: &Topic, partition: u32, from: u64) -> Result<Read, BusError> {
        let segment = topic.segment(partition)?;
        Ok(Read::Memory(segment.read(from).unwrap_or_default()))
    }

    async fn offset_at(
        &self,
        topic: &Topic,
        partition: u32,
        time_ms: i64,
    ) -> Result<u64, BusError> {
        Ok(topic.segment(partition)?.offset_at(time_ms))
    }

    fn committed(&self, group: &str, partition: &TopicPartition) -> u64 {
        let key = (group.to_owned(), partition.clone());
        lock(&self.committed).get(&key).copied().unwrap_or(0)
    }

    async fn commit(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, u64)>,
    ) -> Result<(), BusError> {
        self.check_open()?;
        let mut committed = lock(&self.committed);
        for (partition, offset) in offsets {
            committed.insert((group.to_owned(), partition), offset);
        }
        Ok(())
    }

    fn with_group<T>(&self, group: &str, act: impl FnOnce(&mut Group) -> T) -> T {
        let mut groups = lock(&self.groups);
        act(groups
            .entry(group.to_owned())
            .or_insert_with(|| Group::new(Instant::now())))
    }
}

fn check_size(record: &NewRecord) -> Result<(), BusError> {
    let bytes = record.size_bytes();
    if bytes > MAX_RECORD_BYTES {
        return Err(BusError::TooLarge {
            topic: Arc::clone(&record.topic),
            bytes,
            limit: MAX_RECORD_BYTES,
        });
    }
    Ok(())
}

/// Amounts of retention follow the configuration; what would lose or reshuffle records does not.
fn check_topic(topic: &Topic, spec: &TopicSpec) -> Result<(), BusError> {
    let mismatch = |found: String, wanted: String| {
        Err(BusError::TopicMismatch {
            topic: Arc::clone(&topic.name),
            found,
            wanted,
        })
    };
    if topic.partition_count() < spec.partitions {
        let found = format!("{} partitions", topic.partition_count());
        return mismatch(found, format!("{} partitions", spec.partitions));
    }
    let mut retention = lock(&topic.retention);
    match (*retention, spec.retention) {
        (Retention::Compact, Retention::Compact) => {}
        (Retention::Delete { .. }, Retention::Delete { .. }) => {
            *retention = spec.retention;
            for segment in &topic.partitions {
                lock(segment).set_keep(Keep::AsRetention(spec.retention));
            }
        }
        (Retention::Compact, Retention::Delete { .. }) => {
            return mismatch(
                "compaction".to_owned(),
                "retention by time and size".to_owned(),
            );
        }
        (Retention::Delete { .. }, Retention::Compact) => {
            return mismatch(
                "retention by time and size".to_owned(),
                "compaction".to_owned(),
            );
        }
    }
    Ok(())
}
