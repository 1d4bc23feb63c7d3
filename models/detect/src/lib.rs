//! Streaming detectors: samples, log lines, links, series of nodes and their heartbeats in; signals with numbers and one sentence of why out.
//!
//! One [`Detector`] holds the services of one partition. It works in event time: everything but missing telemetry follows from
//! the records alone, in the order of the log, so that a replay tells the same signals under the same ids. What lies between two
//! records of a node is measured by the node's clock that never steps; a step of its time of day is no time. Its whole state is
//! serialisable; one that was written and read back goes on exactly as before.
//!
//! Three families look at containers. Rules know what a sick container looks like (fails its health check, ends again and
//! again, hangs, runs out of memory, waits for its CPU limit); deviations know only what was usual (a robust level and spread, an
//! empirical tail, a least effect); and replicas of one service are compared with each other. What nodes tell of themselves is judged
//! by rules too. Every one needs several samples to confirm, opens once, and is calm for a while before it
//! resolves. Where a rule explains a container, its deviations stay quiet.
//!
//! What somebody dismissed raises a [`Bar`]: its like must last longer, and lie further out, before it is told again.
//!
//! [`series`] is a detector of its own for any multivariate series, which knows nothing of containers.
//!
//! How unusual a container is as a whole, a trained model says; that is an input like any other ([`PatternScore`]).
//!
//! Log lines are counted by the second: how many, how many errors, and of which templates. Which template a line has, and whether
//! that is new, is told with the line.
//!
//! What this crate does not do: it acts on nothing and recommends nothing (that is `control`), keeps no seasons, mines no log
//! templates and groups no signals into incidents. Windows are counted in samples and are meant for one sample a second.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod baseline;
mod clock;
mod container;
mod counters;
mod detector;
mod features;
mod feedback;
mod gate;
mod habits;
mod logs;
mod rules;
pub mod series;
mod service;
mod settings;
#[cfg(test)]
mod still_tests;
#[cfg(test)]
mod story_tests;
mod telemetry;
mod template;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;

pub use detector::{Condition, Counts, Detector, Step};
pub use feedback::{Bar, Bars, HEIGHT_MAX};
pub use rules::node::{Riser, Risers};
pub use rules::pattern::{PatternFeature, PatternScore};
pub use service::ServiceLoad;
pub use settings::Settings;
pub use telemetry::{NodeWatch, Stream};
pub use template::{LineTemplate, Standing, TemplateId};
