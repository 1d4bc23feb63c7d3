//! Netlink messages: the request of a dump, and the datagrams that answer it. Layouts: `linux/netlink.h`,
//! `linux/sock_diag.h` and `linux/inet_diag.h`; numbers are in the machine's byte order, addresses and ports in the network's.

use super::socket::{ATTRIBUTE_INFO, Socket, TcpState};
use super::{aligned, array, u16_at, u32_at};

/// The length of a request.
pub const REQUEST_BYTES: usize = HEADER_BYTES + QUERY_BYTES;
/// What one receive has to have room for: the kernel fills the datagrams of a dump up to this, and cuts what does not fit.
pub const RECEIVE_BYTES: usize = 32 * 1024;

const HEADER_BYTES: usize = 16;
/// `struct inet_diag_req`.
const QUERY_BYTES: usize = 60;
/// Where `idiag_states` is in it.
const STATES_AT: usize = 52;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const TCPDIAG_GETSOCK: u16 = 18;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const FLAGS_DUMP: u16 = 0x301;
const ENOENT: i32 = 2;

/// The states a dump is limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// All of them.
    pub const ALL: Self = Self(0x1ffe);

    /// Those that are listed.
    pub fn of(states: &[TcpState]) -> Self {
        Self(
            states
                .iter()
                .fold(0, |mask, state| mask | 1 << *state as u8),
        )
    }
}

/// Whether a dump goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Receive another datagram.
    More,
    /// That was the last.
    Done,
}

/// Why a dump cannot be read further. Ask again with another sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiagError {
    /// The kernel answered with an error.
    #[error("socket dump was refused with errno {errno}; {}", advice(*errno))]
    Refused {
        /// As `errno(3)` numbers them.
        errno: i32,
    },
    /// A message is longer than what is left of its datagram, or shorter than its own header.
    #[error(
        "socket dump holds a message of {told} bytes where {left} are left; receive with room for {RECEIVE_BYTES} bytes"
    )]
    Truncated {
        /// Bytes the message says it has.
        told: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A message of a socket ends early, or tells a family or state that nobody asked for.
    #[error(
        "socket dump holds a socket of {bytes} bytes that cannot be read; check whether this kernel is newer than this version knows"
    )]
    Socket {
        /// Bytes of its body.
        bytes: usize,
    },
}

/// The request of a dump of the TCP sockets of the namespace, IPv4 and IPv6, with what TCP measured of each.
///
/// It is the older form of the question. A dump walks the connections of the whole host, whatever namespace it is about, and
/// the newer form asks for one family at a time.
///
/// `sequence` comes back in every message of the answer: take another for every request, so that what is left of a dump that
/// was given up is not taken for the next.
pub fn request(states: States, sequence: u32) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &(REQUEST_BYTES as u32).to_ne_bytes());
    put(4, &TCPDIAG_GETSOCK.to_ne_bytes());
    put(6, &FLAGS_DUMP.to_ne_bytes());
    put(8, &sequence.to_ne_bytes());
    let extensions = 1 << (ATTRIBUTE_INFO - 1);
    put(HEADER_BYTES + 3, &[extensions]);
    put(HEADER_BYTES + STATES_AT, &states.0.to_ne_bytes());
    bytes
}

/// Gives each socket of one datagram of the answer to `sequence`; messages of another are passed over.
///
/// # Errors
/// The sockets before the message that is at fault were given.
pub fn read(
    datagram: &[u8],
    sequence: u32,
    mut each: impl FnMut(Socket),
) -> Result<Progress, DiagError> {
    let mut rest = datagram;
    // Ends, because every message is at least its header long.
    while !rest.is_empty() {
        let (message, after) = Message::split(rest)?;
        rest = after;
        if message.sequence != sequence {
            continue;
        }
        match message.kind {
            NLMSG_DONE => return message.accepted().map(|()| Progress::Done),
            NLMSG_ERROR => message.accepted()?,
            TCPDIAG_GETSOCK => {
                let bytes = message.body.len();
                each(Socket::read(message.body).ok_or(DiagError::Socket { bytes })?);
            }
            _ => {}
        }
    }
    Ok(Progress::More)
}

struct Message<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message, and what follows it.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DiagError> {
        let left = bytes.len();
        let told = u32_at(bytes, 0).map_or(0, |told| told as usize);
        let fields = || {
            let message = Self {
                kind: u16_at(bytes, 4)?,
                sequence: u32_at(bytes, 8)?,
                body: bytes.get(HEADER_BYTES..told)?,
            };
            Some((message, bytes.get(aligned(told)..).unwrap_or_default()))
        };
        fields().ok_or(DiagError::Truncated { told, left })
    }

    /// Errors and the end of a dump hold a negative errno, or 0; an end may hold nothing.
    fn accepted(&self) -> Result<(), DiagError> {
        match array(self.body, 0).map_or(0, i32::from_ne_bytes) {
            0 => Ok(()),
            number => Err(DiagError::Refused {
                errno: number.saturating_abs(),
            }),
        }
    }
}

fn advice(errno: i32) -> &'static str {
    match errno {
        ENOENT => "load the kernel modules inet_diag and tcp_diag",
        _ => "look it up in errno(3)",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{DONE, ERROR, SOCKET, attribute, message, socket, tcp_info};
    use super::super::socket::STATES;
    use super::*;

    fn sockets_of(datagram: &[u8], sequence: u32) -> (Vec<Socket>, Result<Progress, DiagError>) {
        let mut sockets = Vec::new();
        let progress = read(datagram, sequence, |socket| sockets.push(socket));
        (sockets, progress)
    }

    fn established(port: u16) -> Socket {
        Socket {
            state: TcpState::Established,
            local: ([10, 0, 0, 2], port).into(),
            remote: ([10, 0, 0, 3], 5432).into(),
            inode: u32::from(port),
            info: None,
        }
    }

    fn dump(ports: &[u16], sequence: u32) -> Vec<u8> {
        let messages = ports
            .iter()
            .map(|port| message(SOCKET, sequence, &socket(&established(*port))));
        messages.collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let bytes = request(States::ALL, 0x0102_0304);
        assert_eq!(bytes[..4], 76_u32.to_ne_bytes());
        assert_eq!(bytes[4..6], 18_u16.to_ne_bytes());
        assert_eq!(bytes[6..8], 0x301_u16.to_ne_bytes());
        assert_eq!(bytes[8..12], 0x0102_0304_u32.to_ne_bytes());
        assert_eq!(bytes[12..16], [0; 4]);
        assert_eq!(bytes[16..20], [0, 0, 0, 2]);
        assert_eq!(bytes[20..68], [0; 48]);
        assert_eq!(bytes[68..72], 0x1ffe_u32.to_ne_bytes());
        assert_eq!(bytes[72..], [0; 4]);
    }

    #[test]
    fn states_are_a_mask_of_their_numbers() {
        assert_eq!(States::of(&STATES), States::ALL);
        let some = States::of(&[TcpState::Established, TcpState::Listen]);
        assert_eq!(some, States(1 << 1 | 1 << 10));
    }

    #[test]
    fn a_dump_is_read_to_its_end_and_nothing_after() {
        let first = dump(&[1, 2], 9);
        assert_eq!(
            sockets_of(&first, 9),
            (vec![established(1), established(2)], Ok(Progress::More))
        );
        let last = [dump(&[3], 9), message(DONE, 9, &[0; 4]), dump(&[4], 9)].concat();
        assert_eq!(
            sockets_of(&last, 9),
            (vec![established(3)], Ok(Progress::Done))
        );
        assert_eq!(sockets_of(&[], 9), (vec![], Ok(Progress::More)));
    }

    #[test]
    fn what_is_left_of_another_dump_is_passed_over() {
        let mixed = [dump(&[1], 8), message(DONE, 8, &[0; 4]), dump(&[2], 9)].concat();
        assert_eq!(
            sockets_of(&mixed, 9),
            (vec![established(2)], Ok(Progress::More))
        );
    }

    #[test]
    fn a_refusal_tells_its_errno_and_what_to_do() {
        let refusal = message(ERROR, 9, &(-2_i32).to_ne_bytes());
        let (sockets, progress) = sockets_of(&[dump(&[1], 9), refusal].concat(), 9);
        assert_eq!(sockets, [established(1)]);
        let error = progress.unwrap_err();
        assert_eq!(error, DiagError::Refused { errno: 2 });
        assert!(error.to_string().contains("tcp_diag"), "{error}");
        let end = message(DONE, 9, &(-13_i32).to_ne_bytes());
        assert_eq!(sockets_of(&end, 9).1, Err(DiagError::Refused { errno: 13 }));
        let acknowledged = message(ERROR, 9, &[0; 20]);
        assert_eq!(sockets_of(&acknowledged, 9).1, Ok(Progress::More));
    }

    #[test]
    fn a_socket_nobody_asked_for_is_an_error() {
        let mut unknown = socket(&established(1));
        unknown[1] = 13;
        let bytes = unknown.len();
        assert_eq!(
            sockets_of(&message(SOCKET, 9, &unknown), 9).1,
            Err(DiagError::Socket { bytes })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600), sequence in 0..2_u32) {
            let _ = sockets_of(&bytes, sequence);
        }

        #[test]
        fn damaged_dumps_are_read_or_refused(
            at in 0..400_usize,
            byte in any::<u8>(),
            cut in 0..500_usize,
        ) {
            let info = attribute(ATTRIBUTE_INFO, &tcp_info(232, &[(68, 5)], &[]));
            let body = [socket(&established(1)), info].concat();
            let mut bytes = [message(SOCKET, 9, &body), dump(&[2], 9)].concat();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(cut);
            let (sockets, _) = sockets_of(&bytes, 9);
            prop_assert!(sockets.len() <= bytes.len() / HEADER_BYTES);
        }

        #[test]
        fn a_dump_cut_anywhere_gives_its_first_sockets_or_says_it_is_cut(
            ports in prop::collection::vec(1..9_000_u16, 1..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = dump(&ports, 9);
            let cut = cut.index(whole.len() + 1);
            let each = whole.len() / ports.len();
            let (sockets, progress) = sockets_of(&whole[..cut], 9);
            let expected: Vec<_> = ports[..cut / each].iter().map(|port| established(*port)).collect();
            prop_assert_eq!(sockets, expected);
            prop_assert_eq!(progress.is_ok(), cut % each == 0);
        }
    }
}
