//! Reading a recording.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::read::ZlibDecoder;

use super::frame::{Frame, Topics, decode};
use super::{BLOCK_MAX, DESCRIPTION_MAX, Description, MAGIC, RecordingError, VERSION};
use crate::Record;

/// How a recording ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// As its writer ended it.
    Whole,
    /// Before that: its writer was killed, or the file was cut off or damaged. What was whole has been handed out.
    Torn {
        /// How that was seen.
        why: &'static str,
    },
}

/// A recording being read, in the order it lies in the file. Needs memory for one block.
#[derive(Debug)]
pub struct RecordingReader {
    input: BufReader<File>,
    path: PathBuf,
    description: Description,
    block: Bytes,
    topics: Topics,
    frames: u64,
    unknown: u64,
    ending: Option<Ending>,
}

impl RecordingReader {
    /// Opens a recording and reads its head.
    ///
    /// # Errors
    /// When the file cannot be read, is no recording, or is one of another version.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Read {
            path: path.to_owned(),
            source,
        };
        let mut input = BufReader::new(File::open(path).map_err(failed)?);
        let description = match head(&mut input).map_err(failed)? {
            Head::Ours(description) => description,
            Head::OtherVersion(found) => {
                return Err(RecordingError::OtherVersion {
                    path: path.to_owned(),
                    found,
                });
            }
            Head::Foreign(problem) => {
                return Err(RecordingError::NotARecording {
                    path: path.to_owned(),
                    problem,
                });
            }
        };
        Ok(RecordingReader {
            input,
            path: path.to_owned(),
            description,
            block: Bytes::new(),
            topics: Topics::default(),
            frames: 0,
            unknown: 0,
            ending: None,
        })
    }

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// How it ends, once all of it has been read.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Frames of versions this reader does not know, so far: they were passed over.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// The next record; None at the end, or where the rest is torn off, which [`RecordingReader::ending`] tells apart.
    ///
    /// # Errors
    /// When the disk does not let it be read.
    pub fn read(&mut self) -> Result<Option<Record>, RecordingError> {
        loop {
            if self.ending.is_some() {
                return Ok(None);
            }
            if self.block.is_empty() {
                let next = block(&mut self.input, self.frames);
                match next.map_err(|source| RecordingError::Read {
                    path: self.path.clone(),
                    source,
                })? {
                    Next::Frames(frames) => self.block = frames,
                    Next::End(ending) => self.ending = Some(ending),
                }
                continue;
            }
            match decode(&mut self.block, &mut self.topics) {
                Some(Frame::Record(record)) => {
                    self.frames += 1;
                    return Ok(Some(record));
                }
                Some(Frame::Unknown) => {
                    self.frames += 1;
                    self.unknown += 1;
                }
                None => {
                    let why = "a block holds something that is no frame";
                    self.ending = Some(Ending::Torn { why });
                }
            }
        }
    }
}

enum Head {
    Ours(Description),
    OtherVersion(u32),
    Foreign(&'static str),
}

fn head(input: &mut impl Read) -> io::Result<Head> {
    let Some(magic) = array::<8>(input)? else {
        return Ok(Head::Foreign("it is shorter than a head"));
    };
    if magic != *MAGIC {
        return Ok(Head::Foreign("it does not begin with HSRECORD"));
    }
    let cut = Head::Foreign("its head is cut off");
    let (Some(version), Some(length)) = (array::<4>(input)?, array::<4>(input)?) else {
        return Ok(cut);
    };
    if u32::from_le_bytes(version) != VERSION {
        return Ok(Head::OtherVersion(u32::from_le_bytes(version)));
    }
    let Some(text) = exactly(input, u32::from_le_bytes(length) as usize, DESCRIPTION_MAX)? else {
        return Ok(cut);
    };
    let Some(crc) = array::<4>(input)? else {
        return Ok(cut);
    };
    let checked = [&version[..], &length, &text].concat();
    if crc32fast::hash(&checked) != u32::from_le_bytes(crc) {
        return Ok(Head::Foreign("its head is damaged"));
    }
    Ok(match describe(&text) {
        Some(description) => Head::Ours(description),
        None => Head::Foreign("its head says nothing that can be read"),
    })
}

fn describe(text: &[u8]) -> Option<Description> {
    let (from, rest) = text.split_first_chunk::<8>()?;
    let (to, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let name = rest.get(..usize::from(u16::from_le_bytes(*length)))?;
    Some(Description {
        from_ms: i64::from_le_bytes(*from),
        to_ms: i64::from_le_bytes(*to),
        made_by: String::from_utf8_lossy(name).into_owned(),
    })
}

enum Next {
    Frames(Bytes),
    End(Ending),
}

/// The next block, checked; `frames` is how many frames came before it.
fn block(input: &mut impl Read, frames: u64) -> io::Result<Next> {
    let torn = |why| Ok(Next::End(Ending::Torn { why }));
    let (Some(length), Some(raw), Some(crc)) = (array(input)?, array(input)?, array(input)?) else {
        return torn("it breaks off before its end");
    };
    let (length, raw) = (u32::from_le_bytes(length), u32::from_le_bytes(raw));
    let crc = u32::from_le_bytes(crc);
    if length == 0 {
        let Some(count) = array::<8>(input)? else {
            return torn("it breaks off within its end");
        };
        let sound = raw == 0 && crc32fast::hash(&count) == crc;
        let holds = sound && u64::from_le_bytes(count) == frames;
        return match holds {
            true => Ok(Next::End(Ending::Whole)),
            false => torn("its end does not agree with what it holds"),
        };
    }
    if raw as usize > BLOCK_MAX {
        return torn("a block has a length that no writer gives it");
    }
    let Some(compressed) = exactly(input, length as usize, BLOCK_MAX)? else {
        return torn("it breaks off within a block");
    };
    if crc32fast::hash(&compressed) != crc {
        return torn("a block is damaged");
    }
    let mut plain = Vec::with_capacity(raw as usize);
    let read = ZlibDecoder::new(&compressed[..])
        .take(u64::from(raw) + 1)
        .read_to_end(&mut plain);
    match read {
        Ok(bytes) if bytes == raw as usize && bytes > 0 => Ok(Next::Frames(plain.into())),
        // Compressed bytes in memory: whatever fails is what they are, not the disk.
        Ok(_) | Err(_) => torn("a block is not what its length says"),
    }
}

fn array<const N: usize>(input: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match input.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// So many bytes; None where there are fewer, or where it is more than `most`.
fn exactly(input: &mut impl Read, length: usize, most: usize) -> io::Result<Option<Vec<u8>>> {
    if length > most {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    match input.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
