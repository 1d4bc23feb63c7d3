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

/// The nodes that are lost, and what speaks against doing anything about it.
pub(super) struct Losses<'a> {
    pub(super) lost: BTreeMap<&'a NodeId, Loss>,
    /// Why it is left to people, if it is.
    pub(super) common_cause: Option<String>,
}

/// Neither its actuator nor its collector has been heard for a lease, while another actuator has. Heartbeats have one order for all nodes:
/// whoever has read a later one of another node has read all that this one sent before.
fn loss(state: &State, node: &NodeId, now: Timestamp) -> Option<Loss> {
    let beats = &state.beats;
    let beat = beats.of(node);
    let lease = lease(state, node);
    let caught_up = state.fleet.caught_up_at()?;
    let heard = beat.map_or(caught_up, |beat| beat.read_at.max(caught_up));
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

/// How long the lease of a node's actuator lasts: as it told, and no less than is configured here.
pub(super) fn lease(state: &State, node: &NodeId) -> Duration {
    let least = state.config.failover.lease;
    let beat = state.beats.of(node);
    beat.map_or(least, |beat| beat.lease.max(least))
}

/// All nodes that are lost.
pub(super) fn losses(state: &State, now: Timestamp) -> Losses<'_> {
    let forgotten = state.config.breaker.node_forgotten;
    let known: BTreeSet<&NodeId> = state
        .beats
        .heard(now - forgotten)
        .chain(state.beats.tellers())
        .filter(|it| {
            let spoke = state.fleet.spoke_at(it);
            spoke.is_some_and(|at| at + forgotten >= now)
        })
        .collect();
    let lost: BTreeMap<&NodeId, Loss> = known
        .iter()
        .filter_map(|it| Some((*it, loss(state, it, now)?)))
        .collect();
    let common_cause = common_cause(state, &known, &lost);
    Losses { lost, common_cause }
}

fn common_cause(
    state: &State,
    known: &BTreeSet<&NodeId>,
    lost: &BTreeMap<&NodeId, Loss>,
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
        *gone += usize::from(lost.contains_key(node));
    }
    let mut whole = zones
        .iter()
        .filter(|(_, (nodes, gone))| *nodes > 1 && nodes == gone);
    whole.next().map(|(zone, (nodes, _))| {
        format!("all {nodes} nodes of zone {zone} are lost at once, which has one cause more likely than many")
    })
}
