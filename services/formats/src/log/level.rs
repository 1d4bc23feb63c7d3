//! The level of a line, as far as its text tells.
//!
//! What programs write: JSON with a key for the level, logfmt with `level=`, a word near the start of a plain line, klog's
//! letter and syslog's number before it. Only the head of a line is looked at: a level further in is more often part of the
//! message.

use std::sync::LazyLock;

use memchr::memchr;
use units::LogSeverity;

use super::needles::{Hit, Needles};

/// How much of a line is looked at for a key.
const HEAD_BYTES: usize = 256;

/// How much of it is looked at for a word that stands alone.
const PLAIN_HEAD_BYTES: usize = 96;

/// The longest word is `information`.
const WORD_BYTES_MAX: usize = 11;

/// Keys first, then how the words begin.
const NEEDLES: [&str; 54] = [
    "level", "Level", "LEVEL", "lvl", "severity", "Severity", "SEVERITY", "trac", "debu", "dbg",
    "verb", "inf", "notice", "warn", "wrn", "err", "severe", "fata", "crit", "pani", "alert",
    "emerg", "fail", "trce", "dbug", "Trac", "Debu", "Verb", "Inf", "Notice", "Warn", "Err",
    "Severe", "Fata", "Crit", "Pani", "Alert", "Emerg", "TRAC", "DEBU", "DBG", "VERB", "INF",
    "NOTICE", "WARN", "WRN", "ERR", "SEVERE", "FATA", "CRIT", "PANI", "ALERT", "EMERG", "FINE",
];
const KEYS: usize = 7;

static SEARCH: LazyLock<Needles> = LazyLock::new(|| Needles::new(&NEEDLES));

/// The level of a line.
pub fn severity(text: &[u8]) -> LogSeverity {
    let head = &text[..text.len().min(HEAD_BYTES)];
    let found = match head.trim_ascii_start().first() {
        Some(b'{') => json(head),
        Some(b'<') => syslog(head).or_else(|| words(head)),
        _ => klog(head).or_else(|| words(head)),
    };
    found.unwrap_or(LogSeverity::Unknown)
}

fn json(head: &[u8]) -> Option<LogSeverity> {
    SEARCH
        .all(head)
        .filter(|hit| hit.needle < KEYS)
        .find_map(|hit| json_value(head, hit))
}

/// `"level":"error"` or `"level": 50`, from the key on.
fn json_value(head: &[u8], key: Hit) -> Option<LogSeverity> {
    if !is_key(head, key.start) {
        return None;
    }
    let rest = &head[key.end..];
    let rest = rest.strip_prefix(b"name").unwrap_or(rest);
    let rest = rest.strip_prefix(b"\"")?.trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start();
    level(word(rest.strip_prefix(b"\"").unwrap_or(rest)))
}

/// A key of logfmt anywhere in the head, or else the first word that stands out. Where such a word comes before any `=`, the
/// line is no logfmt, and the word is taken at once.
fn words(head: &[u8]) -> Option<LogSeverity> {
    let mut first = None;
    for hit in SEARCH.all(head) {
        if hit.needle < KEYS {
            if let Some(level) = logfmt_value(head, hit) {
                return Some(level);
            }
        } else if first.is_none() && hit.start < PLAIN_HEAD_BYTES {
            first = plain(head, hit.start);
            if first.is_some() && memchr(b'=', &head[..hit.start]).is_none() {
                return first;
            }
        }
    }
    first
}

/// `level=error` or `level="error"`, from the key on.
fn logfmt_value(head: &[u8], key: Hit) -> Option<LogSeverity> {
    if !is_key(head, key.start) {
        return None;
    }
    let rest = head[key.end..].strip_prefix(b"=")?;
    level(word(rest.strip_prefix(b"\"").unwrap_or(rest)))
}

/// Whether a key begins here: a word of its own, or the second half of `log_level`, `log.level` or `loglevel`. A minus sign
/// makes it an option on a command line.
fn is_key(head: &[u8], start: usize) -> bool {
    let before = &head[..start];
    let before = match before.last() {
        Some(b'_') => match before.strip_suffix(b"log_") {
            Some(before) => before,
            None => return false,
        },
        Some(b'g') => match before.strip_suffix(b"log") {
            Some(before) => before,
            None => return false,
        },
        _ => before,
    };
    before
        .last()
        .is_none_or(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-'))
}

/// A word that stands out: in capitals, in brackets, or before a colon.
fn plain(head: &[u8], start: usize) -> Option<LogSeverity> {
    let word = word(&head[start..]);
    let before = &head[..start];
    let after = head.get(start + word.len());
    if !begins_word(before) || after == Some(&b'_') {
        return None;
    }
    let capitals = word.iter().all(u8::is_ascii_uppercase);
    let bracketed = before.last() == Some(&b'[') && after == Some(&b']');
    let titles = after == Some(&b':') && matches!(before.last(), None | Some(b' '));
    let letters = word.iter().all(u8::is_ascii_alphabetic);
    ((capitals || bracketed || titles) && letters).then(|| level(word))?
}

/// Whether a word may begin behind these bytes: behind none, no letter or digit, or a terminal's `ESC [ 31 m`.
fn begins_word(before: &[u8]) -> bool {
    match before.last() {
        None => true,
        Some(b'm') => {
            let numbers = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
            let escape = before[..before.len() - 1]
                .iter()
                .rev()
                .skip_while(|byte| numbers(byte));
            escape.take(2).eq([b'[', 0x1b].iter())
        }
        Some(byte) => !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'/'),
    }
}

/// `E0102 15:04:05…`
fn klog(head: &[u8]) -> Option<LogSeverity> {
    let ([letter, digits @ .., b' '], _) = head.split_first_chunk::<6>()? else {
        return None;
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    match letter {
        b'I' => Some(LogSeverity::Info),
        b'W' => Some(LogSeverity::Warn),
        b'E' => Some(LogSeverity::Error),
        b'F' => Some(LogSeverity::Fatal),
        _ => None,
    }
}

/// `<3>`: the level is the last three bits of the number (RFC 5424, section 6.2.1).
fn syslog(head: &[u8]) -> Option<LogSeverity> {
    const PRIORITY_MAX: u32 = 191;
    let rest = head.trim_ascii_start().strip_prefix(b"<")?;
    let len = rest.iter().take(4).position(|byte| *byte == b'>')?;
    let priority = number(&rest[..len])?;
    match (priority <= PRIORITY_MAX).then_some(priority & 7)? {
        0..=2 => Some(LogSeverity::Fatal),
        3 => Some(LogSeverity::Error),
        4 => Some(LogSeverity::Warn),
        5 | 6 => Some(LogSeverity::Info),
        _ => Some(LogSeverity::Debug),
    }
}

/// The letters and digits at the beginning.
fn word(text: &[u8]) -> &[u8] {
    let len = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    &text[..len]
}

fn number(digits: &[u8]) -> Option<u32> {
    const DIGITS_MAX: usize = 3;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| {
        Some(sum * 10 + char::from(*digit).to_digit(10)?)
    })
}

fn level(word: &[u8]) -> Option<LogSeverity> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let mut lower = [0; WORD_BYTES_MAX];
    let lower = &mut lower[..word.len()];
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"trace" | b"trac" | b"trce" | b"finest" | b"finer" => LogSeverity::Trace,
        b"debug" | b"debu" | b"dbg" | b"dbug" | b"verbose" | b"fine" => LogSeverity::Debug,
        b"info" | b"information" | b"inf" | b"notice" => LogSeverity::Info,
        b"warn" | b"warning" | b"wrn" => LogSeverity::Warn,
        b"error" | b"erro" | b"err" | b"severe" | b"fail" => LogSeverity::Error,
        b"fatal" | b"fata" | b"critical" | b"crit" | b"panic" | b"pani" | b"alert" | b"emerg"
        | b"emergency" => LogSeverity::Fatal,
        // As pino and bunyan write them.
        digits => match number(digits)? {
            10 => LogSeverity::Trace,
            20 => LogSeverity::Debug,
            30 => LogSeverity::Info,
            40 => LogSeverity::Warn,
            50 => LogSeverity::Error,
            60 => LogSeverity::Fatal,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels_in_the_wild() {
        use LogSeverity::{Debug, Error, Fatal, Info, Trace, Unknown, Warn};
        for (line, expected) in [
            (r#"{"time":"x","level":"ERROR","msg":"boom"}"#, Error),
            (r#"{"level": 50, "msg": "pino"}"#, Error),
            (r#"{"level":10,"msg":"bunyan"}"#, Trace),
            (r#"{"severity":"WARNING"}"#, Warn),
            (r#"{"@timestamp":"x","log.level":"info"}"#, Info),
            (r#"{"levelname": "CRITICAL"}"#, Fatal),
            (r#"{"lvl":"dbg"}"#, Debug),
            (r#"{"Level":"Information"}"#, Info),
            (r#"{"msg":"level of water"}"#, Unknown),
            (r#"{"msg":"ERROR","level":"info"}"#, Info),
            (r#"{"level":{"x":"error"}}"#, Unknown),
            (r#"{"level":7}"#, Unknown),
            ("time=2026 level=warn msg=\"slow\"", Warn),
            ("ts=2026 msg=\"ERROR seen\" level=info", Info),
            ("level=\"fatal\" msg=x", Fatal),
            ("t=1 lvl=eror msg=x", Unknown),
            ("severity=notice x=1", Info),
            ("toplevel=error", Unknown),
            ("started with --log-level=debug", Unknown),
            ("2026-01-02T03:04:05Z ERROR my::module: failed", Error),
            ("2026-01-02 03:04:05,678 WARN [main] c.e.App - slow", Warn),
            ("2026/01/02 03:04:05 [error] 7#7: *1 open() failed", Error),
            ("[2026-01-02 03:04:05] WARN slow query", Warn),
            (
                "2026-01-02 03:04:05 INFO 1 --- [main] a.b.C : x=1 level=error",
                Info,
            ),
            (
                "\u{1b}[2m2026-01-02\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m x",
                Info,
            ),
            ("\u{1b}[1;31mERROR\u{1b}[0m x", Error),
            ("WARN[0003] from logrus", Warn),
            ("2026-01-02 03:04:05.678 UTC [1] FATAL:  no role", Fatal),
            ("fail: Microsoft.AspNetCore[13]", Error),
            ("info: Microsoft.Hosting.Lifetime[0]", Info),
            ("error: cannot open file", Error),
            ("[error]", Error),
            ("panic: runtime error: index out of range", Fatal),
            ("E0102 15:04:05.678 1 main.go:3] no", Error),
            ("I0102 15:04:05.678 1 main.go:3] yes", Info),
            ("<3>kernel: no", Error),
            ("<134>1 2026-01-02T03:04:05Z host app - - - x", Info),
            ("<999> x", Unknown),
            ("<html> ERROR", Error),
            ("DEBUG x", Debug),
            ("TRACE x", Trace),
            ("there was no error in this sentence", Unknown),
            ("no terror: here", Unknown),
            ("GET /error 200", Unknown),
            ("ERROR_CODE is 5", Unknown),
            ("", Unknown),
        ] {
            assert_eq!(severity(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn only_the_head_counts() {
        let far = format!(
            "{} ERROR {} level=warn",
            "x".repeat(PLAIN_HEAD_BYTES),
            "x".repeat(HEAD_BYTES)
        );
        assert_eq!(severity(far.as_bytes()), LogSeverity::Unknown);
    }

    #[test]
    fn each_beginning_belongs_to_a_word() {
        for needle in &NEEDLES[KEYS..] {
            let known = ["", "e", "l", "c", "g", "ose", "o", "ical"]
                .iter()
                .any(|rest| level(format!("{needle}{rest}").as_bytes()).is_some());
            assert!(known, "{needle}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            severity(&text);
        }

        #[test]
        fn no_near_miss_makes_it_panic(text in "(level|log_|log|\\{|=|\"|:|é|ERROR|err|\\[|m|\u{1b}| |E0102|<|3|>){0,80}") {
            severity(text.as_bytes());
        }

        #[test]
        fn what_follows_the_head_changes_nothing(text in "(level|=|\"|:|ERROR|err| ){70,80}", tail in "[a-zA-Z= ]{0,50}") {
            let head = text.as_bytes().iter().copied().cycle().take(HEAD_BYTES).collect::<Vec<_>>();
            prop_assert_eq!(severity(&[&head, tail.as_bytes()].concat()), severity(&head));
        }
    }
}
