//! Recordings: what a log held for a while, in one file.
//!
//! A recording keeps records as they lie in the log, of every back end alike, ordered by time across topics, so that what happened
//! can be looked at, or played again, far from the log and long after its topics have forgotten it.
//!
//! # The file, version 1
//!
//! Integers are little-endian. Lengths are in bytes, times in milliseconds since the Unix epoch.
//!
//! | part | bytes | what |
//! |---|---|---|
//! | head | 8 | `HSRECORD` |
//! | | 4 | version of the file, 1 |
//! | | 4 | length of the description, at most 64 KiB |
//! | | … | description: begin (8), end (8), length of the maker's name (2), maker's name |
//! | | 4 | CRC-32 (IEEE) of version, length and description |
//! | block | 4 | length of the block as it lies in the file, not zero |
//! | | 4 | length of its frames |
//! | | 4 | CRC-32 of the block as it lies in the file |
//! | | … | its frames, compressed with zlib (RFC 1950) |
//! | … | | more blocks |
//! | end | 4 + 4 | zero, zero |
//! | | 4 | CRC-32 of the next eight bytes |
//! | | 8 | number of frames in the file |
//!
//! A block holds whole frames, about 256 KiB of them. A frame is its length without this field (4), its version (1) and its content.
//! In version 1 the content is one record: partition (4), offset (8), time of appending (8), number of headers (2), topic, key and
//! value, then name and value of each header; each text is its length (4) and its bytes. A reader passes over frames of versions it
//! does not know, and counts them.
//!
//! Records lie in the order of time. Where the clocks of several producers let time fall back within a partition, its records keep
//! their order and count as no earlier than the one before. Those of one time are ordered by topic, partition and offset.
//!
//! A writer that is killed leaves whole blocks and perhaps a part of one, and no end. A reader uses all that is whole, and says that
//! the rest is missing and why it thinks so; blocks after a damaged one are not looked for.

mod frame;
mod gather;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

pub use gather::{Before, Gathered, Merged, Span, Want, gather};
pub use read::{Ending, RecordingReader};
pub use write::RecordingWriter;

use crate::BusError;

/// Version of the file that is written, and the only one that is read.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"HSRECORD";
/// Longest description in a head.
const DESCRIPTION_MAX: usize = 64 * 1024;
/// Frames are gathered up to this length before they are compressed and written.
const BLOCK_TARGET: usize = 256 * 1024;
/// Longest frame: twice what any back end takes. A record beyond it cannot be recorded.
const FRAME_MAX: usize = 2 * crate::MAX_RECORD_BYTES;
/// Longest block, compressed or not. A length beyond it is damage, and no memory is taken for it.
const BLOCK_MAX: usize = 4 * 1024 * 1024;

/// What a recording says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// When it begins, in milliseconds since the Unix epoch. Records before it tell how things stood then.
    pub from_ms: i64,
    /// When it ends; no record is of this time or later.
    pub to_ms: i64,
    /// Program and version that made it.
    pub made_by: String,
}

/// Why something could not be recorded or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file exists; nothing is written over.
    #[error("{} exists already; name another file, or move that one away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error("cannot write the recording {}; check the free space and the permissions there", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file could not be read.
    #[error("cannot read the recording {}; check its name, and that it may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{} is no recording ({problem}); `homeostat record --output FILE` makes one", path.display())]
    NotARecording {
        /// The file.
        path: PathBuf,
        /// How that was seen.
        problem: &'static str,
    },
    /// The file is of another version.
    #[error("the recording {} is of version {found}, and this homeostat reads version {VERSION}; read it with the homeostat that made it, or record again", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A record is too large.
    #[error(
        "the record at {topic}/{partition} offset {offset} has {bytes} bytes, more than a recording takes; leave that topic out with --topics"
    )]
    TooLarge {
        /// Its topic.
        topic: Arc<str>,
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: u64,
        /// Its size as a frame.
        bytes: usize,
    },
    /// The log could not be read.
    #[error("cannot record the topic {topic}")]
    Log {
        /// Which.
        topic: String,
        /// Why.
        #[source]
        source: BusError,
    },
}
