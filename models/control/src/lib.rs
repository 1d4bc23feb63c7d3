//! The decision core: what to restart, resize, add or remove, when, and whether it helped.
//!
//! [`Core`] is a pure state machine. It is told everything that happens as an [`Event`] with the time, and answers with
//! [`Effect`]s in the order in which they must be written: a plan's `Decided` entry before its commands. Its state follows from
//! the topics alone (journal, inventory, signals, outcomes, forecasts, container events), each fact carrying its own time, so a
//! controller that reads them again, in any order between topics and with duplicates, stands where the one before it stood.
//!
//! What it decides:
//! - heal: a restart for an unhealthy, hung or running-away container ([`config::Heal`]), what it needs first, and for one that lost
//!   the network it shares; where restarts do not help and the label allows it, a roll back or one new container, then one on another
//!   node, then out of its networks, then people;
//! - resize: limits raised where they are too low, which comes before a replica more, and lowered patiently, within
//!   `io.homeostat.limits` ([`config::Resize`]);
//! - scale: replicas added quickly and removed patiently, within `io.homeostat.scale` ([`config::Scale`]); where that allows none, the
//!   last one of an idle service stopped, and started once somebody asks for it;
//! - update: another image for a service when a person orders it, one container at a time, and back when it is no good
//!   ([`config::Update`]);
//! - relocate: a container moved off a node that is short, or that people want drained, the new one first ([`config::Relocate`]);
//! - failover: what ran on a lost node made elsewhere, and the old one taken away when that is back ([`config::Failover`]);
//! - make room: a replica that is more than its service promises goes where a more important one has no room (`preempt`);
//! - undo: what a verdict found to have made things worse.
//!
//! Where several want the same, the one of higher priority goes first.
//!
//! What stops it: the mode, people at work on a service, budgets, the common-cause breaker, and the ledger of what does not help.
//!
//! Apart from the core stands [`sizing`]: the replicas one service needs for a promise, from the load of every second. It runs where
//! those seconds are seen; the core goes by what a forecast says of it.
//!
//! Beside its decisions it tells what room there is ([`Core::capacity`]): whether the loss of each node could be absorbed, and which
//! moves would be worth it, found by [`place`] and [`moves`]. Those that relieve or drain a node are made; the others are advice.
//!
//! What it does not do: it reads no clock, writes nothing, and adds no replica on a node that has none of the service; only a move
//! brings one there.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod breaker;
mod budget;
mod came;
mod capacity;
mod clock_error;
pub mod config;
mod core;
mod depends;
mod draft;
mod escalate;
mod event;
mod failover;
mod fleet;
mod further;
mod grow;
mod heal;
mod idle;
mod images;
mod isolate;
mod judge;
mod ledger;
mod loads;
mod measure;
pub mod moves;
mod node_orders;
mod ooms;
mod pace;
mod people;
pub mod place;
mod plans;
mod preempt;
mod ranks;
mod reattach;
mod recreated;
mod relocate;
mod resize;
mod scale;
mod shrink;
mod signals;
pub mod sizing;
mod spread;
mod state;
mod status;
mod turns;
mod undo;
mod unsettled;
mod update;
mod why_not;

pub use capacity::{
    Advice, AdviceKind, FleetCapacity, Hearing, Kept, Needed, NodeRoom, Stranded, SuggestedMove,
    Survives, Unfit,
};
pub use config::Config;
pub use core::Core;
pub use event::{Effect, Event};
pub use status::{FleetStatus, ServiceCount, Status};
pub use update::{UpdatePhase, UpdateStatus};
pub use why_not::Reason;
