//! The actuator: carries commands out on its node's Docker Engine, and says what became of each.
//!
//! It restarts and stops containers, puts new ones in their place, changes their limits in place, makes replicas of a template, removes
//! those again, and pulls the image of an update that a person ordered. For a move it tells how a container is made, sealed, and makes
//! one as another node told; the image goes from engine to engine where no registry has it (`images`). It takes a container out of its
//! networks, and puts it back. Where containers stand behind a load balancer, it keeps that in step with them, and drains one before it takes it away (`balancer`); of names in networks it does the same (`names`). Where containers may run on other
//! nodes, it says that it is there, tells beforehand how they are made, and stops what must not run twice once the log hears nothing of
//! it any more (`failover`), and restarts what is unhealthy while its node is alone. Every command runs at most once, never after its
//! deadline, and never when a newer leader has spoken: a ledger on disk knows what was begun, and what was begun when the process ended
//! is looked into, not repeated.
//!
//! But for those two it decides nothing. What it does do is refuse: it reads the container's labels itself at the time, and leaves
//! alone what is not opted in, what a person paused, what it did not make (when asked to remove it), and templates whose copy would be
//! privileged, share namespaces, bind-mount host paths or write to a volume (`safety` has the whole list).
//!
//! It does not touch containers by name, runs no credential helper, and does not wait until a replica is healthy: that is
//! for the controller to judge from samples.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod advice;
mod anew;
mod balancer;
mod config;
mod engine;
mod events;
mod execute;
mod failover;
mod given;
mod guard;
mod handler;
mod images;
mod isolate;
mod ledger;
mod limits;
mod locks;
mod moving;
mod names;
mod prepare;
mod pull;
mod recreate;
mod registry;
mod replica;
mod run;
mod safety;
mod seal;
mod settle;
mod tracker;

use std::sync::Arc;

use kit::Context;
use tokio::sync::Semaphore;

pub use balancer::Haproxy;
pub use config::Config;
pub use images::{Images, OfferError};
pub use ledger::LedgerError;
pub use names::Dns;
pub use seal::KeyError;

/// Two would only share the line; further ones wait for their turn, until their deadline.
const PULLS_AT_ONCE: usize = 1;

/// Why an actuator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node has no name.
    #[error("cannot read this host's name; set actuator.node")]
    Node(#[source] std::io::Error),
    /// The ledger cannot be used. Without it a command might run twice.
    #[error("the actuator does not run without its ledger")]
    Ledger(#[from] LedgerError),
    /// The key for moves cannot be used.
    #[error(
        "the actuator does not run with a key that cannot be used; leave out actuator.move_key_file to run without"
    )]
    Key(#[from] KeyError),
    /// Images cannot be offered to other nodes.
    #[error("the actuator does not run without offering images as it is told to")]
    Images(#[from] OfferError),
    /// The handling of a command panicked.
    #[error(
        "handling a command panicked, this is a defect: please report it with the log lines before"
    )]
    Panicked,
}

/// Carries out the commands for this node until the shutdown; then what the engine works on is waited for and answered.
///
/// # Errors
/// When the ledger or the key for moves cannot be opened or read, or the node has no name. An engine or a log that is away is waited for.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    let node = config.node_id().map_err(Error::Node)?;
    let key = config.move_key_file.as_deref();
    let key = key.map(seal::MoveKey::read).transpose()?;
    let ledger_health = context.health.dependency("ledger");
    let ledger = ledger::Ledger::open(config.state_dir.as_deref())?;
    ledger_health.up();
    let failover = failover::Failover::open(&config, key.as_ref(), &ledger, &context).await?;
    let names = names::Names::open(&config.dns, &ledger).await?;
    let (offers, listener) = images::Offers::open(&config, &node, key.as_ref()).await?;
    let docker_health = context.health.dependency("docker");
    let handler = Arc::new(handler::Handler {
        node,
        ceiling: config.max_mode,
        engine: engine::Engine::new(&config.docker_address(), docker_health),
        ledger,
        ledger_health,
        bus: context.bus.clone(),
        meta: wire::Meta::new(Arc::clone(&context.producer)),
        meters: events::Meters::new(&context.metrics),
        locks: locks::Locks::default(),
        slots: Semaphore::new(config.parallel()),
        pulls: Semaphore::new(PULLS_AT_ONCE),
        auth_file: config.registry_auth_file,
        key,
        offers,
        balancers: balancer::Balancers::new(&config.haproxy, &context.health),
        names,
        failover,
        shutdown: context.shutdown.clone(),
    });
    let unfinished = run::Unfinished::of(&handler).await?;
    let beside = futures::future::join5(
        run::ping(Arc::clone(&handler)),
        balancer::keep(Arc::clone(&handler)),
        names::keep(Arc::clone(&handler)),
        failover::keep(Arc::clone(&handler)),
        images::serve(Arc::clone(&handler), listener),
    );
    let commands = run::Loop::new(Arc::clone(&handler)).run(unfinished);
    tokio::pin!(beside, commands);
    tokio::select! {
        done = &mut commands => {
            done?;
            // It ended with the shutdown, which they hear too. After a failure they end here.
            beside.await;
        }
        _ = &mut beside => commands.await?,
    }
    handler.ledger.idle().await;
    Ok(())
}
