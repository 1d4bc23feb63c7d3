//! The analytics role: samples, log lines, links and series of nodes in, signals and forecasts out.
//!
//! Instances share the partitions of samples and logs through a consumer group. Each partition has a pure core (`detect` and
//! `forecast` behind one closed set of events and effects); this crate feeds it in the order of the log, writes what it
//! tells, and keeps its state in a checkpoint. A checkpoint is written only after every signal before it is in the log, and
//! positions are committed only after their checkpoint; whatever moment a process is ended at, the next one resumes from the
//! checkpoint and tells what was not told, under the same ids. Inventory is followed without a group: it is the nodes'
//! heartbeat, and says when a container is gone. Feedback is followed the same way, by every instance: a dismissal raises the bar in
//! whichever partition its subject is. So are signals about nodes, which explain what
//! containers show elsewhere, and the models of services, which this crate trains now and then of what it has seen (`train`) and
//! scores containers by.
//!
//! What this crate does not do: it decides nothing about actions, and groups no signals into incidents. Delivery is at least
//! once: a signal may be told twice, and is recognised by its id, phase and time. What the models are trained on is held in memory
//! alone: after a restart it is gathered anew, while the models go on from their topic.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod checkpoint;
mod config;
mod core;
mod events;
mod feedback;
mod learning;
mod merge;
mod outbox;
mod partition;
mod patterns;
mod shell;
mod sizing;
mod tails;
mod watched;

pub use config::{Config, Switch, Training};

use kit::Context;

/// Why the role ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log was closed under it.
    #[error("the log cannot be used any more")]
    Log(#[source] bus::BusError),
}

/// Runs the role until `context.shutdown` fires, then writes a last checkpoint, within a few seconds, and returns.
///
/// # Errors
/// When the log was closed by this process. A log that is away is waited for.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    shell::Shell::new(config, context).run().await
}
