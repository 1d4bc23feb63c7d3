//! The sockets of a namespace, folded: counts by state, round-trip times, and who is connected with whom.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::socket::{STATES, Socket, TcpState};

/// Connections kept until the end of a read. Those beyond are counted by state and in [`SocketsRead::passed_over`], and are in no
/// round-trip time and no link.
pub const SOCKETS_MAX: usize = 20_000;
/// Links told: those of the most connections. The rest are counted in [`SocketsRead::links_passed_over`].
pub const LINKS_MAX: usize = 256;

/// Who opened the connections of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The other side: their local port is one that this namespace listens on.
    Inbound,
    /// This side.
    Outbound,
}

/// The connections with one address over one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The other side.
    pub remote_ip: IpAddr,
    /// The port of the side that listens.
    pub port: u16,
    /// Who opened them.
    pub direction: Direction,
    /// Those that are established.
    pub connections: u32,
    /// Those in any other state: a link of connections that live for one request is mostly these, in TIME_WAIT.
    pub others: u32,
    /// The median of their smoothed round-trip times; absent where none was measured.
    pub rtt_median: Option<Duration>,
    /// Segments sent again by the established connections since each began. Falls when one closes.
    pub retransmits: u64,
}

/// How many sockets are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateCounts([u32; STATES.len()]);

impl StateCounts {
    /// Those in one state.
    pub fn get(&self, state: TcpState) -> u32 {
        self.0[index(state)]
    }

    /// Every state with its count, zeros too.
    pub fn iter(&self) -> impl Iterator<Item = (TcpState, u32)> {
        STATES.into_iter().zip(self.0)
    }

    fn add(&mut self, state: TcpState) {
        let count = &mut self.0[index(state)];
        *count = count.saturating_add(1);
    }
}

/// States are numbered from 1.
fn index(state: TcpState) -> usize {
    state as usize - 1
}

/// What one read of a namespace found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketsRead {
    /// Every socket, by state.
    pub states: StateCounts,
    /// Established connections whose round-trip time is known, loopback excluded: what the next two are over.
    pub measured: u32,
    /// The median of the smoothed round-trip times (nearest rank).
    pub rtt_median: Option<Duration>,
    /// The 99th percentile of the same (nearest rank).
    pub rtt_p99: Option<Duration>,
    /// Those of the most connections first, at most [`LINKS_MAX`]. Connections over loopback, or with the own address, are none.
    pub links: Vec<Link>,
    /// Links there were beyond that.
    pub links_passed_over: u64,
    /// Connections there were beyond [`SOCKETS_MAX`].
    pub passed_over: u64,
}

/// Folds the sockets of one namespace, of both families, into a [`SocketsRead`].
#[derive(Debug, Default)]
pub struct Summary {
    states: StateCounts,
    /// Bounded by there being 65,536 ports.
    listening: BTreeSet<u16>,
    kept: Vec<Kept>,
    passed_over: u64,
}

/// A connection as it is kept until all ports that are listened on are known.
#[derive(Debug, Clone, Copy)]
struct Kept {
    local_port: u16,
    remote: SocketAddr,
    measured: Measured,
}

#[derive(Debug, Clone, Copy)]
enum Measured {
    Established {
        rtt: Option<Duration>,
        retransmits: u32,
    },
    Other,
}

/// Begins with what links are grouped by.
#[derive(Debug, Clone, Copy)]
struct Linked {
    key: (Direction, IpAddr, u16),
    measured: Measured,
}

impl Summary {
    /// Of no socket yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one socket; the order does not matter below [`SOCKETS_MAX`].
    pub fn add(&mut self, socket: Socket) {
        self.states.add(socket.state);
        if socket.state == TcpState::Listen {
            self.listening.insert(socket.local.port());
        } else if leaves_the_namespace(&socket) {
            if self.kept.len() < SOCKETS_MAX {
                self.kept.push(Kept::from(&socket));
            } else {
                self.passed_over += 1;
            }
        }
    }

    /// What was found.
    pub fn finish(self) -> SocketsRead {
        let mut rtts: Vec<_> = self
            .kept
            .iter()
            .filter_map(|kept| kept.measured.rtt())
            .collect();
        rtts.sort_unstable();
        let listening = &self.listening;
        let linked = self.kept.into_iter().map(|kept| kept.linked(listening));
        let (links, links_passed_over) = links(linked.collect());
        SocketsRead {
            states: self.states,
            measured: count(rtts.len()),
            rtt_median: percentile(&rtts, 50),
            rtt_p99: percentile(&rtts, 99),
            links,
            links_passed_over,
            passed_over: self.passed_over,
        }
    }
}

/// Neither a socket without another side nor one whose other side is this namespace says anything of the network.
fn leaves_the_namespace(socket: &Socket) -> bool {
    let (local, remote) = (socket.local.ip(), socket.remote.ip());
    socket.remote.port() != 0
        && !remote.is_unspecified()
        && !remote.is_loopback()
        && !local.is_loopback()
        && remote != local
}

impl From<&Socket> for Kept {
    fn from(socket: &Socket) -> Self {
        let measured = if socket.state == TcpState::Established {
            Measured::Established {
                rtt: socket.info.and_then(|info| info.rtt),
                retransmits: socket.info.map_or(0, |info| info.retransmits_total),
            }
        } else {
            Measured::Other
        };
        Self {
            local_port: socket.local.port(),
            remote: socket.remote,
            measured,
        }
    }
}

impl Kept {
    fn linked(self, listening: &BTreeSet<u16>) -> Linked {
        let (direction, port) = if listening.contains(&self.local_port) {
            (Direction::Inbound, self.local_port)
        } else {
            (Direction::Outbound, self.remote.port())
        };
        Linked {
            key: (direction, self.remote.ip(), port),
            measured: self.measured,
        }
    }
}

impl Measured {
    fn rtt(self) -> Option<Duration> {
        match self {
            Self::Established { rtt, .. } => rtt,
            Self::Other => None,
        }
    }
}

/// The links of the most connections, and how many more there are.
fn links(mut linked: Vec<Linked>) -> (Vec<Link>, u64) {
    linked.sort_unstable_by_key(|it| it.key);
    let groups = linked.chunk_by(|left, right| left.key == right.key);
    let mut links: Vec<_> = groups.filter_map(link).collect();
    // Stable, so that links of as many connections stay in the order of their keys.
    links.sort_by_key(|link| std::cmp::Reverse((link.connections, link.others)));
    let passed_over = links.len().saturating_sub(LINKS_MAX) as u64;
    links.truncate(LINKS_MAX);
    links.shrink_to_fit();
    (links, passed_over)
}

/// Of connections with one key.
fn link(group: &[Linked]) -> Option<Link> {
    let (direction, remote_ip, port) = group.first()?.key;
    let (mut connections, mut retransmits_sum) = (0, 0);
    for it in group {
        if let Measured::Established { retransmits, .. } = it.measured {
            connections += 1;
            retransmits_sum += u64::from(retransmits);
        }
    }
    let mut rtts: Vec<_> = group.iter().filter_map(|it| it.measured.rtt()).collect();
    rtts.sort_unstable();
    Some(Link {
        remote_ip,
        port,
        direction,
        connections,
        others: count(group.len()) - connections,
        rtt_median: percentile(&rtts, 50),
        retransmits: retransmits_sum,
    })
}

/// By nearest rank: the smallest value that `percent` of all are not above.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("no more are kept than SOCKETS_MAX")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::socket::Info;
    use super::*;

    const OWN: [u8; 4] = [10, 0, 0, 2];

    fn socket(state: TcpState, local_port: u16, remote: SocketAddr, rtt_us: u64) -> Socket {
        let info = Info {
            rtt: Some(Duration::from_micros(rtt_us)).filter(|rtt| !rtt.is_zero()),
            retransmits_total: 2,
            ..Info::default()
        };
        Socket {
            state,
            local: (OWN, local_port).into(),
            remote,
            inode: 1,
            info: (state != TcpState::TimeWait).then_some(info),
        }
    }

    fn peer(last: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, last], port).into()
    }

    fn fold(sockets: &[Socket]) -> SocketsRead {
        let mut summary = Summary::new();
        sockets.iter().for_each(|socket| summary.add(*socket));
        summary.finish()
    }

    #[test]
    fn who_opened_a_link_is_known_by_the_ports_that_are_listened_on() {
        use TcpState::{Established, Listen, SynSent, TimeWait};
        let nobody = ([0, 0, 0, 0], 0).into();
        let read = fold(&[
            socket(Established, 80, peer(9, 40_001), 100),
            socket(Established, 80, peer(9, 40_002), 300),
            socket(Established, 80, peer(9, 40_003), 0),
            socket(Established, 50_000, peer(7, 5432), 900),
            socket(TimeWait, 50_001, peer(7, 5432), 0),
            socket(SynSent, 50_002, peer(8, 6379), 0),
            socket(Listen, 80, nobody, 0),
        ]);
        let link = |last, port, direction, connections, others, rtt_us: Option<u64>| Link {
            remote_ip: peer(last, 1).ip(),
            port,
            direction,
            connections,
            others,
            rtt_median: rtt_us.map(Duration::from_micros),
            retransmits: u64::from(connections) * 2,
        };
        assert_eq!(
            read.links,
            [
                link(9, 80, Direction::Inbound, 3, 0, Some(100)),
                link(7, 5432, Direction::Outbound, 1, 1, Some(900)),
                link(8, 6379, Direction::Outbound, 0, 1, None),
            ]
        );
        assert_eq!(read.states.get(Established), 4);
        assert_eq!(read.states.get(Listen), 1);
        assert_eq!(read.states.iter().map(|(_, count)| count).sum::<u32>(), 7);
        assert_eq!(read.measured, 3);
        assert_eq!(read.rtt_median, Some(Duration::from_micros(300)));
        assert_eq!(read.rtt_p99, Some(Duration::from_micros(900)));
    }

    #[test]
    fn loopback_and_the_own_address_are_counted_by_state_only() {
        let mut inner = socket(TcpState::Established, 1, ([127, 0, 0, 1], 2).into(), 5);
        inner.local = ([127, 0, 0, 1], 1).into();
        let itself = socket(TcpState::Established, 1, (OWN, 2).into(), 5);
        let read = fold(&[inner, itself]);
        assert_eq!(read.states.get(TcpState::Established), 2);
        assert_eq!(
            (read.measured, read.rtt_median, read.links.len()),
            (0, None, 0)
        );
    }

    #[test]
    fn what_is_beyond_the_bounds_is_counted() {
        let mut summary = Summary::new();
        for number in 0..SOCKETS_MAX + 5 {
            let last = number.to_be_bytes();
            let remote = ([10, 1, last[6], last[7]], 443);
            summary.add(socket(TcpState::Established, 1, remote.into(), 7));
        }
        let read = summary.finish();
        assert_eq!(
            read.states.get(TcpState::Established) as usize,
            SOCKETS_MAX + 5
        );
        assert_eq!(read.measured as usize, SOCKETS_MAX);
        assert_eq!(read.passed_over, 5);
        assert_eq!(read.links.len(), LINKS_MAX);
        assert_eq!(read.links_passed_over as usize, SOCKETS_MAX - LINKS_MAX);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let rtts: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(percentile(&rtts, 50), Some(Duration::from_micros(100)));
        assert_eq!(percentile(&rtts, 99), Some(Duration::from_micros(198)));
        assert_eq!(percentile(&rtts[..1], 50), Some(rtts[0]));
        assert_eq!(percentile(&[], 99), None);
    }

    fn any_socket() -> impl Strategy<Value = Socket> {
        let state = prop::sample::select(STATES.to_vec());
        (state, 1..6_u16, 1..5_u8, 1..4_u16, 0..50_u64)
            .prop_map(|(state, local, last, port, rtt)| socket(state, local, peer(last, port), rtt))
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_links_add_up(sockets in prop::collection::vec(any_socket(), 0..80)) {
            let read = fold(&sockets);
            let mut reversed = sockets.clone();
            reversed.reverse();
            prop_assert_eq!(&fold(&reversed), &read);
            let told: u32 = read.states.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(told as usize, sockets.len());
            let outside = |it: &&Socket| it.state != TcpState::Listen && it.remote.ip() != it.local.ip();
            let linked: u32 = read.links.iter().map(|link| link.connections + link.others).sum();
            prop_assert_eq!(linked as usize, sockets.iter().filter(outside).count());
            prop_assert!(read.rtt_median <= read.rtt_p99);
        }
    }
}
