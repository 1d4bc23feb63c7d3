//! The collector against a real engine. Every test makes containers of its own and removes them.

#![allow(clippy::unwrap_used)]

mod containers;
mod haproxy;
mod logs;
mod rig;
mod telemetry;
