//! Cuts a message into tokens and replaces what is a value.
//!
//! A word is what stands between blanks. Within a word, pieces stand between punctuation; a piece that is a value by its form
//! becomes `<*>` (see `shape`). A word that is nothing but values and punctuation is a value itself, and values in a row are one,
//! so that lists of any length are the same. Months, weekdays and units belong to the number beside them.

use memchr::memmem;

use crate::json::KEYS;
use crate::shape::{
    Place, bare, is_colon_groups, is_month, is_unit, is_value, is_weekday, is_word, kind_of,
    names_a_value,
};
use crate::token::{Kind, Tokens, WILD_HASH, WILDCARD, hash};

/// A quoted passage of more words than this is somebody else's text, not the program's: a user agent, a query.
const QUOTED_WORDS_MAX: usize = 3;

/// Fills `into` with the tokens of `message`, at most `max_tokens` of them.
pub(crate) fn tokenise(message: &str, max_tokens: usize, into: &mut Tokens) {
    into.clear();
    let bytes = message.as_bytes();
    let mut words = Words { bytes, at: 0 };
    let mut before = Before::default();
    while let Some((start, end)) = words.next() {
        if into.all.len() + 1 >= max_tokens && words.clone().next().is_some() {
            into.wildcard();
            return;
        }
        let word = &bytes[start..end];
        if let Some(close) = passage(bytes, start, before.word) {
            into.wildcard();
            words.at = close;
            before = Before::default();
            continue;
        }
        if let Some((key, close)) = quoted_value(bytes, start, end) {
            let begun = into.text.len();
            into.text.push_str(&message[start..key]);
            into.text.push_str(WILDCARD);
            into.close(begun, hash(&into.text.as_bytes()[begun..]), Kind::Partial);
            words.at = close;
            before = Before::default();
            continue;
        }
        if names_a_value(before.word) && before.end + 2 == start {
            // An empty value between two single blanks, as `user %s from` leaves it.
            into.wildcard();
            before.word = &[];
        }
        if names_a_value(before.word) && is_word(word[0]) && !word.contains(&b'=') {
            into.wildcard();
            before = Before { word: &[], end };
            continue;
        }
        before = Before { word, end };
        if is_date(
            word,
            words.clone().next().map(|(start, end)| &bytes[start..end]),
        ) {
            into.wildcard();
        } else if !joins_number(word, into) {
            mask(&message[start..end], into);
        }
    }
}

/// The word before the one that is looked at, where it matters.
#[derive(Default)]
struct Before<'a> {
    word: &'a [u8],
    end: usize,
}

#[derive(Clone)]
struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<(usize, usize)> {
        let rest = self.bytes.get(self.at..)?;
        let start = self.at + rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let length = self.bytes[start..]
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(self.bytes.len() - start);
        self.at = start + length;
        Some((start, self.at))
    }
}

/// Where the passage ends that is quoted from `start` on, if it is a long one. The value of a key is the program's own text:
/// `msg="cannot open the file"`.
fn passage(bytes: &[u8], start: usize, before: &[u8]) -> Option<usize> {
    if bytes[start] != b'"' || before.ends_with(b":") || before.ends_with(b"=") {
        return None;
    }
    let inside = &bytes[start + 1..];
    let length = memchr::memchr(b'"', inside)?;
    let blanks = inside[..length]
        .iter()
        .filter(|byte| **byte == b' ')
        .count();
    (blanks >= QUOTED_WORDS_MAX).then_some(start + length + 2)
}

/// Where the key ends and the value, of a `key="any text"` that begins at `start`. What a program says under `msg` and the like is
/// no value.
fn quoted_value(bytes: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
    let word = &bytes[start..end];
    let equals = memchr::memchr(b'=', word)?;
    let key = &word[..equals];
    let named = !key.is_empty()
        && key
            .iter()
            .all(|byte| is_word(*byte) || matches!(byte, b'_' | b'-' | b'.'));
    if !named || word.get(equals + 1) != Some(&b'"') || KEYS.contains(&key) {
        return None;
    }
    let open = start + equals + 2;
    let mut close = open + memchr::memchr(b'"', &bytes[open..])?;
    while bytes[close - 1] == b'\\' {
        close += 1 + memchr::memchr(b'"', &bytes[close + 1..])?;
    }
    let behind = bytes[close + 1..]
        .iter()
        .take_while(|byte| matches!(byte, b',' | b';' | b')' | b']' | b'}'))
        .count();
    Some((start + equals + 1, close + 1 + behind))
}

fn is_date(word: &[u8], next: Option<&[u8]>) -> bool {
    let bare_word = bare(word);
    if bare_word.len() != 3 || !(is_month(bare_word) || is_weekday(bare_word)) {
        return false;
    }
    let next = next.map(bare).unwrap_or_default();
    is_month(next) || next.first().is_some_and(u8::is_ascii_digit)
}

/// Whether this is the unit of the number before it, which may stand in a bracket with it.
fn joins_number(word: &[u8], tokens: &Tokens) -> bool {
    let number = |text: &str| match text.as_bytes() {
        [.., b')' | b']'] => matches!(text, "(<*>)" | "[<*>]"),
        _ => text.ends_with(WILDCARD),
    };
    let last = tokens.all.last();
    last.is_some_and(|last| number(tokens.text_of(last))) && is_unit(bare(word))
}

fn is_separator(byte: u8) -> bool {
    matches!(
        byte,
        b',' | b';'
            | b'('
            | b')'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'='
            | b'"'
            | b'\''
            | b'<'
            | b'>'
            | b'|'
            | b':'
    )
}

/// Adds one word as a token.
fn mask(word: &str, into: &mut Tokens) {
    let bytes = word.as_bytes();
    let start = into.text.len();
    if is_colon_groups(bytes) {
        return into.wildcard();
    }
    let mut seen = Seen::default();
    let url = memmem::find(bytes, b"://").is_some();
    let mut at = 0;
    while at < bytes.len() {
        let gap = gap_length(&bytes[at..], url);
        if gap > 0 {
            into.text.push_str(&word[at..at + gap]);
            at += gap;
            continue;
        }
        let end = piece_end(bytes, at, url);
        piece(word, at, end, &mut seen, into);
        at = end;
    }
    close(start, seen, into);
}

/// What stands in a word so far.
#[derive(Default)]
struct Seen {
    values: bool,
    text: bool,
}

/// How much punctuation stands here: separators, or a leader of three dots or more.
fn gap_length(bytes: &[u8], url: bool) -> usize {
    if is_separator(bytes[0]) && !(url && bytes[0] == b':') {
        return 1;
    }
    let dots = bytes.iter().take_while(|byte| **byte == b'.').count();
    if dots >= 3 { dots } else { 0 }
}

fn piece_end(bytes: &[u8], from: usize, url: bool) -> usize {
    let mut end = from;
    while end < bytes.len() && gap_length(&bytes[end..], url) == 0 {
        end += 1;
    }
    // A name with dots and a port behind a colon are one address.
    let dotted = bytes[from..end].contains(&b'.');
    if dotted && bytes.get(end) == Some(&b':') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)
    {
        let digits = bytes[end + 1..].iter().take_while(|b| b.is_ascii_digit());
        end += 1 + digits.count();
    }
    end
}

/// Adds a piece of a word, masked where it is a value. The punctuation at its end stays.
fn piece(word: &str, start: usize, end: usize, seen: &mut Seen, into: &mut Tokens) {
    let bytes = word.as_bytes();
    let trailing = bytes[start..end]
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b'.' | b'!' | b'?' | b':'))
        .count();
    let core = &bytes[start..end - trailing];
    let place = match start.checked_sub(1).map(|before| bytes[before]) {
        Some(b'=') => Place::BehindKey,
        _ => Place::Free,
    };
    if is_value(core, place) {
        seen.values = true;
        into.text.push_str(WILDCARD);
        into.text.push_str(&word[end - trailing..end]);
    } else {
        seen.text |= core.iter().any(|byte| is_word(*byte));
        into.text.push_str(&word[start..end]);
    }
}

/// Makes a token of what was written since `start`.
fn close(start: usize, seen: Seen, into: &mut Tokens) {
    let text = &into.text.as_bytes()[start..];
    let kind = match seen {
        Seen {
            values: true,
            text: true,
        } => Kind::Partial,
        Seen {
            values: false,
            text: true,
        } => kind_of(text),
        Seen {
            values: true,
            text: false,
        } => return close_value(start, into),
        Seen {
            values: false,
            text: false,
        } => Kind::Plain,
    };
    // Empty brackets behind something hold what was not there to be written.
    if matches!(text, b"()" | b"[]" | b"{}") && !into.all.is_empty() {
        into.text.insert_str(start + 1, WILDCARD);
        return close_value(start, into);
    }
    let hash = hash(&into.text.as_bytes()[start..]);
    into.close(start, hash, kind);
}

/// Makes a value of what was written since `start`: values and punctuation. An opening bracket before it tells it from others.
fn close_value(start: usize, into: &mut Tokens) {
    let first = into.text.as_bytes()[start];
    let pair = match first {
        b'(' => "(<*>)",
        b'[' => "[<*>]",
        b'{' => "{<*>}",
        _ => {
            into.text.truncate(start);
            return into.wildcard();
        }
    };
    into.text.truncate(start);
    into.text.push_str(pair);
    into.close(start, WILD_HASH + u64::from(first), Kind::Partial);
}
