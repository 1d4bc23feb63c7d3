//! Incidents: signals that belong together, and what probably caused them.
//!
//! [`Incidents`] is told what the topics tell ([`Event`]): signals, inventories, links, events of containers and the journal. It keeps a
//! bounded picture of them, joins signals of the same time that are related (`join`), and ranks the causes of each incident (`rank`),
//! each with a score, a plain sentence and its evidence. All of it follows from what is known and not from the order in which it came:
//! a record that comes late or twice gives the same incidents.
//!
//! What this crate does not do: it finds nothing out of the ordinary (that is `detect`), decides nothing (`control`), and proves nothing.
//! A cause is the likeliest of those it knows how to name.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod core;
mod event;
mod fleet;
mod history;
mod incident;
mod join;
mod kinds;
mod rank;
mod signals;
#[cfg(test)]
mod testing;
mod weights;

pub use crate::core::{Incidents, NotFound};
pub use event::Event;
pub use incident::{Cause, CauseKind, Fact, Incident, IncidentId, Origin};

#[cfg(test)]
mod tests;
