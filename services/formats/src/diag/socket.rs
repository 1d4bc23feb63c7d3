//! One socket, as `struct inet_diag_msg` of `linux/inet_diag.h` and `struct tcp_info` of `linux/tcp.h` tell it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{aligned, array, u16_at, u32_at, u64_at};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `INET_DIAG_INFO`: the attribute that holds a `tcp_info`.
pub(super) const ATTRIBUTE_INFO: u16 = 2;
/// The two highest bits of an attribute's type are flags.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// `struct inet_diag_msg`; attributes follow.
const SOCKET_BYTES: usize = 72;
/// What `tcpi_min_rtt` holds before anything was measured.
const MIN_RTT_UNKNOWN: Duration = Duration::from_micros(u32::MAX as u64);

/// Every state, in the kernel's order.
pub const STATES: [TcpState; 12] = [
    TcpState::Established,
    TcpState::SynSent,
    TcpState::SynRecv,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::TimeWait,
    TcpState::Close,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::Listen,
    TcpState::Closing,
    TcpState::NewSynRecv,
];

/// The state of a TCP socket, with the numbers of `net/tcp_states.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// Open both ways.
    Established = 1,
    /// This side asked for a connection and has no answer yet.
    SynSent = 2,
    /// The other side asked, and this one answered.
    SynRecv = 3,
    /// This side closed, which is not acknowledged yet.
    FinWait1 = 4,
    /// This side closed, the other has not.
    FinWait2 = 5,
    /// Both closed; kept so that late segments are recognised.
    TimeWait = 6,
    /// Not connected.
    Close = 7,
    /// The other side closed and the application has not: many of these are a leak of the application.
    CloseWait = 8,
    /// The other side closed first, and the last acknowledgement is outstanding.
    LastAck = 9,
    /// Waits for connections.
    Listen = 10,
    /// Both closed at once.
    Closing = 11,
    /// A request that has no socket of its own yet.
    NewSynRecv = 12,
}

impl TcpState {
    /// The name, in lower case with underscores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynRecv => "syn_recv",
            Self::FinWait1 => "fin_wait1",
            Self::FinWait2 => "fin_wait2",
            Self::TimeWait => "time_wait",
            Self::Close => "close",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
            Self::NewSynRecv => "new_syn_recv",
        }
    }

    fn of(number: u8) -> Option<Self> {
        STATES.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// One TCP socket of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Its state.
    pub state: TcpState,
    /// This side. An IPv4 address that an IPv6 socket holds in mapped form is told as IPv4.
    pub local: SocketAddr,
    /// The other side; unspecified with port 0 where there is none.
    pub remote: SocketAddr,
    /// The inode by which `/proc/PID/fd` names it; 0 where no process holds it any more.
    pub inode: u32,
    /// What TCP measured. Sockets in TIME_WAIT have none.
    pub info: Option<Info>,
}

/// What TCP measured of one socket: the part of `struct tcp_info` that is read. What the kernel is too old to tell, or has not
/// measured yet, is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Info {
    /// The smoothed round-trip time; absent before the first acknowledgement.
    pub rtt: Option<Duration>,
    /// The mean deviation of the round-trip time; absent with it.
    pub rtt_var: Option<Duration>,
    /// Segments sent again since the connection began.
    pub retransmits_total: u32,
    /// Segments sent and not acknowledged. For a listening socket: connections that wait to be accepted.
    pub unacked: u32,
    /// Bytes the other side acknowledged (Linux 4.1).
    pub bytes_acked: Option<u64>,
    /// Bytes received in order (Linux 4.1).
    pub bytes_received: Option<u64>,
    /// The smallest round-trip time of the last minutes (Linux 4.6); absent with `rtt` too.
    pub min_rtt: Option<Duration>,
}

impl Info {
    /// Nothing where not even the part that every kernel has told since 2.6 is there.
    fn read(bytes: &[u8]) -> Option<Self> {
        let micros = |at| u32_at(bytes, at).map(|micros| Duration::from_micros(micros.into()));
        let retransmits_total = u32_at(bytes, 100)?;
        let rtt = micros(68).filter(|rtt| !rtt.is_zero());
        Some(Self {
            rtt,
            rtt_var: rtt.and(micros(72)),
            retransmits_total,
            unacked: u32_at(bytes, 24)?,
            bytes_acked: u64_at(bytes, 120),
            bytes_received: u64_at(bytes, 128),
            min_rtt: rtt
                .and(micros(148))
                .filter(|least| *least != MIN_RTT_UNKNOWN),
        })
    }
}

impl Socket {
    /// From the body of a message. Nothing where it ends early, or its family or state is not one that was asked for.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let [family, state] = array(body, 0)?;
        Some(Self {
            state: TcpState::of(state)?,
            local: address(family, array(body, 4)?, array(body, 8)?)?,
            remote: address(family, array(body, 6)?, array(body, 24)?)?,
            inode: u32_at(body, SOCKET_BYTES - 4)?,
            info: info(&body[SOCKET_BYTES..]),
        })
    }
}

fn address(family: u8, port: [u8; 2], octets: [u8; 16]) -> Option<SocketAddr> {
    let ip = match family {
        AF_INET => {
            let [a, b, c, d, ..] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(octets)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(port)))
}

/// Ends, because every attribute is at least its header long. One that ends early counts as not there.
fn info(mut attributes: &[u8]) -> Option<Info> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let kind = u16_at(attributes, 2)? & ATTRIBUTE_TYPE_MASK;
        let value = attributes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        if kind == ATTRIBUTE_INFO {
            return Info::read(value);
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{attribute, socket, tcp_info};
    use super::*;

    fn bare(local: &str, remote: &str) -> Socket {
        Socket {
            state: TcpState::Established,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            inode: 4_711,
            info: None,
        }
    }

    fn with_info(length: usize) -> Option<Info> {
        let words = [(24, 3), (68, 1_500), (72, 200), (100, 9), (148, 900)];
        let info = tcp_info(length, &words, &[(120, 1 << 40), (128, 77)]);
        let mut body = socket(&bare("10.0.0.2:80", "10.0.0.3:40000"));
        body.extend(attribute(8, &[1]));
        body.extend(attribute(ATTRIBUTE_INFO, &info));
        Socket::read(&body).unwrap().info
    }

    #[test]
    fn addresses_of_both_families_are_read_and_mapped_ones_are_ipv4() {
        for (local, remote) in [
            ("10.0.0.2:80", "192.168.7.9:51234"),
            ("[fd00::2]:443", "[2001:db8::1]:65535"),
        ] {
            let told = bare(local, remote);
            assert_eq!(Socket::read(&socket(&told)), Some(told));
        }
        let mapped = bare("[::ffff:10.0.0.2]:80", "[::ffff:10.0.0.3]:9");
        assert_eq!(
            Socket::read(&socket(&mapped)),
            Some(bare("10.0.0.2:80", "10.0.0.3:9"))
        );
    }

    #[test]
    fn an_older_kernel_tells_less_and_what_it_does_not_tell_is_absent() {
        let whole = Info {
            rtt: Some(Duration::from_micros(1_500)),
            rtt_var: Some(Duration::from_micros(200)),
            retransmits_total: 9,
            unacked: 3,
            bytes_acked: Some(1 << 40),
            bytes_received: Some(77),
            min_rtt: Some(Duration::from_micros(900)),
        };
        assert_eq!(with_info(256), Some(whole));
        assert_eq!(with_info(152), Some(whole));
        let no_min = Info {
            min_rtt: None,
            ..whole
        };
        assert_eq!(with_info(151), Some(no_min));
        let no_received = Info {
            bytes_received: None,
            ..no_min
        };
        assert_eq!(with_info(128), Some(no_received));
        let no_acked = Info {
            bytes_acked: None,
            ..no_received
        };
        assert_eq!(with_info(104), Some(no_acked));
        assert_eq!(with_info(103), None);
    }

    #[test]
    fn a_round_trip_that_was_not_measured_is_absent_and_not_zero() {
        for (rtt_us, min_rtt_us, rtt) in [
            (0, u32::MAX, None),
            (0, 0, None),
            (5, u32::MAX, Some(Duration::from_micros(5))),
        ] {
            let words = [(68, rtt_us), (72, 250_000), (148, min_rtt_us)];
            let info = Info::read(&tcp_info(232, &words, &[])).unwrap();
            assert_eq!((info.rtt, info.min_rtt), (rtt, None));
            assert_eq!(info.rtt_var.is_some(), rtt.is_some());
        }
    }

    #[test]
    fn states_have_their_numbers_and_one_name_each() {
        for (index, state) in STATES.into_iter().enumerate() {
            assert_eq!(state as usize, index + 1);
            assert_eq!(TcpState::of(state as u8), Some(state));
        }
        let names: std::collections::BTreeSet<_> = STATES.iter().map(|it| it.as_str()).collect();
        assert_eq!(names.len(), STATES.len());
        assert_eq!(TcpState::of(0), None);
        assert_eq!(TcpState::of(13), None);
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Socket::read(&body);
            let _ = info(&body);
            let _ = Info::read(&body);
        }

        #[test]
        fn a_body_that_ends_early_is_refused(cut in 0..SOCKET_BYTES) {
            let whole = socket(&bare("[fd00::2]:443", "[2001:db8::1]:65535"));
            prop_assert_eq!(Socket::read(&whole[..cut]), None);
        }
    }
}
