//! What can go wrong, and what the operator can do about it.

use std::io;
use std::path::PathBuf;

/// An operation on the spool that failed. The spool itself stays usable after each of them.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process holds the directory.
    #[error(
        "the spool in {} is in use by another process: stop that one, or give this one a directory of its own",
        directory.display()
    )]
    Locked {
        /// Where the spool is.
        directory: PathBuf,
    },
    /// The directory or a file in it could not be made, opened or listed.
    #[error("cannot open the spool in {}: check that the directory is on a local disk and belongs to this user", directory.display())]
    Open {
        /// Where the spool is.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An entry could not be written. What was written of it is cut off again, and the entry is not in the spool.
    #[error("cannot write to the spool in {}: free space on its disk or give the spool a smaller size, then append again", directory.display())]
    Append {
        /// Where the spool is.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Appended entries could not be made safe. They are in the spool; the next `sync` writes them once more.
    #[error("cannot make safe what was appended to the spool in {}: check the disk's health, then sync again", directory.display())]
    Sync {
        /// Where the spool is.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A segment could not be read for a cause other than damage, which is skipped and counted instead.
    #[error("cannot read the spool in {}: check its permissions and the limit of open files, then try again", directory.display())]
    Read {
        /// Where the spool is.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A segment that is no longer needed could not be deleted.
    #[error("cannot delete from the spool in {}: check the directory's permissions; the next call tries again", directory.display())]
    Remove {
        /// Where the spool is.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The mark could not be replaced. The old one stands, and a crash now gives again what was delivered since.
    #[error("cannot write the mark of the spool in {}: free space on its disk; the next call tries again", directory.display())]
    Mark {
        /// Where the spool is.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A tag is over [`TAG_MAX`](crate::TAG_MAX).
    #[error("the tag of a spool entry has {bytes} bytes and may have {max}: shorten it", max = crate::TAG_MAX)]
    TagTooLarge {
        /// The tag's length.
        bytes: usize,
    },
    /// A payload is over [`PAYLOAD_MAX`](crate::PAYLOAD_MAX).
    #[error("the payload of a spool entry has {bytes} bytes and may have {max}: split it", max = crate::PAYLOAD_MAX)]
    PayloadTooLarge {
        /// The payload's length.
        bytes: usize,
    },
    /// More dropped tags wait than are held: nothing is appended or given until they are taken, so that none is lost unseen.
    #[error("{waiting} tags of dropped spool entries wait to be taken: take them, then try again")]
    DroppedNotTaken {
        /// How many wait.
        waiting: usize,
    },
}

/// Limits that cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Dropping is by whole segments, so a segment is to be a small part of the spool.
    #[error(
        "a spool segment of {segment_bytes} bytes is over a quarter of the spool's {bytes_max}: make the spool larger or the segment smaller"
    )]
    SegmentTooLarge {
        /// What was asked for a segment.
        segment_bytes: u64,
        /// What was asked for the spool.
        bytes_max: u64,
    },
    /// Each segment costs a file and an index entry.
    #[error("a spool segment of {segment_bytes} bytes is under {min}: make it larger", min = crate::SEGMENT_BYTES_MIN)]
    SegmentTooSmall {
        /// What was asked for a segment.
        segment_bytes: u64,
    },
    /// The index in memory has one entry a segment.
    #[error("a spool of {bytes_max} bytes has over {max} segments of {segment_bytes}: make the segment larger", max = crate::SEGMENTS_MAX)]
    TooManySegments {
        /// What was asked for a segment.
        segment_bytes: u64,
        /// What was asked for the spool.
        bytes_max: u64,
    },
    /// With no age everything would be dropped at once.
    #[error("the age a spool keeps entries is under a second: make it longer")]
    AgeTooShort,
}
