//! What all partitions hear of: heartbeats, feedback, and signals about nodes; models of services; and what comes of a node's own series.

use std::sync::Arc;

use bus::{Record, Tailed};
use detect::Risers;
use tokio::time::Instant;
use units::{Feedback, NodeId, NodeInventory, Point, Signal, SignalKind};
use wire::topic;

use super::Shell;
use crate::core::Event;
use crate::events::{FeedbackHeard, RecordRead};

impl Shell {
    /// Takes a record of a topic that is followed without a group.
    pub(super) fn tailed(&mut self, tailed: Tailed) {
        let Tailed::Record(record) = tailed else {
            return;
        };
        RecordRead {
            topic: &record.position.topic,
        }
        .emit(&self.meters);
        match &*record.position.topic {
            topic::FEEDBACK => self.feedback(&record),
            topic::SIGNALS => self.node_signal(&record),
            topic::MODELS => self.new_model(&record),
            _ => self.inventory(&record),
        }
    }

    fn feedback(&mut self, record: &Record) {
        match wire::decode::<Feedback>(record) {
            Ok(feedback) => {
                let feedback = Arc::new(feedback);
                FeedbackHeard {
                    feedback: &feedback,
                }
                .emit();
                self.feedback.push(&feedback);
                self.handle_all(|| Event::Feedback(Arc::clone(&feedback)));
            }
            Err(error) => self.unreadable(&error),
        }
    }

    /// Of all signals only those about nodes matter here.
    fn node_signal(&mut self, record: &Record) {
        match wire::decode::<Signal>(record) {
            Ok(signal) if signal.kind == SignalKind::NodePressure => {
                let signal = Arc::new(signal);
                self.handle_all(|| Event::NodeSignal(Arc::clone(&signal)));
            }
            Ok(_) => {}
            Err(error) => self.unreadable(&error),
        }
    }

    fn inventory(&mut self, record: &Record) {
        if wire::is_tombstone(record) {
            if let Ok(node) = std::str::from_utf8(&record.key) {
                self.handle_all(|| Event::NodeRemoved(NodeId::from(node)));
            }
            return;
        }
        match wire::decode::<NodeInventory>(record) {
            Ok(inventory) => {
                let inventory = Arc::new(inventory);
                let (now, instant) = (self.clock.now(), Instant::now());
                let numbers: Vec<u32> = self.partitions.keys().copied().collect();
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

    fn handle_all(&mut self, event: impl Fn() -> Event) {
        let numbers: Vec<u32> = self.partitions.keys().copied().collect();
        for number in numbers {
            self.handle(number, event());
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
