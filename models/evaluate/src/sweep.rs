//! What any one threshold on the scores could reach, the labels being known: a ceiling, not a claim.

use serde::Serialize;

use crate::alarms::AlarmFigures;
use crate::numbers::{evenly, quantile};
use crate::series::LabelledSeries;

/// Thresholds by the shares of points below them: coarse below the top tenth, which alarms seldom reach.
const COARSE: usize = 10;
/// Fine within the top tenth, down to one point in 100 000.
const FINE: usize = 200;

/// Best recall of any threshold within a number of false alarms for each day of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RecallWithin {
    /// One in ten days.
    #[serde(rename = "0.1")]
    pub tenth: f64,
    /// One in two days.
    #[serde(rename = "0.5")]
    pub half: f64,
    /// One a day.
    #[serde(rename = "1")]
    pub one: f64,
}

/// The threshold with the highest event F1, the highest one of equals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BestThreshold {
    /// Points with this score or more are on.
    pub threshold: f64,
    /// Event F1 there.
    pub event_f1: f64,
}

/// Thresholds, rising, each with what comes of it.
#[derive(Debug)]
pub(crate) struct Sweep(Vec<(f64, AlarmFigures)>);

impl Sweep {
    /// Tries every threshold; none where no series has a point. What is on at one threshold is looked for among what was on at the
    /// one below, so that all of them together cost about as much as eight passes over the points.
    pub(crate) fn of(series: &[LabelledSeries], grace_points: usize) -> Option<Sweep> {
        let mut on: Vec<Vec<usize>> = series.iter().map(|it| (0..it.points()).collect()).collect();
        let rows = thresholds(series)?.into_iter().map(|threshold| {
            for (on, series) in on.iter_mut().zip(series) {
                on.retain(|at| series.scores[*at] >= threshold);
            }
            (threshold, AlarmFigures::of(series, &on, grace_points))
        });
        Some(Sweep(rows.collect()))
    }

    pub(crate) fn recall_within(&self) -> RecallWithin {
        let within = |budget: f64| {
            self.0
                .iter()
                .filter(|(_, figures)| figures.false_alarms_per_series_day <= budget)
                .map(|(_, figures)| figures.recall)
                .fold(0.0, f64::max)
        };
        RecallWithin {
            tenth: within(0.1),
            half: within(0.5),
            one: within(1.0),
        }
    }

    pub(crate) fn best(&self) -> BestThreshold {
        let mut best = BestThreshold {
            threshold: f64::NEG_INFINITY,
            event_f1: 0.0,
        };
        for (threshold, figures) in &self.0 {
            if figures.event_f1 >= best.event_f1 {
                best = BestThreshold {
                    threshold: *threshold,
                    event_f1: figures.event_f1,
                };
            }
        }
        best
    }
}

/// Quantiles of all scores together, each once, rising; the lowest and the highest score are among them.
fn thresholds(series: &[LabelledSeries]) -> Option<Vec<f64>> {
    let mut sorted: Vec<f64> = series
        .iter()
        .flat_map(|it| it.scores.iter().copied())
        .collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let highest = *sorted.last()?;
    let coarse = evenly(0.0, 0.9, COARSE);
    let fine = evenly(-1.0, -5.0, FINE).map(|exponent| 1.0 - 10f64.powf(exponent));
    let mut found: Vec<f64> = coarse
        .chain(fine)
        .map(|share| quantile(&sorted, share))
        .chain([highest])
        .collect();
    found.sort_by(f64::total_cmp);
    found.dedup();
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{high_in, named, noise, series};

    #[test]
    fn thresholds_rise_from_the_lowest_to_the_highest_score() {
        let scores: Vec<f64> = (0..5_000).map(|at| noise(3, at)).collect();
        let found = thresholds(&[series(&scores, &[])]).unwrap();
        assert!(found.len() > 200 && found.is_sorted_by(|a, b| a < b));
        let lowest = scores.iter().copied().fold(1.0, f64::min);
        let highest = scores.iter().copied().fold(0.0, f64::max);
        assert_eq!((found[0], found[found.len() - 1]), (lowest, highest));
        assert_eq!(thresholds(&[series(&[0.3; 9], &[])]).unwrap(), [0.3]);
        assert!(thresholds(&[]).is_none());
    }

    #[test]
    fn each_threshold_counts_what_reaches_it() {
        let events = [(100, 119), (700, 709)];
        let scores: Vec<f64> = (0..1_440)
            .map(|at| (noise(5, at) * 20.0).round() / 20.0)
            .collect();
        let all = [series(&scores, &events), named("b", &scores, &[])];
        for (threshold, figures) in Sweep::of(&all, 2).unwrap().0 {
            let on: Vec<_> = all
                .iter()
                .map(|it| it.own_points(Some(threshold)))
                .collect();
            assert_eq!(figures, AlarmFigures::of(&all, &on, 2));
        }
    }

    #[test]
    fn budgets_hold_and_equal_thresholds_give_the_highest() {
        let events = [(100, 109)];
        let perfect = [series(&high_in(1_440, &events), &events)];
        let sweep = Sweep::of(&perfect, 0).unwrap();
        assert_eq!(sweep.best().threshold, 1.0);
        assert_eq!(sweep.best().event_f1, 1.0);
        // One false alarm in one day lies above the event's own score.
        let mut scores = high_in(1_440, &events);
        scores[500] = 2.0;
        let sweep = Sweep::of(&[series(&scores, &events)], 0).unwrap();
        let within = sweep.recall_within();
        assert_eq!((within.tenth, within.half, within.one), (0.0, 0.0, 1.0));
        // Nothing found anywhere is best at the highest threshold of all.
        let silent = Sweep::of(&[series(&[0.0, 0.5, 1.0], &[])], 0).unwrap();
        assert_eq!(silent.best().threshold, 1.0);
    }
}
