//! What the log has not taken yet, on disk: batches that wait in the spool, in order, and those of them under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use bus::NewRecord;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spool::{EntryId, Limits, Recovery, Spool, SpoolError, TAG_MAX, Taken};
use units::ContainerId;

use super::batch::{Covers, Spans};

/// Bytes of entries that were taken from the disk and wait for one of their partition to arrive.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes an entry takes at most beside its tag and the record's value: key and headers, and what frames them and a new segment.
const FRAMING_BYTES_MAX: usize = 4 * 1024;

/// A batch as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) record: NewRecord,
    pub(super) covers: Covers,
    pub(super) rows: u64,
}

/// What is known of an entry without reading it.
#[derive(Debug, Serialize, Deserialize)]
struct Tag {
    partition: u32,
    rows: u64,
    covers: Covers,
}

/// What of a record stands before its value in an entry.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    key: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

/// An entry on its way to the log.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) record: NewRecord,
    pub(super) rows: u64,
    pub(super) told: Spans,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Backlog {
    spool: Spool,
    bytes_max: u64,
    /// Taken from the disk, by partition, oldest first.
    waiting: BTreeMap<u32, VecDeque<Entry>>,
    waiting_bytes: usize,
    /// Entries whose record is in memory too: they cannot be dropped before they arrive.
    held: BTreeSet<EntryId>,
    /// Entries that arrived. The spool is told once the positions they cover are saved, and only of those taken from it.
    done: BTreeSet<EntryId>,
    taken: Option<EntryId>,
    /// Entries that have not arrived, by partition.
    entries: BTreeMap<u32, u64>,
    /// Lines of dropped entries.
    dropped: BTreeMap<ContainerId, u64>,
}

/// What a spool held from before.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) recovery: Recovery,
    /// The partitions of its entries and what they cover, oldest first.
    pub(super) covers: Vec<(u32, Covers)>,
}

impl Backlog {
    /// Opens the spool.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process uses it.
    pub(super) fn open(
        directory: &Path,
        limits: Limits,
        now_unix_ms: u64,
    ) -> Result<(Backlog, Found), SpoolError> {
        let (spool, recovery) = Spool::open(directory, limits)?;
        let mut backlog = Backlog {
            spool,
            bytes_max: limits.bytes_max(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            held: BTreeSet::new(),
            done: BTreeSet::new(),
            taken: None,
            entries: BTreeMap::new(),
            dropped: BTreeMap::new(),
        };
        let mut covers = Vec::new();
        let entries = &mut backlog.entries;
        backlog.spool.pending_tags(|pending| {
            // One that cannot be read is of another version, and is skipped where it is taken.
            if let Ok(tag) = postcard::from_bytes::<Tag>(pending.tag) {
                *entries.entry(tag.partition).or_default() += 1;
                covers.push((tag.partition, tag.covers));
            }
        })?;
        backlog.enforce(now_unix_ms)?;
        Ok((backlog, Found { recovery, covers }))
    }

    /// How many entries of a partition have not arrived.
    pub(super) fn entries(&self, partition: u32) -> u64 {
        self.entries.get(&partition).copied().unwrap_or(0)
    }

    /// Whether there is none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.spool.bytes()
    }

    /// Whether older entries may have to be dropped for this one.
    pub(super) fn is_full_for(&self, parcel: &Parcel) -> bool {
        let most = parcel.record.value.len() + TAG_MAX + FRAMING_BYTES_MAX;
        self.spool.bytes() + most as u64 > self.bytes_max
    }

    /// Puts a batch at the end. It is safe with the next [`Backlog::sync`]; older ones may be dropped for it.
    ///
    /// # Errors
    /// When it cannot be written; it is not in the spool then.
    pub(super) fn append(
        &mut self,
        partition: u32,
        parcel: &Parcel,
        now_unix_ms: u64,
    ) -> Result<EntryId, SpoolError> {
        let record = &parcel.record;
        let headers = record.headers.iter();
        let head = Head {
            key: record.key.to_vec(),
            headers: headers
                .map(|(name, value)| (name.clone(), value.to_vec()))
                .collect(),
        };
        let tag = Tag {
            partition,
            rows: parcel.rows,
            covers: parcel.covers.clone(),
        };
        const IN_MEMORY: &str = "plain data has a form in memory without limit";
        let tag = postcard::to_stdvec(&tag).expect(IN_MEMORY);
        let head = postcard::to_stdvec(&head).expect(IN_MEMORY);
        let id = self
            .spool
            .append(&tag, &[&head, &record.value], now_unix_ms)?;
        *self.entries.entry(partition).or_default() += 1;
        self.note_dropped();
        Ok(id)
    }

    /// The record of this entry is under way already.
    pub(super) fn hold(&mut self, id: EntryId) {
        self.held.insert(id);
    }

    /// Makes what was appended safe.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn sync(&mut self) -> Result<(), SpoolError> {
        self.spool.sync()
    }

    /// Reads ahead, so that [`Backlog::next`] has something.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn fill(&mut self) -> Result<(), SpoolError> {
        // Ends at the newest entry, or with what may wait.
        while self.waiting_bytes < WAITING_BYTES_MAX {
            let taken = self.spool.next();
            self.note_dropped();
            let Some(taken) = taken? else {
                break;
            };
            self.taken = self.taken.max(Some(taken.id));
            if self.held.contains(&taken.id) || self.done.contains(&taken.id) {
                continue;
            }
            let id = taken.id;
            match entry(taken) {
                Some((partition, entry)) => {
                    self.waiting_bytes += entry.record.value.len();
                    self.held.insert(id);
                    self.waiting.entry(partition).or_default().push_back(entry);
                }
                // Of a version that nobody reads any more.
                None => {
                    self.done.insert(id);
                }
            }
        }
        Ok(())
    }

    /// Partitions of which an entry waits in memory.
    pub(super) fn partitions(&self) -> Vec<u32> {
        self.waiting.keys().copied().collect()
    }

    /// The oldest entry of a partition that is not under way.
    pub(super) fn next(&mut self, partition: u32) -> Option<Entry> {
        let waiting = self.waiting.get_mut(&partition)?;
        let entry = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&partition);
        }
        self.waiting_bytes -= entry.as_ref().map_or(0, |it| it.record.value.len());
        entry
    }

    /// An entry arrived.
    pub(super) fn arrived(&mut self, partition: u32, id: EntryId) {
        self.held.remove(&id);
        self.done.insert(id);
        self.less(partition);
    }

    /// Forgets what arrived. To be called when the positions are saved that its entries cover: they are known from nowhere else.
    ///
    /// # Errors
    /// When the disk fails; what arrived is then sent again after a restart.
    pub(super) fn forget_arrived(&mut self) -> Result<(), SpoolError> {
        let taken = self.taken;
        for id in self.done.extract_if(.., |id| Some(*id) <= taken) {
            self.spool.delivered(id);
        }
        self.spool.flush_mark()
    }

    /// Drops what is too old.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn enforce(&mut self, now_unix_ms: u64) -> Result<(), SpoolError> {
        let dropped = self.spool.enforce(now_unix_ms)?;
        dropped.iter().for_each(|it| self.drop_entry(it));
        Ok(())
    }

    /// How many lines were dropped, by container, given once.
    pub(super) fn take_dropped(&mut self) -> BTreeMap<ContainerId, u64> {
        std::mem::take(&mut self.dropped)
    }

    fn note_dropped(&mut self) {
        for dropped in self.spool.take_dropped() {
            self.drop_entry(&dropped);
        }
    }

    fn drop_entry(&mut self, dropped: &spool::DroppedTag) {
        // What is in memory is sent all the same.
        if self.held.contains(&dropped.id) || self.done.contains(&dropped.id) {
            return;
        }
        let Ok(tag) = postcard::from_bytes::<Tag>(&dropped.tag) else {
            return;
        };
        self.less(tag.partition);
        for (id, span) in tag.covers.told {
            *self.dropped.entry(id).or_default() += span.to.since(span.from).lines();
        }
    }

    fn less(&mut self, partition: u32) {
        if let Some(entries) = self.entries.get_mut(&partition) {
            *entries -= 1;
            if *entries == 0 {
                self.entries.remove(&partition);
            }
        }
    }
}

fn entry(taken: Taken) -> Option<(u32, Entry)> {
    let tag: Tag = postcard::from_bytes(&taken.tag).ok()?;
    let payload = Bytes::from(taken.payload);
    let (head, value) = postcard::take_from_bytes::<Head>(&payload).ok()?;
    let headers = head.headers.into_iter();
    let record = NewRecord {
        topic: wire::topic::LOGS.into(),
        key: head.key.into(),
        value: payload.slice_ref(value),
        headers: headers.map(|(name, value)| (name, value.into())).collect(),
        partition: Some(tag.partition),
    };
    let entry = Entry {
        id: taken.id,
        record,
        rows: tag.rows,
        told: tag.covers.told,
    };
    Some((tag.partition, entry))
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Span, Told};
    use super::*;
    use std::time::Duration;

    fn limits(bytes: u64) -> Limits {
        Limits::new(bytes, Duration::from_secs(60), 4096).unwrap()
    }

    fn parcel(partition: u32, lines: u64, bytes: usize) -> Parcel {
        Parcel {
            record: NewRecord {
                topic: wire::topic::LOGS.into(),
                key: Bytes::from_static(b"web"),
                value: Bytes::from(vec![7; bytes]),
                headers: vec![("name".to_owned(), Bytes::from_static(b"value"))],
                partition: Some(partition),
            },
            covers: Covers {
                told: BTreeMap::from([(
                    ContainerId::from("c"),
                    Span {
                        from: Told::default(),
                        to: Told {
                            lines: [lines, 0],
                            ..Told::default()
                        },
                    },
                )]),
                ..Covers::default()
            },
            rows: lines,
        }
    }

    #[test]
    fn a_record_comes_back_whole_and_again_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Backlog::open(directory.path(), limits(1 << 20), 0).unwrap();
        let (mut backlog, _) = open();
        let sent = parcel(3, 2, 1000);
        backlog.append(3, &sent, 1).unwrap();
        backlog.sync().unwrap();
        drop(backlog);
        let (mut backlog, found) = open();
        assert_eq!(found.covers, [(3, sent.covers)]);
        backlog.fill().unwrap();
        assert_eq!(backlog.partitions(), [3]);
        let entry = backlog.next(3).unwrap();
        assert_eq!((&entry.record, entry.rows), (&sent.record, 2));
        backlog.arrived(3, entry.id);
        assert!(backlog.is_empty());
        drop(backlog);
        let (mut backlog, found) = open();
        assert_eq!(found.covers.len(), 1, "nothing was forgotten yet");
        backlog.fill().unwrap();
        let entry = backlog.next(3).unwrap();
        backlog.arrived(3, entry.id);
        backlog.forget_arrived().unwrap();
        drop(backlog);
        assert!(open().1.covers.is_empty());
    }

    #[test]
    fn what_is_dropped_is_counted_and_what_is_under_way_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (mut backlog, _) = Backlog::open(directory.path(), limits(16 * 1024), 0).unwrap();
        let first = backlog.append(0, &parcel(0, 100, 3000), 1).unwrap();
        backlog.hold(first);
        for _ in 0..9 {
            backlog.append(0, &parcel(0, 1, 3000), 1).unwrap();
        }
        let dropped = backlog.take_dropped();
        let lost = dropped[&ContainerId::from("c")];
        assert!((1..9).contains(&lost), "{lost}");
        assert_eq!(backlog.entries(0), 10 - lost);
        backlog.arrived(0, first);
        assert_eq!(backlog.entries(0), 9 - lost);
        backlog.enforce(100_000).unwrap();
        let more = backlog.take_dropped()[&ContainerId::from("c")];
        assert_eq!(lost + more, 9);
        assert!(backlog.is_empty());
    }
}
