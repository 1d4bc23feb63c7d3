//! The pure core of one partition: everything that can happen to it, and everything it can ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use detect::{Counts, Detector, NodeWatch, Settings, Stream};
use forecast::{Forecaster, Load};
use serde::{Deserialize, Serialize};
use units::{
    Feedback, Forecast, LogLine, NodeId, NodeInventory, Sample, ServiceId, Signal, Timestamp,
};

/// All that can happen to a partition.
pub(crate) enum Event {
    /// A record of samples.
    Samples {
        rows: Vec<Sample>,
        traceparent: Option<String>,
    },
    /// A record of log lines.
    Logs {
        lines: Vec<LogLine>,
        traceparent: Option<String>,
    },
    /// A node's heartbeat, and whether the samples handed over so far are those of now.
    Inventory {
        inventory: Arc<NodeInventory>,
        stream: Stream,
    },
    /// A node was taken out of the inventory.
    NodeRemoved(NodeId),
    /// Somebody said something of a signal; of which partition is not asked.
    Feedback(Arc<Feedback>),
    /// The state was read back after a time in which nothing was listened to.
    Resumed,
    /// Time passed.
    Tick,
}

/// All that a partition can ask for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Tell this signal.
    Signal(Signal),
    /// Tell this forecast, within this trace.
    Forecast {
        forecast: Forecast,
        traceparent: Option<String>,
    },
}

/// Detectors and forecasters of the services of one partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Core {
    detector: Detector,
    forecasters: BTreeMap<ServiceId, Forecaster>,
}

impl Core {
    /// A core that knows nothing.
    pub(crate) fn new(settings: Settings) -> Self {
        Core {
            detector: Detector::new(settings),
            forecasters: BTreeMap::new(),
        }
    }

    /// The same state under these settings; for one that was restored.
    pub(crate) fn with_settings(self, settings: Settings) -> Self {
        Core {
            detector: self.detector.with_settings(settings),
            ..self
        }
    }

    /// What follows from an event. Time is that of the records; `now` serves only to notice silence.
    pub(crate) fn handle(&mut self, now: Timestamp, watch: NodeWatch, event: Event) -> Vec<Effect> {
        match event {
            Event::Samples { rows, traceparent } => self.samples(&rows, traceparent),
            Event::Logs { lines, traceparent } => {
                effects(self.detector.logs(&lines, traceparent.as_deref()))
            }
            Event::Inventory { inventory, stream } => {
                effects(self.detector.inventory(now, &inventory, watch, stream))
            }
            Event::NodeRemoved(node) => effects(self.detector.node_removed(now, &node)),
            Event::Feedback(feedback) => {
                self.detector.feedback(&feedback);
                Vec::new()
            }
            Event::Resumed => {
                self.detector.resume(now);
                Vec::new()
            }
            Event::Tick => {
                self.forecasters
                    .retain(|service, _| self.detector.knows(service));
                effects(self.detector.tick(now, |_| watch))
            }
        }
    }

    /// How much it holds.
    pub(crate) fn counts(&self) -> Counts {
        self.detector.counts()
    }

    fn samples(&mut self, rows: &[Sample], traceparent: Option<String>) -> Vec<Effect> {
        let step = self.detector.samples(rows, traceparent.as_deref());
        let mut effects = effects(step.signals);
        for load in step.loads {
            let forecaster = self.forecasters.entry(load.service.clone()).or_default();
            let forecast = forecaster.observe(
                &load.service,
                &Load {
                    at: load.at,
                    cpu_millicores: load.cpu_millicores,
                    replicas: load.replicas,
                    replica_capacity: load.replica_capacity,
                    throttled: load.throttled,
                },
            );
            effects.push(Effect::Forecast {
                forecast,
                traceparent: traceparent.clone(),
            });
        }
        effects
    }
}

fn effects(signals: Vec<Signal>) -> Vec<Effect> {
    signals.into_iter().map(Effect::Signal).collect()
}
