//! What callers hand to the log and get back from it, the same for every back end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::BusError;

/// The largest record, key, value and headers together, that any back end takes. It is the default of Apache Kafka's
/// clients, so that what passes the local log also passes a cluster nobody tuned.
pub const MAX_RECORD_BYTES: usize = 1_000_000;

/// A topic as the project needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// The topic's name.
    pub name: &'static str,
    /// How many partitions it has, at least one.
    pub partitions: u32,
    /// What is kept of it.
    pub retention: Retention,
}

/// What a topic keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Records go once they are too old or the partition is too large, oldest first.
    Delete {
        /// Older records may go.
        max_age: Duration,
        /// A partition larger than this loses its oldest records.
        max_bytes: u64,
    },
    /// The newest record of every key stays; an empty value is a tombstone and removes its key.
    Compact,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from zero.
    pub partition: u32,
}

/// The place of one record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from zero.
    pub partition: u32,
    /// The record's offset. Offsets rise strictly within a partition; compaction and retention leave gaps.
    pub offset: u64,
}

impl Position {
    /// The partition this record lies in.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
        }
    }
}

/// Names and values that travel beside a record, in order; a name may occur more than once.
pub type Headers = Vec<(String, Bytes)>;

/// A record to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Records of one key lie in one partition, in order.
    pub key: Bytes,
    /// The content. Empty is a tombstone in a compacted topic.
    pub value: Bytes,
    /// Schema version, producer, trace context and the like.
    pub headers: Headers,
    /// `None` places the record by [`crate::partition_of`] its key.
    pub partition: Option<u32>,
}

impl NewRecord {
    /// The size counted against [`MAX_RECORD_BYTES`].
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        size_bytes(&self.key, &self.value, &self.headers)
    }
}

/// Refuses records over [`MAX_RECORD_BYTES`].
pub(crate) fn check_size(record: &NewRecord) -> Result<(), BusError> {
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

/// A record as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it lies.
    pub position: Position,
    /// When it was appended, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The key it was produced with.
    pub key: Bytes,
    /// The content. Empty is a tombstone in a compacted topic.
    pub value: Bytes,
    /// What travelled beside it.
    pub headers: Headers,
}

impl Record {
    /// The size counted against retention by bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        size_bytes(&self.key, &self.value, &self.headers)
    }
}

fn size_bytes(key: &[u8], value: &[u8], headers: &Headers) -> usize {
    let headers_bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    key.len() + value.len() + headers_bytes
}

/// Where a [`crate::Tail`] starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The oldest record that is kept.
    Beginning,
    /// Only records appended after the call.
    End,
    /// The first record appended at or after this time, in milliseconds since the Unix epoch.
    Time(i64),
}

/// What a [`crate::Subscription`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The next record of a partition this member holds.
    Record(Record),
    /// This member holds these partitions from now on. Empty says that it is a standby.
    Assigned(Vec<TopicPartition>),
    /// These partitions go to another member. What was done in them can still be committed until `next` is called again;
    /// no further record of them comes.
    Revoked(Vec<TopicPartition>),
}

/// What a [`crate::Tail`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tailed {
    /// The next record.
    Record(Record),
    /// Everything that lay in the topic when the tail was opened has been handed out. Comes exactly once.
    CaughtUp,
}
