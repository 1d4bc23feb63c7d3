//! Container logs: json-file logs followed through rotations and restarts, lines joined, numbered and sent in batches.
//!
//! A position is advanced only once the log has confirmed the lines before it, so a restart reads again what may not have
//! arrived; those lines carry the numbers they had. When the log is slow reading stops, and the files keep what waits.

mod follow;
mod lane;
mod line;
mod orders;
mod position;
mod severity;
mod tail;
mod work;

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
pub(crate) use orders::Orders;
pub(crate) use position::PositionError;
pub(crate) use tail::Identity;

use crate::cgroup::Host;
use crate::deliver::{Fate, deliver};
use crate::events::{Instruments, PositionsUnsaved, Refused};
use crate::inspect::LogFile;
use crate::{Error, blocking};
use lane::{Batch, Lane};
use position::{Position, Positions};
use work::{Pace, Work};

/// Room for a burst of starts; full means the keeper of the node waits.
pub(crate) const COMMANDS_MAX: usize = 1024;
/// Time between two looks at files whose lines there is no room for: often enough to hold what is rotated away.
const HOLD_INTERVAL: Duration = Duration::from_millis(20);
/// Time between two looks at logs that had nothing new.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
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
        let positions = Positions::open(state_dir.map(|directory| directory.join("logs")))?;
        let work = Work::new(positions, partitions, host, instruments.clone());
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
            // They are read again by the next start.
            Fate::Closed => {}
        }
    }

    fn send(&mut self, take: fn(&mut Lane, Instant) -> Option<Batch>) {
        let now = Instant::now();
        for (partition, lane) in self.work.lanes() {
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
        if let Err(error) = self.work.save() {
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
