//! What actuators told without being asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{ContainerId, Heartbeat, NodeId, PlanEntry, StandingExport, Timestamp};

/// That something was stopped for want of a lease is remembered so long after it was last told: it explains what its engine tells of it.
const FENCES_REMEMBERED: Duration = Duration::from_secs(600);

/// Heartbeats and standing exports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beats {
    nodes: BTreeMap<NodeId, Beat>,
    /// When the newest one of any node was read.
    newest: Timestamp,
    /// Since when they have been read without a gap: after one, what waited is read one by one, and the first of a node says nothing of
    /// another whose own are yet to be read.
    steady_since: Timestamp,
    exports: BTreeMap<ContainerId, StandingExport>,
    fences: BTreeMap<ContainerId, Fence>,
    /// What actuators did by themselves, as they told last.
    healed: BTreeMap<NodeId, Vec<PlanEntry>>,
}

/// The newest heartbeat of a node.
#[derive(Debug, Clone)]
pub(crate) struct Beat {
    /// When it was read, by the clock of this side: it was not sent later.
    pub(crate) read_at: Timestamp,
    pub(crate) lease: Duration,
    /// When the first one was read of those since, without a gap of half a lease.
    pub(crate) steady_since: Timestamp,
    /// What was stopped and was not started since.
    fenced: BTreeSet<ContainerId>,
}

#[derive(Debug, Clone)]
struct Fence {
    node: NodeId,
    /// By the clock of its node.
    at: Timestamp,
    told_at: Timestamp,
}

impl Beats {
    /// Takes a heartbeat, read now.
    pub(crate) fn apply(&mut self, beat: Heartbeat, now: Timestamp) {
        for fenced in &beat.fenced {
            let fence = Fence {
                node: beat.node.clone(),
                at: fenced.at,
                told_at: now,
            };
            self.fences.insert(fenced.container.clone(), fence);
        }
        let fenced = beat.fenced.into_iter().map(|it| it.container).collect();
        let gap = beat.lease / 2;
        let before = self.nodes.get(&beat.node);
        let before = before.filter(|it| it.read_at + gap >= now);
        let known = Beat {
            read_at: now,
            lease: beat.lease,
            steady_since: before.map_or(now, |it| it.steady_since),
            fenced,
        };
        match beat.healed.is_empty() {
            true => self.healed.remove(&beat.node),
            false => self.healed.insert(beat.node.clone(), beat.healed),
        };
        self.nodes.insert(beat.node, known);
        if self.newest + gap < now {
            self.steady_since = now;
        }
        self.newest = now;
    }

    /// What actuators did by themselves while they were cut off.
    pub(crate) fn healed(&self) -> impl Iterator<Item = &PlanEntry> {
        self.healed.values().flatten()
    }

    /// Takes how a container is made.
    pub(crate) fn exported(&mut self, export: StandingExport) {
        self.exports.insert(export.container.clone(), export);
    }

    /// How it is made is told no more.
    pub(crate) fn gone(&mut self, container: &ContainerId) {
        self.exports.remove(container);
    }

    /// The node is there no more, nor is what ran on it.
    pub(crate) fn remove(&mut self, node: &NodeId) {
        self.nodes.remove(node);
        self.healed.remove(node);
        self.fences.retain(|_, fence| fence.node != *node);
        self.exports.retain(|_, export| export.node != *node);
    }

    /// What of a node is told how it is made.
    pub(crate) fn exports_of(&self, node: &NodeId) -> impl Iterator<Item = &ContainerId> {
        let exports = self.exports.values();
        exports
            .filter(|it| it.node == *node)
            .map(|it| &it.container)
    }

    pub(crate) fn of(&self, node: &NodeId) -> Option<&Beat> {
        self.nodes.get(node)
    }

    /// Since when heartbeats have been read as they were sent.
    pub(crate) fn steady_since(&self) -> Timestamp {
        self.steady_since
    }

    pub(crate) fn newest(&self) -> Timestamp {
        self.newest
    }

    /// How a container of this node is made.
    pub(crate) fn export(&self, node: &NodeId, container: &ContainerId) -> Option<&StandingExport> {
        self.exports.get(container).filter(|it| it.node == *node)
    }

    /// It was stopped because its node's lease was over, and stands still since, as its actuator last told.
    pub(crate) fn is_fenced(&self, node: &NodeId, container: &ContainerId) -> bool {
        let beat = self.nodes.get(node);
        beat.is_some_and(|beat| beat.fenced.contains(container))
    }

    /// When its actuator stopped a container by itself, by the clock of the node.
    pub(crate) fn fenced_at(&self, node: &NodeId, container: &ContainerId) -> Option<Timestamp> {
        let fence = self.fences.get(container)?;
        (fence.node == *node).then_some(fence.at)
    }

    /// Forgets nodes not heard for `forgotten`, and what was started again long ago.
    pub(crate) fn prune(&mut self, now: Timestamp, forgotten: Duration) {
        self.nodes.retain(|_, beat| beat.read_at + forgotten >= now);
        let nodes = &self.nodes;
        self.healed.retain(|node, _| nodes.contains_key(node));
        self.fences
            .retain(|_, fence| fence.told_at + FENCES_REMEMBERED >= now);
    }

    /// What is fenced on this node.
    pub(crate) fn fenced_on(&self, node: &NodeId) -> impl Iterator<Item = &ContainerId> {
        self.nodes.get(node).into_iter().flat_map(|it| &it.fenced)
    }
}
