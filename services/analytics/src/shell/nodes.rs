//! What comes of nodes: heartbeats, their own series, and signals about them. All partitions hear of it.

use std::sync::Arc;

use bus::Tailed;
use detect::Risers;
use tokio::time::Instant;
use units::{NodeId, NodeInventory, Point, Signal, SignalKind};
use wire::topic;

use super::Shell;
use crate::core::Event;
use crate::events::RecordRead;

impl Shell {
    /// Takes a heartbeat, or that a node was taken out.
    pub(super) fn tailed(&mut self, tailed: Tailed) {
        let Tailed::Record(record) = tailed else {
            return;
        };
        RecordRead {
            topic: topic::INVENTORY,
        }
        .emit(&self.meters);
        let numbers: Vec<u32> = self.partitions.keys().copied().collect();
        if wire::is_tombstone(&record) {
            if let Ok(node) = std::str::from_utf8(&record.key) {
                for number in numbers {
                    self.handle(number, Event::NodeRemoved(NodeId::from(node)));
                }
            }
            return;
        }
        match wire::decode::<NodeInventory>(&record) {
            Ok(inventory) => {
                let inventory = Arc::new(inventory);
                let (now, instant) = (self.clock.now(), Instant::now());
                for number in numbers {
                    if let Some(partition) = self.partitions.get(&number) {
                        let stream = partition.stream(now, instant);
                        let inventory = Arc::clone(&inventory);
                        self.handle(number, Event::Inventory { inventory, stream });
                    }
                }
            }
            Err(error) => self.unreadable(&error),
        }
    }

    /// Takes a signal, of which only those about nodes matter here.
    pub(super) fn told(&mut self, tailed: Tailed) {
        let Tailed::Record(record) = tailed else {
            return;
        };
        RecordRead {
            topic: topic::SIGNALS,
        }
        .emit(&self.meters);
        match wire::decode::<Signal>(&record) {
            Ok(signal) if signal.kind == SignalKind::NodePressure => {
                let signal = Arc::new(signal);
                let numbers: Vec<u32> = self.partitions.keys().copied().collect();
                for number in numbers {
                    self.handle(number, Event::NodeSignal(Arc::clone(&signal)));
                }
            }
            Ok(_) => {}
            Err(error) => self.unreadable(&error),
        }
    }

    /// Hands a node's own series over, with the containers on it that may have caused what they show.
    pub(super) fn node_points(
        &mut self,
        number: u32,
        points: Vec<Point>,
        traceparent: Option<String>,
    ) {
        // Containers of one node are in many partitions: all that are here are asked.
        let mut risers = Risers::default();
        if let Some(first) = points.first() {
            for partition in self.partitions.values() {
                risers = risers.merge(partition.risers(&first.node));
            }
        }
        let event = Event::NodePoints {
            points,
            risers,
            traceparent,
        };
        self.handle(number, event);
    }
}
