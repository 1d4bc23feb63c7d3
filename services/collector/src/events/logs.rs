//! Of container logs, and of what waits on disk.

use std::path::Path;

use units::{ContainerId, ContainerName};

use super::Instruments;
use crate::logs::{Loss, Missing, PositionError, ScribeError};

/// Lines were read from a log file.
pub(crate) struct LinesRead {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

impl LinesRead {
    pub(crate) fn emit(&self, to: &Instruments) {
        to.log_lines.inc_by(self.lines);
        to.log_bytes.inc_by(self.bytes);
    }
}

/// Lines are known to be missing from a container's log.
pub(crate) struct LinesLost<'a> {
    /// Its name, or its short id where it is gone.
    pub(crate) container: &'a str,
    pub(crate) missing: Missing,
}

impl LinesLost<'_> {
    pub(crate) fn emit(&self, to: &Instruments) {
        let Missing { loss, lines } = self.missing;
        to.log_lost_lines
            .with(&[("reason", loss.as_str())])
            .inc_by(lines);
        let container = self.container;
        match loss {
            Loss::Rotation => tracing::warn!(
                container,
                lines,
                "log lines were lost: the file was rotated away before it was read; raise max-size or max-file of its log driver"
            ),
            Loss::Truncation => tracing::warn!(
                container,
                "log lines may be lost: the file was cut before it was read to its end; set max-file of its log driver to 2 or more"
            ),
            Loss::Removal => tracing::warn!(
                container,
                "log lines may be lost: the container was removed before its log could be opened"
            ),
            Loss::Malformed => tracing::debug!(
                container,
                "a line of the log file is not what the engine writes"
            ),
            Loss::Spool => tracing::warn!(
                container,
                lines,
                "log lines were lost: the log was away longer than the spool holds; raise collector.spool.logs_bytes_max or age_max"
            ),
        }
    }
}

/// Log lines go to the disk, since the log does not take them in time.
pub(crate) struct SpoolingBegan {
    pub(crate) bytes: u64,
}

impl SpoolingBegan {
    pub(crate) fn emit(&self) {
        tracing::warn!(
            bytes = self.bytes,
            "the log does not take log lines in time; they wait on disk until it does"
        );
    }
}

/// Everything on the disk has arrived.
pub(crate) struct SpoolingEnded;

impl SpoolingEnded {
    pub(crate) fn emit(&self) {
        tracing::info!("all log lines that waited on disk have arrived");
    }
}

/// The disk does not take records; said once, until it does again.
pub(crate) struct SpoolFailed<'a> {
    pub(crate) error: &'a spool::SpoolError,
}

impl SpoolFailed<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(error = %kit::boot::chain(self.error),
            "records cannot be kept on disk; logs are read no further than the log takes them, and the oldest samples are dropped");
    }
}

/// What a spool held when the process started.
pub(crate) struct SpoolFound {
    /// What lies in it, in a word or two.
    pub(crate) what: &'static str,
    pub(crate) entries: u64,
    /// Entries of which not even the tag could be read.
    pub(crate) damaged: u64,
}

impl SpoolFound {
    pub(crate) fn emit(&self) {
        if self.damaged > 0 {
            tracing::warn!(
                what = self.what,
                entries = self.damaged,
                "records on disk are damaged and lost; check the health of that disk"
            );
        }
        if self.entries > 0 {
            tracing::info!(
                what = self.what,
                entries = self.entries,
                "records from before the start wait on disk"
            );
        }
    }
}

/// Directories cannot be watched.
pub(crate) struct Unwatched<'a> {
    pub(crate) error: &'a std::io::Error,
}

impl Unwatched<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(error = %self.error,
            "cannot watch the directories of container logs; a writer that rotates fast may outrun the collector; raise fs.inotify.max_user_instances");
    }
}

/// The topics have another number of partitions than when it was last asked.
pub(crate) struct PartitionsChanged {
    pub(crate) before: u32,
    pub(crate) now: u32,
}

impl PartitionsChanged {
    pub(crate) fn emit(&self) {
        tracing::warn!(
            before = self.before,
            now = self.now,
            "the number of partitions has changed; log lines are sent by the new one, samples from the next start"
        );
    }
}

/// The number of partitions could not be kept for the next start.
pub(crate) struct PartitionsUnsaved<'a> {
    pub(crate) error: &'a std::io::Error,
}

impl PartitionsUnsaved<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(error = %self.error,
            "the number of partitions is not saved; a start while the log is away would wait for it");
    }
}

/// A line was longer than is kept.
pub(crate) struct LineCut<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) bytes: u64,
}

impl LineCut<'_> {
    pub(crate) fn emit(&self) {
        tracing::debug!(container = %self.container, bytes = self.bytes, "the end of a very long log line was dropped");
    }
}

/// A container's log file cannot be read.
pub(crate) struct LogUnreadable<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) path: &'a Path,
    pub(crate) error: &'a std::io::Error,
}

impl LogUnreadable<'_> {
    pub(crate) fn emit(&self) {
        match self.error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                tracing::warn!(container = %self.container, path = %self.path.display(), error = %self.error,
                    "cannot read the container's log; give the collector CAP_DAC_READ_SEARCH, run it as root, or set collector.logs to \"off\"");
            }
            _ => {
                tracing::warn!(container = %self.container, path = %self.path.display(), error = %self.error,
                    "cannot read the container's log; check the disk and the mount of the engine's directory");
            }
        }
    }
}

/// A container's log can be had over the API only, and there is nowhere to keep what was read.
pub(crate) struct LogUnkept<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) driver: &'a str,
}

impl LogUnkept<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(container = %self.container, driver = self.driver,
            "the container's log is not read: it is in no file that may be read, and what the engine tells of it needs collector.state_dir");
    }
}

/// A log is not told by the engine, or cannot be written down.
pub(crate) struct ScribeFailed<'a> {
    pub(crate) id: &'a ContainerId,
    pub(crate) error: &'a ScribeError,
}

impl ScribeFailed<'_> {
    pub(crate) fn emit(&self) {
        tracing::debug!(id = self.id.short(), error = %kit::boot::chain(self.error),
            "cannot follow a container's log over the API");
    }
}

/// Log positions could not be written.
pub(crate) struct PositionsUnsaved<'a> {
    pub(crate) error: &'a PositionError,
}

impl PositionsUnsaved<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(error = %kit::boot::chain(self.error),
            "log positions are not saved; a restart would read lines again");
    }
}
