//! The newest segment's file: what is written, what of it is safe, and what a failed write left behind.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::segment::{self, MAGIC, MAGIC_BYTES};

/// Parts of an entry smaller than this are gathered into one write; larger ones go as they are.
const GATHER_BYTES: usize = 64 * 1024;

/// What is known of the bytes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// It ends with a whole entry.
    Whole,
    /// A write failed part-way and what it left could not be cut off yet.
    Torn,
}

/// What is known of the bytes that are not safe yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsynced {
    /// The system holds them and will say when they cannot be written.
    Held,
    /// Making them safe failed. Linux counts such pages as written from then on, so another sync alone would say that all is
    /// well: they are written again first. (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.)
    Doubtful,
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Active {
    file: File,
    length: u64,
    synced: u64,
    tail: Tail,
    unsynced: Unsynced,
    gathered: Vec<u8>,
    /// The bytes the disk has left, where a test says so.
    #[cfg(test)]
    pub(crate) room: Option<u64>,
}

impl Active {
    /// Makes the segment that begins with this id. A file of that name holds no entry and is begun anew.
    pub(crate) fn create(directory: &Path, first: u64) -> io::Result<Self> {
        let path = segment::path(directory, first);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        if let Err(error) = file.write_all_at(MAGIC, 0) {
            // Left behind it would be an empty segment, which does no harm.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self::new(file, MAGIC_BYTES))
    }

    /// Opens the segment that begins with this id, and cuts off what is after `length`.
    pub(crate) fn open(directory: &Path, first: u64, length: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(segment::path(directory, first))?;
        file.set_len(length)?;
        Ok(Self::new(file, length))
    }

    fn new(file: File, length: u64) -> Self {
        Self {
            file,
            length,
            synced: 0,
            tail: Tail::Whole,
            unsynced: Unsynced::Held,
            gathered: Vec::new(),
            #[cfg(test)]
            room: None,
        }
    }

    /// Writes one entry, all of it or nothing: what a failed write left is cut off, now or before the next.
    pub(crate) fn append(&mut self, parts: &[&[u8]]) -> io::Result<u64> {
        self.mend()?;
        match self.write(parts) {
            Ok(end) => {
                let written = end - self.length;
                self.length = end;
                Ok(written)
            }
            Err(error) => {
                self.tail = Tail::Torn;
                // The write's error is the one to tell; a failed cut is tried again before the next entry.
                let _ = self.mend();
                Err(error)
            }
        }
    }

    /// Cuts off what a failed write left.
    fn mend(&mut self) -> io::Result<()> {
        match self.tail {
            Tail::Whole => Ok(()),
            Tail::Torn => {
                self.file.set_len(self.length)?;
                self.tail = Tail::Whole;
                Ok(())
            }
        }
    }

    /// Makes all that was appended safe against a crash of the machine.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.synced == self.length {
            return Ok(());
        }
        self.mend()?;
        match self.unsynced {
            Unsynced::Held => {}
            Unsynced::Doubtful => self.write_again()?,
        }
        self.unsynced = Unsynced::Doubtful;
        self.file.sync_data()?;
        self.unsynced = Unsynced::Held;
        self.synced = self.length;
        Ok(())
    }

    fn write_again(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; GATHER_BYTES];
        let mut offset = self.synced;
        while offset < self.length {
            let left = usize::try_from(self.length - offset).unwrap_or(GATHER_BYTES);
            let bytes = &mut chunk[..left.min(GATHER_BYTES)];
            self.file.read_exact_at(bytes, offset)?;
            self.file.write_all_at(bytes, offset)?;
            offset += bytes.len() as u64;
        }
        Ok(())
    }

    /// Writes the parts after the last entry and says where they end.
    fn write(&mut self, parts: &[&[u8]]) -> io::Result<u64> {
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.clear();
        let mut offset = self.length;
        for part in parts {
            if gathered.len() + part.len() > GATHER_BYTES {
                offset = self.write_at(&gathered, offset)?;
                gathered.clear();
            }
            if part.len() >= GATHER_BYTES {
                offset = self.write_at(part, offset)?;
            } else {
                gathered.extend_from_slice(part);
            }
        }
        offset = self.write_at(&gathered, offset)?;
        self.gathered = gathered;
        Ok(offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<u64> {
        #[cfg(test)]
        let bytes = &bytes[..self.take_room(bytes.len())];
        self.file.write_all_at(bytes, offset)?;
        #[cfg(test)]
        if self.room == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(offset + bytes.len() as u64)
    }

    /// As after a sync that failed.
    #[cfg(test)]
    pub(crate) const fn doubt(&mut self) {
        self.unsynced = Unsynced::Doubtful;
    }

    /// How many of the bytes a full disk still takes.
    #[cfg(test)]
    fn take_room(&mut self, bytes: usize) -> usize {
        let taken = self
            .room
            .map_or(bytes, |room| bytes.min(usize::try_from(room).unwrap()));
        self.room = self.room.map(|room| room - taken as u64);
        taken
    }
}
