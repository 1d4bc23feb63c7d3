//! What is worth a line in the log or a number in the metrics: one structure for each, which gives both.

use std::path::Path;
use std::time::Duration;

use kit::metrics::{Counter, Counters, Gauges, Histogram, MetricName, Metrics};
use units::{ContainerId, ContainerName, ContainerState};

use crate::cgroup::LocateError;
use crate::docker::DockerError;
use crate::logs::{Loss, Missing, PositionError};

/// The series this role writes, looked up once.
#[derive(Clone)]
pub(crate) struct Instruments {
    samples: Counter,
    samples_lost: Counter,
    tick_duration: Histogram,
    tick_overruns: Counter,
    containers: Gauges,
    log_lines: Counter,
    log_bytes: Counter,
    log_lost_lines: Counters,
    records_produced: Counters,
    records_failed: Counters,
}

impl Instruments {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Instruments {
            samples: metrics.counter(MetricName::Samples).with(&[]),
            samples_lost: metrics.counter(MetricName::SamplesLost).with(&[]),
            tick_duration: metrics.histogram(MetricName::TickDuration).with(&[]),
            tick_overruns: metrics.counter(MetricName::TickOverruns).with(&[]),
            containers: metrics.gauge(MetricName::CollectorContainers),
            log_lines: metrics.counter(MetricName::LogLines).with(&[]),
            log_bytes: metrics.counter(MetricName::LogBytes).with(&[]),
            log_lost_lines: metrics.counter(MetricName::LogLostLines),
            records_produced: metrics.counter(MetricName::RecordsProduced),
            records_failed: metrics.counter(MetricName::RecordsFailed),
        }
    }
}

/// All containers were read once.
pub(crate) struct Ticked {
    pub(crate) rows: usize,
    pub(crate) took: Duration,
}

impl Ticked {
    pub(crate) fn emit(&self, to: &Instruments) {
        to.samples.inc_by(self.rows as u64);
        to.tick_duration.observe(self.took.as_secs_f64());
        tracing::trace!(rows = self.rows, took = ?self.took, "containers read");
    }
}

/// Ticks were skipped because the one before took too long, or the machine stood still.
pub(crate) struct TicksMissed {
    pub(crate) ticks: u64,
}

impl TicksMissed {
    pub(crate) fn emit(&self, to: &Instruments) {
        to.tick_overruns.inc_by(self.ticks);
        tracing::debug!(ticks = self.ticks, "ticks skipped");
    }
}

/// A container's cgroup could not be opened.
pub(crate) struct Unreadable<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) error: &'a LocateError,
}

impl Unreadable<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(container = %self.container, error = %kit::boot::chain(self.error),
            "cannot read the container's usage; its samples have its state only");
    }
}

/// How many containers there are, by state.
pub(crate) struct Counted {
    pub(crate) by_state: [(ContainerState, usize); ContainerState::ALL.len()],
}

impl Counted {
    pub(crate) fn emit(&self, to: &Instruments) {
        for (state, count) in self.by_state {
            to.containers
                .with(&[("state", state.as_str())])
                .set(count as f64);
        }
    }
}

/// The engine answered, for the first time or again.
pub(crate) struct EngineFound<'a> {
    pub(crate) address: &'a str,
    pub(crate) version: &'a str,
    pub(crate) containers: usize,
}

impl EngineFound<'_> {
    pub(crate) fn emit(&self) {
        tracing::info!(
            docker = self.address,
            version = self.version,
            containers = self.containers,
            "reading containers"
        );
    }
}

/// A single request failed while the engine goes on answering others.
pub(crate) struct RequestFailed<'a> {
    pub(crate) error: &'a DockerError,
}

impl RequestFailed<'_> {
    pub(crate) fn emit(&self) {
        tracing::debug!(error = %kit::boot::chain(self.error), "request to the engine failed");
    }
}

/// The log confirmed a record.
pub(crate) struct Delivered<'a> {
    pub(crate) topic: &'a str,
}

impl Delivered<'_> {
    pub(crate) fn emit(&self, to: &Instruments) {
        to.records_produced.with(&[("topic", self.topic)]).inc();
    }
}

/// The log did not take a record; it is tried again.
pub(crate) struct DeliveryFailed<'a> {
    pub(crate) topic: &'a str,
    pub(crate) error: &'a bus::BusError,
    /// Attempts so far, this one included.
    pub(crate) attempts: u32,
}

impl DeliveryFailed<'_> {
    pub(crate) fn emit(&self, to: &Instruments) {
        to.records_failed
            .with(&[("topic", self.topic), ("reason", "produce")])
            .inc();
        // Once when it starts failing; that it works again shows in the dependency's state.
        if self.attempts == 1 {
            tracing::warn!(topic = self.topic, error = %kit::boot::chain(self.error),
                "cannot append to the log; trying again");
        }
    }
}

/// A record that can never be appended was given up.
pub(crate) struct Refused<'a> {
    pub(crate) topic: &'a str,
    pub(crate) rows: u64,
    pub(crate) problem: &'a dyn std::error::Error,
}

impl Refused<'_> {
    pub(crate) fn emit(&self, to: &Instruments) {
        to.records_failed
            .with(&[("topic", self.topic), ("reason", "refused")])
            .inc();
        tracing::error!(topic = self.topic, rows = self.rows, error = %kit::boot::chain(self.problem),
            "a record was given up");
    }
}

/// Samples were dropped because the log did not take them in time.
pub(crate) struct SamplesLost {
    pub(crate) rows: u64,
}

impl SamplesLost {
    pub(crate) fn emit(&self, to: &Instruments) {
        to.samples_lost.inc_by(self.rows);
    }
}

/// The log is behind and the oldest that waits is being dropped; said once each time it begins.
pub(crate) struct LosingBegan<'a> {
    pub(crate) topic: &'a str,
}

impl LosingBegan<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(
            topic = self.topic,
            "the log does not keep up; dropping the oldest of what waits until it does"
        );
    }
}

/// The log has caught up after something was dropped.
pub(crate) struct LosingEnded<'a> {
    pub(crate) topic: &'a str,
    pub(crate) dropped: u64,
}

impl LosingEnded<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(
            topic = self.topic,
            dropped = self.dropped,
            "the log keeps up again; this much was dropped"
        );
    }
}

/// An event was dropped because the log did not take it in time.
pub(crate) struct EventLost;

impl EventLost {
    pub(crate) fn emit(&self, to: &Instruments) {
        let labels = [("topic", wire::topic::EVENTS), ("reason", "dropped")];
        to.records_failed.with(&labels).inc();
    }
}

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

/// The disk does not take log lines; said once, until it does again.
pub(crate) struct SpoolFailed<'a> {
    pub(crate) error: &'a spool::SpoolError,
}

impl SpoolFailed<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(error = %kit::boot::chain(self.error),
            "log lines cannot be kept on disk; reading stops where the log does not take them either");
    }
}

/// What the spool held when the process started.
pub(crate) struct SpoolFound {
    pub(crate) entries: usize,
    /// Entries of which not even the tag could be read.
    pub(crate) damaged: u64,
}

impl SpoolFound {
    pub(crate) fn emit(&self) {
        if self.damaged > 0 {
            tracing::warn!(
                entries = self.damaged,
                "log lines on disk are damaged and lost; check the health of that disk"
            );
        }
        if self.entries > 0 {
            tracing::info!(
                entries = self.entries,
                "log lines from before the start wait on disk"
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

/// A container's output goes to a driver that is not read.
pub(crate) struct LogDriverUnread<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) id: &'a ContainerId,
    pub(crate) driver: &'a str,
}

impl LogDriverUnread<'_> {
    pub(crate) fn emit(&self) {
        tracing::info!(container = %self.container, id = self.id.short(), driver = self.driver,
            "the container's log is not read; only those of the json-file and local drivers are");
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
