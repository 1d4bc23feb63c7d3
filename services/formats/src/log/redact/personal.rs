//! E-mail addresses and the numbers of payment cards.

use memchr::memchr_iter;

use super::span::{Kind, Span, is_word};

/// The longest local part (RFC 5321, section 4.5.3.1.1). Of a longer word before an `@` its end is taken.
const LOCAL_BYTES_MAX: usize = 64;

/// The longest domain (section 4.5.3.1.2). What is longer is none.
const DOMAIN_BYTES_MAX: usize = 255;

/// Digits of a card's number (ISO/IEC 7812).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

pub(super) fn may_hold_email(chunk: &[u8]) -> bool {
    memchr_iter(b'@', chunk).any(|at| email(chunk, at).is_some())
}

pub(super) fn find_emails(text: &[u8], spans: &mut Vec<Span>) {
    spans.extend(memchr_iter(b'@', text).filter_map(|at| email(text, at)));
}

/// The address around an `@`.
fn email(text: &[u8], at: usize) -> Option<Span> {
    let in_local = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let local = text[..at]
        .iter()
        .rev()
        .take(LOCAL_BYTES_MAX)
        .take_while(in_local)
        .count();
    let domain = &text[at + 1..];
    let in_domain = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let len = domain
        .iter()
        .take(DOMAIN_BYTES_MAX + 1)
        .take_while(in_domain)
        .count();
    if local == 0 || len > DOMAIN_BYTES_MAX || is_word(domain, Some(len)) {
        return None;
    }
    let behind = |byte: &u8| matches!(byte, b'.' | b'-');
    let len = domain[..len].iter().rposition(|byte| !behind(byte))? + 1;
    let dot = domain[..len].iter().rposition(|byte| *byte == b'.')?;
    let top = &domain[dot + 1..len];
    let valid = dot > 0 && top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic);
    valid.then(|| Span::new(at - local, at + 1 + len, Kind::Email))
}

/// Whether there are enough digits in a row. What JSON escapes before them may look like more of them, so that neither the check
/// digit nor their number is looked at.
pub(super) fn may_hold_card(chunk: &[u8]) -> bool {
    rows(chunk).any(|(start, end)| {
        let digits = chunk[start..end]
            .iter()
            .filter(|byte| byte.is_ascii_digit());
        digits.count() >= *CARD_DIGITS.start()
    })
}

pub(super) fn find_cards(text: &[u8], spans: &mut Vec<Span>) {
    for (start, end) in rows(text) {
        cards(text, start, end, spans);
    }
}

/// Rows of digits with at most one blank or minus sign between two, long enough for a card. Such a row has a digit among any two
/// bytes, so looking at every twelfth pair finds all.
fn rows(text: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    const STEP: usize = *CARD_DIGITS.start() - 1;
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let at = from + STEP;
            let pair = text.get(at - 1..=at)?;
            if !pair.iter().any(u8::is_ascii_digit) {
                from = at;
                continue;
            }
            let seed = if text[at].is_ascii_digit() {
                at
            } else {
                at - 1
            };
            let start = row_start(text, from, seed);
            let end = row_end(text, seed);
            from = end.max(from + 1);
            if end - start >= *CARD_DIGITS.start() {
                return Some((start, end));
            }
        }
    })
}

fn row_start(text: &[u8], from: usize, seed: usize) -> usize {
    let mut start = seed;
    while start > from {
        let before = &text[from..start];
        start -= match before {
            [.., b'0'..=b'9'] => 1,
            [.., b'0'..=b'9', b' ' | b'-'] => 2,
            _ => break,
        };
    }
    start
}

fn row_end(text: &[u8], seed: usize) -> usize {
    let mut end = seed + 1;
    loop {
        end += match &text[end..] {
            [b'0'..=b'9', ..] => 1,
            [b' ' | b'-', b'0'..=b'9', ..] => 2,
            _ => return end,
        };
    }
}

/// The numbers in a row: from the beginning of a group of digits to the end of one.
fn cards(text: &[u8], start: usize, end: usize, spans: &mut Vec<Span>) {
    let mut from = start;
    while from < end {
        let begins = from == start || !text[from - 1].is_ascii_digit();
        let found = (begins && text[from].is_ascii_digit() && starts_apart(text, from))
            .then(|| card(text, from, end))
            .flatten();
        from = match found {
            Some(until) => {
                spans.push(Span::new(from, until, Kind::Card));
                until
            }
            None => from + 1,
        };
    }
}

fn starts_apart(text: &[u8], start: usize) -> bool {
    let before = start.checked_sub(1);
    !is_word(text, before) && before.is_none_or(|before| text[before] != b'.')
}

/// The end of the longest number from here.
fn card(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let mut digits = [0; *CARD_DIGITS.end()];
    let (mut count, mut longest) = (0, None);
    for (at, byte) in text[start..end].iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            continue;
        }
        if count == digits.len() {
            break;
        }
        digits[count] = digit;
        count += 1;
        let until = start + at + 1;
        if CARD_DIGITS.contains(&count) && !is_word(text, Some(until)) && is_card(&digits[..count])
        {
            longest = Some(until);
        }
    }
    longest
}

/// Whether an issuer's numbers begin so, and whether the check digit is right (Luhn's formula, ISO/IEC 7812-1, annex B). Times
/// since 1970 begin with 1 and are none.
fn is_card(digits: &[u8]) -> bool {
    let head = digits[..4]
        .iter()
        .fold(0, |head, digit| head * 10 + u32::from(*digit));
    let issued = matches!(head, 2221..=2720 | 3000..=6999);
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    issued && sum.is_multiple_of(10)
}
