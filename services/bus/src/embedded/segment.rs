//! The records of one partition that lie in memory: all of them in the memory back end, the newest in the local one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;

use crate::{NewRecord, Position, Record, Retention};

/// Records handed to a reader at once.
pub(crate) const CHUNK_RECORDS: usize = 256;
/// Bytes handed to a reader at once; a chunk ends with the record that reaches it.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;
/// How long a compacted topic in memory remembers that a key was deleted; Apache Kafka's `delete.retention.ms`.
pub(crate) const TOMBSTONE_AGE: Duration = Duration::from_secs(24 * 3600);

/// Records read at once, and where to go on.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) records: Vec<Record>,
    /// The offset to read from next. Beyond the last record's when compaction or retention left a gap.
    pub(crate) next: u64,
}

impl Chunk {
    /// Whether a reader should take what it has before reading on.
    pub(crate) fn is_full(&self, bytes: usize) -> bool {
        self.records.len() >= CHUNK_RECORDS || bytes >= CHUNK_BYTES
    }
}

/// What is dropped from memory once it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Memory is the only copy: the topic's retention decides.
    AsRetention(Retention),
    /// The disk has everything: the newest records up to this many bytes stay, so that readers at the end need no disk.
    Newest { max_bytes: u64 },
}

/// The in-memory part of a partition.
#[derive(Debug)]
pub(crate) struct Segment {
    records: BTreeMap<u64, Record>,
    /// The newest offset of every key, for compaction.
    newest: HashMap<Bytes, u64>,
    /// From this offset on, everything that is kept at all lies in `records`.
    complete_from: u64,
    /// The offset of the next record.
    end: u64,
    bytes: u64,
    last_ms: i64,
    keep: Keep,
}

impl Segment {
    /// A partition whose next record gets `end`, with nothing before it in memory.
    pub(crate) fn new(end: u64, last_ms: i64, keep: Keep) -> Self {
        Self {
            records: BTreeMap::new(),
            newest: HashMap::new(),
            complete_from: end,
            end,
            bytes: 0,
            last_ms,
            keep,
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Where memory is the only copy, keeps by these amounts from now on.
    pub(crate) fn set_retention(&mut self, retention: Retention) {
        match &mut self.keep {
            Keep::AsRetention(current) => *current = retention,
            Keep::Newest { .. } => {}
        }
    }

    /// Places a record at the end. Time never runs backwards within a partition, so that it can be searched by time.
    pub(crate) fn place(&self, record: NewRecord, partition: u32, now_ms: i64) -> Record {
        Record {
            position: Position {
                topic: record.topic,
                partition,
                offset: self.end,
            },
            timestamp_ms: now_ms.max(self.last_ms),
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }

    /// Takes in a record that was placed at the end.
    pub(crate) fn push(&mut self, record: Record) {
        let offset = record.position.offset;
        if offset != self.end {
            // A write that was reported as failed had become durable: memory misses it, the disk does not.
            self.records.clear();
            self.bytes = 0;
            self.complete_from = offset;
        }
        self.end = offset + 1;
        self.last_ms = record.timestamp_ms;
        self.bytes += record.size_bytes() as u64;
        if self.keep == Keep::AsRetention(Retention::Compact)
            && let Some(older) = self.newest.insert(record.key.clone(), offset)
        {
            self.remove(older);
        }
        self.records.insert(offset, record);
        self.trim();
    }

    /// Everything kept from `from` on, up to the size of a chunk. `None` when memory does not reach back that far.
    pub(crate) fn read(&self, from: u64) -> Option<Chunk> {
        let in_memory_only = matches!(self.keep, Keep::AsRetention(_));
        if from < self.complete_from && !in_memory_only {
            return None;
        }
        let mut chunk = Chunk {
            records: Vec::new(),
            next: self.end.max(from),
        };
        let mut bytes = 0;
        for (offset, record) in self.records.range(from..) {
            if chunk.is_full(bytes) {
                chunk.next = *offset;
                break;
            }
            bytes += record.size_bytes();
            chunk.records.push(record.clone());
        }
        Some(chunk)
    }

    /// The offset of the first record at or after a time, else the end. Only what lies in memory is looked at.
    pub(crate) fn offset_at(&self, time_ms: i64) -> u64 {
        self.records
            .iter()
            .find(|(_, record)| record.timestamp_ms >= time_ms)
            .map_or(self.end, |(offset, _)| *offset)
    }

    fn trim(&mut self) {
        match self.keep {
            Keep::Newest { max_bytes } => while self.bytes > max_bytes && self.drop_oldest() {},
            Keep::AsRetention(Retention::Delete { max_age, max_bytes }) => {
                let oldest_ms = self.last_ms.saturating_sub(millis(max_age));
                while self.bytes > max_bytes && self.records.len() > 1 && self.drop_oldest() {}
                while self
                    .oldest()
                    .is_some_and(|record| record.timestamp_ms < oldest_ms)
                    && self.drop_oldest()
                {}
            }
            Keep::AsRetention(Retention::Compact) => {
                // Tombstones are looked for at the old end only: one per record keeps up with what comes in.
                let oldest_ms = self.last_ms.saturating_sub(millis(TOMBSTONE_AGE));
                let is_old_tombstone =
                    |record: &Record| record.value.is_empty() && record.timestamp_ms < oldest_ms;
                if self.oldest().is_some_and(is_old_tombstone)
                    && let Some(record) = self.records.values().next().cloned()
                {
                    self.newest.remove(&record.key);
                    self.remove(record.position.offset);
                }
            }
        }
    }

    fn oldest(&self) -> Option<&Record> {
        self.records.values().next()
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((offset, record)) = self.records.pop_first() else {
            return false;
        };
        self.bytes -= record.size_bytes() as u64;
        self.complete_from = offset + 1;
        true
    }

    fn remove(&mut self, offset: u64) {
        if let Some(record) = self.records.remove(&offset) {
            self.bytes -= record.size_bytes() as u64;
        }
    }
}

/// A duration in milliseconds, at most what fits.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
