//! What one record delivers: rows, how far each container's log is delivered with them, and how many lines they are.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use units::ContainerId;
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
const CONTAINERS_MAX: usize = 200;

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
    pub(super) told: BTreeMap<ContainerId, Told>,
}

/// What rows tell, and what nobody hears where they are dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Lines.
    pub(super) lines: u64,
    /// Lines lost before them.
    pub(super) lost: u64,
    /// Lines the rate limit dropped before them.
    pub(super) limited: u64,
}

impl AddAssign for Told {
    fn add_assign(&mut self, more: Told) {
        self.lines += more.lines;
        self.lost += more.lost;
        self.limited += more.limited;
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
            told: Told::default(),
        }
    }

    /// Once the rows so far are delivered, so is what they told, and the log up to `position`.
    pub(super) fn mark(
        &mut self,
        id: &ContainerId,
        told: Told,
        position: Option<Position>,
        now: Instant,
    ) {
        if told != Told::default() {
            *self.covers.told.entry(id.clone()).or_default() += told;
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
    pub(super) told: Told,
}

impl Gathered<'_> {
    pub(super) fn room(&self) -> Room {
        self.batch.room()
    }

    pub(super) fn push(&mut self, row: &LogRow<'_>) {
        self.told += Told {
            lines: u64::from(row.lines),
            lost: row.lost_before,
            limited: row.limited_before,
        };
        self.batch.rows.push(self.origin, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::log::join::LINE_BYTES_MAX;
    use units::{ContainerName, LogSeverity, LogStream, NodeId, ServiceId, Timestamp};

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
        batch.mark(&ContainerId::from("c"), Told::default(), None, now);
        assert!(!batch.is_due(now + BATCH_AGE), "there is nothing to send");
        let mut gathered = batch.gather(&identity("c"));
        gathered.push(&row("x", None));
        let told = gathered.told;
        batch.mark(&ContainerId::from("c"), told, None, now);
        assert_eq!(batch.covers.told[&ContainerId::from("c")].lines, 2);
        assert!(!batch.is_due(now));
        assert!(batch.is_due(now + BATCH_AGE));
        let text = "x".repeat(LINE_BYTES_MAX);
        let mut gathered = batch.gather(&identity("c"));
        while gathered.room() == Room::Yes {
            gathered.push(&row(&text, None));
        }
        assert!(batch.is_due(now));
    }

    #[test]
    fn the_largest_batch_fits_a_record_and_its_tag_the_spool() {
        let mut batch = Batch::default();
        let position = serde_json::from_str(
            r#"{"sequences":[18446744073709551615,18446744073709551615],"file":{"device":18446744073709551615,
            "inode":18446744073709551615,"born_ns":-9223372036854775808},"first":18446744073709551615,"before":18446744073709551615,
            "offset":18446744073709551615,"lost":18446744073709551615,"limited":18446744073709551615}"#,
        )
        .unwrap();
        let mut gathered = batch.gather(&identity("c"));
        while gathered.room() == Room::Yes {
            gathered.push(&row("x", None));
        }
        let raw = vec![0xff; LINE_BYTES_MAX];
        let text = String::from_utf8_lossy(&raw).into_owned();
        gathered.push(&row(&text, Some(&raw)));
        gathered.push(&row(&text, Some(&raw)));
        for index in 0..CONTAINERS_MAX {
            let id = ContainerId::from(format!("{index:064}").as_str());
            let told = Told {
                lines: u64::MAX,
                lost: u64::MAX,
                limited: u64::MAX,
            };
            batch.mark(&id, told, Some(position), Instant::now());
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
