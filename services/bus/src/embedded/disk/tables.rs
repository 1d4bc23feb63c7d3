//! The tables of the store, and reading them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
};

use super::batch::States;
use super::codec;
use crate::embedded::segment::{Chunk, millis};
use crate::{Position, Retention, TopicPartition};

/// A topic's number, its partition count, its policy and the policy's two amounts.
pub(super) const TOPICS: TableDefinition<'_, &str, (u32, u32, u8, u64, u64)> =
    TableDefinition::new("topics");
/// Per topic number and partition: the next offset, the bytes stored, the newest timestamp.
pub(super) const PARTITIONS: TableDefinition<'_, (u32, u32), (u64, u64, i64)> =
    TableDefinition::new("partitions");
/// Per topic number, partition and offset: a record.
pub(super) const RECORDS: TableDefinition<'_, (u32, u32, u64), &[u8]> =
    TableDefinition::new("records");
/// Of compacted topics, per topic number, partition and key: the newest offset.
pub(super) const NEWEST: TableDefinition<'_, (u32, u32, &[u8]), u64> =
    TableDefinition::new("newest");
/// Of compacted topics, per topic number, partition and offset of a tombstone: its timestamp.
pub(super) const TOMBSTONES: TableDefinition<'_, (u32, u32, u64), i64> =
    TableDefinition::new("tombstones");
/// Per group, topic number and partition: the offset to start from.
pub(super) const OFFSETS: TableDefinition<'_, (&str, u32, u32), u64> =
    TableDefinition::new("offsets");

const POLICY_DELETE: u8 = 0;
const POLICY_COMPACT: u8 = 1;

/// What one partition has on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PartitionState {
    pub(super) end: u64,
    pub(super) bytes: u64,
    pub(super) last_ms: i64,
}

/// A topic as it is stored.
#[derive(Debug, Clone)]
pub(in crate::embedded) struct StoredTopic {
    pub(in crate::embedded) name: Arc<str>,
    pub(in crate::embedded) id: u32,
    pub(in crate::embedded) partitions: u32,
    pub(in crate::embedded) retention: Retention,
}

/// All that is kept in memory of a store.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) topics: Vec<StoredTopic>,
    pub(super) partitions: States,
    pub(super) offsets: HashMap<(String, TopicPartition), u64>,
}

/// A row that this version cannot have written.
#[derive(Debug, thiserror::Error)]
#[error("the {table} table holds a row that is not understood")]
pub(super) struct BadRow {
    table: &'static str,
}

pub(super) fn policy_of(retention: Retention) -> (u8, u64, u64) {
    match retention {
        Retention::Delete { max_age, max_bytes } => {
            (POLICY_DELETE, millis(max_age).unsigned_abs(), max_bytes)
        }
        Retention::Compact => (POLICY_COMPACT, 0, 0),
    }
}

fn retention_of(policy: u8, max_age_ms: u64, max_bytes: u64) -> Option<Retention> {
    match policy {
        POLICY_DELETE => Some(Retention::Delete {
            max_age: Duration::from_millis(max_age_ms),
            max_bytes,
        }),
        POLICY_COMPACT => Some(Retention::Compact),
        _ => None,
    }
}

/// Creates the tables, so that readers need not care whether anything was written yet.
pub(super) fn create(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(TOPICS)?;
    write.open_table(PARTITIONS)?;
    write.open_table(RECORDS)?;
    write.open_table(NEWEST)?;
    write.open_table(TOMBSTONES)?;
    write.open_table(OFFSETS)?;
    write.commit()?;
    Ok(())
}

/// Whether [`create`] has been done.
pub(super) fn exist(database: &Database) -> Result<bool, redb::Error> {
    match database.begin_read()?.open_table(OFFSETS) {
        Ok(_) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// Reads everything but the records.
pub(super) fn load(database: &Database) -> Result<Result<Contents, BadRow>, redb::Error> {
    let read = database.begin_read()?;
    let mut contents = Contents::default();
    for row in read.open_table(TOPICS)?.iter()? {
        let (name, topic) = row?;
        let (id, partitions, policy, max_age_ms, max_bytes) = topic.value();
        let Some(retention) = retention_of(policy, max_age_ms, max_bytes) else {
            return Ok(Err(BadRow { table: "topics" }));
        };
        contents.topics.push(StoredTopic {
            name: Arc::from(name.value()),
            id,
            partitions,
            retention,
        });
    }
    for row in read.open_table(PARTITIONS)?.iter()? {
        let (key, state) = row?;
        let (end, bytes, last_ms) = state.value();
        let state = PartitionState {
            end,
            bytes,
            last_ms,
        };
        contents.partitions.insert(key.value(), state);
    }
    let names: HashMap<u32, Arc<str>> = contents
        .topics
        .iter()
        .map(|topic| (topic.id, Arc::clone(&topic.name)))
        .collect();
    for row in read.open_table(OFFSETS)?.iter()? {
        let (key, offset) = row?;
        let (group, id, partition) = key.value();
        let Some(topic) = names.get(&id).cloned() else {
            return Ok(Err(BadRow { table: "offsets" }));
        };
        let key = (group.to_owned(), TopicPartition { topic, partition });
        contents.offsets.insert(key, offset.value());
    }
    Ok(Ok(contents))
}

/// A chunk of a partition's records from an offset on.
pub(super) fn read_chunk(
    database: &Database,
    topic: (u32, &Arc<str>),
    partition: u32,
    from: u64,
) -> Result<Result<Chunk, BadRow>, redb::Error> {
    let (id, name) = topic;
    let read = database.begin_read()?;
    let mut chunk = Chunk {
        records: Vec::new(),
        next: end_of(&read, id, partition)?.max(from),
    };
    let mut bytes = 0;
    let records = read.open_table(RECORDS)?;
    for row in records.range((id, partition, from)..=(id, partition, u64::MAX))? {
        let (key, stored) = row?;
        let (_, _, offset) = key.value();
        if chunk.is_full(bytes) {
            chunk.next = offset;
            break;
        }
        bytes += stored.value().len();
        let position = Position {
            topic: Arc::clone(name),
            partition,
            offset,
        };
        let Some(record) = codec::decode(position, stored.value()) else {
            return Ok(Err(BadRow { table: "records" }));
        };
        chunk.records.push(record);
    }
    Ok(Ok(chunk))
}

/// The offset of a partition's first record at or after a time, else its end. Timestamps never fall within a partition, so
/// halving finds it.
pub(super) fn offset_at(
    database: &Database,
    id: u32,
    partition: u32,
    time_ms: i64,
) -> Result<u64, redb::Error> {
    let read = database.begin_read()?;
    let records = read.open_table(RECORDS)?;
    // Everything before `low` is older than the time, everything from `high` on is not.
    let mut low = 0;
    let mut high = end_of(&read, id, partition)?;
    while low < high {
        let middle = low + (high - low) / 2;
        let first = records
            .range((id, partition, middle)..(id, partition, high))?
            .next()
            .transpose()?;
        match first {
            Some((key, stored))
                if codec::timestamp_ms(stored.value()).is_some_and(|at| at < time_ms) =>
            {
                low = key.value().2 + 1;
            }
            // Nothing between the middle and `high`, or nothing old enough there.
            _ => high = middle,
        }
    }
    Ok(low)
}

fn end_of(read: &ReadTransaction, id: u32, partition: u32) -> Result<u64, redb::Error> {
    let partitions = read.open_table(PARTITIONS)?;
    Ok(partitions
        .get((id, partition))?
        .map_or(0, |state| state.value().0))
}
