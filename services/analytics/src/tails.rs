//! What is followed without a group.

use bus::{Bus, BusError, From, Tail, Tailed};
use wire::topic;

/// The nodes' heartbeats and what people say of signals, from the beginning; and new signals, since a service's partition need
/// not be that of its node. Those are told again while they last. And new models; those there are, are read with the partitions.
pub(crate) struct Tails {
    inventory: Tail,
    feedback: Tail,
    signals: Tail,
    models: Tail,
}

impl Tails {
    pub(crate) async fn open(bus: &Bus) -> Result<Self, BusError> {
        Ok(Tails {
            inventory: bus.tail(topic::INVENTORY, From::Beginning).await?,
            feedback: bus.tail(topic::FEEDBACK, From::Beginning).await?,
            signals: bus.tail(topic::SIGNALS, From::End).await?,
            models: bus.tail(topic::MODELS, From::End).await?,
        })
    }

    /// The next record of any. Nothing is lost when the call is dropped.
    pub(crate) async fn next(&mut self) -> Result<Tailed, BusError> {
        tokio::select! {
            tailed = self.inventory.next() => tailed,
            tailed = self.feedback.next() => tailed,
            tailed = self.signals.next() => tailed,
            tailed = self.models.next() => tailed,
        }
    }
}
