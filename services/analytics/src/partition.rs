//! One partition in the hands of this instance: its core, its records in order, and how far it is.

use std::sync::Arc;
use std::time::Duration;

use bus::{Position, Record};
use detect::{NodeWatch, Risers, Stream};
use tokio::time::Instant;
use train::Artefact;
use units::{NodeId, ServiceId, Timestamp};
use wire::Checkpoint;

use crate::checkpoint::{self, Positions, Restored, Slot};
use crate::core::{Core, Counts, Effect, Event};
use crate::merge::{Merge, Pending, Source};

/// Samples are those of now when the newest record handled is at most this old …
const LIVE_WITHIN: Duration = Duration::from_secs(5);
/// … or when nothing came for this long.
const QUIET_AFTER: Duration = Duration::from_secs(3);
/// The holder of this partition speaks of nodes; all others only of their own containers.
const NODES_PARTITION: u32 = 0;

pub(crate) struct Partition {
    number: u32,
    core: Core,
    merge: Merge,
    /// Handled so far.
    positions: Positions,
    /// Covered by a checkpoint in the log; none in this process yet.
    covered: Option<Positions>,
    /// Something changed the state that stands in no record of this partition: a heartbeat, feedback, or time that told a signal.
    unrecorded: bool,
    slot: Slot,
    newest_sample: Timestamp,
    heard: Instant,
}

impl Partition {
    /// A partition without a checkpoint.
    pub(crate) fn fresh(number: u32, core: Core, now: Instant) -> Self {
        Partition {
            number,
            core,
            merge: Merge::new(now),
            positions: Positions::default(),
            covered: None,
            unrecorded: false,
            slot: Slot::B,
            newest_sample: Timestamp::EPOCH,
            heard: now,
        }
    }

    /// A partition that goes on from its checkpoint.
    pub(crate) fn resumed(number: u32, restored: Restored, now: Instant) -> Self {
        Partition {
            positions: restored.positions,
            slot: restored.slot,
            ..Partition::fresh(number, restored.core, now)
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.core.counts();
        if self.number != NODES_PARTITION {
            // Every partition has them; one counts them.
            counts.detector.node_bars = 0;
        }
        counts
    }

    /// The containers known here whose use rose most on a node.
    pub(crate) fn risers(&self, node: &NodeId) -> Risers {
        self.core.risers(node)
    }

    /// Whether a service is known here.
    pub(crate) fn knows(&self, service: &ServiceId) -> bool {
        self.core.knows(service)
    }

    /// The model a service has.
    pub(crate) fn model(&self, service: &ServiceId) -> Option<&Arc<Artefact>> {
        self.core.model(service)
    }

    /// Takes a record that was read. One that the state already covers is passed over.
    pub(crate) fn push(&mut self, source: Source, record: &Record, now: Instant) {
        self.heard = now;
        let next = match source {
            Source::Samples => self.positions.samples_next,
            Source::Logs => self.positions.logs_next,
        };
        if record.position.offset >= next {
            let pending = Pending::read(source, record, |point| self.core.follows(point));
            self.merge.push(pending, now);
        }
    }

    /// The next record to handle.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Pending> {
        self.merge.pop(now)
    }

    /// When [`Partition::pop`] may have something although nothing more was read.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.merge.due()
    }

    /// Notes that a record is handled, or put aside.
    pub(crate) fn handled(&mut self, pending: &Pending) {
        let next = pending.offset + 1;
        match pending.source {
            Source::Samples => {
                self.positions.samples_next = next;
                self.newest_sample = pending.appended_at;
            }
            Source::Logs => self.positions.logs_next = next,
        }
    }

    pub(crate) fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        let watch = match self.number {
            NODES_PARTITION => NodeWatch::Owner,
            _ => NodeWatch::Other,
        };
        let elsewhere = match &event {
            Event::Inventory { .. } | Event::NodeRemoved(_) => watch == NodeWatch::Owner,
            Event::Feedback(_) => true,
            Event::Samples { .. }
            | Event::Logs { .. }
            | Event::Links { .. }
            | Event::NodePoints { .. }
            | Event::NodeSignal(_)
            | Event::Model(_)
            | Event::Resumed
            | Event::Tick => false,
        };
        let effects = self.core.handle(now, watch, event);
        self.unrecorded |= elsewhere || !effects.is_empty();
        effects
    }

    /// Whether the samples handled so far are those of now.
    pub(crate) fn stream(&self, now: Timestamp, instant: Instant) -> Stream {
        let fresh = now.since(self.newest_sample) <= LIVE_WITHIN;
        let quiet = instant.duration_since(self.heard) >= QUIET_AFTER;
        match self.merge.due().is_none() && (fresh || quiet) {
            true => Stream::Live,
            false => Stream::Behind,
        }
    }

    /// The records of a checkpoint of what was handled so far; none when nothing changed since the last one.
    pub(crate) fn checkpoint(&mut self, at: Timestamp) -> Option<Vec<Checkpoint>> {
        if self.covered == Some(self.positions) && !self.unrecorded {
            return None;
        }
        self.slot = self.slot.other();
        Some(checkpoint::write(
            self.number,
            self.slot,
            self.positions,
            &self.core,
            at,
        ))
    }

    /// The log has the checkpoint; these positions can be committed.
    pub(crate) fn covered(&mut self) -> Vec<Position> {
        self.covered = Some(self.positions);
        self.unrecorded = false;
        let ends = [
            (wire::topic::SAMPLES, self.positions.samples_next),
            (wire::topic::LOGS, self.positions.logs_next),
        ];
        let position = |(topic, next): (&str, u64)| {
            let offset = next.checked_sub(1)?;
            Some(Position {
                topic: topic.into(),
                partition: self.number,
                offset,
            })
        };
        ends.into_iter().filter_map(position).collect()
    }
}

#[cfg(test)]
mod tests {
    use detect::Settings;
    use units::{EngineInfo, NodeCapacity, NodeFacts, NodeId, NodeInventory};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    /// A node falls silent while no sample comes: nothing moves in the partition, and the signal must be kept all the same.
    #[test]
    fn what_time_alone_told_is_in_the_next_checkpoint() {
        let core = Core::new(Settings::default());
        let mut partition = Partition::fresh(0, core, Instant::now());
        let inventory = NodeInventory {
            node: NodeId::from("node-a"),
            at: at(0),
            steady: None,
            capacity: NodeCapacity::default(),
            engine: EngineInfo::default(),
            facts: NodeFacts::default(),
            containers: Vec::new(),
        };
        let event = Event::Inventory {
            inventory: Arc::new(inventory),
            stream: Stream::Live,
        };
        partition.handle(at(0), event);
        assert!(partition.checkpoint(at(0)).is_some());
        partition.covered();
        assert!(partition.checkpoint(at(1)).is_none());

        let told = (1..120).any(|second| !partition.handle(at(second), Event::Tick).is_empty());
        assert!(told, "the silence was not told");
        assert!(partition.checkpoint(at(120)).is_some());
    }
}
