//! What a piece of text looks like: the tests that masking is made of. All take ASCII by its bytes and anything else for letters.

use crate::token::Kind;

/// Words that stand behind a number and belong to it.
const UNITS: &[&str] = &[
    "%", "b", "byte", "bytes", "d", "day", "days", "gb", "gib", "h", "hour", "hours", "k", "kb",
    "kib", "m", "mb", "mib", "min", "mins", "minute", "minutes", "ms", "ns", "s", "sec", "second",
    "seconds", "secs", "tb", "us",
];
const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
/// Words that name what follows them: a value.
const NOUNS: [&[u8]; 3] = [b"host", b"user", b"users"];
/// Words behind which a value is likely.
const BEFORE_VALUES: [&[u8]; 12] = [
    b"as", b"at", b"by", b"for", b"from", b"host", b"in", b"of", b"on", b"to", b"user", b"with",
];

pub(crate) fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0x80
}

pub(crate) fn is_word(byte: u8) -> bool {
    is_letter(byte) || byte.is_ascii_digit()
}

pub(crate) fn has_digit(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_digit)
}

pub(crate) fn is_month(word: &[u8]) -> bool {
    MONTHS.contains(&word)
}

pub(crate) fn is_weekday(word: &[u8]) -> bool {
    WEEKDAYS.contains(&word)
}

/// Whether the word behind this one is a value whatever it is.
pub(crate) fn names_a_value(word: &[u8]) -> bool {
    word.len() <= 5 && NOUNS.iter().any(|noun| noun.eq_ignore_ascii_case(word))
}

/// Whether the word behind this one is likely to be a value.
pub(crate) fn precedes_a_value(word: &[u8]) -> bool {
    word.len() <= 4
        && BEFORE_VALUES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(word))
}

pub(crate) fn is_unit(word: &[u8]) -> bool {
    const LONGEST: usize = 7;
    let mut lower = [0; LONGEST];
    let Some(lower) = lower.get_mut(..word.len()) else {
        return false;
    };
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    UNITS.iter().any(|unit| unit.as_bytes() == lower)
}

/// Without the punctuation around it.
pub(crate) fn bare(word: &[u8]) -> &[u8] {
    let around = |byte: &u8| {
        matches!(
            byte,
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b'.' | b';' | b':'
        )
    };
    let Some(first) = word.iter().position(|byte| !around(byte)) else {
        return &[];
    };
    let last = word.iter().rposition(|byte| !around(byte)).unwrap_or(first);
    &word[first..=last]
}

/// An address or a time: hexadecimal digits in groups with colons between (MAC, IPv6, `12:30:45`).
pub(crate) fn is_colon_groups(word: &[u8]) -> bool {
    let word = bare(word);
    let colons = word.iter().filter(|byte| **byte == b':').count();
    colons >= 2
        && has_digit(word)
        && word
            .iter()
            .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b'/'))
}

/// Whether a piece without punctuation around it is a value by its form. `of_key`: it stands behind a key's `=`.
pub(crate) fn is_value(piece: &[u8], place: Place) -> bool {
    let slashes = piece
        .iter()
        .filter(|byte| matches!(byte, b'/' | b'\\'))
        .count();
    if has_digit(piece) || slashes >= 2 || (slashes == 1 && piece.len() > 1 && piece[0] == b'/') {
        return true;
    }
    let inner = piece.get(1..piece.len().saturating_sub(1)).unwrap_or(&[]);
    if inner.contains(&b'@') {
        return true;
    }
    match place {
        Place::Free => false,
        Place::BehindKey => !piece
            .iter()
            .all(|byte| is_letter(*byte) || matches!(byte, b'_' | b'-')),
    }
}

/// Where a piece stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Anywhere.
    Free,
    /// Right behind the `=` of a key.
    BehindKey,
}

/// Whether an unmasked token is a word or a name.
pub(crate) fn kind_of(token: &[u8]) -> Kind {
    let Some(first) = token.iter().position(|byte| is_word(*byte)) else {
        return Kind::Plain;
    };
    let last = token
        .iter()
        .rposition(|byte| is_word(*byte))
        .unwrap_or(first);
    let value = match token.iter().rposition(|byte| *byte == b'=') {
        Some(equals) if equals >= last => return Kind::Plain,
        Some(equals) => &token[equals + 1..=last],
        None => &token[first..=last],
    };
    let (mut after_letter, mut name) = (false, false);
    for byte in value {
        match byte {
            letter if is_letter(*letter) => {}
            b'_' | b'-' | b'\'' if after_letter => {}
            b'.' | b'/' | b'\\' | b':' | b'@' | b'$' | b'#' | b'~' | b'+' | b'-' | b'_' => {
                name = true
            }
            // Words with brackets or commas between are words.
            _ => return Kind::Plain,
        }
        after_letter = is_letter(*byte);
    }
    if name { Kind::Ident } else { Kind::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_names_are_told_apart() {
        for word in [
            "Started",
            "don't",
            "JOB_SETUP",
            "job-conf",
            "user=root,",
            "logname=",
            "...",
            "(idle)",
            "[query][Query",
        ] {
            assert_eq!(kind_of(word.as_bytes()), Kind::Plain, "{word}");
        }
        for name in ["rpc.statd", "org.apache.Job", "a$b", "environment:java"] {
            assert_eq!(kind_of(name.as_bytes()), Kind::Ident, "{name}");
        }
    }

    #[test]
    fn values_are_known_by_their_form() {
        for value in [
            "10.0.0.7", "/var/log", "a/b/c", "blk_-38", "root@web", "0x7f",
        ] {
            assert!(is_value(value.as_bytes(), Place::Free), "{value}");
        }
        for text in ["/", "and/or", "word", "rpc.statd"] {
            assert!(!is_value(text.as_bytes(), Place::Free), "{text}");
        }
        assert!(is_value(b"zummit.com", Place::BehindKey));
        assert!(!is_value(b"root", Place::BehindKey));
        assert!(is_colon_groups(b"(00:11:43:e3:ba:c3)"));
        assert!(!is_colon_groups(b"dead:beef"));
    }
}
