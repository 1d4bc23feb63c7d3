//! How much is spent on a model.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// Metrics a model looks at; of more, those that change most often are taken.
pub(crate) const METRICS_MAX: usize = 32;
/// Members of a model: windows of different age.
pub(crate) const WINDOWS_MAX: usize = 6;
/// Centroids of each member.
pub(crate) const CENTROIDS_MAX: usize = 8;
/// Rows that are learned from; of more, as many are drawn by lot.
const ROWS_MAX: usize = 200_000;
/// Fewer rows than this say nothing about tails.
pub(crate) const ROWS_MIN: usize = 200;
const ITERATIONS_MAX: usize = 500;
/// Times the relations of a window are worked out: once with all rows, once without the farthest.
pub(crate) const RELATION_PASSES: usize = 2;

/// Bounds of one training. Cost is at most what [`TrainSettings::cost`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainSettings {
    rows_max: usize,
    iterations_max: usize,
    windows: usize,
    centroids: usize,
}

impl Default for TrainSettings {
    fn default() -> Self {
        TrainSettings {
            rows_max: 20_000,
            iterations_max: 50,
            windows: 4,
            centroids: 6,
        }
    }
}

impl TrainSettings {
    /// Settings with these bounds: rows learned from, iterations of each clustering, windows of different age (members of the
    /// model), centroids of each.
    ///
    /// # Errors
    /// When one is out of its range.
    pub fn new(
        rows_max: usize,
        iterations_max: usize,
        windows: usize,
        centroids: usize,
    ) -> Result<Self, TrainError> {
        let ranges = [
            ("rows_max", rows_max, ROWS_MIN, ROWS_MAX),
            ("iterations_max", iterations_max, 1, ITERATIONS_MAX),
            ("windows", windows, 1, WINDOWS_MAX),
            ("centroids", centroids, 1, CENTROIDS_MAX),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(TrainError::Setting {
                    name,
                    value,
                    least,
                    most,
                });
            }
        }
        Ok(TrainSettings {
            rows_max,
            iterations_max,
            windows,
            centroids,
        })
    }

    /// Rows that are learned from at most.
    pub fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// Iterations of each clustering at most.
    pub fn iterations_max(&self) -> usize {
        self.iterations_max
    }

    /// Windows of different age.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// Centroids of each window.
    pub fn centroids(&self) -> usize {
        self.centroids
    }

    /// The most a training on so many rows and metrics costs.
    pub fn cost(&self, rows: usize, metrics: usize) -> Cost {
        let used = rows.min(self.rows_max) as u64;
        let metrics = metrics.min(METRICS_MAX) as u64;
        let windows = self.windows as u64;
        // Windows overlap by half.
        let window_rows = (2 * used).div_ceil(windows + 1).min(used);
        let relations = window_rows * metrics * metrics * RELATION_PASSES as u64;
        let features = 2 * metrics;
        let clustering =
            window_rows * features * self.centroids as u64 * (1 + self.iterations_max as u64);
        let scoring = used * (metrics * metrics + features * self.centroids as u64);
        let reading = rows as u64 * features;
        Cost {
            multiply_adds: reading + windows * (relations + clustering + scoring),
        }
    }
}

/// An estimate of work. How long one multiplication takes is the machine's to say: measure a training and divide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cost {
    /// Multiplications with addition.
    pub multiply_adds: u64,
}
