//! The files of the engine's `local` driver: messages of protocol buffers, each between its length as four bytes, big end
//! first, and the same again, so that they can be read from the end too.
//!
//! The format is that of `daemon/logger/local` and `api/types/plugins/logdriver/entry.proto` in moby/moby. A message holds 1 the
//! stream's name, 2 the time in nanoseconds since 1970, 3 the line without its newline, 4 whether it is a piece of one,
//! 5 the piece: 1 whether it is the last, 2 the line's id, 3 the piece's number.

use std::borrow::Cow;

use memchr::memmem;
use units::LogStream;

use super::json_file::{Piece, stream};

/// A message longer than this is taken for a fault: the driver's own bound.
pub const MESSAGE_BYTES_MAX: usize = 1_000_000;

const LENGTH_BYTES: usize = 4;

/// How every message of the driver begins: the name of its stream, of six letters.
const MESSAGE_HEAD: &[u8] = b"\x0a\x06std";

/// What stands at the beginning of some bytes of such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message.
    Entry {
        /// What it says.
        piece: Piece<'a>,
        /// The bytes of the whole frame, its lengths included.
        len: usize,
    },
    /// The beginning of a message. The rest is not written yet, or was not read.
    Incomplete,
    /// No message.
    Malformed {
        /// How many bytes to go on, at least one, to the next place where a message may begin.
        skip: usize,
    },
}

/// Reads the first frame.
pub fn next(bytes: &[u8]) -> Frame<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Frame::Incomplete;
    };
    let Some(length) = message_len(*length) else {
        return malformed(bytes);
    };
    let begun = rest.len().min(MESSAGE_HEAD.len()).min(length);
    if rest[..begun] != MESSAGE_HEAD[..begun] {
        return malformed(bytes);
    }
    let Some((message, rest)) = rest.split_at_checked(length) else {
        return Frame::Incomplete;
    };
    let Some(again) = rest.first_chunk::<LENGTH_BYTES>() else {
        return Frame::Incomplete;
    };
    if message_len(*again) != Some(length) {
        return malformed(bytes);
    }
    let len = length + 2 * LENGTH_BYTES;
    match read(message) {
        Some(piece) => Frame::Entry { piece, len },
        None => Frame::Malformed { skip: len },
    }
}

/// Whether a line was written in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It was.
    Whole,
    /// It was cut, and the message holds the piece of this number, from 1.
    Piece(u32),
}

/// Writes a frame as the driver does, for tests. Of a cut line the piece that ends the line is the last.
pub fn encode(piece: &Piece<'_>, part: Part) -> Vec<u8> {
    let name: &[u8] = match piece.stream {
        LogStream::Stdout => b"stdout",
        LogStream::Stderr => b"stderr",
    };
    let mut message = Vec::new();
    put_bytes(&mut message, 1, name);
    put_varint(&mut message, 2 << 3);
    put_varint(&mut message, piece.at_unix_ns.cast_unsigned());
    put_bytes(&mut message, 3, &piece.text);
    if let Part::Piece(ordinal) = part {
        message.extend([4 << 3, 1]);
        let mut cut = vec![1 << 3, u8::from(piece.ends_line)];
        put_bytes(&mut cut, 2, b"0123456789abcdef");
        put_varint(&mut cut, 3 << 3);
        put_varint(&mut cut, u64::from(ordinal));
        put_bytes(&mut message, 5, &cut);
    }
    let length = u32::try_from(message.len())
        .expect("a test's message is far shorter than four gigabytes")
        .to_be_bytes();
    [&length, &message[..], &length].concat()
}

fn message_len(length: [u8; LENGTH_BYTES]) -> Option<usize> {
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    (1..=MESSAGE_BYTES_MAX).contains(&length).then_some(length)
}

/// Skips to where the next message seems to begin. Where none is in sight, what is left may hold the first bytes of one.
fn malformed(bytes: &[u8]) -> Frame<'_> {
    let behind = LENGTH_BYTES + 1;
    let found = bytes
        .get(behind..)
        .and_then(|rest| memmem::find(rest, MESSAGE_HEAD));
    let skip = match found {
        Some(at) => at + 1,
        None => bytes
            .len()
            .saturating_sub(LENGTH_BYTES + MESSAGE_HEAD.len() - 1),
    };
    Frame::Malformed { skip: skip.max(1) }
}

fn read(mut message: &[u8]) -> Option<Piece<'_>> {
    let (mut from, mut at, mut text) = (None, 0, &[][..]);
    let (mut partial, mut last) = (false, false);
    while !message.is_empty() {
        let (number, value, rest) = field(message)?;
        match (number, value) {
            (1, Value::Bytes(name)) => from = Some(stream(name)?),
            (2, Value::Number(ns)) => at = ns.cast_signed(),
            (3, Value::Bytes(line)) => text = line,
            (4, Value::Number(set)) => partial = set != 0,
            (5, Value::Bytes(cut)) => last = is_last(cut)?,
            // Fields of a later version.
            _ => {}
        }
        message = rest;
    }
    let ends_line = !partial || last;
    let text = match text.strip_suffix(b"\r") {
        // Terminals end a line with a carriage return as well.
        Some(line) if ends_line => line,
        _ => text,
    };
    Some(Piece {
        text: Cow::Borrowed(text),
        stream: from?,
        at_unix_ns: at,
        ends_line,
    })
}

fn is_last(mut cut: &[u8]) -> Option<bool> {
    let mut last = false;
    while !cut.is_empty() {
        let (number, value, rest) = field(cut)?;
        if let (1, Value::Number(set)) = (number, value) {
            last = set != 0;
        }
        cut = rest;
    }
    Some(last)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// One field: its number, its value, and what follows.
fn field(bytes: &[u8]) -> Option<(u64, Value<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    let (value, rest) = match tag & 7 {
        0 => {
            let (number, rest) = varint(rest)?;
            (Value::Number(number), rest)
        }
        1 => (Value::Fixed, rest.get(8..)?),
        2 => {
            let (len, rest) = varint(rest)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            (Value::Bytes(value), rest)
        }
        5 => (Value::Fixed, rest.get(4..)?),
        _ => return None,
    };
    Some((tag >> 3, value, rest))
}

/// Seven bits a byte, the lowest first; at most ten bytes.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    const BYTES_MAX: usize = 10;
    let mut value = 0;
    for (at, byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(text: &[u8], stream: LogStream, at_unix_ns: i64) -> Piece<'_> {
        Piece {
            text: Cow::Borrowed(text),
            stream,
            at_unix_ns,
            ends_line: true,
        }
    }

    /// All entries, and how many bytes were skipped. What is incomplete ends the file.
    fn entries(mut bytes: &[u8]) -> (Vec<Piece<'_>>, usize) {
        let (mut pieces, mut skipped) = (Vec::new(), 0);
        loop {
            match next(bytes) {
                Frame::Entry { piece, len } => {
                    pieces.push(piece);
                    bytes = &bytes[len..];
                }
                Frame::Malformed { skip } => {
                    skipped += skip;
                    bytes = &bytes[skip..];
                }
                Frame::Incomplete => return (pieces, skipped),
            }
        }
    }

    #[test]
    fn a_frame_as_the_driver_writes_it() {
        let frame =
            b"\0\0\0\x17\x0a\x06stderr\x10\x80\x94\xeb\xdc\x03\x1a\x05caf\xe9\r\x20\0\0\0\0\x17";
        let Frame::Entry { piece: read, len } = next(frame) else {
            panic!("{:?}", next(frame));
        };
        assert_eq!(read, piece(b"caf\xe9", LogStream::Stderr, 1_000_000_000));
        assert_eq!(len, frame.len());
    }

    #[test]
    fn only_the_last_piece_ends_the_line() {
        let mut open = piece(b"abc\r", LogStream::Stdout, -5);
        open.ends_line = false;
        let end = piece(b"def", LogStream::Stdout, -5);
        let file = [encode(&open, Part::Piece(1)), encode(&end, Part::Piece(2))].concat();
        assert_eq!(entries(&file), (vec![open, end], 0));
    }

    #[test]
    fn faults_cost_no_more_than_their_message() {
        let good = encode(&piece(b"good", LogStream::Stdout, 7), Part::Whole);
        let expected = piece(b"good", LogStream::Stdout, 7);
        let mut wrong_length = good.clone();
        *wrong_length.last_mut().unwrap() ^= 1;
        let mut third_stream = good.clone();
        third_stream[9] = b'x';
        for fault in [
            &b"\0\0\0\0"[..],
            b"\xff\xff\xff\xff garbage",
            &wrong_length,
            &third_stream,
        ] {
            let file = [fault, &good].concat();
            let (pieces, skipped) = entries(&file);
            assert_eq!(
                (&pieces[..], skipped),
                (&[expected.clone()][..], fault.len())
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_stand_still(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            entries(&bytes);
        }

        #[test]
        fn no_near_miss_makes_it_panic(mut file in proptest::collection::vec(0_u8..40, 0..100), at in 0_usize..100) {
            file.splice(at.min(file.len())..at.min(file.len()), *b"\0\0\0\x14\x0a\x06stdout");
            entries(&file);
        }

        #[test]
        fn lines_come_back_and_parts_of_frames_wait(
            lines in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..60), any::<i64>(), any::<bool>()), 1..5),
            keep in 0.0..1.0_f64,
        ) {
            let pieces: Vec<Piece<'_>> = lines
                .iter()
                .filter(|(text, _, _)| !text.ends_with(b"\r"))
                .map(|(text, at, out)| piece(text, if *out { LogStream::Stdout } else { LogStream::Stderr }, *at))
                .collect();
            let mut file = Vec::new();
            let mut ends = Vec::new();
            for piece in &pieces {
                file.extend(encode(piece, Part::Whole));
                ends.push(file.len());
            }
            let keep = (file.len() as f64 * keep) as usize;
            let whole = ends.iter().filter(|end| **end <= keep).count();
            prop_assert_eq!(entries(&file[..keep]), (pieces[..whole].to_vec(), 0));
            prop_assert_eq!(entries(&file), (pieces, 0));
        }
    }
}
