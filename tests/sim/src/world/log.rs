//! The topics, as lists of encoded records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::{NewRecord, Position, Record};
use bytes::Bytes;
use units::Timestamp;
use wire::{Json, Meta, topic};

use super::options::Options;

/// A compacted topic keeps what is not the newest of its key for this long after a newer one came: the newest segment is left as it is.
const COMPACTED_AFTER: Duration = Duration::from_secs(60);

/// A topic of the loop. Samples and logs are not written: the detectors are a stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Journal,
    Signals,
    Inventory,
    Outcomes,
    Forecasts,
    Events,
    Election,
    Commands,
    Heartbeats,
    Exports,
}

/// How many there are.
pub(super) const TOPICS: usize = 10;

/// What a controller reads, each by a reader of its own; the last two only where hosts are lost.
const READ: [Topic; 9] = [
    Topic::Journal,
    Topic::Signals,
    Topic::Inventory,
    Topic::Outcomes,
    Topic::Forecasts,
    Topic::Events,
    Topic::Election,
    Topic::Heartbeats,
    Topic::Exports,
];

/// What a controller reads.
pub(super) fn read(options: &Options) -> &'static [Topic] {
    match options.is_losing() {
        true => &READ,
        false => &READ[..READ.len() - 2],
    }
}

impl Topic {
    const ALL: [Topic; TOPICS] = [
        Topic::Journal,
        Topic::Signals,
        Topic::Inventory,
        Topic::Outcomes,
        Topic::Forecasts,
        Topic::Events,
        Topic::Election,
        Topic::Commands,
        Topic::Heartbeats,
        Topic::Exports,
    ];

    const fn name(self) -> &'static str {
        match self {
            Topic::Journal => topic::JOURNAL,
            Topic::Signals => topic::SIGNALS,
            Topic::Inventory => topic::INVENTORY,
            Topic::Outcomes => topic::OUTCOMES,
            Topic::Forecasts => topic::FORECASTS,
            Topic::Events => topic::EVENTS,
            Topic::Election => topic::ELECTION,
            Topic::Commands => topic::COMMANDS,
            Topic::Heartbeats => topic::HEARTBEATS,
            Topic::Exports => topic::EXPORTS,
        }
    }
}

/// Who is behind a record, which the loop cannot see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    /// A role of ours, or a container by itself.
    Role,
    /// Somebody changed a container.
    Person,
    /// A producer that lost the acknowledgement wrote it once more.
    Echo,
}

/// A record with what the world knows of it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) record: Record,
    /// True time at which it was made; it may have waited on its node since.
    pub(super) made_at: Timestamp,
    pub(super) author: Author,
    /// True time at which a newer one of its key came into a compacted topic.
    superseded_at: Option<Timestamp>,
}

impl Kept {
    /// True time at which it came into the log.
    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.record.timestamp_ms)
    }
}

/// All topics.
#[derive(Debug)]
pub(super) struct Log {
    topics: [Vec<Kept>; TOPICS],
    names: [Arc<str>; TOPICS],
    newest_of: BTreeMap<Bytes, usize>,
    journal_hash: u64,
    meta: Meta,
}

/// A value as it is written, after it was read back and found the same.
///
/// # Errors
/// What is wrong with the codec.
pub(super) fn encode<T: Json + PartialEq>(value: &T, meta: &Meta) -> Result<NewRecord, String> {
    let made = wire::encode(value, meta);
    let back = Record {
        position: Position {
            topic: made.topic.clone(),
            partition: 0,
            offset: 0,
        },
        timestamp_ms: 0,
        key: made.key.clone(),
        value: made.value.clone(),
        headers: made.headers.clone(),
    };
    match wire::decode::<T>(&back) {
        Ok(read) if read == *value => Ok(made),
        Ok(_) => Err(format!(
            "a {} is read as another one than it was written",
            T::SCHEMA
        )),
        Err(error) => Err(error.to_string()),
    }
}

impl Log {
    pub(super) fn new() -> Self {
        Log {
            topics: Default::default(),
            names: Topic::ALL.map(|topic| Arc::from(topic.name())),
            newest_of: BTreeMap::new(),
            journal_hash: 0xcbf2_9ce4_8422_2325,
            meta: Meta::new("sim/0@world"),
        }
    }

    pub(super) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// What says that a key is gone.
    pub(super) fn tombstone(&self, topic: Topic, key: &str) -> NewRecord {
        NewRecord {
            topic: self.names[topic as usize].clone(),
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::new(),
            headers: Vec::new(),
            partition: None,
        }
    }

    /// Writes a record, and says at which place.
    pub(super) fn write(
        &mut self,
        topic: Topic,
        record: NewRecord,
        now: Timestamp,
        made_at: Timestamp,
        author: Author,
    ) -> usize {
        let kept = &mut self.topics[topic as usize];
        let place = kept.len();
        if topic == Topic::Journal {
            for byte in record.value.iter() {
                self.journal_hash =
                    (self.journal_hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        if matches!(topic, Topic::Inventory | Topic::Exports) {
            let before = self.newest_of.insert(record.key.clone(), place);
            if let Some(before) = before.and_then(|before| kept.get_mut(before)) {
                before.superseded_at = Some(now);
            }
        }
        kept.push(Kept {
            record: Record {
                position: Position {
                    topic: self.names[topic as usize].clone(),
                    partition: 0,
                    offset: place as u64,
                },
                timestamp_ms: now.as_millis(),
                key: record.key,
                value: record.value,
                headers: record.headers,
            },
            made_at,
            author,
            superseded_at: None,
        });
        place
    }

    pub(super) fn get(&self, topic: Topic, place: usize) -> Option<&Kept> {
        self.topics[topic as usize].get(place)
    }

    pub(super) fn end(&self, topic: Topic) -> usize {
        self.topics[topic as usize].len()
    }

    /// The first place written at or after this time.
    pub(super) fn since(&self, topic: Topic, at: Timestamp) -> usize {
        self.topics[topic as usize].partition_point(|kept| kept.at() < at)
    }

    /// Compaction has taken it away.
    pub(super) fn is_gone(&self, topic: Topic, place: usize, now: Timestamp) -> bool {
        let superseded_at = self.get(topic, place).and_then(|kept| kept.superseded_at);
        superseded_at.is_some_and(|at| at + COMPACTED_AFTER < now)
    }

    /// FNV-1a over every byte of the journal.
    pub(super) fn journal_hash(&self) -> u64 {
        self.journal_hash
    }
}
