//! The handles that callers hold, over whichever back end is behind them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::embedded::{Embedded, EmbeddedSubscription, EmbeddedTail};
use crate::kafka::{Kafka, KafkaSubscription, KafkaTail};
use crate::{
    BackendKind, BusConfig, BusError, Fetched, From, KafkaConfig, LocalConfig, NewRecord, Position,
    Record, Tailed, TopicSpec,
};

/// The log. Cheap to clone; clones share one connection.
#[derive(Debug, Clone)]
pub struct Bus(Backend);

#[derive(Debug, Clone)]
enum Backend {
    Embedded(Arc<Embedded>),
    Kafka(Arc<Kafka>),
}

impl Bus {
    /// Opens the back end that the configuration names.
    ///
    /// # Errors
    /// As [`Bus::local`] and [`Bus::kafka`].
    pub fn open(config: &BusConfig) -> Result<Self, BusError> {
        match config.backend {
            BackendKind::Local => Self::local(&config.local),
            BackendKind::Kafka => Self::kafka(&config.kafka),
            BackendKind::Memory => Ok(Self::memory()),
        }
    }

    /// A log in this process's memory, for simulation and tests.
    #[must_use]
    pub fn memory() -> Self {
        Self(Backend::Embedded(Arc::new(Embedded::memory())))
    }

    /// A log on local disk, for one process.
    ///
    /// # Errors
    /// When the directory cannot be used, another process uses it, or the store in it is damaged.
    pub fn local(config: &LocalConfig) -> Result<Self, BusError> {
        Ok(Self(Backend::Embedded(Arc::new(Embedded::local(config)?))))
    }

    /// A log in Apache Kafka. The broker need not be up yet.
    ///
    /// # Errors
    /// When librdkafka refuses a setting.
    pub fn kafka(config: &KafkaConfig) -> Result<Self, BusError> {
        Ok(Self(Backend::Kafka(Arc::new(Kafka::new(config)?))))
    }

    /// Creates the topics that are missing. Existing ones are compared and never changed in a way that loses records.
    ///
    /// # Errors
    /// When a topic exists with too few partitions or another clean-up policy, or cannot be created.
    pub async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        match &self.0 {
            Backend::Embedded(log) => log.ensure_topics(topics).await,
            Backend::Kafka(log) => log.ensure_topics(topics).await,
        }
    }

    /// How many partitions a topic has: what [`crate::partition_of`] needs to tell where a key's records go.
    ///
    /// # Errors
    /// When the topic is unknown or no broker answers.
    pub async fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        match &self.0 {
            Backend::Embedded(log) => log.partitions(topic),
            Backend::Kafka(log) => log.partitions(topic).await,
        }
    }

    /// Appends a record and returns its place once it is durable: on the delivery report with all in-sync replicas, or
    /// after the fsync.
    ///
    /// Callers that want throughput overlap several calls. A call takes its place in line when its future is first polled,
    /// so overlapping calls for one partition that are first polled in order, as one task does with `join_all` or a
    /// `FuturesOrdered`, are appended in that order. Resent batches do not break it: Kafka's producer is idempotent. Only a
    /// record whose call failed may be missing between its neighbours, and comes after them when it is produced again. On
    /// local disk this holds for up to a hundred calls first polled in one go; beyond that tokio may have one of them yield
    /// before it is in line.
    ///
    /// # Errors
    /// When the topic is unknown, the record too large, or the log does not take it. It may have been appended all the same
    /// when a broker's answer was lost; delivery is at least once.
    pub async fn produce(&self, record: NewRecord) -> Result<Position, BusError> {
        match &self.0 {
            Backend::Embedded(log) => log.produce(record).await,
            Backend::Kafka(log) => log.produce(record).await,
        }
    }

    /// Joins a group. Partitions start at the group's commit, else at the beginning.
    ///
    /// # Errors
    /// When a topic is unknown or the log cannot be read.
    pub async fn subscribe(&self, group: &str, topics: &[&str]) -> Result<Subscription, BusError> {
        match &self.0 {
            Backend::Embedded(log) => {
                let member = EmbeddedSubscription::join(Arc::clone(log), group, topics)?;
                Ok(Subscription(Member::Embedded(member)))
            }
            Backend::Kafka(log) => Ok(Subscription(Member::Kafka(
                log.subscribe(group, topics).await?,
            ))),
        }
    }

    /// Reads all partitions of a topic without a group.
    ///
    /// # Errors
    /// When the topic is unknown or the log cannot be read.
    pub async fn tail(&self, topic: &str, from: From) -> Result<Tail, BusError> {
        match &self.0 {
            Backend::Embedded(log) => {
                let tail = EmbeddedTail::open(Arc::clone(log), topic, from).await?;
                Ok(Tail(Reader::Embedded(tail)))
            }
            Backend::Kafka(log) => Ok(Tail(Reader::Kafka(log.tail(topic, from).await?))),
        }
    }

    /// Reads a compacted topic to its end as of now: the newest record of every key, deleted keys left out, ordered by
    /// partition and offset. Needs memory for all keys' values.
    ///
    /// # Errors
    /// As [`Bus::tail`].
    pub async fn read_latest(&self, topic: &str) -> Result<Vec<Record>, BusError> {
        let mut tail = self.tail(topic, From::Beginning).await?;
        let mut newest: HashMap<Bytes, Record> = HashMap::new();
        loop {
            match tail.next().await? {
                Tailed::Record(record) if record.value.is_empty() => {
                    newest.remove(&record.key);
                }
                Tailed::Record(record) => {
                    newest.insert(record.key.clone(), record);
                }
                Tailed::CaughtUp => break,
            }
        }
        let mut records: Vec<Record> = newest.into_values().collect();
        records.sort_by(|a, b| a.position.cmp(&b.position));
        Ok(records)
    }

    /// Whether the log can be used right now, for readiness probes.
    ///
    /// # Errors
    /// When no broker answers, the disk refuses writes, or the log is closed.
    pub async fn status(&self) -> Result<(), BusError> {
        match &self.0 {
            Backend::Embedded(log) => log.status(),
            Backend::Kafka(log) => log.status().await,
        }
    }

    /// Writes out what is under way, then lets go of the broker or the directory. Takes bounded time. Every later call on
    /// this log, from any clone, fails.
    pub async fn close(&self) {
        match &self.0 {
            Backend::Embedded(log) => log.close().await,
            Backend::Kafka(log) => log.close().await,
        }
    }
}

/// A member of a group. Dropping it leaves the group.
#[derive(Debug)]
pub struct Subscription(Member);

#[derive(Debug)]
enum Member {
    Embedded(EmbeddedSubscription),
    Kafka(KafkaSubscription),
}

impl Subscription {
    /// The next record or change of what this member holds. Waits when there is nothing. Cancel-safe: a call that is
    /// dropped loses nothing.
    ///
    /// # Errors
    /// When the log cannot be read any more. Brokers that are away for a while are waited for.
    pub async fn next(&mut self) -> Result<Fetched, BusError> {
        match &mut self.0 {
            Member::Embedded(member) => member.next().await,
            Member::Kafka(member) => member.next().await,
        }
    }

    /// Notes that these records, and all before them in their partitions, need not come again. Positions in partitions
    /// that this member no longer holds are left out: their new holder reads those records again.
    ///
    /// # Errors
    /// When the log does not take the commit.
    pub async fn commit(&self, done: &[Position]) -> Result<(), BusError> {
        match &self.0 {
            Member::Embedded(member) => member.commit(done).await,
            Member::Kafka(member) => member.commit(done).await,
        }
    }
}

/// A reader of a whole topic.
#[derive(Debug)]
pub struct Tail(Reader);

#[derive(Debug)]
enum Reader {
    Embedded(EmbeddedTail),
    Kafka(KafkaTail),
}

impl Tail {
    /// The next record, or once that everything from before the call of [`Bus::tail`] has been read. Waits when there is
    /// nothing. Cancel-safe: a call that is dropped loses nothing.
    ///
    /// # Errors
    /// When the log cannot be read any more. Brokers that are away for a while are waited for.
    pub async fn next(&mut self) -> Result<Tailed, BusError> {
        match &mut self.0 {
            Reader::Embedded(tail) => tail.next().await,
            Reader::Kafka(tail) => tail.next().await,
        }
    }
}
