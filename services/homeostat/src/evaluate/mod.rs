//! `homeostat evaluate`: reads a labelled set and a detector's scores, and says how good they are. The figures are worked out in the
//! crate `evaluate`; this is the reading and the showing.

mod files;
mod shown;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use evaluate::{LabelledSeries, Rules, evaluate};

use crate::exit::{Failure, complain};
use crate::table::{print, print_json};

/// As many names as help in a message; the number of all of them stands beside.
const NAMED_MAX: usize = 5;

/// Options of `homeostat evaluate`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The labelled set, known by its folder's name: series/NAME.csv.gz and a labels file.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The detector's scores: NAME.csv or NAME.csv.gz for each series, with columns timestamp, score and, where it decides by itself,
    /// alert.
    #[arg(long, value_name = "DIR")]
    scores: PathBuf,
    /// The labels file within the set.
    #[arg(long, value_name = "FILE", default_value = "labels.json")]
    labels: PathBuf,
    /// Points with this score or more are alarms, in files without a column alert.
    #[arg(long, value_name = "T", value_parser = finite)]
    threshold: Option<f64>,
    /// Write every figure as JSON: to FILE beside the table, or, without FILE, to standard output instead of it.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,
}

/// Evaluates, and shows what came of it.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let rules = Rules::of(&set_name(&options.data))
        .map_err(|error| Failure::Usage(format!("--data {}: {error}", options.data.display())))?;
    let series = read(options)?;
    let unscored: usize = series.iter().map(LabelledSeries::unscored).sum();
    if unscored > 0 {
        complain(&format!(
            "warning: {unscored} points that count have no finite score and count as 0; write a row for every point from `start` on"
        ));
    }
    let labels = options.labels.display().to_string();
    let figures = evaluate(rules, &labels, &series, options.threshold)?;
    match &options.json {
        Some(None) => print_json(&figures),
        Some(Some(file)) => {
            let text = serde_json::to_string_pretty(&figures)?;
            std::fs::write(file, text + "\n")
                .with_context(|| format!("cannot write {}", file.display()))?;
            print(&shown::table(&figures))
        }
        None => print(&shown::table(&figures)),
    }
}

/// The folder's own name, also where it is given as `.` or by a link to it that ends in `..`.
fn set_name(data: &Path) -> String {
    let name = |path: &Path| {
        let name = path.file_name()?;
        Some(name.to_string_lossy().into_owned())
    };
    let resolved = || name(&data.canonicalize().ok()?);
    name(data).or_else(resolved).unwrap_or_default()
}

/// Every series of the labels with its scores.
fn read(options: &Options) -> anyhow::Result<Vec<LabelledSeries>> {
    let labels = files::labels(&options.data.join(&options.labels))?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for (name, labels) in &labels {
        match files::scores_of(&options.scores, name) {
            Some(file) => found.push((name, labels, file)),
            None => missing.push(name.as_str()),
        }
    }
    if !missing.is_empty() {
        let named = &missing[..missing.len().min(NAMED_MAX)];
        return Err(anyhow!(
            "{}: {} of {} series have no score file, among them {}; write NAME.csv or NAME.csv.gz for each series of {}",
            options.scores.display(),
            missing.len(),
            labels.len(),
            named.join(", "),
            options.labels.display(),
        ));
    }
    let series = found.into_iter().map(|(name, labels, file)| {
        let of = files::series_of(&options.data, name);
        let timestamps_s = files::timestamps(&of)?;
        let scores = files::scores(&file)?;
        LabelledSeries::new(name.clone(), &timestamps_s, labels, &scores)
            .with_context(|| format!("{} for {}", file.display(), of.display()))
    });
    series.collect()
}

fn finite(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim().parse().ok();
    number
        .filter(|number| number.is_finite())
        .ok_or_else(|| format!("{text:?} is no number; write a score such as 0.99"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_known_by_its_folder() {
        for (given, name) in [
            ("a/nab", "nab"),
            ("a/nab/", "nab"),
            ("nab/.", "nab"),
            ("/", ""),
        ] {
            assert_eq!(set_name(Path::new(given)), name, "{given}");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("smd/series")).unwrap();
        assert_eq!(set_name(&dir.path().join("smd/series/..")), "smd");
    }

    #[test]
    fn a_threshold_is_a_number() {
        assert_eq!(finite(" 0.5"), Ok(0.5));
        assert!(finite("nan").is_err() && finite("high").unwrap_err().contains("0.99"));
    }
}
