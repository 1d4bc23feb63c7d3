//! The pure core of one partition: everything that can happen to it, and everything it can ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use detect::{Counts, Detector, LineTemplate, NodeWatch, Settings, Stream, TemplateId};
use forecast::{Forecaster, Load};
use logs::Catalog;
use serde::{Deserialize, Serialize};
use units::{Forecast, LogLine, NodeId, NodeInventory, Sample, ServiceId, Signal, Timestamp};

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

/// Detectors, log templates and forecasters of the services of one partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Core {
    detector: Detector,
    forecasters: BTreeMap<ServiceId, Forecaster>,
    templates: Catalog,
}

impl Core {
    /// A core that knows nothing.
    pub(crate) fn new(settings: Settings) -> Self {
        Core {
            detector: Detector::new(settings),
            forecasters: BTreeMap::new(),
            templates: Catalog::default(),
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
                effects(self.logs(&lines, traceparent.as_deref()))
            }
            Event::Inventory { inventory, stream } => {
                self.templates.inventory(&inventory);
                effects(self.detector.inventory(now, &inventory, watch, stream))
            }
            Event::NodeRemoved(node) => effects(self.detector.node_removed(now, &node)),
            Event::Resumed => {
                self.detector.resume(now);
                Vec::new()
            }
            Event::Tick => {
                self.forecasters
                    .retain(|service, _| self.detector.knows(service));
                self.templates
                    .retain(|service| self.detector.knows(service));
                effects(self.detector.tick(now, |_| watch))
            }
        }
    }

    /// How much it holds.
    pub(crate) fn counts(&self) -> Counts {
        self.detector.counts()
    }

    /// Each line goes to the detector with the template that its service's miner finds.
    fn logs(&mut self, lines: &[LogLine], traceparent: Option<&str>) -> Vec<Signal> {
        let mut signals = Vec::new();
        for line in lines {
            let seen = self.templates.observe(line);
            let template = seen.as_ref().map(|seen| LineTemplate {
                id: TemplateId(seen.template.id().as_u64()),
                standing: match seen.standing {
                    logs::Standing::Known => detect::Standing::Known,
                    logs::Standing::New => detect::Standing::New,
                },
                among: seen.lines,
                text: seen.template,
            });
            signals.extend(self.detector.log(line, template.as_ref(), traceparent));
        }
        signals
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
