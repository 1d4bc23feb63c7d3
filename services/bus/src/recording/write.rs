//! Writing a recording.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::{BLOCK_TARGET, DESCRIPTION_MAX, Description, MAGIC, RecordingError, VERSION, frame};
use crate::Record;

/// What was written is brought to disk at least this often.
const SYNC_EVERY: usize = 16 * 1024 * 1024;
/// Records are much alike, so that more effort gains little.
const EFFORT: Compression = Compression::new(4);

/// Whether the bytes have to outlive the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A recording.
    Keep,
    /// Something to be read again at once.
    Scratch,
}

/// A recording in the making. Dropped before [`RecordingWriter::finish`] it is one that was torn.
#[derive(Debug)]
pub struct RecordingWriter {
    file: File,
    path: PathBuf,
    purpose: Purpose,
    frames: Vec<u8>,
    records: u64,
    unsynced: usize,
}

impl RecordingWriter {
    /// Begins a recording in a new file.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path, description: &Description) -> Result<Self, RecordingError> {
        Self::begin(path, description, Purpose::Keep)
    }

    pub(super) fn begin(
        path: &Path,
        description: &Description,
        purpose: Purpose,
    ) -> Result<Self, RecordingError> {
        let file = File::create_new(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => RecordingError::Exists {
                path: path.to_owned(),
            },
            _ => failed(path, source),
        })?;
        let mut writer = RecordingWriter {
            file,
            path: path.to_owned(),
            purpose,
            frames: Vec::with_capacity(BLOCK_TARGET),
            records: 0,
            unsynced: 0,
        };
        writer.put(&head(description))?;
        Ok(writer)
    }

    /// Appends a record. It is in the file once a block is full, or at the end.
    ///
    /// # Errors
    /// When it is too large, or the file cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<(), RecordingError> {
        frame::encode(record, &mut self.frames).map_err(|bytes| RecordingError::TooLarge {
            topic: record.position.topic.clone(),
            partition: record.position.partition,
            offset: record.position.offset,
            bytes,
        })?;
        self.records += 1;
        match self.frames.len() < BLOCK_TARGET {
            true => Ok(()),
            false => self.block(),
        }
    }

    /// Writes what is left and the end, and brings all of it to disk. Returns the number of records.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> Result<u64, RecordingError> {
        self.block()?;
        let count = self.records.to_le_bytes();
        let mut end = vec![0; 8];
        end.extend(crc32fast::hash(&count).to_le_bytes());
        end.extend(count);
        self.put(&end)?;
        self.sync()?;
        Ok(self.records)
    }

    fn block(&mut self) -> Result<(), RecordingError> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let compressed = compress(&self.frames).map_err(|source| failed(&self.path, source))?;
        // A frame is at most two million bytes, and a block one more than its target.
        let mut block = Vec::with_capacity(compressed.len() + 12);
        block.extend((compressed.len() as u32).to_le_bytes());
        block.extend((self.frames.len() as u32).to_le_bytes());
        block.extend(crc32fast::hash(&compressed).to_le_bytes());
        block.extend(compressed);
        self.frames.clear();
        self.put(&block)?;
        self.unsynced += block.len();
        match self.unsynced < SYNC_EVERY {
            true => Ok(()),
            false => self.sync(),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        self.file
            .write_all(bytes)
            .map_err(|source| failed(&self.path, source))
    }

    fn sync(&mut self) -> Result<(), RecordingError> {
        self.unsynced = 0;
        match self.purpose {
            Purpose::Scratch => Ok(()),
            Purpose::Keep => self
                .file
                .sync_all()
                .map_err(|source| failed(&self.path, source)),
        }
    }
}

pub(super) fn failed(path: &Path, source: io::Error) -> RecordingError {
    RecordingError::Write {
        path: path.to_owned(),
        source,
    }
}

fn compress(frames: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(frames.len() / 4), EFFORT);
    encoder.write_all(frames)?;
    encoder.finish()
}

fn head(description: &Description) -> Vec<u8> {
    let mut text = Vec::new();
    text.extend(description.from_ms.to_le_bytes());
    text.extend(description.to_ms.to_le_bytes());
    // A name that long is nobody's; what is cut off tells nothing.
    let name = description.made_by.as_bytes();
    let name = &name[..name.len().min(DESCRIPTION_MAX / 2)];
    text.extend((name.len() as u16).to_le_bytes());
    text.extend(name);
    let mut checked = Vec::new();
    checked.extend(VERSION.to_le_bytes());
    checked.extend((text.len() as u32).to_le_bytes());
    checked.extend(text);
    let mut head = MAGIC.to_vec();
    head.extend(&checked);
    head.extend(crc32fast::hash(&checked).to_le_bytes());
    head
}

#[cfg(test)]
impl RecordingWriter {
    /// Appends a frame as it is.
    pub(super) fn append_frame(&mut self, content: &[u8]) {
        self.frames.extend((content.len() as u32).to_le_bytes());
        self.frames.extend(content);
        self.records += 1;
    }
}
