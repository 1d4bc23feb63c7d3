//! Simulated worlds in which the decision core and its rivals are measured.
//!
//! Nothing here reads a file or a clock: what is simulated is handed in, and randomness is seeded.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod churn;
pub mod draws;
pub mod place;
pub mod scale;
pub mod world;
