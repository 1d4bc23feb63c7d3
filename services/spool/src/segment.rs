//! A segment file: 8 bytes of magic, then entries one after the other. Its name is the id of its first entry.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use crate::mark::ID_MAX;
use crate::record::{HEAD_BYTES, Head};

/// Says what the file is, and the version of its form.
pub(crate) const MAGIC: &[u8; 8] = b"HMSPOOL1";
pub(crate) const MAGIC_BYTES: u64 = MAGIC.len() as u64;

const SUFFIX: &str = ".segment";
const DIGITS: usize = 20;
/// Bytes read ahead; small entries come many to a read, large payloads go past it.
const READ_AHEAD_BYTES: usize = 16 * 1024;
/// Linux's number for a failed read of the medium.
const EIO: i32 = 5;

/// The index entry of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Id of its first entry.
    pub(crate) first: u64,
    /// Id after its last readable entry.
    pub(crate) end: u64,
    /// Length of its file.
    pub(crate) bytes: u64,
    /// The smallest time of its entries; `u64::MAX` while it has none.
    pub(crate) oldest_unix_ms: u64,
}

impl Segment {
    pub(crate) const fn empty(first: u64) -> Self {
        Self {
            first,
            end: first,
            bytes: MAGIC_BYTES,
            oldest_unix_ms: u64::MAX,
        }
    }

    /// How old its oldest entry is, in milliseconds; nothing for a clock that was stepped back.
    pub(crate) const fn age_ms(&self, now_unix_ms: u64) -> u64 {
        now_unix_ms.saturating_sub(self.oldest_unix_ms)
    }
}

pub(crate) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:0DIGITS$}{SUFFIX}"))
}

/// The first id a file's name says; none for a file that is no segment.
pub(crate) fn first_of(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(SUFFIX)?;
    if digits.len() != DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|first| *first < ID_MAX)
}

/// Whether an error of reading means that these bytes are gone for good, as opposed to a cause that passes.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || error.raw_os_error() == Some(EIO)
}

/// What comes next in a segment.
#[derive(Debug)]
pub(crate) enum Step {
    /// An entry whose head and tag are whole. Its payload is to be read or skipped before the next step.
    Entry(Head),
    /// The length given is reached.
    End,
    /// No entry can be read from here on.
    Damaged,
}

/// Goes through a segment from its beginning. Holds the last tag and a small read-ahead.
#[derive(Debug)]
pub(crate) struct Walker {
    file: BufReader<File>,
    offset: u64,
    /// The id the next entry must have.
    next: u64,
    tag: Vec<u8>,
    damaged: bool,
}

impl Walker {
    pub(crate) fn open(directory: &Path, first: u64) -> io::Result<Self> {
        let file = BufReader::with_capacity(READ_AHEAD_BYTES, File::open(path(directory, first))?);
        let mut walker = Self {
            file,
            offset: 0,
            next: first,
            tag: Vec::new(),
            damaged: false,
        };
        let mut magic = [0; MAGIC.len()];
        walker.damaged = !walker.fill(&mut magic)? || magic != *MAGIC;
        Ok(walker)
    }

    /// Id of the entry the next step must find.
    pub(crate) const fn next_id(&self) -> u64 {
        self.next
    }

    /// Where the next step reads.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The tag of the entry the last step found.
    pub(crate) fn tag(&self) -> &[u8] {
        &self.tag
    }

    /// Reads the next head and tag of a file of this length.
    pub(crate) fn step(&mut self, length: u64) -> io::Result<Step> {
        if self.damaged {
            return Ok(Step::Damaged);
        }
        if self.offset >= length {
            return Ok(Step::End);
        }
        let start = self.offset;
        let found = self.entry(length)?;
        // What follows damage cannot be found: entries have no sign of their own at which to begin again.
        self.damaged = found.is_none();
        Ok(found.map_or_else(
            || {
                self.offset = start;
                Step::Damaged
            },
            Step::Entry,
        ))
    }

    fn entry(&mut self, length: u64) -> io::Result<Option<Head>> {
        let left = length - self.offset;
        let mut bytes = [0; HEAD_BYTES];
        if left < HEAD_BYTES as u64 || !self.fill(&mut bytes)? {
            return Ok(None);
        }
        let Some(head) = Head::decode(&bytes) else {
            return Ok(None);
        };
        if head.id != self.next || head.record_bytes() > left {
            return Ok(None);
        }
        let mut tag = std::mem::take(&mut self.tag);
        tag.resize(head.tag_len(), 0);
        let filled = self.fill(&mut tag)?;
        self.tag = tag;
        if !filled || !head.fits_tag(&self.tag) {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(head))
    }

    /// Goes past the payload of the entry just found.
    pub(crate) fn skip(&mut self, head: &Head) -> io::Result<()> {
        let bytes = i64::from(
            u32::try_from(head.payload_len()).expect("a decoded length is at most PAYLOAD_MAX"),
        );
        self.file.seek_relative(bytes)?;
        self.offset += head.payload_len() as u64;
        Ok(())
    }

    /// Reads the payload of the entry just found into `payload`; false when it is damaged.
    pub(crate) fn payload(&mut self, head: &Head, payload: &mut Vec<u8>) -> io::Result<bool> {
        payload.clear();
        payload.resize(head.payload_len(), 0);
        let start = self.offset;
        if self.fill(payload)? {
            return Ok(head.fits_payload(payload));
        }
        // A read that failed part-way leaves the file's position anywhere.
        self.offset = start + head.payload_len() as u64;
        self.file.seek(io::SeekFrom::Start(self.offset))?;
        Ok(false)
    }

    /// Fills the buffer; false when these bytes are gone.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.offset += bytes.len() as u64;
                Ok(true)
            }
            Err(error) if is_damage(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        let name = |first| path(Path::new(""), first).into_os_string();
        assert_eq!(first_of(&name(0)), Some(0));
        assert_eq!(first_of(&name(123_456)), Some(123_456));
        assert_eq!(first_of(&name(ID_MAX)), None);
        for other in [
            "mark",
            "lock",
            "1.segment",
            "+0000000000000000001.segment",
            "00000000000000000001.segment.new",
        ] {
            assert_eq!(first_of(OsStr::new(other)), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_walked_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300), whole_magic in any::<bool>()) {
            let directory = tempfile::tempdir().unwrap();
            let mut file = if whole_magic { MAGIC.to_vec() } else { Vec::new() };
            file.extend(bytes);
            std::fs::write(path(directory.path(), 5), &file).unwrap();
            let mut walker = Walker::open(directory.path(), 5).unwrap();
            let mut turns = 0;
            while let Step::Entry(head) = walker.step(file.len() as u64).unwrap() {
                walker.skip(&head).unwrap();
                turns += 1;
                prop_assert!(turns < 300);
            }
        }
    }
}
