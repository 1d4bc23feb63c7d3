//! The state of a partition as records of a compacted topic.
//!
//! A state may exceed what one record takes, so it is cut into parts. The parts of one checkpoint share a slot; two slots are
//! written in turn, so that a process that is ended between two parts leaves the checkpoint before whole. The newest whole one
//! is read.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use units::Timestamp;
use wire::Checkpoint;

use crate::core::Core;

/// Version of the state's encoding. It changes with the shape of any detector's state; another one is not read.
pub(crate) const STATE_VERSION: u32 = 9;
/// Bytes of state in one part: with base 64 and the JSON around it, well under what a record takes.
const PART_BYTES: usize = 600_000;

/// Where a partition is in its two topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Positions {
    /// The next offset of samples to handle.
    pub(crate) samples_next: u64,
    /// The next offset of logs to handle.
    pub(crate) logs_next: u64,
}

/// The two places a checkpoint can lie; they are written in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    pub(crate) fn other(self) -> Self {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    fn letter(self) -> char {
        match self {
            Slot::A => 'a',
            Slot::B => 'b',
        }
    }
}

/// A checkpoint that was read back.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) core: Core,
    pub(crate) positions: Positions,
    pub(crate) slot: Slot,
}

/// Why a partition starts without its checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("its state has version {found}, this analytics reads {STATE_VERSION}")]
    Version { found: u32 },
    #[error("its state is damaged")]
    Damaged,
}

/// The records of a checkpoint, in the order they are to be written.
pub(crate) fn write(
    partition: u32,
    slot: Slot,
    positions: Positions,
    core: &Core,
    at: Timestamp,
) -> Vec<Checkpoint> {
    let state = postcard::to_stdvec(core)
        .expect("the state is plain data in memory, which postcard writes without fail");
    let parts: Vec<&[u8]> = state.chunks(PART_BYTES).collect();
    let count = parts.len();
    let record = |(index, part): (usize, &&[u8])| Checkpoint {
        partition_key: format!("{partition}/{}/{index}", slot.letter()),
        samples_next: positions.samples_next,
        logs_next: positions.logs_next,
        at,
        state_version: STATE_VERSION,
        state: format!("{count}:{}", BASE64.encode(part)),
    };
    parts.iter().enumerate().map(record).collect()
}

/// The newest whole checkpoint of a partition among all records of the topic.
///
/// # Errors
/// When there is one and it cannot be read.
pub(crate) fn read(partition: u32, records: &[Checkpoint]) -> Result<Option<Restored>, Unreadable> {
    let mut unreadable = None;
    let mut whole: Vec<(Positions, Timestamp, Slot, Vec<u8>)> = Vec::new();
    for slot in [Slot::A, Slot::B] {
        match gather(partition, slot, records) {
            Ok(Some((positions, at, state))) => whole.push((positions, at, slot, state)),
            Ok(None) => {}
            Err(error) => unreadable = Some(error),
        }
    }
    whole.sort_by_key(|(positions, at, slot, _)| (*positions, *at, *slot));
    while let Some((positions, _, slot, state)) = whole.pop() {
        match postcard::from_bytes(&state) {
            Ok(core) => {
                return Ok(Some(Restored {
                    core,
                    positions,
                    slot,
                }));
            }
            Err(_) => unreadable = Some(Unreadable::Damaged),
        }
    }
    unreadable.map_or(Ok(None), Err)
}

type Gathered = Option<(Positions, Timestamp, Vec<u8>)>;

fn gather(partition: u32, slot: Slot, records: &[Checkpoint]) -> Result<Gathered, Unreadable> {
    let prefix = format!("{partition}/{}/", slot.letter());
    let parts: BTreeMap<usize, &Checkpoint> = records
        .iter()
        .filter_map(|record| {
            let index = record.partition_key.strip_prefix(&prefix)?;
            Some((index.parse().ok()?, record))
        })
        .collect();
    let Some(first) = parts.get(&0) else {
        return Ok(None);
    };
    if first.state_version != STATE_VERSION {
        return Err(Unreadable::Version {
            found: first.state_version,
        });
    }
    let (count, _) = split(&first.state).ok_or(Unreadable::Damaged)?;
    let mut state = Vec::new();
    for index in 0..count {
        let same = |part: &&&Checkpoint| {
            (
                part.samples_next,
                part.logs_next,
                part.at,
                part.state_version,
            ) == (
                first.samples_next,
                first.logs_next,
                first.at,
                first.state_version,
            )
        };
        let Some(part) = parts.get(&index).filter(same) else {
            return Ok(None);
        };
        let (_, text) = split(&part.state).ok_or(Unreadable::Damaged)?;
        state.extend(BASE64.decode(text).map_err(|_| Unreadable::Damaged)?);
    }
    let positions = Positions {
        samples_next: first.samples_next,
        logs_next: first.logs_next,
    };
    Ok(Some((positions, first.at, state)))
}

fn split(state: &str) -> Option<(usize, &str)> {
    let (count, text) = state.split_once(':')?;
    Some((count.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use detect::Settings;

    fn records(slot: Slot, samples_next: u64) -> Vec<Checkpoint> {
        let positions = Positions {
            samples_next,
            logs_next: 7,
        };
        let core = Core::new(Settings::default());
        write(
            3,
            slot,
            positions,
            &core,
            Timestamp::from_millis(samples_next as i64),
        )
    }

    #[test]
    fn the_newest_whole_checkpoint_is_read() {
        let mut all = records(Slot::A, 10);
        all.extend(records(Slot::B, 20));
        let restored = read(3, &all).unwrap().unwrap();
        assert_eq!(
            restored.positions,
            Positions {
                samples_next: 20,
                logs_next: 7
            }
        );
        assert_eq!(restored.slot, Slot::B);
        assert_eq!(restored.core, Core::new(Settings::default()));
        assert!(read(30, &all).unwrap().is_none(), "another partition's");
    }

    #[test]
    fn a_checkpoint_whose_parts_are_not_all_there_is_passed_over() {
        let mut all = records(Slot::A, 10);
        let mut torn = records(Slot::B, 20);
        torn[0].state = torn[0].state.replacen("1:", "2:", 1);
        let mut stale = records(Slot::B, 5).remove(0);
        stale.partition_key = "3/b/1".into();
        all.append(&mut torn);
        all.push(stale);
        assert_eq!(read(3, &all).unwrap().unwrap().positions.samples_next, 10);
    }

    #[test]
    fn another_version_and_damage_are_said() {
        let mut other = records(Slot::A, 10);
        other[0].state_version = 99;
        assert!(matches!(
            read(3, &other),
            Err(Unreadable::Version { found: 99 })
        ));
        let mut damaged = records(Slot::A, 10);
        damaged[0].state = "1://///w".into();
        assert!(matches!(read(3, &damaged), Err(Unreadable::Damaged)));
        damaged[0].state = "what".into();
        assert!(matches!(read(3, &damaged), Err(Unreadable::Damaged)));
        let mut fallback = records(Slot::B, 4);
        fallback.append(&mut damaged);
        assert_eq!(
            read(3, &fallback).unwrap().unwrap().positions.samples_next,
            4
        );
    }
}
