//! Deleting segments: those wholly delivered, and the oldest where the limits ask for it.

use std::fs;
use std::io;

use crate::error::SpoolError;
use crate::record::EntryId;
use crate::segment::{self, Segment, is_damage};
use crate::spool::{Names, Spool};

/// With more tags of dropped entries waiting than this, `append` and `next` refuse. One append may go over it by what it drops
/// itself.
pub const TAGS_HELD_MAX: usize = 4 * 1024;

/// Why an entry was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The spool was full.
    Size,
    /// It was older than the age limit, or in one segment with such an entry.
    Age,
    /// Its payload cannot be read, or not as it was written.
    Damage,
}

/// The tag of an entry that was dropped before it was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedTag {
    /// The entry's id.
    pub id: EntryId,
    /// When it was appended, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Its tag.
    pub tag: Vec<u8>,
    /// Why it went.
    pub reason: DropReason,
}

impl Spool {
    /// Drops whole segments, oldest first, until the limits hold, and gives the tags of all dropped entries that were not
    /// given yet, in order. Entries under way are dropped too; a delivery told for them later changes nothing.
    ///
    /// On an error the tags wait for the next call or [`Spool::take_dropped`].
    pub fn enforce(&mut self, now_unix_ms: u64) -> Result<Vec<DroppedTag>, SpoolError> {
        self.remove_delivered()?;
        while self.bytes > self.limits.bytes_max() && self.segments.len() > 1 {
            self.drop_oldest(DropReason::Size)?;
        }
        while let Some(oldest) = self.segments.front().copied() {
            let pending = self.acks.pending(oldest.first, oldest.end) > 0;
            if !pending || oldest.age_ms(now_unix_ms) <= self.limits.age_max_ms() {
                break;
            }
            if self.segments.len() == 1 {
                self.begin_segment()?;
            }
            self.drop_oldest(DropReason::Age)?;
        }
        Ok(self.take_dropped())
    }

    /// The tags of entries dropped since the last call, by `append` for room or by `next` for damage, in that order.
    pub fn take_dropped(&mut self) -> Vec<DroppedTag> {
        std::mem::take(&mut self.dropped)
    }

    /// Refuses to go on while more tags wait than are held.
    pub(crate) fn check_dropped(&self) -> Result<(), SpoolError> {
        let waiting = self.dropped.len();
        if waiting > TAGS_HELD_MAX {
            Err(SpoolError::DroppedNotTaken { waiting })
        } else {
            Ok(())
        }
    }

    /// Deletes the segments that are wholly delivered, up to the first that is not; never the one appended to.
    pub(crate) fn remove_delivered(&mut self) -> Result<(), SpoolError> {
        while self.segments.len() > 1 {
            let Some(oldest) = self.segments.front().copied() else {
                break;
            };
            if oldest.end > self.acks.mark() {
                break;
            }
            self.remove(&oldest)?;
        }
        Ok(())
    }

    /// Drops the oldest segment, which is not the one appended to, and keeps the tags of what was not delivered.
    pub(crate) fn drop_oldest(&mut self, reason: DropReason) -> Result<(), SpoolError> {
        let Some(oldest) = self.segments.front().copied() else {
            return Ok(());
        };
        let mut told = Vec::new();
        let read = self.each_pending(&oldest, &mut |head, tag| {
            told.push(DroppedTag {
                id: EntryId(head.id),
                at_unix_ms: head.at_unix_ms,
                tag: tag.to_vec(),
                reason,
            });
        });
        match read {
            Ok(()) => {}
            Err(error) if is_damage(&error) || error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(SpoolError::Read {
                    directory: self.directory.clone(),
                    source,
                });
            }
        }
        self.remove(&oldest)?;
        self.lost += self.acks.pending(oldest.first, oldest.end) - told.len() as u64;
        self.dropped.append(&mut told);
        self.acks.add(oldest.first, oldest.end);
        self.cursor = self.cursor.max(self.acks.mark());
        Ok(())
    }

    /// Deletes the oldest segment's file and index entry.
    fn remove(&mut self, oldest: &Segment) -> Result<(), SpoolError> {
        match fs::remove_file(segment::path(&self.directory, oldest.first)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(SpoolError::Remove {
                    directory: self.directory.clone(),
                    source,
                });
            }
        }
        self.names = Names::Changed;
        self.bytes -= oldest.bytes;
        self.segments.pop_front();
        if self
            .reader
            .as_ref()
            .is_some_and(|(first, _)| *first == oldest.first)
        {
            self.reader = None;
        }
        Ok(())
    }
}
