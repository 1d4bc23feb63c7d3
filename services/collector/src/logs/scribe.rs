//! Logs that are in no file here: what the engine's API tells of them is written down, and followed like any other file.
//!
//! So everything behind it (positions, rotation, restarts, the spool) is the same for all drivers. It costs the engine and this
//! process several times what a file does, and a container that is gone before it is asked about has said nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures::stream::StreamExt;
use kit::backoff::{Backoff, seed_of};
use serde::{Deserialize, Serialize};
use units::ContainerId;

use crate::events::ScribeFailed;

/// One file of two: what was read is seldom read again.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Files of a log, the live one included.
pub(super) const FILES: usize = 2;
/// The end of a file in which its last line is looked for: a line of the engine's, each byte escaped to six.
const END_BYTES: u64 = 128 * 1024;
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_CAP: Duration = Duration::from_secs(30);
/// Times it is tried again without a line in between.
const RETRIES_MAX: u32 = 20;

/// A line as the `json-file` driver writes it.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    stream: &'a str,
    time: &'a str,
}

/// Writes down the log of one container.
#[derive(Debug)]
pub(super) struct Scribe {
    docker: Docker,
    id: ContainerId,
    path: PathBuf,
    /// What was said before is not asked for, unless it was being written down.
    since_unix_s: i32,
}

/// The last thing written down: the engine's times are of one length, so they compare as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Written {
    time: String,
    /// Lines with that time: pieces of one line share it.
    lines: usize,
}

impl Scribe {
    pub(super) fn new(docker: Docker, id: ContainerId, path: PathBuf, since_unix_s: i32) -> Scribe {
        Scribe {
            docker,
            id,
            path,
            since_unix_s,
        }
    }

    /// Writes until the container has said everything, or cannot be asked any more.
    pub(super) async fn run(self) {
        let mut waits = Backoff::new(RETRY_BASE, RETRY_CAP, seed_of(self.id.as_str()));
        let mut failures = 0;
        loop {
            let mut lines = 0_u64;
            match self.follow(&mut lines).await {
                Ok(()) => return,
                Err(error) => {
                    if lines > 0 {
                        failures = 0;
                        waits.reset();
                    }
                    failures += 1;
                    ScribeFailed {
                        id: &self.id,
                        error: &error,
                    }
                    .emit();
                    if error.is_final() || failures > RETRIES_MAX {
                        return;
                    }
                }
            }
            tokio::time::sleep(waits.next().unwrap_or(RETRY_CAP)).await;
        }
    }

    async fn follow(&self, lines: &mut u64) -> Result<(), ScribeError> {
        let mut paper = Paper::open(&self.path).map_err(ScribeError::Write)?;
        let written = paper.written().map_err(ScribeError::Write)?;
        let since = match unix_seconds(&written.time) {
            Some(seconds) => seconds,
            None => self.since_unix_s,
        };
        let options = LogsOptions {
            follow: true,
            stdout: true,
            stderr: true,
            since,
            timestamps: true,
            ..LogsOptions::default()
        };
        let mut told = self.docker.logs(self.id.as_str(), Some(options));
        let mut again = written.lines;
        while let Some(output) = told.next().await {
            let (stream, message) = match output.map_err(ScribeError::Ask)? {
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    ("stdout", message)
                }
                LogOutput::StdErr { message } => ("stderr", message),
                LogOutput::StdIn { .. } => continue,
            };
            let Some((time, text)) = split(&message) else {
                continue;
            };
            // The engine takes whole seconds for an answer: what was written down of that second comes again.
            match time.cmp(written.time.as_str()) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal if again > 0 => {
                    again -= 1;
                    continue;
                }
                std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => {}
            }
            paper
                .write(stream, time, text)
                .map_err(ScribeError::Write)?;
            *lines += 1;
        }
        Ok(())
    }
}

/// Why a log is not written down further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScribeError {
    /// The engine did not tell it.
    #[error("the engine does not tell the log")]
    Ask(#[source] bollard::errors::Error),
    /// The disk did not take it.
    #[error("cannot write the log down under collector.state_dir")]
    Write(#[source] io::Error),
}

impl ScribeError {
    /// Whether asking again would give the same answer: the container is gone, or its driver cannot be read.
    fn is_final(&self) -> bool {
        match self {
            ScribeError::Ask(bollard::errors::Error::DockerResponseServerError {
                status_code,
                ..
            }) => matches!(status_code, 400..=499 | 501),
            ScribeError::Ask(_) | ScribeError::Write(_) => false,
        }
    }
}

/// The file, and how long it is.
struct Paper {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Paper {
    fn open(path: &Path) -> io::Result<Paper> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let options = OpenOptions::new().append(true).create(true).clone();
        let file = options.open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Paper {
            path: path.to_owned(),
            file,
            bytes,
        })
    }

    fn rotated(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".1");
        PathBuf::from(name)
    }

    /// What was written last, in this file or the one before.
    fn written(&self) -> io::Result<Written> {
        let written = last_of(&self.path)?;
        if written != Written::default() || !self.rotated().exists() {
            return Ok(written);
        }
        last_of(&self.rotated())
    }

    fn write(&mut self, stream: &str, time: &str, text: &[u8]) -> io::Result<()> {
        if self.bytes >= FILE_BYTES_MAX {
            std::fs::rename(&self.path, self.rotated())?;
            *self = Paper::open(&self.path.clone())?;
        }
        let line = Line {
            log: String::from_utf8_lossy(text),
            stream,
            time,
        };
        let mut json = serde_json::to_vec(&line)?;
        json.push(b'\n');
        self.file.write_all(&json)?;
        self.bytes += json.len() as u64;
        Ok(())
    }
}

fn last_of(path: &Path) -> io::Result<Written> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(END_BYTES)))?;
    let mut end = Vec::new();
    file.take(END_BYTES).read_to_end(&mut end)?;
    let mut written = Written::default();
    for line in end.split(|byte| *byte == b'\n').rev() {
        // The first of these may be cut, and a crash may have left half of the last.
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            continue;
        };
        if written.lines == 0 {
            line.time.clone_into(&mut written.time);
        }
        if line.time != written.time {
            break;
        }
        written.lines += 1;
    }
    Ok(written)
}

/// `2026-01-02T03:04:05.000000006Z text`.
fn split(message: &[u8]) -> Option<(&str, &[u8])> {
    let at = message.iter().position(|byte| *byte == b' ')?;
    let time = std::str::from_utf8(&message[..at]).ok()?;
    unix_seconds(time)?;
    Some((time, &message[at + 1..]))
}

fn unix_seconds(time: &str) -> Option<i32> {
    let instant: jiff::Timestamp = time.parse().ok()?;
    i32::try_from(instant.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log/x-json.log");
        let mut paper = Paper::open(&path).unwrap();
        assert_eq!(paper.written().unwrap(), Written::default());
        let (early, late) = (
            "2026-01-02T03:04:05.000000006Z",
            "2026-01-02T03:04:05.100000000Z",
        );
        paper.write("stdout", early, b"one\n").unwrap();
        paper.write("stdout", late, b"two").unwrap();
        paper.write("stderr", late, b"\xff\n").unwrap();
        let written = Written {
            time: late.to_owned(),
            lines: 2,
        };
        assert_eq!(Paper::open(&path).unwrap().written().unwrap(), written);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let piece = formats::log::json_file::parse(lines[1].as_bytes()).unwrap();
        assert_eq!((&*piece.text, piece.ends_line), (b"two".as_slice(), false));

        paper.bytes = FILE_BYTES_MAX;
        paper.write("stdout", late, b"three\n").unwrap();
        assert!(paper.rotated().exists());
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn half_a_line_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x-json.log");
        let mut paper = Paper::open(&path).unwrap();
        paper
            .write("stdout", "2026-01-02T03:04:05.000000006Z", b"one\n")
            .unwrap();
        paper.file.write_all(b"{\"log\":\"tw").unwrap();
        assert_eq!(paper.written().unwrap().lines, 1);
    }

    #[test]
    fn a_message_is_its_time_and_its_text() {
        let (time, text) = split(b"2026-01-02T03:04:05.000000006Z a b\n").unwrap();
        assert_eq!(
            (time, text),
            ("2026-01-02T03:04:05.000000006Z", b"a b\n".as_slice())
        );
        assert_eq!(split(b"no time"), None);
        assert_eq!(split(b""), None);
    }
}
