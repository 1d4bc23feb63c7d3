//! The bytes of one log across its rotations, from where reading was left to what is being written.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::gunzip::Gunzip;
use super::position::{FileId, Position};
use super::shelf::{Held, Loss, Missing, Packing, Shelf, Source, first_frame};

/// Where to begin in a log that was never read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Its oldest line.
    Oldest,
    /// What is written from now on.
    Newest,
}

/// Reads one log.
#[derive(Debug)]
pub(super) struct Follower {
    shelf: Arc<Shelf>,
    current: Option<Segment>,
    /// Told with the next read.
    missing: Option<Missing>,
}

/// The file that is being read.
#[derive(Debug)]
struct Segment {
    source: Source,
    id: FileId,
    offset: u64,
    first: Option<u64>,
    /// Of the file before it.
    before: Option<u64>,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// This many bytes of whole frames are in the buffer, to be passed with [`Follower::pass`].
    Frames(usize),
    /// A file ended with half a frame, and nothing will complete it.
    Torn,
    /// Everything written so far has been read.
    End,
}

/// The file of the next byte, its offset, and a hash of the file's first frame once that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: FileId,
    pub(super) first: Option<u64>,
    /// That of the file before it, until then.
    pub(super) before: Option<u64>,
    pub(super) offset: u64,
}

impl Follower {
    /// Opens the log at `position`, or where `begin` says when there is none; `None` while there is no file.
    /// `files_max` is how many files the engine keeps: when as many were there at the first look, older ones may have been
    /// removed already. A single one says nothing: it may be the first, or have been cut in place.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub(super) fn open(
        shelf: Arc<Shelf>,
        files_max: Option<usize>,
        position: Option<Position>,
        begin: Begin,
    ) -> io::Result<Option<Follower>> {
        shelf.look()?;
        if !shelf.has_next() {
            return Ok(None);
        }
        let found = shelf.found_first();
        let is_suspect = found > 1 && found >= files_max.unwrap_or(found);
        let older = is_suspect.then_some(Missing::unknown(Loss::Rotation));
        let mut before = position.and_then(|it| it.before);
        let offset = shelf.begin(|files| match (position, begin) {
            (Some(position), _) => resume(&shelf, files, position, older),
            (None, Begin::Newest) => {
                let live = files.pop_back();
                if let Some(held) = files.back() {
                    let first = first_frame(&held.file, held.packing, shelf.format());
                    before = first.ok().flatten();
                }
                files.clear();
                files.extend(live);
                files
                    .front()
                    .map_or(Ok(0), |live| Ok(live.file.metadata()?.len()))
            }
            (None, Begin::Oldest) => {
                miss_before(files, older);
                Ok(0)
            }
        })?;
        let mut follower = Follower {
            shelf,
            current: None,
            missing: None,
        };
        follower.go_on()?;
        if let Some(segment) = &mut follower.current {
            segment.offset = offset;
            segment.before = before;
            if offset > 0 {
                // A position in it is to be found again, also when nothing more is read of it.
                segment.still_same(&follower.shelf)?;
            }
        }
        Ok(Some(follower))
    }

    /// Looks for new files, as must be done before a read where nobody watches for them.
    ///
    /// # Errors
    /// When a new file is there and cannot be opened.
    pub(super) fn look(&self) -> io::Result<()> {
        self.shelf.look()
    }

    /// Reads whole frames from the next byte on, as many as fit.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Chunk> {
        // Each turn leaves a file behind, of which there is a bounded number.
        loop {
            // Asked before the end is seen: the engine writes to a file no more once there is a newer one.
            let is_live = !self.shelf.has_next();
            let Some(segment) = &mut self.current else {
                if is_live {
                    return Ok(Chunk::End);
                }
                self.go_on()?;
                continue;
            };
            let len = match segment.source.read_at(buffer, segment.offset) {
                Ok(len) => len,
                Err(error) => {
                    segment.source.give_up_on(error)?;
                    self.current = None;
                    self.miss(Missing::unknown(Loss::Malformed));
                    continue;
                }
            };
            let whole = self.shelf.format().whole(&buffer[..len]);
            if whole > 0 {
                match segment.still_same(&self.shelf)? {
                    Same::Yes => return Ok(Chunk::Frames(whole)),
                    Same::Cut => {
                        self.begin_again();
                        continue;
                    }
                }
            }
            if len == buffer.len() {
                // Longer than any frame of the engine: passed over bit by bit.
                segment.offset += len as u64;
                return Ok(Chunk::Torn);
            }
            if is_live {
                if segment.is_cut()? {
                    self.begin_again();
                    continue;
                }
                return Ok(Chunk::End);
            }
            self.go_on()?;
            if len > 0 {
                return Ok(Chunk::Torn);
            }
        }
    }

    /// So many bytes of what was read are done with.
    pub(super) fn pass(&mut self, bytes: usize) {
        if let Some(segment) = &mut self.current {
            segment.offset += bytes as u64;
        }
    }

    /// Where the next byte is.
    pub(super) fn place(&self) -> Option<Place> {
        self.current.as_ref().map(|segment| Place {
            file: segment.id,
            first: segment.first,
            before: segment.before.filter(|_| segment.first.is_none()),
            offset: segment.offset,
        })
    }

    /// What is missing before the next byte, told once.
    pub(super) fn take_missing(&mut self) -> Option<Missing> {
        self.missing.take()
    }

    /// The file was cut in place: what it holds now is new.
    fn begin_again(&mut self) {
        if let Some(segment) = &mut self.current {
            segment.offset = 0;
            segment.first = None;
        }
        self.miss(Missing::unknown(Loss::Truncation));
    }

    fn miss(&mut self, missing: Missing) {
        self.missing = Some(missing.and(self.missing));
    }

    /// Takes the next file.
    fn go_on(&mut self) -> io::Result<()> {
        if let Some(held) = self.shelf.take() {
            if let Some(missing) = held.missing_before {
                self.miss(missing);
            }
            let first = match held.packing {
                // Once there is one.
                Packing::Plain => None,
                // One that cannot be unpacked has none, and its read says so.
                Packing::Gzip => first_frame(&held.file, held.packing, self.shelf.format())
                    .ok()
                    .flatten(),
            };
            self.current = Some(Segment {
                id: held.id,
                offset: 0,
                first,
                before: self.current.as_ref().and_then(|it| it.first.or(it.before)),
                source: match held.packing {
                    Packing::Plain => Source::Plain(held.file),
                    Packing::Gzip => Source::Gzip(Box::new(Gunzip::new(held.file.try_clone()?)?)),
                },
            });
        }
        Ok(())
    }
}

/// Whether a file is still what it was.
enum Same {
    Yes,
    /// It was cut, and has grown since.
    Cut,
}

impl Segment {
    /// Compares the first frame with what it was. Asked after a read, so that what was read is known to be of the same file.
    fn still_same(&mut self, shelf: &Shelf) -> io::Result<Same> {
        let Source::Plain(file) = &self.source else {
            // Nobody writes to it.
            return Ok(Same::Yes);
        };
        let first = first_frame(file, Packing::Plain, shelf.format())?;
        if self.first.is_some() && first != self.first {
            return Ok(Same::Cut);
        }
        self.first = first;
        Ok(Same::Yes)
    }

    /// Whether the file is shorter than what was read of it.
    fn is_cut(&self) -> io::Result<bool> {
        match &self.source {
            Source::Plain(file) => Ok(file.metadata()?.len() < self.offset),
            Source::Gzip(_) => Ok(false),
        }
    }
}

fn miss_before(files: &mut VecDeque<Held>, missing: Option<Missing>) {
    if let (Some(missing), Some(oldest)) = (missing, files.front_mut()) {
        oldest.missing_before = Some(missing.and(oldest.missing_before));
    }
}

/// Cuts the files to those from `position` on, and gives the offset in the first of them. When the position's file is gone all
/// that are left are read, and the loss is said. `older` is what may be missing before the oldest.
fn resume(
    shelf: &Shelf,
    files: &mut VecDeque<Held>,
    position: Position,
    older: Option<Missing>,
) -> io::Result<u64> {
    let by_first = |files: &VecDeque<Held>, wanted: Option<u64>| {
        wanted?;
        files.iter().position(|held| {
            // One that cannot be unpacked is not known again.
            let first = first_frame(&held.file, held.packing, shelf.format());
            first.ok().flatten() == wanted
        })
    };
    let by_id = files.iter().position(|held| held.id == position.file);
    let found = by_id.or_else(|| by_first(files, position.first));
    if found.is_none() && position.first.is_none() && position.offset == 0 {
        // Nothing of its file was read: it may have been compressed since, and then comes right after the one before it.
        if position.before.is_none() {
            miss_before(files, older);
            return Ok(0);
        }
        if let Some(before) = by_first(files, position.before) {
            files.drain(..=before);
            return Ok(0);
        }
    }
    let missing = match found {
        Some(index) => {
            files.drain(..index);
            let held = &files[0];
            let first = first_frame(&held.file, held.packing, shelf.format())?;
            let is_same = position.first.is_none() || first == position.first;
            if is_same && begins_frame(shelf, held, position.offset)? {
                return Ok(position.offset);
            }
            Loss::Truncation
        }
        None => Loss::Rotation,
    };
    miss_before(files, Some(Missing::unknown(missing)));
    Ok(0)
}

/// An inode may have been given to another file: a position is believed only where the file reaches up to it, and right after
/// a newline where there are newlines.
fn begins_frame(shelf: &Shelf, held: &Held, offset: u64) -> io::Result<bool> {
    let Some(before) = offset.checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    let len = match held.packing {
        Packing::Plain => held.file.read_at(&mut byte, before)?,
        Packing::Gzip => Gunzip::new(held.file.try_clone()?)?.read_at(&mut byte, before)?,
    };
    Ok(len == 1
        && match shelf.format() {
            super::frame::Format::JsonFile => byte == *b"\n",
            super::frame::Format::Local => true,
        })
}

#[cfg(test)]
mod tests {
    use super::super::gunzip::packed;
    use super::super::shelf::{Pinned, compressed, rotated};
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;

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
                let (from, to) = (rotated(&self.path, index - 1), rotated(&self.path, index));
                if from.exists() {
                    fs::rename(&from, &to).unwrap();
                } else if compressed(&from).exists() {
                    fs::rename(compressed(&from), compressed(&to)).unwrap();
                }
            }
            fs::write(&self.path, "").unwrap();
        }

        fn open(&self, position: Option<Position>, begin: Begin) -> Follower {
            self.try_open(position, begin).unwrap().unwrap()
        }

        fn try_open(
            &self,
            position: Option<Position>,
            begin: Begin,
        ) -> io::Result<Option<Follower>> {
            let shelf = Arc::new(Shelf::new(self.path.clone(), Pinned::default()));
            Follower::open(shelf, Some(5), position, begin)
        }

        /// As the engine compresses what was rotated so many times.
        fn compress(&self, index: usize) {
            let plain = rotated(&self.path, index);
            fs::write(compressed(&plain), packed(&fs::read(&plain).unwrap())).unwrap();
            fs::remove_file(plain).unwrap();
        }
    }

    fn read(follower: &mut Follower) -> (String, Vec<Missing>) {
        let mut buffer = vec![0; 1024];
        let (mut text, mut losses) = (String::new(), Vec::new());
        loop {
            follower.look().unwrap();
            let chunk = follower.read(&mut buffer).unwrap();
            losses.extend(follower.take_missing());
            match chunk {
                Chunk::Frames(len) => {
                    text.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
                    follower.pass(len);
                }
                Chunk::Torn => losses.push(Missing::unknown(Loss::Malformed)),
                Chunk::End => return (text, losses),
            }
        }
    }

    fn position(follower: &Follower) -> Position {
        let Place {
            file,
            first,
            before,
            offset,
        } = follower.place().unwrap();
        Position {
            sequences: [0; 2],
            file,
            first,
            before,
            offset,
            lost: 0,
            limited: 0,
            told: Default::default(),
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
            (
                "2\n4\n5\n".to_owned(),
                vec![Missing::unknown(Loss::Rotation)]
            )
        );
    }

    #[test]
    fn beyond_the_files_held_the_oldest_are_let_go_and_their_lines_counted() {
        const FILES: usize = 100;
        let log = Log::new();
        let mut follower = log.open(None, Begin::Oldest);
        for file in 0..FILES {
            log.write(&format!("{file}\n").repeat(file + 1));
            log.rotate(3);
            follower.look().unwrap();
        }
        let (text, losses) = read(&mut follower);
        let found: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        let all: usize = (1..=FILES).sum();
        assert_eq!(found.first(), Some(&0), "the one being read is kept");
        assert_eq!(found.last(), Some(&(FILES - 1)));
        let missing: u64 = losses.iter().map(|it| it.lines).sum();
        assert!(missing > 0);
        assert_eq!(found.len() as u64 + missing, all as u64);
    }

    #[test]
    fn a_position_in_a_file_that_was_compressed_meanwhile_is_found_in_it() {
        let log = Log::new();
        log.write("1\n2\n");
        let mut follower = log.open(None, Begin::Oldest);
        let mut buffer = [0; 2];
        assert_eq!(follower.read(&mut buffer).unwrap(), Chunk::Frames(2));
        follower.pass(2);
        let before = position(&follower);
        for line in ["3\n", "4\n"] {
            log.rotate(5);
            log.write(line);
        }
        log.compress(1);
        log.compress(2);
        let mut follower = log.open(Some(before), Begin::Newest);
        assert_eq!(read(&mut follower), ("2\n3\n4\n".to_owned(), vec![]));
        // Reading stopped in the compressed file, which was then rotated once more.
        let mut follower = log.open(Some(before), Begin::Newest);
        assert_eq!(follower.read(&mut buffer).unwrap(), Chunk::Frames(2));
        follower.pass(2);
        assert_eq!(follower.read(&mut buffer).unwrap(), Chunk::Frames(2));
        let before = position(&follower);
        log.rotate(5);
        let mut follower = log.open(Some(before), Begin::Newest);
        assert_eq!(read(&mut follower), ("3\n4\n".to_owned(), vec![]));
    }

    #[test]
    fn a_compressed_file_that_is_damaged_is_left_for_the_next() {
        let log = Log::new();
        for line in ["1\n", "2\n"] {
            log.write(line);
            log.rotate(5);
        }
        log.write("3\n");
        fs::remove_file(rotated(&log.path, 1)).unwrap();
        fs::write(compressed(&rotated(&log.path, 1)), "no gzip").unwrap();
        assert_eq!(
            read(&mut log.open(None, Begin::Oldest)),
            ("1\n3\n".to_owned(), vec![Missing::unknown(Loss::Malformed)])
        );
    }

    #[test]
    fn an_inode_that_was_given_to_another_file_is_not_taken_for_the_same() {
        let log = Log::new();
        log.write("one\ntwo\n");
        let mut follower = log.open(None, Begin::Oldest);
        read(&mut follower);
        let before = position(&follower);
        fs::write(&log.path, "new\nand\nlonger\n").unwrap();
        assert_eq!(
            read(&mut log.open(Some(before), Begin::Oldest)),
            (
                "new\nand\nlonger\n".to_owned(),
                vec![Missing::unknown(Loss::Truncation)]
            )
        );
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
            (
                "short\n".to_owned(),
                vec![Missing::unknown(Loss::Truncation)]
            )
        );
    }

    #[test]
    fn a_file_that_was_cut_and_has_grown_past_what_was_read_is_read_anew() {
        let log = Log::new();
        log.write("first\n");
        let mut follower = log.open(None, Begin::Oldest);
        read(&mut follower);
        fs::write(&log.path, "second\nthird\n").unwrap();
        assert_eq!(
            read(&mut follower),
            (
                "second\nthird\n".to_owned(),
                vec![Missing::unknown(Loss::Truncation)]
            )
        );
    }

    #[test]
    fn reading_goes_on_at_the_position_in_whichever_file_it_is() {
        let log = Log::new();
        log.write("1\n2\n");
        let mut follower = log.open(None, Begin::Oldest);
        let mut buffer = [0; 2];
        assert_eq!(follower.read(&mut buffer).unwrap(), Chunk::Frames(2));
        follower.pass(2);
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
            ("9\n".to_owned(), vec![Missing::unknown(Loss::Rotation)])
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
            (
                "one\ntwo\n".to_owned(),
                vec![Missing::unknown(Loss::Truncation)]
            )
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
        let path = log.path.with_extension("absent");
        let shelf = Arc::new(Shelf::new(path, Pinned::default()));
        let absent = Follower::open(shelf, None, None, Begin::Oldest).unwrap();
        assert!(absent.is_none());
        let shelf = Arc::new(Shelf::new(log.path.join("none"), Pinned::default()));
        assert!(Follower::open(shelf, None, None, Begin::Oldest).is_err());
    }
}
