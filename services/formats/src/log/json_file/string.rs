//! JSON strings (RFC 8259, section 7), from behind their opening quote.

use std::borrow::Cow;

use memchr::memchr2;
use units::LogStream;

use super::Piece;

/// A decoded string, with a newline at its end cut.
pub(super) struct Decoded<'a> {
    pub(super) text: Cow<'a, [u8]>,
    ends_line: bool,
}

impl<'a> Decoded<'a> {
    pub(super) fn piece(self, stream: LogStream, at_unix_ns: i64) -> Piece<'a> {
        Piece {
            text: self.text,
            stream,
            at_unix_ns,
            ends_line: self.ends_line,
        }
    }
}

/// Decodes up to the closing quote and gives what follows it. Text whose only escapes are those of the newline at its end is
/// borrowed. `None` where the string does not end or an escape is none.
pub(super) fn decode(bytes: &[u8]) -> Option<(Decoded<'_>, &[u8])> {
    let at = memchr2(b'"', b'\\', bytes)?;
    let (text, tail) = bytes.split_at(at);
    for (end, ends_line) in [(&b"\\n\""[..], true), (b"\"", false), (b"\\r\\n\"", true)] {
        if let Some(rest) = tail.strip_prefix(end) {
            let text = Cow::Borrowed(text);
            return Some((Decoded { text, ends_line }, rest));
        }
    }
    escaped(text, tail)
}

/// Copies, from the first escape on. The capacity is what the engine cuts lines to, or less: no need to grow for most.
fn escaped<'a>(before: &[u8], mut tail: &'a [u8]) -> Option<(Decoded<'a>, &'a [u8])> {
    const CAPACITY: usize = 16 * 1024;
    let mut text = Vec::with_capacity((before.len() + tail.len()).min(CAPACITY));
    text.extend_from_slice(before);
    let rest = loop {
        let (first, after) = tail.split_first()?;
        match first {
            b'"' => break after,
            b'\\' => tail = unescape(after, &mut text)?,
            _ => tail = plain(tail, &mut text)?,
        }
    };
    let ends_line = text.last() == Some(&b'\n');
    if ends_line {
        text.pop();
        text.pop_if(|last| *last == b'\r');
    }
    let text = Cow::Owned(text);
    Some((Decoded { text, ends_line }, rest))
}

/// What comes before the next quote or backslash. Where one is escaped more are, and mostly near: eight bytes are looked at in
/// one step, and copied before it is known how many of them count, which is cheaper than a call for so few.
fn plain<'a>(tail: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    const STEPS_MAX: usize = 4;
    let mut rest = tail;
    for _ in 0..STEPS_MAX {
        let Some((eight, after)) = rest.split_first_chunk::<8>() else {
            break;
        };
        text.extend_from_slice(eight);
        let ends = first_end(u64::from_le_bytes(*eight));
        if ends < 8 {
            text.truncate(text.len() - (8 - ends));
            return Some(&rest[ends..]);
        }
        rest = after;
    }
    let len = memchr2(b'"', b'\\', rest)?;
    text.extend_from_slice(&rest[..len]);
    Some(&rest[len..])
}

/// Which of eight bytes, the first lowest, is the first quote or backslash; 8 if none is. A byte that is zero after the
/// exclusive or is the lowest to borrow from its highest bit.
fn first_end(eight: u64) -> usize {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let quote = eight ^ (LOW * b'"' as u64);
    let backslash = eight ^ (LOW * b'\\' as u64);
    ((zeros(quote) | zeros(backslash)).trailing_zeros() / 8) as usize
}

/// One escape, from behind its backslash.
fn unescape<'a>(bytes: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (kind, rest) = bytes.split_first()?;
    text.push(match kind {
        b'"' | b'\\' | b'/' => *kind,
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'u' => return unicode(rest, text),
        _ => return None,
    });
    Some(rest)
}

/// Four hex digits, and four more where they are the first half of a pair. Half a pair alone is U+FFFD.
fn unicode<'a>(bytes: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (first, mut rest) = hex(bytes)?;
    let mut code = first;
    if (0xd800..0xdc00).contains(&first)
        && let Some((second, after)) = rest.strip_prefix(b"\\u").and_then(hex)
        && (0xdc00..0xe000).contains(&second)
    {
        code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        rest = after;
    }
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

fn hex(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = bytes.split_first_chunk::<4>()?;
    let mut code = 0;
    for digit in digits {
        code = code << 4 | char::from(*digit).to_digit(16)?;
    }
    Some((code, rest))
}

/// What follows the closing quote.
pub(super) fn skip(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let at = memchr2(b'"', b'\\', bytes)?;
        match bytes[at] {
            b'"' => return Some(&bytes[at + 1..]),
            _ => bytes = bytes.get(at + 2..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        for (written, text) in [
            (r#"a\"b\\c\/d\b\f\t"#, "a\"b\\c/d\u{8}\u{c}\t"),
            (r"\u00e9\u20AC\ud83d\ude00", "é€😀"),
            (r"\ud83d!", "\u{fffd}!"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
        ] {
            let bytes = format!("{written}\" rest");
            let (decoded, rest) = decode(bytes.as_bytes()).unwrap();
            assert_eq!(decoded.text, text.as_bytes(), "{written}");
            assert_eq!((decoded.ends_line, rest), (false, &b" rest"[..]));
            assert_eq!(skip(bytes.as_bytes()), Some(&b" rest"[..]));
        }
        for written in ["", "\\", "\\\"", "\\x\"", "\\u12\"", "\\u12g4\"", "\\ud83d"] {
            assert!(decode(written.as_bytes()).is_none(), "{written}");
        }
    }
}
