//! What a service did: rows of numbers.

use std::collections::BTreeSet;

use units::Timestamp;

use crate::error::TrainError;

/// Columns that are looked at when metrics are chosen.
const COLUMNS_MAX: usize = 512;
/// Numbers a history holds: 160 MB.
const CELLS_MAX: usize = 40_000_000;

/// Rows of a service's containers, in any order: when, which container, one number for each metric, absent where it is missing.
///
/// It holds at most 40 million numbers; beyond that a row is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    metrics: Vec<String>,
    rows: Vec<Place>,
    /// Row by row; not-a-number where it is missing.
    values: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    at: Timestamp,
    subject: u32,
}

/// A row as it is gone through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) at: Timestamp,
    pub(crate) subject: u32,
    /// Not-a-number where it is missing.
    pub(crate) values: &'a [f32],
}

impl History {
    /// An empty history of these metrics.
    ///
    /// # Errors
    /// When a name stands twice, or there are too many.
    pub fn new(metrics: Vec<String>) -> Result<Self, TrainError> {
        if metrics.len() > COLUMNS_MAX {
            return Err(TrainError::TooManyColumns {
                columns: metrics.len(),
                most: COLUMNS_MAX,
            });
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = metrics.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(TrainError::SameName(twice.clone()));
        }
        Ok(History {
            metrics,
            rows: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Adds a row of the container with this number. What is not finite is missing.
    ///
    /// # Errors
    /// When it has another number of values than there are metrics, or the history is full.
    pub fn push(
        &mut self,
        at: Timestamp,
        subject: u32,
        values: &[Option<f64>],
    ) -> Result<(), TrainError> {
        if values.len() != self.metrics.len() {
            return Err(TrainError::RowLength {
                values: values.len(),
                columns: self.metrics.len(),
            });
        }
        if self.values.len() + values.len() > CELLS_MAX {
            return Err(TrainError::Full {
                rows: self.rows.len(),
            });
        }
        self.rows.push(Place { at, subject });
        let cell = |value: &Option<f64>| match value {
            Some(number) if (*number as f32).is_finite() => *number as f32,
            Some(_) | None => f32::NAN,
        };
        self.values.extend(values.iter().map(cell));
        Ok(())
    }

    /// Names of the metrics, one for each column.
    pub fn metrics(&self) -> &[String] {
        &self.metrics
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// How many containers there are.
    pub fn subjects(&self) -> usize {
        let subjects: BTreeSet<u32> = self.rows.iter().map(|row| row.subject).collect();
        subjects.len()
    }

    /// The times of the first and the last row.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let at = || self.rows.iter().map(|row| row.at);
        Some((at().min()?, at().max()?))
    }

    /// The rows by time.
    pub(crate) fn in_order(&self) -> Vec<Row<'_>> {
        let width = self.metrics.len();
        let mut rows: Vec<Row<'_>> = self
            .rows
            .iter()
            .enumerate()
            .map(|(index, place)| Row {
                at: place.at,
                subject: place.subject,
                values: &self.values[index * width..(index + 1) * width],
            })
            .collect();
        rows.sort_by_key(|row| (row.at, row.subject));
        rows
    }
}
