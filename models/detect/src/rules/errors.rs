//! Error logs: lines of level error or worse, per second of event time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{ContainerName, LogLine, LogSeverity, LogStream, Ratio, Severity, Steady};

use super::confidence;
use crate::baseline::Baseline;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{duration, excerpt, number};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 3,
    of: 5,
    calm: 10,
};

/// At least this many a second …
const RATE_MIN: f64 = 3.0;
/// … and this many times the usual rate …
const TIMES_USUAL_MIN: f64 = 4.0;
/// … and this many spreads above it.
const DISTANCE_MIN: f64 = 5.0;
/// Seconds that may be closed at once; after a longer silence the rest is skipped.
const CATCH_UP_MAX: u64 = 120;

/// Error lines of one container in the second that is being counted, and what is usual.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErrorRate {
    second: Option<u64>,
    count: u32,
    example: Option<String>,
    usual: Baseline,
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

impl Default for ErrorRate {
    fn default() -> Self {
        ErrorRate {
            second: None,
            count: 0,
            example: None,
            usual: Baseline::new(0.5),
            stdout: None,
            stderr: None,
        }
    }
}

/// A second that has been counted.
pub(crate) struct Second {
    /// Its end.
    pub(crate) end: Steady,
    /// Error lines in it.
    pub(crate) count: f64,
}

impl ErrorRate {
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
            let count = if open == current {
                f64::from(self.count)
            } else {
                0.0
            };
            closed.push(Second {
                end: Steady::from_millis((open + 1) * 1_000),
                count,
            });
        }
        self.count = 0;
        self.second = Some(second);
        closed
    }

    /// Counts a line, written at `run`, into the open second. One that was delivered twice counts once.
    pub(crate) fn count(&mut self, line: &LogLine, run: Steady) {
        let place = match line.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let next = line.sequence.saturating_add(u64::from(line.lines.max(1)));
        // A collector that lost its place numbers anew: lines with low numbers are new where they were written later. Lines of
        // one time are told apart by their numbers alone.
        if place.is_some_and(|known| next <= known.next && run <= known.run) {
            return;
        }
        *place = Some(Place { next, run });
        if line.severity < LogSeverity::Error {
            return;
        }
        self.count = self.count.saturating_add(1);
        self.example = Some(excerpt(&line.text));
    }

    /// Judges a closed second.
    pub(crate) fn read(&self, name: &ContainerName, second: &Second, lasting: Duration) -> Reading {
        let Some(level) = self.usual.level() else {
            return Reading::Unknown;
        };
        let floor = RATE_MIN.max(TIMES_USUAL_MIN * level);
        if second.count < floor / 2.0 {
            return Reading::Normal;
        }
        if second.count < floor || self.usual.distance(second.count) < DISTANCE_MIN {
            return Reading::Between;
        }
        let example = self.example.as_deref().unwrap_or("");
        Reading::Violates(Finding {
            severity: Severity::Warning,
            score: Ratio::saturating(self.usual.score(second.count)),
            confidence: confidence(self.usual.samples()),
            reason: format!(
                "{name} logs {} error lines/s for {}, usually {}; the last: {example}",
                number(second.count),
                duration(lasting),
                number(level),
            ),
            proofs: vec![Proof::derived(
                "error_lines_per_second",
                "lines/s",
                second.count,
                (0.0, floor),
            )],
        })
    }

    /// Learns a closed second.
    pub(crate) fn learn(&mut self, second: &Second) {
        self.usual.learn(second.count);
    }

    /// Takes what is so now for usual.
    pub(crate) fn relearn(&mut self) {
        self.usual = ErrorRate::default().usual;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::{ContainerId, NodeId, ServiceId, Timestamp};

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
        let mut errors = ErrorRate::default();
        for (stream, sequence, merged, second) in lines {
            let run = Steady::from_millis(second * 1_000);
            errors.count(&line(*stream, *sequence, *merged), run);
        }
        errors.count
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
}
