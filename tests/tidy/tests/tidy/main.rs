//! The rules. Each prints everything it finds, with file and line.
#![allow(clippy::unwrap_used)]

mod alerts;
mod dashboards;
mod deployment;
mod imports;
mod metrics;
mod sizes;
mod source;
mod texts;
