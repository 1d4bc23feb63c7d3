//! What a core is told, and whom it concerns.

use units::{ContainerEvent, Heartbeat, JournalEntry, NodeId, NodeInventory, Outcome};

use super::Core;
use crate::state::State;

impl Core {
    pub(super) fn inventory(&mut self, inventory: NodeInventory) {
        let node = inventory.node.clone();
        let touched = self.state.fleet.apply(inventory, self.now);
        self.state.images.look(&self.state.fleet, &node);
        // What a node told before it was lost may come after that.
        self.state.replace(touched.iter());
        self.dirty.extend(touched);
    }

    pub(super) fn node_removed(&mut self, node: &NodeId) {
        let touched = self.state.fleet.remove(node);
        self.state.beats.remove(node);
        self.dirty.extend(touched);
    }

    pub(super) fn heartbeat(&mut self, beat: Heartbeat) {
        let node = beat.node.clone();
        self.state.beats.apply(beat, self.now);
        for container in self.state.beats.fenced_on(&node) {
            let on_it = self.state.fleet.on_node(&node);
            let mut fenced = on_it.filter(|it| it.record.id == *container);
            self.dirty
                .extend(fenced.next().map(|it| it.record.service.clone()));
        }
    }

    pub(super) fn forecast(&mut self, forecast: units::Forecast) {
        let config = &self.state.config;
        self.dirty.insert(forecast.service.clone());
        if !forecast.loads.is_empty() {
            let scaled = self.state.fleet.scaled_by(&forecast.service);
            self.dirty.extend(scaled.cloned());
        }
        self.state.loads.apply(
            forecast,
            self.now,
            config.scale.startup,
            config.scale.down_window,
            config.telemetry_stale,
        );
    }

    pub(super) fn container(&mut self, event: ContainerEvent) {
        self.dirty.extend(self.state.ooms.apply(&event));
        let State { people, fleet, .. } = &mut self.state;
        self.dirty.extend(people.apply(fleet, event, self.now));
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        let service = self.state.plans.outcome(outcome);
        self.state.replace(service.iter());
        self.dirty.extend(service);
    }

    pub(super) fn journal(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Plan(entry) => {
                let service = self.state.plans.apply(*entry, self.now);
                self.state.replace(std::iter::once(&service));
                self.dirty.insert(service);
            }
            JournalEntry::Breaker(entry) => {
                self.state.breaker.apply(&entry);
                self.dirty.extend(self.state.fleet.services().cloned());
            }
            JournalEntry::Approval(approval) => {
                let service = self.state.plans.approve(approval);
                self.dirty.extend(service);
            }
            JournalEntry::Update(update) => {
                let service = self.state.orders.apply(update, self.now);
                self.dirty.extend(service);
            }
            JournalEntry::Node(order) => {
                let node = order.node.clone();
                if self.state.node_orders.apply(order) {
                    let on_it = self.state.fleet.on_node(&node);
                    self.dirty.extend(on_it.map(|it| it.record.service.clone()));
                }
            }
        }
    }
}
