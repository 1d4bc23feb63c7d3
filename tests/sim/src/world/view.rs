//! What a leader has been told, noted beside the core by the world, with the true times the core cannot know.

use std::collections::BTreeMap;

use control::Event;
use units::{
    ContainerId, ContainerName, EventKind, Fingerprint, NodeId, ServiceId, Severity, SignalPhase,
    Timestamp,
};

use super::log::Author;

/// Changes by people remembered for one service.
const TOUCHES_MAX: usize = 64;

/// A change by a person.
#[derive(Debug, Clone)]
pub(super) struct Touch {
    /// True time.
    pub(super) at: Timestamp,
    /// By the clock of its node.
    pub(super) said_at: Timestamp,
    pub(super) node: NodeId,
    pub(super) container: ContainerId,
    pub(super) name: ContainerName,
}

/// What one leader knows.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) leads_since: Option<Timestamp>,
    /// True time of the newest inventory of each node.
    pub(super) heard: BTreeMap<NodeId, Timestamp>,
    services: BTreeMap<NodeId, Vec<ServiceId>>,
    pub(super) touches: BTreeMap<ServiceId, Vec<Touch>>,
    critical: BTreeMap<Fingerprint, (ServiceId, Timestamp)>,
    over: BTreeMap<Fingerprint, Timestamp>,
}

fn is_touch(kind: &EventKind) -> bool {
    match kind {
        EventKind::Created
        | EventKind::Stopping { .. }
        | EventKind::Paused
        | EventKind::Unpaused
        | EventKind::Updated
        | EventKind::Renamed { .. }
        | EventKind::Removed => true,
        EventKind::Started
        | EventKind::Died { .. }
        | EventKind::OutOfMemory
        | EventKind::Health { .. }
        | EventKind::Gap => false,
    }
}

impl View {
    pub(super) fn read(&mut self, event: &Event, made_at: Timestamp, author: Author) {
        match event {
            Event::Inventory(inventory) => {
                let heard = self.heard.entry(inventory.node.clone()).or_insert(made_at);
                if *heard <= made_at {
                    *heard = made_at;
                    let services = inventory.containers.iter().map(|it| it.service.clone());
                    self.services
                        .insert(inventory.node.clone(), services.collect());
                }
            }
            Event::Container(event) if author == Author::Person && is_touch(&event.kind) => {
                let touches = self.touches.entry(event.service.clone()).or_default();
                touches.push(Touch {
                    at: made_at,
                    said_at: event.at,
                    node: event.node.clone(),
                    container: event.container.clone(),
                    name: event.name.clone(),
                });
                if touches.len() > TOUCHES_MAX {
                    touches.remove(0);
                }
            }
            Event::Signal(signal) => self.signal(signal),
            Event::Container(_)
            | Event::Heartbeat(_)
            | Event::Export(_)
            | Event::ExportGone(_)
            | Event::NodeRemoved(_)
            | Event::Forecast(_)
            | Event::Outcome(_)
            | Event::Journal(_)
            | Event::Recovered
            | Event::Leading(_)
            | Event::Following
            | Event::Tick => {}
        }
    }

    fn signal(&mut self, signal: &units::Signal) {
        let fingerprint = &signal.fingerprint;
        if self
            .over
            .get(fingerprint)
            .is_some_and(|at| *at >= signal.opened_at)
        {
            return;
        }
        if signal.phase == SignalPhase::Resolve {
            self.over.insert(fingerprint.clone(), signal.opened_at);
            self.critical.remove(fingerprint);
        } else if let (Severity::Critical, Some(service)) =
            (signal.severity, &signal.subject.service)
        {
            let known = (service.clone(), signal.opened_at);
            self.critical.insert(fingerprint.clone(), known);
        }
    }

    /// Services there are.
    pub(super) fn service_count(&self) -> usize {
        let mut all: Vec<&ServiceId> = self.services.values().flatten().collect();
        all.sort();
        all.dedup();
        all.len()
    }

    /// Services with critical signals that opened at or after `since`.
    pub(super) fn critical_since(&self, since: Timestamp) -> usize {
        let mut all: Vec<&ServiceId> = self
            .critical
            .values()
            .filter(|(_, opened_at)| *opened_at >= since)
            .map(|(service, _)| service)
            .collect();
        all.sort();
        all.dedup();
        all.len()
    }
}
