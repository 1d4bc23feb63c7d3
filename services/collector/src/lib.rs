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
mod events;
mod inspect;
mod inspects;
mod logs;
mod node;
mod outbox;
mod partitions;
mod roster;
mod sampler;
mod tally;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Logs};
pub use logs::{LogConfig, SpoolConfig, Switch};

use cgroup::Host;
use events::Instruments;
use logs::{Orders, Surroundings, Tailer};
use node::{Keeper, Node};
use outbox::Outbox;
use partitions::Partitions;
use roster::Roster;
use sampler::Sampler;
use tally::Tally;

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

/// Collects until `context.shutdown` fires, then sends what waits and returns.
///
/// An engine or a log that is away is waited for; both show in `context.health`.
///
/// # Errors
/// When this host cannot be read, or a reading thread panics.
pub async fn run(config: Config, context: kit::Context) -> Result<(), Error> {
    let node = config.node_id().map_err(Error::HostName)?;
    let root = config.host_root();
    let host = Host::open(&root).map_err(|source| Error::Mounts { root, source })?;
    let health = context.health.dependency("docker");
    let instruments = Instruments::new(&context.metrics);
    let meta = wire::Meta::new(Arc::clone(&context.producer));
    let known = Partitions::new(config.state_dir.as_deref());
    let Some(partitions) = known.get(&context).await else {
        return Ok(());
    };
    let tally = Arc::new(Tally::default());
    let (outbox, sending) = Outbox::new(context.bus.clone(), instruments.clone());
    let (roster_sender, roster) = watch::channel(Arc::new(Roster::default()));
    let (log_commands, tailer) = match config.logs {
        Logs::Off => (None, None),
        Logs::On => {
            let around = Surroundings {
                bus: context.bus.clone(),
                meta: meta.clone(),
                partitions,
                state_dir: config.state_dir.clone(),
                host: host.clone(),
                tally: Arc::clone(&tally),
                instruments: instruments.clone(),
            };
            let tailer = Tailer::new(around, &config.log, &config.spool);
            let (commands, tailer) = tailer.map_err(|error| Error::Positions(error.into()))?;
            (Some(commands), Some(tailer))
        }
    };
    let keeper = Node::new(Keeper {
        node: node.clone(),
        address: config.docker_address(),
        cgroup: host.flavour().as_str(),
        inventory_interval: config.inventory_interval.get(),
        health,
        outbox: outbox.clone(),
        roster: roster_sender,
        logs: Orders::new(log_commands.clone()),
        meta: meta.clone(),
    });
    let sampler = Sampler {
        node,
        host,
        interval: config.interval.get(),
        partitions,
        roster,
        outbox,
        meta,
        instruments,
    };
    let check = known.check(&context, partitions, log_commands);
    tokio::select! {
        worked = work(keeper, sampler, tailer, sending, &context.shutdown) => worked,
        never = async { check.await; std::future::pending().await } => never,
    }
}

/// Runs the parts until `shutdown`, or until one of them fails and takes the others with it.
async fn work(
    keeper: Node,
    sampler: Sampler,
    tailer: Option<Tailer>,
    sending: outbox::Sending,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let stop = shutdown.child_token();
    // The sender ends by itself, once the others have dropped their outboxes.
    let sending = tokio::spawn(sending.run());
    let stopping = |result: Result<(), Error>| {
        stop.cancel();
        result
    };
    let keep = async {
        keeper.run(stop.clone()).await;
        stopping(Ok(()))
    };
    let sample = async { stopping(sampler.run(stop.clone()).await) };
    let tail = async {
        match tailer {
            Some(tailer) => stopping(tailer.run(stop.clone()).await),
            None => Ok(()),
        }
    };
    let (kept, sampled, tailed) = tokio::join!(keep, sample, tail);
    let sent = sending.await.map_err(|source| Error::Thread {
        work: "send records",
        source,
    });
    kept.and(sampled).and(tailed).and(sent)
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
