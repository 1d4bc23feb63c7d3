//! Containers in which the kernel killed a process for want of memory.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{ContainerEvent, ContainerId, EventKind, NodeId, ServiceId, Timestamp};

use crate::fleet::Fleet;

/// Kills are remembered this long.
const REMEMBERED: Duration = Duration::from_secs(2 * 3_600);
/// Containers remembered of one service; beyond this the one killed longest ago goes first, and its limit is not raised for it.
const CONTAINERS_MAX: usize = 256;

/// The last kill of each container, by service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ooms(BTreeMap<ServiceId, BTreeMap<ContainerId, Kill>>);

#[derive(Debug, Clone)]
struct Kill {
    /// By the clock of its node.
    at: Timestamp,
    node: NodeId,
}

impl Ooms {
    /// Remembers a kill; events may come twice and out of order. Returns the service when it was news.
    pub(crate) fn apply(&mut self, event: &ContainerEvent) -> Option<ServiceId> {
        if event.kind != EventKind::OutOfMemory {
            return None;
        }
        let of_service = self.0.entry(event.service.clone()).or_default();
        let known = of_service.get(&event.container);
        if known.is_some_and(|known| known.at >= event.at) {
            return None;
        }
        let kill = Kill {
            at: event.at,
            node: event.node.clone(),
        };
        of_service.insert(event.container.clone(), kill);
        if of_service.len() > CONTAINERS_MAX {
            let first = of_service.iter().min_by_key(|(_, kill)| kill.at);
            if let Some(id) = first.map(|(id, _)| id.clone()) {
                of_service.remove(&id);
            }
        }
        Some(event.service.clone())
    }

    /// When a container was last killed for want of memory, by the clock of this side.
    pub(crate) fn last(
        &self,
        fleet: &Fleet,
        service: &ServiceId,
        container: &ContainerId,
    ) -> Option<Timestamp> {
        let kill = self.0.get(service)?.get(container)?;
        Some(fleet.here(&kill.node, kill.at))
    }

    /// When any container of a service was last killed for want of memory, by the clock of this side.
    pub(crate) fn last_of(&self, fleet: &Fleet, service: &ServiceId) -> Option<Timestamp> {
        let kills = self.0.get(service)?.values();
        kills.map(|kill| fleet.here(&kill.node, kill.at)).max()
    }

    /// Forgets what is long over.
    pub(crate) fn prune(&mut self, fleet: &Fleet, now: Timestamp) {
        self.0.retain(|_, kills| {
            kills.retain(|_, kill| fleet.here(&kill.node, kill.at) + REMEMBERED >= now);
            !kills.is_empty()
        });
    }
}
