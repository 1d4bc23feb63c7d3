//! Which states a service takes: the centroids of levels and changes in a window (linfa's k-means, as Netdata uses k-means).

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::{KMeans, KMeansInit};
use ndarray::Array2;
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::recent::Features;
use crate::settings::CENTROIDS_MAX;

/// Rows for each centroid, at least; with fewer there are fewer centroids.
const ROWS_A_CENTROID: usize = 40;
const TOLERANCE: f64 = 1e-3;

/// The states of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shapes {
    /// Levels, then changes, of each state.
    centroids: Vec<Vec<f32>>,
}

impl Shapes {
    /// Learns from the features of a window.
    pub(crate) fn fit(
        rows: &[&Features],
        width: usize,
        centroids: usize,
        iterations: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let numbers = |problem: String| TrainError::Numbers {
            method: "clusters",
            problem,
        };
        let joined: Vec<f64> = rows.iter().flat_map(|row| row.joined()).collect();
        let matrix = Array2::from_shape_vec((rows.len(), 2 * width), joined)
            .map_err(|error| numbers(error.to_string()))?;
        let wanted = centroids.min(rows.len() / ROWS_A_CENTROID).max(1);
        let found = KMeans::params_with_rng(wanted, Xoshiro256Plus::seed_from_u64(seed))
            .init_method(KMeansInit::KMeansPlusPlus)
            .n_runs(1)
            .max_n_iterations(iterations as u64)
            .tolerance(TOLERANCE)
            .fit(&DatasetBase::from(matrix))
            .map_err(|error| numbers(error.to_string()))?;
        let centroids = found
            .centroids()
            .rows()
            .into_iter()
            .map(|row| row.iter().map(|value| *value as f32).collect())
            .collect();
        let shapes = Shapes { centroids };
        match shapes.is_valid(width) {
            true => Ok(shapes),
            false => Err(numbers("they are not finite".to_owned())),
        }
    }

    /// How far features are from the nearest state, in spreads over all that are there.
    pub(crate) fn distance(&self, features: &Features) -> f64 {
        self.nearest(features).0
    }

    /// Of each metric what it is in the nearest state, and how many spreads it is from that, its change included.
    pub(crate) fn explain(&self, features: &Features) -> Vec<(f64, f64)> {
        let Some(state) = self.nearest(features).1 else {
            return Vec::new();
        };
        let width = features.level.len();
        let away = |value: f64, usual: f32| match value.is_finite() {
            true => (value - f64::from(usual)).powi(2),
            false => 0.0,
        };
        let explained = (0..width).map(|at| {
            let level = away(features.level[at], state[at]);
            let change = away(features.change[at], state[width + at]);
            (f64::from(state[at]), (level + change).sqrt())
        });
        explained.collect()
    }

    fn nearest(&self, features: &Features) -> (f64, Option<&Vec<f32>>) {
        let values = || features.level.iter().chain(&features.change);
        let seen = values().filter(|value| value.is_finite()).count().max(1);
        let mut nearest = (f64::INFINITY, None);
        for state in &self.centroids {
            let squared: f64 = values()
                .zip(state)
                .filter(|(value, _)| value.is_finite())
                .map(|(value, usual)| (value - f64::from(*usual)).powi(2))
                .sum();
            if squared < nearest.0 {
                nearest = (squared, Some(state));
            }
        }
        ((nearest.0 / seen as f64).sqrt(), nearest.1)
    }

    pub(crate) fn is_valid(&self, width: usize) -> bool {
        let fits = |state: &Vec<f32>| {
            state.len() == 2 * width && state.iter().all(|value| value.is_finite())
        };
        (1..=CENTROIDS_MAX).contains(&self.centroids.len()) && self.centroids.iter().all(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;

    #[test]
    fn each_state_is_near_and_what_lies_between_is_far() {
        let mut noise = Noise::new(5);
        let rows: Vec<Features> = (0..400)
            .map(|at| {
                let state = if at % 2 == 0 { 3.0 } else { -3.0 };
                Features {
                    level: vec![state + 0.1 * noise.normal(), state + 0.1 * noise.normal()],
                    change: vec![0.0, f64::NAN],
                }
            })
            .collect();
        let rows: Vec<&Features> = rows.iter().collect();
        let shapes = Shapes::fit(&rows, 2, 2, 20, 9).unwrap();
        let at = |one: f64, other: f64| Features {
            level: vec![one, other],
            change: vec![0.0, 0.0],
        };
        assert!(shapes.distance(&at(3.0, 3.0)) < 0.2);
        assert!(shapes.distance(&at(-3.0, -3.0)) < 0.2);
        assert!(shapes.distance(&at(0.0, 0.0)) > 1.5);
        let (expected, weight) = shapes.explain(&at(3.0, -1.0))[1];
        assert!(
            (expected - 3.0).abs() < 0.2 && weight > 3.0,
            "{expected} {weight}"
        );
    }
}
