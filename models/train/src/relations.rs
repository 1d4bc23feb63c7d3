//! Which metrics go together: how far a row is from the rows of a window, by the directions in which those vary.
//!
//! The covariance of the levels is taken apart into its principal directions (linfa's eigenvalues of symmetric matrices); a
//! direction in which nothing varied counts as varying a little, so that the distance of Mahalanobis stays finite. What a metric
//! ought to be, given the others, follows from the same matrix: it is the conditional mean of a normal distribution.

use linfa_linalg::eigh::Eigh;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::scale::quantile;
use crate::settings::RELATION_PASSES;

/// Least variance of a direction, in squared spreads: a tenth of a spread is no news.
const VARIANCE_MIN: f64 = 0.01;
/// Of the rows, this share is near enough to be learned from; the farthest may be the trouble one wants to see.
const NEAR_SHARE: f64 = 0.98;
/// Metrics whose own distance counts beside that of all.
const FARTHEST: usize = 3;
/// Sweeps in which missing metrics are filled in. Each brings them nearer to their conditional mean.
const SWEEPS_MAX: usize = 12;
const SWEEP_ENOUGH: f64 = 1e-4;

/// The relations of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Relations {
    centre: Vec<f32>,
    /// Inverse of the covariance, row by row.
    precision: Vec<f32>,
}

impl Relations {
    /// Learns from levels, one row each; not-a-number is missing.
    pub(crate) fn fit(levels: &[&[f64]], width: usize) -> Result<Self, TrainError> {
        let mut near: Vec<&[f64]> = levels.to_vec();
        let mut relations = Self::of(&near, width)?;
        for _ in 1..RELATION_PASSES {
            let distances: Vec<f64> = near.iter().map(|row| relations.distance(row)).collect();
            let mut sorted = distances.clone();
            sorted.sort_by(f64::total_cmp);
            let farthest = quantile(&sorted, NEAR_SHARE).unwrap_or(f64::INFINITY);
            let mut distances = distances.into_iter();
            near.retain(|_| {
                distances
                    .next()
                    .is_some_and(|distance| distance <= farthest)
            });
            relations = Self::of(&near, width)?;
        }
        Ok(relations)
    }

    fn of(levels: &[&[f64]], width: usize) -> Result<Self, TrainError> {
        let centre: Vec<f64> = (0..width)
            .map(|at| mean(levels.iter().map(|row| row[at])))
            .collect();
        let mut covariance = Array2::<f64>::zeros((width, width));
        for one in 0..width {
            for other in one..width {
                let products = levels
                    .iter()
                    .map(|row| (row[one] - centre[one]) * (row[other] - centre[other]));
                let both = mean(products);
                covariance[(one, other)] = both;
                covariance[(other, one)] = both;
            }
        }
        let numbers = |problem: String| TrainError::Numbers {
            method: "principal directions",
            problem,
        };
        let (variances, directions) = covariance
            .eigh()
            .map_err(|error| numbers(error.to_string()))?;
        let weighted = &directions / &variances.mapv(|variance| variance.max(VARIANCE_MIN));
        let precision: Vec<f32> = weighted
            .dot(&directions.t())
            .iter()
            .map(|value| *value as f32)
            .collect();
        let relations = Relations {
            centre: centre.into_iter().map(|value| value as f32).collect(),
            precision,
        };
        match relations.is_valid(width) {
            true => Ok(relations),
            false => Err(numbers("they are not finite".to_owned())),
        }
    }

    /// How far levels are from the window, in standard deviations: over all metrics that are there, and over the few that are
    /// farthest from what the others let expect, since trouble often shows in few.
    pub(crate) fn distance(&self, level: &[f64]) -> f64 {
        let seen = level.iter().filter(|value| value.is_finite()).count();
        let away = self.completed(level);
        let mut squared = 0.0;
        let mut farthest = [0.0; FARTHEST];
        for at in 0..away.len() {
            let pull = self.pull(at, &away);
            squared += away[at] * pull;
            let mut apart = pull * pull / self.own(at);
            for place in &mut farthest {
                if apart > *place {
                    std::mem::swap(place, &mut apart);
                }
            }
        }
        let few: f64 = farthest.iter().sum::<f64>() / FARTHEST as f64;
        (squared.max(0.0) / seen.max(1) as f64 + few).sqrt()
    }

    /// Of each metric what it ought to be, given the others, and how many standard deviations it is from that.
    pub(crate) fn explain(&self, level: &[f64]) -> Vec<(f64, f64)> {
        let away = self.completed(level);
        let explained = (0..away.len()).map(|at| {
            let pull = self.pull(at, &away);
            let own = self.own(at);
            let expected = f64::from(self.centre[at]) + away[at] - pull / own;
            (expected, pull.abs() / own.sqrt())
        });
        explained.collect()
    }

    /// Distances from the centre; missing ones are what the others let expect.
    fn completed(&self, level: &[f64]) -> Vec<f64> {
        let from_centre = level.iter().zip(&self.centre);
        let mut away: Vec<f64> = from_centre
            .map(|(value, centre)| value - f64::from(*centre))
            .collect();
        let missing: Vec<usize> = (0..away.len())
            .filter(|at| !away[*at].is_finite())
            .collect();
        for at in &missing {
            away[*at] = 0.0;
        }
        for _ in 0..SWEEPS_MAX {
            let mut moved: f64 = 0.0;
            for at in &missing {
                let step = self.pull(*at, &away) / self.own(*at);
                away[*at] -= step;
                moved = moved.max(step.abs());
            }
            if moved < SWEEP_ENOUGH {
                break;
            }
        }
        away
    }

    fn pull(&self, at: usize, away: &[f64]) -> f64 {
        let row = &self.precision[at * away.len()..(at + 1) * away.len()];
        let products = row
            .iter()
            .zip(away)
            .map(|(weight, value)| f64::from(*weight) * value);
        products.sum()
    }

    fn own(&self, at: usize) -> f64 {
        f64::from(self.precision[at * self.centre.len() + at])
    }

    pub(crate) fn is_valid(&self, width: usize) -> bool {
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        self.centre.len() == width
            && self.precision.len() == width * width
            && finite(&self.centre)
            && finite(&self.precision)
            && (0..width).all(|at| self.own(at) > 0.0)
    }
}

/// The mean of what is there; zero of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values
        .filter(|value| value.is_finite())
        .fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;

    /// The second goes with the first, the third goes its own way.
    fn rows() -> Vec<Vec<f64>> {
        let mut noise = Noise::new(3);
        let row = |_| {
            let load = noise.normal();
            vec![load, load + 0.2 * noise.normal(), noise.normal()]
        };
        (0..600).map(row).collect()
    }

    fn relations() -> Relations {
        let rows = rows();
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        Relations::fit(&rows, 3).unwrap()
    }

    #[test]
    fn what_goes_together_is_near_and_what_does_not_is_far() {
        let relations = relations();
        let together = relations.distance(&[1.5, 1.5, 0.0]);
        let apart = relations.distance(&[1.5, -1.5, 0.0]);
        assert!(apart > 4.0 * together, "{together} and {apart}");
        let (expected, weight) = relations.explain(&[1.5, -1.5, 0.0])[1];
        assert!((1.0..2.0).contains(&expected), "{expected}");
        assert!(weight > 5.0, "{weight}");
    }

    #[test]
    fn what_is_missing_is_neither_near_nor_far() {
        let relations = relations();
        let filled = relations.distance(&[1.5, f64::NAN, f64::NAN]);
        assert!((filled - 1.5).abs() < 0.4, "{filled}");
        let expected = relations.explain(&[1.5, f64::NAN, 0.0])[1].0;
        assert!((expected - 1.5).abs() < 0.3, "{expected}");
    }
}
