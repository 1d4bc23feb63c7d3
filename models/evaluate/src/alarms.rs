//! What alarms are worth to somebody who has to live with them.

use serde::Serialize;

use crate::numbers::median;
use crate::series::{LabelledSeries, Span};

/// False on-points this far apart or nearer are one alarm.
const GAP_POINTS: usize = 5;
/// A false alarm counts again each time it has lasted this long, so that being always on is paid for.
const RENOTIFY_POINTS: usize = 60;

/// Alarms against events, over all series of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlarmFigures {
    /// Harmonic mean of precision and recall; 0 where both are.
    pub event_f1: f64,
    /// Detected events in detected events and false alarms; 0 where there are neither.
    pub precision: f64,
    /// Detected events in events; 0 where there are none.
    pub recall: f64,
    /// Events on the points that count.
    pub events: usize,
    /// Events with at least one on-point inside.
    pub detected: usize,
    /// On-points outside events, joined over gaps of up to 5 points and counted again every 60.
    pub false_alarms: usize,
    /// False alarms for each day of a series.
    pub false_alarms_per_series_day: f64,
    /// Days of all series together.
    pub series_days: f64,
    /// From the start of an event to its first on-point, over detected events; none where none was.
    pub median_delay_s: Option<f64>,
}

impl AlarmFigures {
    /// Counts the on-points of each series (positions, rising) against its events.
    pub(crate) fn of(series: &[LabelledSeries], on: &[Vec<usize>], grace_points: usize) -> Self {
        let (mut false_alarms, mut delays_s) = (0, Vec::new());
        for (series, on) in series.iter().zip(on) {
            let alarms = Alarms::of(on, &series.events, grace_points);
            false_alarms += alarms.false_alarms;
            let delay_s = |(begin, first): &(usize, usize)| {
                series.timestamps_s[*first] - series.timestamps_s[*begin]
            };
            delays_s.extend(alarms.hits.iter().map(delay_s));
        }
        let events = series.iter().map(|series| series.events.len()).sum();
        let series_days = series.iter().map(|series| series.days).sum();
        let detected = delays_s.len();
        let precision = share(detected, detected + false_alarms);
        let recall = share(detected, events);
        AlarmFigures {
            event_f1: if precision + recall > 0.0 {
                2.0 * precision * recall / (precision + recall)
            } else {
                0.0
            },
            precision,
            recall,
            events,
            detected,
            false_alarms,
            false_alarms_per_series_day: false_alarms as f64 / series_days,
            series_days,
            median_delay_s: median(delays_s),
        }
    }
}

/// Alarms of one series.
#[derive(Debug, Default, PartialEq)]
struct Alarms {
    /// Start and first on-point of each detected event.
    hits: Vec<(usize, usize)>,
    false_alarms: usize,
}

impl Alarms {
    /// Walks the on-points and the events, both rising, side by side.
    fn of(on: &[usize], events: &[Span], grace_points: usize) -> Alarms {
        let mut alarms = Alarms::default();
        let mut passed = 0;
        let mut run: Option<Span> = None;
        for &point in on {
            passed += events[passed..]
                .iter()
                .take_while(|event| event.last < point)
                .count();
            if let Some(event) = events.get(passed).filter(|event| event.first <= point) {
                if alarms
                    .hits
                    .last()
                    .is_none_or(|(begin, _)| *begin != event.first)
                {
                    alarms.hits.push((event.first, point));
                }
                continue;
            }
            let forgiven = passed
                .checked_sub(1)
                .is_some_and(|before| point <= events[before].last + grace_points);
            if forgiven {
                continue;
            }
            run = Some(match run {
                Some(run) if point - run.last <= GAP_POINTS => Span { last: point, ..run },
                Some(_) | None => {
                    alarms.false_alarms += run.map_or(0, notifications);
                    Span {
                        first: point,
                        last: point,
                    }
                }
            });
        }
        alarms.false_alarms += run.map_or(0, notifications);
        alarms
    }
}

/// How often somebody is told of a false alarm.
fn notifications(run: Span) -> usize {
    (run.last - run.first) / RENOTIFY_POINTS + 1
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{named, series};

    fn span(first: usize, last: usize) -> Span {
        Span { first, last }
    }

    #[test]
    fn bursts_are_one_alarm_and_long_ones_are_told_again() {
        let count = |on: &[usize]| Alarms::of(on, &[], 0).false_alarms;
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[10, 12, 17, 22]), 1);
        assert_eq!(count(&[10, 16]), 2);
        assert_eq!(count(&(100..=160).collect::<Vec<_>>()), 2);
        assert_eq!(count(&(100..160).collect::<Vec<_>>()), 1);
    }

    #[test]
    fn an_alarm_that_lasts_into_an_event_is_both() {
        let alarms = Alarms::of(&[8, 9, 10, 11, 12], &[span(10, 11)], 0);
        assert_eq!(alarms.hits, [(10, 10)]);
        // What is left before and after the event is one alarm over the gap.
        assert_eq!(alarms.false_alarms, 1);
    }

    #[test]
    fn points_just_after_an_event_are_forgiven_where_the_set_says_so() {
        let on = [12, 13, 14];
        assert_eq!(Alarms::of(&on, &[span(10, 11)], 3).false_alarms, 0);
        assert_eq!(Alarms::of(&on, &[span(10, 11)], 2).false_alarms, 1);
        // The grace of one event does not hide the next.
        let alarms = Alarms::of(&[14], &[span(10, 11), span(14, 14)], 5);
        assert_eq!(alarms.hits, [(14, 14)]);
    }

    #[test]
    fn figures_are_pooled_over_series() {
        let all = [
            series(&[0.0; 1_440], &[(100, 109), (300, 309)]),
            named("b", &[0.0; 1_440], &[]),
        ];
        let figures = AlarmFigures::of(&all, &[vec![105, 106], vec![7]], 0);
        assert_eq!(
            (figures.events, figures.detected, figures.false_alarms),
            (2, 1, 1)
        );
        assert_eq!(
            (figures.precision, figures.recall, figures.event_f1),
            (0.5, 0.5, 0.5)
        );
        assert!((figures.series_days - 2.0).abs() < 1e-12);
        assert!((figures.false_alarms_per_series_day - 0.5).abs() < 1e-12);
        assert_eq!(figures.median_delay_s, Some(300.0));
        let silent = AlarmFigures::of(&all, &[vec![], vec![]], 0);
        assert_eq!((silent.event_f1, silent.median_delay_s), (0.0, None));
    }

    /// The definition on a row of switches.
    fn slow(on: &[bool], events: &[Span], grace_points: usize) -> Alarms {
        let mut outside = on.to_vec();
        let mut alarms = Alarms::default();
        for event in events {
            if let Some(first) = (event.first..=event.last).find(|at| on[*at]) {
                alarms.hits.push((event.first, first));
            }
            let end = (event.last + 1 + grace_points).min(on.len());
            outside[event.first..end].fill(false);
        }
        let left: Vec<usize> = (0..on.len()).filter(|at| outside[*at]).collect();
        for run in left.chunk_by(|a, b| b - a <= GAP_POINTS) {
            alarms.false_alarms += (run[run.len() - 1] - run[0]) / RENOTIFY_POINTS + 1;
        }
        alarms
    }

    proptest! {
        #[test]
        fn walking_equals_the_definition(
            on in prop::collection::vec(prop::bool::weighted(0.3), 200),
            labelled in prop::collection::vec(prop::bool::weighted(0.2), 200),
            grace_points in 0usize..8,
        ) {
            let inside: Vec<usize> = (0..200).filter(|at| labelled[*at]).collect();
            let events: Vec<Span> = inside
                .chunk_by(|a, b| b - a == 1)
                .map(|run| span(run[0], run[run.len() - 1]))
                .collect();
            let points: Vec<usize> = (0..200).filter(|at| on[*at]).collect();
            prop_assert_eq!(Alarms::of(&points, &events, grace_points), slow(&on, &events, grace_points));
        }
    }
}
