//! What is worth telling of failover.

use std::time::Duration;

use kit::metrics::{Counter, Gauge, MetricName, Metrics};
use units::{ContainerName, Plan, StandingPolicy};

use crate::events::{self, News};

/// The metrics of a node that takes part.
#[derive(Debug, Clone)]
pub(super) struct Meters {
    /// What is left of the lease.
    pub(super) lease: Gauge,
    /// Containers whose making is told.
    pub(super) standing: Gauge,
    fenced: Counter,
    healed: Counter,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Meters {
            lease: metrics.gauge(MetricName::Lease).with(&[]),
            standing: metrics.gauge(MetricName::StandingExports).with(&[]),
            fenced: metrics.counter(MetricName::Fenced).with(&[]),
            healed: metrics.counter(MetricName::HealedAlone).with(&[]),
        }
    }
}

/// The log has a record.
pub(super) struct Acknowledged {
    pub(super) topic: &'static str,
}

impl Acknowledged {
    pub(super) fn emit(self, meters: &events::Meters) {
        meters.produced.with(&[("topic", self.topic)]).inc();
    }
}

/// The log did not take a heartbeat; the next one follows.
pub(super) struct BeatLost<'a> {
    pub(super) error: &'a bus::BusError,
    pub(super) news: News,
}

impl BeatLost<'_> {
    pub(super) fn emit(self, meters: &events::Meters) {
        let labels = [("topic", wire::topic::HEARTBEATS), ("reason", "produce")];
        meters.failed.with(&labels).inc();
        let error = self.error;
        match self.news {
            News::First => tracing::warn!(%error, "a heartbeat is not in the log"),
            News::Again => tracing::debug!(%error, "a heartbeat is not in the log"),
        }
    }
}

/// How the lease stands by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseTurned {
    Over,
    Back,
}

impl LeaseTurned {
    pub(super) fn emit(self, length: Duration) {
        let lease_s = length.as_secs_f64();
        match self {
            LeaseTurned::Over => tracing::warn!(
                lease_s,
                "the log has acknowledged no heartbeat for the length of the lease: this node stops its singletons until it does"
            ),
            LeaseTurned::Back => {
                tracing::info!("the log acknowledges heartbeats again: singletons may run here");
            }
        }
    }
}

/// A singleton is stopped because the lease is over.
pub(super) struct ContainerFenced<'a> {
    pub(super) name: &'a ContainerName,
}

impl ContainerFenced<'_> {
    pub(super) fn emit(self, meters: &Meters) {
        meters.fenced.inc();
        tracing::warn!(container = %self.name, "stopped: the lease of this node is over, and it must not run twice");
    }
}

/// A singleton could not be stopped; it is tried again.
pub(super) struct NotFenced<'a> {
    pub(super) name: &'a ContainerName,
    pub(super) reason: &'a str,
}

impl NotFenced<'_> {
    pub(super) fn emit(self) {
        let NotFenced { name, reason } = self;
        tracing::error!(container = %name, reason, "the lease of this node is over, and it still runs");
    }
}

/// How a container is made is in the log, or was taken back.
pub(super) struct Told<'a> {
    pub(super) name: &'a str,
    pub(super) what: What,
}

/// What became of how a container is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Standing,
    TakenBack,
}

impl Told<'_> {
    pub(super) fn emit(self, meters: &events::Meters) {
        let topic = wire::topic::EXPORTS;
        Acknowledged { topic }.emit(meters);
        let container = self.name;
        match self.what {
            What::Standing => tracing::info!(
                container,
                "how it is made is told, in case this node is lost"
            ),
            What::TakenBack => tracing::info!(container, "how it is made is taken back"),
        }
    }
}

/// A container that may move is not told of.
pub(super) struct Untold<'a> {
    pub(super) name: &'a str,
    pub(super) reason: &'a str,
}

impl Untold<'_> {
    pub(super) fn emit(self) {
        let Untold { name, reason } = self;
        tracing::warn!(
            container = name,
            reason,
            "should this node be lost, it is made nowhere else"
        );
    }
}

/// The log did not take how a container is made; it is tried again.
pub(super) struct ExportLost<'a> {
    pub(super) error: &'a bus::BusError,
}

impl ExportLost<'_> {
    pub(super) fn emit(self, meters: &events::Meters) {
        let labels = [("topic", wire::topic::EXPORTS), ("reason", "produce")];
        meters.failed.with(&labels).inc();
        let error = self.error;
        tracing::warn!(%error, "how a container is made is not in the log yet");
    }
}

/// The leader told how far this node may heal by itself.
pub(super) struct PolicyTaken<'a> {
    pub(super) policy: &'a StandingPolicy,
}

impl PolicyTaken<'_> {
    pub(super) fn emit(self) {
        let StandingPolicy {
            generation,
            max_mode,
            hourly,
            ..
        } = self.policy;
        tracing::info!(%generation, max_mode = max_mode.as_str(), hourly, "what this node may do should it be cut off");
    }
}

/// A container was restarted while this node was cut off.
pub(super) struct HealedAlone<'a> {
    pub(super) plan: &'a Plan,
}

impl HealedAlone<'_> {
    pub(super) fn emit(self, meters: &Meters) {
        meters.healed.inc();
        tracing::warn!(plan = %self.plan.id, "{}", self.plan.cause.reason);
    }
}

/// A container could not be restarted while this node was cut off.
pub(super) struct NotHealed<'a> {
    pub(super) name: &'a ContainerName,
    pub(super) reason: &'a str,
}

impl NotHealed<'_> {
    pub(super) fn emit(self) {
        let NotHealed { name, reason } = self;
        tracing::warn!(container = %name, reason, "this node is cut off, and its actuator did not restart it");
    }
}
