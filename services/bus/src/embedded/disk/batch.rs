//! One transaction of the writer: appends, commits, new topics and a bounded piece of clean-up, made durable together.

use std::collections::HashMap;
use std::sync::Arc;

use redb::{Database, ReadableTable, Table, WriteTransaction};

use super::codec;
use super::tables::{
    NEWEST, OFFSETS, PARTITIONS, PartitionState, RECORDS, StoredTopic, TOMBSTONES, TOPICS,
    policy_of,
};
use crate::embedded::segment::{TOMBSTONE_AGE, millis};
use crate::embedded::{Topic, now_ms};
use crate::{NewRecord, Position, Record, Retention};

/// Records removed in one transaction at most; what is left over comes with the next one. More than a transaction appends,
/// so that clean-up keeps up with writing.
const SWEEP_RECORDS: usize = 8_192;

/// The state of partitions, by topic number and partition.
pub(super) type States = HashMap<(u32, u32), PartitionState>;

/// Whether a transaction left clean-up to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swept {
    Everything,
    MoreToDo,
}

/// A transaction under construction. Nothing of it is seen by anyone before [`Batch::commit`] has returned.
pub(super) struct Batch<'a> {
    write: WriteTransaction,
    states: &'a States,
    /// Partitions touched, with their new state.
    changed: States,
    writes: usize,
}

impl<'a> Batch<'a> {
    pub(super) fn begin(database: &Database, states: &'a States) -> Result<Self, redb::Error> {
        let mut write = database.begin_write()?;
        // Opening after a crash would otherwise read the whole file to rebuild the allocator's state.
        write.set_quick_repair(true);
        Ok(Self {
            write,
            states,
            changed: States::new(),
            writes: 0,
        })
    }

    /// Makes everything durable and returns the new states of partitions. Writes nothing when there is nothing to write.
    pub(super) fn commit(self) -> Result<States, redb::Error> {
        if self.writes == 0 {
            self.write.abort()?;
            return Ok(States::new());
        }
        {
            let mut partitions = self.write.open_table(PARTITIONS)?;
            for (key, state) in &self.changed {
                partitions.insert(key, (state.end, state.bytes, state.last_ms))?;
            }
        }
        self.write.commit()?;
        Ok(self.changed)
    }

    pub(super) fn put_topic(&mut self, topic: &StoredTopic) -> Result<(), redb::Error> {
        let (policy, max_age_ms, max_bytes) = policy_of(topic.retention);
        let row = (topic.id, topic.partitions, policy, max_age_ms, max_bytes);
        self.write.open_table(TOPICS)?.insert(&*topic.name, row)?;
        self.writes += 1;
        Ok(())
    }

    pub(super) fn put_offset(
        &mut self,
        group: &str,
        topic: u32,
        partition: u32,
        offset: u64,
    ) -> Result<(), redb::Error> {
        self.write
            .open_table(OFFSETS)?
            .insert((group, topic, partition), offset)?;
        self.writes += 1;
        Ok(())
    }

    /// Appends a record and, in a compacted topic, removes the one it supersedes.
    pub(super) fn append(
        &mut self,
        topic: &Topic,
        partition: u32,
        new: NewRecord,
    ) -> Result<Record, redb::Error> {
        let key = (topic.id, partition);
        let mut state = self.state(key);
        let record = Record {
            position: Position {
                topic: Arc::clone(&topic.name),
                partition,
                offset: state.end,
            },
            // Time never runs backwards within a partition, so that it can be searched by time.
            timestamp_ms: now_ms().max(state.last_ms),
            key: new.key,
            value: new.value,
            headers: new.headers,
        };
        let stored = codec::encode(&record);
        let mut records = self.write.open_table(RECORDS)?;
        records.insert((topic.id, partition, state.end), stored.as_slice())?;
        state.bytes += stored.len() as u64;
        if topic.retention() == Retention::Compact {
            let mut tombstones = self.write.open_table(TOMBSTONES)?;
            let mut newest = self.write.open_table(NEWEST)?;
            let older = newest
                .insert((topic.id, partition, &*record.key), state.end)?
                .map(|older| older.value());
            if let Some(older) = older {
                state.bytes -= remove(&mut records, (topic.id, partition, older))?;
                tombstones.remove((topic.id, partition, older))?;
            }
            if record.value.is_empty() {
                tombstones.insert((topic.id, partition, state.end), record.timestamp_ms)?;
            }
        }
        state.end += 1;
        state.last_ms = record.timestamp_ms;
        self.changed.insert(key, state);
        self.writes += 1;
        Ok(record)
    }

    /// Removes what the topics' retention no longer keeps, as far as one transaction's share goes.
    pub(super) fn sweep(&mut self, topics: &[Arc<Topic>]) -> Result<Swept, redb::Error> {
        let mut left = SWEEP_RECORDS;
        for topic in topics {
            for partition in 0..topic.partition_count() {
                let removed = match topic.retention() {
                    Retention::Delete { max_age, max_bytes } => {
                        let oldest_ms = now_ms().saturating_sub(millis(max_age));
                        self.drop_oldest(topic.id, partition, (oldest_ms, max_bytes), left)?
                    }
                    Retention::Compact => self.drop_tombstones(topic.id, partition, left)?,
                };
                self.writes += removed;
                left -= removed;
                if left == 0 {
                    return Ok(Swept::MoreToDo);
                }
            }
        }
        Ok(Swept::Everything)
    }

    fn drop_oldest(
        &mut self,
        topic: u32,
        partition: u32,
        (oldest_ms, max_bytes): (i64, u64),
        most: usize,
    ) -> Result<usize, redb::Error> {
        let mut state = self.state((topic, partition));
        let mut records = self.write.open_table(RECORDS)?;
        let mut removed = 0;
        while removed < most {
            let all = (topic, partition, 0)..=(topic, partition, u64::MAX);
            let first = records.range(all)?.next().transpose()?;
            let first =
                first.map(|(key, stored)| (key.value(), codec::timestamp_ms(stored.value())));
            let Some((key, at_ms)) = first else {
                break;
            };
            let too_old = at_ms.is_some_and(|at| at < oldest_ms);
            // The newest record stays even if it alone is over the size, as a producer was told that it is there.
            let too_large = state.bytes > max_bytes && key.2 + 1 < state.end;
            if !too_old && !too_large {
                break;
            }
            state.bytes -= remove(&mut records, key)?;
            removed += 1;
        }
        if removed > 0 {
            self.changed.insert((topic, partition), state);
        }
        Ok(removed)
    }

    fn drop_tombstones(
        &mut self,
        topic: u32,
        partition: u32,
        most: usize,
    ) -> Result<usize, redb::Error> {
        let mut state = self.state((topic, partition));
        let oldest_ms = now_ms().saturating_sub(millis(TOMBSTONE_AGE));
        let mut records = self.write.open_table(RECORDS)?;
        let mut tombstones = self.write.open_table(TOMBSTONES)?;
        let mut newest = self.write.open_table(NEWEST)?;
        let mut removed = 0;
        while removed < most {
            let all = (topic, partition, 0)..=(topic, partition, u64::MAX);
            let first = tombstones
                .range(all)?
                .next()
                .transpose()?
                .map(|(key, at)| (key.value(), at.value()));
            let Some((key, _)) = first.filter(|(_, at)| *at < oldest_ms) else {
                break;
            };
            let position = Position {
                topic: Arc::from(""),
                partition,
                offset: key.2,
            };
            let record = records
                .get(key)?
                .and_then(|stored| codec::decode(position, stored.value()));
            if let Some(record) = record {
                newest.remove((topic, partition, &*record.key))?;
            }
            state.bytes -= remove(&mut records, key)?;
            tombstones.remove(key)?;
            removed += 1;
        }
        if removed > 0 {
            self.changed.insert((topic, partition), state);
        }
        Ok(removed)
    }

    fn state(&self, key: (u32, u32)) -> PartitionState {
        let changed = self.changed.get(&key).or_else(|| self.states.get(&key));
        changed.copied().unwrap_or_default()
    }
}

/// Removes a record and returns how many bytes it took.
fn remove(
    records: &mut Table<'_, (u32, u32, u64), &'static [u8]>,
    key: (u32, u32, u64),
) -> Result<u64, redb::Error> {
    Ok(records
        .remove(key)?
        .map_or(0, |stored| stored.value().len() as u64))
}
