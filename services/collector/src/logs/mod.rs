//! Container logs: files of the json-file and local drivers followed through rotations and restarts, lines joined, numbered and
//! sent in batches.
//!
//! A position is advanced only once the lines before it are confirmed by the log or safe in the spool, so a restart reads again
//! what may not have arrived; those lines carry the numbers they had. While the log is away lines go to the spool. Without one
//! reading stops, and the files keep what waits.

mod backlog;
mod batch;
mod dispatch;
mod follow;
mod frame;
mod gaps;
mod gunzip;
mod lane;
mod lines;
mod orders;
mod position;
mod scribe;
mod scribes;
mod settings;
mod shelf;
mod tail;
mod watch;
mod work;

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod drops;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::Bus;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use units::ContainerId;

pub(crate) use orders::Orders;
pub(crate) use position::PositionError;
pub(crate) use scribe::ScribeError;
pub use settings::{LogConfig, LogsFrom, SpoolConfig};
pub(crate) use shelf::{Loss, Missing};
pub(crate) use tail::Identity;

use crate::cgroup::Host;
use crate::deliver::{Fate, deliver};
use crate::events::{Instruments, PositionsUnsaved, SpoolFound, Unwatched};
use crate::inspect::LogFile;
use crate::tally::Tally;
use crate::{Error, blocking};
use backlog::Backlog;
use dispatch::{Dispatch, Launch};
use position::Positions;
use watch::Watcher;
use work::{Pace, Parts, Work};

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
    /// The topic of logs has so many partitions, other than was thought.
    Partitions(u32),
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
    bus: Bus,
    woken: Arc<Notify>,
    instruments: Instruments,
    saved_at: Instant,
}

/// A record under way: its partition and what became of it.
type UnderWay = BoxFuture<'static, (u32, Fate)>;

/// What a tailer needs of its surroundings.
pub(crate) struct Surroundings {
    pub(crate) bus: Bus,
    pub(crate) meta: wire::Meta,
    pub(crate) partitions: u32,
    /// Where positions and the spool are kept; absent, memory only.
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) host: Host,
    pub(crate) tally: Arc<Tally>,
    pub(crate) instruments: Instruments,
}

/// Why logs cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The positions cannot be kept.
    #[error("cannot keep the positions in container logs")]
    Positions(#[from] PositionError),
    /// The spool cannot be used.
    #[error("cannot keep log lines on disk while the log is away")]
    Spool(#[from] spool::SpoolError),
    /// The spool's bounds cannot hold.
    #[error("cannot keep log lines within collector.spool")]
    Limits(#[from] spool::LimitsError),
    /// A redaction pattern cannot be used.
    #[error("cannot redact log lines by collector.log")]
    Redaction(#[from] formats::log::redact::RedactError),
}

enum Event {
    Shutdown,
    Command(Command),
    Arrived(u32, Fate),
    Poll,
}

impl Tailer {
    /// A tailer that gets its commands over the channel given back.
    ///
    /// # Errors
    /// When the directory for what has to survive cannot be used, or the configuration was not validated.
    pub(crate) fn new(
        around: Surroundings,
        log: &LogConfig,
        spool: &SpoolConfig,
    ) -> Result<(mpsc::Sender<Command>, Tailer), StartError> {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let Surroundings {
            bus,
            meta,
            partitions,
            state_dir,
            host,
            tally,
            instruments,
        } = around;
        let woken = Arc::new(Notify::new());
        let watcher = Watcher::start(Arc::clone(&woken));
        let watcher = watcher.inspect_err(|error| Unwatched { error }.emit()).ok();
        let (positions, backlog) = kept(state_dir.as_deref(), spool.log_limits()?)?;
        let work = Work::new(Parts {
            dispatch: Dispatch::new(positions, backlog, meta, instruments.clone()),
            partitions,
            host,
            treatment: log.treatment()?,
            watcher,
            tally,
            instruments: instruments.clone(),
        });
        let tailer = Tailer {
            commands,
            work,
            under_way: FuturesUnordered::new(),
            bus,
            woken,
            instruments,
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
                Event::Arrived(partition, fate) => {
                    self.work.arrived(partition, fate);
                    if pace == Pace::Full || self.work.is_behind() {
                        poll_at = tokio::time::Instant::now();
                    }
                }
                Event::Poll => {
                    (self, pace) = self.round().await?;
                    poll_at = tokio::time::Instant::now()
                        + match pace {
                            Pace::Busy => Duration::ZERO,
                            Pace::Full => HOLD_INTERVAL,
                            Pace::Idle => POLL_INTERVAL,
                        };
                }
            }
        }
        // Past the deadline the lines that were not confirmed go to the disk, or are read again by the next start.
        let _ = tokio::time::timeout(DRAIN_DEADLINE, self.drain()).await;
        let mut work = self.work;
        blocking("keep container logs", move || {
            work.rescue(Instant::now());
            save(&mut work);
        })
        .await
    }

    async fn next(&mut self, shutdown: &CancellationToken, poll_at: tokio::time::Instant) -> Event {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Event::Shutdown,
            Some(command) = self.commands.recv() => Event::Command(command),
            Some((partition, fate)) = self.under_way.next(), if !self.under_way.is_empty() => {
                Event::Arrived(partition, fate)
            }
            () = self.woken.notified() => Event::Poll,
            () = tokio::time::sleep_until(poll_at) => Event::Poll,
        }
    }

    /// Reads, encodes and writes on a thread that may block, and sends what comes of it.
    async fn round(mut self) -> Result<(Tailer, Pace), Error> {
        let is_due = self.saved_at.elapsed() >= SAVE_INTERVAL;
        if is_due {
            self.saved_at = Instant::now();
        }
        let mut work = self.work;
        let (work, pace) = blocking("read container logs", move || {
            let pace = work.round(Instant::now());
            if is_due {
                save(&mut work);
            }
            (work, pace)
        })
        .await?;
        self.work = work;
        self.launch();
        Ok((self, pace))
    }

    fn launch(&mut self) {
        for launch in self.work.take_launches() {
            let Launch {
                partition,
                record,
                rows,
            } = launch;
            let (bus, instruments) = (self.bus.clone(), self.instruments.clone());
            self.under_way.push(Box::pin(async move {
                (partition, deliver(&bus, record, rows, &instruments).await)
            }));
        }
    }

    /// Sends everything and waits until it arrived.
    async fn drain(&mut self) {
        self.work.flush(Instant::now());
        self.launch();
        while !self.work.is_settled()
            && let Some((partition, fate)) = self.under_way.next().await
        {
            self.work.arrived(partition, fate);
            self.work.flush(Instant::now());
            self.launch();
        }
    }
}

fn save(work: &mut Work) {
    if let Err(error) = work.save() {
        PositionsUnsaved { error: &error }.emit();
    }
}

/// What was kept by the last start.
fn kept(
    state_dir: Option<&Path>,
    limits: spool::Limits,
) -> Result<(Positions, Option<Backlog>), StartError> {
    let Some(state_dir) = state_dir else {
        return Ok((Positions::open(None)?, None));
    };
    let mut positions = Positions::open(Some(state_dir.join("logs")))?;
    let now_unix_ms = u64::try_from(kit::now().as_millis()).unwrap_or(0);
    let directory = state_dir.join("spool").join("logs");
    let (backlog, found) = Backlog::open(&directory, limits, now_unix_ms)?;
    SpoolFound {
        what: "log lines",
        entries: found.covers.len() as u64,
        damaged: found.recovery.entries_lost,
    }
    .emit();
    for (partition, covers) in found.covers {
        positions.spooled(partition, covers);
    }
    Ok((positions, Some(backlog)))
}
