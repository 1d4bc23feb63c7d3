//! What is worth a log line or a count, one structure each.

use std::time::Duration;

use kit::metrics::{MetricName, Metrics};
use units::Timestamp;

use crate::http::Failure;
use crate::lane::{Lane, Suppression};
use crate::notice::Notice;

/// Counters exist from the start, so that the first failure is seen as a rise.
pub(crate) fn prepare(metrics: &Metrics, sink: &str) {
    for result in ["delivered", "failed"] {
        metrics
            .counter(MetricName::Deliveries)
            .with(&[("sink", sink), ("result", result)]);
    }
    metrics
        .gauge(MetricName::DeliveryQueue)
        .with(&[("sink", sink)])
        .set(0.0);
    metrics
        .gauge(MetricName::DeliveryOldestTimestamp)
        .with(&[("sink", sink)])
        .set(0.0);
}

/// A sink took a notice.
pub(crate) struct Delivered<'a> {
    pub(crate) sink: &'a str,
    pub(crate) notice: &'a Notice,
    pub(crate) attempts: u32,
    pub(crate) now: Timestamp,
}

impl Delivered<'_> {
    pub(crate) fn emit(self, metrics: &Metrics) {
        let Delivered {
            sink,
            notice,
            attempts,
            now,
        } = self;
        let delay = now.since(notice.at());
        metrics
            .counter(MetricName::Deliveries)
            .with(&[("sink", sink), ("result", "delivered")])
            .inc();
        let seconds =
            Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0)).as_secs_f64();
        metrics
            .gauge(MetricName::LastSuccessTimestamp)
            .with(&[("sink", sink)])
            .set(seconds);
        metrics
            .histogram(MetricName::PipelineDelay)
            .with(&[("stage", "notifier")])
            .observe(delay.as_secs_f64());
        let event = notice.event_type();
        tracing::info!(
            sink,
            event,
            attempts,
            delay_ms = delay.as_millis() as u64,
            "notified"
        );
    }
}

/// An attempt failed; it may be tried again.
pub(crate) struct AttemptFailed<'a> {
    pub(crate) sink: &'a str,
    pub(crate) failure: &'a Failure,
    pub(crate) again_in: Option<Duration>,
}

impl AttemptFailed<'_> {
    pub(crate) fn emit(self, metrics: &Metrics) {
        let AttemptFailed {
            sink,
            failure,
            again_in,
        } = self;
        let reason = failure.kind.reason();
        metrics
            .counter(MetricName::DeliveryFailures)
            .with(&[("sink", sink), ("reason", reason)])
            .inc();
        let again_in_ms = again_in.map(|wait| wait.as_millis() as u64);
        tracing::debug!(sink, reason, detail = %failure.detail, again_in_ms, "attempt to notify failed");
    }
}

/// A notice was given up.
pub(crate) struct GivenUp<'a> {
    pub(crate) sink: &'a str,
    pub(crate) notice: &'a Notice,
    pub(crate) attempts: u32,
    pub(crate) why: &'a str,
}

impl GivenUp<'_> {
    pub(crate) fn emit(self, metrics: &Metrics) {
        let GivenUp {
            sink,
            notice,
            attempts,
            why,
        } = self;
        metrics
            .counter(MetricName::Deliveries)
            .with(&[("sink", sink), ("result", "failed")])
            .inc();
        let event = notice.event_type();
        let id = notice.message_id();
        tracing::error!(
            sink,
            event,
            id,
            attempts,
            why,
            "notification given up; check the sink's address and key"
        );
    }
}

/// Nothing more is sent to a sink for a while.
pub(crate) struct Suspended<'a> {
    pub(crate) sink: &'a str,
    pub(crate) failure: &'a Failure,
    pub(crate) pause: Duration,
}

impl Suspended<'_> {
    pub(crate) fn emit(self) {
        let Suspended {
            sink,
            failure,
            pause,
        } = self;
        tracing::error!(
            sink,
            detail = %failure.detail,
            pause_s = pause.as_secs(),
            "sink refuses everything and is left alone for a while; check its address and key"
        );
    }
}

/// Notices that will not be told.
pub(crate) fn suppressed(metrics: &Metrics, sink: &str, suppressed: &[Suppression]) {
    for why in suppressed {
        let labels = [("sink", sink), ("reason", why.reason())];
        metrics
            .counter(MetricName::DeliveriesSuppressed)
            .with(&labels)
            .inc();
        match why {
            Suppression::Overflow => tracing::warn!(
                sink,
                "too many notifications wait, one was dropped; the sink is slower than what there is to tell"
            ),
            Suppression::NotWanted
            | Suppression::Superseded
            | Suppression::EndedUntold
            | Suppression::TriggerUndelivered => {
                tracing::debug!(sink, reason = why.reason(), "notification not sent");
            }
        }
    }
}

/// A record was too old to tell of when it was read.
pub(crate) fn stale(metrics: &Metrics, sinks: &[&str]) {
    for sink in sinks {
        let labels = [("sink", *sink), ("reason", "stale")];
        metrics
            .counter(MetricName::DeliveriesSuppressed)
            .with(&labels)
            .inc();
    }
}

/// How much waits for a sink.
pub(crate) fn waiting(metrics: &Metrics, sink: &str, lane: &Lane) {
    let oldest = lane
        .oldest()
        .map_or(0.0, |at| at.as_millis() as f64 / 1_000.0);
    metrics
        .gauge(MetricName::DeliveryQueue)
        .with(&[("sink", sink)])
        .set(lane.len() as f64);
    metrics
        .gauge(MetricName::DeliveryOldestTimestamp)
        .with(&[("sink", sink)])
        .set(oldest);
}
