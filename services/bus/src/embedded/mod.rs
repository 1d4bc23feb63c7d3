//! The log inside one process: the memory back end, and the local back end with a store on disk below it.
//!
//! Both keep the newest records in memory, share out partitions among the members of a group, and wake readers when
//! something was appended. They differ in what an append waits for and where older records are read from.

mod cursors;
mod disk;
mod group;
mod segment;
mod subscription;
mod tail;
mod topics;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::disk::{Disk, StoredTopic, keep_newest};
use self::group::Group;
use self::segment::{Chunk, Keep, millis};
pub(crate) use self::subscription::EmbeddedSubscription;
pub(crate) use self::tail::EmbeddedTail;
use self::topics::{Fit, Topic, Topics, empty_segment};
use crate::{BusError, LocalConfig, NewRecord, Position, TopicPartition, TopicSpec, partition_of};

/// Where records are kept beyond memory.
#[derive(Debug)]
enum Storage {
    Memory,
    Disk(Disk),
}

/// A read, done or under way.
#[derive(Debug)]
enum Read {
    Memory(Chunk),
    Disk(JoinHandle<Result<Chunk, BusError>>),
}

/// The log of one process.
#[derive(Debug)]
pub(crate) struct Embedded {
    topics: Arc<Topics>,
    groups: Mutex<HashMap<String, Group>>,
    /// The offset to start from, per group and partition.
    committed: Mutex<HashMap<(String, TopicPartition), u64>>,
    storage: Storage,
    /// Held while topics are created, so that two callers do not create one twice.
    creating: tokio::sync::Mutex<()>,
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

impl Embedded {
    pub(crate) fn memory() -> Self {
        Self::new(Arc::default(), HashMap::new(), Storage::Memory)
    }

    pub(crate) fn local(config: &LocalConfig) -> Result<Self, BusError> {
        let opened = Disk::open(config)?;
        Ok(Self::new(
            opened.topics,
            opened.offsets,
            Storage::Disk(opened.disk),
        ))
    }

    fn new(
        topics: Arc<Topics>,
        committed: HashMap<(String, TopicPartition), u64>,
        storage: Storage,
    ) -> Self {
        Self {
            topics,
            groups: Mutex::default(),
            committed: Mutex::new(committed),
            storage,
            creating: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) async fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), BusError> {
        self.check_open()?;
        let _creating = self.creating.lock().await;
        let mut next_id = self
            .topics
            .all()
            .iter()
            .map(|topic| topic.id + 1)
            .max()
            .unwrap_or(1);
        let mut to_store = Vec::new();
        for spec in specs {
            let mut stored = StoredTopic {
                name: Arc::from(spec.name),
                id: next_id,
                partitions: spec.partitions.max(1),
                retention: spec.retention,
            };
            match self.topics.get(spec.name) {
                None => next_id += 1,
                Some(topic) => match topic.compare(spec)? {
                    Fit::Same => continue,
                    Fit::OtherAmounts => {
                        stored.id = topic.id;
                        stored.partitions = topic.partition_count();
                    }
                },
            }
            to_store.push(stored);
        }
        if let Storage::Disk(disk) = &self.storage
            && !to_store.is_empty()
        {
            disk.put_topics(to_store.clone()).await?;
        }
        for stored in &to_store {
            let keep = match &self.storage {
                Storage::Memory => Keep::AsRetention(stored.retention),
                Storage::Disk(_) => keep_newest(),
            };
            match self.topics.get(&stored.name) {
                Some(topic) => topic.set_retention(stored.retention),
                None => self.topics.insert(Topic::new(stored, empty_segment(keep))),
            }
        }
        Ok(())
    }

    pub(crate) fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        self.check_open()?;
        Ok(self.topic(topic)?.partition_count())
    }

    pub(crate) async fn produce(&self, record: NewRecord) -> Result<Position, BusError> {
        self.check_open()?;
        let topic = self.topic(&record.topic)?;
        crate::check_size(&record)?;
        let partition = record
            .partition
            .unwrap_or_else(|| partition_of(&record.key, topic.partition_count()));
        drop(topic.segment(partition)?);
        match &self.storage {
            Storage::Memory => {
                let mut segment = topic.segment(partition)?;
                let record = segment.place(record, partition, now_ms());
                let position = record.position.clone();
                segment.push(record);
                drop(segment);
                topic.wake_readers();
                Ok(position)
            }
            Storage::Disk(disk) => disk.append(topic, partition, record).await,
        }
    }

    pub(crate) fn status(&self) -> Result<(), BusError> {
        self.check_open()?;
        match &self.storage {
            Storage::Memory => Ok(()),
            Storage::Disk(disk) => disk.status(),
        }
    }

    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for topic in self.topics.all() {
            topic.wake_readers();
        }
        match &self.storage {
            Storage::Memory => {}
            Storage::Disk(disk) => disk.close().await,
        }
    }

    fn check_open(&self) -> Result<(), BusError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(BusError::Closed);
        }
        Ok(())
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, BusError> {
        self.topics.get(name).ok_or_else(|| BusError::UnknownTopic {
            topic: Arc::from(name),
        })
    }

    fn read(&self, topic: &Topic, partition: u32, from: u64) -> Result<Read, BusError> {
        let in_memory = topic.segment(partition)?.read(from);
        match (in_memory, &self.storage) {
            (Some(chunk), _) => Ok(Read::Memory(chunk)),
            (None, Storage::Disk(disk)) => Ok(Read::Disk(disk.read(topic, partition, from))),
            // Memory that is the only copy always answers.
            (None, Storage::Memory) => Ok(Read::Memory(Chunk {
                records: Vec::new(),
                next: from,
            })),
        }
    }

    async fn offset_at(
        &self,
        topic: &Topic,
        partition: u32,
        time_ms: i64,
    ) -> Result<u64, BusError> {
        match &self.storage {
            Storage::Memory => Ok(topic.segment(partition)?.offset_at(time_ms)),
            Storage::Disk(disk) => disk.offset_at(topic, partition, time_ms).await,
        }
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
        if let Storage::Disk(disk) = &self.storage {
            let mut numbered = Vec::with_capacity(offsets.len());
            for (partition, offset) in &offsets {
                numbered.push((
                    self.topic(&partition.topic)?.id,
                    partition.partition,
                    *offset,
                ));
            }
            disk.commit(group, numbered).await?;
        }
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
