//! Batches on their way to the log, by partition, and the detour over the disk that they take while the log is away.
//!
//! Of each partition one record is under way at a time, so that its lines stay in order. One that takes too long is written to
//! the spool with all that come after it; they are sent from there, oldest first, and new ones go directly again once all of
//! the partition arrived. A log's position is advanced when the lines before it are in the log, or safe on the disk.
//!
//! What a full disk drops leaves a gap between what was told of a container and what its next record begins with. It is seen
//! when that record is sent, and the record's first line of the container tells it: nothing has to be remembered of what is
//! dropped, and a process that starts again sees the same gap.

use std::collections::BTreeMap;
use std::time::Instant;

use bus::NewRecord;
use spool::SpoolError;
use units::ContainerId;
use wire::{EncodeError, LogBatch};

use super::backlog::{Backlog, Parcel};
use super::batch::{Batch, Covers, Room};
use super::gaps::telling;
use super::lane::{Flight, Lane};
use super::position::Positions;
use crate::deliver::Fate;
use crate::events::{Instruments, Refused, SpoolFailed, SpoolingBegan, SpoolingEnded};

/// Bytes of records under way. Beyond them batches wait, and go to the disk when they wait too long.
const FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Records from the disk under way at a time: enough to catch up, and few enough that samples and events, which share the
/// connection, wait for no more than these.
const DRAIN_FLIGHTS_MAX: usize = 4;

/// See the module.
pub(super) struct Dispatch {
    lanes: BTreeMap<u32, Lane>,
    backlog: Option<Backlog>,
    pub(super) positions: Positions,
    /// What was appended to the spool and is not safe yet.
    unsafe_yet: Vec<Covers>,
    launches: Vec<Launch>,
    flight_bytes: usize,
    draining: usize,
    meta: wire::Meta,
    instruments: Instruments,
    /// A failure of the disk is said once, until it works again.
    disk: Disk,
    spooling: Spooling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Works,
    Fails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spooling {
    Direct,
    Detour,
}

/// A record to be sent now.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) partition: u32,
    pub(super) record: NewRecord,
    pub(super) rows: u64,
}

impl Dispatch {
    pub(super) fn new(
        positions: Positions,
        backlog: Option<Backlog>,
        meta: wire::Meta,
        instruments: Instruments,
    ) -> Dispatch {
        Dispatch {
            lanes: BTreeMap::new(),
            backlog,
            positions,
            unsafe_yet: Vec::new(),
            launches: Vec::new(),
            flight_bytes: 0,
            draining: 0,
            meta,
            instruments,
            disk: Disk::Works,
            spooling: Spooling::Direct,
        }
    }

    /// The batch that gathers for a partition.
    pub(super) fn batch(&mut self, partition: u32) -> &mut Batch {
        &mut self.lanes.entry(partition).or_default().batch
    }

    /// Sends on what gathered, as far as that is possible now, so that there is room for more.
    pub(super) fn send(&mut self, partition: u32, now: Instant) {
        self.forward(partition, now);
        let behind = self.is_behind(partition);
        let Some(lane) = self.lanes.get_mut(&partition) else {
            return;
        };
        let can_go = lane.flight.is_none() || behind;
        if lane.ready.is_some()
            || lane.batch.rows.is_empty()
            || (!can_go && lane.batch.room() == Room::Yes)
        {
            return;
        }
        let batch = std::mem::take(&mut lane.batch);
        let rows = batch.rows.rows() as u64;
        match self.encode(partition, batch.rows) {
            Ok(record) => {
                let covers = batch.covers;
                let parcel = Parcel {
                    record,
                    covers,
                    rows,
                };
                self.lanes.entry(partition).or_default().ready = Some(parcel);
                self.forward(partition, now);
            }
            Err(error) => {
                Refused {
                    topic: wire::topic::LOGS,
                    rows,
                    problem: &error,
                }
                .emit(&self.instruments);
                self.delivered(batch.covers);
            }
        }
    }

    /// Sends what is due, takes the detour for what is stuck, and goes on with what is on the disk.
    pub(super) fn tick(&mut self, now: Instant) {
        let partitions: Vec<u32> = self.lanes.keys().copied().collect();
        for partition in partitions {
            let lane = &self.lanes[&partition];
            if lane.ready.is_some() || lane.batch.is_due(now) || lane.is_stuck(now) {
                self.send(partition, now);
            }
        }
        self.settle();
        self.drain();
        self.free_positions();
        self.lanes.retain(|_, lane| !lane.is_idle());
    }

    /// Sends everything, due or not.
    pub(super) fn flush(&mut self, now: Instant) {
        let partitions: Vec<u32> = self.lanes.keys().copied().collect();
        for partition in partitions {
            self.send(partition, now);
        }
        self.settle();
    }

    /// Puts everything on the disk that is not there, before the process ends.
    pub(super) fn rescue(&mut self, now: Instant) {
        let partitions: Vec<u32> = self.lanes.keys().copied().collect();
        for partition in partitions {
            self.detour(partition);
            // Now it is behind, or has nothing under way, and what gathered can follow.
            self.send(partition, now);
            self.detour(partition);
        }
        self.settle();
    }

    /// What is to be sent now.
    pub(super) fn take_launches(&mut self) -> Vec<Launch> {
        std::mem::take(&mut self.launches)
    }

    /// The record of this partition came to an end.
    pub(super) fn arrived(&mut self, partition: u32, fate: Fate) {
        let Some(flight) = self
            .lanes
            .get_mut(&partition)
            .and_then(|lane| lane.flight.take())
        else {
            return;
        };
        match flight {
            Flight::Direct { parcel, .. } => {
                self.flight_bytes -= parcel.record.value.len();
                match fate {
                    // What was refused would be refused again: going back to it would stop the log for good.
                    Fate::Delivered | Fate::Refused => self.delivered(parcel.covers),
                    Fate::Closed => self.put_away(partition, &parcel),
                }
            }
            Flight::Spooled { id, bytes, told } => {
                self.flight_bytes -= bytes;
                self.draining = self.draining.saturating_sub(1);
                match (fate, &mut self.backlog) {
                    (Fate::Delivered | Fate::Refused, Some(backlog)) => {
                        backlog.arrived(partition, id);
                        self.positions.heard(&told);
                    }
                    (Fate::Closed, _) | (Fate::Delivered | Fate::Refused, None) => {}
                }
            }
        }
    }

    /// The log was closed by this process: what was under way goes to the disk, or is read again by the next start.
    fn put_away(&mut self, partition: u32, parcel: &Parcel) {
        if let Some(backlog) = &mut self.backlog {
            let written = backlog.append(partition, parcel, now_unix_ms());
            if written.is_ok() {
                self.unsafe_yet.push(parcel.covers.clone());
            }
            self.disk_said(written.map(drop));
        }
    }

    /// Whether nothing gathers or is under way that is not on the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.unsafe_yet.is_empty()
            && self.lanes.values().all(|lane| {
                lane.batch.rows.is_empty()
                    && lane.ready.is_none()
                    && !matches!(lane.flight, Some(Flight::Direct { .. }))
            })
    }

    /// Whether there are lines on the disk.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.as_ref().is_some_and(|it| !it.is_empty())
    }

    /// How many lines were dropped from the disk, by container, given once.
    pub(super) fn take_dropped(&mut self) -> BTreeMap<ContainerId, u64> {
        let dropped = self.backlog.as_mut().map(Backlog::take_dropped);
        dropped.unwrap_or_default()
    }

    /// Writes the positions down, then forgets what arrived, then drops what is too old.
    ///
    /// # Errors
    /// When the positions cannot be written.
    pub(super) fn save(&mut self) -> Result<(), super::PositionError> {
        self.positions.save()?;
        if let Some(backlog) = &mut self.backlog {
            let kept = backlog
                .forget_arrived()
                .and_then(|()| backlog.enforce(now_unix_ms()));
            self.disk_said(kept);
            self.tell_spooling();
        }
        if !self.has_backlog() {
            let lanes = &self.lanes;
            self.positions
                .sweep(|id| lanes.values().any(|lane| lane.tells_of(id)));
        }
        Ok(())
    }

    fn encode(&self, partition: u32, rows: LogBatch) -> Result<NewRecord, EncodeError> {
        let span = tracing::info_span!("logs", partition, lines = rows.rows());
        let meta = self.meta.within(kit::trace::traceparent(&span));
        rows.encode(partition, &meta)
    }

    fn is_behind(&self, partition: u32) -> bool {
        self.backlog
            .as_ref()
            .is_some_and(|it| it.entries(partition) > 0)
    }

    /// Moves on what is ready: into the log, onto the disk, or nowhere yet.
    fn forward(&mut self, partition: u32, now: Instant) {
        let behind = self.is_behind(partition);
        let room = self.flight_bytes < FLIGHT_BYTES_MAX;
        let Some(lane) = self.lanes.get_mut(&partition) else {
            return;
        };
        if behind || lane.is_stuck(now) || (!room && self.backlog.is_some()) {
            self.detour(partition);
        } else if lane.flight.is_none()
            && room
            && let Some(parcel) = lane.ready.take()
        {
            self.flight_bytes += parcel.record.value.len();
            let told = &parcel.covers.told;
            self.launches.push(Launch {
                partition,
                record: telling(&parcel.record, told, &mut self.positions, &self.meta),
                rows: parcel.rows,
            });
            lane.flight = Some(Flight::Direct { parcel, since: now });
        }
    }

    /// Writes to the disk what is under way, and then what is ready. Without a disk, or when it fails, both stay.
    fn detour(&mut self, partition: u32) {
        self.note_heard(partition);
        let (Some(backlog), Some(lane)) = (&mut self.backlog, self.lanes.get_mut(&partition))
        else {
            return;
        };
        let mut written = Ok(());
        if let Some(Flight::Direct { parcel, .. }) = &lane.flight {
            match backlog.append(partition, parcel, now_unix_ms()) {
                Ok(id) => {
                    backlog.hold(id);
                    self.unsafe_yet.push(parcel.covers.clone());
                    let bytes = parcel.record.value.len();
                    self.draining += 1;
                    let told = parcel.covers.told.clone();
                    lane.flight = Some(Flight::Spooled { id, bytes, told });
                }
                Err(error) => written = Err(error),
            }
        }
        if let (Ok(()), Some(parcel)) = (&written, &lane.ready) {
            match backlog.append(partition, parcel, now_unix_ms()) {
                Ok(_) => {
                    self.unsafe_yet
                        .extend(lane.ready.take().map(|it| it.covers));
                }
                Err(error) => written = Err(error),
            }
        }
        self.disk_said(written);
    }

    /// Makes safe what was written, and advances the positions by it.
    fn settle(&mut self) {
        let Some(backlog) = &mut self.backlog else {
            return;
        };
        if self.unsafe_yet.is_empty() {
            return;
        }
        let synced = backlog.sync();
        if synced.is_ok() {
            for covers in std::mem::take(&mut self.unsafe_yet) {
                self.advance(covers);
            }
        }
        self.disk_said(synced);
        self.tell_spooling();
    }

    /// Sends from the disk what is next in each partition.
    fn drain(&mut self) {
        let Some(backlog) = &mut self.backlog else {
            return;
        };
        if backlog.is_empty() {
            return;
        }
        let filled = backlog.fill();
        for partition in backlog.partitions() {
            let lane = self.lanes.entry(partition).or_default();
            if self.draining >= DRAIN_FLIGHTS_MAX || self.flight_bytes >= FLIGHT_BYTES_MAX {
                break;
            }
            if lane.flight.is_some() {
                continue;
            }
            let Some(entry) = backlog.next(partition) else {
                continue;
            };
            let record = telling(&entry.record, &entry.told, &mut self.positions, &self.meta);
            let bytes = entry.record.value.len();
            self.flight_bytes += bytes;
            self.draining += 1;
            lane.flight = Some(Flight::Spooled {
                id: entry.id,
                bytes,
                told: entry.told,
            });
            self.launches.push(Launch {
                partition,
                record,
                rows: entry.rows,
            });
        }
        self.disk_said(filled);
    }

    /// Positions that no line stands before, and that therefore hold as they are.
    fn free_positions(&mut self) {
        if !self.unsafe_yet.is_empty() {
            return;
        }
        for lane in self.lanes.values_mut() {
            let free = lane.batch.rows.is_empty()
                && lane.ready.is_none()
                && !matches!(lane.flight, Some(Flight::Direct { .. }));
            if free {
                for (id, position) in std::mem::take(&mut lane.batch.covers.positions) {
                    self.positions.advance(&id, position);
                }
            }
        }
    }

    /// Writes down what arrived, before the first entry of a partition, and before older ones are dropped for the next: else a
    /// start after a crash would take for dropped what arrived since it was last written down.
    fn note_heard(&mut self, partition: u32) {
        let (Some(backlog), Some(lane)) = (&mut self.backlog, self.lanes.get(&partition)) else {
            return;
        };
        let is_first = backlog.entries(partition) == 0;
        if lane
            .to_spool()
            .any(|parcel| is_first || backlog.is_full_for(parcel))
        {
            // Where it fails the lines are kept all the same, and the next save tells: only a count would be wrong.
            if self.positions.save().is_ok() {
                let forgotten = backlog.forget_arrived();
                self.disk_said(forgotten);
            }
        }
    }

    /// The rows arrived, or never will.
    fn delivered(&mut self, covers: Covers) {
        self.positions.heard(&covers.told);
        self.advance(covers);
    }

    fn advance(&mut self, covers: Covers) {
        for (id, position) in covers.positions {
            self.positions.advance(&id, position);
        }
    }

    fn disk_said(&mut self, result: Result<(), SpoolError>) {
        match (result, self.disk) {
            (Ok(()), _) => self.disk = Disk::Works,
            (Err(error), Disk::Works) => {
                self.disk = Disk::Fails;
                SpoolFailed { error: &error }.emit();
            }
            (Err(_), Disk::Fails) => {}
        }
    }

    fn tell_spooling(&mut self) {
        let Some(backlog) = &self.backlog else {
            return;
        };
        match (self.spooling, backlog.is_empty()) {
            (Spooling::Direct, false) => {
                self.spooling = Spooling::Detour;
                SpoolingBegan {
                    bytes: backlog.bytes(),
                }
                .emit();
            }
            (Spooling::Detour, true) => {
                self.spooling = Spooling::Direct;
                SpoolingEnded.emit();
            }
            (Spooling::Direct, true) | (Spooling::Detour, false) => {}
        }
    }
}

fn now_unix_ms() -> u64 {
    u64::try_from(kit::now().as_millis()).unwrap_or(0)
}
