//! Numbers, words and lines.

use std::iter;
use std::ops::ControlFlow;

/// v1 writes "no limit" as the largest multiple of the page size: 9223372036854771712 with pages of 4 KiB, less with larger ones.
const NO_LIMIT_FROM: u64 = 1 << 62;

/// A file that holds one number.
pub fn number(text: &[u8]) -> Option<u64> {
    integer(text.trim_ascii())
}

/// A file that holds one number or `max`; the numbers by which v1 means "none" count as none.
pub fn limit(text: &[u8]) -> Option<u64> {
    number(text).filter(is_limit)
}

/// Hands each line of `key number` to `each`, in order, until it breaks off. Other lines, and what follows the number, are
/// passed over.
pub fn for_each_pair<'t>(text: &'t [u8], mut each: impl FnMut(&'t [u8], u64) -> ControlFlow<()>) {
    for line in lines(text) {
        let Some(end) = line.iter().position(u8::is_ascii_whitespace) else {
            continue;
        };
        let (key, rest) = line.split_at(end);
        if let (false, Some(value)) = (key.is_empty(), first_integer(rest))
            && each(key, value).is_break()
        {
            return;
        }
    }
}

/// The numbers of a few keys of a long keyed file. It ends at the line where the last of them is found, and of the lines before
/// it looks at the start only. Of a key that is there twice, the first number counts.
pub fn find<const N: usize>(text: &[u8], keys: [&[u8]; N]) -> [Option<u64>; N] {
    let mut found = [None; N];
    let mut missing = N;
    for line in lines(text) {
        if missing == 0 {
            break;
        }
        for (slot, key) in found.iter_mut().zip(keys) {
            // The byte behind the key tells most lines apart, and is cheaper to look at than the key.
            if slot.is_none()
                && line.get(key.len()).is_some_and(u8::is_ascii_whitespace)
                && line.starts_with(key)
            {
                *slot = first_integer(&line[key.len()..]);
                missing -= usize::from(slot.is_some());
                break;
            }
        }
    }
    found
}

/// Whether a number that v1 gives as a limit is one.
pub(super) fn is_limit(value: &u64) -> bool {
    *value < NO_LIMIT_FROM
}

/// Lines that are not empty.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    iter::from_fn(move || {
        while !rest.is_empty() {
            let end = newline(rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    })
}

/// What is between white space.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    iter::from_fn(move || {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let from = &rest[start..];
        let end = from.iter().position(u8::is_ascii_whitespace);
        let (word, after) = from.split_at(end.unwrap_or(from.len()));
        rest = after;
        Some(word)
    })
}

/// Decimal digits and nothing else.
pub(crate) fn integer(digits: &[u8]) -> Option<u64> {
    /// As many digits as fit 64 bits whatever they are.
    const DIGITS_SAFE: usize = 19;
    if digits.is_empty() {
        return None;
    }
    let (safe, rest) = digits.split_at(digits.len().min(DIGITS_SAFE));
    let mut value = 0_u64;
    for byte in safe {
        value = value * 10 + digit(*byte)?;
    }
    rest.iter().try_fold(value, |value, byte| {
        value.checked_mul(10)?.checked_add(digit(*byte)?)
    })
}

fn digit(byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

/// A decimal fraction without sign or exponent.
pub(crate) fn decimal(word: &[u8]) -> Option<f64> {
    let plain = word.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.'));
    let value: f64 = std::str::from_utf8(word)
        .ok()
        .filter(|_| plain)?
        .parse()
        .ok()?;
    value.is_finite().then_some(value)
}

fn first_integer(text: &[u8]) -> Option<u64> {
    words(text).next().and_then(integer)
}

/// Where the first line ends. Eight bytes at a time: a byte of `word` is zero where the text has a newline, and the lowest set
/// bit of `zeros` is in the first such byte (Hacker's Delight, 6-1).
fn newline(text: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const NEWLINES: u64 = u64::from_ne_bytes([b'\n'; 8]);
    let (chunks, rest) = text.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk) ^ NEWLINES;
        let zeros = word.wrapping_sub(LOW) & !word & HIGH;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| *byte == b'\n')?;
    Some(chunks.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_limit_is_absent() {
        assert_eq!(limit(b"9223372036854771712\n"), None);
        assert_eq!(limit(b"9223372036854710272\n"), None, "pages of 64 KiB");
        assert_eq!(limit(b"max\n"), None);
        assert_eq!(limit(b""), None);
        assert_eq!(limit(b"67108864\n"), Some(67_108_864));
    }

    #[test]
    fn numbers_end_at_64_bits() {
        assert_eq!(integer(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(integer(b"18446744073709551616"), None);
        assert_eq!(integer(b"00000000000000000000000001"), Some(1));
        assert_eq!(integer(b"-1"), None);
        assert_eq!(decimal(b"12.25"), Some(12.25));
        assert_eq!(decimal(b"inf"), None);
        assert_eq!(decimal(b"1e5"), None);
        assert_eq!(decimal(&[b'9'; 400]), None);
    }

    #[test]
    fn a_key_is_not_found_in_a_longer_one() {
        let text = b"anon_thp 1\nanon 2\nanon 3\nfile x\nfile 4";
        assert_eq!(
            find(text, [b"anon", b"file", b"slab"]),
            [Some(2), Some(4), None]
        );
    }

    #[test]
    fn a_walk_can_be_broken_off() {
        let mut seen = Vec::new();
        for_each_pair(b"a 1\nno\n b 9\nb 2 3\nc 3\n", |key, value| {
            seen.push((key, value));
            if key == b"b" {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(seen, [(b"a".as_slice(), 1), (b"b", 2)]);
    }

    proptest! {
        #[test]
        fn lines_are_those_of_a_plain_split(text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200)) {
            let expected: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(lines(&text).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn words_are_those_of_a_plain_split(line in "[a-c \t]{0,40}") {
            let expected: Vec<&str> = line.split_ascii_whitespace().collect();
            let read: Vec<&[u8]> = words(line.as_bytes()).collect();
            prop_assert_eq!(read, expected.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        }

        #[test]
        fn every_number_is_read_as_written(value: u64, zeros in 0_usize..30) {
            let text = format!("{}{value}", "0".repeat(zeros));
            prop_assert_eq!(integer(text.as_bytes()), Some(value));
        }

        #[test]
        fn find_sees_what_a_whole_walk_sees(text in "([ab]{0,2}[ \t]{0,2}[0-9]{0,3}x?\n{0,2}){0,20}") {
            let keys: [&[u8]; 3] = [b"a", b"ab", b"b"];
            let mut expected = [None; 3];
            for_each_pair(text.as_bytes(), |key, value| {
                if let Some(at) = keys.iter().position(|wanted| *wanted == key) {
                    expected[at] = expected[at].or(Some(value));
                }
                ControlFlow::Continue(())
            });
            prop_assert_eq!(find(text.as_bytes(), keys), expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (limit(&bytes), decimal(&bytes), find(&bytes, [b"a", b""]));
            for_each_pair(&bytes, |_, _| ControlFlow::Continue(()));
        }
    }
}
