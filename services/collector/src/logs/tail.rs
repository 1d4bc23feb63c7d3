//! One container's log: bytes in, numbered rows out.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use units::{ContainerId, ContainerName, NodeId, ServiceId};

use super::batch::{Gathered, Room};
use super::follow::{Begin, Chunk, Follower, Place};
use super::lines::{Lines, Treatment};
use super::position::Position;
use super::shelf::{Loss, Missing, Pinned, Shelf};
use super::watch::{Watched, Watcher};
use crate::inspect::LogFile;
use crate::tally::Counts;

/// Silence after which a container that has ended is taken to have said everything.
const SILENCE_TO_END: Duration = Duration::from_millis(400);

/// Whose lines they are.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) id: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) service: ServiceId,
}

/// What is known of the container behind a log. Each goes over into the next, and a start leads back to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It was never started; there may be no file yet.
    Expected,
    /// It may write.
    Live,
    /// It has ended; the tail closes at the end of the file.
    Ended,
    /// It was removed; as ended, and its position goes as well.
    Removed,
}

/// Follows the log of one container.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) identity: Identity,
    shelf: Arc<Shelf>,
    files_max: Option<usize>,
    watched: Watched,
    begin: Begin,
    resume: Option<Position>,
    follower: Option<Follower>,
    lines: Lines,
    phase: Phase,
    /// It was started while it was followed: a log that then was never there to be opened is one that was missed.
    ran: bool,
    /// From here on times are counted for what has to stand still with no lines.
    born: Instant,
    silent_since: Option<Instant>,
    /// The position that was last taken note of.
    marked: Option<Position>,
    /// A failure is said once, until something else happens.
    said: Option<io::ErrorKind>,
}

/// What one read of a tail gave, beside the rows.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Bytes taken from the file.
    pub(super) bytes: u64,
    /// Everything before this is in the rows given so far.
    pub(super) position: Option<Position>,
    /// What was found missing.
    pub(super) missing: Vec<Missing>,
    /// A file that cannot be read, told once.
    pub(super) failure: Option<io::Error>,
    pub(super) then: Then,
}

/// What to do with a tail after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Then {
    /// Read on at once.
    More,
    /// There is no room for its lines; hold on to its files meanwhile.
    Full,
    /// Look again later.
    #[default]
    Wait,
    /// Drop it; its position is kept for the next start.
    Close,
    /// Drop it and its position.
    Forget,
}

/// What a tail begins with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) resume: Option<Position>,
    pub(super) begin: Begin,
    pub(super) treatment: Treatment,
    pub(super) pinned: Pinned,
}

impl Tail {
    pub(super) fn new(identity: Identity, log: LogFile, start: Start) -> Tail {
        let Start {
            resume,
            begin,
            treatment,
            pinned,
        } = start;
        Tail {
            identity,
            shelf: Arc::new(Shelf::new(log.path, pinned)),
            files_max: log.files_max,
            watched: Watched::No,
            begin,
            lines: Lines::new(treatment, resume),
            resume,
            follower: None,
            phase: Phase::Expected,
            ran: false,
            born: Instant::now(),
            silent_since: None,
            marked: None,
            said: None,
        }
    }

    /// The live file.
    pub(super) fn path(&self) -> &Path {
        self.shelf.path()
    }

    /// More is known of it, or it has another name.
    pub(super) fn renew(&mut self, identity: Identity, log: LogFile, pinned: &Pinned) {
        self.identity = identity;
        self.files_max = log.files_max.or(self.files_max);
        if log.path != self.shelf.path() && self.follower.is_none() {
            self.shelf = Arc::new(Shelf::new(log.path, pinned.clone()));
            self.watched = Watched::No;
        }
    }

    /// Has its directory watched, from when it is there.
    pub(super) fn watch(&mut self, watcher: &Watcher) {
        match self.watched {
            Watched::Yes => {}
            Watched::No => {
                let watched = watcher.watch(&self.shelf);
                // What was new before is not told by the watcher.
                self.hold();
                self.watched = watched;
            }
        }
    }

    /// The container runs.
    pub(super) fn live(&mut self) {
        self.phase = Phase::Live;
        self.ran = true;
        self.silent_since = None;
    }

    /// The container has ended.
    pub(super) fn ended(&mut self) {
        match self.phase {
            Phase::Expected | Phase::Live => {
                self.phase = Phase::Ended;
                self.silent_since = None;
            }
            Phase::Ended | Phase::Removed => {}
        }
    }

    /// The container is gone.
    pub(super) fn removed(&mut self) {
        self.phase = Phase::Removed;
        self.silent_since = None;
    }

    /// The position of a read, when it is another than that of the one before.
    pub(super) fn moved(&mut self, read: &Read) -> Option<Position> {
        if self.marked == read.position {
            return None;
        }
        self.marked = read.position;
        read.position
    }

    /// Holds on to rotated files without reading, while there is no room for lines.
    pub(super) fn hold(&self) {
        match (self.watched, &self.follower) {
            (Watched::No, Some(follower)) => {
                // A failure here is met again, and told, by the next read.
                let _ = follower.look();
            }
            // The watcher does, and is not to wait for a thread that holds the same lock.
            (Watched::Yes, _) | (Watched::No, None) => {}
        }
    }

    /// Reads at most one buffer of frames, as far as there is room for their lines.
    pub(super) fn read(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        into: &mut Gathered<'_>,
    ) -> Read {
        let mut read = Read::default();
        match self.try_read(now, buffer, into, &mut read) {
            Ok(()) => self.said = None,
            Err(error) => {
                read.then = self.at_rest(now, into);
                if self.said != Some(error.kind()) {
                    self.said = Some(error.kind());
                    read.failure = Some(error);
                }
            }
        }
        let next = self.follower.as_ref().and_then(Follower::place);
        read.position = self.lines.position(next);
        read
    }

    fn try_read(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        into: &mut Gathered<'_>,
        read: &mut Read,
    ) -> io::Result<()> {
        if self.follower.is_none() {
            let shelf = Arc::clone(&self.shelf);
            self.follower = Follower::open(shelf, self.files_max, self.resume, self.begin)?;
        }
        let Some(follower) = &mut self.follower else {
            read.then = self.at_rest(now, into);
            if read.then == Then::Forget && self.ran {
                self.miss(Missing::unknown(Loss::Removal), into, read);
            }
            return Ok(());
        };
        match self.watched {
            Watched::Yes => {}
            Watched::No => follower.look()?,
        }
        let chunk = follower.read(buffer)?;
        let place = follower.place();
        if let Some(missing) = follower.take_missing() {
            self.miss(missing, into, read);
        }
        match (chunk, place) {
            (Chunk::Frames(len), Some(place)) => {
                self.silent_since = None;
                self.take(&buffer[..len], place, now, into, read);
            }
            (Chunk::Torn, _) => {
                self.miss(Missing::unknown(Loss::Malformed), into, read);
                read.then = Then::More;
            }
            (Chunk::End, _) | (Chunk::Frames(_), None) => read.then = self.at_rest(now, into),
        }
        Ok(())
    }

    /// Takes frames until there is no room for their lines.
    fn take(
        &mut self,
        bytes: &[u8],
        place: Place,
        now: Instant,
        into: &mut Gathered<'_>,
        read: &mut Read,
    ) {
        let now_ms = self.now_ms(now);
        let mut passed = 0;
        read.then = Then::More;
        self.lines.begin_chunk(bytes);
        for frame in self.shelf.format().frames(bytes) {
            match frame.piece {
                Some(piece) => {
                    let place = Place {
                        offset: place.offset + frame.start as u64,
                        ..place
                    };
                    self.lines.take(piece, place, now_ms, into);
                }
                None => self.miss(Missing::unknown(Loss::Malformed), into, read),
            }
            passed = frame.end;
            if into.room() == Room::No {
                read.then = Then::Full;
                break;
            }
        }
        read.bytes = passed as u64;
        if let Some(follower) = &mut self.follower {
            follower.pass(passed);
        }
    }

    fn miss(&mut self, missing: Missing, into: &mut Gathered<'_>, read: &mut Read) {
        self.lines.lose(missing.lines);
        into.counts += Counts {
            lost: missing.lines,
            ..Counts::default()
        };
        read.missing.push(missing);
    }

    fn at_rest(&mut self, now: Instant, into: &mut Gathered<'_>) -> Then {
        let now_ms = self.now_ms(now);
        self.lines.expire(now_ms, into);
        match self.phase {
            Phase::Expected | Phase::Live => return Then::Wait,
            Phase::Ended | Phase::Removed => {}
        }
        let since = *self.silent_since.get_or_insert(now);
        if now.duration_since(since) < SILENCE_TO_END {
            return Then::Wait;
        }
        self.lines.flush(now_ms, into);
        match self.phase {
            Phase::Expected | Phase::Live => Then::Wait,
            Phase::Ended => Then::Close,
            Phase::Removed => Then::Forget,
        }
    }

    /// Milliseconds on a clock that does not step.
    fn now_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::Batch;
    use super::super::crashes::lines_of;
    use super::super::settings::LogConfig;
    use super::*;
    use std::fs;
    use std::io::Write;

    fn tail(path: &Path, resume: Option<Position>) -> Tail {
        configured(path, resume, &LogConfig::default())
    }

    fn configured(path: &Path, resume: Option<Position>, config: &LogConfig) -> Tail {
        let identity = Identity {
            node: NodeId::from("node-a"),
            id: ContainerId::from("abc"),
            name: ContainerName::from("web-1"),
            service: ServiceId::from("web"),
        };
        let log = LogFile {
            path: path.to_owned(),
            files_max: Some(3),
            place: crate::inspect::Place::Host,
        };
        let start = Start {
            resume,
            begin: Begin::Oldest,
            treatment: config.treatment().unwrap(),
            pinned: Pinned::default(),
        };
        let mut tail = Tail::new(identity, log, start);
        tail.live();
        tail
    }

    fn append(path: &Path, log: &str, stream: &str) {
        let json =
            serde_json::json!({"log": log, "stream": stream, "time": "2026-01-02T03:04:05Z"});
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        writeln!(file, "{json}").unwrap();
    }

    fn drain(tail: &mut Tail) -> (Vec<(u64, u64, String)>, Read) {
        drain_at(tail, Instant::now())
    }

    fn drain_at(tail: &mut Tail, now: Instant) -> (Vec<(u64, u64, String)>, Read) {
        let mut buffer = vec![0; 4096];
        let mut batch = Batch::default();
        let identity = tail.identity.clone();
        let mut gathered = batch.gather(&identity);
        let mut read = tail.read(now, &mut buffer, &mut gathered);
        while read.then == Then::More {
            read = tail.read(now, &mut buffer, &mut gathered);
        }
        if batch.rows.is_empty() {
            return (Vec::new(), read);
        }
        let record = batch.rows.encode(0, &wire::Meta::new("test")).unwrap();
        let lines = lines_of(record).into_iter();
        let lines = lines.map(|it| (it.sequence, it.lost_before, it.text));
        (lines.collect(), read)
    }

    #[test]
    fn a_restart_in_the_middle_of_a_long_line_gives_the_same_lines_with_the_same_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        append(&path, "first\n", "stdout");
        append(&path, "half ", "stdout");
        append(&path, "error\n", "stderr");
        let mut before = tail(&path, None);
        let (lines, read) = drain(&mut before);
        assert_eq!(
            lines,
            [(0, 0, "first".to_owned()), (0, 0, "error".to_owned())]
        );

        append(&path, "whole\n", "stdout");
        let (lines, _) = drain(&mut tail(&path, read.position));
        assert_eq!(
            lines,
            [(0, 0, "error".to_owned()), (1, 0, "half whole".to_owned())]
        );
        let (lines, _) = drain(&mut before);
        assert_eq!(lines, [(1, 0, "half whole".to_owned())]);
    }

    #[test]
    fn a_file_that_comes_late_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut tail = tail(&path, None);
        let (lines, read) = drain(&mut tail);
        assert!(lines.is_empty() && read.failure.is_none() && read.then == Then::Wait);
        append(&path, "here\n", "stdout");
        assert_eq!(drain(&mut tail).0, [(0, 0, "here".to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_counts_as_lost_before_the_next_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "garbage\n").unwrap();
        append(&path, "good\n", "stdout");
        assert_eq!(drain(&mut tail(&path, None)).0, [(0, 1, "good".to_owned())]);
    }

    #[test]
    fn an_ended_container_gives_its_last_words_and_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        append(&path, "no newline", "stdout");
        let mut tail = tail(&path, None);
        tail.ended();
        let now = Instant::now();
        assert!(drain_at(&mut tail, now).0.is_empty());
        assert!(drain_at(&mut tail, now).0.is_empty());
        let (lines, read) = drain_at(&mut tail, now + SILENCE_TO_END);
        assert_eq!(lines, [(0, 0, "no newline".to_owned())]);
        assert_eq!(read.then, Then::Close);
        assert_eq!(read.position.unwrap().sequences, [1, 0]);
        tail.removed();
        drain_at(&mut tail, now);
        let (_, read) = drain_at(&mut tail, now + SILENCE_TO_END);
        assert_eq!(read.then, Then::Forget);
    }

    #[test]
    fn a_log_that_was_gone_before_it_was_opened_is_counted_if_the_container_ran() {
        let directory = tempfile::tempdir().unwrap();
        let mut tail = tail(&directory.path().join("none"), None);
        tail.removed();
        let now = Instant::now();
        drain_at(&mut tail, now);
        let (_, read) = drain_at(&mut tail, now + SILENCE_TO_END);
        assert_eq!(read.missing, [Missing::unknown(Loss::Removal)]);
        tail.ran = false;
        let (_, read) = drain_at(&mut tail, now + SILENCE_TO_END);
        assert!(read.missing.is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_said_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut tail = tail(directory.path(), None);
        assert!(drain(&mut tail).1.failure.is_some());
        assert!(drain(&mut tail).1.failure.is_none());
    }

    #[test]
    fn a_stack_trace_is_one_line_that_counts_for_many() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        append(&path, "java.lang.IllegalStateException: no\n", "stderr");
        append(&path, "\tat com.acme.Shop.buy(Shop.java:7)\n", "stderr");
        append(&path, "after\n", "stderr");
        let trace = "java.lang.IllegalStateException: no\n\tat com.acme.Shop.buy(Shop.java:7)";
        assert_eq!(
            drain(&mut tail(&path, None)).0,
            [(0, 0, trace.to_owned()), (2, 0, "after".to_owned())]
        );
    }

    #[test]
    fn what_the_rate_limit_drops_is_counted_and_keeps_its_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for line in 0..50 {
            append(&path, &format!("{line}\n"), "stdout");
        }
        let config = LogConfig {
            lines_per_second: std::num::NonZeroU32::new(10),
            ..LogConfig::default()
        };
        let mut tail = configured(&path, None, &config);
        let (lines, read) = drain(&mut tail);
        assert_eq!(lines.len(), 20);
        let position = read.position.unwrap();
        assert_eq!((position.sequences, position.limited), ([50, 0], 30));
    }

    #[test]
    fn secrets_stay_on_the_node() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        append(&path, "login password=hunter2hunter2 ok\n", "stdout");
        append(&path, "harmless\n", "stdout");
        let (lines, _) = drain(&mut tail(&path, None));
        assert!(!lines[0].2.contains("hunter2"), "{}", lines[0].2);
        assert_eq!(lines[1].2, "harmless");
    }
}
