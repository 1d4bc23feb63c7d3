//! The load of one service: what it is, what it was at most in the last minute, and where it is going in the next.
//!
//! A [`Forecaster`] is fed the service's load about once a second and answers with a [`units::Forecast`] each time: a damped
//! trend for the next minute, with a range from the errors it made lately. It is pure and deterministic, holds about half a
//! kilobyte, and can be written and read back.
//!
//! A [`DemandForecaster`] is fed the requests of every second and looks one start-up time ahead, further and by more than a trend:
//! it picks its window by its own errors, and expects bursts where they have come before.
//!
//! A [`UsageTracker`] is fed what the busiest replica uses and tells what limits it needs, from decaying histograms.
//!
//! What this crate does not do: it knows no calendar, and no seasons but bursts that come at one time of a period. It does not
//! decide how many replicas are needed (that is `control`). Load that is asked for but throttled away cannot be seen in CPU time;
//! the share of throttling is passed on so that the reader knows.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod demand;
mod forecaster;
mod holt;
mod usage;

pub use demand::{DemandForecaster, STARTUP_MAX_S};
pub use forecaster::{Course, Forecaster, Load};
pub use usage::UsageTracker;
