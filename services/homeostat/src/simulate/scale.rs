//! `homeostat simulate scale`.

mod load;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use kit::config::HumanDuration;
use serde::Serialize;
use sim::scale::{self, Figures, ScoreFrom, Setup, TARGET};
use units::Ratio;

use crate::exit::{Failure, complain};
use crate::table::{print, print_json, with_heading};

/// Options of `homeostat simulate scale`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The load: a row `second,requests` for every second, as CSV, gzipped or not.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// Who decides how many replicas there are.
    #[arg(long, value_enum, default_value = "homeostat")]
    policy: Policy,
    /// From the order of a replica until it serves, such as 30s.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    startup: HumanDuration,
    /// The share of seconds that may see a backlog; only homeostat asks for it.
    #[arg(long, value_name = "SHARE", default_value = "0.001", value_parser = share)]
    slo: Ratio,
    /// The share of the load that passes before counting begins; the first day where it is not given.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    score_from: Option<Ratio>,
    /// Write the figures as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// This program's own: finds its head-room from --slo.
    Homeostat,
    /// Kubernetes' horizontal pod autoscaler, at 70 % of CPU.
    Hpa,
    /// KEDA on requests a second, at 70 % of what a replica serves.
    Keda,
    /// Nomad's autoscaler, at 70 % of CPU.
    Nomad,
}

impl Policy {
    fn simulated(self) -> scale::Policy {
        match self {
            Policy::Homeostat => scale::Policy::Homeostat,
            Policy::Hpa => scale::Policy::Hpa,
            Policy::Keda => scale::Policy::Keda,
            Policy::Nomad => scale::Policy::Nomad,
        }
    }
}

fn share(text: &str) -> Result<Ratio, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is no share; write one in a thousand as 0.001"))?;
    Ratio::new(number).map_err(|error| error.to_string())
}

/// What is printed: the names of the figures are an interface.
#[derive(Debug, Serialize)]
struct Answer {
    violation_seconds_per_day: f64,
    violation_ratio: f64,
    cost_ratio: f64,
    actions_per_day: f64,
}

impl From<Figures> for Answer {
    fn from(figures: Figures) -> Self {
        Answer {
            violation_seconds_per_day: figures.violation_seconds_per_day,
            violation_ratio: figures.violation_ratio,
            cost_ratio: figures.cost_ratio,
            actions_per_day: figures.actions_per_day,
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let startup_s = whole_seconds(options.startup)?;
    let shown = options.trace.display();
    let load = load::read(&options.trace).with_context(|| shown.to_string())?;
    if load.step_s > 1 {
        complain(&format!(
            "warning: {shown} has a row every {} s; its rate is drawn out evenly between them, so what happens within one costs nothing. \
             For figures that compare, give one row for every second",
            load.step_s
        ));
    }
    let arrivals = scale::Arrivals::new(load.per_second).with_context(|| shown.to_string())?;
    let setup = Setup {
        policy: options.policy.simulated(),
        startup_s,
        slo: options.slo,
        target: TARGET,
        score_from: options
            .score_from
            .map_or(ScoreFrom::SecondDay, ScoreFrom::Share),
    };
    let figures = scale::run(&arrivals, &setup).with_context(|| shown.to_string())?;
    if options.json {
        return print_json(&Answer::from(figures));
    }
    print(&table(options, &figures))
}

fn whole_seconds(startup: HumanDuration) -> Result<u32, Failure> {
    let time = startup.get();
    let seconds = u32::try_from(time.as_secs()).ok();
    seconds
        .filter(|_| time.subsec_nanos() == 0)
        .ok_or_else(|| {
            Failure::Usage(format!(
                "--startup {startup} is no whole number of seconds; the simulation goes second by second, write it like 30s"
            ))
        })
}

fn table(options: &Options, figures: &Figures) -> String {
    let mut table = with_heading(&[
        "policy",
        "startup",
        "violation s/day",
        "share",
        "replica-hours",
        "cost",
        "actions/day",
    ]);
    let policy = options.policy.to_possible_value();
    table.add_row([
        policy.map_or_else(String::new, |value| value.get_name().to_owned()),
        options.startup.to_string(),
        format!("{:.1}", figures.violation_seconds_per_day),
        format!("{:.5}", figures.violation_ratio),
        format!("{:.0}", figures.replica_hours),
        format!("{:.4}", figures.cost_ratio),
        format!("{:.1}", figures.actions_per_day),
    ]);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_start_ups_are_told_how_to_be_written() {
        assert_eq!(share("0.01").map(Ratio::get), Ok(0.01));
        assert!(share("1%").is_err_and(|told| told.contains("0.001")));
        assert!(share("70").is_err_and(|told| told.contains("0.7")));
        assert!(whole_seconds(HumanDuration::from_millis(1_500)).is_err());
        assert_eq!(whole_seconds(HumanDuration::from_secs(30)).ok(), Some(30));
    }

    #[test]
    fn a_load_of_two_days_is_answered() {
        let root = tempfile::tempdir().unwrap();
        let trace = root.path().join("load.csv");
        let mut text = String::from("second,requests\n");
        for second in 0..120_000_u64 {
            text.push_str(&format!("{second},{}\n", 50 + second / 600 % 40));
        }
        std::fs::write(&trace, text).unwrap();
        let options = Options {
            trace,
            policy: Policy::Hpa,
            startup: HumanDuration::from_secs(30),
            slo: Ratio::saturating(0.01),
            score_from: None,
            json: true,
        };
        run(&options).unwrap();
    }
}
