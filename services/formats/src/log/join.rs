//! Lines out of the 16 KiB pieces that the engine cuts them into.
//!
//! The stream alone tells which pieces belong together: within a stream the pieces of two lines do not mix, and the pieces'
//! times are equal for many lines written at once.

use std::borrow::Cow;

use units::LogStream;

use super::json_file::Piece;

/// Of a longer line this much is kept: four of the engine's pieces. The rest up to the newline is cut and counted.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined<'a, M> {
    /// Its text. Borrowed where it came in one piece that was.
    pub text: Cow<'a, [u8]>,
    /// Where it was written to.
    pub stream: LogStream,
    /// The time of its first piece, nanoseconds since 1970.
    pub at_unix_ns: i64,
    /// The mark of its first piece.
    pub mark: M,
    /// Bytes cut because the line was too long.
    pub cut_bytes: usize,
}

/// Joins the pieces of one container. `M` marks the place from which an unfinished line can be read again.
#[derive(Debug)]
pub struct Joiner<M> {
    stdout: Option<Joined<'static, M>>,
    stderr: Option<Joined<'static, M>>,
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
    /// Takes a piece that begins at `mark`, and gives the line when that ends it.
    pub fn push<'a>(&mut self, piece: Piece<'a>, mark: M) -> Option<Joined<'a, M>> {
        let slot = match piece.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let Some(line) = slot else {
            let line = first(piece.text, piece.stream, piece.at_unix_ns, mark);
            if piece.ends_line {
                return Some(line);
            }
            *slot = Some(Joined {
                text: Cow::Owned(line.text.into_owned()),
                stream: line.stream,
                at_unix_ns: line.at_unix_ns,
                mark: line.mark,
                cut_bytes: line.cut_bytes,
            });
            return None;
        };
        let room = LINE_BYTES_MAX.saturating_sub(line.text.len());
        let kept = if line.cut_bytes > 0 {
            0
        } else {
            fitting(&piece.text, room)
        };
        line.text.to_mut().extend_from_slice(&piece.text[..kept]);
        line.cut_bytes += piece.text.len() - kept;
        if piece.ends_line { slot.take() } else { None }
    }

    /// The mark of the oldest line that has not ended.
    pub fn oldest(&self) -> Option<M> {
        let marks = [&self.stdout, &self.stderr].map(|slot| slot.as_ref().map(|line| line.mark));
        marks.into_iter().flatten().min()
    }

    /// Gives the lines that have not ended as they are, the oldest first, as when no more comes.
    pub fn flush(&mut self) -> impl Iterator<Item = Joined<'static, M>> + use<M> {
        let mut lines = [self.stdout.take(), self.stderr.take()];
        lines.sort_by_key(|line| line.as_ref().map(|line| line.mark));
        lines.into_iter().flatten()
    }
}

fn first<M>(mut text: Cow<'_, [u8]>, stream: LogStream, at_unix_ns: i64, mark: M) -> Joined<'_, M> {
    let mut cut_bytes = 0;
    if text.len() > LINE_BYTES_MAX {
        let kept = fitting(&text, LINE_BYTES_MAX);
        cut_bytes = text.len() - kept;
        match &mut text {
            Cow::Borrowed(text) => *text = &text[..kept],
            Cow::Owned(text) => text.truncate(kept),
        }
    }
    Joined {
        text,
        stream,
        at_unix_ns,
        mark,
        cut_bytes,
    }
}

/// How much of the text goes into the room without cutting a character of UTF-8 in two, which has at most three bytes behind
/// its first.
fn fitting(text: &[u8], room: usize) -> usize {
    if text.len() <= room {
        return text.len();
    }
    let begins = |at: &usize| text[*at] & 0xc0 != 0x80;
    (room.saturating_sub(3)..=room)
        .rev()
        .find(begins)
        .unwrap_or(room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(text: &[u8], stream: LogStream, ends_line: bool) -> Piece<'_> {
        Piece {
            text: Cow::Borrowed(text),
            stream,
            at_unix_ns: text.len() as i64,
            ends_line,
        }
    }

    #[test]
    fn pieces_are_joined_each_in_its_stream() {
        use LogStream::{Stderr, Stdout};
        let mut joiner = Joiner::default();
        let mut push = |text: &'static str, stream, ends_line, mark: u64| {
            let line = joiner.push(piece(text.as_bytes(), stream, ends_line), mark);
            (
                line.map(|line| (line.text, line.mark, line.at_unix_ns)),
                joiner.oldest(),
            )
        };
        let line = |text: &'static str, mark, at| Some((Cow::Borrowed(text.as_bytes()), mark, at));
        assert_eq!(push("aaa", Stdout, false, 1), (None, Some(1)));
        assert_eq!(push("er", Stderr, false, 2), (None, Some(1)));
        assert_eq!(push("bb", Stdout, true, 3), (line("aaabb", 1, 3), Some(2)));
        assert_eq!(
            push("whole", Stdout, true, 4),
            (line("whole", 4, 5), Some(2))
        );
        assert_eq!(push("ror", Stderr, true, 5), (line("error", 2, 2), None));
        assert_eq!(push("", Stdout, true, 6), (line("", 6, 0), None));
    }

    #[test]
    fn a_line_in_one_piece_is_borrowed() {
        let line = Joiner::default().push(piece(b"x", LogStream::Stdout, true), 0);
        assert!(matches!(line.unwrap().text, Cow::Borrowed(b"x")));
    }

    #[test]
    fn what_never_ended_is_given_oldest_first() {
        let mut joiner = Joiner::default();
        joiner.push(piece(b"err", LogStream::Stderr, false), 1);
        joiner.push(piece(b"out", LogStream::Stdout, false), 2);
        let texts: Vec<_> = joiner.flush().map(|line| line.text).collect();
        assert_eq!(texts, [&b"err"[..], b"out"]);
        assert_eq!(joiner.oldest(), None);
    }

    proptest! {
        #[test]
        fn pieces_equal_the_whole(
            text in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in proptest::collection::vec(0_usize..300, 0..6),
            between in any::<bool>(),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut joiner = Joiner::default();
            let mut from = 0;
            for cut in cuts {
                prop_assert!(joiner.push(piece(&text[from..cut], LogStream::Stdout, false), from).is_none());
                if between {
                    joiner.push(piece(b"other", LogStream::Stderr, true), from);
                }
                from = cut;
            }
            let line = joiner.push(piece(&text[from..], LogStream::Stdout, true), from).unwrap();
            prop_assert_eq!(&line.text[..], &text[..]);
            prop_assert_eq!((line.mark, line.cut_bytes, joiner.oldest()), (0, 0, None));
        }

        #[test]
        fn an_endless_line_is_cut_between_characters_and_the_cut_counted(
            sizes in proptest::collection::vec(1_usize..9_000, 1..30), shift in 0_usize..4,
        ) {
            let mut joiner = Joiner::default();
            let mut all = "x".repeat(shift);
            joiner.push(piece(all.as_bytes(), LogStream::Stdout, false), 0);
            for size in sizes {
                let text = "€".repeat(size);
                joiner.push(piece(text.as_bytes(), LogStream::Stdout, false), 0);
                all.push_str(&text);
            }
            let line = joiner.push(piece(b"", LogStream::Stdout, true), 1).unwrap();
            prop_assert!(line.text.len() <= LINE_BYTES_MAX);
            prop_assert_eq!(line.text.len() + line.cut_bytes, all.len());
            prop_assert!(all.as_bytes().starts_with(&line.text));
            prop_assert!(std::str::from_utf8(&line.text).is_ok());
            prop_assert!(line.cut_bytes == 0 || line.text.len() > LINE_BYTES_MAX - 4);
        }
    }
}
