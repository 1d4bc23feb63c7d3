//! What one record delivers: rows, how far each container's log is delivered with them, and how many lines they are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use units::{ContainerId, LogStream};
use wire::{LogBatch, LogOrigin, LogRow, OriginKey};

use super::position::Position;
use super::tail::Identity;
use crate::tally::Counts;

/// A batch is sent when it has this much. With the largest line beyond it (64 KiB of bytes that are no UTF-8, as text of three
/// times that and as they are; a line each that the two streams' traces were waiting with) it stays under the log's limit.
pub(super) const BATCH_BYTES: usize = 400 * 1024;
/// A batch that is not full is sent after this long.
const BATCH_AGE: Duration = Duration::from_millis(200);
/// Containers in one batch: the names and positions of more would not fit the tag of a spool entry.
const CONTAINERS_MAX: usize = 128;

/// Rows that gather.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: LogBatch,
    pub(super) covers: Covers,
    since: Option<Instant>,
}

/// What a batch delivers, beside its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Covers {
    /// How far each log is delivered with it.
    pub(super) positions: BTreeMap<ContainerId, Position>,
    /// What is told of each container.
    pub(super) told: Spans,
}

/// What the rows of a record tell, by container.
pub(super) type Spans = BTreeMap<ContainerId, Span>;

/// What the rows of one container in one record tell: from what was told before them to what is told with them. Records of a
/// container follow one another without a gap between their spans, so a gap is what the records between would have told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) from: Told,
    pub(super) to: Told,
}

/// What the rows of a container tell, summed from its first row on.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(super) struct Told {
    /// Lines of each stream, standard output first.
    pub(super) lines: [u64; 2],
    /// Lines lost before them.
    pub(super) lost: u64,
    /// Lines the rate limit dropped before them.
    pub(super) limited: u64,
}

impl Told {
    /// With one row more.
    pub(super) fn with(mut self, row: &LogRow<'_>) -> Told {
        self.lines[index(row.stream)] += u64::from(row.lines);
        self.lost += row.lost_before;
        self.limited += row.limited_before;
        self
    }

    /// What was told after `before`. Rows that are read again begin before what was told already: of those it is nothing.
    pub(super) fn since(self, before: Told) -> Told {
        let [out, error] = self.lines;
        Told {
            lines: [
                out.saturating_sub(before.lines[0]),
                error.saturating_sub(before.lines[1]),
            ],
            lost: self.lost.saturating_sub(before.lost),
            limited: self.limited.saturating_sub(before.limited),
        }
    }

    /// All that one or the other has.
    pub(super) fn or(self, other: Told) -> Told {
        let [out, error] = self.lines;
        Told {
            lines: [out.max(other.lines[0]), error.max(other.lines[1])],
            lost: self.lost.max(other.lost),
            limited: self.limited.max(other.limited),
        }
    }

    /// Lines of both streams.
    pub(super) fn lines(self) -> u64 {
        self.lines.iter().sum()
    }
}

/// The place of a stream where there is one for each.
pub(super) const fn index(stream: LogStream) -> usize {
    match stream {
        LogStream::Stdout => 0,
        LogStream::Stderr => 1,
    }
}

/// Whether a batch takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It does.
    Yes,
    /// It is to be sent first.
    No,
}

impl Batch {
    pub(super) fn room(&self) -> Room {
        let full =
            self.rows.bytes() >= BATCH_BYTES || self.covers.positions.len() >= CONTAINERS_MAX;
        if full { Room::No } else { Room::Yes }
    }

    /// Takes the rows of one container.
    pub(super) fn gather<'a>(&'a mut self, identity: &Identity) -> Gathered<'a> {
        let origin = self.rows.origin(LogOrigin {
            node: identity.node.as_str(),
            service: identity.service.as_str(),
            container: identity.id.as_str(),
            name: identity.name.as_str(),
        });
        Gathered {
            batch: self,
            origin,
            counts: Counts::default(),
            cut_bytes: 0,
            told: None,
        }
    }

    /// Once the rows so far are delivered, so is what they told, and the log up to `position`.
    pub(super) fn mark(
        &mut self,
        id: &ContainerId,
        told: Option<Span>,
        position: Option<Position>,
        now: Instant,
    ) {
        if let Some(told) = told {
            let span = self.covers.told.entry(id.clone()).or_insert(told);
            span.to = told.to;
            self.since.get_or_insert(now);
        }
        if let Some(position) = position {
            self.covers.positions.insert(id.clone(), position);
        }
    }

    /// Whether it is time to send it. Positions alone, as after a file without a whole line, need no record.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.rows.is_empty() && (self.room() == Room::No || self.age(now) >= BATCH_AGE)
    }

    /// How long its first line waits.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.since
            .map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

/// A batch while the rows of one container go into it.
#[derive(Debug)]
pub(super) struct Gathered<'a> {
    batch: &'a mut Batch,
    origin: OriginKey,
    /// What was read, whether or not it became a row.
    pub(super) counts: Counts,
    /// Bytes cut from lines that were too long.
    pub(super) cut_bytes: u64,
    /// What the rows added tell.
    pub(super) told: Option<Span>,
}

impl Gathered<'_> {
    pub(super) fn room(&self) -> Room {
        self.batch.room()
    }

    /// Adds a row, before which the container's rows told `before`.
    pub(super) fn push(&mut self, row: &LogRow<'_>, before: Told) {
        let span = self.told.get_or_insert(Span {
            from: before,
            to: before,
        });
        span.to = before.with(row);
        self.batch.rows.push(self.origin, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::log::join::LINE_BYTES_MAX;
    use units::{ContainerName, LogSeverity, NodeId, ServiceId, Timestamp};

    fn identity(id: &str) -> Identity {
        Identity {
            node: NodeId::from("node-a"),
            id: ContainerId::from(id),
            name: ContainerName::from("web-1"),
            service: ServiceId::from("web"),
        }
    }

    fn row<'a>(text: &'a str, raw: Option<&'a [u8]>) -> LogRow<'a> {
        LogRow {
            at: Timestamp::EPOCH,
            stream: LogStream::Stdout,
            severity: LogSeverity::Info,
            sequence: 7,
            lines: 2,
            lost_before: 1,
            limited_before: 1,
            trace_id: None,
            text,
            raw,
        }
    }

    #[test]
    fn a_batch_is_due_when_it_is_full_or_old() {
        let now = Instant::now();
        let mut batch = Batch::default();
        batch.mark(&ContainerId::from("c"), None, None, now);
        assert!(!batch.is_due(now + BATCH_AGE), "there is nothing to send");
        let mut gathered = batch.gather(&identity("c"));
        gathered.push(&row("x", None), Told::default());
        let told = gathered.told;
        batch.mark(&ContainerId::from("c"), told, None, now);
        let span = batch.covers.told[&ContainerId::from("c")];
        assert_eq!(span.to.since(span.from).lines(), 2);
        assert!(!batch.is_due(now));
        assert!(batch.is_due(now + BATCH_AGE));
        let text = "x".repeat(LINE_BYTES_MAX);
        let mut gathered = batch.gather(&identity("c"));
        while gathered.room() == Room::Yes {
            gathered.push(&row(&text, None), Told::default());
        }
        assert!(batch.is_due(now));
    }

    #[test]
    fn the_largest_batch_fits_a_record_and_its_tag_the_spool() {
        let mut batch = Batch::default();
        let position = serde_json::from_str(
            r#"{"sequences":[18446744073709551615,18446744073709551615],"file":{"device":18446744073709551615,
            "inode":18446744073709551615,"born_ns":-9223372036854775808},"first":18446744073709551615,"before":18446744073709551615,
            "offset":18446744073709551615,"lost":18446744073709551615,"limited":18446744073709551615,"told":{"lines":[18446744073709551615,18446744073709551615],
            "lost":18446744073709551615,"limited":18446744073709551615}}"#,
        )
        .unwrap();
        let mut gathered = batch.gather(&identity("c"));
        while gathered.room() == Room::Yes {
            gathered.push(&row("x", None), Told::default());
        }
        let raw = vec![0xff; LINE_BYTES_MAX];
        let text = String::from_utf8_lossy(&raw).into_owned();
        gathered.push(&row(&text, Some(&raw)), Told::default());
        gathered.push(&row(&text, Some(&raw)), Told::default());
        for index in 0..CONTAINERS_MAX {
            let id = ContainerId::from(format!("{index:064}").as_str());
            let told = Told {
                lines: [u64::MAX; 2],
                lost: u64::MAX,
                limited: u64::MAX,
            };
            let span = Span {
                from: told,
                to: told,
            };
            batch.mark(&id, Some(span), Some(position), Instant::now());
        }
        let tag = postcard::to_stdvec(&batch.covers).unwrap();
        assert!(tag.len() < spool::TAG_MAX, "{}", tag.len());
        let meta = wire::Meta::new("collector/0@n");
        let record = batch.rows.encode(0, &meta).unwrap();
        assert!(
            record.size_bytes() < bus::MAX_RECORD_BYTES,
            "{}",
            record.size_bytes()
        );
    }
}
