//! Finds where the message of a line begins.
//!
//! What stands before it says when, how grave and from which part of a program; the forms are those that logging libraries and
//! syslog write: a time near the beginning of the line; behind it numbers (processes, threads), a level, a thread in brackets, a
//! logger; or a host and a tag. A line without a time near its beginning has no header.

use crate::shape::{is_month, is_weekday, is_word};

/// Words of a line that are looked at.
const WORDS_MAX: usize = 16;
/// A time begins within so many words.
const BEFORE_TIME_MAX: usize = 3;
/// Words that may stand between two parts of a time, and between the time and the level.
const BETWEEN_MAX: usize = 4;
/// Parts of a header behind its level: thread, logger, dashes, context.
const PARTS_MAX: usize = 4;

const LEVELS: &[&[u8]] = &[
    b"ALERT",
    b"CRIT",
    b"CRITICAL",
    b"DEBUG",
    b"EMERG",
    b"EMERGENCY",
    b"ERR",
    b"ERROR",
    b"FAILURE",
    b"FATAL",
    b"FINE",
    b"INFO",
    b"INFORMATION",
    b"NOTICE",
    b"PANIC",
    b"SEVERE",
    b"TRACE",
    b"VERBOSE",
    b"WARN",
    b"WARNING",
];

/// The message of `line`: all of it where no header is recognised.
pub(crate) fn message(line: &str) -> &str {
    let line = line.get(priority(line.as_bytes())..).unwrap_or(line);
    let header = Header::of(line);
    let Some((first, last)) = header.time() else {
        return line;
    };
    let start = header.after_time(first, last);
    line[start..].trim_start()
}

/// The length of syslog's `<30>` before everything else.
fn priority(line: &[u8]) -> usize {
    const DIGITS_MAX: usize = 3;
    let digits = line.iter().skip(1).take_while(|byte| byte.is_ascii_digit());
    let close = 1 + digits.take(DIGITS_MAX).count();
    let is_priority = close > 1 && line[0] == b'<' && line.get(close) == Some(&b'>');
    if is_priority { close + 1 } else { 0 }
}

/// The first words of a line.
struct Header<'a> {
    line: &'a [u8],
    words: [(usize, usize); WORDS_MAX],
    count: usize,
}

impl<'a> Header<'a> {
    fn of(line: &'a str) -> Self {
        let line = line.as_bytes();
        let mut words = [(0, 0); WORDS_MAX];
        let mut count = 0;
        let mut at = 0;
        while count < WORDS_MAX {
            let blank = |byte: &u8| byte.is_ascii_whitespace();
            let Some(skip) = line[at..].iter().position(|byte| !blank(byte)) else {
                break;
            };
            let start = at + skip;
            at = line[start..]
                .iter()
                .position(blank)
                .map_or(line.len(), |length| start + length);
            words[count] = (start, at);
            count += 1;
        }
        Header { line, words, count }
    }

    /// The word at `index`, empty beyond the last.
    fn word(&self, index: usize) -> &'a [u8] {
        if index < self.count {
            &self.line[self.words[index].0..self.words[index].1]
        } else {
            &[]
        }
    }

    /// Where the word at `index` begins; the end of what was looked at beyond the last.
    fn start(&self, index: usize) -> usize {
        match index.checked_sub(1) {
            _ if index < self.count => self.words[index].0,
            Some(before) if before < self.count => self.words[before].1,
            _ => self.line.len(),
        }
    }

    /// The first and the last word of the line's time, or of its times.
    fn time(&self) -> Option<(usize, usize)> {
        let first = (0..self.count.min(BEFORE_TIME_MAX)).find(|index| self.is_time(*index))?;
        let before = (0..first).all(|index| {
            let word = self.word(index);
            word == b"-" || (word.iter().all(|byte| is_name(*byte)) && !word.ends_with(b":"))
        });
        if !before {
            return None;
        }
        let mut last = first;
        for index in first..self.count {
            if index - last > BETWEEN_MAX {
                break;
            }
            let day =
                index > first && is_month(self.word(index - 1)) && is_digits(self.word(index));
            if self.is_time(index) || day {
                last = index;
            } else if self.word(index).ends_with(b":") {
                break;
            }
        }
        Some((first, last))
    }

    fn is_time(&self, index: usize) -> bool {
        let word = trimmed(self.word(index));
        let next = trimmed(self.word(index + 1));
        if is_clock(word) {
            return true;
        }
        match date(word) {
            Some(Date::Sure) => return true,
            Some(Date::Likely) => return is_clock(next),
            None => {}
        }
        let number = is_digits(word);
        // A number that may be anything, unless a date or a level follows.
        let epoch = number
            && matches!(word.len(), 10 | 13 | 16 | 19)
            && word[0] == b'1'
            && (is_level(self.word(index + 1)) || date(next).is_some());
        let compact = number && word.len() == 6 && next.len() == 6 && is_digits(next);
        let month = is_month(word) && is_digits(next);
        let weekday = is_weekday(word) && is_month(next);
        epoch || compact || month || weekday
    }

    /// Where the message begins, whose time are the words `first..=last`.
    fn after_time(&self, first: usize, last: usize) -> usize {
        if let Some(bar) = memchr::memchr(b'|', self.word(last)) {
            return self.after_bars(self.words[last].0 + bar + 1);
        }
        if let Some(level) = self.level(last + 1) {
            return self.after_level(level);
        }
        let mut next = last + 1;
        let year = self
            .word(next)
            .strip_suffix(b"]")
            .unwrap_or(self.word(next));
        if is_clock(trimmed(self.word(last))) && year.len() == 4 && is_digits(year) {
            next += 1;
        }
        // Apache's `[error]` behind a year.
        if is_level(self.word(next)) {
            return self.start(next + 1);
        }
        let syslog = last >= 2 && is_month(self.word(last - 2));
        if let Some(message) = self.after_tag(next, if syslog { 3 } else { 0 }) {
            return message;
        }
        let opened = self.word(first).starts_with(b"[") || syslog;
        let dash = (1..=2).find(|ahead| self.word(next + ahead) == b"-");
        match dash {
            // `name - message`, as Python's logging writes it.
            Some(ahead) if opened || self.word(next) == b"-" || ahead == 1 => {
                self.start(next + ahead + 1)
            }
            Some(_) | None => self.start(next),
        }
    }

    /// Fields with bars between: those without a blank in them belong to the header.
    fn after_bars(&self, mut at: usize) -> usize {
        while let Some(bar) = memchr::memchr(b'|', &self.line[at..]) {
            if self.line[at..at + bar].iter().any(u8::is_ascii_whitespace) {
                break;
            }
            at += bar + 1;
        }
        at
    }

    /// The level soon behind the time, if no tag ends before it.
    fn level(&self, from: usize) -> Option<usize> {
        for index in from..(from + BETWEEN_MAX + 1).min(self.count) {
            let word = self.word(index);
            let letter = matches!(word, b"V" | b"D" | b"I" | b"W" | b"E" | b"F")
                && index > 0
                && is_digits(self.word(index - 1));
            if letter || is_level(word) {
                return Some(index);
            }
            if word.ends_with(b":") {
                return None;
            }
        }
        None
    }

    /// Behind a level: a thread in brackets, a logger, its context in brackets, dashes.
    fn after_level(&self, level: usize) -> usize {
        let line = self.line;
        let mut at = self.words[level].1;
        let (mut threaded, mut logged) = (false, false);
        for _ in 0..PARTS_MAX {
            at += blanks(&line[at..]);
            let rest = &line[at..];
            if rest.starts_with(b"- ") {
                at += 2;
                if threaded || logged {
                    break;
                }
            } else if let Some(group) = brackets(rest).filter(|_| !threaded || logged) {
                at += group;
                at += usize::from(line.get(at) == Some(&b':'));
                if logged {
                    break;
                }
                threaded = true;
            } else if let Some(name) = logger(rest).filter(|_| !logged) {
                at += name;
                if line[at - 1] == b':' {
                    break;
                }
                logged = true;
            } else {
                break;
            }
        }
        at
    }

    /// Behind `host tag[pid]:` with at most `before` words before the end of the tag.
    fn after_tag(&self, from: usize, before: usize) -> Option<usize> {
        let end = (from..self.count.min(from + before + 1))
            .find(|index| self.word(*index).ends_with(b":"))?;
        let whole = self.word(end).iter().any(|byte| is_word(*byte));
        (whole && end + 1 < self.count).then(|| self.start(end + 1))
    }
}

fn is_name(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'_' | b'.' | b'-' | b':' | b'/')
}

fn is_digits(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

fn blanks(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count()
}

/// Without the brackets and commas around a time.
fn trimmed(word: &[u8]) -> &[u8] {
    let around = |byte: &u8| matches!(byte, b'[' | b']' | b'<' | b'>' | b'(' | b')' | b',');
    let Some(first) = word.iter().position(|byte| !around(byte)) else {
        return &[];
    };
    let last = word.iter().rposition(|byte| !around(byte)).unwrap_or(first);
    &word[first..=last]
}

/// `15:16:01`, with or without a fraction behind it.
fn is_clock(word: &[u8]) -> bool {
    let hours = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(rest) = word.get(hours..).filter(|_| (1..=2).contains(&hours)) else {
        return false;
    };
    let [b':', m1, m2, b':', s1, s2, rest @ ..] = rest else {
        return false;
    };
    [m1, m2, s1, s2].into_iter().all(u8::is_ascii_digit)
        && rest
            .first()
            .is_none_or(|byte| matches!(byte, b'.' | b',' | b'Z' | b'+' | b'-'))
}

/// How sure it is that a word is a date.
enum Date {
    /// It names a year of four digits.
    Sure,
    /// It may as well be a version or a number; a time has to follow.
    Likely,
}

/// `2015-10-18…`, `18.10.2015`, `17/06/09`, `10.30`, `20171223-…`.
fn date(word: &[u8]) -> Option<Date> {
    let first = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let separator = *word.get(first)?;
    if first == 8 && separator == b'-' && word.get(first + 1).is_some_and(u8::is_ascii_digit) {
        return Some(Date::Sure);
    }
    if !matches!(first, 1 | 2 | 4) || !matches!(separator, b'-' | b'/' | b'.') {
        return None;
    }
    let rest = &word[first + 1..];
    let second = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=2).contains(&second) {
        // `04/Dec/2005:…`, as web servers write it.
        let named = rest.len() > 8 && is_month(&rest[..3]) && rest[3] == separator;
        return named.then_some(Date::Sure);
    }
    let rest = &rest[second..];
    if rest.is_empty() {
        return (first <= 2).then_some(Date::Likely);
    }
    let rest = rest.strip_prefix(&[separator])?;
    let third = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ends = rest
        .get(third)
        .is_none_or(|byte| matches!(byte, b'T' | b'-' | b'_' | b':'));
    match (first, third) {
        (4, 1..=2) | (1..=2, 4) if ends => Some(Date::Sure),
        (1..=2, 1..=2) if ends => Some(Date::Likely),
        _ => None,
    }
}

/// A level in capitals or in brackets, with or without punctuation.
fn is_level(word: &[u8]) -> bool {
    let around = |byte: &u8| {
        matches!(
            byte,
            b'[' | b']' | b'<' | b'>' | b'(' | b')' | b':' | b',' | b'|'
        )
    };
    let Some(first) = word.iter().position(|byte| !around(byte)) else {
        return false;
    };
    let last = word.iter().rposition(|byte| !around(byte)).unwrap_or(first);
    let text = &word[first..=last];
    let marked = first > 0 || last + 1 < word.len();
    LEVELS
        .iter()
        .any(|level| *level == text || (marked && level.eq_ignore_ascii_case(text)))
}

/// The length of a group in square brackets that is closed again.
fn brackets(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    if bytes.first() != Some(&b'[') {
        return None;
    }
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index + 1);
        }
    }
    None
}

/// The length of a logger: one word that ends in a colon, or a dotted name with a group in brackets behind it.
fn logger(bytes: &[u8]) -> Option<usize> {
    let name = bytes
        .iter()
        .take_while(|byte| is_word(**byte) || matches!(byte, b'_' | b'.' | b'$' | b'-' | b'/'))
        .count();
    if name == 0 {
        return None;
    }
    let mut end = name;
    match bytes.get(end) {
        Some(b'(') => end += memchr::memchr(b')', &bytes[end..])? + 1,
        Some(b'[') => end += brackets(&bytes[end..])?,
        Some(_) | None => {}
    }
    let gap = blanks(&bytes[end..]);
    if bytes.get(end + gap) == Some(&b':')
        && bytes
            .get(end + gap + 1)
            .is_some_and(u8::is_ascii_whitespace)
    {
        return Some(end + gap + 1);
    }
    let dotted = end == name && bytes[..name].contains(&b'.') && bytes[0].is_ascii_lowercase();
    (dotted && gap > 0 && bytes.get(end + gap) == Some(&b'[')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_common_forms_are_passed_over() {
        for line in [
            "2026-01-02T03:04:05.678Z INFO  [main] com.shop.Cart : the cart is full",
            "2026-01-02 03:04:05,678 - cart - WARNING - the cart is full",
            "2026/01/02 03:04:05 [error] the cart is full",
            "Jan  2 03:04:05 node-7 cart[311]: the cart is full",
            "<30>Jan  2 03:04:05 node-7 cart: the cart is full",
            "[Fri Jan 02 03:04:05 2026] [error] the cart is full",
            "01-02 03:04:05.678  1702  2395 D CartService: the cart is full",
            "20260102-03:04:05:678|Cart|3001|the cart is full",
            "1767323045 ERROR shop.Cart: the cart is full",
            "- 1767323045 2026.01.02 node-7 Jan 2 03:04:05 node-7/node-7 cart(shop)[311]: the cart is full",
            "[02.01 03:04:05] cart - the cart is full",
            "[2026-01-02 03:04:05,678] INFO [cart 1]: the cart is full",
            "2026-01-02 03:04:05.678 25746 INFO shop.cart [req-1 a b - -] the cart is full",
            "the cart is full",
        ] {
            assert_eq!(message(line), "the cart is full", "{line}");
        }
    }

    #[test]
    fn messages_without_a_time_are_left_alone() {
        for line in [
            "10.251.73.220:50010 Served block blk_7",
            "ERROR IN CONTACTING RM.",
            "1.2.3 is the version: INFO",
            "1767323045 exceptions",
            "warning: can't get client address: reset",
            "",
            "   ",
            "[[[[",
        ] {
            assert_eq!(message(line), line);
        }
    }
}
