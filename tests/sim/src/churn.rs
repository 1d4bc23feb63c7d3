//! Items of one dimension that come and go on equal hosts, which are opened and closed at will.
//!
//! Departures at a time come before arrivals at it. A host without items is closed and costs nothing. Moves are free and instant,
//! and counted. Homeostat's policy places each arrival and plans moves after each departure and every minute; it never knows an end before it comes.

use std::collections::BTreeSet;

use control::moves::{Consolidation, Consolidator};
use control::place::{Aim, ContainerIndex, Host, HostIndex, Hosts, Intake, Placer, Resources};
use units::{Bytes, Millicores, NodeId, Timestamp};

use crate::place::container;

/// A host in the smallest part of it that is told apart.
const HOST_PARTS: u64 = 100_000_000;
const PARTS_PER_PERCENT: f64 = 1_000_000.0;
/// While nothing happens moves are planned every minute, for so many minutes: by then no wait of the policy is still on.
const TICKS_MAX: u32 = 480;
const MS_PER_MINUTE: f64 = 60_000.0;

/// Something that takes a part of a host for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item {
    /// When it comes, in minutes.
    pub start_min: f64,
    /// When it goes, in minutes.
    pub end_min: f64,
    /// What it takes, in per cent of a host.
    pub size_percent: f64,
}

/// What the hosts cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// Host-time against the least that any number of free moves would need.
    pub host_time_ratio: f64,
    /// Moves for each item.
    pub moves_per_item: f64,
    /// Minutes for which hosts were open, added up.
    pub host_time_min: f64,
    /// Items that lasted for any time.
    pub items: usize,
}

/// Why a run cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ChurnError {
    /// Nothing lasts.
    #[error("no item ends after it starts; give at least one that does")]
    NoItems,
    /// It would fit no host.
    #[error("item {at} takes {size_percent} % of a host; give sizes above 0 and up to 100")]
    Size {
        /// Its position, from 0.
        at: usize,
        /// What it takes.
        size_percent: f64,
    },
    /// Not a time.
    #[error("item {at} starts or ends at no finite time; give minutes")]
    Time {
        /// Its position, from 0.
        at: usize,
    },
}

/// Runs Homeostat's policy over the items. Those that end when they start, or before, are left out.
pub fn churn(items: &[Item]) -> Result<Churn, ChurnError> {
    churn_with(items, Consolidation::default())
}

/// As [`churn`], under other settings.
pub fn churn_with(items: &[Item], settings: Consolidation) -> Result<Churn, ChurnError> {
    for (at, item) in items.iter().enumerate() {
        let size_percent = item.size_percent;
        if !(size_percent > 0.0 && size_percent <= 100.0) {
            return Err(ChurnError::Size { at, size_percent });
        }
        if !(item.start_min.is_finite() && item.end_min.is_finite()) {
            return Err(ChurnError::Time { at });
        }
    }
    let lasting = items.iter().filter(|it| it.end_min > it.start_min);
    let mut items: Vec<Item> = lasting.copied().collect();
    if items.is_empty() {
        return Err(ChurnError::NoItems);
    }
    items.sort_by(|a, b| a.start_min.total_cmp(&b.start_min));
    let mut world = World::new(settings);
    let mut before_min = items[0].start_min;
    for (time_min, event) in events(&items) {
        for tick in 1..=TICKS_MAX {
            let tick_min = before_min + f64::from(tick);
            if tick_min >= time_min {
                break;
            }
            world.plans(tick_min);
        }
        before_min = time_min;
        match event {
            Event::Arrives(at) => world.arrives(at, &items[at]),
            Event::Leaves(at) => world.leaves(at, time_min),
        }
    }
    Ok(Churn {
        host_time_ratio: world.host_time_min / bound_min(&items),
        moves_per_item: world.moves as f64 / items.len() as f64,
        host_time_min: world.host_time_min,
        items: items.len(),
    })
}

/// The host-time that even free moves need: at any time all that is there in whole hosts, and at least a host for each item above
/// half of one.
pub fn bound_min(items: &[Item]) -> f64 {
    let mut changes: Vec<(f64, f64)> = Vec::with_capacity(2 * items.len());
    for item in items {
        changes.push((item.start_min, item.size_percent));
        changes.push((item.end_min, -item.size_percent));
    }
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut load, mut large, mut sum) = (0.0_f64, 0.0_f64, 0.0);
    for (at, (time, change)) in changes.iter().enumerate() {
        load += change;
        if change.abs() > 50.0 {
            large += change.signum();
        }
        let next = changes.get(at + 1).map_or(*time, |it| it.0);
        sum += (load / 100.0 - 1e-9).ceil().max(large) * (next - time);
    }
    sum
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Arrives(usize),
    Leaves(usize),
}

/// Everything that happens, in its order.
fn events(items: &[Item]) -> impl Iterator<Item = (f64, Event)> + use<> {
    let mut events: Vec<(f64, u8, Event)> = Vec::with_capacity(2 * items.len());
    for (at, item) in items.iter().enumerate() {
        events.push((item.end_min, 0, Event::Leaves(at)));
        events.push((item.start_min, 1, Event::Arrives(at)));
    }
    // Stable: of what happens at once, the item that came first goes first.
    events.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    events.into_iter().map(|(time, _, event)| (time, event))
}

struct World {
    hosts: Hosts,
    /// When each host was opened, in minutes; absent while it is closed.
    opened: Vec<Option<f64>>,
    placed: Vec<Option<ContainerIndex>>,
    placer: Placer,
    consolidator: Consolidator,
    host_time_min: f64,
    moves: usize,
}

impl World {
    fn new(settings: Consolidation) -> Self {
        World {
            hosts: Hosts::default(),
            opened: Vec::new(),
            placed: Vec::new(),
            placer: Placer::new(Aim::Release, 0.0),
            consolidator: Consolidator::new(settings),
            host_time_min: 0.0,
            moves: 0,
        }
    }

    fn arrives(&mut self, at: usize, item: &Item) {
        let now = item.start_min;
        self.offer_an_empty_host();
        // Rounded down, by less than a part: six sixths of a host fit one.
        let parts = (item.size_percent * PARTS_PER_PERCENT).floor();
        let asks = Resources::new(Millicores((parts as u64).clamp(1, HOST_PARTS)), Bytes(0));
        self.consolidator.arrived(time(now), asks);
        let container = container(at, asks);
        let spare: BTreeSet<HostIndex> = self.consolidator.spare();
        let placement = self
            .placer
            .choose(&mut self.hosts, &container, &spare)
            .expect("an empty host is always there, and every size fits it");
        self.moves += placement.moves.len();
        self.placed.resize(self.placed.len().max(at + 1), None);
        self.placed[at] = Some(self.hosts.add(container, placement.on));
        let opened = &mut self.opened[placement.on.0];
        *opened = Some(opened.unwrap_or(now));
        for step in placement.moves {
            self.close_if_empty(step.from, now);
        }
    }

    fn leaves(&mut self, at: usize, now: f64) {
        let Some((_, from)) = self.placed[at].and_then(|index| self.hosts.remove(index)) else {
            return;
        };
        self.close_if_empty(from, now);
        self.plans(now);
    }

    fn plans(&mut self, now: f64) {
        let moves = self.consolidator.plan(time(now), &mut self.hosts);
        self.moves += moves.len();
        for step in moves {
            self.close_if_empty(step.from, now);
        }
    }

    /// One empty host is offered, no more: the first that was closed, else a new one.
    fn offer_an_empty_host(&mut self) {
        if self.hosts.largest_empty().is_some() {
            return;
        }
        let closed = self.opened.iter().position(Option::is_none);
        match closed.map(HostIndex) {
            Some(host) => self.hosts.set_intake(host, Intake::Open),
            None => {
                let name = NodeId::new(format!("host-{}", self.opened.len()));
                let whole = Resources::new(Millicores(HOST_PARTS), Bytes(1));
                self.hosts.add_host(Host::plain(name, whole));
                self.opened.push(None);
            }
        }
    }

    fn close_if_empty(&mut self, host: HostIndex, now: f64) {
        if self.hosts.on(host).len() > 0 {
            return;
        }
        if let Some(opened) = self.opened[host.0].take() {
            self.host_time_min += now - opened;
            self.hosts.set_intake(host, Intake::Closed);
        }
    }
}

fn time(minutes: f64) -> Timestamp {
    Timestamp::from_millis((minutes * MS_PER_MINUTE).round() as i64)
}

#[cfg(test)]
mod tests;
