//! The pure core of one partition: everything that can happen to it, and everything it can ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use detect::{Condition, Detector, LineTemplate, NodeWatch, Risers, Settings, Stream, TemplateId};
use forecast::{Forecaster, Load, UsageTracker};
use logs::{Catalog, CatalogCounts};
use serde::{Deserialize, Serialize};
use train::{Artefact, Averaged};
use units::{
    Feedback, Forecast, Link, LogLine, NodeId, NodeInventory, Point, Sample, ServiceId, Signal,
    Timestamp,
};

use crate::patterns::{PatternCounts, Patterns};
use crate::sizing::Sizings;
use crate::watched::Watched;

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
    /// A record of links.
    Links {
        links: Vec<Link>,
        traceparent: Option<String>,
    },
    /// Series of a node itself, and the containers on it whose use rose most.
    NodePoints {
        points: Vec<Point>,
        risers: Risers,
        traceparent: Option<String>,
    },
    /// A signal about a node, told by whoever holds the partition of its series.
    NodeSignal(Arc<Signal>),
    /// A node's heartbeat, and whether the samples handed over so far are those of now.
    Inventory {
        inventory: Arc<NodeInventory>,
        stream: Stream,
    },
    /// A node was taken out of the inventory.
    NodeRemoved(NodeId),
    /// Somebody said something of a signal; of which partition is not asked.
    Feedback(Arc<Feedback>),
    /// A model of one of its services was trained.
    Model(Arc<Artefact>),
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
    /// Hold this for the next training.
    Learn(Averaged),
}

/// How much a partition holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) detector: detect::Counts,
    pub(crate) templates: CatalogCounts,
    pub(crate) patterns: PatternCounts,
}

/// Detectors, log templates, forecasters and models of the services of one partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Core {
    detector: Detector,
    forecasters: BTreeMap<ServiceId, (Forecaster, UsageTracker)>,
    templates: Catalog,
    patterns: Patterns,
    sizings: Sizings,
    watched: Watched,
}

impl Core {
    /// A core that knows nothing.
    pub(crate) fn new(settings: Settings) -> Self {
        Core {
            detector: Detector::new(settings),
            forecasters: BTreeMap::new(),
            templates: Catalog::default(),
            patterns: Patterns::default(),
            sizings: Sizings::default(),
            watched: Watched::default(),
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
            Event::Links { links, traceparent } => {
                effects(self.detector.links(&links, traceparent.as_deref()))
            }
            Event::NodePoints {
                mut points,
                risers,
                traceparent,
            } => {
                self.watched.points(&points);
                points.retain(Detector::follows);
                effects(
                    self.detector
                        .node_points(&points, &risers, traceparent.as_deref()),
                )
            }
            Event::NodeSignal(signal) => {
                self.detector.node_signal(&signal);
                Vec::new()
            }
            Event::Inventory { inventory, stream } => {
                self.templates.inventory(&inventory);
                self.sizings
                    .inventory(&inventory, |service| self.detector.knows(service));
                self.watched
                    .inventory(&inventory, |service| self.detector.knows(service));
                effects(self.detector.inventory(now, &inventory, watch, stream))
            }
            Event::NodeRemoved(node) => {
                self.watched.node_removed(&node);
                effects(self.detector.node_removed(now, &node))
            }
            Event::Feedback(feedback) => {
                self.detector.feedback(&feedback);
                Vec::new()
            }
            Event::Model(artefact) => {
                self.patterns.take(&artefact);
                Vec::new()
            }
            Event::Resumed => {
                self.detector.resume(now);
                Vec::new()
            }
            Event::Tick => {
                self.forecasters
                    .retain(|service, _| self.detector.knows(service));
                self.templates
                    .retain(|service| self.detector.knows(service));
                self.sizings.retain(|service| self.detector.knows(service));
                self.watched.retain(|service| self.detector.knows(service));
                self.patterns.retain(|service, id| {
                    self.detector.condition(service, id) != Condition::Unknown
                });
                effects(self.detector.tick(now, |_| watch))
            }
        }
    }

    /// The containers known here whose use rose most on a node.
    pub(crate) fn risers(&self, node: &NodeId) -> Risers {
        self.detector.risers(node)
    }

    /// How much it holds.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            detector: self.detector.counts(),
            templates: self.templates.counts(),
            patterns: self.patterns.counts(),
        }
    }

    /// Whether a service is known.
    pub(crate) fn knows(&self, service: &ServiceId) -> bool {
        self.detector.knows(service)
    }

    /// Whether a point of a series is looked at here.
    pub(crate) fn follows(&self, point: &Point) -> bool {
        Detector::follows(point) || self.watched.follows(point)
    }

    /// The model a service has.
    pub(crate) fn model(&self, service: &ServiceId) -> Option<&Arc<Artefact>> {
        self.patterns.model(service)
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
        for sample in rows {
            self.watched.sample(sample);
            self.pattern(sample, traceparent.as_deref(), &mut effects);
        }
        for load in step.loads {
            let known = self.forecasters.entry(load.service.clone()).or_default();
            let (forecaster, tracker) = known;
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
            let sized = self.sizings.observe(&load);
            let (cpu, memory) = (load.busiest_cpu_millicores, load.busiest_memory_bytes);
            let forecast = Forecast {
                startup_s: sized.startup_s,
                sizing: sized.sizing,
                usage: Some(tracker.observe(load.at, cpu, memory)),
                loads: self.watched.loads(&load.service, load.at),
                ..forecast
            };
            effects.push(Effect::Forecast {
                forecast,
                traceparent: traceparent.clone(),
            });
        }
        effects
    }

    /// Scores the row that a sample ends, and has it learned from unless something is known to be wrong with its container.
    fn pattern(&mut self, sample: &Sample, traceparent: Option<&str>, effects: &mut Vec<Effect>) {
        let condition = self.detector.condition(&sample.service, &sample.container);
        if condition == Condition::Unknown {
            return;
        }
        let Some(row) = self.patterns.observe(sample) else {
            return;
        };
        if let Some(score) = self.patterns.score(&row) {
            let signal = self
                .detector
                .pattern(&row.service, &row.container, &score, traceparent);
            effects.extend(signal.map(Effect::Signal));
        }
        if condition == Condition::Sound {
            effects.push(Effect::Learn(row));
        }
    }
}

fn effects(signals: Vec<Signal>) -> Vec<Effect> {
    signals.into_iter().map(Effect::Signal).collect()
}

#[cfg(test)]
mod tests {
    use units::{
        ContainerId, ContainerName, ContainerState, HealthState, LogSeverity, LogStream, Metric,
        MetricRow, SignalKind, SignalPhase, Steady,
    };

    use super::*;

    const START_S: i64 = 1_700_000_000;

    fn sample(second: i64) -> Event {
        let row = Sample {
            at: Timestamp::from_millis((START_S + second) * 1_000),
            steady: Steady::from_millis(1_000 * (second as u64 + 90)),
            node: NodeId::from("node-a"),
            service: ServiceId::from("web"),
            container: ContainerId::from("id-of-web"),
            name: ContainerName::from("web-1"),
            state: ContainerState::Running,
            health: HealthState::None,
            metrics: MetricRow::default(),
        };
        Event::Samples {
            rows: vec![row],
            traceparent: None,
        }
    }

    fn lines(second: i64, count: u64, text: &str) -> Event {
        let line = |number| LogLine {
            at: Timestamp::from_millis((START_S + second) * 1_000),
            node: NodeId::from("node-a"),
            service: ServiceId::from("web"),
            container: ContainerId::from("id-of-web"),
            name: ContainerName::from("web-1"),
            stream: LogStream::Stdout,
            severity: LogSeverity::Info,
            sequence: second as u64 * 1_000 + number,
            lines: 1,
            lost_before: 0,
            limited_before: 0,
            trace_id: None,
            text: format!("{text} {number}"),
            raw: None,
        };
        Event::Logs {
            lines: (0..count).map(line).collect(),
            traceparent: None,
        }
    }

    #[test]
    fn forecasts_tell_what_the_busiest_replica_needs() {
        let mut core = Core::new(Settings::default());
        let mut last = None;
        for second in 0..30 {
            let replica = |name: &str, cpu_per_second: f64, memory: f64| {
                let Event::Samples { mut rows, .. } = sample(second) else {
                    unreachable!("it makes samples");
                };
                let mut row = rows.remove(0);
                row.container = ContainerId::from(name);
                row.metrics
                    .set(Metric::CpuUsage, cpu_per_second * second as f64);
                row.metrics.set(Metric::MemoryWorkingSet, memory);
                row
            };
            let rows = vec![replica("a", 0.1, 90e6), replica("b", 0.4, 60e6)];
            let at = Timestamp::from_millis((START_S + second) * 1_000);
            let event = Event::Samples {
                rows,
                traceparent: None,
            };
            for effect in core.handle(at, NodeWatch::Other, event) {
                if let Effect::Forecast { forecast, .. } = effect {
                    last = Some(forecast);
                }
            }
        }
        let usage = last.and_then(|forecast| forecast.usage).unwrap();
        assert!((399..=401).contains(&usage.cpu.recent_peak.0), "{usage:?}");
        assert_eq!(usage.memory.unwrap().recent_peak.0, 90_000_000);
        assert!(usage.history.as_secs() >= 25, "{usage:?}");
    }

    #[test]
    fn a_storm_of_lines_is_told_with_the_template_of_its_service() {
        let mut core = Core::new(Settings::default());
        let mut told = Vec::new();
        for second in 0..60 {
            let at = Timestamp::from_millis((START_S + second) * 1_000);
            let event = match second < 45 {
                true => lines(second, 2, "request done after ms"),
                false => lines(second, 90, "asking again, attempt"),
            };
            for event in [event, sample(second)] {
                told.extend(core.handle(at, NodeWatch::Other, event));
            }
        }
        let storm = told.iter().find_map(|effect| match effect {
            Effect::Signal(signal) => (signal.kind == SignalKind::LogStorm).then_some(signal),
            Effect::Forecast { .. } | Effect::Learn(_) => None,
        });
        let storm = storm.expect("a storm was told");
        assert_eq!(storm.phase, SignalPhase::Open);
        let named = "\"asking again, attempt <*>\"";
        assert!(storm.reason.contains(named), "{}", storm.reason);
        assert_eq!(core.counts().templates.templates, 2);
    }
}
