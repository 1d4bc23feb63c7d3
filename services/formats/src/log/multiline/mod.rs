//! One line out of the lines of a stack trace, per stream.
//!
//! The lines of a trace follow the one that began it: an exception's name and message, a traceback's title, a panic. Only a line
//! that may begin a trace is held back until the next one of its stream, or for a time; all others pass at once, uncopied.
//! The lines of a private key are merged too, so that it can be recognised as a whole.

mod shape;

use std::borrow::Cow;

use units::LogStream;

use super::join::Joined;
use shape::{Next, Shape};

/// A trace that got no line for this long is given: programs write theirs in one go.
pub const HOLD_MS: u64 = 500;

/// A trace is given this long after its first line though more come, so that positions behind it can advance.
pub const HOLD_ALL_MS: u64 = 5_000;

/// Lines in one merged line. The next begins another.
pub const MERGED_LINES_MAX: u32 = 512;

/// Bytes in one merged line, newlines included. The line that finds no room begins another.
pub const MERGED_BYTES_MAX: usize = 64 * 1024;

/// A line, or the lines of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged<'a, M> {
    /// Its text, lines separated by newlines.
    pub text: Cow<'a, [u8]>,
    /// Where it was written to.
    pub stream: LogStream,
    /// The time of its first line, nanoseconds since 1970.
    pub at_unix_ns: i64,
    /// The mark of its first line.
    pub mark: M,
    /// How many lines there are, at least one.
    pub lines: u32,
    /// Bytes cut from them because they were too long.
    pub cut_bytes: usize,
}

/// What a line led to: nothing, itself, a trace that it ended, or both in this order.
#[derive(Debug)]
pub struct Ready<'a, M> {
    first: Option<Merged<'a, M>>,
    second: Option<Merged<'a, M>>,
}

impl<'a, M> Iterator for Ready<'a, M> {
    type Item = Merged<'a, M>;

    #[inline]
    fn next(&mut self) -> Option<Merged<'a, M>> {
        self.first.take().or_else(|| self.second.take())
    }
}

/// Merges the lines of one container.
#[derive(Debug)]
pub struct Merger<M> {
    stdout: Option<Group<M>>,
    stderr: Option<Group<M>>,
}

/// Lines held back.
#[derive(Debug)]
struct Group<M> {
    shape: Shape,
    merged: Merged<'static, M>,
    first_ms: u64,
    last_ms: u64,
}

impl<M> Default for Merger<M> {
    fn default() -> Self {
        Merger {
            stdout: None,
            stderr: None,
        }
    }
}

impl<M: Copy + Ord> Merger<M> {
    /// Takes a line at a time in milliseconds of a clock that does not step back.
    pub fn push<'a>(&mut self, line: Joined<'a, M>, now_ms: u64) -> Ready<'a, M> {
        let slot = match line.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let mut first = None;
        if let Some(group) = slot {
            match group.shape.next(&line.text) {
                Next::Continues(shape) => {
                    let full = group.append(shape, line, now_ms);
                    return Ready {
                        first: full,
                        second: None,
                    };
                }
                Next::Ends => {
                    group.append(group.shape, line, now_ms);
                    return Ready {
                        first: take(slot),
                        second: None,
                    };
                }
                Next::Apart => first = take(slot),
            }
        }
        match Shape::begun_by(&line.text) {
            Some(shape) => {
                *slot = Some(Group::begin(shape, line, now_ms));
                Ready {
                    first,
                    second: None,
                }
            }
            None => Ready {
                first,
                second: Some(alone(line)),
            },
        }
    }

    /// Gives the traces that got no line for [`HOLD_MS`] or are [`HOLD_ALL_MS`] old, the oldest first.
    pub fn expire(&mut self, now_ms: u64) -> impl Iterator<Item = Merged<'static, M>> + use<M> {
        let expired = |group: &mut Group<M>| {
            now_ms.saturating_sub(group.last_ms) >= HOLD_MS
                || now_ms.saturating_sub(group.first_ms) >= HOLD_ALL_MS
        };
        oldest_first([self.stdout.take_if(expired), self.stderr.take_if(expired)])
    }

    /// Gives all that is held, the oldest first, as when no more comes.
    pub fn flush(&mut self) -> impl Iterator<Item = Merged<'static, M>> + use<M> {
        oldest_first([self.stdout.take(), self.stderr.take()])
    }

    /// The mark of the oldest line held.
    pub fn oldest(&self) -> Option<M> {
        let marks =
            [&self.stdout, &self.stderr].map(|slot| slot.as_ref().map(|group| group.merged.mark));
        marks.into_iter().flatten().min()
    }
}

impl<M: Copy + Ord> Group<M> {
    fn begin(shape: Shape, line: Joined<'_, M>, now_ms: u64) -> Group<M> {
        let Merged {
            text,
            stream,
            at_unix_ns,
            mark,
            lines,
            cut_bytes,
        } = alone(line);
        Group {
            shape,
            merged: Merged {
                text: Cow::Owned(text.into_owned()),
                stream,
                at_unix_ns,
                mark,
                lines,
                cut_bytes,
            },
            first_ms: now_ms,
            last_ms: now_ms,
        }
    }

    /// Adds a line. Where it finds no room, what there was is given, and the line goes on in its place.
    fn append(
        &mut self,
        shape: Shape,
        line: Joined<'_, M>,
        now_ms: u64,
    ) -> Option<Merged<'static, M>> {
        let merged = &mut self.merged;
        let bytes = merged.text.len() + 1 + line.text.len();
        if merged.lines == MERGED_LINES_MAX || bytes > MERGED_BYTES_MAX {
            let full = std::mem::replace(self, Group::begin(shape, line, now_ms));
            return Some(full.merged);
        }
        let text = merged.text.to_mut();
        text.push(b'\n');
        text.extend_from_slice(&line.text);
        merged.lines += 1;
        merged.cut_bytes += line.cut_bytes;
        self.shape = shape;
        self.last_ms = now_ms;
        None
    }
}

fn alone<M>(line: Joined<'_, M>) -> Merged<'_, M> {
    Merged {
        text: line.text,
        stream: line.stream,
        at_unix_ns: line.at_unix_ns,
        mark: line.mark,
        lines: 1,
        cut_bytes: line.cut_bytes,
    }
}

fn take<M>(slot: &mut Option<Group<M>>) -> Option<Merged<'static, M>> {
    slot.take().map(|group| group.merged)
}

fn oldest_first<M: Copy + Ord>(
    mut groups: [Option<Group<M>>; 2],
) -> impl Iterator<Item = Merged<'static, M>> + use<M> {
    groups.sort_by_key(|group| group.as_ref().map(|group| group.merged.mark));
    groups.into_iter().flatten().map(|group| group.merged)
}

#[cfg(test)]
mod tests;
