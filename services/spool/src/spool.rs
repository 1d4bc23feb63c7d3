//! The spool: opening, appending, making safe.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::acks::Acks;
use crate::active::Active;
use crate::drops::{DropReason, DroppedTag};
use crate::error::SpoolError;
use crate::limits::Limits;
use crate::mark;
use crate::record::{EntryId, Head};
use crate::recover::{Recovery, recover};
use crate::segment::{Segment, Walker};

const LOCK_NAME: &str = "lock";

/// Whether names in the directory changed since it was made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Synced,
    Changed,
}

/// A queue on disk between reading and delivering. See the crate's documentation.
#[derive(Debug)]
pub struct Spool {
    pub(crate) directory: PathBuf,
    pub(crate) limits: Limits,
    /// Held for as long as the spool lives.
    _lock: File,
    /// Oldest first; the last is the one appended to, and there always is one: its name carries the next id over a restart.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) active: Active,
    pub(crate) names: Names,
    /// Sum of the segments' bytes.
    pub(crate) bytes: u64,
    pub(crate) acks: Acks,
    /// The mark in its file.
    pub(crate) marked: u64,
    /// The id `next` begins looking at.
    pub(crate) cursor: u64,
    /// The id after the highest ever taken.
    pub(crate) taken_end: u64,
    /// The open segment at the cursor, with its first id.
    pub(crate) reader: Option<(u64, Walker)>,
    pub(crate) dropped: Vec<DroppedTag>,
    pub(crate) lost: u64,
}

impl Spool {
    /// Opens the spool in a directory, which is made (mode 0700) where there is none, and goes on after the last mark.
    ///
    /// Cuts a torn end, skips and counts what is damaged, and makes safe what it kept, so that the caller may count on every
    /// entry that [`Spool::pending_tags`] gives. Drops nothing by itself: call [`Spool::enforce`] when the tags are read.
    /// Reads the heads and tags of all segments and the payloads of the newest. A second opener, in this process or another,
    /// gets [`SpoolError::Locked`].
    pub fn open(directory: &Path, limits: Limits) -> Result<(Self, Recovery), SpoolError> {
        let failed = |source| SpoolError::Open {
            directory: directory.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let lock = lock(directory)?;
        let found = recover(directory).map_err(failed)?;
        let mark = found.acks.mark();
        let mut spool = Self {
            directory: directory.to_owned(),
            limits,
            _lock: lock,
            bytes: found.segments.iter().map(|segment| segment.bytes).sum(),
            segments: found.segments,
            active: found.active,
            names: Names::Changed,
            acks: found.acks,
            marked: found.marked,
            cursor: mark,
            taken_end: mark,
            reader: None,
            dropped: Vec::new(),
            lost: found.recovery.entries_lost,
        };
        spool.sync()?;
        Ok((spool, found.recovery))
    }

    /// Appends an entry; `payload_parts` are its payload one after the other. It is safe only after the next
    /// [`Spool::sync`], and may be taken before that.
    ///
    /// Makes room first, by dropping whole segments, oldest first: their tags wait for [`Spool::take_dropped`], which is to
    /// be called after each append. With more than [`TAGS_HELD_MAX`](crate::TAGS_HELD_MAX) waiting, nothing is appended. On any error the entry is
    /// not in the spool, and the spool goes on.
    pub fn append(
        &mut self,
        tag: &[u8],
        payload_parts: &[&[u8]],
        now_unix_ms: u64,
    ) -> Result<EntryId, SpoolError> {
        let head = Head::new(self.next_id(), now_unix_ms, tag, payload_parts)?;
        self.check_dropped()?;
        self.make_room(head.record_bytes(), now_unix_ms)?;
        let encoded = head.encode();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(payload_parts.len() + 2);
        parts.extend([encoded.as_slice(), tag]);
        parts.extend(payload_parts);
        let written = match self.active.append(&parts) {
            Ok(written) => written,
            Err(source) => {
                // It may have read ahead what is cut off now.
                self.reader = None;
                return Err(SpoolError::Append {
                    directory: self.directory.clone(),
                    source,
                });
            }
        };
        self.bytes += written;
        let segment = self.newest_mut();
        segment.bytes += written;
        segment.end += 1;
        segment.oldest_unix_ms = segment.oldest_unix_ms.min(now_unix_ms);
        Ok(EntryId(head.id))
    }

    /// Makes everything appended so far safe against a crash of the machine: one `fdatasync` for all since the last, and one
    /// `fsync` of the directory where a segment was begun or deleted.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        self.active
            .sync()
            .and_then(|()| self.sync_names())
            .map_err(|source| SpoolError::Sync {
                directory: self.directory.clone(),
                source,
            })
    }

    /// Entries not delivered yet, those under way included.
    pub fn len(&self) -> u64 {
        self.next_id() - self.acks.mark() - self.acks.ahead()
    }

    /// Whether everything is delivered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the segments on disk, delivered entries included whose segment is still there.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The time of the oldest undelivered entry, milliseconds since 1970; none when all is delivered.
    ///
    /// It is that of the entry's segment, and so may be early by an eighth of the age limit.
    pub fn oldest_unix_ms(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let at = self
            .segments
            .partition_point(|segment| segment.end <= self.acks.mark());
        self.segments.get(at).map(|segment| segment.oldest_unix_ms)
    }

    /// Undelivered entries lost to damage without their tag being known, since the spool was opened and at its opening.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// The id the next entry gets.
    pub(crate) fn next_id(&self) -> u64 {
        self.newest().end
    }

    pub(crate) fn newest(&self) -> &Segment {
        self.segments
            .back()
            .expect("a spool always has the segment it appends to")
    }

    fn newest_mut(&mut self) -> &mut Segment {
        self.segments
            .back_mut()
            .expect("a spool always has the segment it appends to")
    }

    /// Begins a new segment where the newest is full or spans long enough, and drops old ones until so many bytes fit.
    fn make_room(&mut self, bytes: u64, now_unix_ms: u64) -> Result<(), SpoolError> {
        let newest = self.newest();
        let full = newest.bytes + bytes > self.limits.segment_bytes();
        if newest.end > newest.first
            && (full || newest.age_ms(now_unix_ms) > self.limits.segment_age_ms())
        {
            self.begin_segment()?;
        }
        self.remove_delivered()?;
        while self.bytes + bytes > self.limits.bytes_max() && self.segments.len() > 1 {
            self.drop_oldest(DropReason::Size)?;
        }
        Ok(())
    }

    /// Makes the newest segment and its name safe and begins the next, so that only the newest can have a torn end.
    pub(crate) fn begin_segment(&mut self) -> Result<(), SpoolError> {
        self.sync()?;
        let first = self.next_id();
        self.active =
            Active::create(&self.directory, first).map_err(|source| SpoolError::Append {
                directory: self.directory.clone(),
                source,
            })?;
        self.names = Names::Changed;
        let segment = Segment::empty(first);
        self.bytes += segment.bytes;
        self.segments.push_back(segment);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        match self.names {
            Names::Synced => {}
            Names::Changed => {
                File::open(&self.directory)?.sync_all()?;
                self.names = Names::Synced;
            }
        }
        Ok(())
    }

    /// Writes the mark where it moved since it was last written, and deletes what is wholly delivered. The caller chooses
    /// how often: after a crash, what was delivered since is given again. On an error the old mark stands.
    pub fn flush_mark(&mut self) -> Result<(), SpoolError> {
        let mark = self.acks.mark();
        if mark != self.marked {
            mark::write(&self.directory, mark).map_err(|source| SpoolError::Mark {
                directory: self.directory.clone(),
                source,
            })?;
            self.marked = mark;
        }
        self.remove_delivered()
    }
}

/// Takes the lock that one spool holds; it goes with the file, also when the process is killed.
fn lock(directory: &Path) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Open {
        directory: directory.to_owned(),
        source,
    };
    let path = directory.join(LOCK_NAME);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked {
            directory: directory.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits() -> Limits {
        Limits::new(64 * 1024, Duration::from_secs(3600), 16 * 1024).unwrap()
    }

    fn all(spool: &mut Spool) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| spool.next().unwrap())
            .map(|taken| taken.payload)
            .collect()
    }

    /// The disk fills at every byte of an entry: the error names the directory, the entry is not there, and the spool goes on.
    #[test]
    fn an_append_to_a_full_disk_leaves_nothing_and_the_spool_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(directory.path(), limits()).unwrap();
        let first = spool.append(b"tag", &[b"first"], 1).unwrap();
        let bytes = spool.bytes();
        for room in 1..40 {
            spool.active.room = Some(room);
            let error = spool.append(b"tag", &[b"torn"], 2).unwrap_err();
            assert!(matches!(error, SpoolError::Append { .. }));
            let text = error.to_string();
            assert!(
                text.contains(directory.path().to_str().unwrap()) && text.contains("free space"),
                "{text}"
            );
            assert_eq!(spool.bytes(), bytes);
        }
        spool.active.room = None;
        let second = spool.append(b"tag", &[b"sec", b"ond"], 3).unwrap();
        assert_eq!(second.get(), first.get() + 1);
        spool.sync().unwrap();
        let expected = vec![b"first".to_vec(), b"second".to_vec()];
        assert_eq!(all(&mut spool), expected);
        drop(spool);
        let (mut spool, recovery) = Spool::open(directory.path(), limits()).unwrap();
        assert_eq!(
            recovery,
            Recovery {
                entries_kept: 2,
                ..Recovery::default()
            }
        );
        assert_eq!(all(&mut spool), expected);
    }

    /// Large parts go past the gathering, and a disk that fills between two parts leaves nothing either.
    #[test]
    fn parts_of_any_size_are_one_entry() {
        let directory = tempfile::tempdir().unwrap();
        let large = Limits::new(4 << 20, Duration::from_secs(3600), 1 << 20).unwrap();
        let (mut spool, _) = Spool::open(directory.path(), large).unwrap();
        let parts: Vec<Vec<u8>> = [3, 70_000, 0, 65_536, 10, 65_535, 1]
            .iter()
            .map(|size| vec![*size as u8; *size])
            .collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        spool.active.room = Some(100_000);
        assert!(spool.append(b"tag", &slices, 1).is_err());
        spool.active.room = None;
        spool.append(b"tag", &slices, 1).unwrap();
        assert_eq!(all(&mut spool), vec![parts.concat()]);
    }

    /// What was appended before a sync that failed is written again by the next, and is whole.
    #[test]
    fn a_sync_after_one_that_failed_writes_again() {
        let directory = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(directory.path(), limits()).unwrap();
        spool.append(b"tag", &[b"first"], 1).unwrap();
        spool.active.doubt();
        spool.sync().unwrap();
        spool.append(b"tag", &[b"second"], 1).unwrap();
        spool.sync().unwrap();
        assert_eq!(all(&mut spool), vec![b"first".to_vec(), b"second".to_vec()]);
    }
}
