//! Asks the engine's embedded DNS server for the addresses of a name (RFC 1035, A records alone).
//!
//! A static glibc cannot use the system's resolver, and asking anew for each request is what lets a new replica get
//! its share of the traffic at once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Docker's DNS server inside every container of a user-defined network.
const EMBEDDED_SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);
/// One attempt's patience; a name the engine does not know is forwarded outside and may never be answered.
const TIMEOUT: Duration = Duration::from_millis(500);
/// A lost datagram is asked again once, then the name counts as unknown.
const ATTEMPTS: usize = 2;
/// Largest answer over UDP without extensions.
const MAX_ANSWER_BYTES: usize = 512;
const HEADER_BYTES: usize = 12;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;

/// The addresses of `host` now, sorted; a literal address stands for itself.
pub(crate) fn resolve(host: &str, id: u16) -> io::Result<Vec<Ipv4Addr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let query = query(host, id).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("'{host}' is not a host name"),
        )
    })?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(EMBEDDED_SERVER)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut answer = [0; MAX_ANSWER_BYTES];
    for _ in 0..ATTEMPTS {
        socket.send(&query)?;
        if let Ok(length) = socket.recv(&mut answer)
            && let Some(mut addresses) = addresses(&answer[..length], id)
        {
            addresses.sort_unstable();
            return Ok(addresses);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer for '{host}'"),
    ))
}

/// A query for the A records of `host`; none when it is no host name.
fn query(host: &str, id: u16) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + host.len() + 6);
    bytes.extend(id.to_be_bytes());
    // Recursion desired, one question.
    bytes.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in host.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..=63).contains(n))?;
        bytes.push(length);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend(TYPE_A.to_be_bytes());
    bytes.extend(CLASS_IN.to_be_bytes());
    Some(bytes)
}

/// The addresses in an answer to query `id`; none when it is malformed or answers something else. An answer that says
/// the name does not exist holds no address.
fn addresses(answer: &[u8], id: u16) -> Option<Vec<Ipv4Addr>> {
    let is_response = answer.get(2)? & 0x80 != 0;
    if u16_at(answer, 0)? != id || !is_response {
        return None;
    }
    let (questions, answers) = (u16_at(answer, 4)?, u16_at(answer, 6)?);
    let mut at = HEADER_BYTES;
    for _ in 0..questions {
        at = skip_name(answer, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        at = skip_name(answer, at)?;
        let (kind, class, length) = (
            u16_at(answer, at)?,
            u16_at(answer, at + 2)?,
            u16_at(answer, at + 8)?,
        );
        let data = answer.get(at + 10..at + 10 + usize::from(length))?;
        if kind == TYPE_A && class == CLASS_IN {
            found.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?));
        }
        at += 10 + usize::from(length);
    }
    Some(found)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The position after a name, which ends in an empty label or in a pointer to an earlier name. It only moves forward,
/// so it ends.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            192..=255 => return Some(at + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `query` with the given records, their names pointers to the question.
    fn answer(query: &[u8], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = query.to_vec();
        bytes[2] |= 0x80;
        bytes[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            bytes.extend([0xc0, 12]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1, 0, 0, 2, 88, 0, u8::try_from(data.len()).unwrap()]);
            bytes.extend(*data);
        }
        bytes
    }

    #[test]
    fn a_query_spells_the_name_in_labels() {
        let bytes = query("web.demo", 0x1234).unwrap();
        assert_eq!(&bytes[..2], [0x12, 0x34]);
        assert_eq!(
            &bytes[HEADER_BYTES..],
            b"\x03web\x04demo\x00\x00\x01\x00\x01"
        );
        for wrong in ["", "a..b", &"x".repeat(64)] {
            assert!(query(wrong, 1).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn every_a_record_is_found_and_others_are_passed_over() {
        let query = query("web", 7).unwrap();
        let bytes = answer(
            &query,
            &[(1, &[10, 0, 0, 2]), (5, b"\x01x\x00"), (1, &[10, 0, 0, 1])],
        );
        let found = addresses(&bytes, 7).unwrap();
        assert_eq!(
            found,
            [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1)]
        );
    }

    #[test]
    fn an_answer_without_records_says_the_name_is_unknown() {
        let query = query("nobody", 7).unwrap();
        assert_eq!(addresses(&answer(&query, &[]), 7), Some(vec![]));
    }

    #[test]
    fn answers_that_are_foreign_or_cut_are_refused_at_every_length() {
        let query = query("web", 7).unwrap();
        let bytes = answer(&query, &[(1, &[10, 0, 0, 2])]);
        assert_eq!(addresses(&bytes, 8), None);
        assert_eq!(addresses(&query, 7), None);
        for length in 0..bytes.len() {
            assert_eq!(addresses(&bytes[..length], 7), None, "cut at {length}");
        }
    }

    #[test]
    fn a_literal_address_needs_no_server() {
        assert_eq!(
            resolve("10.1.2.3", 1).unwrap(),
            [Ipv4Addr::new(10, 1, 2, 3)]
        );
    }
}
