//! Who talks to whom, as seen in the sockets of a container.

use std::net::IpAddr;
use std::time::Duration;

use crate::{ContainerId, NodeId, ServiceId, Steady, Timestamp};

/// Who opened the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer: they came to a port the container listens on.
    Inbound,
    /// The container.
    Outbound,
}

impl Direction {
    /// Both; the position is the code on the wire.
    pub const ALL: [Direction; 2] = [Direction::Inbound, Direction::Outbound];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
    }
}

/// The TCP connections between a container and one peer at one time. All of a fleet together are the graph of what depends on
/// what, and how long the way is.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// When the sockets were read.
    pub at: Timestamp,
    /// The same by the node's clock that never steps.
    pub steady: Steady,
    /// Where.
    pub node: NodeId,
    /// The container's service.
    pub service: ServiceId,
    /// The container.
    pub container: ContainerId,
    /// The peer's address.
    pub peer: IpAddr,
    /// The peer's service, where its address is known on this node.
    pub peer_service: Option<ServiceId>,
    /// Who opened the connections.
    pub direction: Direction,
    /// The port of the side that listens.
    pub port: u16,
    /// How many there are.
    pub connections: u32,
    /// Median of their smoothed round-trip times.
    pub rtt_median: Duration,
    /// Segments sent again, summed over the connections that are open now.
    pub retransmits: u64,
}
