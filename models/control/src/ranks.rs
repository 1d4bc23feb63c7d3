//! How important containers and services are beside one another: their priorities, counted.

use std::collections::BTreeMap;

use units::{ContainerRecord, ServiceId};

/// So many containers of each priority.
type Counts = BTreeMap<u32, usize>;

/// Containers by priority, of all services and of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranks {
    all: Counts,
    of: BTreeMap<ServiceId, Counts>,
}

impl Ranks {
    pub(crate) fn add(&mut self, record: &ContainerRecord) {
        let priority = record.policy.priority;
        *self.all.entry(priority).or_default() += 1;
        let of_service = match self.of.get_mut(&record.service) {
            Some(known) => known,
            None => self.of.entry(record.service.clone()).or_default(),
        };
        *of_service.entry(priority).or_default() += 1;
    }

    pub(crate) fn remove(&mut self, record: &ContainerRecord) {
        let priority = record.policy.priority;
        fewer(&mut self.all, priority);
        if let Some(of_service) = self.of.get_mut(&record.service) {
            fewer(of_service, priority);
            if of_service.is_empty() {
                self.of.remove(&record.service);
            }
        }
    }

    /// All have the same: nobody goes first.
    pub(crate) fn is_level(&self) -> bool {
        self.all.len() <= 1
    }

    /// The highest of a service's containers; none where there are none.
    pub(crate) fn highest(&self, service: &ServiceId) -> Option<u32> {
        Some(*self.of.get(service)?.last_key_value()?.0)
    }

    /// The lowest.
    pub(crate) fn lowest(&self, service: &ServiceId) -> Option<u32> {
        Some(*self.of.get(service)?.first_key_value()?.0)
    }
}

fn fewer(counts: &mut Counts, priority: u32) {
    if let Some(count) = counts.get_mut(&priority) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&priority);
        }
    }
}
