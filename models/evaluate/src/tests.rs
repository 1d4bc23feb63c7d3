//! What must hold of the figures whatever the scores are, and a few sets whose figures are known.

use proptest::prelude::*;
use serde_json::Value;

use crate::testing::{high_in, labels, named, rows, series, times};
use crate::{AlertColumn, Evaluation, LabelledSeries, Rules, Scores, evaluate};

const POINTS: usize = 240;

fn judged(set: &str, series: &[LabelledSeries], threshold: Option<f64>) -> Evaluation {
    evaluate(Rules::of(set).unwrap(), "labels.json", series, threshold).unwrap()
}

/// The keys of an object, nested ones with their parents.
fn keys(value: &Value, under: &str, found: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{under}{key}");
        keys(value, &format!("{path}/"), found);
        found.push(path);
    }
}

#[test]
fn a_perfect_detector_on_a_set_with_numentas_score() {
    let events = [(20, 39), (120, 129)];
    let all = [
        series(&high_in(POINTS, &events), &events),
        named("b", &[0.0; POINTS], &[]),
    ];
    let figures = judged("nab", &all, Some(0.5));
    let own = figures.own.as_ref().unwrap();
    assert_eq!(
        (own.event_f1, own.false_alarms, own.median_delay_s),
        (1.0, 0, Some(0.0))
    );
    assert_eq!(figures.auc_pr, Some(1.0));
    assert_eq!(figures.alarms_from.as_deref(), Some("score >= 0.5"));
    assert_eq!((figures.series, figures.series_with_events), (2, 1));
    let nab = figures.nab.as_ref().unwrap();
    assert!(
        nab.labels_chosen_threshold
            .is_some_and(|it| (it - 100.0).abs() < 1e-9)
    );
    assert_eq!(nab.own_alarms, nab.labels_chosen_threshold);
    assert_eq!(figures.per_series["b"].auc_pr, None);
    assert_eq!(figures.per_series["b"].base_rate, Some(0.0));
}

#[test]
fn always_on_finds_everything_and_pays_for_it() {
    let figures = judged("asd", &[series(&[1.0; POINTS], &[(100, 119)])], Some(0.5));
    let own = figures.own.unwrap();
    // Before and after the event, which is longer than a gap: 100 points and 120.
    assert_eq!((own.recall, own.false_alarms), (1.0, 2 + 2));
    assert!(
        figures
            .auc_pr
            .is_some_and(|it| (it - 20.0 / 240.0).abs() < 1e-12)
    );
}

#[test]
fn keys_are_those_that_are_published() {
    let all = [series(&high_in(POINTS, &[(9, 9)]), &[(9, 12)])];
    let mut found = Vec::new();
    let figures = serde_json::to_value(judged("nab", &all, Some(0.5))).unwrap();
    keys(&figures, "", &mut found);
    for key in [
        "recall_within_false_alarms_per_series_day/0.1",
        "recall_within_false_alarms_per_series_day/1",
        "best_on_these_labels/event_f1",
        "own/false_alarms_per_series_day",
        "nab/labels_chosen_threshold",
        "nab/own_alarms",
        "pooled/recall_at_0.5",
        "pooled/nab_own",
        "per_series/a/base_rate",
        "alarms_from",
    ] {
        assert!(found.iter().any(|it| it == key), "{key} in {found:?}");
    }
    let mut found = Vec::new();
    let figures = serde_json::to_value(judged("smd", &all, None)).unwrap();
    keys(&figures, "", &mut found);
    assert!(found.iter().any(|it| it == "own") && figures["own"].is_null());
    for key in ["nab", "pooled/nab", "alarms_from"] {
        assert!(!found.iter().any(|it| it == key), "{key} in {found:?}");
    }
}

#[test]
fn own_alarms_come_from_the_column_and_else_from_the_threshold() {
    let mut decided = rows(&high_in(POINTS, &[(50, 59)]));
    decided.alerts = AlertColumn::Present;
    decided.rows[7].alert = true;
    let known = labels(0, &[(50, 59)]);
    let column = LabelledSeries::new("c".to_owned(), &times(POINTS), &known, &decided).unwrap();
    let mixed = [
        column.clone(),
        series(&high_in(POINTS, &[(50, 59)]), &[(50, 59)]),
    ];
    let figures = judged("smd", &mixed, Some(0.25));
    assert_eq!(
        figures.alarms_from.as_deref(),
        Some("column alert, else score >= 0.25")
    );
    let own = figures.own.unwrap();
    assert_eq!((own.events, own.detected, own.false_alarms), (2, 1, 1));
    assert!(judged("smd", &mixed, None).own.is_none());
    let alone = judged("smd", &[column], Some(0.25));
    assert_eq!(alone.alarms_from.as_deref(), Some("column alert"));
}

#[test]
fn nothing_to_evaluate_is_said() {
    let late = labels(POINTS + 1, &[(3, 4)]);
    let scores = rows(&[0.5; POINTS]);
    let empty = LabelledSeries::new("a".to_owned(), &times(POINTS), &late, &scores).unwrap();
    let rules = Rules::of("smd").unwrap();
    let error = evaluate(rules, "labels.json", std::slice::from_ref(&empty), None).unwrap_err();
    assert!(error.to_string().contains("`start`"), "{error}");
    // Beside another series an empty one is no obstacle.
    let figures = judged(
        "smd",
        &[empty, named("b", &[0.5; POINTS], &[(3, 4)])],
        Some(0.5),
    );
    assert_eq!(figures.points, POINTS);
    assert_eq!(figures.per_series["a"].base_rate, None);
}

/// Whole numbers, so that transformations are exact and ties many.
fn levels() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..40, POINTS)
}

fn events() -> impl Strategy<Value = Vec<(usize, usize)>> {
    let event =
        (0..POINTS, 0usize..15).prop_map(|(first, more)| (first, (first + more).min(POINTS - 1)));
    prop::collection::vec(event, 1..6)
}

fn by(levels: &[u32], transform: fn(f64) -> f64) -> Vec<f64> {
    levels
        .iter()
        .map(|level| transform(f64::from(*level)))
        .collect()
}

proptest! {
    #[test]
    fn figures_stay_in_their_ranges(levels in levels(), events in events(), threshold in 0.0f64..40.0) {
        let scores = by(&levels, |level| level);
        let figures = judged("nab", &[series(&scores, &events)], Some(threshold));
        let own = figures.own.unwrap();
        let within = figures.recall_within_false_alarms_per_series_day;
        let shares = [
            figures.vus_pr.unwrap(), figures.auc_pr.unwrap(), figures.base_rate,
            own.event_f1, own.precision, own.recall,
            within.tenth, within.half, within.one, figures.best_on_these_labels.event_f1,
        ];
        prop_assert!(shares.iter().all(|share| (0.0..=1.0 + 1e-9).contains(share)), "{shares:?}");
        prop_assert!(within.tenth <= within.half && within.half <= within.one);
        prop_assert!(own.detected <= own.events);
        prop_assert!(own.median_delay_s.is_none_or(|delay| delay >= 0.0));
        let nab = figures.nab.unwrap();
        let best = nab.labels_chosen_threshold.unwrap();
        prop_assert!((-1e-9..=100.0 + 1e-9).contains(&best));
        prop_assert!(nab.own_alarms.unwrap() <= best + 1e-9);
    }

    #[test]
    fn a_perfect_score_is_worth_one(events in events()) {
        let scores = high_in(POINTS, &events);
        let figures = judged("nab", &[series(&scores, &events)], Some(1.0));
        prop_assert!((figures.auc_pr.unwrap() - 1.0).abs() < 1e-12);
        prop_assert_eq!(figures.own.unwrap().event_f1, 1.0);
        prop_assert_eq!(figures.best_on_these_labels.event_f1, 1.0);
        prop_assert_eq!(figures.recall_within_false_alarms_per_series_day.tenth, 1.0);
    }

    /// Only the order of scores matters to what ranks, and to what chooses its own threshold.
    #[test]
    fn a_rising_transformation_changes_nothing(levels in levels(), events in events()) {
        let plain = judged("nab", &[series(&by(&levels, |level| level), &events)], None);
        let bent = judged("nab", &[series(&by(&levels, |level| level * level + 3.0), &events)], None);
        prop_assert_eq!(plain.auc_pr, bent.auc_pr);
        prop_assert_eq!(plain.vus_pr, bent.vus_pr);
        prop_assert_eq!(plain.nab, bent.nab);
        prop_assert_eq!(
            plain.recall_within_false_alarms_per_series_day,
            bent.recall_within_false_alarms_per_series_day
        );
        prop_assert_eq!(plain.best_on_these_labels.event_f1, bent.best_on_these_labels.event_f1);
    }

    #[test]
    fn the_order_of_rows_does_not_matter(levels in levels(), turn in 0..POINTS) {
        let scores = rows(&by(&levels, |level| level));
        let mut turned: Scores = scores.clone();
        turned.rows.rotate_left(turn);
        let known = labels(20, &[(30, 39), (100, 100)]);
        let made = |scores: &Scores| {
            LabelledSeries::new("a".to_owned(), &times(POINTS), &known, scores).unwrap()
        };
        prop_assert_eq!(made(&scores), made(&turned));
    }
}
