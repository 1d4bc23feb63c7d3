//! The controller: reads what happens, asks the decision core, writes down what it decides and sends the commands.
//!
//! One controller leads: the member of the group that holds the single partition of the election topic. It writes a claim there, and
//! the claim's offset is its generation, the fencing token on every command. Then it reads the topics to their ends, so that it stands
//! where the leader before it stood, and only then decides. A controller that loses the partition drops everything at once, its unsent
//! commands too, and begins anew when it leads again: there is no state here that the topics do not hold.
//!
//! Every plan is checked by `audit` before it is written; a violating one is not carried out, and that is said in the journal.
//!
//! The same policy runs over recorded telemetry in [`replay`].
//!
//! It decides nothing itself (that is `models/control`) and touches no engine (that is the actuator).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod election;
mod events;
pub mod policy;
mod reader;
pub mod replay;
mod session;
pub mod sources;
mod standing;
mod writer;

use kit::Context;

pub use config::{Breaker, Budget, Config, Heal, Ledger, People, Scale};

/// Why a controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The election topic cannot be read any more.
    #[error("cannot take part in the election of the leading controller")]
    Election(#[source] bus::BusError),
    /// A topic cannot be read any more.
    #[error("cannot go on reading topic {topic}")]
    Read {
        /// The topic.
        topic: &'static str,
        /// Why.
        #[source]
        source: bus::BusError,
    },
}

/// Takes part in the election and, while leading, decides. Returns when told to, after what it decided is written as far as the log
/// takes it within a few seconds.
///
/// # Errors
/// When a topic cannot be read any more. A log that is away is waited for.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    election::Candidate::new(config, context).run().await
}
