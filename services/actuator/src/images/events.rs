//! What is worth telling of images that go from node to node.

use std::net::SocketAddr;
use std::time::Duration;

use units::NodeId;

/// Images can be had here.
pub(super) struct Offered<'a> {
    pub(super) listen: SocketAddr,
    pub(super) reached: &'a str,
}

impl Offered<'_> {
    pub(super) fn emit(self) {
        let Offered { listen, reached } = self;
        tracing::info!(%listen, reached, "offers images of containers that move");
    }
}

/// Somebody connected and had no ticket.
pub(super) struct TurnedAway {
    pub(super) peer: SocketAddr,
}

impl TurnedAway {
    pub(super) fn emit(self) {
        tracing::warn!(peer = %self.peer, "asked for an image without a ticket, and was turned away");
    }
}

/// An image went to another node.
pub(super) struct Sent<'a> {
    pub(super) image: &'a str,
    pub(super) peer: SocketAddr,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

impl Sent<'_> {
    pub(super) fn emit(self) {
        let Sent {
            image,
            peer,
            bytes,
            took,
        } = self;
        tracing::info!(image, %peer, bytes, took_ms = took.as_millis(), "sent an image");
    }
}

/// An image was asked for with a ticket, and did not go.
pub(super) struct Unsent<'a> {
    pub(super) image: &'a str,
    pub(super) peer: SocketAddr,
    pub(super) reason: &'a str,
}

impl Unsent<'_> {
    pub(super) fn emit(self) {
        let Unsent {
            image,
            peer,
            reason,
        } = self;
        tracing::warn!(image, %peer, reason, "an image was not sent");
    }
}

/// Nobody can connect for a moment.
pub(super) struct NotAccepted<'a> {
    pub(super) error: &'a std::io::Error,
}

impl NotAccepted<'_> {
    pub(super) fn emit(self) {
        tracing::warn!(error = %self.error, "cannot accept a connection for an image, trying again");
    }
}

/// An image came from another node.
pub(super) struct Fetched<'a> {
    pub(super) node: &'a NodeId,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

impl Fetched<'_> {
    pub(super) fn emit(self) {
        let Fetched { node, bytes, took } = self;
        tracing::info!(from = %node, bytes, took_ms = took.as_millis(), "got an image from its node");
    }
}
