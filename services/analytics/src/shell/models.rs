//! Models of services: those in the log, and those that are trained here.

use std::collections::BTreeSet;
use std::sync::Arc;

use bus::{BusError, Record, partition_of};
use tokio::time::Instant;
use train::Artefact;
use units::ServiceId;
use wire::{TrainedModel, topic};

use super::Shell;
use crate::core::Event;
use crate::events::{ModelUnreadable, Trained};
use crate::learning::{Done, Outcome};
use crate::partition::Partition;

impl Shell {
    /// The models of services in these partitions, each the newest of its service, with the partition.
    pub(super) async fn models(
        &mut self,
        wanted: &BTreeSet<u32>,
    ) -> Result<Vec<(u32, Arc<Artefact>)>, BusError> {
        let records = self.context.bus.read_latest(topic::MODELS).await?;
        let models = records.iter().filter_map(|it| self.model_of(it, wanted));
        Ok(models.collect())
    }

    /// Takes a model that was trained, here or elsewhere.
    pub(super) fn new_model(&mut self, record: &Record) {
        if wire::is_tombstone(record) {
            return;
        }
        let held: BTreeSet<u32> = self.partitions.keys().copied().collect();
        if let Some((number, model)) = self.model_of(record, &held) {
            self.handle(number, Event::Model(model));
            // Whoever goes on from the checkpoint scores by the newest model; so that it scores nothing again that was scored by
            // the one before, the next checkpoint comes at once.
            self.checkpoint_at = Instant::now();
        }
    }

    /// Begins a training when it is time.
    pub(super) fn learn(&mut self) {
        self.forget_strangers();
        let now = self.clock.now();
        let (partitions, count) = (&self.partitions, self.partition_count);
        let home = |service: &ServiceId| partitions.get(&number_of(service, count));
        self.learning
            .start(now, |service| home(service)?.model(service).cloned());
    }

    /// Forgets what is held of services that are gone, or another instance's.
    pub(super) fn forget_strangers(&mut self) {
        let (partitions, count) = (&self.partitions, self.partition_count);
        let home = |service: &ServiceId| partitions.get(&number_of(service, count));
        self.learning
            .retain(|service| home(service).is_some_and(|it: &Partition| it.knows(service)));
    }

    /// Writes the model that came of a training. It is used when it is read back, by all alike.
    pub(super) fn trained(&mut self, done: Done) {
        Trained { done: &done }.emit(&self.meters);
        self.learning.done(&done, self.clock.now());
        match done.outcome {
            Outcome::Taken(model) => self.outbox.push(wire::encode(&*model, &self.meta)),
            Outcome::Kept(_) | Outcome::Failed(_) => {}
        }
    }

    fn model_of(
        &mut self,
        record: &Record,
        wanted: &BTreeSet<u32>,
    ) -> Option<(u32, Arc<Artefact>)> {
        let model: TrainedModel = match wire::decode(record) {
            Ok(model) => model,
            Err(error) => {
                self.unreadable(&error);
                return None;
            }
        };
        let number = number_of(&model.service, self.partition_count);
        if !wanted.contains(&number) {
            return None;
        }
        match Artefact::from_json(model.artefact.to_string().as_bytes()) {
            Ok(artefact) => Some((number, Arc::new(artefact))),
            Err(error) => {
                let service = &model.service;
                ModelUnreadable {
                    service,
                    error: &error,
                }
                .emit();
                None
            }
        }
    }
}

/// All of a service is in one partition.
fn number_of(service: &ServiceId, count: u32) -> u32 {
    partition_of(service.as_str().as_bytes(), count)
}
