//! What Homeostat costs and how fast it reacts, on real containers. Prints tables; asserts nothing, because machines differ: the
//! figures to reach stand beside what was measured.
//!
//! `make bench` runs `reaction` and `idle`; `bench reaction` or `bench idle` one part. `make bench-collector` runs
//! `bench collector`; parts of that are named after it. `make bench-detect` runs `bench detect`, which needs no containers,
//! and `make bench-control` runs `bench control`, which needs none either.
//! `make bench-hosts` runs `bench hosts`, on three engines in network namespaces.
//! `make bench-faults` runs `bench faults`, of which some can be named, and `make bench-ordinary` an hour of `bench ordinary`.
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot be taken ends the run"
)]

mod collector;
mod control;
mod detect;
mod engine;
mod faults;
mod hosts;
mod idle;
mod process;
mod reaction;

use std::process::ExitCode;
use std::time::Duration;

use e2e::faults::Fault;
use tokio::runtime::Builder;

/// Ordinary life lasts an hour.
const ORDINARY: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    match words.as_slice() {
        [] => {
            runtime.block_on(reaction::run());
            runtime.block_on(idle::run());
        }
        ["reaction"] => runtime.block_on(reaction::run()),
        ["idle"] => runtime.block_on(idle::run()),
        ["hosts"] => runtime.block_on(hosts::run()),
        ["detect"] => detect::run(),
        ["control"] => control::run(),
        ["control", "--nodes", text] => match text.parse() {
            Ok(nodes) => control::one(nodes),
            Err(_) => return usage(text),
        },
        ["collector", parts @ ..] => match collector::Part::all_of(parts) {
            Ok(parts) => return runtime.block_on(collector::run(&parts)),
            Err(unknown) => return usage(unknown),
        },
        ["faults", names @ ..] => match named(names) {
            Ok(faults) => runtime.block_on(faults::run(&faults)),
            Err(unknown) => return usage(unknown),
        },
        ["ordinary"] => runtime.block_on(faults::ordinary(ORDINARY)),
        ["ordinary", "--seconds", text] => match text.parse() {
            Ok(seconds) => runtime.block_on(faults::ordinary(Duration::from_secs(seconds))),
            Err(_) => return usage(text),
        },
        [other, ..] => return usage(other),
    }
    ExitCode::SUCCESS
}

/// The faults of these names; all of them for none. The error is the first name that is no fault's.
fn named<'a>(names: &[&'a str]) -> Result<Vec<Fault>, &'a str> {
    if names.is_empty() {
        return Ok(Fault::ALL.to_vec());
    }
    let named = names.iter().map(|name| Fault::named(name).ok_or(*name));
    named.collect()
}

fn usage(unknown: &str) -> ExitCode {
    eprintln!(
        "bench: there is no part {unknown:?}; write reaction, idle, detect, control, collector [{}]..., faults [{}]..., or ordinary [--seconds N]",
        collector::Part::NAMES.join("|"),
        Fault::ALL.map(Fault::name).join("|")
    );
    ExitCode::from(2)
}

/// The middle one of the measurements.
fn median(measured: &[f64]) -> f64 {
    quantile(measured, 0.5)
}

/// The measurement below which this share of them lies; the largest one for 1.
fn quantile(measured: &[f64], share: f64) -> f64 {
    assert!(!measured.is_empty(), "nothing was measured");
    let mut sorted = measured.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share) as usize;
    sorted[index.min(sorted.len() - 1)]
}
