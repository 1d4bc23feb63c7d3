//! `homeostat simulate loop`: the whole loop in a simulated world, seed by seed.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;
use sim::world::{self, Run};

use crate::exit::Failure;

/// Seeds in one run; a thousand million would take years.
const SEEDS_MAX: u64 = 100_000_000;
const HOURS_MAX: f64 = 1_000.0;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which seeds: from the first on, without the second, such as 0..1000
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Range<u64>,
    /// How long things go wrong in each, in simulated hours
    #[arg(long, default_value_t = 1.0, value_parser = hours)]
    hours: f64,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("write the seeds as 0..1000")?;
    let number = |part: &str| {
        part.parse::<u64>()
            .map_err(|error| format!("{part:?}: {error}"))
    };
    let (first, end) = (number(first)?, number(end)?);
    if end <= first {
        return Err("the second seed must be greater than the first".to_owned());
    }
    if end - first > SEEDS_MAX {
        return Err(format!("more than {SEEDS_MAX} seeds at once"));
    }
    Ok(first..end)
}

fn hours(text: &str) -> Result<f64, String> {
    let hours: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if hours > 0.0 && hours <= HOURS_MAX {
        Ok(hours)
    } else {
        Err(format!("hours must be more than 0 and at most {HOURS_MAX}"))
    }
}

/// What is printed with `--json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    seeds: u64,
    broken: u64,
    unconverged: u64,
    plans: u64,
    commands: u64,
    rested_after_s_most: u64,
    failures: Vec<Finding>,
}

/// One seed that failed, with what is needed to see it again.
#[derive(Debug, Serialize)]
struct Finding {
    seed: u64,
    step: u64,
    invariant: Option<&'static str>,
    what: String,
}

impl Report {
    fn add(&mut self, run: &Run) {
        self.seeds += 1;
        self.plans += run.plans;
        self.commands += run.commands;
        let rested_s = run.rested_after.map_or(0, |after| after.as_secs());
        self.rested_after_s_most = self.rested_after_s_most.max(rested_s);
        let finding = match (&run.broken, &run.unconverged) {
            (Some(broken), _) => {
                self.broken += 1;
                Finding {
                    seed: run.seed,
                    step: broken.step,
                    invariant: Some(broken.invariant.as_str()),
                    what: broken.what.clone(),
                }
            }
            (None, Some(unrest)) => {
                self.unconverged += 1;
                Finding {
                    seed: run.seed,
                    step: run.steps,
                    invariant: None,
                    what: unrest.clone(),
                }
            }
            (None, None) => return,
        };
        self.failures.push(finding);
    }
}

/// One line about one seed.
fn line(run: &Run) -> String {
    let seed = run.seed;
    match (&run.broken, &run.unconverged, run.rested_after) {
        (Some(broken), _, _) => format!(
            "seed {seed}: broken {} at step {} ({}): {}",
            broken.invariant, broken.step, broken.at, broken.what
        ),
        (None, Some(unrest), _) => format!("seed {seed}: not at rest in time: {unrest}"),
        (None, None, rested) => {
            let rested_s = rested.unwrap_or_default().as_secs();
            format!(
                "seed {seed}: ok, {} faults, {} plans, at rest {rested_s} s after the last",
                run.faults, run.plans
            )
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let world = world::Options {
        duration: Duration::from_secs_f64(options.hours * 3_600.0),
        ..world::Options::acting()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let report = Mutex::new(Report::default());
    world::run_all(options.seeds.clone(), &world, threads, &|run| {
        if !options.json {
            println!("{}", line(&run));
        }
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        report.add(&run);
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by_key(|finding| finding.seed);
    if options.json {
        let json = serde_json::to_string(&report).map_err(anyhow::Error::from)?;
        println!("{json}");
    } else {
        println!(
            "{} seeds: {} broken, {} not at rest in time",
            report.seeds, report.broken, report.unconverged
        );
    }
    match report.broken + report.unconverged {
        0 => Ok(()),
        bad => Err(anyhow!("{bad} of {} seeds did not hold", report.seeds).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_that_is_not_empty() {
        assert_eq!(seeds("3..10"), Ok(3..10));
        for wrong in ["", "3", "10..3", "3..3", "a..b", "0..999999999999"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_seed_that_failed_is_counted_once_and_told() {
        let mut report = Report::default();
        let run = world::run(
            1,
            &world::Options {
                duration: Duration::from_secs(60),
                ..world::Options::acting()
            },
        );
        report.add(&run);
        report.add(&Run {
            unconverged: Some("signals are open".to_owned()),
            ..run
        });
        assert_eq!((report.seeds, report.broken, report.unconverged), (2, 0, 1));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["failures"][0]["seed"], 1);
    }
}
