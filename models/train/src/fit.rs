//! From a history to a model.

use std::collections::BTreeMap;

use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use units::Timestamp;

use crate::error::TrainError;
use crate::held_back::{Figures, HeldBack};
use crate::history::{History, Row};
use crate::model::{Member, Model, ModelMetric};
use crate::recent::{Features, Recent};
use crate::relations::Relations;
use crate::scale::Scale;
use crate::settings::{Cost, METRICS_MAX, ROWS_MIN, TrainSettings};
use crate::shapes::Shapes;
use crate::tail::{Of, Tail};

/// A metric that is there in fewer rows than this share is left out.
const PRESENT_MIN_SHARE: f64 = 0.6;
/// The rows learned from are cut into so many blocks of time; every fourth, the last among them, calibrates and is not learned from.
const BLOCKS: usize = 20;
const CALIBRATES_EVERY: usize = 4;
/// Each purpose has a seed of its own.
const DRAW: u64 = 0x6472_6177;
const CLUSTER: u64 = 0x636c_7573;

/// A model and what is to be known of its training.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// How it does on the newest rows, which it has not seen.
    pub held_back: Figures,
    /// Rows it was learned from and calibrated on.
    pub rows_used: usize,
    /// Names of the metrics that were left out: seldom there, never changing, or beyond the most a model looks at.
    pub left_out: Vec<String>,
    /// The most it can have cost.
    pub cost: Cost,
}

/// A row with what a model looks at.
struct Learned {
    at: Timestamp,
    features: Features,
}

/// Trains a model on all but the newest 15 % of the rows, which it is then held against.
///
/// # Errors
/// When there are too few rows or no metric fit to be learned, or the numbers defeat the method.
pub fn train(
    history: &History,
    settings: &TrainSettings,
    seed: u64,
) -> Result<Trained, TrainError> {
    let rows = history.in_order();
    if rows.len() < ROWS_MIN {
        return Err(TrainError::TooFewRows {
            rows: rows.len(),
            least: ROWS_MIN,
        });
    }
    let past = &rows[..HeldBack::begin(rows.len())];
    let drawn = draw(past.len(), settings.rows_max(), seed);
    let (columns, metrics) = choose(history, past, &drawn)?;
    let learned = learn(past, &drawn, &columns, &metrics);
    let members = members(&learned, metrics.len(), settings, seed)?;
    let mut agreed: Vec<f64> = calibrating(&learned)
        .map(|row| Model::agreed(&members, &row.features))
        .collect();
    let left_out = history.metrics().iter().enumerate();
    let left_out = left_out.filter(|(column, _)| !columns.contains(column));
    let left_out = left_out.map(|(_, name)| name.clone()).collect();
    let model = Model {
        metrics,
        members,
        agreed: Tail::of(&mut agreed, Of::Rareness),
    };
    Ok(Trained {
        held_back: HeldBack::of(history).figures(&model),
        rows_used: learned.len(),
        left_out,
        cost: settings.cost(rows.len(), columns.len()),
        model,
    })
}

/// Which rows are learned from: all, or as many as may be, drawn by lot.
fn draw(rows: usize, most: usize, seed: u64) -> Vec<bool> {
    let mut lots = Xoshiro256Plus::seed_from_u64(seed ^ DRAW);
    // Selection sampling: of the rows left, as many as are still wanted, each with the same chance.
    let mut wanted = rows.min(most) as u64;
    let chosen = (0..rows).map(|at| {
        let left = (rows - at) as u64;
        let taken = lots.next_u64() % left < wanted;
        wanted -= u64::from(taken);
        taken
    });
    chosen.collect()
}

/// The columns a model looks at and their scales, in the order of the columns.
fn choose(
    history: &History,
    past: &[Row<'_>],
    drawn: &[bool],
) -> Result<(Vec<usize>, Vec<ModelMetric>), TrainError> {
    let mut found = Vec::new();
    for (column, name) in history.metrics().iter().enumerate() {
        let mut values: Vec<f64> = past
            .iter()
            .zip(drawn)
            .filter(|(_, drawn)| **drawn)
            .map(|(row, _)| f64::from(row.values[column]))
            .collect();
        let all = values.len();
        values.retain(|value| value.is_finite());
        if (values.len() as f64) < PRESENT_MIN_SHARE * all as f64 {
            continue;
        }
        let changes = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
        if let Some(scale) = Scale::of(&mut values) {
            found.push((changes, column, scale, name));
        }
    }
    // Those that change most often tell most; among equals the first.
    found.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    found.truncate(METRICS_MAX);
    found.sort_by_key(|(_, column, _, _)| *column);
    if found.is_empty() {
        return Err(TrainError::NoMetric {
            columns: history.metrics().len(),
        });
    }
    let columns = found.iter().map(|(_, column, _, _)| *column).collect();
    let metrics = found.into_iter().map(|(_, _, scale, name)| ModelMetric {
        name: name.clone(),
        scale,
    });
    Ok((columns, metrics.collect()))
}

/// Goes through all rows, since each has others before it, and keeps those that were drawn.
fn learn(
    past: &[Row<'_>],
    drawn: &[bool],
    columns: &[usize],
    metrics: &[ModelMetric],
) -> Vec<Learned> {
    let mut recent: BTreeMap<u32, Recent> = BTreeMap::new();
    let mut learned = Vec::new();
    for (row, drawn) in past.iter().zip(drawn) {
        let scaled = columns
            .iter()
            .zip(metrics)
            .map(|(column, metric)| metric.scale.to(f64::from(row.values[*column])) as f32);
        let features = recent
            .entry(row.subject)
            .or_default()
            .push(scaled.collect());
        if *drawn {
            learned.push(Learned {
                at: row.at,
                features,
            });
        }
    }
    learned
}

fn members(
    learned: &[Learned],
    width: usize,
    settings: &TrainSettings,
    seed: u64,
) -> Result<Vec<Member>, TrainError> {
    let windows = settings.windows();
    let mut members = Vec::with_capacity(windows);
    for window in 0..windows {
        // Each reaches half into the next.
        let edge = |step: usize| learned.len() * step.min(windows + 1) / (windows + 1);
        let range = edge(window)..edge(window + 2);
        let rows: Vec<&Learned> = range
            .clone()
            .filter(|at| !calibrates(*at, learned.len()))
            .map(|at| &learned[at])
            .collect();
        let (first, last) = (&learned[range.start], &learned[range.end - 1]);
        let levels: Vec<&[f64]> = rows
            .iter()
            .map(|row| row.features.level.as_slice())
            .collect();
        let features: Vec<&Features> = rows.iter().map(|row| &row.features).collect();
        let relations = Relations::fit(&levels, width)?;
        let shapes = Shapes::fit(
            &features,
            width,
            settings.centroids(),
            settings.iterations_max(),
            seed ^ CLUSTER.wrapping_add(window as u64),
        )?;
        let mut apart: Vec<f64> = calibrating(learned)
            .map(|row| relations.distance(&row.features.level).ln_1p())
            .collect();
        let mut strange: Vec<f64> = calibrating(learned)
            .map(|row| shapes.distance(&row.features).ln_1p())
            .collect();
        members.push(Member {
            from: first.at,
            to: last.at,
            relations_tail: Tail::of(&mut apart, Of::Distances),
            relations,
            shapes_tail: Tail::of(&mut strange, Of::Distances),
            shapes,
        });
    }
    Ok(members)
}

/// The rows that calibrate.
fn calibrating(learned: &[Learned]) -> impl Iterator<Item = &Learned> {
    let calibrates = |(at, _): &(usize, &Learned)| calibrates(*at, learned.len());
    learned
        .iter()
        .enumerate()
        .filter(calibrates)
        .map(|(_, row)| row)
}

fn calibrates(at: usize, rows: usize) -> bool {
    (at * BLOCKS / rows) % CALIBRATES_EVERY == CALIBRATES_EVERY - 1
}
