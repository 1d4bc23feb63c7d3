//! Container logs: json-file logs followed through rotations and restarts, lines joined, numbered and sent in batches.
//!
//! A position is advanced only once the log has confirmed the lines before it, so a restart reads again what may not have
//! arrived; those lines carry the numbers they had. When the log is slow reading stops, and the files keep what waits.

mod follow;
mod lane;
mod line;
mod position;
mod severity;
mod tail;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bus::Bus;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use units::ContainerId;

pub(crate) use follow::Loss;
pub(crate) use position::PositionError;
pub(crate) use tail::Identity;

use crate::cgroup::Host;
use crate::deliver::{Fate, deliver};
use crate::events::{
    Instruments, LineCut, LinesLost, LinesRead, LogUnreadable, PositionsUnsaved, Refused,
};
use crate::inspect::LogFile;
use crate::{Error, blocking};
use follow::Begin;
use lane::{Batch, Lane};
use position::{History, Position, Positions};
use tail::{Tail, Then};

/// Room for a burst of starts; full means the keeper of the node waits.
pub(crate) const COMMANDS_MAX: usize = 1024;
/// Time between two looks at files whose lines there is no room for: often enough to hold what is rotated away.
const HOLD_INTERVAL: Duration = Duration::from_millis(20);
/// Time between two looks at logs that had nothing new.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// One read of one file; longer than any line the engine writes (16 KiB, each byte escaped to six, and its envelope).
const READ_BYTES: usize = 128 * 1024;
/// Reads of one container before the next one's turn.
const READS_PER_TURN: usize = 4;
/// Positions are written down this often; a crash reads again what came after.
const SAVE_INTERVAL: Duration = Duration::from_secs(2);
/// Lines under way when the process ends have this long to be confirmed; those that are not are read again.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// What the keeper of the node tells the reader of logs.
#[derive(Debug)]
pub(crate) enum Command {
    /// There is a log to follow; said again, it renews identity and run.
    Open {
        identity: Identity,
        log: LogFile,
        run: Run,
        seen: Seen,
    },
    /// The container has ended; what it wrote is read to the end.
    Ended(ContainerId),
    /// The container is gone; as ended, and its position is dropped.
    Removed(ContainerId),
    /// The container's output is not in a file after all.
    Unread(ContainerId),
    /// Positions of any other containers are dropped.
    KeepOnly(BTreeSet<ContainerId>),
}

/// Whether a container may still write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// It was made and not started: there may be no file yet.
    Expected,
    /// It may write.
    Live,
    /// It has ended.
    Ended,
}

/// When a container was seen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was there when the collector started.
    AtStart,
    /// It came later: all it says is new.
    Later,
}

/// Reads the logs of a node's containers.
pub(crate) struct Tailer {
    commands: mpsc::Receiver<Command>,
    work: Work,
    under_way: FuturesUnordered<UnderWay>,
    sender: Sender,
    saved_at: Instant,
}

/// A batch under way: its partition, what it delivers and what became of it.
type UnderWay = BoxFuture<'static, (u32, BTreeMap<ContainerId, Position>, Fate)>;

/// What is handed to a thread that may block on files.
struct Work {
    tails: BTreeMap<ContainerId, Tail>,
    lanes: BTreeMap<u32, Lane>,
    positions: Positions,
    partitions: u32,
    host: Host,
    buffer: Vec<u8>,
    instruments: Instruments,
}

struct Sender {
    bus: Bus,
    meta: wire::Meta,
    instruments: Instruments,
}

enum Event {
    Shutdown,
    Command(Command),
    Arrived(u32, BTreeMap<ContainerId, Position>, Fate),
    Poll,
}

/// What is left after a round; the later the more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pace {
    /// Nothing.
    Idle,
    /// Lines there is no room for until a batch arrives.
    Full,
    /// Lines that can be read at once.
    Busy,
}

impl Tailer {
    /// A tailer that keeps positions in `state_dir`, and gets its commands over the channel given back.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub(crate) fn new(
        bus: Bus,
        meta: wire::Meta,
        partitions: u32,
        state_dir: Option<PathBuf>,
        host: Host,
        instruments: Instruments,
    ) -> Result<(mpsc::Sender<Command>, Tailer), PositionError> {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let work = Work {
            tails: BTreeMap::new(),
            lanes: BTreeMap::new(),
            positions: Positions::open(state_dir.map(|directory| directory.join("logs")))?,
            partitions,
            host,
            buffer: vec![0; READ_BYTES],
            instruments: instruments.clone(),
        };
        let tailer = Tailer {
            commands,
            work,
            under_way: FuturesUnordered::new(),
            sender: Sender {
                bus,
                meta,
                instruments,
            },
            saved_at: Instant::now(),
        };
        Ok((sender, tailer))
    }

    /// Reads until `shutdown`, then waits for what is under way and writes the positions down.
    ///
    /// # Errors
    /// When reading panics.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut poll_at = tokio::time::Instant::now();
        let mut pace = Pace::Idle;
        loop {
            match self.next(&shutdown, poll_at).await {
                Event::Shutdown => break,
                Event::Command(command) => {
                    // At once: a container that has just started may be gone with the next poll.
                    poll_at = tokio::time::Instant::now();
                    self.work.obey(command);
                }
                Event::Arrived(partition, positions, fate) => {
                    self.arrived(partition, positions, fate);
                    if pace == Pace::Full {
                        poll_at = tokio::time::Instant::now();
                    }
                }
                Event::Poll => {
                    let mut work = self.work;
                    (self.work, pace) = blocking("read container logs", move || {
                        let pace = work.round();
                        (work, pace)
                    })
                    .await?;
                    poll_at = tokio::time::Instant::now()
                        + match pace {
                            Pace::Busy => Duration::ZERO,
                            Pace::Full => HOLD_INTERVAL,
                            Pace::Idle => POLL_INTERVAL,
                        };
                    self.save_in_time();
                }
            }
            self.send(Lane::take_due);
        }
        // Past the deadline the lines that were not confirmed are read again by the next start.
        let _ = tokio::time::timeout(DRAIN_DEADLINE, self.drain()).await;
        self.save();
        Ok(())
    }

    async fn next(&mut self, shutdown: &CancellationToken, poll_at: tokio::time::Instant) -> Event {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Event::Shutdown,
            Some(command) = self.commands.recv() => Event::Command(command),
            Some((partition, positions, fate)) = self.under_way.next(), if !self.under_way.is_empty() => {
                Event::Arrived(partition, positions, fate)
            }
            () = tokio::time::sleep_until(poll_at) => Event::Poll,
        }
    }

    fn arrived(&mut self, partition: u32, positions: BTreeMap<ContainerId, Position>, fate: Fate) {
        self.work.lane(partition).sent();
        match fate {
            // What was refused would be refused again: going back to it would stop the log for good.
            Fate::Delivered | Fate::Refused => self.work.advance(positions),
        }
    }

    fn send(&mut self, take: fn(&mut Lane, Instant) -> Option<Batch>) {
        let now = Instant::now();
        for (partition, lane) in &mut self.work.lanes {
            if let Some(batch) = take(lane, now) {
                self.under_way.push(self.sender.start(*partition, batch));
            }
        }
    }

    async fn drain(&mut self) {
        self.send(|lane, _| lane.take());
        while let Some((partition, positions, fate)) = self.under_way.next().await {
            self.arrived(partition, positions, fate);
            self.send(|lane, _| lane.take());
        }
    }

    fn save_in_time(&mut self) {
        if self.saved_at.elapsed() >= SAVE_INTERVAL {
            self.saved_at = Instant::now();
            self.save();
        }
    }

    fn save(&mut self) {
        if let Err(error) = self.work.positions.save() {
            PositionsUnsaved { error: &error }.emit();
        }
    }
}

impl Sender {
    fn start(&self, partition: u32, batch: Batch) -> UnderWay {
        let span = tracing::info_span!("logs", partition, lines = batch.lines.len());
        let meta = self.meta.within(kit::trace::traceparent(&span));
        let rows = batch.lines.len() as u64;
        let encoded = wire::encode_logs(&batch.lines, partition, &meta);
        let (bus, instruments) = (self.bus.clone(), self.instruments.clone());
        Box::pin(async move {
            let fate = match encoded {
                Ok(record) => deliver(&bus, record, rows, &instruments).await,
                Err(error) => {
                    Refused {
                        topic: wire::topic::LOGS,
                        rows,
                        problem: &error,
                    }
                    .emit(&instruments);
                    Fate::Refused
                }
            };
            (partition, batch.positions, fate)
        })
    }
}

impl Work {
    fn obey(&mut self, command: Command) {
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
    fn round(&mut self) -> Pace {
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

    fn advance(&mut self, positions: BTreeMap<ContainerId, Position>) {
        for (id, position) in positions {
            self.positions.advance(&id, position);
        }
    }

    fn lane(&mut self, partition: u32) -> &mut Lane {
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
