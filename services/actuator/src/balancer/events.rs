//! What is worth telling of balancers.

use super::BalancerError;
use super::socket::Socket;
use super::stat::ServerRef;

/// What was done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Admitted,
    Drained,
    Removed,
}

/// A server was changed.
pub(super) struct ServerChanged<'a> {
    pub(super) socket: &'a Socket,
    pub(super) server: &'a ServerRef,
    pub(super) change: Change,
}

impl ServerChanged<'_> {
    pub(super) fn emit(self) {
        let (socket, server) = (self.socket, self.server);
        match self.change {
            Change::Added => tracing::info!(%socket, %server, "added to the balancer, drained"),
            Change::Admitted => tracing::info!(%socket, %server, "gets requests"),
            Change::Drained => tracing::info!(%socket, %server, "gets no new requests"),
            Change::Removed => tracing::info!(%socket, %server, "removed from the balancer"),
        }
    }
}

/// A container that runs cannot be reached by balancers.
pub(super) struct NotReached<'a> {
    pub(super) container: &'a str,
    pub(super) reason: &'a str,
}

impl NotReached<'_> {
    pub(super) fn emit(self) {
        let NotReached { container, reason } = self;
        tracing::warn!(container, reason, "not put into the balancer");
    }
}

/// A container is taken away though a balancer could not be told.
pub(super) struct LeftUndrained<'a> {
    pub(super) server: &'a ServerRef,
    pub(super) error: &'a BalancerError,
}

impl LeftUndrained<'_> {
    pub(super) fn emit(self) {
        let LeftUndrained { server, error } = self;
        tracing::warn!(%server, %error, "not drained, and goes on: what is sick serves nobody");
    }
}

/// Requests were still under way when the time for that was over.
pub(super) struct StillBusy<'a> {
    pub(super) server: &'a ServerRef,
    pub(super) sessions: u64,
}

impl StillBusy<'_> {
    pub(super) fn emit(self) {
        let StillBusy { server, sessions } = self;
        tracing::warn!(%server, sessions, "not idle when its time to drain was over, and goes on");
    }
}
