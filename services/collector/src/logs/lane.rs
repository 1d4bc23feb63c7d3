//! Lines on their way to the log, by partition.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use units::{ContainerId, LogLine};

use super::position::Position;

/// A batch is sent when it has this much; with what a single read can add beyond, it stays under the log's limit for a record.
const BATCH_BYTES: usize = 512 * 1024;
/// A batch that is not full is sent after this long.
const BATCH_AGE: Duration = Duration::from_millis(200);
/// What a line weighs beside its text: numbers, codes and the indexes of names.
const LINE_OVERHEAD_BYTES: usize = 64;

/// The lines of one partition: some under way, some gathering.
#[derive(Debug, Default)]
pub(super) struct Lane {
    batch: Batch,
    bytes: usize,
    since: Option<Instant>,
    sending: bool,
}

/// Lines, and how far each container's log is delivered once they are.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<LogLine>,
    pub(super) positions: BTreeMap<ContainerId, Position>,
}

impl Lane {
    /// Whether more may be read for it. When not, reading stops: nothing is dropped.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < BATCH_BYTES
    }

    /// Takes lines in the order they were written.
    pub(super) fn push(&mut self, lines: &mut Vec<LogLine>, now: Instant) {
        if lines.is_empty() {
            return;
        }
        self.bytes += lines
            .iter()
            .map(|line| line.text.len() + LINE_OVERHEAD_BYTES)
            .sum::<usize>();
        self.since.get_or_insert(now);
        self.batch.lines.append(lines);
    }

    /// Once the lines so far are delivered, so is the log up to `position`.
    pub(super) fn mark(&mut self, id: &ContainerId, position: Position) {
        self.batch.positions.insert(id.clone(), position);
    }

    /// The batch, when it is time to send it and none is under way.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Batch> {
        let is_old = self
            .since
            .is_some_and(|since| now.duration_since(since) >= BATCH_AGE);
        if is_old || !self.has_room() {
            return self.take();
        }
        // Positions alone, as after a file without a whole line, need no record.
        None
    }

    /// The batch, due or not, when none is under way.
    pub(super) fn take(&mut self) -> Option<Batch> {
        if self.sending || self.batch.lines.is_empty() {
            return None;
        }
        self.sending = true;
        self.bytes = 0;
        self.since = None;
        Some(std::mem::take(&mut self.batch))
    }

    /// The batch under way arrived.
    pub(super) fn sent(&mut self) {
        self.sending = false;
    }

    /// Positions that no line stands before, and that are therefore delivered as they are.
    pub(super) fn take_free_positions(&mut self) -> BTreeMap<ContainerId, Position> {
        if self.sending || !self.batch.lines.is_empty() {
            return BTreeMap::new();
        }
        std::mem::take(&mut self.batch.positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::{ContainerName, LogSeverity, LogStream, NodeId, ServiceId, Timestamp};

    fn lines(count: usize, bytes: usize) -> Vec<LogLine> {
        let line = LogLine {
            at: Timestamp::EPOCH,
            node: NodeId::from("n"),
            service: ServiceId::from("s"),
            container: ContainerId::from("c"),
            name: ContainerName::from("c"),
            stream: LogStream::Stdout,
            severity: LogSeverity::Unknown,
            sequence: 0,
            lost_before: 0,
            lines: 1,
            limited_before: 0,
            trace_id: None,
            raw: None,
            text: "x".repeat(bytes),
        };
        vec![line; count]
    }

    #[test]
    fn a_batch_goes_when_it_is_full_or_old_and_one_at_a_time() {
        let now = Instant::now();
        let mut lane = Lane::default();
        lane.push(&mut lines(1, 10), now);
        assert!(lane.take_due(now).is_none());
        assert!(lane.take_due(now + BATCH_AGE).is_some());
        lane.push(&mut lines(6, 100_000), now);
        assert!(!lane.has_room());
        assert!(lane.take_due(now).is_none(), "one is under way");
        lane.sent();
        assert_eq!(lane.take_due(now).unwrap().lines.len(), 6);
        assert!(lane.has_room());
    }

    #[test]
    fn the_largest_batch_fits_a_record() {
        let now = Instant::now();
        let mut lane = Lane::default();
        while lane.has_room() {
            lane.push(&mut lines(1, 1), now);
        }
        // The most one read adds: a buffer of lines, and a joined line of each stream.
        lane.push(&mut lines(1_500, 25), now);
        lane.push(&mut lines(2, super::super::line::LINE_BYTES_MAX), now);
        let batch = lane.take().unwrap();
        let meta = wire::Meta::new("collector/0@n");
        let record = wire::encode_logs(&batch.lines, 0, &meta).unwrap();
        assert!(
            record.size_bytes() < bus::MAX_RECORD_BYTES,
            "{}",
            record.size_bytes()
        );
    }
}
