//! What the end-to-end tests stand on: the built binary as a process, the demo stack, small containers, several hosts, a recording proxy
//! before the Docker socket, a Prometheus that scrapes, and waiting for conditions. Nothing here imitates a part of the loop.
#![allow(
    clippy::unwrap_used,
    reason = "this crate is test code; a failed expectation ends the test"
)]

pub mod containers;
pub mod docker_proxy;
pub mod engine_v2;
pub mod fake_time;
pub mod faults;
pub mod homeostat;
pub mod hosts;
pub mod load;
pub mod prometheus;
pub mod stack;
pub mod steps;
pub mod tally;
pub mod topic;
pub mod wait;
pub mod watch;
