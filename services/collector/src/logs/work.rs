//! One round over all logs: what is done on a thread that may block on files.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use units::ContainerId;

use super::batch::Room;
use super::dispatch::{Dispatch, Launch};
use super::follow::Begin;
use super::lines::Treatment;
use super::position::{History, PositionError};
use super::shelf::{Loss, Missing, Pinned};
use super::tail::{self, Start, Tail, Then};
use super::watch::Watcher;
use super::{Command, Identity, Run, Seen};
use crate::cgroup::Host;
use crate::deliver::Fate;
use crate::events::{Instruments, LineCut, LinesLost, LinesRead, LogUnreadable};
use crate::inspect::{LogFile, Place};
use crate::tally::{Counts, Tally};

/// One read of one file; longer than any frame the engine writes (16 KiB, each byte escaped to six, and its envelope).
const READ_BYTES: usize = 256 * 1024;
/// Reads of one container before the next one's turn.
const READS_PER_TURN: usize = 4;

/// Every log that is followed, and its lines until they are sent.
pub(super) struct Work {
    tails: BTreeMap<ContainerId, Tail>,
    dispatch: Dispatch,
    partitions: u32,
    /// The number of partitions to be taken once nothing is under way by the old one: else a log's lines in one partition
    /// could arrive before earlier ones in another, and its position pass those.
    partitions_next: Option<u32>,
    host: Host,
    buffer: Vec<u8>,
    treatment: Treatment,
    pinned: Pinned,
    watcher: Option<Watcher>,
    tally: Arc<Tally>,
    instruments: Instruments,
}

/// What a [`Work`] is made of.
pub(super) struct Parts {
    pub(super) dispatch: Dispatch,
    pub(super) partitions: u32,
    pub(super) host: Host,
    pub(super) treatment: Treatment,
    /// Without one, logs are looked at before each read.
    pub(super) watcher: Option<Watcher>,
    pub(super) tally: Arc<Tally>,
    pub(super) instruments: Instruments,
}

/// What is left after a round; the later the more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// Nothing.
    Idle,
    /// Lines there is no room for until a batch arrives.
    Full,
    /// Lines that can be read at once.
    Busy,
}

impl Work {
    pub(super) fn new(parts: Parts) -> Work {
        let Parts {
            dispatch,
            partitions,
            host,
            treatment,
            watcher,
            tally,
            instruments,
        } = parts;
        Work {
            tails: BTreeMap::new(),
            dispatch,
            partitions,
            partitions_next: None,
            host,
            buffer: vec![0; READ_BYTES],
            treatment,
            pinned: Pinned::default(),
            watcher,
            tally,
            instruments,
        }
    }

    /// Writes down what has been delivered.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn save(&mut self) -> Result<(), PositionError> {
        self.dispatch.save()
    }

    /// What is to be sent now.
    pub(super) fn take_launches(&mut self) -> Vec<Launch> {
        self.dispatch.take_launches()
    }

    /// The record of this partition came to an end.
    pub(super) fn arrived(&mut self, partition: u32, fate: Fate) {
        self.dispatch.arrived(partition, fate);
    }

    /// Sends everything, due or not.
    pub(super) fn flush(&mut self, now: Instant) {
        self.dispatch.flush(now);
    }

    /// Whether nothing is left to be sent that is not on the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.dispatch.is_settled()
    }

    /// Whether lines wait on the disk.
    pub(super) fn is_behind(&self) -> bool {
        self.dispatch.has_backlog()
    }

    /// Puts on the disk what has not arrived, before the process ends.
    pub(super) fn rescue(&mut self, now: Instant) {
        self.dispatch.rescue(now);
    }

    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Open {
                identity,
                log,
                run,
                seen,
            } => self.open(identity, log, run, seen),
            Command::Ended(id) => {
                if let Some(tail) = self.tails.get_mut(&id) {
                    tail.ended();
                }
            }
            Command::Removed(id) => match self.tails.get_mut(&id) {
                Some(tail) => tail.removed(),
                None => self.forget(&id),
            },
            Command::Unread(id) => {
                self.tails.remove(&id);
                self.forget(&id);
            }
            Command::KeepOnly(ids) => {
                self.dispatch.positions.keep_only(&ids);
                self.tally.keep_only(&ids);
            }
            Command::Partitions(partitions) => self.partitions_next = Some(partitions),
        }
    }

    fn forget(&mut self, id: &ContainerId) {
        self.dispatch.positions.forget(id);
        self.tally.forget(id);
    }

    fn open(&mut self, identity: Identity, log: LogFile, run: Run, seen: Seen) {
        let id = identity.id.clone();
        let log = match log.place {
            Place::Own => log,
            Place::Host => LogFile {
                path: self.host.path(&log.path),
                ..log
            },
        };
        let tail = match self.tails.entry(id) {
            Entry::Occupied(entry) => {
                let tail = entry.into_mut();
                tail.renew(identity, log, &self.pinned);
                tail
            }
            Entry::Vacant(entry) => {
                let positions = &mut self.dispatch.positions;
                let begin = match (log.place, seen, positions.history(), run) {
                    (Place::Host, Seen::AtStart, History::Fresh, Run::Live | Run::Ended) => {
                        Begin::Newest
                    }
                    // What is written down here was chosen when it was.
                    (Place::Host | Place::Own, _, _, _) => Begin::Oldest,
                };
                let start = Start {
                    resume: positions.track(&identity.id),
                    begin,
                    treatment: self.treatment.clone(),
                    pinned: self.pinned.clone(),
                };
                entry.insert(Tail::new(identity, log, start))
            }
        };
        match run {
            Run::Expected => {}
            Run::Live => tail.live(),
            Run::Ended => tail.ended(),
        }
        if let Some(watcher) = &self.watcher {
            tail.watch(watcher);
        }
    }

    /// A turn for every log, and a step for what is on its way.
    pub(super) fn round(&mut self, now: Instant) -> Pace {
        self.repartition(now);
        let mut pace = Pace::Idle;
        let ids: Vec<ContainerId> = self.tails.keys().cloned().collect();
        for id in ids {
            match self.turn(&id, now) {
                Then::More => pace = pace.max(Pace::Busy),
                Then::Full => pace = pace.max(Pace::Full),
                Then::Wait => {}
                Then::Close => {
                    self.tails.remove(&id);
                }
                Then::Forget => {
                    self.tails.remove(&id);
                    self.forget(&id);
                }
            }
        }
        self.dispatch.tick(now);
        self.count_dropped();
        pace
    }

    fn turn(&mut self, id: &ContainerId, now: Instant) -> Then {
        let Some(tail) = self.tails.get_mut(id) else {
            return Then::Wait;
        };
        if let Some(watcher) = &self.watcher {
            tail.watch(watcher);
        }
        if self.partitions_next.is_some() {
            tail.hold();
            return Then::Full;
        }
        let partition =
            bus::partition_of(tail.identity.service.as_str().as_bytes(), self.partitions);
        for _ in 0..READS_PER_TURN {
            if self.dispatch.batch(partition).room() == Room::No {
                self.dispatch.send(partition, now);
            }
            let batch = self.dispatch.batch(partition);
            if batch.room() == Room::No {
                tail.hold();
                return Then::Full;
            }
            let mut gathered = batch.gather(&tail.identity);
            let read = tail.read(now, &mut self.buffer, &mut gathered);
            let (told, counts) = (gathered.told, gathered.counts);
            report(tail, &read, &counts, gathered.cut_bytes, &self.instruments);
            if counts != Counts::default() {
                self.tally.add(id, counts);
            }
            batch.mark(id, told, tail.moved(&read), now);
            if let Some(told) = told {
                self.dispatch.positions.goes_to(id, partition, told.from);
            }
            match read.then {
                // With a full batch the next turn of the loop sends it, or says that there is no room.
                Then::More | Then::Full => {}
                Then::Wait | Then::Forget => return read.then,
                Then::Close => {
                    if let Some(position) = read.position {
                        self.dispatch.positions.close(id, position);
                    }
                    return Then::Close;
                }
            }
        }
        Then::More
    }

    /// Counts lines dropped from the disk. The line after them tells, when it is sent.
    fn count_dropped(&mut self) {
        for (id, lines) in self.dispatch.take_dropped() {
            let lost = Counts {
                lost: lines,
                ..Counts::default()
            };
            self.tally.add(&id, lost);
            let missing = Missing {
                loss: Loss::Spool,
                lines,
            };
            let container = match self.tails.get(&id) {
                Some(tail) => tail.identity.name.as_str(),
                None => id.short(),
            };
            LinesLost { container, missing }.emit(&self.instruments);
        }
    }

    fn repartition(&mut self, now: Instant) {
        let Some(partitions) = self.partitions_next else {
            return;
        };
        self.dispatch.flush(now);
        if self.dispatch.is_settled() {
            self.partitions = partitions;
            self.partitions_next = None;
        }
    }
}

fn report(
    tail: &Tail,
    read: &tail::Read,
    counts: &Counts,
    cut_bytes: u64,
    instruments: &Instruments,
) {
    let container = &tail.identity.name;
    if read.bytes > 0 || counts.lines > 0 {
        LinesRead {
            lines: counts.lines,
            bytes: read.bytes,
        }
        .emit(instruments);
    }
    for missing in &read.missing {
        LinesLost {
            container: container.as_str(),
            missing: *missing,
        }
        .emit(instruments);
    }
    if cut_bytes > 0 {
        LineCut {
            container,
            bytes: cut_bytes,
        }
        .emit();
    }
    if let Some(error) = &read.failure {
        LogUnreadable {
            container,
            path: tail.path(),
            error,
        }
        .emit();
    }
}
