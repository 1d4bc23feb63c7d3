//! Tells people: signals that open, change and end, actions and their verdicts, and the breaker, through generic
//! webhooks, Slack and PagerDuty.
//!
//! It reads `homeostat.signals` and `homeostat.journal` as the group `homeostat-notifier`. Each sink has a bounded
//! lane of its own and keeps its own pace, so that one that is slow or away does not hold up the others. A record is
//! committed once every sink has taken its notice or it was given up, so a crash repeats a notice rather than losing
//! it; message ids and dedup keys are the same each time, and receivers drop the duplicate.
//!
//! What it does not do: it decides nothing about severity, keeps no silences or rotas (those are the sinks'
//! business), follows no redirects, and answers no buttons.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bucket;
mod config;
mod events;
#[cfg(test)]
mod examples;
mod feed;
mod http;
mod lane;
mod notice;
mod payload;
mod probe;
mod progress;
mod reader;
mod sink;
mod worker;

use std::sync::Arc;

use bus::BusError;
use kit::Context;
use tokio::task::JoinSet;
use wire::topic;

pub use config::{Config, Kind, SinkConfig};
pub use probe::{ProbeError, Receipt, probe};

use reader::{GROUP, Reader};
use worker::{Channel, Worker};

/// What ends the notifier.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A sink cannot be used as it is configured.
    #[error("notifier.{key}: {message}; `homeostat config check` lists all problems")]
    Config {
        /// The first key that is wrong.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client for notifications")]
    Client(#[source] reqwest::Error),
    /// The log cannot be read.
    #[error("the notifier cannot read the log")]
    Read(#[source] BusError),
}

/// Tells people until shutdown. Without sinks it only waits for that.
///
/// # Errors
/// When a sink is not usable, or the log cannot be read any more.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    let sinks = config.build().map_err(|problems| {
        let first = problems.into_iter().next();
        let (key, message) = first.map_or_else(Default::default, |it| (it.key, it.message));
        Error::Config { key, message }
    })?;
    if sinks.is_empty() {
        tracing::info!("no sinks are configured, so nobody is notified; see notifier.sinks");
        context.shutdown.cancelled().await;
        return Ok(());
    }
    let client = http::client().map_err(Error::Client)?;
    let log = context.health.dependency(kit::boot::LOG);
    let topics = [topic::SIGNALS, topic::JOURNAL];
    let subscription = context
        .bus
        .subscribe(GROUP, &topics)
        .await
        .map_err(Error::Read)?;
    log.up();
    let mut channels = Vec::new();
    let mut workers = JoinSet::new();
    for sink in sinks {
        events::prepare(&context.metrics, &sink.name);
        let channel = Arc::new(Channel::new(sink));
        channels.push(Arc::clone(&channel));
        workers.spawn(Worker::new(channel, client.clone(), context.clone()).run());
    }
    let reader = Reader::new(context.clone(), channels, config.max_age.get());
    let read = reader.run(subscription, workers).await;
    read.map_err(|error| {
        log.down(&error);
        Error::Read(error)
    })
}
