//! The lines of the engine's `json-file` driver: `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}`,
//! with an object `attrs` among them where the container's labels are logged.
//!
//! The format is that of `daemon/logger/jsonfilelog` in moby/moby.

mod string;
mod time;

use std::borrow::Cow;

use units::LogStream;

use string::Decoded;

/// A line of a container, or a piece of one where the engine cut it at 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What was written, without the newline and a carriage return before it. Not always UTF-8.
    pub text: Cow<'a, [u8]>,
    /// Where it was written to.
    pub stream: LogStream,
    /// When the engine took it: nanoseconds since 1970. All pieces of a line have the same.
    pub at_unix_ns: i64,
    /// Whether the line ends here. Where it does not, more pieces of the same stream follow.
    pub ends_line: bool,
}

/// Reads one line of the file, given without its newline; `None` when it is not what the engine writes.
pub fn parse(line: &[u8]) -> Option<Piece<'_>> {
    let mut fields = Fields::default();
    let Some(rest) = line.strip_prefix(b"{\"log\":\"") else {
        let rest = blank(line).strip_prefix(b"{")?;
        return fields.read(rest, Before::First);
    };
    let (log, rest) = string::decode(rest)?;
    match usual_end(rest) {
        Some((stream, at_unix_ns)) => Some(log.piece(stream, at_unix_ns)),
        None => {
            fields.log = Some(log);
            fields.read(rest, Before::Next)
        }
    }
}

/// `,"stream":"stdout","time":"…Z"}`
fn usual_end(rest: &[u8]) -> Option<(LogStream, i64)> {
    let rest = rest.strip_prefix(b",\"stream\":\"std")?;
    let (stream, rest) = match rest.split_first_chunk::<3>()? {
        (b"out", rest) => (LogStream::Stdout, rest),
        (b"err", rest) => (LogStream::Stderr, rest),
        _ => return None,
    };
    let time = rest.strip_prefix(b"\",\"time\":\"")?.strip_suffix(b"\"}")?;
    Some((stream, time::unix_ns(time)?))
}

#[derive(Default)]
struct Fields<'a> {
    log: Option<Decoded<'a>>,
    stream: Option<LogStream>,
    at_unix_ns: Option<i64>,
}

/// What has to come before the next member of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing: it is the first.
    First,
    /// A comma.
    Next,
}

impl<'a> Fields<'a> {
    /// Reads the rest of the object, its members in any order. Each turn consumes a member, so the loop ends with the line.
    fn read(mut self, mut rest: &'a [u8], mut before: Before) -> Option<Piece<'a>> {
        loop {
            rest = blank(rest);
            if let Some(end) = rest.strip_prefix(b"}") {
                if !blank(end).is_empty() {
                    return None;
                }
                return Some(self.log?.piece(self.stream?, self.at_unix_ns?));
            }
            if before == Before::Next {
                rest = blank(rest.strip_prefix(b",")?);
            }
            before = Before::Next;
            let (key, after) = string::decode(rest.strip_prefix(b"\"")?)?;
            rest = blank(blank(after).strip_prefix(b":")?);
            rest = self.member(&key.text, rest)?;
        }
    }

    /// Takes the value of one member and gives what follows.
    fn member(&mut self, key: &[u8], rest: &'a [u8]) -> Option<&'a [u8]> {
        if !matches!(key, b"log" | b"stream" | b"time") {
            return skip_value(rest);
        }
        let (value, rest) = string::decode(rest.strip_prefix(b"\"")?)?;
        match key {
            b"stream" => self.stream = Some(stream(&value.text)?),
            b"time" => self.at_unix_ns = Some(time::unix_ns(&value.text)?),
            _ => self.log = Some(value),
        }
        Some(rest)
    }
}

pub(super) fn stream(name: &[u8]) -> Option<LogStream> {
    match name {
        b"stdout" => Some(LogStream::Stdout),
        b"stderr" => Some(LogStream::Stderr),
        _ => None,
    }
}

fn blank(rest: &[u8]) -> &[u8] {
    rest.trim_ascii_start()
}

/// What follows a value of any kind. Brackets are counted, not matched by kind: what is skipped is not used.
fn skip_value(mut rest: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_usize;
    loop {
        rest = blank(rest);
        let (first, after) = rest.split_first()?;
        rest = match first {
            b'"' => string::skip(after)?,
            b'{' | b'[' => {
                depth += 1;
                after
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                after
            }
            b',' | b':' if depth > 0 => after,
            _ => {
                let word = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'+' | b'.' | b'E');
                let len = rest.iter().take_while(|byte| word(byte)).count();
                (len > 0).then(|| &rest[len..])?
            }
        };
        if depth == 0 {
            return Some(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NS: i64 = 1_767_323_045_678_901_234;

    fn plain(text: &str) -> Piece<'_> {
        Piece {
            text: Cow::Borrowed(text.as_bytes()),
            stream: LogStream::Stdout,
            at_unix_ns: NS,
            ends_line: true,
        }
    }

    /// What the engine writes for a text: quotes, backslashes, control characters and what is special in HTML escaped.
    pub(super) fn written(text: &str) -> String {
        let mut out = String::from("{\"log\":\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c < ' ' || "<>&\u{2028}\u{2029}".contains(c) => {
                    out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => out.push(c),
            }
        }
        out + "\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.678901234Z\"}"
    }

    #[test]
    fn an_ordinary_line_is_borrowed() {
        for text in ["hello\n", "hello\r\n", "hello"] {
            let line = written(text);
            let piece = parse(line.as_bytes()).unwrap();
            assert!(matches!(piece.text, Cow::Borrowed(b"hello")), "{text:?}");
            assert_eq!(piece.ends_line, text != "hello");
            assert_eq!((piece.stream, piece.at_unix_ns), (LogStream::Stdout, NS));
        }
    }

    #[test]
    fn members_come_in_any_order_with_others_among_them() {
        for line in [
            r#"{"log":"a\n","stream":"stdout","attrs":{"k":"}\"","l":[1,{"x":null}]},"time":"2026-01-02T03:04:05.678901234Z"}"#,
            r#"{"stream":"stdout","time":"2026-01-02T03:04:05.678901234Z","log":"a\n"}"#,
            r#" { "time" : "2026-01-02T03:04:05.678901234Z" , "log" : "a\n", "n":-1.5E+3, "stream":"stdout" } "#,
        ] {
            assert_eq!(parse(line.as_bytes()), Some(plain("a")), "{line}");
        }
    }

    #[test]
    fn what_the_engine_does_not_write_is_no_line() {
        for line in [
            "",
            "{",
            "{}",
            "\u{0}\u{0}",
            r#"{"log":"x","stream":"third","time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":"x","stream":"stdout","time":"yesterday"}"#,
            r#"{"log":"x","stream":"stdout"}"#,
            r#"{"log":"x","stream":"stdout","time":"2026-01-02T03:04:05Z"} more"#,
            r#"{"log":"x""stream":"stdout","time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":"x","a":,"stream":"stdout","time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":7,"stream":"stdout","time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":"x\","stream":"stdout","time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":"cut","stream":"stdo"#,
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }

        #[test]
        fn no_near_miss_makes_it_panic(
            line in "(\\{\"log\":\"|\\\\|\\\\u|d83d|\"|,|:|\"stream\":|\"stdout\"|\"time\":\"|2026-01-02T03:04:05Z|\\}|\\[|\\{|n| ){0,20}"
        ) {
            parse(line.as_bytes());
        }

        #[test]
        fn any_text_comes_back_whole(text in "(?s)([\"\\\\\n<&\u{2028}😀a-z]|.){0,120}") {
            prop_assume!(!text.ends_with('\r'));
            let line = written(&format!("{text}\n"));
            prop_assert_eq!(parse(line.as_bytes()), Some(plain(&text)));
        }

        #[test]
        fn no_part_of_a_line_is_one(text in "[a-z\"\\\\]{0,20}", keep in 0.0..1.0_f64) {
            let line = written(&text);
            let keep = (line.len() as f64 * keep) as usize;
            prop_assert_eq!(parse(&line.as_bytes()[..keep]), None);
        }
    }
}
