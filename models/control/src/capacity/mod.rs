//! The fleet as it is: what its nodes have, what their containers need, whether the loss of a node could be absorbed, and which
//! moves would be worth it. Nothing here acts: people read it, and `relocate` makes the moves that relieve or drain a node.
//!
//! What a container needs is its limit where one is set, else what its service's busiest replica uses. Where neither is known it is
//! unknown, and counted so: a node that holds such a container is trusted with nothing more, and its own loss is at best unknown.
//!
//! - [`picture`] puts nodes and containers into the terms of [`crate::place`];
//! - [`survival`] says of each node what would not fit elsewhere, and why;
//! - [`advice`] finds moves;
//! - [`making`] finds whose replica would have to go for a more important container that has no room.

mod advice;
mod elsewhere;
mod making;
mod picture;
mod refuge;
mod survival;
mod tied;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use units::{ContainerName, NodeCapacity, NodeFacts, NodeId, NodeWanted, ServiceId, Timestamp};

use crate::place::{HostIndex, Movable, Resources};
use crate::state::State;
use picture::Picture;
use tied::Known;

pub(crate) use elsewhere::elsewhere;
pub(crate) use making::{Beside, Making, RoomToMove, Site, Victim, beside, fits};
pub(crate) use picture::takes_room;
pub(crate) use refuge::{Stranger, refuges};

/// Examples named of what is kept for one reason.
const EXAMPLES_MAX: usize = 3;
/// Reasons told for which containers are kept, the most frequent ones; the others are counted together.
const REASONS_MAX: usize = 20;

/// The nodes and the room on them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetCapacity {
    /// Nodes that have not been silent for so long that they are taken as gone, by name.
    pub nodes: Vec<NodeRoom>,
    /// Moves that would be worth it; those of one entry belong together, and each entry supposes that those before it were made.
    pub advice: Vec<Advice>,
    /// What was looked for and not found, in sentences.
    pub remarks: Vec<String>,
    /// Why containers may not be moved, the most frequent reason first.
    pub kept: Vec<Kept>,
}

impl FleetCapacity {
    /// Nodes whose loss the others could not absorb, as far as is known.
    pub fn without_spare(&self) -> usize {
        let lost = |it: &&NodeRoom| it.survives == Survives::No;
        self.nodes.iter().filter(lost).count()
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeRoom {
    /// Its name.
    pub node: NodeId,
    /// Whether it speaks.
    pub hearing: Hearing,
    /// What people want done with it.
    #[serde(default)]
    pub wanted: NodeWanted,
    /// Its zone, cost, labels and architecture.
    #[serde(flatten)]
    pub facts: NodeFacts,
    /// What it has. Absent where it did not say.
    pub capacity: Option<NodeCapacity>,
    /// What its containers need, those left out of which it is not known.
    pub needed: Needed,
    /// Containers that run on it or will.
    pub containers: usize,
    /// Of these, what is opted in to moves and tied to nothing.
    pub movable: usize,
    /// Whether the other nodes could take what is on it, were it lost.
    pub survives: Survives,
    /// Containers that would find no place.
    pub stranded: usize,
    /// The first of these, with why.
    pub examples: Vec<Stranded>,
}

/// Whether a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hearing {
    /// It does.
    Speaks,
    /// It has not for a while.
    Silent,
}

/// What the containers of a node need together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needed {
    /// So much, as far as it is known.
    pub known: NodeCapacity,
    /// Containers of which CPU, memory or what they were made from is not known.
    pub unknown: usize,
}

/// Whether the other nodes could take what is on a node, were it lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survives {
    /// There is a place for everything.
    Yes,
    /// Not for everything.
    No,
    /// There seems to be, and of some containers it is not known what they need.
    Unknown,
}

impl Survives {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Survives::Yes => "yes",
            Survives::No => "no",
            Survives::Unknown => "unknown",
        }
    }
}

/// A container that would find no place if its node were lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stranded {
    /// Its name.
    pub container: ContainerName,
    /// Its service.
    pub service: ServiceId,
    /// Why no other node takes it, the most frequent reason first.
    pub why: Vec<Unfit>,
}

/// A reason why nodes would not take a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfit {
    /// In words.
    pub text: String,
    /// On so many nodes; absent where it is not about nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
}

/// Moves that bring something together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// What for.
    pub kind: AdviceKind,
    /// The node that gives containers away.
    pub node: NodeId,
    /// What it brings, in a sentence.
    pub benefit: String,
    /// In the order in which they are to be made.
    pub moves: Vec<SuggestedMove>,
}

/// What moves are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdviceKind {
    /// To take load off a node that is short.
    Relieve,
    /// To take all that may be moved off a node that people want drained.
    Drain,
    /// To empty a node that the others can do without.
    Empty,
}

/// One container that would change its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuggestedMove {
    /// Its name.
    pub container: ContainerName,
    /// Its service.
    pub service: ServiceId,
    /// From here.
    pub from: NodeId,
    /// To there.
    pub to: NodeId,
    /// What to look at before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caution: Option<String>,
}

/// Containers that may not be moved for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Why, in words.
    pub why: String,
    /// How many.
    pub containers: usize,
    /// The names of the first of them.
    pub examples: Vec<ContainerName>,
}

/// Looks at the whole fleet.
pub(crate) fn of(state: &State, now: Timestamp) -> FleetCapacity {
    let mut picture = Picture::of(state, now);
    let losses = survival::losses(&mut picture);
    let nodes = picture.hosts.indices().zip(losses);
    let nodes = nodes.map(|(host, loss)| room(&picture, host, loss));
    let nodes = nodes.collect();
    let kept = kept(&picture);
    let without_image = without_image(state, &picture);
    let found = advice::find(picture, state, now);
    let mut remarks = found.remarks;
    remarks.extend(without_image);
    FleetCapacity {
        nodes,
        advice: found.advice,
        remarks,
        kept,
    }
}

/// What would be made elsewhere if its node were lost, and can be only where its image happens to be.
fn without_image(state: &State, picture: &Picture<'_>) -> Option<String> {
    let replicas = picture.held.iter().map(|it| it.replica);
    let without = replicas.filter(|it| {
        let export = state.beats.export(it.node, &it.record.id);
        export.is_some_and(|it| !it.image.is_registry())
    });
    let names: Vec<&str> = without.map(|it| it.record.name.as_str()).collect();
    let first = names.first()?;
    let more = match names.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    Some(format!(
        "{first}{more}: should the node be lost, made only where the image is already, since it is in no registry"
    ))
}

/// Moves off nodes, and whose replica is to go for one that has no room to move to.
pub(crate) struct Relief {
    pub(crate) advice: Vec<Advice>,
    pub(crate) room: Option<RoomToMove>,
}

/// Moves that would take load off nodes that are short, and all there is off those that are to be drained.
pub(crate) fn relief(state: &State, making: &mut Making<'_>, now: Timestamp) -> Relief {
    advice::relief_alone(Picture::of(state, now), state, making)
}

/// The share of a node that no container is granted or known to use, of CPU or memory, whichever is less. Nothing where the node does
/// not tell what it has, or of one of its containers it is not known what it needs.
pub(crate) fn free_share(state: &State, node: &NodeId) -> Option<f64> {
    let capacity = state.fleet.capacity(node);
    let whole = Resources::new(capacity.cpu, capacity.memory);
    let mut free = whole;
    for replica in state.fleet.on_node(node).filter(takes_room) {
        let (asks, known) = tied::asks_of(state, &replica);
        match known {
            Known::All => free = free.minus(asks),
            Known::Part => return None,
        }
    }
    let known = whole.cpu.0 > 0 && whole.memory.0 > 0;
    let [cpu, memory] = free.shares(whole);
    known.then(|| cpu.min(memory))
}

fn room(picture: &Picture<'_>, host: HostIndex, loss: survival::Loss) -> NodeRoom {
    let seen = &picture.nodes[host.0];
    let used = picture.hosts.used_on(host);
    let on = picture.hosts.on(host);
    NodeRoom {
        node: seen.node.clone(),
        hearing: seen.hearing,
        wanted: seen.wanted,
        facts: seen.facts.clone(),
        capacity: seen.capacity,
        needed: Needed {
            known: NodeCapacity {
                cpu: used.cpu,
                memory: used.memory,
            },
            unknown: seen.unknown,
        },
        containers: on.len(),
        movable: on.filter(|(_, it)| it.movable == Movable::Yes).count(),
        survives: loss.survives,
        stranded: loss.stranded,
        examples: loss.examples,
    }
}

fn kept(picture: &Picture<'_>) -> Vec<Kept> {
    let mut by_why: BTreeMap<&str, Kept> = BTreeMap::new();
    for held in &picture.held {
        let Some(why) = &held.stays else { continue };
        let kept = by_why.entry(why).or_insert_with(|| Kept {
            why: why.clone(),
            containers: 0,
            examples: Vec::new(),
        });
        kept.containers += 1;
        if kept.examples.len() < EXAMPLES_MAX {
            kept.examples.push(held.replica.record.name.clone());
        }
    }
    let mut kept: Vec<Kept> = by_why.into_values().collect();
    kept.sort_by(|a, b| b.containers.cmp(&a.containers).then(a.why.cmp(&b.why)));
    let others = kept.split_off(kept.len().min(REASONS_MAX));
    if !others.is_empty() {
        kept.push(Kept {
            why: format!("one of {} other reasons", others.len()),
            containers: others.iter().map(|it| it.containers).sum(),
            examples: Vec::new(),
        });
    }
    kept
}
