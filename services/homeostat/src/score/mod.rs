//! `homeostat score`: runs the detector for arbitrary series over files, strictly online, row by row.
//!
//! The input is `DIR/series/**/*.csv` or `.csv.gz` with the header `timestamp,<metric>,…`: whole seconds that rise, then one
//! number per metric, empty where it is missing. The output is `DIR/**/<name>.csv.gz` with `timestamp,score,alert`, one row per
//! row read.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod file;
mod find;

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;

use crate::exit::Failure;
use crate::table::print;

pub(crate) use file::open;
pub(crate) use find::{Series, series};

/// Errors that are told one by one; of more, only how many.
const ERRORS_TOLD: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folder that holds `series/<name>.csv` or `.csv.gz`.
    #[arg(long, value_name = "DIR")]
    input: PathBuf,
    /// Folder to write `<name>.csv.gz` to; made where it is not there.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// Scores every series of the input, several at a time. A file that cannot be scored does not keep the others from it.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let series = find::series(&options.input)?;
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Done::default());
    let workers = std::thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(series.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(one) = series.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = file::score(one, &options.output);
                    done.lock()
                        .expect("no worker panics while it adds up")
                        .add(outcome);
                }
            });
        }
    });
    done.into_inner()
        .expect("no worker panics while it adds up")
        .tell(series.len())
}

/// What became of the files.
#[derive(Debug, Default)]
struct Done {
    rows: u64,
    errors: Vec<anyhow::Error>,
}

impl Done {
    fn add(&mut self, outcome: anyhow::Result<u64>) {
        match outcome {
            Ok(rows) => self.rows += rows,
            Err(error) => self.errors.push(error),
        }
    }

    fn tell(self, files: usize) -> Result<(), Failure> {
        let failed = self.errors.len();
        if failed == 0 {
            return print(&format!("{files} series scored, {} rows", self.rows));
        }
        let mut told: Vec<String> = self
            .errors
            .iter()
            .take(ERRORS_TOLD)
            .map(|error| format!("{error:#}"))
            .collect();
        told.sort();
        let rest = failed.saturating_sub(ERRORS_TOLD);
        if rest > 0 {
            told.push(format!("and {rest} more"));
        }
        Err(anyhow::anyhow!(
            "{failed} of {files} series could not be scored:\n{}",
            told.join("\n")
        )
        .into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::path::Path;

    use super::*;

    fn options(root: &Path) -> Options {
        Options {
            input: root.to_owned(),
            output: root.join("scores"),
        }
    }

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join("series").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(root: &Path, name: &str) -> String {
        let packed = fs::File::open(root.join("scores").join(name)).unwrap();
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(packed)
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    fn message(failure: Failure) -> String {
        match failure {
            Failure::Failed(error) => format!("{error:#}"),
            Failure::Usage(text) | Failure::Unreachable(text) => text,
        }
    }

    #[test]
    fn every_row_gets_a_score_and_a_jump_an_alert() {
        let root = tempfile::tempdir().unwrap();
        let mut text = String::from("timestamp,cpu,memory\n");
        for i in 0..400_i64 {
            let cpu = if i >= 300 { 900 } else { 10 + i * 7 % 5 };
            text.push_str(&format!("{},{cpu},\n", i * 60));
        }
        write(root.path(), "day/pod.csv", &text);
        run(&options(root.path())).unwrap();
        let scored = read(root.path(), "day/pod.csv.gz");
        let rows: Vec<&str> = scored.lines().collect();
        assert_eq!((rows.len(), rows[0]), (401, "timestamp,score,alert"));
        let alerts: Vec<usize> = (1..=400).filter(|&row| rows[row].ends_with(",1")).collect();
        assert!(
            alerts.first().is_some_and(|&row| (301..310).contains(&row)),
            "alerts at rows {alerts:?}"
        );
    }

    #[test]
    fn a_wrong_file_is_told_with_its_line_and_the_others_are_scored() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "good.csv", "timestamp,a\n0,1\n60,2\n");
        write(root.path(), "short.csv", "timestamp,a,b\n0,1,2\n60,1\n");
        write(root.path(), "back.csv", "timestamp,a\n60,1\n0,1\n");
        write(root.path(), "word.csv", "timestamp,a\n0,1\n60,none\n");
        write(root.path(), "head.csv", "time,a\n0,1\n");
        let told = message(run(&options(root.path())).unwrap_err());
        for part in [
            "4 of 5 series",
            "short.csv: line 3: 2 cells where the header has 3",
            "back.csv: line 3: timestamp 0 is not after 60",
            "word.csv: line 3: metric a: \"none\" is no number",
            "head.csv: line 1: the first column is \"time\"",
        ] {
            assert!(told.contains(part), "{part:?} is not in {told}");
        }
        assert_eq!(read(root.path(), "good.csv.gz").lines().count(), 3);
        assert!(!root.path().join("scores/short.csv.gz").exists());
    }

    #[test]
    fn a_folder_without_series_is_told() {
        let root = tempfile::tempdir().unwrap();
        let told = message(run(&options(root.path())).unwrap_err());
        assert!(told.contains("series"), "{told}");
        fs::create_dir(root.path().join("series")).unwrap();
        let told = message(run(&options(root.path())).unwrap_err());
        assert!(told.contains("no .csv or .csv.gz"), "{told}");
    }
}
