//! Puts the records of samples and logs of one partition into one order, so that a replay meets them as the first reading did.

use std::collections::VecDeque;
use std::time::Duration;

use bus::Record;
use tokio::time::Instant;
use units::{Link, LogLine, Point, Sample, Timestamp};
use wire::{DecodeError, Telemetry};

/// A record waits at most this long for an older one on the other topic: more than what one fetch takes.
const SETTLE: Duration = Duration::from_millis(250);
/// Bytes of one topic that wait: minutes of a small fleet. When there are more, as when much is to be caught up on, the oldest
/// record goes on without the other topic; error lines may then be counted too late to be judged.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a row or line takes in memory besides its text, roughly.
const ROW_BYTES: usize = 1_024;
const LINE_BYTES: usize = 256;

/// Which topic a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Samples,
    Logs,
}

/// A record, read and not yet handled.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) source: Source,
    pub(crate) offset: u64,
    /// When it was appended to the log.
    pub(crate) appended_at: Timestamp,
    /// The newest time in it; the epoch when it could not be read.
    pub(crate) at: Timestamp,
    pub(crate) traceparent: Option<String>,
    pub(crate) content: Content,
    bytes: usize,
}

/// What is in a record.
#[derive(Debug)]
pub(crate) enum Content {
    Samples(Vec<Sample>),
    Logs(Vec<LogLine>),
    Links(Vec<Link>),
    /// Series of a node itself, or of applications.
    NodePoints(Vec<Point>),
    /// It is of the topic of samples and holds series of applications, none of which is followed.
    PassedOver {
        schema: &'static str,
    },
    /// It could not be read; it keeps its place, so that positions stay in order.
    Unreadable(DecodeError),
}

/// Records read and not yet handled.
#[derive(Debug)]
pub(crate) struct Merge {
    samples: Lane,
    logs: Lane,
}

#[derive(Debug)]
struct Lane {
    waiting: VecDeque<Pending>,
    bytes: usize,
    /// When a record of this topic was last read.
    heard: Instant,
}

impl Pending {
    /// Decodes a record of either topic.
    pub(crate) fn read(source: Source, record: &Record, follows: impl Fn(&Point) -> bool) -> Self {
        let (at, extra_bytes, content) = match source {
            Source::Samples => telemetry(record, follows),
            Source::Logs => wire::decode_logs(record).map(|lines| {
                let at = lines.iter().map(|line| line.at).max();
                (at, lines.len() * LINE_BYTES, Content::Logs(lines))
            }),
        }
        .unwrap_or_else(|error| (None, 0, Content::Unreadable(error)));
        Pending {
            source,
            offset: record.position.offset,
            appended_at: Timestamp::from_millis(record.timestamp_ms),
            at: at.unwrap_or(Timestamp::EPOCH),
            traceparent: wire::traceparent(record).map(str::to_owned),
            content,
            bytes: record.size_bytes() + extra_bytes,
        }
    }
}

/// The newest time in a record of the topic of samples, what it takes in memory, and what is followed of it.
fn telemetry(
    record: &Record,
    follows: impl Fn(&Point) -> bool,
) -> Result<(Option<Timestamp>, usize, Content), DecodeError> {
    Ok(match wire::decode_telemetry(record)? {
        Telemetry::Samples(rows) => {
            let at = rows.iter().map(|row| row.at).max();
            (at, rows.len() * ROW_BYTES, Content::Samples(rows))
        }
        Telemetry::Series(mut points) => {
            let at = points.iter().map(|point| point.at).max();
            points.retain(follows);
            match points.is_empty() {
                true => (at, 0, Content::PassedOver { schema: "series" }),
                false => (at, points.len() * LINE_BYTES, Content::NodePoints(points)),
            }
        }
        Telemetry::Links(links) => {
            let at = links.iter().map(|link| link.at).max();
            (at, links.len() * LINE_BYTES, Content::Links(links))
        }
    })
}

impl Merge {
    pub(crate) fn new(now: Instant) -> Self {
        let lane = || Lane {
            waiting: VecDeque::new(),
            bytes: 0,
            heard: now,
        };
        Merge {
            samples: lane(),
            logs: lane(),
        }
    }

    /// Takes a record that was read now.
    pub(crate) fn push(&mut self, pending: Pending, now: Instant) {
        let lane = self.lane(pending.source);
        lane.bytes += pending.bytes;
        lane.heard = now;
        lane.waiting.push_back(pending);
    }

    /// The next record in the order of the times in them; none while an older one may still come. Each topic stays in its own
    /// order.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Pending> {
        let source = match (self.samples.first(), self.logs.first()) {
            (Some(sample), Some(line)) if sample < line => Source::Samples,
            (Some(_), Some(_)) => Source::Logs,
            (Some(_), None) if self.samples.may_go(&self.logs, now) => Source::Samples,
            (None, Some(_)) if self.logs.may_go(&self.samples, now) => Source::Logs,
            (Some(_), None) | (None, Some(_)) | (None, None) => return None,
        };
        let lane = self.lane(source);
        let pending = lane.waiting.pop_front()?;
        lane.bytes -= pending.bytes;
        Some(pending)
    }

    /// When `pop` may have something although nothing more was pushed.
    pub(crate) fn due(&self) -> Option<Instant> {
        match (
            self.samples.waiting.is_empty(),
            self.logs.waiting.is_empty(),
        ) {
            (true, true) => None,
            (false, true) => Some(self.logs.heard + SETTLE),
            (true, false) => Some(self.samples.heard + SETTLE),
            (false, false) => Some(self.samples.heard),
        }
    }

    fn lane(&mut self, source: Source) -> &mut Lane {
        match source {
            Source::Samples => &mut self.samples,
            Source::Logs => &mut self.logs,
        }
    }
}

impl Lane {
    fn first(&self) -> Option<Timestamp> {
        self.waiting.front().map(|pending| pending.at)
    }

    fn may_go(&self, silent: &Lane, now: Instant) -> bool {
        self.bytes > HELD_BYTES_MAX || now.duration_since(silent.heard) >= SETTLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(source: Source, at_ms: i64, bytes: usize) -> Pending {
        Pending {
            source,
            offset: 0,
            appended_at: Timestamp::EPOCH,
            at: Timestamp::from_millis(at_ms),
            traceparent: None,
            content: Content::Samples(Vec::new()),
            bytes,
        }
    }

    fn popped(merge: &mut Merge, now: Instant) -> Option<i64> {
        merge.pop(now).map(|pending| pending.at.as_millis())
    }

    #[test]
    fn records_come_in_the_order_of_their_times_whichever_was_read_first() {
        let now = Instant::now();
        let mut merge = Merge::new(now);
        merge.push(pending(Source::Samples, 10, 1), now);
        merge.push(pending(Source::Samples, 30, 1), now);
        assert_eq!(
            popped(&mut merge, now),
            None,
            "an older line may still come"
        );
        merge.push(pending(Source::Logs, 5, 1), now);
        merge.push(pending(Source::Logs, 20, 1), now);
        let order: Vec<i64> = std::iter::from_fn(|| popped(&mut merge, now)).collect();
        assert_eq!(order, [5, 10, 20]);
        assert_eq!(merge.due(), Some(now + SETTLE));
        assert_eq!(popped(&mut merge, now + SETTLE), Some(30));
        assert_eq!(merge.due(), None);
    }

    #[test]
    fn one_topic_does_not_wait_for_ever_nor_fill_the_memory() {
        let now = Instant::now();
        let mut merge = Merge::new(now);
        for at in 0..3 {
            merge.push(pending(Source::Logs, at, HELD_BYTES_MAX / 2), now);
        }
        assert_eq!(popped(&mut merge, now), Some(0));
        assert_eq!(popped(&mut merge, now), None);
    }
}
