//! What can happen.

use units::{ContainerEvent, JournalEntry, Link, NodeId, NodeInventory, Signal};

/// Everything incidents are made of, as the topics tell it.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A state of a signal.
    Signal(&'a Signal),
    /// A node's heartbeat: what runs where, from which image, depending on what.
    Inventory(&'a NodeInventory),
    /// A node was removed.
    NodeRemoved(&'a NodeId),
    /// Who talks to whom.
    Links(&'a [Link]),
    /// Something happened to a container: made, stopped, changed, died.
    Container(&'a ContainerEvent),
    /// What Homeostat itself did.
    Journal(&'a JournalEntry),
}
