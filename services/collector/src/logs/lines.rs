//! From the frames of one log to numbered rows of a batch: pieces joined, traces merged, limited, read and redacted.

use std::sync::Arc;

use formats::log::join::{Joined, Joiner};
use formats::log::json_file::Piece;
use formats::log::level::severity;
use formats::log::limit::{Grant, Limiter, Limits};
use formats::log::multiline::{Merged, Merger};
use formats::log::redact::{Redactor, Verdict};
use formats::log::text::recoverable;
use formats::log::trace::trace_id;
use units::Timestamp;

use super::batch::{Gathered, Told, index};
use super::follow::Place;
use super::position::Position;
use crate::tally::Counts;

const NS_PER_MS: i64 = 1_000_000;
/// A line this much older than the newest says that the host's clock was stepped back: the rate limit begins anew.
const STEPPED_BACK_MS: u64 = 1_000;

/// How lines are treated, the same for all containers.
#[derive(Debug, Clone)]
pub(super) struct Treatment {
    pub(super) multiline: Multiline,
    /// Nothing where lines are not limited.
    pub(super) limits: Option<Limits>,
    pub(super) redactor: Arc<Redactor>,
}

/// Whether the lines of a stack trace are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Multiline {
    /// They are.
    Merge,
    /// Each stays a line.
    Apart,
}

/// The state of one container's lines.
#[derive(Debug)]
pub(super) struct Lines {
    treatment: Treatment,
    joiner: Joiner<Mark>,
    merger: Merger<Mark>,
    limiter: Option<Limiter>,
    /// The newest time of a line that the limiter was asked about.
    limited_at_ms: u64,
    next: [u64; 2],
    order: u64,
    /// The order of the first piece of the chunk that is being taken, and whether that may hold anything to redact.
    chunk: u64,
    verdict: Verdict,
    lost: u64,
    limited: u64,
    /// What the rows so far told.
    told: Told,
    /// Lines of each stream that the rate limit dropped: those numbered and in no row.
    left_out: [u64; 2],
}

/// Where an unfinished line starts, in the order of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    order: u64,
    position: Position,
}

impl Lines {
    /// The lines after `from`, or of a log read from its beginning.
    pub(super) fn new(treatment: Treatment, from: Option<Position>) -> Lines {
        let (told, sequences) = from.map_or_else(Default::default, |it| (it.told, it.sequences));
        let left_out = [0, 1].map(|stream| sequences[stream].saturating_sub(told.lines[stream]));
        Lines {
            treatment,
            joiner: Joiner::default(),
            merger: Merger::default(),
            limiter: None,
            limited_at_ms: 0,
            next: sequences,
            order: 0,
            chunk: 0,
            verdict: Verdict::Suspicious,
            lost: from.map_or(0, |position| position.lost),
            limited: from.map_or(0, |position| position.limited),
            told,
            left_out,
        }
    }

    /// The pieces that come next are out of this chunk of the file, which is searched once for all of them.
    pub(super) fn begin_chunk(&mut self, chunk: &[u8]) {
        self.chunk = self.order + 1;
        self.verdict = self.treatment.redactor.may_match(chunk);
    }

    /// Takes a piece that begins at `place`. `now_ms` is of a clock that does not step.
    pub(super) fn take(
        &mut self,
        piece: Piece<'_>,
        place: Place,
        now_ms: u64,
        into: &mut Gathered<'_>,
    ) {
        self.order += 1;
        let mark = Mark {
            order: self.order,
            position: self.position_at(place),
        };
        if let Some(joined) = self.joiner.push(piece, mark) {
            self.joined(joined, now_ms, into);
        }
    }

    fn joined(&mut self, joined: Joined<'_, Mark>, now_ms: u64, into: &mut Gathered<'_>) {
        self.next[index(joined.stream)] += 1;
        match self.treatment.multiline {
            Multiline::Merge => {
                for merged in self.merger.push(joined, now_ms) {
                    self.row(merged, into);
                }
            }
            Multiline::Apart => {
                let Joined {
                    text,
                    stream,
                    at_unix_ns,
                    mark,
                    cut_bytes,
                } = joined;
                let merged = Merged {
                    text,
                    stream,
                    at_unix_ns,
                    mark,
                    lines: 1,
                    cut_bytes,
                };
                self.row(merged, into);
            }
        }
    }

    /// Gives the traces that waited long enough for another line.
    pub(super) fn expire(&mut self, now_ms: u64, into: &mut Gathered<'_>) {
        for merged in self.merger.expire(now_ms) {
            self.row(merged, into);
        }
    }

    /// Gives what has not ended as it is: no more comes.
    pub(super) fn flush(&mut self, now_ms: u64, into: &mut Gathered<'_>) {
        for joined in self.joiner.flush() {
            self.joined(joined, now_ms, into);
        }
        for merged in self.merger.flush() {
            self.row(merged, into);
        }
    }

    /// So many lines are missing before the next.
    pub(super) fn lose(&mut self, lines: u64) {
        self.lost += lines;
    }

    /// From where reading can go on after a restart without losing a line: the oldest unfinished line, else the next byte.
    /// Lines of the other stream after that are read again with the numbers they had.
    pub(super) fn position(&self, next: Option<Place>) -> Option<Position> {
        let unfinished = [self.joiner.oldest(), self.merger.oldest()];
        match unfinished.into_iter().flatten().min() {
            Some(mark) => Some(mark.position),
            None => next.map(|place| self.position_at(place)),
        }
    }

    fn position_at(&self, place: Place) -> Position {
        Position {
            sequences: self.next,
            file: place.file,
            first: place.first,
            before: place.before,
            offset: place.offset,
            lost: self.lost,
            limited: self.limited,
            told: Told {
                // Lines of the other stream that wait to be merged are told before this position is used.
                lines: [0, 1].map(|stream| self.next[stream] - self.left_out[stream]),
                ..self.told
            },
        }
    }

    fn row(&mut self, merged: Merged<'_, Mark>, into: &mut Gathered<'_>) {
        let lines = u64::from(merged.lines);
        into.counts += Counts {
            lines,
            bytes: merged.text.len() as u64,
            ..Counts::default()
        };
        into.cut_bytes += merged.cut_bytes as u64;
        match self.grant(&merged) {
            Grant::Pass => {}
            Grant::Drop => {
                self.limited += lines;
                self.left_out[index(merged.stream)] += lines;
                into.counts.limited += lines;
                return;
            }
        }
        let severity = severity(&merged.text);
        let (lost_before, limited_before) = (
            std::mem::take(&mut self.lost),
            std::mem::take(&mut self.limited),
        );
        let trace = trace_id(&merged.text).map(str::to_owned);
        let text = match self.verdict {
            Verdict::Clean if merged.mark.order >= self.chunk => merged.text,
            Verdict::Clean | Verdict::Suspicious => self.treatment.redactor.redact(merged.text).0,
        };
        let (text, raw) = recoverable(text);
        let row = wire::LogRow {
            at: Timestamp::from_millis(merged.at_unix_ns.div_euclid(NS_PER_MS)),
            stream: merged.stream,
            severity,
            sequence: merged.mark.position.sequences[index(merged.stream)],
            lines: merged.lines,
            lost_before,
            limited_before,
            trace_id: trace.as_deref(),
            text: &text,
            raw: raw.as_deref(),
        };
        into.push(&row, self.told);
        self.told = self.told.with(&row);
    }

    /// By the lines' own time: what is read late, after the collector was away, was not written faster for that.
    fn grant(&mut self, merged: &Merged<'_, Mark>) -> Grant {
        let Some(limits) = &self.treatment.limits else {
            return Grant::Pass;
        };
        let at_ms = u64::try_from(merged.at_unix_ns / NS_PER_MS).unwrap_or(0);
        if at_ms + STEPPED_BACK_MS < self.limited_at_ms {
            self.limiter = None;
            self.limited_at_ms = at_ms;
        }
        self.limited_at_ms = self.limited_at_ms.max(at_ms);
        self.limiter
            .get_or_insert_with(|| Limiter::new(limits, at_ms))
            .take(merged.text.len(), at_ms)
    }
}
