//! What is followed without a group, each from its beginning.

use bus::{Bus, BusError, From, Tail, Tailed};
use wire::topic;

/// The nodes' heartbeats, and what people say of signals.
pub(crate) struct Tails {
    inventory: Tail,
    feedback: Tail,
}

impl Tails {
    pub(crate) async fn open(bus: &Bus) -> Result<Self, BusError> {
        Ok(Tails {
            inventory: bus.tail(topic::INVENTORY, From::Beginning).await?,
            feedback: bus.tail(topic::FEEDBACK, From::Beginning).await?,
        })
    }

    /// The next record of either. Nothing is lost when the call is dropped.
    pub(crate) async fn next(&mut self) -> Result<Tailed, BusError> {
        tokio::select! {
            tailed = self.inventory.next() => tailed,
            tailed = self.feedback.next() => tailed,
        }
    }
}
