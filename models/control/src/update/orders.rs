//! What people ordered.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{ServiceId, Timestamp, Update};

/// Services with an order that are remembered; beyond this the earliest order goes first, and is not carried on.
const ORDERS_MAX: usize = 4_096;
/// An order is remembered this long, and the plans of it: what was not finished within [`Update::VALID`] is then taken back. Journals are
/// read so far back.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(Update::VALID.as_secs() + 3_600);

/// The newest order of each service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders(BTreeMap<ServiceId, Update>);

impl Orders {
    /// Takes an order unless a newer one is known. Returns the service when it was news.
    pub(crate) fn apply(&mut self, order: Update, now: Timestamp) -> Option<ServiceId> {
        let known = self.0.get(&order.service);
        let newer = known.is_none_or(|known| (order.at, &order.id) > (known.at, &known.id));
        if !newer || order.at + REMEMBERED < now {
            return None;
        }
        let service = order.service.clone();
        self.0.insert(service.clone(), order);
        if self.0.len() > ORDERS_MAX {
            let earliest = self.0.values().min_by_key(|it| (it.at, it.id.clone()));
            if let Some(service) = earliest.map(|it| it.service.clone()) {
                self.0.remove(&service);
            }
        }
        Some(service)
    }

    /// The newest order of a service.
    pub(crate) fn get(&self, service: &ServiceId) -> Option<&Update> {
        self.0.get(service)
    }

    /// Services with an order.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.0.keys()
    }

    /// Forgets what is over for long.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.0.retain(|_, order| order.at + REMEMBERED >= now);
    }
}
