//! Load balancers before the containers of this node: a container is in them while it serves, and out of them, drained, before it is
//! taken away.
//!
//! [`keep`] puts containers in and takes out those that are gone; [`Balancers::take_out`] is what a command does first that takes one
//! away. Both speak HAProxy's Runtime API, so that nothing is reloaded and no connection of others ends. The balancer's own check
//! decides when a new server gets requests: it is added drained, and made ready once the check succeeds.
//!
//! Several nodes share a balancer. A server belongs to the node whose ledger has its name, which it gets from the id of a container
//! seen there; servers of other names, and of other nodes, are never touched.

mod config;
mod container;
mod events;
mod keep;
mod leave;
mod runtime;
mod socket;
mod stat;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kit::health::{Dependency, Health};

pub use config::Haproxy;
pub(crate) use keep::keep;
pub(crate) use leave::{Departure, Out, Unreleased, departure, runs};

use runtime::Runtime;
use socket::Socket;
use stat::ServerName;

/// Why a balancer did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BalancerError {
    /// Nobody listens, or the connection broke.
    #[error(
        "the balancer at {socket} does not answer: {reason}; check that HAProxy runs and that this user may use its socket"
    )]
    Away { socket: Socket, reason: String },
    /// It took too long.
    #[error("the balancer at {socket} did not answer within {} s", within.as_secs())]
    Slow { socket: Socket, within: Duration },
    /// It does not stop answering.
    #[error("the balancer at {socket} answers more than is read of it")]
    TooMuch { socket: Socket },
    /// The socket is for looking only.
    #[error(
        "the balancer at {socket} takes no changes there: write `level admin` behind `stats socket` in haproxy.cfg"
    )]
    NotAdmin { socket: Socket },
    /// The label names a backend that is not there.
    #[error(
        "the balancer at {socket} has no backend {backend}: add it to haproxy.cfg, or mend the label io.homeostat.haproxy"
    )]
    NoBackend { socket: Socket, backend: String },
    /// The backend cannot have servers added.
    #[error(
        "backend {backend} of the balancer at {socket} takes no servers while it runs: write `balance` roundrobin, leastconn, random or first there in haproxy.cfg"
    )]
    Fixed { socket: Socket, backend: String },
    /// It does not know the commands.
    #[error("the balancer at {socket} cannot add servers while it runs: HAProxy 2.6 or later can")]
    TooOld { socket: Socket },
    /// It tells the state of its servers in another form.
    #[error("the balancer at {socket} tells no {column} of its servers")]
    Unreadable {
        socket: Socket,
        column: &'static str,
    },
    /// It said something else.
    #[error("the balancer at {socket} answered `{command}` with: {answer}")]
    Said {
        socket: Socket,
        command: String,
        answer: String,
    },
}

/// The balancers of this node's containers; none for most nodes.
#[derive(Debug)]
pub(crate) struct Balancers {
    runtimes: Vec<Runtime>,
    node: Option<IpAddr>,
    drain_timeout: Duration,
    /// Servers of containers that a command is about: left to it.
    held: Mutex<HashSet<ServerName>>,
    /// Held to write while a server becomes held, so that no change to it is still on its way then.
    changing: tokio::sync::RwLock<()>,
    /// One at a time looks whether another server is left, and takes its own out: two would each see the other's.
    leaving: tokio::sync::Mutex<()>,
    health: Option<Dependency>,
}

impl Balancers {
    pub(crate) fn new(config: &Haproxy, health: &Health) -> Self {
        let sockets = config.sockets.iter();
        let runtimes: Vec<_> = sockets
            .filter_map(|socket| Socket::parse(socket))
            .map(|socket| Runtime::new(socket, &config.server_options))
            .collect();
        Balancers {
            health: (!runtimes.is_empty()).then(|| health.dependency("haproxy")),
            runtimes,
            node: config.address,
            drain_timeout: config.drain_timeout.get(),
            held: Mutex::default(),
            changing: tokio::sync::RwLock::default(),
            leaving: tokio::sync::Mutex::default(),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.runtimes.is_empty()
    }

    async fn hold(&self, name: &ServerName) -> Held<'_> {
        let _none = self.changing.write().await;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(name.clone());
        Held {
            balancers: self,
            name: name.clone(),
        }
    }

    fn is_held(&self, name: &ServerName) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.contains(name)
    }
}

/// A server that stays as a command has put it, until this is dropped; commands about one container wait for each other.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    balancers: &'a Balancers,
    name: ServerName,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let held = self.balancers.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
            .remove(&self.name);
    }
}
