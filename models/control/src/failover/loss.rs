//! Whether a node is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{NodeId, Timestamp};

use crate::state::State;

/// A heartbeat may take this long through the log.
const PLAY: Duration = Duration::from_secs(1);

/// Why a node is taken as lost: for how long nothing has been heard of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    /// Since its actuator was last heard, or since this side began to listen.
    pub(super) actuator: Duration,
    /// Since its collector was.
    pub(super) collector: Duration,
    /// How long the leases of its actuator last.
    pub(super) lease: Duration,
}

impl Loss {
    /// When it could be told.
    pub(super) fn shown_at(&self, now: Timestamp) -> Timestamp {
        now - self.actuator.min(self.collector) + self.lease + PLAY
    }
}

/// The nodes that are lost, and what speaks against doing anything about it.
pub(super) struct Losses<'a> {
    pub(super) lost: BTreeMap<&'a NodeId, Loss>,
    /// Why it is left to people, if it is.
    pub(super) common_cause: Option<String>,
}

/// Neither its actuator nor its collector has been heard for a lease, while another actuator has. Heartbeats have one order for all nodes:
/// whoever has read a later one of another node has read all that this one sent before.
pub(super) fn loss(state: &State, node: &NodeId, now: Timestamp) -> Option<Loss> {
    let beats = &state.beats;
    let beat = beats.of(node);
    let lease = lease(state, node);
    let listened = state.fleet.caught_up_at()?.max(beats.steady_since());
    let heard = beat.map_or(listened, |beat| beat.read_at.max(listened));
    let spoke = state.fleet.spoke_at(node)?;
    let silence = lease + PLAY;
    let is_silent = heard + silence <= now && spoke + silence <= now;
    let is_listening = beats.newest() + lease / 2 >= now;
    (is_silent && is_listening).then(|| Loss {
        actuator: now.since(heard),
        collector: now.since(spoke),
        lease,
    })
}

/// Whether a node is lost, as far as can be told of it alone.
pub(crate) fn is_lost(state: &State, node: &NodeId, now: Timestamp) -> bool {
    loss(state, node, now).is_some()
}

/// How long the lease of a node's actuator lasts: as it told, and no less than is configured here.
pub(super) fn lease(state: &State, node: &NodeId) -> Duration {
    let least = state.config.failover.lease;
    let beat = state.beats.of(node);
    beat.map_or(least, |beat| beat.lease.max(least))
}

/// All nodes that are lost.
pub(super) fn losses(state: &State, now: Timestamp) -> Losses<'_> {
    let forgotten = state.config.breaker.node_forgotten;
    // Also those whose actuators a new leader has never heard: with one lost of which something is known, they may have a cause in common.
    let known = state.fleet.known(now - forgotten);
    let known: BTreeSet<&NodeId> = known.map(|it| it.node).collect();
    let lost: BTreeMap<&NodeId, Loss> = known
        .iter()
        .filter_map(|it| Some((*it, loss(state, it, now)?)))
        .collect();
    let common_cause = match lost.is_empty() {
        true => None,
        false => {
            let away = known
                .iter()
                .filter(|it| lost.contains_key(**it) || is_hardly_heard(state, it, now));
            common_cause(state, &known, &away.copied().collect())
        }
    };
    Losses { lost, common_cause }
}

/// Its collector is silent, and its actuator was silent too before it was heard again: a heartbeat that was on its way when the node was
/// lost, and one more of it that was written twice, is not the node's return.
fn is_hardly_heard(state: &State, node: &NodeId, now: Timestamp) -> bool {
    let silence = lease(state, node) + PLAY;
    let spoke = state.fleet.spoke_at(node);
    let Some(spoke) = spoke.filter(|at| *at + silence <= now) else {
        return false;
    };
    let beat = state.beats.of(node);
    beat.is_some_and(|beat| beat.steady_since > spoke)
}

fn common_cause(
    state: &State,
    known: &BTreeSet<&NodeId>,
    lost: &BTreeSet<&NodeId>,
) -> Option<String> {
    let share = state.config.failover.nodes_share;
    let most = (known.len() as f64 * share).ceil() as usize;
    if lost.len() > most {
        return Some(format!(
            "{} of {} nodes are lost at once, and of more than {most} that has one cause more likely than many (controller.failover.nodes_share)",
            lost.len(),
            known.len()
        ));
    }
    let zone = |node: &&NodeId| state.fleet.zone(node);
    let mut zones: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for node in known {
        let Some(zone) = zone(node) else { continue };
        let (nodes, gone) = zones.entry(zone).or_default();
        *nodes += 1;
        *gone += usize::from(lost.contains(node));
    }
    let mut whole = zones
        .iter()
        .filter(|(_, (nodes, gone))| *nodes > 1 && nodes == gone);
    whole.next().map(|(zone, (nodes, _))| {
        format!("all {nodes} nodes of zone {zone} are lost at once, which has one cause more likely than many")
    })
}
