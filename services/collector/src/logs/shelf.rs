//! The files of one log that wait to be read, oldest first; the newest is the live one.
//!
//! The engine renames `x.log` to `x.log.1`, that to `.2` and so on, removes the last, and makes a new file. A descriptor keeps
//! a file readable whatever happens to its name, so each is opened as soon as it is seen: by the watcher when its directory
//! changes, and by the reader before each read where there is no watcher.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::Format;
use super::gunzip::Gunzip;
use super::position::FileId;

/// Rotated files of a log that are held while they wait. Beyond these the oldest is let go, its lines counted.
pub(super) const HELD_FILES_MAX: usize = 64;
/// Bytes of rotated files of all logs that are held; each pins its disk space although the engine removed it. Beyond them, files
/// are let go as above.
const HELD_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Rotated names looked at: `max-file` of the engine is seldom more than ten.
const ROTATED_NAMES_MAX: usize = 100;
/// While the engine renames, one name is missing for a moment; two in a row are the end.
const MISSING_NAMES_MAX: usize = 2;
/// How much of a file its first frame is looked for in; of a longer one this much is hashed.
const FIRST_BYTES_MAX: usize = 16 * 1024;
/// One step of counting the lines of a file that is let go. Longer than any frame.
const COUNT_BYTES: usize = 1024 * 1024;

/// Why lines are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// A rotated file was removed before it was read.
    Rotation,
    /// The file was cut before it was read to its end.
    Truncation,
    /// The file holds something the engine does not write.
    Malformed,
    /// The container was removed before its log was opened.
    Removal,
    /// The spool was full, or what it held too old or damaged.
    Spool,
}

impl Loss {
    /// A word for metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Loss::Rotation => "rotation",
            Loss::Truncation => "truncation",
            Loss::Malformed => "malformed",
            Loss::Removal => "removal",
            Loss::Spool => "spool",
        }
    }
}

/// Lines that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) loss: Loss,
    /// Exact where the lines could be counted, else one: what is known at least.
    pub(crate) lines: u64,
}

impl Missing {
    /// So many lines that nobody could count.
    pub(super) const fn unknown(loss: Loss) -> Missing {
        Missing { loss, lines: 1 }
    }

    /// Both, under the cause of the first.
    pub(super) fn and(self, other: Option<Missing>) -> Missing {
        Missing {
            lines: self.lines + other.map_or(0, |it| it.lines),
            ..self
        }
    }
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) file: Arc<File>,
    pub(super) id: FileId,
    pub(super) packing: Packing,
    pub(super) missing_before: Option<Missing>,
    /// What it counts against the bytes of all logs.
    pinned: u64,
}

/// Whether the engine compressed a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
}

/// Bytes that all shelves pin together.
#[derive(Debug, Clone, Default)]
pub(super) struct Pinned(Arc<AtomicU64>);

/// See the module.
#[derive(Debug)]
pub(super) struct Shelf {
    path: PathBuf,
    format: Format,
    pinned: Pinned,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: VecDeque<Held>,
    /// The newest file seen, whether it is still here or was taken.
    newest: Option<(FileId, Arc<File>)>,
    /// How many files the first look that found any found.
    found_first: usize,
}

impl Shelf {
    pub(super) fn new(path: PathBuf, pinned: Pinned) -> Shelf {
        Shelf {
            format: Format::of(&path),
            path,
            pinned,
            state: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Opens what is new.
    ///
    /// # Errors
    /// When a file is there and cannot be opened.
    pub(super) fn look(&self) -> io::Result<()> {
        let mut state = self.lock();
        if let Some((newest, _)) = &state.newest {
            match std::fs::metadata(&self.path) {
                Ok(live) if FileId::of(&live) == *newest => return Ok(()),
                Ok(_) => {}
                // Removed with its container, or just being rotated.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let mut newer = self.newer(&state)?;
        if state.newest.is_some()
            && newer.reached == Reached::End
            && let Some(oldest) = newer.newest_first.last_mut()
        {
            oldest.missing_before = Some(Missing::unknown(Loss::Rotation));
        }
        if let Some(newest) = newer.newest_first.first() {
            if state.newest.is_none() {
                state.found_first = newer.newest_first.len();
            }
            state.newest = Some((newest.id, Arc::clone(&newest.file)));
        }
        state.files.extend(newer.newest_first.into_iter().rev());
        self.hold_within_bounds(&mut state)
    }

    /// How many files were there when any were seen first: more than one were there before, and maybe others before them.
    pub(super) fn found_first(&self) -> usize {
        self.lock().found_first
    }

    /// Lets the reader choose where to begin.
    pub(super) fn begin<T>(&self, choose: impl FnOnce(&mut VecDeque<Held>) -> T) -> T {
        let mut state = self.lock();
        let before: u64 = state.files.iter().map(|held| held.pinned).sum();
        let chosen = choose(&mut state.files);
        let after: u64 = state.files.iter().map(|held| held.pinned).sum();
        self.pinned.0.fetch_sub(before - after, Ordering::Relaxed);
        chosen
    }

    /// Whether there is a file that the reader has not taken yet.
    pub(super) fn has_next(&self) -> bool {
        !self.lock().files.is_empty()
    }

    /// The oldest file that was not taken yet.
    pub(super) fn take(&self) -> Option<Held> {
        let held = self.lock().files.pop_front()?;
        self.pinned.0.fetch_sub(held.pinned, Ordering::Relaxed);
        Some(held)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic left behind is a queue of files, which is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold_within_bounds(&self, state: &mut State) -> io::Result<()> {
        // All but the newest are as long as they will be.
        let full = state.files.len().saturating_sub(1);
        for held in state.files.iter_mut().take(full) {
            if held.pinned == 0 {
                held.pinned = held.file.metadata()?.len();
                self.pinned.0.fetch_add(held.pinned, Ordering::Relaxed);
            }
        }
        while state.files.len() > HELD_FILES_MAX
            || (state.files.len() > 1 && self.pinned.0.load(Ordering::Relaxed) > HELD_BYTES_MAX)
        {
            let Some(oldest) = state.files.pop_front() else {
                break;
            };
            self.pinned.0.fetch_sub(oldest.pinned, Ordering::Relaxed);
            let missing = Missing {
                loss: Loss::Rotation,
                lines: lines_in(&oldest, self.format)?,
            };
            if let Some(next) = state.files.front_mut() {
                next.missing_before =
                    Some(missing.and(oldest.missing_before).and(next.missing_before));
            }
        }
        Ok(())
    }

    /// By what a compressed file is known. One that is still being written cannot be unpacked yet; it is there plain as well.
    fn first_packed(&self, held: &Held) -> Option<u64> {
        match held.packing {
            Packing::Plain => None,
            Packing::Gzip => first_frame(&held.file, held.packing, self.format)
                .ok()
                .flatten(),
        }
    }

    /// Opens the live file and its predecessors, newest first, up to one that is known. Files only move towards older names, so
    /// going that way none is missed while the engine rotates; one met twice is taken once.
    fn newer(&self, state: &State) -> io::Result<Newer> {
        let mut newest_first: Vec<Held> = Vec::new();
        let known_first = match &state.newest {
            Some((_, file)) => first_frame(file, Packing::Plain, self.format)?,
            None => None,
        };
        let mut missing = 0;
        for index in 0..ROTATED_NAMES_MAX {
            let Some(held) = open(&self.path, index)? else {
                missing += 1;
                if missing == MISSING_NAMES_MAX {
                    break;
                }
                continue;
            };
            missing = 0;
            let first = self.first_packed(&held);
            let is_known = match held.packing {
                Packing::Plain => state.newest.as_ref().is_some_and(|(id, _)| *id == held.id),
                Packing::Gzip => first.is_some() && first == known_first,
            };
            if is_known {
                return Ok(Newer {
                    newest_first,
                    reached: Reached::Known,
                });
            }
            // The engine may compress and rename a file between two steps, which then is met plain and compressed.
            let is_twice = newest_first.iter().any(|it| {
                let again = || {
                    first_frame(&it.file, it.packing, self.format)
                        .ok()
                        .flatten()
                };
                it.id == held.id || (first.is_some() && again() == first)
            });
            if !is_twice {
                newest_first.push(held);
            }
        }
        Ok(Newer {
            newest_first,
            reached: Reached::End,
        })
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.begin(VecDeque::clear);
    }
}

struct Newer {
    newest_first: Vec<Held>,
    reached: Reached,
}

#[derive(PartialEq, Eq)]
enum Reached {
    /// A file the shelf knows.
    Known,
    /// The end of the names.
    End,
}

/// A hash of the file's first frame, which holds a time in nanoseconds and so tells files apart. Nothing before it is whole.
///
/// # Errors
/// When the file cannot be read or unpacked.
pub(super) fn first_frame(
    file: &File,
    packing: Packing,
    format: Format,
) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; FIRST_BYTES_MAX];
    let len = match packing {
        Packing::Plain => file.read_at(&mut buffer, 0)?,
        Packing::Gzip => Gunzip::new(file.try_clone()?)?.read_at(&mut buffer, 0)?,
    };
    let bytes = &buffer[..len];
    let first = format.frames(bytes).next();
    let hashed = match first {
        Some(frame) => &bytes[..frame.end],
        None if len == buffer.len() => bytes,
        None => return Ok(None),
    };
    Ok(Some(fnv(hashed)))
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo): the same in every build, since it is written down.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The lines of a whole file, as the reader would count them: pieces of long lines count with the line they end.
fn lines_in(held: &Held, format: Format) -> io::Result<u64> {
    let mut source = match held.packing {
        Packing::Plain => Source::Plain(Arc::clone(&held.file)),
        Packing::Gzip => Source::Gzip(Box::new(Gunzip::new(held.file.try_clone()?)?)),
    };
    let mut buffer = vec![0; COUNT_BYTES];
    let (mut offset, mut lines) = (0, 0);
    // Ends with the file: each turn passes a frame, or all that was read.
    loop {
        let len = source.read_at(&mut buffer, offset)?;
        let mut end = 0;
        for frame in format.frames(&buffer[..len]) {
            end = frame.end;
            lines += u64::from(frame.piece.is_none_or(|piece| piece.ends_line));
        }
        if end == 0 {
            if len < buffer.len() {
                return Ok(lines);
            }
            end = len;
        }
        offset += end as u64;
    }
}

/// The bytes of a file, whether compressed or not.
#[derive(Debug)]
pub(super) enum Source {
    Plain(Arc<File>),
    Gzip(Box<Gunzip>),
}

impl Source {
    /// Whether a file that could not be read is to be left.
    ///
    /// # Errors
    /// With the error, where the next read may fare better: a disk may, a damaged archive does not.
    pub(super) fn give_up_on(&self, error: io::Error) -> io::Result<()> {
        match self {
            Source::Plain(_) => Err(error),
            Source::Gzip(_) => Ok(()),
        }
    }

    /// As [`FileExt::read_at`], but of a compressed file never before an earlier offset.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Source::Plain(file) => file.read_at(buffer, offset),
            Source::Gzip(file) => file.read_at(buffer, offset),
        }
    }
}

/// Opens the file of this age, plain or else compressed; nothing when there is none.
fn open(path: &Path, index: usize) -> io::Result<Option<Held>> {
    let plain = rotated(path, index);
    let (file, packing) = match File::open(&plain) {
        Ok(file) => (file, Packing::Plain),
        Err(error) if error.kind() == io::ErrorKind::NotFound && index > 0 => {
            match File::open(compressed(&plain)) {
                Ok(file) => (file, Packing::Gzip),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let id = FileId::of(&file.metadata()?);
    Ok(Some(Held {
        file: Arc::new(file),
        id,
        packing,
        missing_before: None,
        pinned: 0,
    }))
}

/// The name of a file that was rotated so many times.
pub(super) fn rotated(path: &Path, index: usize) -> PathBuf {
    if index == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    PathBuf::from(name)
}

/// Its name once it is compressed.
pub(super) fn compressed(rotated: &Path) -> PathBuf {
    let mut name = rotated.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
}
