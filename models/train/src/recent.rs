//! The last rows of one container: what a single row does not show.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The level of a metric is its mean over so many rows.
pub(crate) const SMOOTH_ROWS: usize = 3;
/// The change of a metric is taken to its level so many rows before.
const LAG_ROWS: usize = 3;
const KEPT_ROWS: usize = SMOOTH_ROWS + LAG_ROWS;

/// The last six rows of one container, scaled. Each container has its own; a model's belong to that model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    rows: VecDeque<Vec<f32>>,
}

/// What a model looks at: of each metric its level and its change, not-a-number where they are missing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Features {
    pub(crate) level: Vec<f64>,
    pub(crate) change: Vec<f64>,
}

impl Recent {
    /// Rows that matter to the one that comes after them.
    pub const ROWS: usize = KEPT_ROWS - 1;

    /// No rows yet.
    pub fn new() -> Self {
        Recent::default()
    }

    /// Takes a scaled row and gives the features at it.
    pub(crate) fn push(&mut self, scaled: Vec<f32>) -> Features {
        // Another model's rows mean nothing here.
        if self
            .rows
            .front()
            .is_some_and(|row| row.len() != scaled.len())
        {
            self.rows.clear();
        }
        if self.rows.len() == KEPT_ROWS {
            self.rows.pop_front();
        }
        self.rows.push_back(scaled);
        let level = self.level(0);
        let change = match self.rows.len() > LAG_ROWS {
            true => {
                let before = self.level(LAG_ROWS);
                level
                    .iter()
                    .zip(before)
                    .map(|(now, then)| now - then)
                    .collect()
            }
            false => vec![f64::NAN; level.len()],
        };
        Features { level, change }
    }

    /// Means over the rows up to `lag` rows ago.
    fn level(&self, lag: usize) -> Vec<f64> {
        let width = self.rows.back().map_or(0, Vec::len);
        let rows = self.rows.iter().rev().skip(lag).take(SMOOTH_ROWS);
        let mut sums = vec![(0.0, 0u32); width];
        for row in rows {
            for (sum, value) in sums
                .iter_mut()
                .zip(row)
                .filter(|(_, value)| value.is_finite())
            {
                sum.0 += f64::from(*value);
                sum.1 += 1;
            }
        }
        sums.into_iter()
            .map(|(sum, count)| sum / f64::from(count))
            .collect()
    }
}

impl Features {
    /// Level and change in one row; what is missing as it usually is.
    pub(crate) fn joined(&self) -> impl Iterator<Item = f64> + '_ {
        let usual = |value: &f64| if value.is_finite() { *value } else { 0.0 };
        self.level.iter().chain(&self.change).map(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_mean_of_what_is_there_and_a_change_its_step() {
        let mut recent = Recent::new();
        let first = recent.push(vec![1.0, f32::NAN]);
        assert_eq!(first.level[0], 1.0);
        assert!(first.level[1].is_nan() && first.change[0].is_nan());
        for value in [2.0, 3.0, 4.0, 5.0] {
            recent.push(vec![value, 1.0]);
        }
        let last = recent.push(vec![6.0, f32::NAN]);
        assert_eq!((last.level[0], last.change[0]), (5.0, 3.0));
        assert_eq!(last.level[1], 1.0);
        assert_eq!(
            recent.push(vec![0.0]).level,
            [0.0],
            "another width starts anew"
        );
    }
}
