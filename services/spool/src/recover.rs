//! What is found in a directory when it is opened.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;

use crate::acks::Acks;
use crate::active::Active;
use crate::mark;
use crate::segment::{self, MAGIC_BYTES, Segment, Step, Walker};

/// What opening a spool found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Entries that are undelivered and will be given. A payload's damage shows only when it is read.
    pub entries_kept: u64,
    /// Bytes cut off the newest segment, after its last whole entry: an append that a crash cut short, or damage there.
    pub bytes_cut: u64,
    /// Older segments with damage.
    pub segments_damaged: u64,
    /// Undelivered entries that followed the damage in those segments, or whose segment is missing.
    pub entries_lost: u64,
}

/// The state a spool begins with.
pub(crate) struct Found {
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) active: Active,
    pub(crate) acks: Acks,
    /// The mark in its file.
    pub(crate) marked: u64,
    pub(crate) recovery: Recovery,
}

/// Reads the heads of all segments, and the newest segment whole; cuts its torn end, and deletes segments wholly delivered.
pub(crate) fn recover(directory: &Path) -> io::Result<Found> {
    let firsts = firsts(directory)?;
    let marked = mark::read(directory)?.unwrap_or(0);
    // Segments before the first were delivered or dropped before they were deleted.
    let mut acks = Acks::new(marked.max(firsts.first().copied().unwrap_or(0)));
    let mut recovery = Recovery::default();
    let mut segments = VecDeque::new();
    for pair in firsts.windows(2) {
        let (first, next) = (pair[0], pair[1]);
        if next <= acks.mark() {
            fs::remove_file(segment::path(directory, first))?;
            continue;
        }
        let segment = sealed(directory, first, next)?;
        if segment.end < next {
            recovery.segments_damaged += 1;
            recovery.entries_lost += acks.pending(segment.end, next);
            acks.add(segment.end, next);
        }
        segments.push_back(segment);
    }
    let active = newest(
        directory,
        firsts.last().copied(),
        &acks,
        &mut segments,
        &mut recovery,
    )?;
    let next = segments.back().map_or(0, |segment| segment.end);
    recovery.entries_kept = acks.pending(acks.mark(), next);
    Ok(Found {
        segments,
        active,
        acks,
        marked,
        recovery,
    })
}

/// The first ids of the segments there are, rising.
fn firsts(directory: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(directory)? {
        firsts.extend(segment::first_of(&entry?.file_name()));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// A segment that has a successor, and so was made safe before that began.
fn sealed(directory: &Path, first: u64, next: u64) -> io::Result<Segment> {
    let mut segment = Segment {
        bytes: fs::metadata(segment::path(directory, first))?.len(),
        ..Segment::empty(first)
    };
    let mut walker = Walker::open(directory, first)?;
    while let Step::Entry(head) = walker.step(segment.bytes)? {
        if head.id >= next {
            break;
        }
        walker.skip(&head)?;
        segment.end = head.id + 1;
        segment.oldest_unix_ms = segment.oldest_unix_ms.min(head.at_unix_ms);
    }
    Ok(segment)
}

/// Opens the newest segment for appending, or a new one where that cannot go on.
fn newest(
    directory: &Path,
    first: Option<u64>,
    acks: &Acks,
    segments: &mut VecDeque<Segment>,
    recovery: &mut Recovery,
) -> io::Result<Active> {
    let Some(first) = first else {
        segments.push_back(Segment::empty(acks.mark()));
        return Active::create(directory, acks.mark());
    };
    let found = fs::metadata(segment::path(directory, first))?.len();
    let segment = whole(directory, first, found)?;
    recovery.bytes_cut = found - segment.bytes.min(found);
    if segment.end < acks.mark() {
        // Delivered before they were safe, and then lost: their ids are not used again.
        fs::remove_file(segment::path(directory, first))?;
        segments.push_back(Segment::empty(acks.mark()));
        return Active::create(directory, acks.mark());
    }
    segments.push_back(segment);
    if segment.end == first {
        return Active::create(directory, first);
    }
    Active::open(directory, first, segment.bytes)
}

/// The newest segment up to its last entry that is whole, payload included.
fn whole(directory: &Path, first: u64, length: u64) -> io::Result<Segment> {
    let mut segment = Segment::empty(first);
    let mut oldest_unix_ms = u64::MAX;
    let mut payload = Vec::new();
    let mut walker = Walker::open(directory, first)?;
    while let Step::Entry(head) = walker.step(length)? {
        oldest_unix_ms = oldest_unix_ms.min(head.at_unix_ms);
        // A damaged payload with whole entries after it is no torn end: it stays, and is told when it is read.
        if walker.payload(&head, &mut payload)? {
            segment = Segment {
                first,
                end: walker.next_id(),
                bytes: walker.offset(),
                oldest_unix_ms,
            };
        }
    }
    debug_assert!(
        segment.bytes >= MAGIC_BYTES,
        "an index entry counts the magic"
    );
    Ok(segment)
}
