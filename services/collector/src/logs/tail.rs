//! One container's log: bytes in, numbered lines out.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use units::{ContainerId, ContainerName, LogLine, NodeId, ServiceId};

use super::follow::{Begin, Chunk, Follower, Loss};
use super::line::{Joined, Joiner, Piece};
use super::position::{FileId, Position};
use super::severity::severity;
use crate::inspect::LogFile;

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
    log: LogFile,
    begin: Begin,
    resume: Option<Position>,
    follower: Option<Follower>,
    joiner: Joiner<Mark>,
    sequence: u64,
    order: u64,
    lost: u64,
    phase: Phase,
    /// It was started while it was followed: a log that then was never there to be opened is one that was missed.
    ran: bool,
    silent_since: Option<Instant>,
    /// A failure is said once, until something else happens.
    said: Option<io::ErrorKind>,
}

/// Where an unfinished line starts, in the order of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    order: u64,
    position: Position,
}

/// What one read of a tail gave, beside the lines.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Bytes taken from the file.
    pub(super) bytes: u64,
    /// Everything before this is in the lines given so far.
    pub(super) position: Option<Position>,
    /// What was found missing.
    pub(super) losses: Vec<Loss>,
    /// Bytes cut from lines that were too long.
    pub(super) cut_bytes: u64,
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

impl Tail {
    pub(super) fn new(
        identity: Identity,
        log: LogFile,
        resume: Option<Position>,
        begin: Begin,
    ) -> Tail {
        Tail {
            identity,
            log,
            begin,
            sequence: resume.map_or(0, |position| position.sequence),
            resume,
            follower: None,
            joiner: Joiner::default(),
            order: 0,
            lost: 0,
            phase: Phase::Expected,
            ran: false,
            silent_since: None,
            said: None,
        }
    }

    /// The live file.
    pub(super) fn path(&self) -> &Path {
        &self.log.path
    }

    /// More is known of it, or it has another name.
    pub(super) fn renew(&mut self, identity: Identity, log: LogFile) {
        self.identity = identity;
        self.log = log;
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

    /// Holds on to rotated files without reading, while there is no room for lines.
    pub(super) fn hold(&mut self) {
        if let Some(follower) = &mut self.follower {
            // A failure here is met again, and told, by the next read.
            let _ = follower.look();
        }
    }

    /// Reads at most one buffer of lines.
    pub(super) fn read(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        lines: &mut Vec<LogLine>,
    ) -> Read {
        let mut read = Read::default();
        match self.try_read(now, buffer, lines, &mut read) {
            Ok(()) => {
                self.said = None;
                read.position = self.position();
            }
            Err(error) => {
                read.then = self.at_rest(now, lines);
                if self.said != Some(error.kind()) {
                    self.said = Some(error.kind());
                    read.failure = Some(error);
                }
            }
        }
        read
    }

    fn try_read(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        lines: &mut Vec<LogLine>,
        read: &mut Read,
    ) -> io::Result<()> {
        if self.follower.is_none() {
            let LogFile { path, files_max } = &self.log;
            self.follower = Follower::open(path, *files_max, self.resume, self.begin)?;
        }
        let Some(follower) = &mut self.follower else {
            read.then = self.at_rest(now, lines);
            if read.then == Then::Forget && self.ran {
                self.lose(Loss::Removal, read);
            }
            return Ok(());
        };
        follower.look()?;
        let chunk = follower.read(buffer)?;
        if let Some(loss) = follower.take_loss() {
            self.lose(loss, read);
        }
        match chunk {
            Chunk::Lines(len) => {
                self.silent_since = None;
                read.bytes = len as u64;
                read.then = Then::More;
                self.take(&buffer[..len], lines, read);
            }
            Chunk::Torn => {
                self.lose(Loss::Malformed, read);
                read.then = Then::More;
            }
            Chunk::End => read.then = self.at_rest(now, lines),
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], lines: &mut Vec<LogLine>, read: &mut Read) {
        let Some((file, end)) = self.follower.as_ref().and_then(Follower::place) else {
            return;
        };
        let mut offset = end - bytes.len() as u64;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let start = offset;
            offset += line.len() as u64;
            match Piece::parse(line) {
                Some(piece) => {
                    let mark = self.mark(file, start);
                    if let Some(joined) = self.joiner.push(piece, mark) {
                        read.cut_bytes += joined.cut_bytes as u64;
                        lines.push(self.number(joined));
                    }
                }
                None => self.lose(Loss::Malformed, read),
            }
        }
    }

    fn mark(&mut self, file: FileId, offset: u64) -> Mark {
        self.order += 1;
        Mark {
            order: self.order,
            position: Position {
                file,
                offset,
                sequence: self.sequence,
            },
        }
    }

    /// How many lines went with a lost piece of file is not known; it is one at least, and that is what is counted.
    fn lose(&mut self, loss: Loss, read: &mut Read) {
        self.lost += 1;
        read.losses.push(loss);
    }

    fn number(&mut self, joined: Joined) -> LogLine {
        let sequence = self.sequence;
        self.sequence += 1;
        LogLine {
            at: joined.at,
            node: self.identity.node.clone(),
            service: self.identity.service.clone(),
            container: self.identity.id.clone(),
            name: self.identity.name.clone(),
            stream: joined.stream,
            severity: severity(&joined.text),
            sequence,
            lost_before: std::mem::take(&mut self.lost),
            lines: 1,
            limited_before: 0,
            trace_id: None,
            raw: None,
            text: joined.text,
        }
    }

    fn at_rest(&mut self, now: Instant, lines: &mut Vec<LogLine>) -> Then {
        match self.phase {
            Phase::Expected | Phase::Live => return Then::Wait,
            Phase::Ended | Phase::Removed => {}
        }
        let since = *self.silent_since.get_or_insert(now);
        if now.duration_since(since) < SILENCE_TO_END {
            return Then::Wait;
        }
        let unfinished: Vec<Joined> = self.joiner.flush().collect();
        for joined in unfinished {
            let line = self.number(joined);
            lines.push(line);
        }
        match self.phase {
            Phase::Expected | Phase::Live => Then::Wait,
            Phase::Ended => Then::Close,
            Phase::Removed => Then::Forget,
        }
    }

    /// From where reading can go on after a restart without losing a line: the oldest unfinished line, else the next byte.
    /// Lines of the other stream after that are read again with the numbers they had.
    fn position(&self) -> Option<Position> {
        if let Some(mark) = self.joiner.oldest() {
            return Some(mark.position);
        }
        let (file, offset) = self.follower.as_ref()?.place()?;
        Some(Position {
            file,
            offset,
            sequence: self.sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn tail(path: &Path, resume: Option<Position>) -> Tail {
        let identity = Identity {
            node: NodeId::from("node-a"),
            id: ContainerId::from("abc"),
            name: ContainerName::from("web-1"),
            service: ServiceId::from("web"),
        };
        let log = LogFile {
            path: path.to_owned(),
            files_max: Some(3),
        };
        let mut tail = Tail::new(identity, log, resume, Begin::Oldest);
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
        let mut lines = Vec::new();
        let mut read = tail.read(now, &mut buffer, &mut lines);
        while read.then == Then::More {
            read = tail.read(now, &mut buffer, &mut lines);
        }
        let lines = lines
            .into_iter()
            .map(|it| (it.sequence, it.lost_before, it.text))
            .collect();
        (lines, read)
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
            [(0, 0, "first".to_owned()), (1, 0, "error".to_owned())]
        );

        append(&path, "whole\n", "stdout");
        let (lines, _) = drain(&mut tail(&path, read.position));
        assert_eq!(
            lines,
            [(1, 0, "error".to_owned()), (2, 0, "half whole".to_owned())]
        );
        let (lines, _) = drain(&mut before);
        assert_eq!(lines, [(2, 0, "half whole".to_owned())]);
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
        assert_eq!(read.position.unwrap().sequence, 1);
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
        assert_eq!(read.losses, [Loss::Removal]);
        tail.ran = false;
        let (_, read) = drain_at(&mut tail, now + SILENCE_TO_END);
        assert!(read.losses.is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_said_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut tail = tail(directory.path(), None);
        assert!(drain(&mut tail).1.failure.is_some());
        assert!(drain(&mut tail).1.failure.is_none());
    }
}
