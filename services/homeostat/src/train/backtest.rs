//! How a trained model would have done: each row of a series scored by a model of the rows before it.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use train::{Choice, HeldBack, History, Model, Recent, TrainSettings, compare};
use units::Timestamp;

use crate::score::{Series, open, series};

/// A model is trained on at most so many times the rows between two trainings.
const KEPT_TIMES: usize = 10;
/// Rows before a new model's first that are told to it, so that it knows what went before.
const BEFORE: usize = 6;

type Row = (i64, Vec<Option<f64>>);

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) series: usize,
    pub(super) rows: usize,
    pub(super) taken: usize,
    pub(super) kept_out: usize,
    pub(super) failed: usize,
}

/// Scores every series below `input/series`, each as a service of one container, into `output/NAME.csv`: `timestamp,score`. Every
/// so many rows a model is trained on those before, and taken unless it is worse. Rows before the first model score 0.
pub(super) fn run(
    input: &Path,
    output: &Path,
    every: usize,
    how: (TrainSettings, u64),
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for one in series(input)? {
        let name = || one.path.display().to_string();
        let (metrics, rows) = read(&one).with_context(name)?;
        let scores = scores(&metrics, &rows, every.max(1), how, &mut tally).with_context(name)?;
        let target = output.join(format!("{}.csv", one.name));
        write(&target, &rows, &scores)
            .with_context(|| format!("{} cannot be written", target.display()))?;
        tally.series += 1;
        tally.rows += rows.len();
    }
    Ok(tally)
}

fn read(one: &Series) -> anyhow::Result<(Vec<String>, Vec<Row>)> {
    let mut input = open(one)?;
    let mut rows = Vec::new();
    while input.next()? {
        rows.push((input.seconds, input.values.clone()));
    }
    Ok((input.metrics, rows))
}

fn scores(
    metrics: &[String],
    rows: &[Row],
    every: usize,
    how: (TrainSettings, u64),
    tally: &mut Tally,
) -> anyhow::Result<Vec<f64>> {
    let mut scores = Vec::with_capacity(rows.len());
    let mut model: Option<Model> = None;
    let mut recent = Recent::new();
    for (at, (_, values)) in rows.iter().enumerate() {
        if at > 0 && at % every == 0 {
            let past = &rows[at.saturating_sub(KEPT_TIMES * every)..at];
            if let Some(new) = next(metrics, past, model.as_ref(), how, tally)? {
                recent = Recent::new();
                let columns = new.columns(metrics);
                for (_, values) in &past[past.len().saturating_sub(BEFORE)..] {
                    new.score(&columns, &mut recent, values);
                }
                model = Some(new);
            }
        }
        let score = model
            .as_ref()
            .and_then(|model| model.score(&model.columns(metrics), &mut recent, values));
        scores.push(score.map_or(0.0, |score| score.score));
    }
    Ok(scores)
}

/// The model that takes the place of the present one, if one does.
fn next(
    metrics: &[String],
    past: &[Row],
    present: Option<&Model>,
    (settings, seed): (TrainSettings, u64),
    tally: &mut Tally,
) -> anyhow::Result<Option<Model>> {
    let mut history = History::new(metrics.to_vec())?;
    for (seconds, values) in past {
        history.push(Timestamp::from_millis(seconds * 1_000), 0, values)?;
    }
    // Too few rows, or none that change: the next time there may be more.
    let Ok(trained) = train::train(&history, &settings, seed) else {
        tally.failed += 1;
        return Ok(None);
    };
    let worse = present.is_some_and(|present| {
        let choice = compare(present, &trained.model, &HeldBack::of(&history));
        matches!(choice, Choice::Keep { .. })
    });
    match worse {
        true => tally.kept_out += 1,
        false => tally.taken += 1,
    }
    Ok((!worse).then_some(trained.model))
}

fn write(target: &Path, rows: &[Row], scores: &[f64]) -> std::io::Result<()> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut text = Vec::from("timestamp,score\n");
    for ((seconds, _), score) in rows.iter().zip(scores) {
        writeln!(text, "{seconds},{score:.6}")?;
    }
    fs::write(target, text)
}
