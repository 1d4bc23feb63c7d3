//! Moves that would be worth it: off a node that is to be drained, off one that is short, and off one that the others can do without.

use std::collections::BTreeSet;

use units::{NodeId, NodeWanted, Ratio, Signal, SignalKind, Timestamp};

use super::making::{self, Making};
use super::picture::Picture;
use super::{Advice, AdviceKind, Hearing, Relief, SuggestedMove, survival};
use crate::moves::{Consolidator, drain, relieve};
use crate::place::{ContainerIndex, HostIndex, Hosts, Intake, Move, room};
use crate::state::State;

/// A node that is short is to give away so much that this share of what it is granted, and of what it has, remains.
const RELIEVED: f64 = 0.8;
/// What it is short of must fall to this share of itself at the most, or the moves are not worth it.
const WORTH: f64 = 0.9;
/// Nodes to empty that are advised at once: each is held against the loss of every other node.
const EMPTIED_MAX: usize = 8;
/// Networks of the engine itself, in which containers do not know one another by name.
const NETWORKS_PLAIN: [&str; 3] = ["bridge", "host", "none"];

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) advice: Vec<Advice>,
    pub(super) remarks: Vec<String>,
}

/// Relief first, then what may be emptied beside it.
pub(super) fn find(mut picture: Picture<'_>, state: &State, now: Timestamp) -> Found {
    let mut found = Found::default();
    distrust(&mut picture);
    drains(&mut picture, &mut found);
    relief(&mut picture, state, &mut found);
    emptying(&mut picture, now, &mut found);
    found
}

/// Relief and nothing else. Who has room made for it goes before all others, and for who has none left room may be made.
pub(super) fn relief_alone(
    mut picture: Picture<'_>,
    state: &State,
    making: &mut Making<'_>,
) -> Relief {
    distrust(&mut picture);
    let mut found = Found {
        advice: making::claimed(&mut picture, state, making),
        remarks: Vec::new(),
    };
    drains(&mut picture, &mut found);
    let short = relief(&mut picture, state, &mut found);
    Relief {
        advice: found.advice,
        room: making::for_a_move(&picture, &short, state, making),
    }
}

/// All that may be moved, off nodes that people want drained; the most important first, for it gets the room.
fn drains(picture: &mut Picture<'_>, found: &mut Found) {
    let to_drain: Vec<HostIndex> = picture
        .hosts
        .indices()
        .filter(|host| {
            let node = &picture.nodes[host.0];
            node.wanted == NodeWanted::Drained && node.hearing == Hearing::Speaks
        })
        .collect();
    let moves = drain(&mut picture.hosts, &to_drain);
    for (host, moves) in to_drain.into_iter().zip(moves) {
        let node = picture.nodes[host.0].node;
        let left = picture.hosts.on(host).len();
        if moves.is_empty() {
            if left > 0 {
                found.remarks.push(format!(
                    "{node} is to be drained, and {left} containers stay on it: no other node takes them, or they may not be moved"
                ));
            }
            continue;
        }
        found.advice.push(Advice {
            kind: AdviceKind::Drain,
            node: node.clone(),
            benefit: format!("{node} is to be drained; {left} containers stay on it then"),
            moves: suggested(picture, &moves),
        });
    }
}

/// A node of which not all is known is trusted with nothing more.
pub(super) fn distrust(picture: &mut Picture<'_>) {
    for host in picture.doubtful().collect::<Vec<_>>() {
        picture.hosts.set_intake(host, Intake::Closed);
    }
}

/// What a node is short of, of what moves can bring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    Cpu,
    Memory,
    /// The signal does not say.
    Either,
}

impl Short {
    /// How much of it is used, by the shares of CPU and memory.
    fn of(self, used: [f64; 2]) -> f64 {
        match self {
            Short::Cpu => used[0],
            Short::Memory => used[1],
            Short::Either => used[0].max(used[1]),
        }
    }

    /// Moves that bring it from here to there are worth it.
    pub(super) fn is_worth(self, before: [f64; 2], after: [f64; 2]) -> bool {
        self.of(after) <= self.of(before) * WORTH
    }
}

/// The share of itself that a node that is short is to be used by at the most.
pub(super) fn relieved_to(hosts: &Hosts, host: HostIndex) -> Ratio {
    let used = hosts.used_on(host).shares(hosts.host(host).capacity);
    Ratio::saturating(used[0].max(used[1]).min(1.0) * RELIEVED)
}

/// Nothing where it is short of something that does not go by what containers are granted.
fn short_of(signal: &Signal) -> Option<Short> {
    let has = |word: &str| signal.evidence.iter().any(|it| it.feature.contains(word));
    if has("node_memory") {
        Some(Short::Memory)
    } else if has("node_cpu") || has("node_tasks") || has("node_load") {
        Some(Short::Cpu)
    } else if signal.evidence.is_empty() {
        Some(Short::Either)
    } else {
        None
    }
}

/// Closes the nodes that are short of anything, and tells them with what says so.
pub(super) fn close_short<'a>(
    picture: &mut Picture<'_>,
    state: &'a State,
) -> Vec<(HostIndex, &'a Signal)> {
    let signals = state.signals.open_about_nodes(SignalKind::NodePressure);
    let mut short: Vec<(HostIndex, &Signal)> = signals
        .filter_map(|signal| Some((picture.host_of(signal.subject.node.as_ref()?)?, signal)))
        .collect();
    short.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.id.cmp(&b.1.id)));
    for (host, _) in &short {
        picture.hosts.set_intake(*host, Intake::Closed);
    }
    short
}

/// The nodes are returned that no moves would relieve, with what they are short of.
fn relief(picture: &mut Picture<'_>, state: &State, found: &mut Found) -> Vec<(HostIndex, Short)> {
    let mut unrelieved = Vec::new();
    for (host, signal) in close_short(picture, state) {
        let node = picture.nodes[host.0].node;
        if picture.nodes[host.0].hearing == Hearing::Silent {
            continue;
        }
        let Some(of) = short_of(signal) else {
            found.remarks.push(format!(
                "{node} is short of what no limit of a container speaks of, so no moves are looked for: {}",
                signal.reason
            ));
            continue;
        };
        match relieved(picture, host, of, signal) {
            Some(advice) => found.advice.push(advice),
            None => {
                found.remarks.push(format!(
                    "no moves of what may be moved would relieve {node}: {}",
                    signal.reason
                ));
                unrelieved.push((host, of));
            }
        }
    }
    unrelieved
}

fn relieved(
    picture: &mut Picture<'_>,
    host: HostIndex,
    of: Short,
    signal: &Signal,
) -> Option<Advice> {
    let capacity = picture.hosts.host(host).capacity;
    let before = picture.hosts.used_on(host).shares(capacity);
    let most = relieved_to(&picture.hosts, host);
    if most.get() <= 0.0 {
        return None;
    }
    let moves = relieve(&mut picture.hosts, host, most);
    let after = picture.hosts.used_on(host).shares(capacity);
    if moves.is_empty() || !of.is_worth(before, after) {
        room::undo(&mut picture.hosts, &moves);
        return None;
    }
    let node = picture.nodes[host.0].node;
    let percent = |share: f64| (share * 100.0).round();
    let benefit = format!(
        "what {node} is asked for falls from {}% of its CPU and {}% of its memory to {}% and {}%: {}",
        percent(before[0]),
        percent(before[1]),
        percent(after[0]),
        percent(after[1]),
        signal.reason
    );
    Some(Advice {
        kind: AdviceKind::Relieve,
        node: node.clone(),
        benefit,
        moves: suggested(picture, &moves),
    })
}

/// Nodes that the others can do without, one after the other, for as long as the loss of no other becomes worse to bear.
fn emptying(picture: &mut Picture<'_>, now: Timestamp, found: &mut Found) {
    let silent = picture.nodes.iter();
    let silent = silent.filter(|it| it.hearing == Hearing::Silent).count();
    if silent > 0 {
        let remark =
            "no node is looked at to be emptied while one is silent: the others may be needed";
        found.remarks.push(remark.to_owned());
        return;
    }
    let moves = Consolidator::default().plan(now, &mut picture.hosts);
    room::undo(&mut picture.hosts, &moves);
    let mut rest: Vec<HostIndex> = picture.hosts.indices().collect();
    let used = |picture: &Picture<'_>, hosts: &[HostIndex]| {
        let in_use = hosts.iter().filter(|it| picture.hosts.on(**it).len() > 0);
        in_use.count()
    };
    let mut in_use = used(picture, &rest);
    let before = survival::doubtful(picture, &rest);
    for moves in moves.chunk_by(|a, b| a.from == b.from).take(EMPTIED_MAX) {
        let host = moves[0].from;
        for step in moves {
            picture.hosts.relocate(step.container, step.to);
        }
        let intake = picture.hosts.host(host).intake;
        picture.hosts.set_intake(host, Intake::Closed);
        rest.retain(|it| *it != host);
        let node = picture.nodes[host.0].node;
        if survival::doubtful(picture, &rest) > before {
            room::undo(&mut picture.hosts, moves);
            picture.hosts.set_intake(host, intake);
            found.remarks.push(format!(
                "{node} could be emptied, and is needed: without it the loss of another node could not be absorbed"
            ));
            return;
        }
        let cost = match picture.nodes[host.0].facts.cost {
            Some(cost) => format!(", and it costs {cost} times an ordinary one"),
            None => String::new(),
        };
        found.advice.push(Advice {
            kind: AdviceKind::Empty,
            node: node.clone(),
            benefit: format!(
                "{node} holds nothing then: {} nodes in use instead of {in_use}{cost}; the loss of any other is borne as before",
                in_use - 1
            ),
            moves: suggested(picture, moves),
        });
        in_use -= 1;
    }
}

pub(super) fn suggested(picture: &Picture<'_>, moves: &[Move]) -> Vec<SuggestedMove> {
    let node = |host: HostIndex| -> NodeId { picture.nodes[host.0].node.clone() };
    let suggested = moves.iter().map(|step| {
        let record = picture.held[step.container.0].replica.record;
        SuggestedMove {
            container: record.name.clone(),
            service: record.service.clone(),
            from: node(step.from),
            to: node(step.to),
            caution: caution(picture, step.container),
        }
    });
    suggested.collect()
}

/// A network of an engine ends at its host: who is in one with others is cut off from them by a move.
pub(super) fn caution(picture: &Picture<'_>, index: ContainerIndex) -> Option<String> {
    let networks = |index: ContainerIndex| -> BTreeSet<&str> {
        let spec = picture.held[index.0].replica.record.spec.as_deref();
        let names = spec.into_iter().flat_map(|it| &it.networks);
        let names = names.map(|it| it.name.as_str());
        names.filter(|it| !NETWORKS_PLAIN.contains(it)).collect()
    };
    let own = networks(index);
    if own.is_empty() {
        return None;
    }
    let node = picture.held[index.0].replica.node;
    // Containers are held in the order of their nodes.
    let first = picture.held.partition_point(|it| it.replica.node < node);
    let end = picture.held.partition_point(|it| it.replica.node <= node);
    let others = (first..end).filter(|at| *at != index.0);
    let others = others
        .filter(|at| !networks(ContainerIndex(*at)).is_disjoint(&own))
        .count();
    let names = own.into_iter().collect::<Vec<_>>().join(", ");
    (others > 0).then(|| {
        format!("it leaves the network {names}, which it shares with {others} others of {node}; unless that network spans hosts, they no longer reach one another by name")
    })
}
