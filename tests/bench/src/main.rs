//! What Homeostat costs and how fast it reacts, on real containers. Prints tables; asserts nothing, because machines differ: the
//! figures to reach stand beside what was measured.
//!
//! `make bench` runs everything; `bench reaction` or `bench idle` one part.
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot be taken ends the run"
)]

mod engine;
mod idle;
mod reaction;

use tokio::runtime::Builder;

fn main() {
    let only = std::env::args().nth(1);
    let parts = only
        .as_deref()
        .map_or(vec!["reaction", "idle"], |part| vec![part]);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    for part in parts {
        match part {
            "reaction" => runtime.block_on(reaction::run()),
            "idle" => runtime.block_on(idle::run()),
            other => {
                eprintln!("bench: there is no part {other:?}; write reaction or idle");
                std::process::exit(2);
            }
        }
    }
}

/// The middle one of the measurements.
fn median(measured: &[f64]) -> f64 {
    let mut sorted = measured.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
