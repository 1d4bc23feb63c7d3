//! One round over all logs: what is done on a thread that may block on files.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Instant;

use units::ContainerId;

use super::follow::Begin;
use super::lane::Lane;
use super::position::{History, Position, PositionError, Positions};
use super::tail::{self, Tail, Then};
use super::{Command, Identity, Run, Seen};
use crate::cgroup::Host;
use crate::events::{Instruments, LineCut, LinesLost, LinesRead, LogUnreadable};
use crate::inspect::LogFile;

/// One read of one file; longer than any line the engine writes (16 KiB, each byte escaped to six, and its envelope).
const READ_BYTES: usize = 128 * 1024;
/// Reads of one container before the next one's turn.
const READS_PER_TURN: usize = 4;

/// Every log that is followed, and its lines until they are sent.
pub(super) struct Work {
    tails: BTreeMap<ContainerId, Tail>,
    lanes: BTreeMap<u32, Lane>,
    positions: Positions,
    partitions: u32,
    host: Host,
    buffer: Vec<u8>,
    instruments: Instruments,
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
    pub(super) fn new(
        positions: Positions,
        partitions: u32,
        host: Host,
        instruments: Instruments,
    ) -> Work {
        Work {
            tails: BTreeMap::new(),
            lanes: BTreeMap::new(),
            positions,
            partitions,
            host,
            buffer: vec![0; READ_BYTES],
            instruments,
        }
    }

    /// Writes down what has been delivered.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn save(&mut self) -> Result<(), PositionError> {
        self.positions.save()
    }

    /// The lines that wait, by partition.
    pub(super) fn lanes(&mut self) -> impl Iterator<Item = (&u32, &mut Lane)> {
        self.lanes.iter_mut()
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
                None => self.positions.forget(&id),
            },
            Command::Unread(id) => {
                self.tails.remove(&id);
                self.positions.forget(&id);
            }
            Command::KeepOnly(ids) => self.positions.keep_only(&ids),
        }
    }

    fn open(&mut self, identity: Identity, log: LogFile, run: Run, seen: Seen) {
        let id = identity.id.clone();
        let log = LogFile {
            path: self.host.path(&log.path),
            ..log
        };
        let tail = match self.tails.entry(id) {
            Entry::Occupied(entry) => {
                let tail = entry.into_mut();
                tail.renew(identity, log);
                tail
            }
            Entry::Vacant(entry) => {
                let begin = match (seen, self.positions.history(), run) {
                    (Seen::AtStart, History::Fresh, Run::Live | Run::Ended) => Begin::Newest,
                    (Seen::AtStart, _, _) | (Seen::Later, _, _) => Begin::Oldest,
                };
                let position = self.positions.track(&identity.id);
                entry.insert(Tail::new(identity, log, position, begin))
            }
        };
        match run {
            Run::Expected => {}
            Run::Live => tail.live(),
            Run::Ended => tail.ended(),
        }
    }

    /// A turn for every log.
    pub(super) fn round(&mut self) -> Pace {
        let mut pace = Pace::Idle;
        let ids: Vec<ContainerId> = self.tails.keys().cloned().collect();
        for id in ids {
            match self.turn(&id) {
                Then::More => pace = pace.max(Pace::Busy),
                Then::Full => pace = pace.max(Pace::Full),
                Then::Wait => {}
                Then::Close => {
                    self.tails.remove(&id);
                }
                Then::Forget => {
                    self.tails.remove(&id);
                    self.positions.forget(&id);
                }
            }
        }
        pace
    }

    fn turn(&mut self, id: &ContainerId) -> Then {
        let Some(tail) = self.tails.get_mut(id) else {
            return Then::Wait;
        };
        let partition =
            bus::partition_of(tail.identity.service.as_str().as_bytes(), self.partitions);
        let lane = self.lanes.entry(partition).or_default();
        let mut lines = Vec::new();
        for _ in 0..READS_PER_TURN {
            if !lane.has_room() {
                tail.hold();
                return Then::Full;
            }
            let read = tail.read(Instant::now(), &mut self.buffer, &mut lines);
            report(tail, &read, lines.len(), &self.instruments);
            lane.push(&mut lines, Instant::now());
            if let Some(position) = read.position {
                lane.mark(id, position);
            }
            match read.then {
                Then::More => {}
                Then::Full | Then::Wait | Then::Close | Then::Forget => {
                    let free = lane.take_free_positions();
                    let then = read.then;
                    if let (Then::Close, Some(position)) = (then, read.position) {
                        self.positions.close(id, position);
                    }
                    self.advance(free);
                    return then;
                }
            }
        }
        Then::More
    }

    pub(super) fn advance(&mut self, positions: BTreeMap<ContainerId, Position>) {
        for (id, position) in positions {
            self.positions.advance(&id, position);
        }
    }

    pub(super) fn lane(&mut self, partition: u32) -> &mut Lane {
        self.lanes.entry(partition).or_default()
    }
}

fn report(tail: &Tail, read: &tail::Read, lines: usize, instruments: &Instruments) {
    let container = &tail.identity.name;
    if read.bytes > 0 || lines > 0 {
        LinesRead {
            lines,
            bytes: read.bytes,
        }
        .emit(instruments);
    }
    for loss in &read.losses {
        LinesLost {
            container,
            loss: *loss,
        }
        .emit(instruments);
    }
    if read.cut_bytes > 0 {
        LineCut {
            container,
            bytes: read.cut_bytes,
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
