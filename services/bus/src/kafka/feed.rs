//! A consumer on a thread of its own, and the queue between it and the caller.
//!
//! librdkafka calls back on the thread that polls, and a rebalance has to wait there until the caller has given back what it
//! held. That must not block an async thread.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::client::{LogContext, passes};
use crate::{BusError, Headers, Position, Record, TopicPartition};

/// Records that may wait for the caller. The consumer stops polling beyond it.
const QUEUE_RECORDS: usize = 1_024;
/// Bytes that may wait for the caller.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// How long a poll waits, and with it how late the thread may see that it shall stop.
const POLL: Duration = Duration::from_millis(200);
/// How long a rebalance waits for the caller to give back its partitions. After that they are taken; what the caller
/// commits of them later is left out.
const HANDOVER_LIMIT: Duration = Duration::from_secs(10);

/// What the caller gets, in order.
#[derive(Debug)]
pub(super) enum Item {
    Record(Record),
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    CaughtUp,
    Failed(BusError),
}

/// How far giving back has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handover {
    /// Nothing is being given back.
    No,
    /// The caller has still to be told, or was told and may commit.
    Waiting,
    /// The caller called again.
    Done,
}

#[derive(Debug)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    held: HashSet<TopicPartition>,
    handover: Handover,
    /// The caller was told to give back and may commit until its next call.
    told: bool,
    stop: bool,
}

/// The queue between the thread and the caller.
#[derive(Debug)]
pub(super) struct Feed {
    state: Mutex<State>,
    /// Wakes the caller.
    filled: Notify,
    /// Wakes the thread.
    drained: Condvar,
}

/// A consumer whose rebalances go through the feed.
pub(super) type FeedConsumer = BaseConsumer<FeedContext>;

/// Forwards rebalances to the feed.
pub(super) struct FeedContext {
    pub(super) feed: Arc<Feed>,
    pub(super) log: LogContext,
}

impl ClientContext for FeedContext {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, fac: &str, log_message: &str) {
        self.log.log(level, fac, log_message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(error, reason);
    }
}

impl ConsumerContext for FeedContext {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(share) => self.feed.assign(partitions(share)),
            Rebalance::Revoke(share) => {
                // When the group has gone on without this member, its commits are refused: waiting for them is of no use.
                let limit = if consumer.assignment_lost() {
                    Duration::ZERO
                } else {
                    HANDOVER_LIMIT
                };
                self.feed.revoke(partitions(share), limit);
            }
            Rebalance::Error(error) => {
                tracing::warn!(error = %error, "a rebalance of the group failed")
            }
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let mut partitions: Vec<TopicPartition> = list
        .elements()
        .iter()
        .filter_map(|element| {
            Some(TopicPartition {
                topic: Arc::from(element.topic()),
                partition: u32::try_from(element.partition()).ok()?,
            })
        })
        .collect();
    partitions.sort();
    partitions
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                held: HashSet::new(),
                handover: Handover::No,
                told: false,
                stop: false,
            }),
            filled: Notify::new(),
            drained: Condvar::new(),
        }
    }

    /// The next item. Cancel-safe: an item leaves the queue only when it is returned.
    pub(super) async fn next(&self, closed: &CancellationToken) -> Result<Item, BusError> {
        loop {
            if closed.is_cancelled() {
                return Err(BusError::Closed);
            }
            if let Some(item) = self.pop() {
                return Ok(item);
            }
            tokio::select! {
                () = self.filled.notified() => {}
                () = closed.cancelled() => {}
            }
        }
    }

    /// Tells the thread to end. It leaves the group by itself.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.drained.notify_all();
    }

    pub(super) fn holds(&self, partition: &TopicPartition) -> bool {
        self.lock().held.contains(partition)
    }

    pub(super) fn push(&self, item: Item) {
        let mut state = self.lock();
        if let Item::Record(record) = &item {
            state.bytes += record.size_bytes();
        }
        state.items.push_back(item);
        drop(state);
        self.filled.notify_one();
    }

    /// Polls until the feed is stopped. `convert` turns what was polled into an item, or nothing.
    pub(super) fn run(
        self: &Arc<Self>,
        consumer: &FeedConsumer,
        mut convert: impl FnMut(&Self, Result<BorrowedMessage<'_>, KafkaError>),
    ) {
        while self.wait_for_room() {
            if let Some(polled) = consumer.poll(POLL) {
                convert(self, polled);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every update under this lock is complete in itself, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Item> {
        let mut state = self.lock();
        if std::mem::take(&mut state.told) {
            state.handover = Handover::Done;
            self.drained.notify_all();
        }
        let item = state.items.pop_front()?;
        match &item {
            Item::Record(record) => {
                state.bytes -= record.size_bytes();
                self.drained.notify_all();
            }
            Item::Revoked(_) => state.told = true,
            Item::Assigned(_) | Item::CaughtUp | Item::Failed(_) => {}
        }
        Some(item)
    }

    /// False once the feed is stopped.
    fn wait_for_room(&self) -> bool {
        let mut state = self.lock();
        while !state.stop && (state.items.len() >= QUEUE_RECORDS || state.bytes >= QUEUE_BYTES) {
            state = self
                .drained
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.stop
    }

    fn assign(&self, share: Vec<TopicPartition>) {
        self.lock().held = share.iter().cloned().collect();
        self.push(Item::Assigned(share));
    }

    /// Drops what was not handed out yet, tells the caller, and waits until it has called again.
    fn revoke(&self, share: Vec<TopicPartition>, limit: Duration) {
        let mut state = self.lock();
        state.items.retain(|item| match item {
            Item::Record(record) => !share.contains(&record.position.topic_partition()),
            Item::Assigned(_) | Item::Revoked(_) | Item::CaughtUp | Item::Failed(_) => true,
        });
        state.bytes = state
            .items
            .iter()
            .map(|item| match item {
                Item::Record(record) => record.size_bytes(),
                Item::Assigned(_) | Item::Revoked(_) | Item::CaughtUp | Item::Failed(_) => 0,
            })
            .sum();
        if !share.is_empty() && !state.stop {
            state.handover = Handover::Waiting;
            state.items.push_back(Item::Revoked(share.clone()));
            self.filled.notify_one();
            let until = Instant::now() + limit;
            while state.handover == Handover::Waiting && !state.stop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let (again, _) = self
                    .drained
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner);
                state = again;
            }
            state.handover = Handover::No;
        }
        for partition in &share {
            state.held.remove(partition);
        }
    }
}

/// Topic names that were seen, so that records share them.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Arc<str>>);

impl Names {
    fn get(&mut self, topic: &str) -> Arc<str> {
        if let Some(name) = self.0.iter().find(|name| &***name == topic) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(topic);
        self.0.push(Arc::clone(&name));
        name
    }

    /// Our form of a record. `None` for a negative partition or offset, which Kafka does not hand out.
    pub(super) fn record(&mut self, message: &BorrowedMessage<'_>) -> Option<Record> {
        let bytes = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice).unwrap_or_default();
        let headers: Headers = message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), bytes(header.value)))
                .collect()
        });
        Some(Record {
            position: Position {
                topic: self.get(message.topic()),
                partition: u32::try_from(message.partition()).ok()?,
                offset: u64::try_from(message.offset()).ok()?,
            },
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: bytes(message.key()),
            value: bytes(message.payload()),
            headers,
        })
    }
}

/// What an error of a poll means to the caller: nothing, as long as librdkafka goes on by itself.
pub(super) fn failure(error: KafkaError, what: &str, brokers: &str) -> Option<BusError> {
    let unknown = matches!(
        error,
        KafkaError::MessageConsumption(
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic
        )
    );
    if unknown {
        return Some(BusError::UnknownTopic {
            topic: Arc::from(what),
        });
    }
    if let KafkaError::MessageConsumption(code) = &error
        && passes(*code)
    {
        tracing::debug!(what, error = %error, "reading waits for the brokers");
        return None;
    }
    Some(BusError::Consume {
        what: what.to_owned(),
        brokers: brokers.to_owned(),
        source: error.into(),
    })
}
