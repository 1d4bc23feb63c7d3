//! Taking records out of a log, ordered by time across topics, in bounded memory.
//!
//! A log hands out the partitions of a topic in any interleaving, and a topic may be larger than memory. So each partition is first
//! written to a file of its own in a scratch directory, one topic after the other, and the files are then merged. It takes the disk
//! twice, and the memory of one block for each partition.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::write::{Purpose, failed};
use super::{Description, RecordingError, RecordingReader, RecordingWriter};
use crate::{Bus, BusError, From, Position, Record, Tailed};

/// The time a recording is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it begins, in milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// When it ends; records of this time and later are left out.
    pub to_ms: i64,
}

/// What is taken from before a recording begins, to tell how things stood then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// All of so long before.
    For(Duration),
    /// The newest of every key, however old. Needs memory for all keys' values.
    Newest,
}

/// A topic to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its name.
    pub topic: String,
    /// What of it is taken from before.
    pub before: Before,
}

/// Records taken out of a log, to be read in order as often as needed. Dropping it removes them from disk.
#[derive(Debug)]
pub struct Gathered {
    scratch: TempDir,
    files: Vec<PathBuf>,
    /// Records of each topic, those from before included.
    pub records: BTreeMap<String, u64>,
    /// Topics that the log does not have.
    pub absent: Vec<String>,
}

/// Takes what the log holds of these topics. `scratch` is a directory with room for it.
///
/// # Errors
/// When the log cannot be read or the directory not be written. Topics the log does not have are left out and named.
pub async fn gather(
    bus: &Bus,
    wants: &[Want],
    span: Span,
    scratch: &Path,
) -> Result<Gathered, RecordingError> {
    let scratch = tempfile::Builder::new()
        .prefix(".homeostat-record-")
        .tempdir_in(scratch)
        .map_err(|source| failed(scratch, source))?;
    let mut gathered = Gathered {
        files: Vec::new(),
        records: BTreeMap::new(),
        absent: Vec::new(),
        scratch,
    };
    for want in wants {
        gathered.topic(bus, want, span).await?;
    }
    Ok(gathered)
}

impl Gathered {
    /// All of them from the beginning.
    ///
    /// # Errors
    /// When the scratch files cannot be read.
    pub fn read(&self) -> Result<Merged, RecordingError> {
        let mut merged = Merged {
            sources: Vec::new(),
            heads: BinaryHeap::new(),
        };
        for path in &self.files {
            merged.sources.push(Source {
                reader: RecordingReader::open(path)?,
                at_ms: i64::MIN,
                head: None,
            });
            merged.advance(merged.sources.len() - 1)?;
        }
        Ok(merged)
    }

    async fn topic(&mut self, bus: &Bus, want: &Want, span: Span) -> Result<(), RecordingError> {
        let log = |source| RecordingError::Log {
            topic: want.topic.clone(),
            source,
        };
        let from = match want.before {
            Before::Newest => From::Beginning,
            Before::For(before) => {
                let before_ms = i64::try_from(before.as_millis()).unwrap_or(i64::MAX);
                From::Time(span.from_ms.saturating_sub(before_ms))
            }
        };
        let mut tail = match bus.tail(&want.topic, from).await {
            Ok(tail) => tail,
            Err(BusError::UnknownTopic { .. }) => {
                self.absent.push(want.topic.clone());
                return Ok(());
            }
            Err(error) => return Err(log(error)),
        };
        let mut stages = Stages {
            before: HashMap::new(),
            writers: BTreeMap::new(),
            files: Vec::new(),
            records: 0,
            dir: self.scratch.path().to_owned(),
            number: self.files.len(),
        };
        while let Tailed::Record(record) = tail.next().await.map_err(log)? {
            // Clocks of several producers let time fall back, so that a later record may be within it again.
            if record.timestamp_ms >= span.to_ms {
                continue;
            }
            match want.before {
                Before::Newest if record.timestamp_ms < span.from_ms => stages.keep(record),
                Before::Newest | Before::For(_) => stages.write(Part::Within, &record)?,
            }
        }
        stages.finish()?;
        self.files.extend(stages.files);
        self.records.insert(want.topic.clone(), stages.records);
        Ok(())
    }
}

/// Which file of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// The newest of every key from before.
    Before,
    Within,
}

/// The files of one topic.
struct Stages {
    before: HashMap<(u32, Bytes), Record>,
    writers: BTreeMap<(u32, Part), RecordingWriter>,
    files: Vec<PathBuf>,
    records: u64,
    dir: PathBuf,
    number: usize,
}

impl Stages {
    fn keep(&mut self, record: Record) {
        let key = (record.position.partition, record.key.clone());
        match record.value.is_empty() {
            true => self.before.remove(&key),
            false => self.before.insert(key, record),
        };
    }

    fn write(&mut self, part: Part, record: &Record) -> Result<(), RecordingError> {
        let place = (record.position.partition, part);
        if !self.writers.contains_key(&place) {
            let path = self.dir.join(format!("{}", self.number + self.files.len()));
            let description = Description {
                from_ms: 0,
                to_ms: 0,
                made_by: String::new(),
            };
            let writer = RecordingWriter::begin(&path, &description, Purpose::Scratch)?;
            self.files.push(path);
            self.writers.insert(place, writer);
        }
        self.records += 1;
        match self.writers.get_mut(&place) {
            Some(writer) => writer.write(record),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), RecordingError> {
        let mut before: Vec<Record> = self.before.drain().map(|(_, record)| record).collect();
        before.sort_by(|a, b| a.position.cmp(&b.position));
        for record in &before {
            self.write(Part::Before, record)?;
        }
        for (_, writer) in std::mem::take(&mut self.writers) {
            writer.finish()?;
        }
        Ok(())
    }
}

/// Records in the order of a recording.
#[derive(Debug)]
pub struct Merged {
    sources: Vec<Source>,
    heads: BinaryHeap<Reverse<(i64, Position, usize)>>,
}

#[derive(Debug)]
struct Source {
    reader: RecordingReader,
    /// The latest time of its records so far: none after counts as earlier.
    at_ms: i64,
    head: Option<Record>,
}

impl Merged {
    /// The next record; None at the end.
    ///
    /// # Errors
    /// When a scratch file cannot be read.
    pub fn read(&mut self) -> Result<Option<Record>, RecordingError> {
        let Some(Reverse((_, _, index))) = self.heads.pop() else {
            return Ok(None);
        };
        let record = self.sources[index].head.take();
        self.advance(index)?;
        Ok(record)
    }

    fn advance(&mut self, index: usize) -> Result<(), RecordingError> {
        let source = &mut self.sources[index];
        source.head = source.reader.read()?;
        if let Some(record) = &source.head {
            source.at_ms = source.at_ms.max(record.timestamp_ms);
            self.heads
                .push(Reverse((source.at_ms, record.position.clone(), index)));
        }
        Ok(())
    }
}
