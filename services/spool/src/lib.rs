//! A spool on disk: what was read and not delivered yet, oldest first, bounded by size and age, and safe against a crash.
//!
//! One blocking thread owns a [`Spool`]. It appends entries, makes them safe with [`Spool::sync`], takes them oldest first
//! with [`Spool::next`], and says with [`Spool::delivered`] what has arrived, in any order. Each entry has a small tag that
//! comes back when the entry had to be dropped, and that [`Spool::pending_tags`] gives for all that is undelivered.
//!
//! On disk, a directory holds segments that are only appended to and only deleted whole, a file with the position up to
//! which all is delivered (the mark), and a lock file. In memory there is one index entry a segment and one entry's bytes.
//!
//! What is promised: an entry appended before a successful `sync` is given until it is delivered or dropped, at least once,
//! also after a crash; what the disk damages is noticed and counted. What is not: exactly once (after a crash, what was
//! delivered since the last [`Spool::flush_mark`] is given again), compression, encryption, and use from several threads.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod acks;
mod active;
mod drops;
mod error;
mod limits;
mod mark;
mod queue;
mod record;
mod recover;
mod segment;
mod spool;

pub use drops::{DropReason, DroppedTag, TAGS_HELD_MAX};
pub use error::{LimitsError, SpoolError};
pub use limits::{Limits, SEGMENT_BYTES_MIN, SEGMENTS_MAX};
pub use queue::{IN_FLIGHT_MAX, PendingTag, Taken};
pub use record::{EntryId, PAYLOAD_MAX, TAG_MAX};
pub use recover::Recovery;
pub use spool::Spool;
