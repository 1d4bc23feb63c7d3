//! The collector: streams what the containers of one node do into the log.
//!
//! It finds containers by the engine's API and its events, reads their usage from cgroup and `/proc` files it keeps open, and
//! follows their logs. It publishes samples each second, events as they happen, log lines in batches, and the node's inventory,
//! which is also its heartbeat.
//!
//! It changes nothing: of the engine's API it uses reading requests only, and of the host it writes but its own positions in
//! container logs. It judges nothing either: counters travel as they are, and what could not be read is absent.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cgroup;
mod config;
mod containers;
mod deliver;
mod docker;
mod errands;
mod events;
mod events_mark;
mod extras;
mod freight;
mod haproxy;
mod host;
mod inspect;
mod inspects;
mod lanes;
mod logs;
mod node;
mod outbox;
mod pacing;
mod partitions;
mod parts;
mod roster;
mod sampler;
mod scrape;
mod shelf;
mod sockets;
mod sources;
mod spec;
mod tally;

use std::io;
use std::path::PathBuf;

pub use config::{Config, Logs};
pub use haproxy::{NotASocket, Socket};
pub use logs::{LogConfig, LogsFrom, SpoolConfig};
pub use sources::{Haproxy, HostSeries, Layers, Scrape, Sockets, Switch};

use partitions::Partitions;
use parts::Parts;

/// The engine's name among what this role depends on.
const ENGINE: &str = "docker";

/// Why the collector cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no name that could be read.
    #[error("cannot read this host's name; set collector.node")]
    HostName(#[source] io::Error),
    /// The host's mounts cannot be read.
    #[error("cannot read the mounts of the host under {}; mount its /proc there, or correct collector.host_root", root.display())]
    Mounts {
        /// Where the host's files were looked for.
        root: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory of what is kept across restarts cannot be made.
    #[error("cannot make {}; correct collector.state_dir, or leave it out to keep nothing", directory.display())]
    State {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The bounds of the spool do not fit together.
    #[error("the bounds in collector.spool cannot hold")]
    SpoolLimits(#[from] spool::LimitsError),
    /// The spool on disk cannot be used.
    #[error("cannot keep records on disk while the log is away")]
    Spool(#[from] spool::SpoolError),
    /// Positions in container logs cannot be kept.
    #[error("cannot keep positions in container logs; correct collector.state_dir")]
    Positions(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A thread that reads files panicked.
    #[error(
        "the thread to {work} failed; this is a defect of Homeostat, please report it with its log"
    )]
    Thread {
        /// What it did.
        work: &'static str,
        /// How it ended.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// Whether a collector with this configuration has met the log before, so that it can start while the log is away.
pub fn knows_the_log(config: &Config) -> bool {
    Partitions::new(config.state_dir.as_deref())
        .read()
        .is_some()
}

/// Collects until `context.shutdown` fires, then sends what waits and returns.
///
/// An engine or a log that is away is waited for; both show in `context.health`.
///
/// # Errors
/// When this host cannot be read, a directory for state cannot be used, or a reading thread panics.
pub async fn run(config: Config, context: kit::Context) -> Result<(), Error> {
    // Named before anything is waited for: until the engine answers, this process is not ready.
    context.health.dependency(ENGINE);
    let known = Partitions::new(config.state_dir.as_deref());
    let Some(partitions) = known.get(&context).await else {
        return Ok(());
    };
    let parts = Parts::assemble(config, &context, partitions)?;
    let check = known.check(&context, partitions, parts.log_orders());
    tokio::select! {
        worked = parts.work(&context.shutdown) => worked,
        never = async { check.await; std::future::pending().await } => never,
    }
}

/// Reads files on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: &'static str,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|source| Error::Thread { work, source })
}
