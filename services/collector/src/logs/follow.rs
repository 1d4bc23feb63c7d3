//! A json-file log across its rotations: the live file, and what it was renamed to.
//!
//! The engine renames `x-json.log` to `x-json.log.1`, that to `.2` and so on, removes the last, and makes a new file; the inode
//! tells which is which. With a single file it truncates in place. Descriptors of rotated files are kept until they are read,
//! so that neither a rotation nor `docker rm` takes away what was opened in time.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::position::{FileId, Position};

/// Rotated files held open while the log they go to is slow. Each pins its disk space although the engine removed it; beyond
/// these, the engine's own removal takes effect and what is lost is counted.
const HELD_FILES_MAX: usize = 8;
/// Rotated names looked at: `max-file` of the engine is seldom more than ten.
const ROTATED_NAMES_MAX: usize = 64;
/// While the engine renames, one name is missing for a moment; two in a row are the end.
const MISSING_NAMES_MAX: usize = 2;

/// Where to begin in a log that was never read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Its oldest line.
    Oldest,
    /// What is written from now on.
    Newest,
}

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
}

impl Loss {
    /// A word for metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Loss::Rotation => "rotation",
            Loss::Truncation => "truncation",
            Loss::Malformed => "malformed",
            Loss::Removal => "removal",
        }
    }
}

#[derive(Debug)]
struct Segment {
    file: File,
    id: FileId,
    offset: u64,
    loss_before: Option<Loss>,
}

/// The files of one log, oldest first; the last is the live one as far as is known.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    segments: VecDeque<Segment>,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// This many bytes of whole lines are in the buffer.
    Lines(usize),
    /// A file ended with half a line, and nothing will complete it.
    Torn,
    /// Everything written so far has been read.
    End,
}

impl Follower {
    /// Opens the log at `position`, or where `begin` says when there is none; `None` while there is no file.
    /// `files_max` is how many files the engine keeps: when as many are there, older ones may have been removed already.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub(super) fn open(
        path: &Path,
        files_max: Option<usize>,
        position: Option<Position>,
        begin: Begin,
    ) -> io::Result<Option<Follower>> {
        let mut newest_first = existing(path, usize::MAX, |_| false)?.segments;
        let Some(live) = newest_first.first_mut() else {
            return Ok(None);
        };
        match (position, begin) {
            (Some(position), _) => resume(&mut newest_first, position)?,
            (None, Begin::Newest) => {
                live.offset = live.file.metadata()?.len();
                newest_first.truncate(1);
            }
            (None, Begin::Oldest) => {
                // A single file says nothing: it may be the first, or have been cut in place.
                let files = newest_first.len();
                if files > 1
                    && files >= files_max.unwrap_or(files)
                    && let Some(oldest) = newest_first.last_mut()
                {
                    oldest.loss_before = Some(Loss::Rotation);
                }
            }
        }
        let segments = newest_first.into_iter().rev().collect();
        Ok(Some(Follower {
            path: path.to_owned(),
            segments,
        }))
    }

    /// Looks whether the live file was renamed or cut since the last look.
    ///
    /// # Errors
    /// When a new file is there and cannot be read.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let Some(newest) = self.segments.back_mut() else {
            return Ok(());
        };
        let len = newest.file.metadata()?.len();
        if len < newest.offset {
            newest.offset = 0;
            newest.loss_before = Some(Loss::Truncation);
        }
        let known = newest.id;
        if self.segments.len() >= HELD_FILES_MAX {
            return Ok(());
        }
        match std::fs::metadata(&self.path) {
            Ok(live) if FileId::of(&live) == known => return Ok(()),
            Ok(_) => {}
            // Removed with its container, or just being rotated.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut newer = existing(&self.path, ROTATED_NAMES_MAX, |id| id == known)?;
        if newer.reached == Reached::End
            && let Some(oldest) = newer.segments.last_mut()
        {
            oldest.loss_before = Some(Loss::Rotation);
        }
        self.segments.extend(newer.segments.into_iter().rev());
        Ok(())
    }

    /// Reads whole lines from where the last read left off. [`Follower::look`] must have been called since the last
    /// [`Chunk::End`], so that a file is left only when a newer one was there before its end was seen.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Chunk> {
        loop {
            let is_live = self.segments.len() == 1;
            let Some(segment) = self.segments.front_mut() else {
                return Ok(Chunk::End);
            };
            let len = segment.file.read_at(buffer, segment.offset)?;
            if let Some(last) = buffer[..len].iter().rposition(|byte| *byte == b'\n') {
                segment.offset += last as u64 + 1;
                return Ok(Chunk::Lines(last + 1));
            }
            if len == buffer.len() {
                // Longer than any line of the engine: passed over bit by bit.
                segment.offset += len as u64;
                return Ok(Chunk::Torn);
            }
            if is_live {
                return Ok(Chunk::End);
            }
            let left = self.segments.pop_front();
            if let (Some(loss), Some(next)) = (
                left.and_then(|segment| segment.loss_before),
                self.segments.front_mut(),
            ) {
                next.loss_before.get_or_insert(loss);
            }
            if len > 0 {
                return Ok(Chunk::Torn);
            }
        }
    }

    /// The file and the offset of the next byte.
    pub(super) fn place(&self) -> Option<(FileId, u64)> {
        self.segments
            .front()
            .map(|segment| (segment.id, segment.offset))
    }

    /// What is missing before the next byte, told once.
    pub(super) fn take_loss(&mut self) -> Option<Loss> {
        self.segments.front_mut()?.loss_before.take()
    }
}

struct Existing {
    /// Newest first.
    segments: Vec<Segment>,
    reached: Reached,
}

#[derive(PartialEq, Eq)]
enum Reached {
    /// A file the caller knows.
    Known,
    /// The end of the names, or files that were compressed: what those hold can no longer be told from here.
    End,
    Compressed,
}

/// Opens the live file and its predecessors, newest first, up to one that is known. Files only move towards older names, so
/// going that way none is missed while the engine rotates; one met twice is taken once.
fn existing(
    path: &Path,
    names_max: usize,
    is_known: impl Fn(FileId) -> bool,
) -> io::Result<Existing> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut missing = 0;
    for index in 0..names_max.min(ROTATED_NAMES_MAX) {
        let name = rotated(path, index);
        let file = match File::open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if index > 0 && rotated_compressed(path, index).exists() {
                    return Ok(Existing {
                        segments,
                        reached: Reached::Compressed,
                    });
                }
                missing += 1;
                if missing == MISSING_NAMES_MAX {
                    break;
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        missing = 0;
        let id = FileId::of(&file.metadata()?);
        if is_known(id) {
            return Ok(Existing {
                segments,
                reached: Reached::Known,
            });
        }
        if segments.iter().all(|segment| segment.id != id) {
            segments.push(Segment {
                file,
                id,
                offset: 0,
                loss_before: None,
            });
        }
    }
    Ok(Existing {
        segments,
        reached: Reached::End,
    })
}

/// Cuts the files to those from `position` on; when its file is gone all that are left are read, and the loss is said.
fn resume(newest_first: &mut Vec<Segment>, position: Position) -> io::Result<()> {
    let found = newest_first
        .iter()
        .position(|segment| segment.id == position.file);
    match found {
        Some(index) => {
            newest_first.truncate(index + 1);
            let segment = &mut newest_first[index];
            if starts_a_line(&segment.file, position.offset)? {
                segment.offset = position.offset;
            } else {
                segment.loss_before = Some(Loss::Truncation);
            }
        }
        None => {
            if let Some(oldest) = newest_first.last_mut() {
                oldest.loss_before = Some(Loss::Rotation);
            }
        }
    }
    Ok(())
}

/// An inode may have been given to another file: a position is believed only right after a newline.
fn starts_a_line(file: &File, offset: u64) -> io::Result<bool> {
    let Some(before) = offset.checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    Ok(file.read_at(&mut byte, before)? == 1 && byte == *b"\n")
}

fn rotated(path: &Path, index: usize) -> PathBuf {
    if index == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    PathBuf::from(name)
}

fn rotated_compressed(path: &Path, index: usize) -> PathBuf {
    let mut name = rotated(path, index).into_os_string();
    name.push(".gz");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    struct Log {
        _directory: tempfile::TempDir,
        path: PathBuf,
    }

    impl Log {
        fn new() -> Log {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("x-json.log");
            fs::write(&path, "").unwrap();
            Log {
                _directory: directory,
                path,
            }
        }

        fn write(&self, text: &str) {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&self.path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// As the engine does it with `files` files in all.
        fn rotate(&self, files: usize) {
            for index in (1..files).rev() {
                let from = rotated(&self.path, index - 1);
                if from.exists() {
                    fs::rename(from, rotated(&self.path, index)).unwrap();
                }
            }
            fs::write(&self.path, "").unwrap();
        }

        fn open(&self, position: Option<Position>, begin: Begin) -> Follower {
            Follower::open(&self.path, Some(5), position, begin)
                .unwrap()
                .unwrap()
        }
    }

    fn read(follower: &mut Follower) -> (String, Vec<Loss>) {
        let mut buffer = vec![0; 1024];
        let (mut text, mut losses) = (String::new(), Vec::new());
        loop {
            follower.look().unwrap();
            let chunk = follower.read(&mut buffer).unwrap();
            losses.extend(follower.take_loss());
            match chunk {
                Chunk::Lines(len) => text.push_str(std::str::from_utf8(&buffer[..len]).unwrap()),
                Chunk::Torn => losses.push(Loss::Malformed),
                Chunk::End => return (text, losses),
            }
        }
    }

    fn position(follower: &Follower) -> Position {
        let (file, offset) = follower.place().unwrap();
        Position {
            file,
            offset,
            sequence: 0,
        }
    }

    #[test]
    fn half_a_line_is_left_until_it_is_whole() {
        let log = Log::new();
        log.write("one\ntw");
        let mut follower = log.open(None, Begin::Oldest);
        assert_eq!(read(&mut follower).0, "one\n");
        log.write("o\n");
        assert_eq!(read(&mut follower).0, "two\n");
    }

    #[test]
    fn rotations_between_two_looks_lose_nothing_while_the_files_are_there() {
        let log = Log::new();
        log.write("1\n");
        let mut follower = log.open(None, Begin::Oldest);
        assert_eq!(read(&mut follower).0, "1\n");
        log.write("2\n");
        log.rotate(3);
        log.write("3\n");
        log.rotate(3);
        log.write("4\n");
        assert_eq!(read(&mut follower), ("2\n3\n4\n".to_owned(), vec![]));
    }

    #[test]
    fn a_rotation_outrun_is_said() {
        let log = Log::new();
        log.write("1\n");
        let mut follower = log.open(None, Begin::Oldest);
        assert_eq!(read(&mut follower).0, "1\n");
        for line in ["2\n", "3\n", "4\n", "5\n"] {
            log.write(line);
            log.rotate(3);
        }
        // The descriptor still holds 2; 3 was removed unseen.
        assert_eq!(
            read(&mut follower),
            ("2\n4\n5\n".to_owned(), vec![Loss::Rotation])
        );
    }

    #[test]
    fn files_are_held_up_to_a_bound_while_nothing_is_read() {
        let log = Log::new();
        let mut follower = log.open(None, Begin::Oldest);
        for line in 0..20 {
            log.write(&format!("{line}\n"));
            log.rotate(3);
            follower.look().unwrap();
        }
        assert!(follower.segments.len() <= HELD_FILES_MAX);
        let (text, losses) = read(&mut follower);
        assert!(text.starts_with("0\n1\n2\n3\n4\n5\n6\n"), "{text}");
        assert!(text.ends_with("19\n"));
        assert_eq!(losses, vec![Loss::Rotation]);
    }

    #[test]
    fn a_removed_file_is_read_to_its_end() {
        let log = Log::new();
        let mut follower = log.open(None, Begin::Oldest);
        log.write("last words\n");
        fs::remove_file(&log.path).unwrap();
        assert_eq!(read(&mut follower).0, "last words\n");
    }

    #[test]
    fn a_cut_file_is_read_anew_and_said() {
        let log = Log::new();
        log.write("a long first line\n");
        let mut follower = log.open(None, Begin::Oldest);
        read(&mut follower);
        fs::write(&log.path, "short\n").unwrap();
        assert_eq!(
            read(&mut follower),
            ("short\n".to_owned(), vec![Loss::Truncation])
        );
    }

    #[test]
    fn reading_goes_on_at_the_position_in_whichever_file_it_is() {
        let log = Log::new();
        log.write("1\n2\n");
        let mut follower = log.open(None, Begin::Oldest);
        let mut buffer = [0; 2];
        assert_eq!(follower.read(&mut buffer).unwrap(), Chunk::Lines(2));
        let position = position(&follower);
        log.rotate(3);
        log.write("3\n");
        assert_eq!(
            read(&mut log.open(Some(position), Begin::Newest)),
            ("2\n3\n".to_owned(), vec![])
        );
        for _ in 0..3 {
            log.rotate(3);
        }
        log.write("9\n");
        assert_eq!(
            read(&mut log.open(Some(position), Begin::Newest)),
            ("9\n".to_owned(), vec![Loss::Rotation])
        );
    }

    #[test]
    fn a_position_inside_a_line_is_not_believed() {
        let log = Log::new();
        log.write("one\ntwo\n");
        let mut wrong = position(&log.open(None, Begin::Oldest));
        wrong.offset = 2;
        assert_eq!(
            read(&mut log.open(Some(wrong), Begin::Oldest)),
            ("one\ntwo\n".to_owned(), vec![Loss::Truncation])
        );
    }

    #[test]
    fn beginnings() {
        let log = Log::new();
        log.write("1\n");
        log.rotate(3);
        log.write("2\n");
        assert_eq!(read(&mut log.open(None, Begin::Oldest)).0, "1\n2\n");
        let mut newest = log.open(None, Begin::Newest);
        log.write("3\n");
        assert_eq!(read(&mut newest).0, "3\n");
        assert!(Follower::open(&log.path.join("none"), None, None, Begin::Oldest).is_err());
        let absent = log.path.with_extension("absent");
        assert!(
            Follower::open(&absent, None, None, Begin::Oldest)
                .unwrap()
                .is_none()
        );
    }
}
