//! INET_DIAG: what the kernel tells of the TCP sockets of a network namespace, over netlink.
//!
//! This is how round-trip times, retransmits and the links between services are seen with nothing added to an application.
//! Only bytes are dealt with here: the caller opens a `NETLINK_SOCK_DIAG` socket inside the namespace, sends what [`request`]
//! gives, hands every datagram to [`read`] until it says [`Progress::Done`], and folds the sockets into a [`Summary`].

mod message;
mod snmp;
mod socket;
mod summary;

pub use message::{DiagError, Progress, RECEIVE_BYTES, REQUEST_BYTES, States, read, request};
pub use snmp::{TcpCounters, tcp_counters};
pub use socket::{Info, STATES, Socket, TcpState};
pub use summary::{Direction, LINKS_MAX, Link, SOCKETS_MAX, SocketsRead, StateCounts, Summary};

/// The `N` bytes at an offset, where there are that many.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_ne_bytes)
}

/// Netlink begins every message and attribute at a multiple of four bytes.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// Encodes what the kernel would answer.
#[cfg(test)]
mod fixture {
    use std::net::IpAddr;

    use super::{Socket, aligned};

    pub(super) const DONE: u16 = 3;
    pub(super) const ERROR: u16 = 2;
    pub(super) const SOCKET: u16 = 18;

    pub(super) fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let length = 16 + body.len();
        let mut bytes = Vec::new();
        bytes.extend((length as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(2_u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend(body);
        bytes.resize(aligned(length), 0);
        bytes
    }

    pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len();
        let mut bytes = Vec::new();
        bytes.extend((length as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(aligned(length), 0);
        bytes
    }

    fn address(ip: IpAddr) -> [u8; 16] {
        match ip {
            IpAddr::V4(ip) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&ip.octets());
                bytes
            }
            IpAddr::V6(ip) => ip.octets(),
        }
    }

    /// A socket's message without its attributes.
    pub(super) fn socket(socket: &Socket) -> Vec<u8> {
        let family = if socket.local.is_ipv4() { 2 } else { 10 };
        let mut bytes = vec![family, socket.state as u8, 0, 0];
        bytes.extend(socket.local.port().to_be_bytes());
        bytes.extend(socket.remote.port().to_be_bytes());
        bytes.extend(address(socket.local.ip()));
        bytes.extend(address(socket.remote.ip()));
        bytes.extend([0; 12]);
        bytes.extend([0; 16]);
        bytes.extend(socket.inode.to_ne_bytes());
        bytes
    }

    /// A `tcp_info` of a length; what is not given is zero.
    pub(super) fn tcp_info(
        length: usize,
        words: &[(usize, u32)],
        longs: &[(usize, u64)],
    ) -> Vec<u8> {
        let mut bytes = vec![0; 256];
        for (at, word) in words {
            bytes[*at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        for (at, long) in longs {
            bytes[*at..at + 8].copy_from_slice(&long.to_ne_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
