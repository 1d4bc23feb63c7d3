//! What nodes tell of themselves, and what they are short of.

use units::{NodeId, Point, ServiceId, Signal, SignalKind};

use super::Detector;
use crate::clock::{Moment, NodeClock};
use crate::rules::node::{self, NodeStanding, Resource, Risers};
use crate::rules::page::Page;
use crate::rules::{answers, app};
use crate::telemetry;

impl Detector {
    /// Whether a series is one that [`Detector::node_points`] looks at: those of nodes themselves, and of applications the ones that
    /// count errors or time calls, as they themselves or a balancer tell.
    pub fn follows(point: &Point) -> bool {
        point.service.is_none() || app::is_followed(point) || answers::is_followed(point)
    }

    /// Takes the series of nodes themselves, at one time each, and what applications tell of themselves. `risers` are the containers whose use rose most on those nodes, of
    /// all that the caller knows of.
    pub fn node_points(
        &mut self,
        points: &[Point],
        risers: &Risers,
        traceparent: Option<&str>,
    ) -> Vec<Signal> {
        let mut signals = Vec::new();
        let of = |it: &Point| (it.steady, it.service.is_some());
        let same = |a: &Point, b: &Point| a.node == b.node && of(a) == of(b);
        for points in points.chunk_by(same) {
            match points.iter().any(|point| point.service.is_some()) {
                true => self.app_points(points, traceparent, &mut signals),
                false => signals.extend(self.node_page(points, risers, traceparent)),
            }
        }
        for signal in &signals {
            self.node_signal(signal);
        }
        signals
    }

    /// Takes what was told of a node's shortages, here or elsewhere: a service's partition need not be that of its node.
    pub fn node_signal(&mut self, signal: &Signal) {
        let node = signal.subject.node.as_ref();
        if let Some(state) = node.and_then(|node| self.nodes.get_mut(node)) {
            state.shortage.hear(signal);
        }
    }

    /// The containers known here whose use rose most on a node.
    pub fn risers(&self, node: &NodeId) -> Risers {
        let Some(state) = self.nodes.get(node) else {
            return Risers::default();
        };
        let known = state.containers.iter().filter_map(|(service, id)| {
            let service = self.services.get(service)?;
            service.containers.get(id)
        });
        known.fold(Risers::default(), |risers, container| {
            container.rises(risers)
        })
    }

    fn node_page(
        &mut self,
        points: &[Point],
        risers: &Risers,
        traceparent: Option<&str>,
    ) -> Option<Signal> {
        let first = points.first()?;
        let state = self.nodes.entry(first.node.clone()).or_default();
        // Its own clock: that of the samples tells which containers fell silent.
        let now = match &mut state.series_clock {
            Some(clock) => clock.read(first.at, first.steady)?,
            None => {
                let clock = NodeClock::starting(first.at, first.steady);
                state.series_clock.insert(clock).now()
            }
        };
        let page = Page::read(points);
        state.memory_available = page.memory_available.or(state.memory_available);
        let mut scene = telemetry::scene(&first.node, now.at, &self.settings);
        scene.now = now;
        scene.traceparent = traceparent;
        let kind = SignalKind::NodePressure;
        let lasting = state.gates.held(kind, now);
        let reading = state.load.read(&first.node, now, &page, risers, lasting);
        state.gates.step(kind, reading, node::CONFIRM, &scene)
    }

    /// How a node stands, for the containers on it.
    pub(super) fn standing(&self, node: &NodeId, now: Moment) -> NodeStanding {
        let Some(state) = self.nodes.get(node) else {
            return NodeStanding::default();
        };
        NodeStanding {
            cpu: state.shortage.supply(Resource::Cpu, now.at),
            memory: state.shortage.supply(Resource::Memory, now.at),
            memory_left: state.memory_available.or(state.memory_total),
            io: state.shortage.supply(Resource::Io, now.at),
            io_told: state.load.io(now.at),
        }
    }

    /// How the nodes stand that a service's replicas are on: short when one of them is.
    pub(super) fn standing_of(&self, service: &ServiceId, now: Moment) -> NodeStanding {
        let containers = self.services.get(service).into_iter();
        let mut containers = containers.flat_map(|service| service.containers.values());
        let short = containers.find_map(|container| {
            let standing = self.standing(&container.node, now);
            (standing.cpu == node::Supply::Short).then_some(standing)
        });
        short.unwrap_or_default()
    }
}
