//! The detector of one partition: routes records to services and containers, and forgets what is gone.

mod links;
mod nodes;
mod pattern;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    ContainerId, ContainerState, Feedback, LogLine, NodeId, NodeInventory, Sample, ServiceId,
    Severity, Signal, SignalKind, Subject, Timestamp,
};

use crate::clock::{Moment, NodeClock};
use crate::container::{self, Container, ServiceStanding, Surroundings};
use crate::features::Usual;
use crate::feedback::{Bars, node_of, raise};
use crate::gate::Scene;
use crate::rules::node::NodeStanding;
use crate::service::{Service, ServiceLoad};
use crate::settings::Settings;
use crate::telemetry::{self, NODE_FORGOTTEN, Node, NodeWatch, Stream};
use crate::template::LineTemplate;

pub use pattern::Condition;

/// How often the detector looks for containers that fell silent.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// A container without samples for this long, while its node's other ones go on, is gone.
const CONTAINER_FORGOTTEN: Duration = Duration::from_secs(60);
/// To make room, only containers without a sample for this long are given up.
const EVICT_AFTER: Duration = Duration::from_secs(5);
/// An inventory speaks of a container only when it is this much newer than its newest sample.
const INVENTORY_NEWER: Duration = Duration::from_secs(1);

/// Streaming detectors of all services of one partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    services: BTreeMap<ServiceId, Service>,
    nodes: BTreeMap<NodeId, Node>,
    containers: usize,
    evicted: u64,
    swept_at: Timestamp,
    bars: Bars,
    #[serde(skip)]
    settings: Settings,
}

/// What a batch of samples led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// Signals, in the order they came about.
    pub signals: Vec<Signal>,
    /// The load of each service that was due.
    pub loads: Vec<ServiceLoad>,
}

/// How much a detector holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Services.
    pub services: usize,
    /// Containers.
    pub containers: usize,
    /// Series with a baseline.
    pub series: usize,
    /// Containers given up or not taken in since the beginning, for want of room.
    pub evicted: u64,
    /// Raised bars of services that are known.
    pub bars: usize,
    /// Raised bars of nodes. Every detector has these.
    pub node_bars: usize,
    /// Open signals.
    pub open: BTreeMap<(SignalKind, Severity), usize>,
}

impl Detector {
    /// A detector that knows nothing.
    pub fn new(settings: Settings) -> Self {
        Detector {
            settings,
            ..Detector::default()
        }
    }

    /// The same state under these settings; for one that was restored.
    pub fn with_settings(self, settings: Settings) -> Self {
        Detector { settings, ..self }
    }

    /// Whether a service is known.
    pub fn knows(&self, service: &ServiceId) -> bool {
        self.services.contains_key(service)
    }

    /// Takes the rows of one record, in their order. Signals carry the record's trace context.
    pub fn samples(&mut self, batch: &[Sample], traceparent: Option<&str>) -> Step {
        let mut step = Step::default();
        let mut touched: BTreeMap<&ServiceId, (&Sample, Moment)> = BTreeMap::new();
        let mut last = None;
        for sample in batch {
            if let Some(now) = self.observe(sample, traceparent, &mut step.signals) {
                last = Some(now);
                let newest = touched.entry(&sample.service).or_insert((sample, now));
                if now.at > newest.1.at {
                    *newest = (sample, now);
                }
            }
        }
        for (newest, now) in touched.into_values() {
            let around = Surroundings {
                node: self.standing_of(&newest.service, now),
                ..surroundings(&self.settings, traceparent, ServiceStanding::Ordinary)
            };
            if let Some(service) = self.services.get_mut(&newest.service) {
                let load = service.evaluate(newest, now, &around, &mut step.signals);
                step.loads.extend(load);
            }
        }
        if let Some(last) = last {
            self.sweep(last.at, &mut step.signals);
        }
        step
    }

    /// Takes log lines whose templates nobody found, in their order.
    pub fn logs(&mut self, lines: &[LogLine], traceparent: Option<&str>) -> Vec<Signal> {
        let signals = lines.iter().map(|line| self.log(line, None, traceparent));
        signals.flatten().collect()
    }

    /// Takes a log line with its template. Lines of containers without a sample yet are not counted.
    pub fn log(
        &mut self,
        line: &LogLine,
        template: Option<&LineTemplate<'_>>,
        traceparent: Option<&str>,
    ) -> Vec<Signal> {
        let mut signals = Vec::new();
        let node = self.nodes.get(&line.node);
        let clock = node.and_then(|node| node.clock.as_ref());
        let service = self.services.get_mut(&line.service);
        if let (Some(clock), Some(service)) = (clock, service) {
            let now = clock.now().with_run(clock.place_time_of_day(line.at));
            let around = surroundings(&self.settings, traceparent, ServiceStanding::Ordinary);
            service.line(line, template, now, &around, &mut signals);
        }
        signals
    }

    /// Takes a node's heartbeat, received now.
    pub fn inventory(
        &mut self,
        now: Timestamp,
        inventory: &NodeInventory,
        watch: NodeWatch,
        stream: Stream,
    ) -> Vec<Signal> {
        let known = self.nodes.contains_key(&inventory.node);
        if !known && watch == NodeWatch::Other {
            return Vec::new();
        }
        let node = node_of(&mut self.nodes, &self.bars, &inventory.node);
        let mut signals: Vec<Signal> = node
            .beat(now, inventory, &self.settings)
            .into_iter()
            .collect();
        if stream == Stream::Live {
            self.compare_with_inventory(inventory, &mut signals);
        }
        signals
    }

    /// The node was taken out of the inventory: it is not waited for, and what it held is gone.
    pub fn node_removed(&mut self, now: Timestamp, node: &NodeId) -> Vec<Signal> {
        let mut signals = Vec::new();
        self.forget_node(
            now,
            node,
            "the node was taken out of the inventory",
            &mut signals,
        );
        signals
    }

    /// Takes what somebody said of a signal. Whatever the subject, known here or not yet: who comes later finds the bar raised.
    /// What was taken before changes nothing.
    pub fn feedback(&mut self, feedback: &Feedback) {
        let Some(bar) = self.bars.take(feedback) else {
            return;
        };
        match (&bar.subject.service, &bar.subject.node) {
            (Some(service), _) => {
                if let Some(service) = self.services.get_mut(service) {
                    raise(service, bar);
                }
            }
            (None, Some(node)) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.gates.raise(bar);
                }
            }
            (None, None) => {}
        }
    }

    /// Goes on after a time in which nothing was listened to: that silence was not the nodes'.
    pub fn resume(&mut self, now: Timestamp) {
        for node in self.nodes.values_mut() {
            node.heard_at = node.heard_at.map(|_| now);
        }
    }

    /// Looks for nodes that fell silent.
    pub fn tick(&mut self, now: Timestamp, watch: impl Fn(&NodeId) -> NodeWatch) -> Vec<Signal> {
        self.bars.prune_nodes(now);
        let mut signals = Vec::new();
        let mut forgotten = Vec::new();
        for (id, node) in &mut self.nodes {
            if node
                .heard_at
                .is_some_and(|heard_at| now.since(heard_at) >= NODE_FORGOTTEN)
            {
                forgotten.push(id.clone());
            } else if watch(id) == NodeWatch::Owner {
                signals.extend(node.listen(id, now, &self.settings));
            }
        }
        for id in forgotten {
            let why = "the node has been silent for a day and is not waited for any more";
            self.forget_node(now, &id, why, &mut signals);
        }
        signals
    }

    /// How much it holds.
    pub fn counts(&self) -> Counts {
        let (bars, node_bars) = self.bars.count(|service| self.knows(service));
        let mut counts = Counts {
            bars,
            node_bars,
            services: self.services.len(),
            containers: self.containers,
            series: self.containers * (Usual::SERIES + 2) + self.services.len(),
            evicted: self.evicted,
            open: BTreeMap::new(),
        };
        let nodes = self.nodes.values().flat_map(|node| node.gates.open());
        let services = self.services.values().flat_map(|service| {
            let inner = service.containers.values().flat_map(container::open);
            service.gates.open().chain(inner)
        });
        for key in nodes.chain(services) {
            *counts.open.entry(key).or_default() += 1;
        }
        counts
    }

    /// Takes one row and tells when it was read. None when it is passed over: it is none of now, was delivered twice, or there
    /// was no room for its container.
    fn observe(
        &mut self,
        sample: &Sample,
        traceparent: Option<&str>,
        signals: &mut Vec<Signal>,
    ) -> Option<Moment> {
        let node = node_of(&mut self.nodes, &self.bars, &sample.node);
        let now = match &mut node.clock {
            Some(clock) => clock.read(sample.at, sample.steady)?,
            None => {
                let clock = NodeClock::starting(sample.at, sample.steady);
                node.clock.insert(clock).now()
            }
        };
        let known = self
            .services
            .get(&sample.service)
            .and_then(|service| service.containers.get(&sample.container));
        let known = match known {
            Some(container) if now.run <= container.last.run => return None,
            Some(_) => true,
            None => false,
        };
        if !known {
            if !self.admit(sample, now, signals) {
                return None;
            }
            let node = node_of(&mut self.nodes, &self.bars, &sample.node);
            node.containers
                .insert((sample.service.clone(), sample.container.clone()));
        }
        let node = self.standing(&sample.node, now);
        let service = self.services.get_mut(&sample.service)?;
        let around = Surroundings {
            node,
            ..surroundings(&self.settings, traceparent, service.standing())
        };
        let container = service.containers.get_mut(&sample.container)?;
        container.observe(sample, now, &around, signals);
        Some(now)
    }

    /// Takes a container in, at the price of the one that has been silent longest when there is no room.
    fn admit(&mut self, sample: &Sample, now: Moment, signals: &mut Vec<Signal>) -> bool {
        if self.containers >= self.settings.max_containers {
            self.evicted += 1;
            let all = self.services.iter().flat_map(|(service, state)| {
                let stale = move |(id, container): (&ContainerId, &Container)| {
                    (container.last.at, service.clone(), id.clone())
                };
                state.containers.iter().map(stale)
            });
            let Some((last_at, service, id)) = all.min() else {
                return false;
            };
            if now.at.since(last_at) < EVICT_AFTER {
                return false;
            }
            self.remove(
                &service,
                &id,
                now.at,
                "there is no room to track it",
                signals,
            );
        }
        let service = self.services.entry(sample.service.clone()).or_default();
        let mut container = Container::new(sample, now, service.eldest());
        self.bars.meet(service, &sample.service, &mut container);
        service
            .containers
            .insert(sample.container.clone(), container);
        self.containers += 1;
        true
    }

    /// Forgets containers that fell silent while their node's other samples go on.
    fn sweep(&mut self, at: Timestamp, signals: &mut Vec<Signal>) {
        if at.since(self.swept_at) < SWEEP_EVERY && self.swept_at.since(at) < SWEEP_EVERY {
            return;
        }
        self.swept_at = at;
        self.bars.prune_services(at);
        let mut gone = Vec::new();
        for (service, state) in &self.services {
            for (id, container) in &state.containers {
                let node = self.nodes.get(&container.node);
                let clock = node.and_then(|node| node.clock.as_ref());
                let silent = clock.map(|clock| clock.now().since(container.last));
                let told = container.gates.is_open(SignalKind::TelemetryMissing);
                if !told && silent.is_some_and(|silent| silent >= CONTAINER_FORGOTTEN) {
                    gone.push((service.clone(), id.clone()));
                }
            }
        }
        for (service, id) in gone {
            self.remove(&service, &id, at, "the container is gone", signals);
        }
    }

    fn compare_with_inventory(&mut self, inventory: &NodeInventory, signals: &mut Vec<Signal>) {
        let Some(node) = self.nodes.get(&inventory.node) else {
            return;
        };
        let Some(clock) = &node.clock else {
            return;
        };
        let now = clock.place(inventory.at, inventory.steady);
        let listed: BTreeMap<&ContainerId, _> = inventory
            .containers
            .iter()
            .map(|record| (&record.id, record))
            .collect();
        for (service, id) in node.containers.clone() {
            let Some(state) = self.services.get_mut(&service) else {
                continue;
            };
            let Some(container) = state.containers.get_mut(&id) else {
                continue;
            };
            let silent = now.since(container.last);
            if silent <= INVENTORY_NEWER {
                continue;
            }
            let Some(record) = listed.get(&id) else {
                self.remove(&service, &id, now.at, "the container is gone", signals);
                continue;
            };
            let runs = record.state == ContainerState::Running
                && container.state == ContainerState::Running;
            if !runs || silent < self.settings.telemetry_after {
                continue;
            }
            let finding = telemetry::container_silent(&record.name, silent, &self.settings);
            let opened_at = container.last.at + self.settings.telemetry_after;
            let scene = Scene {
                now,
                subject: subject(&service, &id, container),
                ..telemetry::scene(&inventory.node, now.at, &self.settings)
            };
            signals.extend(container.missing(opened_at, finding, &scene));
        }
    }

    fn forget_node(&mut self, now: Timestamp, node: &NodeId, why: &str, signals: &mut Vec<Signal>) {
        let Some(state) = self.nodes.get_mut(node) else {
            return;
        };
        let containers = std::mem::take(&mut state.containers);
        let scene = telemetry::scene(node, now, &self.settings);
        state.gates.resolve_all_but(&[], why, &scene, signals);
        for (service, id) in containers {
            self.remove(&service, &id, now, why, signals);
        }
        self.nodes.remove(node);
    }

    /// Resolves what is open about a container and forgets it; its service too when it was the last one.
    fn remove(
        &mut self,
        service_id: &ServiceId,
        id: &ContainerId,
        at: Timestamp,
        why: &str,
        signals: &mut Vec<Signal>,
    ) {
        let Some(service) = self.services.get_mut(service_id) else {
            return;
        };
        let Some(mut container) = service.containers.remove(id) else {
            return;
        };
        self.containers -= 1;
        let mut scene = Scene {
            now: Moment {
                at,
                run: container.last.run,
            },
            subject: subject(service_id, id, &container),
            ..telemetry::scene(&container.node, at, &self.settings)
        };
        container.end(why, &scene, signals);
        if let Some(node) = self.nodes.get_mut(&container.node) {
            node.containers.remove(&(service_id.clone(), id.clone()));
        }
        if service.containers.is_empty() {
            scene.subject = Subject::service(service_id.clone());
            let why = "its last container is gone";
            service.gates.resolve_all_but(&[], why, &scene, signals);
            self.services.remove(service_id);
        }
    }
}

fn surroundings<'a>(
    settings: &'a Settings,
    traceparent: Option<&'a str>,
    service: ServiceStanding,
) -> Surroundings<'a> {
    Surroundings {
        settings,
        traceparent,
        service,
        node: NodeStanding::default(),
    }
}

fn subject(service: &ServiceId, id: &ContainerId, container: &Container) -> Subject {
    Subject::container(
        service.clone(),
        container.node.clone(),
        id.clone(),
        container.name.clone(),
    )
}
