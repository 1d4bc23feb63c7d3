//! Lines of one container per second of event time, each counted once.

use serde::{Deserialize, Serialize};
use units::{LogLine, LogSeverity, LogStream, Steady};

/// Seconds that may be closed at once; after a longer silence the rest is skipped.
const CATCH_UP_MAX: u64 = 120;

/// The second that is being counted, and how far each stream has been.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LineCount {
    second: Option<u64>,
    lines: u32,
    errors: u32,
    stdout: Option<Place>,
    stderr: Option<Place>,
}

/// How far the lines of a stream have been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The number of the next line.
    next: u64,
    /// When the newest one was written.
    run: Steady,
}

/// A second that has been counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Second {
    /// Its end.
    pub(crate) end: Steady,
    /// Lines, those among them that a rate limit dropped.
    pub(crate) lines: f64,
    /// Lines of level error or worse.
    pub(crate) errors: f64,
}

/// Whether a line was counted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It was not.
    First,
    /// It was.
    Again,
}

impl LineCount {
    /// Closes the seconds before `run`, oldest first.
    pub(crate) fn close_until(&mut self, run: Steady) -> Vec<Second> {
        let second = run.as_millis() / 1_000;
        let Some(current) = self.second else {
            self.second = Some(second);
            return Vec::new();
        };
        if second <= current {
            return Vec::new();
        }
        let from = current.max(second.saturating_sub(CATCH_UP_MAX));
        let mut closed = Vec::new();
        for open in from..second {
            let (lines, errors) = match open == current {
                true => (f64::from(self.lines), f64::from(self.errors)),
                false => (0.0, 0.0),
            };
            closed.push(Second {
                end: Steady::from_millis((open + 1) * 1_000),
                lines,
                errors,
            });
        }
        self.lines = 0;
        self.errors = 0;
        self.second = Some(second);
        closed
    }

    /// Counts a line, written at `run`, into the open second.
    pub(crate) fn count(&mut self, line: &LogLine, run: Steady) -> Delivery {
        let place = match line.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let next = line.sequence.saturating_add(u64::from(line.lines.max(1)));
        // A collector that lost its place numbers anew: lines with low numbers are new where they were written later. Lines of
        // one time are told apart by their numbers alone.
        if place.is_some_and(|known| next <= known.next && run <= known.run) {
            return Delivery::Again;
        }
        *place = Some(Place { next, run });
        let limited = u32::try_from(line.limited_before).unwrap_or(u32::MAX);
        self.lines = self.lines.saturating_add(limited).saturating_add(1);
        if line.severity >= LogSeverity::Error {
            self.errors = self.errors.saturating_add(1);
        }
        Delivery::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::{ContainerId, ContainerName, NodeId, ServiceId, Timestamp};

    fn line(stream: LogStream, sequence: u64, lines: u32) -> LogLine {
        LogLine {
            at: Timestamp::EPOCH,
            node: NodeId::from("a"),
            service: ServiceId::from("web"),
            container: ContainerId::from("id"),
            name: ContainerName::from("web"),
            stream,
            severity: LogSeverity::Error,
            sequence,
            lines,
            lost_before: 0,
            limited_before: 0,
            trace_id: None,
            text: "it failed".to_owned(),
            raw: None,
        }
    }

    /// How many of these count: stream, number, lines, and the second they were written in.
    fn counted(lines: &[(LogStream, u64, u32, u64)]) -> u32 {
        let mut count = LineCount::default();
        for (stream, sequence, merged, second) in lines {
            let run = Steady::from_millis(second * 1_000);
            count.count(&line(*stream, *sequence, *merged), run);
        }
        assert_eq!(count.lines, count.errors);
        count.errors
    }

    #[test]
    fn lines_are_told_apart_by_stream_and_number() {
        use LogStream::{Stderr, Stdout};
        assert_eq!(counted(&[(Stdout, 1, 1, 5), (Stdout, 2, 1, 5)]), 2);
        assert_eq!(counted(&[(Stdout, 1, 1, 5), (Stderr, 1, 1, 5)]), 2);
        assert_eq!(
            counted(&[(Stdout, 7, 1, 5), (Stderr, 1, 1, 4), (Stdout, 8, 1, 4)]),
            3
        );
    }

    #[test]
    fn a_line_delivered_twice_counts_once_however_it_was_merged() {
        use LogStream::Stdout;
        let twice = [
            (Stdout, 4, 1, 5),
            (Stdout, 5, 1, 6),
            (Stdout, 4, 1, 5),
            (Stdout, 5, 1, 6),
        ];
        assert_eq!(counted(&twice), 2);
        let merged = [
            (Stdout, 4, 3, 5),
            (Stdout, 4, 1, 5),
            (Stdout, 5, 2, 5),
            (Stdout, 7, 1, 5),
        ];
        assert_eq!(counted(&merged), 2);
    }

    #[test]
    fn numbers_that_begin_anew_later_are_new_lines() {
        use LogStream::Stdout;
        let anew = [
            (Stdout, 900, 1, 5),
            (Stdout, 0, 1, 6),
            (Stdout, 1, 1, 6),
            (Stdout, 0, 1, 6),
        ];
        assert_eq!(counted(&anew), 3);
    }

    #[test]
    fn lines_a_rate_limit_dropped_are_lines_of_the_second() {
        let mut count = LineCount::default();
        count.close_until(Steady::from_millis(5_000));
        let mut limited = line(LogStream::Stdout, 1, 1);
        limited.limited_before = 99;
        count.count(&limited, Steady::from_millis(5_500));
        let closed = count.close_until(Steady::from_millis(7_000));
        let seen: Vec<_> = closed.iter().map(|second| second.lines).collect();
        assert_eq!(seen, [100.0, 0.0]);
    }
}
