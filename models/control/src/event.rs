//! What the core is told, and what it asks for.

use units::{
    Command, ContainerEvent, ContainerId, Forecast, Generation, Heartbeat, JournalEntry, NodeId,
    NodeInventory, Outcome, Signal, StandingExport,
};

/// Everything that can happen to a controller.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A signal opened, goes on or is over.
    Signal(Box<Signal>),
    /// The load of a service.
    Forecast(Box<Forecast>),
    /// The whole state of a node.
    Inventory(Box<NodeInventory>),
    /// People took this node out for good, as it is there no more.
    NodeRemoved(NodeId),
    /// Something happened to a container.
    Container(Box<ContainerEvent>),
    /// An actuator is there.
    Heartbeat(Box<Heartbeat>),
    /// How a container is made, in case its node is lost.
    Export(Box<StandingExport>),
    /// How this one is made is told no more.
    ExportGone(ContainerId),
    /// A command ended, or was refused.
    Outcome(Box<Outcome>),
    /// The journal was read: at the start, from another leader, or our own entry coming back.
    Journal(Box<JournalEntry>),
    /// The topics have been read to their ends. Nothing is decided before.
    Recovered,
    /// This controller leads, under this generation. Nothing is decided before.
    Leading(Generation),
    /// This controller no longer leads.
    Following,
    /// Time passed.
    Tick,
}

/// What is to be written, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// To the journal; to be acknowledged before anything after it is written.
    Journal(Box<JournalEntry>),
    /// To the actuator of its node.
    Command(Box<Command>),
}
