//! How good a detector is: labelled series with its scores in, figures out.
//!
//! [`LabelledSeries`] joins a series' timestamps, its labels and a detector's scores, and keeps the points that count. [`evaluate`]
//! takes all series of a set and answers with an [`Evaluation`]: how well the scores rank (area and volume under the
//! precision-recall curve), what the detector's own alarms are worth to somebody who has to live with them (events found, false
//! alarms for each day of a series, delay), what any threshold could reach, and Numenta's score where a set is known by it. It is
//! pure and deterministic.
//!
//! What this crate does not do: it reads no files, and it changes no score. There is no point adjustment: one point found in an
//! event does not count as all of them. How long a soft edge is, and which points after an event are forgiven, belongs to the set
//! ([`Rules`]) and cannot be chosen, so that figures of one set can be compared.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod alarms;
mod nab;
mod numbers;
mod ranking;
mod report;
mod series;
mod sets;
mod sweep;
mod volume;

pub use alarms::AlarmFigures;
pub use nab::NabFigures;
pub use numbers::general;
pub use report::{Evaluation, Flat, FlatNab, NothingToEvaluate, SeriesFigures, evaluate};
pub use series::{AlertColumn, LabelledSeries, Labels, ScoreRow, Scores, SeriesError};
pub use sets::{Nab, Rules, UnknownSet};
pub use sweep::{BestThreshold, RecallWithin};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
