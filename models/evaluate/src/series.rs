//! One series with its labels and a detector's scores, reduced to the points that count.

use serde::Deserialize;

use crate::numbers::median;

const SECONDS_A_DAY: f64 = 86_400.0;
/// A series of which nothing counts lasts this long, so that nothing is divided by zero.
const DAYS_MIN: f64 = 1e-9;

/// What is known about a series. Times are seconds on the series' own clock.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Labels {
    /// Points before this are history and do not count.
    pub start: f64,
    /// First and last moment of each event; both belong to it. They may touch and overlap.
    pub events: Vec<(f64, f64)>,
    /// Stretches that do not count, except where an event covers them; both ends belong to them.
    #[serde(default)]
    pub ignore: Vec<(f64, f64)>,
}

/// Whether a detector decides by itself what is an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertColumn {
    /// It does, and its rows tell.
    Present,
    /// It gives scores alone; `alert` of its rows means nothing.
    Absent,
}

/// What a detector says about one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRow {
    /// Time of the point, in seconds, as in the series.
    pub timestamp_s: f64,
    /// Higher is more anomalous; not finite where there is none.
    pub score: f64,
    /// The detector raises an alarm here.
    pub alert: bool,
}

/// What a detector says about a series, in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// One for each point, except those without a score.
    pub rows: Vec<ScoreRow>,
    /// Whether `alert` of the rows counts.
    pub alerts: AlertColumn,
}

/// A range of points by their positions; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Why timestamps, labels and scores do not make a labelled series.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SeriesError {
    /// No distance between points can be told.
    #[error("the series has {points} points, and two are the fewest; use one with more")]
    TooShort {
        /// Points there are.
        points: usize,
    },
    /// Points must be in order of time.
    #[error(
        "timestamp {timestamp_s} of the series is not later than the one before it; sort the series and keep one row for each time"
    )]
    NotInOrder {
        /// The one that is not later than the one before it.
        timestamp_s: f64,
    },
    /// Scores of points that do not exist.
    #[error(
        "{count} timestamps of the scores are not in the series, first {first_s}; write the timestamps of the series as they stand"
    )]
    NotInSeries {
        /// How many.
        count: usize,
        /// The first of them.
        first_s: f64,
    },
    /// Two scores of one point.
    #[error(
        "timestamp {timestamp_s} of the scores stands there twice; write one row for each point"
    )]
    Repeated {
        /// The timestamp.
        timestamp_s: f64,
    },
}

/// One series, its labels and its scores, at the points that count.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledSeries {
    name: String,
    pub(crate) timestamps_s: Vec<f64>,
    /// Finite, one for each point.
    pub(crate) scores: Vec<f64>,
    /// The detector's own decision, one for each point.
    alerts: Option<Vec<bool>>,
    /// Labelled ranges, in order, with at least one point between them.
    pub(crate) events: Vec<Span>,
    /// Labelled ranges as they were given, without those that no point is left of.
    pub(crate) windows: Vec<Span>,
    /// How long the points that count last.
    pub(crate) days: f64,
    unscored: usize,
}

impl LabelledSeries {
    /// Joins the three and keeps the points from `labels.start` on that are not ignored. A point without a finite score counts as
    /// score 0, and one without a row as no alert besides.
    ///
    /// # Errors
    /// When the timestamps are not in order, or the scores are not those of these points.
    pub fn new(
        name: String,
        timestamps_s: &[f64],
        labels: &Labels,
        scores: &Scores,
    ) -> Result<LabelledSeries, SeriesError> {
        let step_s = step(timestamps_s)?;
        let rows = placed(timestamps_s, &scores.rows)?;
        let own = marked(timestamps_s, &labels.events);
        let ignored = marked(timestamps_s, &labels.ignore);
        let kept: Vec<usize> = (0..timestamps_s.len())
            .filter(|&at| timestamps_s[at] >= labels.start && (own[at] || !ignored[at]))
            .collect();
        let finite = |at: usize| rows[at].map(|row| row.score).filter(|it| it.is_finite());
        let alert = |at: usize| rows[at].is_some_and(|row| row.alert);
        let timestamps_s: Vec<f64> = kept.iter().map(|&at| timestamps_s[at]).collect();
        let windows = labels
            .events
            .iter()
            .filter_map(|&event| span(&timestamps_s, event));
        Ok(LabelledSeries {
            name,
            // Minus zero is zero, also where scores are sorted.
            scores: kept
                .iter()
                .map(|&at| finite(at).unwrap_or(0.0) + 0.0)
                .collect(),
            alerts: match scores.alerts {
                AlertColumn::Present => Some(kept.iter().map(|&at| alert(at)).collect()),
                AlertColumn::Absent => None,
            },
            events: runs(kept.iter().map(|&at| own[at])),
            windows: windows.collect(),
            days: (kept.len() as f64 * step_s / SECONDS_A_DAY).max(DAYS_MIN),
            unscored: kept.iter().filter(|&&at| finite(at).is_none()).count(),
            timestamps_s,
        })
    }

    /// The series' name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Points that count.
    pub fn points(&self) -> usize {
        self.scores.len()
    }

    /// Points that count and have no finite score.
    pub fn unscored(&self) -> usize {
        self.unscored
    }

    /// Whether the detector decides by itself what is an alarm.
    pub fn alert_column(&self) -> AlertColumn {
        match self.alerts {
            Some(_) => AlertColumn::Present,
            None => AlertColumn::Absent,
        }
    }

    /// Positions of the points that are on by the detector's own decision, or, where it makes none, by this threshold.
    pub(crate) fn own_points(&self, threshold: Option<f64>) -> Vec<usize> {
        let all = 0..self.points();
        match (&self.alerts, threshold) {
            (Some(alerts), _) => all.filter(|&at| alerts[at]).collect(),
            (None, Some(threshold)) => all.filter(|&at| self.scores[at] >= threshold).collect(),
            (None, None) => Vec::new(),
        }
    }

    /// Whether each point is in an event.
    pub(crate) fn inside(&self) -> Vec<bool> {
        let mut inside = vec![false; self.points()];
        for event in &self.events {
            inside[event.first..=event.last].fill(true);
        }
        inside
    }

    /// Points in events.
    pub(crate) fn points_inside(&self) -> usize {
        self.events
            .iter()
            .map(|event| event.last - event.first + 1)
            .sum()
    }
}

/// The usual distance between points, in seconds.
fn step(timestamps_s: &[f64]) -> Result<f64, SeriesError> {
    let steps: Vec<f64> = timestamps_s
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    if let Some(at) = steps.iter().position(|step| step.is_nan() || *step <= 0.0) {
        let timestamp_s = timestamps_s[at + 1];
        return Err(SeriesError::NotInOrder { timestamp_s });
    }
    let points = timestamps_s.len();
    median(steps).ok_or(SeriesError::TooShort { points })
}

/// The row of each point.
fn placed(timestamps_s: &[f64], rows: &[ScoreRow]) -> Result<Vec<Option<ScoreRow>>, SeriesError> {
    let mut placed = vec![None; timestamps_s.len()];
    let mut repeated = None;
    let (mut count, mut first_s) = (0, None);
    for row in rows {
        let at = timestamps_s.partition_point(|it| *it < row.timestamp_s);
        if timestamps_s.get(at) != Some(&row.timestamp_s) {
            count += 1;
            first_s = first_s.or(Some(row.timestamp_s));
        } else if placed[at].replace(*row).is_some() {
            repeated = repeated.or(Some(row.timestamp_s));
        }
    }
    match (first_s, repeated) {
        (Some(first_s), _) => Err(SeriesError::NotInSeries { count, first_s }),
        (None, Some(timestamp_s)) => Err(SeriesError::Repeated { timestamp_s }),
        (None, None) => Ok(placed),
    }
}

/// Positions of the points within a stretch of time, if there are any.
fn span(timestamps_s: &[f64], (from, to): (f64, f64)) -> Option<Span> {
    let first = timestamps_s.partition_point(|at| *at < from);
    let end = timestamps_s.partition_point(|at| *at <= to);
    (first < end).then(|| Span {
        first,
        last: end - 1,
    })
}

fn marked(timestamps_s: &[f64], stretches: &[(f64, f64)]) -> Vec<bool> {
    let mut marked = vec![false; timestamps_s.len()];
    for span in stretches.iter().filter_map(|it| span(timestamps_s, *it)) {
        marked[span.first..=span.last].fill(true);
    }
    marked
}

/// Ranges of points that follow each other.
fn runs(inside: impl Iterator<Item = bool>) -> Vec<Span> {
    let mut runs: Vec<Span> = Vec::new();
    for (at, _) in inside.enumerate().filter(|(_, inside)| *inside) {
        match runs.last_mut() {
            Some(run) if run.last + 1 == at => run.last = at,
            Some(_) | None => runs.push(Span {
                first: at,
                last: at,
            }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{labels, row, rows, times};

    fn joined(labels: &Labels, scores: &Scores) -> LabelledSeries {
        LabelledSeries::new("a".to_owned(), &times(20), labels, scores).unwrap()
    }

    #[test]
    fn history_and_what_belongs_to_others_does_not_count() {
        let known = Labels {
            ignore: vec![(300.0, 540.0)],
            ..labels(2, &[(6, 7), (12, 13), (14, 14), (0, 1)])
        };
        let series = joined(&known, &rows(&[0.5; 20]));
        // Points 5, 8 and 9 are ignored, 6 and 7 are not: an event covers them.
        assert_eq!(series.points(), 15);
        assert_eq!(series.timestamps_s[3], 360.0);
        let spans = [(3, 4), (7, 9)].map(|(first, last)| Span { first, last });
        assert_eq!(series.events, spans);
        assert_eq!(series.windows.len(), 3, "touching windows stay apart");
        assert!((series.days - 15.0 * 60.0 / 86_400.0).abs() < 1e-12);
        assert_eq!(series.points_inside(), 5);
    }

    #[test]
    fn points_without_a_score_are_counted_and_silent() {
        let mut scores = rows(&[0.5; 20]);
        scores.rows[4].score = f64::NAN;
        scores.rows[5].score = f64::INFINITY;
        scores.rows.remove(9);
        scores.rows.remove(0);
        let series = joined(&labels(1, &[]), &scores);
        assert_eq!(series.unscored(), 3);
        assert_eq!((series.scores[3], series.scores[8]), (0.0, 0.0));
        assert_eq!(series.own_points(Some(0.1)).len(), 16);
    }

    #[test]
    fn a_detectors_own_decision_goes_before_a_threshold() {
        let mut scores = rows(&[0.9; 20]);
        scores.alerts = AlertColumn::Present;
        scores.rows[3].alert = true;
        scores.rows.reverse();
        let series = joined(&labels(0, &[]), &scores);
        assert_eq!(series.alert_column(), AlertColumn::Present);
        assert_eq!(series.own_points(Some(0.5)), [3]);
    }

    #[test]
    fn rows_that_do_not_fit_are_named() {
        let error = |times: &[f64], scores: &Scores| {
            LabelledSeries::new("a".to_owned(), times, &labels(0, &[]), scores).unwrap_err()
        };
        let mut scores = rows(&[0.5; 20]);
        scores.rows.push(row(60.0, 0.1));
        let repeated = SeriesError::Repeated { timestamp_s: 60.0 };
        assert_eq!(error(&times(20), &scores), repeated);
        scores
            .rows
            .extend([row(61.0, 0.1), row(f64::NAN, 0.1), row(9e9, 0.1)]);
        let foreign = SeriesError::NotInSeries {
            count: 3,
            first_s: 61.0,
        };
        assert_eq!(error(&times(20), &scores), foreign);
        let short = SeriesError::TooShort { points: 1 };
        assert_eq!(error(&times(1), &rows(&[])), short);
        let unsorted = SeriesError::NotInOrder { timestamp_s: 5.0 };
        assert_eq!(error(&[0.0, 5.0, 5.0], &rows(&[])), unsorted);
    }
}
