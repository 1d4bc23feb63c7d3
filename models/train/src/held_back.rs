//! The newest rows, which no model has learned from, and how a model does on them.

use std::collections::BTreeMap;

use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::history::{History, Row};
use crate::model::{Columns, Model};
use crate::recent::{Recent, SMOOTH_ROWS};
use crate::scale::quantile;

/// The score that counts as an alarm in figures: one row in a thousand.
pub const ALARM_SCORE: f64 = 0.999;
const ALARM_DECADES: f64 = 3.0;

/// The newest share of a history.
const HELD_BACK_SHARE: f64 = 0.15;
/// Rows that are judged, the newest; more would only cost.
const ROWS_MAX: usize = 20_000;
/// Places at which something is broken on purpose.
const PROBES_MAX: usize = 200;
/// The same probes for every model.
const PROBE_SEED: u64 = 0x7072_6f62;
/// Rareness, in decades, at which calibration is looked at.
const CALIBRATED_AT: [f64; 3] = [1.0, 2.0, 3.0];

/// The newest 15 % of a history, at most 20,000 rows.
#[derive(Debug, Clone)]
pub struct HeldBack<'a> {
    names: &'a [String],
    /// Of each container its rows by time.
    subjects: BTreeMap<u32, Vec<Row<'a>>>,
    rows: usize,
}

/// How a model does on rows held back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Rows that could be judged.
    pub rows: usize,
    /// The share of them with a score of [`ALARM_SCORE`] or more. One in a thousand is what the score says.
    pub false_alarm_share: f64,
    /// By how many decades rareness is off, mean over one in ten, in a hundred and in a thousand. 0.3 is a factor of two.
    pub calibration_error_decades: f64,
    /// The share of probes with such a score: at a probe one metric goes for three rows to the other end of what was usual for it,
    /// while the others stay as they are.
    pub probes_seen_share: f64,
}

impl<'a> HeldBack<'a> {
    /// What is held back of this history.
    pub fn of(history: &'a History) -> Self {
        let rows = history.in_order();
        let begin = Self::begin(rows.len()).max(rows.len().saturating_sub(ROWS_MAX));
        let mut subjects: BTreeMap<u32, Vec<Row<'a>>> = BTreeMap::new();
        let held = &rows[begin..];
        for row in held {
            subjects.entry(row.subject).or_default().push(*row);
        }
        HeldBack {
            names: history.metrics(),
            subjects,
            rows: held.len(),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The first row that is held back of so many.
    pub(crate) fn begin(rows: usize) -> usize {
        rows - (HELD_BACK_SHARE * rows as f64) as usize
    }

    /// How a model does on these rows.
    pub fn figures(&self, model: &Model) -> Figures {
        let columns = model.columns(self.names);
        let mut decades = Vec::with_capacity(self.rows);
        for rows in self.subjects.values() {
            let mut recent = Recent::new();
            let judged = rows
                .iter()
                .filter_map(|row| model.decades(&mut recent, &columns.pick(row.values)));
            decades.extend(judged);
        }
        let beyond = |least: f64| decades.iter().filter(|found| **found >= least).count() as f64;
        let judged = decades.len().max(1) as f64;
        let off = CALIBRATED_AT.map(|least| {
            let expected = judged * 10f64.powf(-least);
            ((beyond(least) + 1.0) / (expected + 1.0)).log10().abs()
        });
        Figures {
            rows: decades.len(),
            false_alarm_share: rounded(beyond(ALARM_DECADES) / judged),
            calibration_error_decades: rounded(off.iter().sum::<f64>() / off.len() as f64),
            probes_seen_share: rounded(self.probe(model, &columns)),
        }
    }

    fn probe(&self, model: &Model, columns: &Columns) -> f64 {
        let ends = self.ends(model, columns);
        let stride = (self.rows / PROBES_MAX).max(SMOOTH_ROWS);
        let mut lots = Xoshiro256Plus::seed_from_u64(PROBE_SEED);
        let (mut probes, mut seen) = (0u32, 0u32);
        for rows in self.subjects.values() {
            let mut recent = Recent::new();
            for (at, row) in rows.iter().enumerate() {
                let after = &rows[at..rows.len().min(at + SMOOTH_ROWS)];
                if at > 0 && at % stride == 0 && after.len() == SMOOTH_ROWS {
                    let metric = (lots.next_u64() % ends.len() as u64) as usize;
                    if let Some(found) =
                        broken(model, columns, &recent, after, metric, ends[metric])
                    {
                        probes += 1;
                        seen += u32::from(found >= ALARM_DECADES);
                    }
                }
                model.advance(&mut recent, &columns.pick(row.values));
            }
        }
        f64::from(seen) / f64::from(probes.max(1))
    }

    /// Of each metric of the model its 5th, 50th and 95th percentile here; none where it is never there.
    fn ends(&self, model: &Model, columns: &Columns) -> Vec<Option<[f64; 3]>> {
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); model.metrics.len()];
        for row in self.subjects.values().flatten() {
            let picked = columns.pick(row.values);
            for (values, value) in values
                .iter_mut()
                .zip(picked)
                .filter(|(_, value)| value.is_finite())
            {
                values.push(f64::from(value));
            }
        }
        let ends = values.into_iter().map(|mut values| {
            values.sort_by(f64::total_cmp);
            let at = |share| quantile(&values, share);
            Some([at(0.05)?, at(0.5)?, at(0.95)?])
        });
        ends.collect()
    }
}

/// The most decades over three rows in which one metric is at the other end of its range.
fn broken(
    model: &Model,
    columns: &Columns,
    recent: &Recent,
    rows: &[Row<'_>],
    metric: usize,
    ends: Option<[f64; 3]>,
) -> Option<f64> {
    let [low, middle, high] = ends?;
    let mut recent = recent.clone();
    let mut most: Option<f64> = None;
    let first = columns.pick(rows.first()?.values)[metric];
    let other = if f64::from(first) > middle { low } else { high };
    for row in rows {
        let mut values = columns.pick(row.values);
        values[metric] = other as f32;
        let found = model.decades(&mut recent, &values)?;
        most = Some(most.map_or(found, |most| most.max(found)));
    }
    most
}

/// Six places: enough to compare, and the same after JSON.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
