//! Taking entries, oldest first, and saying which arrived.

use std::io;

use crate::drops::{DropReason, DroppedTag};
use crate::error::SpoolError;
use crate::record::{EntryId, Head};
use crate::segment::{Segment, Step, Walker};
use crate::spool::Spool;

/// From the oldest undelivered entry to the newest under way there are at most so many ids. At it, `next` gives nothing until
/// the oldest is delivered or dropped.
pub const IN_FLIGHT_MAX: u64 = 16 * 1024;

/// An entry taken from the spool, to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What [`Spool::delivered`] is to be told.
    pub id: EntryId,
    /// When it was appended, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Its tag.
    pub tag: Vec<u8>,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// An undelivered entry, as [`Spool::pending_tags`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingTag<'a> {
    /// Its id.
    pub id: EntryId,
    /// When it was appended, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Its tag.
    pub tag: &'a [u8],
}

/// What one attempt at an entry gave.
enum Attempt {
    Taken(Taken),
    /// The entry is damaged and done with; the next may be whole.
    Damaged,
}

impl Spool {
    /// The oldest entry not yet taken since the spool was opened or rewound. None when there is no such entry, or when
    /// [`IN_FLIGHT_MAX`] are under way.
    ///
    /// A damaged entry is skipped: with its tag whole it goes to [`Spool::take_dropped`], else to [`Spool::lost`] with those
    /// after it in its segment. An error leaves the cursor where it was.
    #[expect(
        clippy::should_implement_trait,
        reason = "it fails, and what it gives changes with what is appended and delivered"
    )]
    pub fn next(&mut self) -> Result<Option<Taken>, SpoolError> {
        // Each turn takes an entry, or passes a damaged one or a segment: it ends at the newest.
        loop {
            self.check_dropped()?;
            let id = self.acks.next_pending(self.cursor);
            if id >= self.next_id() || id - self.acks.mark() >= IN_FLIGHT_MAX {
                return Ok(None);
            }
            let at = self.segments.partition_point(|segment| segment.end <= id);
            let Some(segment) = self.segments.get(at).copied() else {
                return Ok(None);
            };
            self.cursor = id.max(segment.first);
            let attempt = self.attempt(&segment).map_err(|source| {
                self.reader = None;
                SpoolError::Read {
                    directory: self.directory.clone(),
                    source,
                }
            })?;
            match attempt {
                Attempt::Taken(taken) => {
                    self.cursor += 1;
                    self.taken_end = self.taken_end.max(self.cursor);
                    return Ok(Some(taken));
                }
                Attempt::Damaged => {}
            }
        }
    }

    /// Says that a taken entry arrived. In any order; an entry not under way (never taken, delivered before, dropped) changes
    /// nothing. Segments before the oldest undelivered entry are deleted; one that cannot be is tried again by
    /// [`Spool::flush_mark`], which tells.
    pub fn delivered(&mut self, id: EntryId) {
        if id.0 >= self.taken_end {
            return;
        }
        self.acks.add(id.0, id.0 + 1);
        // The error is told by the next call that can: the segment stays in the index until it is deleted.
        let _ = self.remove_delivered();
    }

    /// Has everything that was taken and not delivered given again, oldest first. A delivery still told for one of them counts.
    pub fn rewind(&mut self) {
        self.cursor = self.acks.mark();
        self.reader = None;
    }

    /// Shows the tags of all undelivered entries, oldest first, those under way included. Reads no payloads, and does not move
    /// what [`Spool::next`] gives.
    pub fn pending_tags(&mut self, mut show: impl FnMut(PendingTag<'_>)) -> Result<(), SpoolError> {
        for at in 0..self.segments.len() {
            let segment = self.segments[at];
            self.each_pending(&segment, &mut |head, tag| {
                show(PendingTag {
                    id: EntryId(head.id),
                    at_unix_ms: head.at_unix_ms,
                    tag,
                });
            })
            .map_err(|source| SpoolError::Read {
                directory: self.directory.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Shows the undelivered entries of a segment as far as it is readable.
    pub(crate) fn each_pending(
        &self,
        segment: &Segment,
        show: &mut dyn FnMut(&Head, &[u8]),
    ) -> io::Result<()> {
        if self.acks.pending(segment.first, segment.end) == 0 {
            return Ok(());
        }
        let mut walker = Walker::open(&self.directory, segment.first)?;
        while walker.next_id() < segment.end {
            let Step::Entry(head) = walker.step(segment.bytes)? else {
                break;
            };
            if !self.acks.contains(head.id) {
                show(&head, walker.tag());
            }
            walker.skip(&head)?;
        }
        Ok(())
    }

    /// Reads the entry at the cursor, which is in this segment.
    fn attempt(&mut self, segment: &Segment) -> io::Result<Attempt> {
        let mut walker = match self.reader.take() {
            Some((first, walker)) if first == segment.first && walker.next_id() <= self.cursor => {
                walker
            }
            _ => match Walker::open(&self.directory, segment.first) {
                Ok(walker) => walker,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(self.lose_from_cursor(segment));
                }
                Err(error) => return Err(error),
            },
        };
        loop {
            let Step::Entry(head) = walker.step(segment.bytes)? else {
                return Ok(self.lose_from_cursor(segment));
            };
            if head.id < self.cursor {
                walker.skip(&head)?;
                continue;
            }
            let mut payload = Vec::new();
            let whole = walker.payload(&head, &mut payload)?;
            let tag = walker.tag().to_vec();
            self.reader = Some((segment.first, walker));
            let id = EntryId(head.id);
            if whole {
                return Ok(Attempt::Taken(Taken {
                    id,
                    at_unix_ms: head.at_unix_ms,
                    tag,
                    payload,
                }));
            }
            self.dropped.push(DroppedTag {
                id,
                at_unix_ms: head.at_unix_ms,
                tag,
                reason: DropReason::Damage,
            });
            self.acks.add(head.id, head.id + 1);
            return Ok(Attempt::Damaged);
        }
    }

    /// Gives up what is left of a segment that cannot be read further.
    fn lose_from_cursor(&mut self, segment: &Segment) -> Attempt {
        self.lost += self.acks.pending(self.cursor, segment.end);
        self.acks.add(self.cursor, segment.end);
        Attempt::Damaged
    }
}
