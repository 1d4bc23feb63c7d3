//! The level of a line, as far as its text tells.
//!
//! Three forms cover what programs write: JSON with a `level` key, logfmt with `level=`, and a word near the start of a plain
//! line. Only the head of a line is looked at: a level further in is more often part of the message.

use units::LogSeverity;

const HEAD_BYTES: usize = 256;
const PLAIN_HEAD_BYTES: usize = 96;
const KEYS: [&str; 4] = ["level", "severity", "lvl", "loglevel"];

/// The level of a line.
pub(super) fn severity(text: &str) -> LogSeverity {
    let head = &text[..text.floor_char_boundary(HEAD_BYTES)];
    let found = if head.trim_start().starts_with('{') {
        keyed(head, json_value)
    } else {
        keyed(head, logfmt_value).or_else(|| plain(head))
    };
    found.unwrap_or(LogSeverity::Unknown)
}

/// The level behind one of the known keys.
fn keyed(head: &str, value: fn(&str) -> Option<&str>) -> Option<LogSeverity> {
    KEYS.iter().find_map(|key| {
        let mut from = 0;
        while let Some(at) = head[from..].find(key).map(|at| at + from) {
            from = at + key.len();
            let before = head[..at].bytes().next_back();
            let starts_a_word =
                before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'_');
            if starts_a_word && let Some(level) = value(&head[from..]).and_then(level) {
                return Some(level);
            }
        }
        None
    })
}

/// What follows a key in JSON: `": "error"` or `":50`.
fn json_value(rest: &str) -> Option<&str> {
    let rest = rest
        .strip_prefix('"')?
        .trim_start()
        .strip_prefix(':')?
        .trim_start();
    Some(leading_word(rest.trim_start_matches('"')))
}

/// What follows a key in logfmt: `=error` or `="error"`.
fn logfmt_value(rest: &str) -> Option<&str> {
    Some(leading_word(
        rest.strip_prefix('=')?.trim_start_matches('"'),
    ))
}

fn leading_word(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    &text[..end]
}

fn level(word: &str) -> Option<LogSeverity> {
    const WORDS: [(&str, LogSeverity); 21] = [
        ("trace", LogSeverity::Trace),
        ("debug", LogSeverity::Debug),
        ("dbg", LogSeverity::Debug),
        ("verbose", LogSeverity::Debug),
        ("info", LogSeverity::Info),
        ("information", LogSeverity::Info),
        ("inf", LogSeverity::Info),
        ("notice", LogSeverity::Info),
        ("warn", LogSeverity::Warn),
        ("warning", LogSeverity::Warn),
        ("wrn", LogSeverity::Warn),
        ("error", LogSeverity::Error),
        ("err", LogSeverity::Error),
        ("severe", LogSeverity::Error),
        ("fatal", LogSeverity::Fatal),
        ("critical", LogSeverity::Fatal),
        ("crit", LogSeverity::Fatal),
        ("panic", LogSeverity::Fatal),
        ("alert", LogSeverity::Fatal),
        ("emerg", LogSeverity::Fatal),
        ("emergency", LogSeverity::Fatal),
    ];
    let known = WORDS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(word));
    match known {
        Some((_, level)) => Some(*level),
        // Numbers as pino and bunyan write them.
        None => match word.parse::<u32>().ok()? {
            10 => Some(LogSeverity::Trace),
            20 => Some(LogSeverity::Debug),
            30 => Some(LogSeverity::Info),
            40 => Some(LogSeverity::Warn),
            50 => Some(LogSeverity::Error),
            60 => Some(LogSeverity::Fatal),
            _ => None,
        },
    }
}

/// A word that stands out: in capitals, in brackets, before a colon, or klog's letter before the date.
fn plain(head: &str) -> Option<LogSeverity> {
    let head = &head[..head.floor_char_boundary(PLAIN_HEAD_BYTES)];
    if let Some(level) = klog(head) {
        return Some(level);
    }
    let mut from = 0;
    while from < head.len() {
        let rest = &head[from..];
        let word = leading_word(rest);
        if word.is_empty() {
            from += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let before = head[..from].bytes().next_back();
        let after = head.as_bytes().get(from + word.len()).copied();
        let capitals = word.bytes().all(|byte| byte.is_ascii_uppercase());
        let bracketed = before == Some(b'[') && after == Some(b']');
        let titles = after == Some(b':') && (from == 0 || before == Some(b' '));
        if (capitals || bracketed || titles)
            && word.bytes().all(|byte| byte.is_ascii_alphabetic())
            && let Some(level) = level(word)
        {
            return Some(level);
        }
        from += word.len();
    }
    None
}

/// `E0102 15:04:05…`
fn klog(head: &str) -> Option<LogSeverity> {
    let (letter, digits) = head.as_bytes().get(..5)?.split_first()?;
    if !digits.iter().all(u8::is_ascii_digit) || head.as_bytes().get(5) != Some(&b' ') {
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
            (r#"{"severity":"WARNING"}"#, Warn),
            (r#"{"msg":"level of water"}"#, Unknown),
            ("time=2026 level=warn msg=\"slow\"", Warn),
            ("level=\"fatal\" msg=x", Fatal),
            ("toplevel=error", Unknown),
            ("2026-01-02T03:04:05Z ERROR my::module: failed", Error),
            ("2026/01/02 03:04:05 [error] 7#7: *1 open() failed", Error),
            ("[2026-01-02 03:04:05] WARN slow query", Warn),
            ("error: cannot open file", Error),
            ("panic: runtime error: index out of range", Fatal),
            ("E0102 15:04:05.678 1 main.go:3] no", Error),
            ("I0102 15:04:05.678 1 main.go:3] yes", Info),
            ("DEBUG x", Debug),
            ("TRACE x", Trace),
            ("there was no error in this sentence", Unknown),
            ("GET /error 200", Unknown),
            ("", Unknown),
        ] {
            assert_eq!(severity(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,400}") {
            severity(&text);
        }

        #[test]
        fn no_near_miss_makes_it_panic(text in "(level|\\{|=|\"|:|é|ERROR|\\[| |E0102){0,80}") {
            severity(&text);
        }
    }
}
