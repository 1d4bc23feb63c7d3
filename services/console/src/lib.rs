//! The console: what the loop sees and does, for people.
//!
//! It follows the topics without a group, keeps a bounded picture of them in memory ([`View`]), and shows it as a page on `/`
//! and as JSON under `/api/v1`, which the command line reads. Which signals belong
//! together, and what probably caused them, is `models/incidents`' word; why nothing is done about a service is `models/control`'s, told
//! by a core of its own that hears all and never leads; that core also says what room the nodes have. It decides nothing and never
//! speaks to an engine; stopping it changes nothing for the loop. All it writes is what people say: of signals, to
//! `homeostat.feedback`, that a suggested plan may be carried out, and that a service is to run another image, to the journal.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
mod approve;
mod capacity;
mod config;
mod discovery;
mod endpoints;
mod error;
mod explain;
mod feedback;
mod follow;
mod http;
mod members;
mod node;
mod orders;
mod person;
mod say;
mod trust;
mod update;
mod view;

pub use config::Config;
pub use error::Error;
pub use follow::run;
pub use view::{NotFound, View, Which};
