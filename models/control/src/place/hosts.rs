//! The fleet as it will be, with an index by free room.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use units::ServiceId;

use super::{Container, Host, Intake, Resources};

/// A host of [`Hosts`], in the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostIndex(pub usize);

/// A container of [`Hosts`], in the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerIndex(pub usize);

/// A container that changes its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Move {
    /// Which.
    pub container: ContainerIndex,
    /// From here.
    pub from: HostIndex,
    /// To there.
    pub to: HostIndex,
}

/// One host with what is on it.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) host: Host,
    pub(super) used: Resources,
    /// What is not used; none where more was granted than there is.
    pub(super) free: Resources,
    /// In the order of arrival.
    pub(super) containers: BTreeSet<ContainerIndex>,
    pub(super) services: BTreeMap<ServiceId, u32>,
    pub(super) ports: BTreeSet<u16>,
}

/// Hosts, and the containers on them.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    pub(super) slots: Vec<Slot>,
    containers: Vec<Option<(Container, HostIndex)>>,
    /// Hosts by their free room. Equal hosts that are equally full stand together, so that a choice meets each kind once.
    by_free: BTreeMap<Resources, BTreeSet<HostIndex>>,
    empty: BTreeSet<(Resources, HostIndex)>,
    /// Replicas of a service in each zone; zones without any are counted by `zones`.
    spread: HashMap<ServiceId, BTreeMap<String, u32>>,
    zones: BTreeMap<String, u32>,
    largest: Resources,
    capacity: Resources,
    used: Resources,
}

impl Hosts {
    /// A fleet of these hosts, empty.
    pub fn new(hosts: impl IntoIterator<Item = Host>) -> Self {
        let mut fleet = Hosts::default();
        for host in hosts {
            fleet.add_host(host);
        }
        fleet
    }

    /// Adds an empty host.
    pub fn add_host(&mut self, host: Host) -> HostIndex {
        let index = HostIndex(self.slots.len());
        let free = host.capacity;
        self.largest = self.largest.or_more(free);
        self.capacity = self.capacity.plus(free);
        *self.zones.entry(host.zone.clone()).or_default() += 1;
        self.slots.push(Slot {
            host,
            used: Resources::default(),
            free,
            containers: BTreeSet::new(),
            services: BTreeMap::new(),
            ports: BTreeSet::new(),
        });
        self.reindex(index, |_| ());
        index
    }

    /// Opens a host for containers, or closes it; what is on it stays.
    pub fn set_intake(&mut self, index: HostIndex, intake: Intake) {
        self.reindex(index, |slot| slot.host.intake = intake);
    }

    /// Puts a container on a host, whatever the filter says of it: it may be there already.
    pub fn add(&mut self, container: Container, on: HostIndex) -> ContainerIndex {
        let index = ContainerIndex(self.containers.len());
        self.containers.push(None);
        self.attach(index, container, on);
        index
    }

    /// Takes a container away; nothing is returned for one that has gone.
    pub fn remove(&mut self, index: ContainerIndex) -> Option<(Container, HostIndex)> {
        let (container, on) = self.containers.get_mut(index.0)?.take()?;
        self.reindex(on, |slot| {
            slot.used = slot.used.minus(container.asks);
            slot.containers.remove(&index);
            for port in &container.needs.ports {
                slot.ports.remove(port);
            }
            less(&mut slot.services, &container.service);
        });
        let zone = self.slots[on.0].host.zone.clone();
        if let Some(zones) = self.spread.get_mut(&container.service) {
            less(zones, &zone);
        }
        self.used = self.used.minus(container.asks);
        Some((container, on))
    }

    /// Takes a container to another host; nothing happens to one that has gone.
    pub fn relocate(&mut self, index: ContainerIndex, to: HostIndex) -> Option<Move> {
        let (container, from) = self.remove(index)?;
        self.attach(index, container, to);
        Some(Move {
            container: index,
            from,
            to,
        })
    }

    fn attach(&mut self, index: ContainerIndex, container: Container, on: HostIndex) {
        self.reindex(on, |slot| {
            slot.used = slot.used.plus(container.asks);
            slot.containers.insert(index);
            slot.ports.extend(&container.needs.ports);
            *slot.services.entry(container.service.clone()).or_default() += 1;
        });
        let zones = self.spread.entry(container.service.clone()).or_default();
        *zones.entry(self.slots[on.0].host.zone.clone()).or_default() += 1;
        self.used = self.used.plus(container.asks);
        self.containers[index.0] = Some((container, on));
    }

    fn reindex(&mut self, on: HostIndex, change: impl FnOnce(&mut Slot)) {
        let slot = &mut self.slots[on.0];
        if let Some(equals) = self.by_free.get_mut(&slot.free) {
            equals.remove(&on);
            if equals.is_empty() {
                self.by_free.remove(&slot.free);
            }
        }
        self.empty.remove(&(slot.host.capacity, on));
        change(slot);
        slot.free = slot.host.capacity.minus(slot.used);
        self.by_free.entry(slot.free).or_default().insert(on);
        if slot.containers.is_empty() && slot.host.intake == Intake::Open {
            self.empty.insert((slot.host.capacity, on));
        }
    }

    /// Every host.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = HostIndex> + use<> {
        (0..self.slots.len()).map(HostIndex)
    }

    /// The host at `index`, which must be one of this fleet's.
    pub fn host(&self, index: HostIndex) -> &Host {
        &self.slots[index.0].host
    }

    /// What is free on a host of this fleet.
    pub fn free(&self, index: HostIndex) -> Resources {
        self.slots[index.0].free
    }

    /// What is used on a host of this fleet.
    pub fn used_on(&self, index: HostIndex) -> Resources {
        self.slots[index.0].used
    }

    /// The containers on a host of this fleet, in the order of arrival.
    pub fn on(
        &self,
        index: HostIndex,
    ) -> impl ExactSizeIterator<Item = (ContainerIndex, &Container)> {
        self.slots[index.0].containers.iter().map(|&container| {
            let (it, _) = self.containers[container.0]
                .as_ref()
                .expect("a host lists only containers that are there");
            (container, it)
        })
    }

    /// A container and its host; nothing for one that has gone.
    pub fn container(&self, index: ContainerIndex) -> Option<(&Container, HostIndex)> {
        let (container, on) = self.containers.get(index.0)?.as_ref()?;
        Some((container, *on))
    }

    /// Of each resource the most that any host has.
    pub fn largest(&self) -> Resources {
        self.largest
    }

    /// What all hosts have.
    pub fn capacity(&self) -> Resources {
        self.capacity
    }

    /// What all containers were granted.
    pub fn used(&self) -> Resources {
        self.used
    }

    /// The largest open host with nothing on it, first of equals.
    pub fn largest_empty(&self) -> Option<HostIndex> {
        let whole = self.largest;
        let mut kinds: Vec<Resources> = Vec::new();
        let mut at = self.empty.last().map(|&(capacity, _)| capacity);
        while let Some(capacity) = at {
            kinds.push(capacity);
            let below = self.empty.range(..(capacity, HostIndex(0))).next_back();
            at = below.map(|&(capacity, _)| capacity);
        }
        let largest = kinds
            .into_iter()
            .max_by(|a, b| a.size(whole).total_cmp(&b.size(whole)))?;
        let from = (largest, HostIndex(0));
        self.empty.range(from..).next().map(|&(_, index)| index)
    }

    /// Groups of hosts with the same free room, from the least CPU on that suffices for `asks`.
    pub(crate) fn with_room(
        &self,
        asks: Resources,
    ) -> impl DoubleEndedIterator<Item = (Resources, &BTreeSet<HostIndex>)> {
        let least = Resources::new(asks.cpu, units::Bytes(0));
        self.by_free
            .range(least..)
            .filter(move |(free, _)| asks.fits(**free))
            .map(|(free, hosts)| (*free, hosts))
    }

    /// Whether a service has a replica on a host other than this one.
    pub(crate) fn runs_elsewhere(&self, service: &ServiceId, than: HostIndex) -> bool {
        let here = self.slots[than.0].services.get(service).copied();
        let zones = self.spread.get(service).into_iter().flatten();
        zones.map(|(_, count)| *count).sum::<u32>() > here.unwrap_or(0)
    }

    /// The share of the services it talks to that have no replica in the zone of this host.
    pub(crate) fn peers_away(&self, container: &Container, on: HostIndex) -> f64 {
        let (peers, zone) = (&container.needs.peers, &self.host(on).zone);
        let away = peers.iter().filter(|it| self.replicas_in(it, zone).0 == 0);
        away.count() as f64 / peers.len().max(1) as f64
    }

    /// How many of a service's replicas a zone has, and how many the zone that has fewest.
    pub(super) fn replicas_in(&self, service: &ServiceId, zone: &str) -> (u32, u32) {
        let Some(counts) = self.spread.get(service) else {
            return (0, 0);
        };
        let count = |zone: &str| counts.get(zone).copied().unwrap_or(0);
        let fewest = self.zones.keys().map(|zone| count(zone)).min();
        (count(zone), fewest.unwrap_or(0))
    }
}

/// Counts one less, and forgets what is none.
fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
