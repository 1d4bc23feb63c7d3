//! Series for tests: a point a minute.

use crate::{AlertColumn, LabelledSeries, Labels, ScoreRow, Scores};

pub(crate) fn times(points: usize) -> Vec<f64> {
    (0..points).map(|at| at as f64 * 60.0).collect()
}

/// By positions of points.
pub(crate) fn labels(start: usize, events: &[(usize, usize)]) -> Labels {
    let time = |at: usize| at as f64 * 60.0;
    Labels {
        start: time(start),
        events: events.iter().map(|(a, b)| (time(*a), time(*b))).collect(),
        ignore: Vec::new(),
    }
}

pub(crate) fn row(timestamp_s: f64, score: f64) -> ScoreRow {
    ScoreRow {
        timestamp_s,
        score,
        alert: false,
    }
}

pub(crate) fn rows(scores: &[f64]) -> Scores {
    let rows = times(scores.len()).into_iter().zip(scores);
    Scores {
        rows: rows.map(|(at, score)| row(at, *score)).collect(),
        alerts: AlertColumn::Absent,
    }
}

/// A series that counts from its first point on.
pub(crate) fn series(scores: &[f64], events: &[(usize, usize)]) -> LabelledSeries {
    named("a", scores, events)
}

pub(crate) fn named(name: &str, scores: &[f64], events: &[(usize, usize)]) -> LabelledSeries {
    let known = labels(0, events);
    LabelledSeries::new(name.to_owned(), &times(scores.len()), &known, &rows(scores)).unwrap()
}

/// Score 1 in these ranges of points, 0 outside.
pub(crate) fn high_in(points: usize, ranges: &[(usize, usize)]) -> Vec<f64> {
    let mut scores = vec![0.0; points];
    for (first, last) in ranges {
        scores[*first..=*last].fill(1.0);
    }
    scores
}

/// The same numbers on every run, evenly between 0 and 1 (SplitMix64's mixing of the position).
pub(crate) fn noise(seed: u64, at: usize) -> f64 {
    let mut bits = seed
        .wrapping_add(at as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
