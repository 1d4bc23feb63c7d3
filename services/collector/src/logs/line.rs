//! One line of a json-file log, and the joining of the pieces that long lines are cut into.

use std::borrow::Cow;

use serde::Deserialize;
use units::{LogStream, Timestamp};

/// A joined line longer than this is cut: eight of the engine's 16 KiB pieces. What follows up to the newline is dropped.
pub(super) const LINE_BYTES_MAX: usize = 128 * 1024;

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// What one line of the file holds: a line of the container, or a piece of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) at: Timestamp,
    pub(super) stream: LogStream,
    pub(super) text: Cow<'a, str>,
    pub(super) end: End,
}

/// Whether a piece ends its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It does.
    Newline,
    /// More follows.
    Open,
}

impl<'a> Piece<'a> {
    /// Reads a line of the file; `None` when it is not what the engine writes.
    pub(super) fn parse(line: &'a [u8]) -> Option<Piece<'a>> {
        let written: Written<'a> = serde_json::from_slice(line).ok()?;
        let at: jiff::Timestamp = written.time.parse().ok()?;
        let stream = match written.stream.as_ref() {
            "stdout" => LogStream::Stdout,
            "stderr" => LogStream::Stderr,
            _ => return None,
        };
        let end = if written.log.ends_with('\n') {
            End::Newline
        } else {
            End::Open
        };
        Some(Piece {
            at: Timestamp::from_millis(at.as_millisecond()),
            stream,
            text: without_newline(written.log),
            end,
        })
    }
}

/// Terminals end a line with a carriage return as well.
fn without_newline(text: Cow<'_, str>) -> Cow<'_, str> {
    let Some(line) = text.strip_suffix('\n') else {
        return text;
    };
    let len = line.strip_suffix('\r').unwrap_or(line).len();
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..len]),
        Cow::Owned(mut text) => {
            text.truncate(len);
            Cow::Owned(text)
        }
    }
}

/// A whole line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) at: Timestamp,
    pub(super) stream: LogStream,
    pub(super) text: String,
    /// Bytes that were dropped because the line was too long.
    pub(super) cut_bytes: usize,
}

/// Joins pieces by stream. `M` marks the place in the file from which an unfinished line can be read again.
#[derive(Debug)]
pub(super) struct Joiner<M> {
    stdout: Option<Unfinished<M>>,
    stderr: Option<Unfinished<M>>,
}

#[derive(Debug)]
struct Unfinished<M> {
    line: Joined,
    since: M,
}

impl<M> Default for Joiner<M> {
    fn default() -> Self {
        Joiner {
            stdout: None,
            stderr: None,
        }
    }
}

impl<M: Copy + Ord> Joiner<M> {
    /// Takes a piece that starts at `mark`; gives the line when it is whole. The line has the time of its first piece.
    pub(super) fn push(&mut self, piece: Piece<'_>, mark: M) -> Option<Joined> {
        let slot = match piece.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let mut unfinished = match slot.take() {
            Some(mut unfinished) => {
                unfinished.line.append(&piece.text);
                unfinished
            }
            None => Unfinished {
                line: Joined {
                    at: piece.at,
                    stream: piece.stream,
                    text: piece.text.into_owned(),
                    cut_bytes: 0,
                },
                since: mark,
            },
        };
        match piece.end {
            End::Newline => Some(unfinished.line),
            End::Open => {
                unfinished.line.limit();
                *slot = Some(unfinished);
                None
            }
        }
    }

    /// Where the oldest unfinished line starts.
    pub(super) fn oldest(&self) -> Option<M> {
        let starts = [&self.stdout, &self.stderr].map(|slot| slot.as_ref().map(|it| it.since));
        starts.into_iter().flatten().min()
    }

    /// Gives up waiting for the rest of unfinished lines, as when the container has ended.
    pub(super) fn flush(&mut self) -> impl Iterator<Item = Joined> {
        let mut rest = [self.stdout.take(), self.stderr.take()];
        rest.sort_by_key(|slot| slot.as_ref().map(|it| it.since));
        rest.into_iter().flatten().map(|unfinished| unfinished.line)
    }
}

impl Joined {
    fn append(&mut self, text: &str) {
        self.text.push_str(text);
        self.limit();
    }

    fn limit(&mut self) {
        if self.text.len() > LINE_BYTES_MAX {
            let keep = self.text.floor_char_boundary(LINE_BYTES_MAX);
            self.cut_bytes += self.text.len() - keep;
            self.text.truncate(keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(log: &str, stream: &str) -> Vec<u8> {
        let json = serde_json::json!({"log": log, "stream": stream, "time": "2026-01-02T03:04:05.678901234Z"});
        serde_json::to_vec(&json).unwrap()
    }

    #[test]
    fn a_plain_line_is_borrowed_and_its_newline_cut() {
        let bytes = line("hello\n", "stderr");
        let piece = Piece::parse(&bytes).unwrap();
        assert_eq!(piece.text, "hello");
        assert_eq!((piece.stream, piece.end), (LogStream::Stderr, End::Newline));
        assert_eq!(piece.at, Timestamp::from_millis(1_767_323_045_678));
        // An escaped newline makes serde own the text; any other plain line too, since each ends in one.
        let bytes = line("no newline", "stdout");
        assert!(matches!(
            Piece::parse(&bytes).unwrap().text,
            Cow::Borrowed("no newline")
        ));
    }

    #[test]
    fn terminals_and_odd_characters() {
        let bytes = line("tty \"quoted\" é\r\n", "stdout");
        assert_eq!(Piece::parse(&bytes).unwrap().text, "tty \"quoted\" é");
    }

    #[test]
    fn what_the_engine_does_not_write_is_no_line() {
        for text in [
            "",
            "{",
            "{}",
            "\u{0}\u{0}",
            r#"{"log":"x","stream":"third","time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":"x","stream":"stdout","time":"yesterday"}"#,
        ] {
            assert_eq!(Piece::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn pieces_are_joined_each_in_its_stream() {
        let mut joiner = Joiner::default();
        let mut push = |log: &str, stream: &str, mark: u64| {
            let bytes = line(log, stream);
            let piece = Piece::parse(&bytes).unwrap();
            let joined = joiner.push(piece, mark);
            (joined.map(|it| it.text), joiner.oldest())
        };
        assert_eq!(push("aaa", "stdout", 1), (None, Some(1)));
        assert_eq!(push("err", "stderr", 2), (None, Some(1)));
        assert_eq!(
            push("bbb\n", "stdout", 3),
            (Some("aaabbb".to_owned()), Some(2))
        );
        assert_eq!(
            push("whole\n", "stdout", 4),
            (Some("whole".to_owned()), Some(2))
        );
        assert_eq!(push("or\n", "stderr", 5), (Some("error".to_owned()), None));
    }

    #[test]
    fn an_endless_line_is_cut_and_the_cut_counted() {
        let mut joiner = Joiner::default();
        let piece = "é".repeat(8 * 1024);
        for mark in 0..20_u64 {
            let bytes = line(&piece, "stdout");
            assert_eq!(joiner.push(Piece::parse(&bytes).unwrap(), mark), None);
        }
        let bytes = line("end\n", "stdout");
        let joined = joiner.push(Piece::parse(&bytes).unwrap(), 20).unwrap();
        assert!(joined.text.len() <= LINE_BYTES_MAX);
        assert_eq!(joined.text.len() + joined.cut_bytes, 20 * 16 * 1024 + 3);
    }

    #[test]
    fn what_never_ended_is_given_up_oldest_first() {
        let mut joiner = Joiner::default();
        for (log, stream, mark) in [("err", "stderr", 1_u64), ("out", "stdout", 2)] {
            let bytes = line(log, stream);
            joiner.push(Piece::parse(&bytes).unwrap(), mark);
        }
        let texts: Vec<_> = joiner.flush().map(|it| it.text).collect();
        assert_eq!(texts, ["err", "out"]);
        assert_eq!(joiner.oldest(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Piece::parse(&bytes);
        }

        #[test]
        fn any_text_comes_back_whole(text in "[^\n\r]{0,300}", cut in 0_usize..300) {
            let cut = text.floor_char_boundary(cut.min(text.len()));
            let mut joiner = Joiner::default();
            let first = line(&text[..cut], "stdout");
            joiner.push(Piece::parse(&first).unwrap(), 0_u64);
            let second = line(&format!("{}\n", &text[cut..]), "stdout");
            let joined = joiner.push(Piece::parse(&second).unwrap(), 1).unwrap();
            prop_assert_eq!(joined.text, text);
        }
    }
}
