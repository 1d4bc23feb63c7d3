//! `homeostat train`: trains the model of a service, from files or from what the log holds of its last day.

mod backtest;
mod from_files;
mod from_log;
mod shown;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use train::{Artefact, Figures, History, TrainSettings};
use units::ServiceId;

use crate::config::Sources;
use crate::exit::Failure;
use crate::table::{print, print_json};

pub(crate) use shown::cells;

#[derive(Debug, Args)]
#[command(after_help = "\
With --input the rows come from files, and nothing but FILE is written. Without it they are what the topic homeostat.samples holds \
of the service's last 24 hours, and the model goes to the topic homeostat.models, unless it is worse than the one there.")]
pub(crate) struct Options {
    /// Whose model it is; with --input the folder's name unless told.
    #[arg(long, value_name = "NAME", required_unless_present = "input")]
    service: Option<String>,
    /// Folder that holds `series/<name>.csv` or `.csv.gz` (`timestamp,<metric>,…`), each a container of the service.
    #[arg(long, value_name = "DIR")]
    input: Option<PathBuf>,
    /// Write the model with where it came from to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Train no model to keep, but see how it would have done: score each row of each series, as a service of its own, by a model of
    /// the rows before it, into NAME.csv (`timestamp,score`) in this folder, for `homeostat evaluate`.
    #[arg(long, value_name = "DIR", requires = "input", conflicts_with_all = ["output", "json", "service"])]
    backtest: Option<PathBuf>,
    /// With --backtest: train anew every so many rows, on at most ten times as many.
    #[arg(
        long,
        value_name = "ROWS",
        default_value_t = 1_000,
        requires = "backtest"
    )]
    every: usize,
    /// The same seed and rows give the same model.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Learn from so many rows at most, drawn by lot where there are more.
    #[arg(long, value_name = "N", default_value_t = TrainSettings::default().rows_max())]
    rows_max: usize,
    /// Iterations of each clustering at most.
    #[arg(long, value_name = "N", default_value_t = TrainSettings::default().iterations_max())]
    iterations_max: usize,
    /// Print every figure as JSON.
    #[arg(long)]
    json: bool,
}

/// What became of a training.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It was not compared with another one.
    Trained,
    /// It is in the log.
    Published {
        /// The present one's figures on the same rows, where there was one that could be read.
        current: Option<Figures>,
        /// What there is to say of the present one.
        note: String,
    },
    /// The present one stays.
    Kept {
        /// Its version.
        current_digest: String,
        /// Its figures on the same rows.
        current: Figures,
        /// What speaks against the new one.
        why: String,
    },
}

/// Trains, and tells what came of it.
pub(crate) fn run(options: &Options, sources: Sources) -> Result<(), Failure> {
    let settings = options.settings()?;
    if let (Some(input), Some(output)) = (&options.input, &options.backtest) {
        let how = (settings, options.seed);
        let tally = backtest::run(input, output, options.every, how)?;
        return print(&format!(
            "{} series scored, {} rows; of the models {} were taken, {} kept out, {} could not be trained",
            tally.series, tally.rows, tally.taken, tally.kept_out, tally.failed
        ));
    }
    let (artefact, outcome) = match (&options.input, &options.service) {
        (Some(folder), service) => {
            let service = service.clone().unwrap_or_else(|| name_of(folder));
            let history = from_files::history(folder)?;
            let artefact = artefact(&history, &service, (settings, options.seed), None)?;
            (artefact, Outcome::Trained)
        }
        (None, Some(service)) => from_log::run(service, (settings, options.seed), sources)?,
        (None, None) => {
            let text = "name a --service, or a folder of series with --input";
            return Err(Failure::Usage(text.to_owned()));
        }
    };
    if let Some(file) = &options.output {
        write(file, &artefact)?;
    }
    match options.json {
        true => print_json(&shown::Report::new(&artefact, &outcome)),
        false => print(&shown::text(&artefact, &outcome)),
    }
}

impl Options {
    fn settings(&self) -> Result<TrainSettings, Failure> {
        let usual = TrainSettings::default();
        TrainSettings::new(
            self.rows_max,
            self.iterations_max,
            usual.windows(),
            usual.centroids(),
        )
        .map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// Trains a model and puts it under its provenance.
fn artefact(
    history: &History,
    service: &str,
    (settings, seed): (TrainSettings, u64),
    previous: Option<String>,
) -> anyhow::Result<Artefact> {
    let trained = train::train(history, &settings, seed)
        .with_context(|| format!("service {service} cannot be trained"))?;
    let service = ServiceId::from(service);
    Ok(Artefact::new(
        service,
        history,
        trained,
        (settings, seed),
        previous,
        kit::now(),
    ))
}

/// The folder's own name, also where it is given as `.`.
fn name_of(folder: &Path) -> String {
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    name(folder)
        .or_else(|| name(&folder.canonicalize().ok()?))
        .unwrap_or_else(|| "service".to_owned())
}

/// The file stands there whole or not at all.
fn write(file: &Path, artefact: &Artefact) -> anyhow::Result<()> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    fs::write(&partial, artefact.to_json() + "\n")
        .and_then(|()| fs::rename(&partial, file))
        .inspect_err(|_| {
            // It may not have come to be; then there is nothing to remove.
            let _ = fs::remove_file(&partial);
        })
        .with_context(|| format!("{} cannot be written", file.display()))
}
