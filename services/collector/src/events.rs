//! What is worth a line in the log or a number in the metrics: one structure for each, which gives both.

mod logs;

use std::time::Duration;

use formats::scrape::{Scraped, Target};
use kit::metrics::{Counter, Counters, Gauges, Histogram, MetricName, Metrics};
use units::{ContainerName, ContainerState};

use crate::cgroup::LocateError;
use crate::docker::DockerError;
use crate::haproxy::{Socket, Untold};
use crate::outbox::Trouble;
use crate::scrape::FetchError;
use crate::sockets::SocketsError;

pub(crate) use logs::{
    LineCut, LinesLost, LinesRead, LogUnkept, LogUnreadable, PartitionsChanged, PartitionsUnsaved,
    PositionsUnsaved, ScribeFailed, SpoolFailed, SpoolFound, SpoolingBegan, SpoolingEnded,
    Unwatched,
};

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
    scrapes: Counters,
    scraped_series: Counter,
    scraped_series_lost: Counter,
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
            scrapes: metrics.counter(MetricName::Scrapes),
            scraped_series: metrics.counter(MetricName::ScrapedSeries).with(&[]),
            scraped_series_lost: metrics.counter(MetricName::ScrapedSeriesLost).with(&[]),
        }
    }
}

impl Instruments {
    fn encode_failed(&self) {
        let labels = [("topic", wire::topic::SAMPLES), ("reason", "encode")];
        self.records_failed.with(&labels).inc();
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

/// Says when dropping begins and, with the sum, when it is over: not once for each record.
#[derive(Debug, Default)]
pub(crate) struct Losing {
    dropped: u64,
    /// Deliveries since the last drop.
    calm: u32,
}

impl Losing {
    /// So many deliveries without a drop between them mean that the log keeps up.
    const CALM: u32 = 30;

    /// Rows of this topic were dropped.
    pub(crate) fn dropped(&mut self, topic: &str, rows: u64) {
        if self.dropped == 0 {
            tracing::warn!(
                topic,
                "the log does not keep up; dropping the oldest of what waits until it does"
            );
        }
        self.dropped += rows;
        self.calm = 0;
    }

    /// A record arrived.
    pub(crate) fn delivered(&mut self) {
        if self.dropped == 0 {
            return;
        }
        self.calm += 1;
        if self.calm == Self::CALM {
            tracing::warn!(
                dropped = self.dropped,
                "the log keeps up again; this much was dropped"
            );
            self.dropped = 0;
        }
    }
}

/// Whether records go to disk for now.
pub(crate) struct Spooling {
    pub(crate) trouble: Trouble,
}

impl Spooling {
    pub(crate) fn emit(&self) {
        match self.trouble {
            Trouble::Stuck => {
                tracing::warn!("the log does not answer; records are kept on disk until it does")
            }
            Trouble::None => {
                tracing::info!("the log takes records again; what was kept on disk is being sent")
            }
        }
    }
}

/// Where events are safe could not be written down.
pub(crate) struct MarkUnsaved<'a> {
    pub(crate) error: &'a std::io::Error,
}

impl MarkUnsaved<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(error = %self.error,
            "cannot save up to where events were sent; a restart may miss some; check collector.state_dir");
    }
}

/// Links could not be put into a record.
pub(crate) struct LinksDropped<'a> {
    pub(crate) error: &'a wire::EncodeError,
}

impl LinksDropped<'_> {
    pub(crate) fn emit(&self, to: &Instruments) {
        to.encode_failed();
        tracing::error!(error = %kit::boot::chain(self.error), "links between services were not sent");
    }
}

/// Series could not be put into a record.
pub(crate) struct SeriesDropped<'a> {
    pub(crate) error: &'a wire::EncodeError,
}

impl SeriesDropped<'_> {
    pub(crate) fn emit(&self, to: &Instruments) {
        to.encode_failed();
        tracing::error!(error = %kit::boot::chain(self.error), "series were not sent");
    }
}

/// This process may not look into network namespaces: the feature is off from then on.
pub(crate) struct SocketsRefused<'a> {
    pub(crate) error: &'a SocketsError,
}

impl SocketsRefused<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(error = %kit::boot::chain(self.error),
            "TCP connections of containers are not read: give the collector CAP_SYS_ADMIN and CAP_SYS_PTRACE, or set collector.sockets.read to \"off\"");
    }
}

/// The sockets of one container could not be read, as when it ends at that moment.
pub(crate) struct SocketsUnread<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) error: &'a SocketsError,
}

impl SocketsUnread<'_> {
    pub(crate) fn emit(&self) {
        tracing::debug!(container = %self.container, error = %kit::boot::chain(self.error),
            "cannot read the container's TCP connections");
    }
}

/// A page of metrics, or a HAProxy, was asked.
pub(crate) struct Scrapes {
    result: &'static str,
    series: u64,
    lost: u64,
}

impl Scrapes {
    pub(crate) const fn failed() -> Scrapes {
        Scrapes {
            result: "failed",
            series: 0,
            lost: 0,
        }
    }

    /// `bytes_left` were there beyond what was taken.
    pub(crate) fn read(scraped: &Scraped, bytes_left: u64) -> Scrapes {
        Scrapes {
            result: if bytes_left == 0 { "read" } else { "cut" },
            series: scraped.series,
            lost: scraped.over_limit + scraped.malformed,
        }
    }

    /// So many series, and nothing was left.
    pub(crate) const fn whole(series: u64) -> Scrapes {
        Scrapes {
            result: "read",
            series,
            lost: 0,
        }
    }

    pub(crate) fn emit(&self, to: &Instruments) {
        to.scrapes.with(&[("result", self.result)]).inc();
        to.scraped_series.inc_by(self.series);
        to.scraped_series_lost.inc_by(self.lost);
    }
}

/// A page could not be had; said once until it can be again.
pub(crate) struct PageUnread<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) target: &'a Target,
    pub(crate) error: &'a FetchError,
}

impl PageUnread<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(container = %self.container, page = %self.target, error = %kit::boot::chain(self.error),
            "cannot scrape the container");
    }
}

/// A HAProxy told nothing; said once until it does.
pub(crate) struct BalancerUnread<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) error: &'a Untold,
}

impl BalancerUnread<'_> {
    pub(crate) fn emit(&self) {
        tracing::warn!(socket = %self.socket, error = %kit::boot::chain(self.error),
            "cannot read HAProxy's figures");
    }
}

/// A HAProxy tells again.
pub(crate) struct BalancerRead<'a> {
    pub(crate) socket: &'a Socket,
}

impl BalancerRead<'_> {
    pub(crate) fn emit(&self) {
        tracing::info!(socket = %self.socket, "HAProxy's figures are read again");
    }
}

/// A page was not taken whole.
pub(crate) struct PageCut<'a> {
    pub(crate) container: &'a ContainerName,
    pub(crate) target: &'a Target,
    pub(crate) scraped: &'a Scraped,
    pub(crate) bytes_left: u64,
}

impl PageCut<'_> {
    pub(crate) fn emit(&self) {
        let scraped = self.scraped;
        let problem = scraped
            .first_problem
            .as_ref()
            .map(|it| format!("line {}: {}", it.line, it.what));
        tracing::warn!(container = %self.container, page = %self.target, taken = scraped.series,
            over_limit = scraped.over_limit, malformed = scraped.malformed, bytes_left = self.bytes_left,
            first_problem = problem.unwrap_or_default(),
            "the page was not taken whole; see collector.scrape.series_max and bytes_max");
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
