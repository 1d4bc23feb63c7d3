//! Numenta's score: an event is worth more the sooner it is found, and a false alarm costs more the further it is from one.

use serde::Serialize;

use crate::numbers::sum;
use crate::series::LabelledSeries;

/// What an alarm far from every event costs, where a missed event costs 1 (standard profile).
const FALSE_ALARM: f64 = 0.11;
/// Beyond this many lengths of an event the cost rises no more.
const FAR: f64 = 3.0;
/// What doing nothing is worth, and what being perfect is.
const PERFECT: f64 = 100.0;

/// Numenta's score with the standard profile: 0 is no alarm at all, 100 perfect, and below 0 is possible.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NabFigures {
    /// At the best single threshold on the labels, as on the public board. None where there are no events.
    pub labels_chosen_threshold: Option<f64>,
    /// At the detector's own alarms, where it has any to give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_alarms: Option<f64>,
}

/// Every point of a set as the score sees it: Lavin and Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms", ICMLA 2015,
/// section III.
#[derive(Debug)]
pub(crate) struct Corpus {
    points: Vec<Point>,
    /// Where each series begins among the points.
    begins: Vec<usize>,
    windows: usize,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    score: f64,
    /// What an alarm here is worth: in a window 1 at its beginning and less towards its end, below 0 outside.
    value: f64,
    /// The event's number in the set.
    window: Option<usize>,
}

impl Corpus {
    pub(crate) fn of(series: &[LabelledSeries]) -> Corpus {
        let mut corpus = Corpus {
            points: Vec::with_capacity(series.iter().map(LabelledSeries::points).sum()),
            begins: Vec::with_capacity(series.len()),
            windows: 0,
        };
        for series in series {
            corpus.begins.push(corpus.points.len());
            corpus.points.extend(valued(series, corpus.windows));
            corpus.windows += series.windows.len();
        }
        corpus
    }

    /// The score at the threshold that makes it highest, or with no alarm at all. None where there are no events.
    pub(crate) fn at_best_threshold(&self) -> Option<f64> {
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        order.sort_unstable_by(|a, b| self.points[*b].score.total_cmp(&self.points[*a].score));
        let mut tally = Tally::new(self.windows);
        let mut highest = tally.total;
        for step in order.chunk_by(|a, b| self.points[*a].score == self.points[*b].score) {
            for at in step {
                tally.take(&self.points[*at]);
            }
            highest = highest.max(tally.total);
        }
        self.scaled(highest)
    }

    /// The score with alarms at these points of each series. None where there are no events.
    pub(crate) fn at(&self, on: &[Vec<usize>]) -> Option<f64> {
        let mut tally = Tally::new(self.windows);
        let mut outside = Vec::new();
        for (begin, on) in self.begins.iter().zip(on) {
            for point in on.iter().map(|at| self.points[begin + at]) {
                match point.window {
                    Some(_) => tally.take(&point),
                    None => outside.push(point.value),
                }
            }
        }
        self.scaled(tally.total + sum(&outside))
    }

    /// From 0 for nothing done to 100 for every event found at its first point.
    fn scaled(&self, total: f64) -> Option<f64> {
        let windows = self.windows as f64;
        (self.windows > 0).then(|| (total + windows) * PERFECT / (2.0 * windows))
    }
}

/// The sum over alarms so far: each event counts once, by its best alarm, and minus one while it has none.
#[derive(Debug)]
struct Tally {
    best: Vec<f64>,
    total: f64,
}

impl Tally {
    fn new(windows: usize) -> Tally {
        Tally {
            best: vec![-1.0; windows],
            total: -(windows as f64),
        }
    }

    fn take(&mut self, point: &Point) {
        let Some(window) = point.window else {
            self.total += point.value;
            return;
        };
        let best = &mut self.best[window];
        if point.value > *best {
            self.total += point.value - *best;
            *best = point.value;
        }
    }
}

/// The points of a series, its windows numbered from `first_window` on. Where windows overlap, the later one's values stand.
fn valued(series: &LabelledSeries, first_window: usize) -> Vec<Point> {
    let point = |score: &f64| Point {
        score: *score,
        value: -1.0,
        window: None,
    };
    let mut points: Vec<Point> = series.scores.iter().map(point).collect();
    for (number, span) in series.windows.iter().enumerate() {
        let length = (span.last - span.first + 1) as f64;
        let within = points.iter_mut().enumerate().take(span.last + 1);
        for (at, point) in within.skip(span.first) {
            let before_end = (span.last - at + 1) as f64;
            point.value = sigmoid(-before_end / length) / sigmoid(-1.0);
            point.window = Some(first_window + number);
        }
        let next = series.windows.get(number + 1);
        let until = next.map_or(series.points(), |next| next.first);
        let behind = points.iter_mut().enumerate().take(until);
        for (at, point) in behind.skip(span.last + 1) {
            let after_end = (at - span.last) as f64;
            point.value = sigmoid(after_end / (length - 1.0).max(1.0));
        }
    }
    for point in points.iter_mut().filter(|point| point.window.is_none()) {
        point.value *= FALSE_ALARM;
    }
    points
}

/// From 1 far before the end of a window over 0 at its end to -1 far behind it; `position` in lengths of the window.
fn sigmoid(position: f64) -> f64 {
    if position > FAR {
        -1.0
    } else {
        2.0 / (1.0 + (5.0 * position).exp()) - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{high_in, named, series};

    fn close(left: Option<f64>, right: f64) -> bool {
        left.is_some_and(|left| (left - right).abs() < 1e-9)
    }

    #[test]
    fn the_scale_runs_from_silence_to_perfection() {
        let events = [(100, 149), (600, 619)];
        let all = [
            series(&high_in(1_000, &[(100, 100), (600, 600)]), &events),
            named("b", &[0.0; 500], &[(10, 19)]),
        ];
        let corpus = Corpus::of(&all);
        assert!(close(corpus.at(&[vec![], vec![]]), 0.0));
        assert!(close(corpus.at(&[vec![100, 600], vec![10]]), 100.0));
        assert!(
            close(corpus.at(&[vec![100, 101, 600], vec![10]]), 100.0),
            "an event counts once"
        );
        // Two of three found at once; the threshold that finds them is best.
        assert!(close(corpus.at_best_threshold(), 100.0 * 2.0 / 3.0));
        assert!(
            Corpus::of(&[series(&[0.0; 9], &[])])
                .at_best_threshold()
                .is_none()
        );
    }

    #[test]
    fn later_is_worth_less_and_further_off_costs_more() {
        let corpus = Corpus::of(&[series(&[0.0; 1_000], &[(400, 449)])]);
        let worth = |at: usize| corpus.at(&[vec![at]]).unwrap();
        assert!(worth(400) > worth(420) && worth(420) > worth(449) && worth(449) > worth(450));
        assert!(worth(451) > worth(470) && worth(470) > worth(700));
        // Before the first event, and far behind the last, an alarm costs the whole.
        assert!((worth(10) + 100.0 * FALSE_ALARM / 2.0).abs() < 1e-9);
        assert!((worth(999) - worth(10)).abs() < 1e-9);
    }

    #[test]
    fn no_alarm_at_all_is_what_the_best_threshold_falls_back_to() {
        let mut scores = vec![0.0; 1_000];
        scores[10..300].fill(0.9);
        let corpus = Corpus::of(&[series(&scores, &[(400, 401)])]);
        assert!(close(corpus.at_best_threshold(), 0.0));
    }
}
