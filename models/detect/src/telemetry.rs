//! Missing telemetry: a node that fell silent, a container whose samples stopped. Missing data is a signal, never a zero.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    Confidence, ContainerId, ContainerName, NodeId, NodeInventory, Ratio, ServiceId, Severity,
    Signal, SignalKind, Subject, Timestamp,
};

use crate::clock::{Moment, NodeClock};
use crate::gate::{Finding, Gates, Proof, Scene};
use crate::rules::node::{Load, Shortage};
use crate::settings::Settings;
use crate::text::duration;

/// A node silent for this long is not waited for any more.
pub(crate) const NODE_FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Whether this detector speaks for a node. Every node is heard by all detectors and told about by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeWatch {
    /// This detector tells when the node falls silent.
    Owner,
    /// Another one does.
    Other,
}

/// Whether the samples handed over are those of now. Behind, as after a restart, absence proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// All samples there are have been handed over.
    Live,
    /// Older ones are still to come.
    Behind,
}

/// A node as far as this detector is concerned with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// The node's clocks at its newest sample.
    pub(crate) clock: Option<NodeClock>,
    /// This side's clock at its newest heartbeat, so that clocks that differ do not matter.
    pub(crate) heard_at: Option<Timestamp>,
    /// The node's own clock at its newest heartbeat.
    pub(crate) beat_at: Option<Timestamp>,
    pub(crate) containers: BTreeSet<(ServiceId, ContainerId)>,
    pub(crate) gates: Gates,
    /// The clocks at its newest series.
    pub(crate) series_clock: Option<NodeClock>,
    pub(crate) load: Load,
    pub(crate) shortage: Shortage,
    /// Memory it has, and memory it can still give, in bytes.
    pub(crate) memory_total: Option<f64>,
    pub(crate) memory_available: Option<f64>,
}

impl Node {
    /// Takes a heartbeat.
    pub(crate) fn beat(
        &mut self,
        now: Timestamp,
        inventory: &NodeInventory,
        settings: &Settings,
    ) -> Option<Signal> {
        self.heard_at = Some(now);
        self.beat_at = Some(inventory.at);
        let memory = inventory.capacity.memory.0 as f64;
        self.memory_total = (memory > 0.0).then_some(memory);
        let scene = scene(&inventory.node, now, settings);
        self.gates
            .resolve(SignalKind::TelemetryMissing, "it is heard again", &scene)
    }

    /// Looks whether its heartbeats stopped. The opening time is the node's own, so that whoever tells it tells the same.
    pub(crate) fn listen(
        &mut self,
        node: &NodeId,
        now: Timestamp,
        settings: &Settings,
    ) -> Option<Signal> {
        let (heard_at, beat_at) = (self.heard_at?, self.beat_at?);
        let silent = now.since(heard_at);
        if silent < settings.telemetry_after {
            return None;
        }
        let finding = Finding {
            severity: Severity::Critical,
            score: Ratio::saturating(1.0),
            confidence: Confidence::High,
            reason: format!(
                "node {node} has not been heard for {}; look at its collector and its network",
                duration(silent)
            ),
            proofs: vec![silence(silent, settings)],
        };
        let scene = scene(node, now, settings);
        let opened_at = beat_at + settings.telemetry_after;
        self.gates
            .open_at(SignalKind::TelemetryMissing, opened_at, finding, &scene)
    }
}

/// What is said of a container whose samples stopped while its node goes on.
pub(crate) fn container_silent(
    name: &ContainerName,
    silent: Duration,
    settings: &Settings,
) -> Finding {
    Finding {
        severity: Severity::Warning,
        score: Ratio::saturating(1.0),
        confidence: Confidence::High,
        reason: format!(
            "{name} runs, and no sample of it came for {}; look at its node's collector",
            duration(silent)
        ),
        proofs: vec![silence(silent, settings)],
    }
}

pub(crate) fn scene(node: &NodeId, now: Timestamp, settings: &Settings) -> Scene<'static> {
    Scene {
        now: Moment::of(now),
        subject: Subject::node(node.clone()),
        traceparent: None,
        update_every: settings.update_every,
    }
}

fn silence(silent: Duration, settings: &Settings) -> Proof {
    let allowed = (0.0, settings.telemetry_after.as_secs_f64());
    Proof::derived("silence_seconds", "s", silent.as_secs_f64(), allowed)
}
