//! All figures of a set together, under the names they are published with.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::alarms::AlarmFigures;
use crate::nab::{Corpus, NabFigures};
use crate::numbers::{general, mean};
use crate::ranking::auc_pr;
use crate::series::{AlertColumn, LabelledSeries};
use crate::sets::{Nab, Rules};
use crate::sweep::{BestThreshold, RecallWithin, Sweep};
use crate::volume::vus_pr;

/// The figures of a detector on a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Name of the set.
    pub set: String,
    /// Name of its labels.
    pub labels: String,
    /// Series there are.
    pub series: usize,
    /// Points that count.
    pub points: usize,
    /// Series with at least one event.
    pub series_with_events: usize,
    /// Share of points in events, mean over series with events: what chance reaches in `auc_pr`.
    pub base_rate: f64,
    /// Volume under the range precision-recall surface, mean over series with events.
    pub vus_pr: Option<f64>,
    /// Average precision, mean over series with events.
    pub auc_pr: Option<f64>,
    /// Where the own alarms come from, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarms_from: Option<String>,
    /// The detector's own alarms: the headline.
    pub own: Option<AlarmFigures>,
    /// What any threshold could reach.
    pub recall_within_false_alarms_per_series_day: RecallWithin,
    /// The highest event F1 of any threshold: an upper bound, never a claim.
    pub best_on_these_labels: BestThreshold,
    /// Numenta's score, where the set is known by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nab: Option<NabFigures>,
    /// The main figures once more, flat, for programs.
    pub pooled: Flat,
    /// By name of the series.
    pub per_series: BTreeMap<String, SeriesFigures>,
}

/// The main figures, flat. Those of own alarms are none where there are no own alarms.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Flat {
    /// Event F1 of the own alarms.
    pub f1: Option<f64>,
    /// Precision of the own alarms.
    pub precision: Option<f64>,
    /// Recall of the own alarms.
    pub recall: Option<f64>,
    /// False ones among the own alarms for each day of a series.
    pub false_alarms_per_series_day: Option<f64>,
    /// Median delay of the own alarms, in seconds.
    pub median_delay_s: Option<f64>,
    /// Volume under the range precision-recall surface.
    pub vus_pr: Option<f64>,
    /// Average precision.
    pub auc_pr: Option<f64>,
    /// Best recall within 0.1 false alarms for each day of a series.
    #[serde(rename = "recall_at_0.1")]
    pub recall_at_tenth: f64,
    /// Best recall within 0.5.
    #[serde(rename = "recall_at_0.5")]
    pub recall_at_half: f64,
    /// Best recall within 1.
    #[serde(rename = "recall_at_1")]
    pub recall_at_one: f64,
    /// Numenta's score, where the set is known by it.
    #[serde(flatten)]
    pub nab: Option<FlatNab>,
}

/// Numenta's score, flat.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlatNab {
    /// At the best threshold on the labels.
    pub nab: Option<f64>,
    /// At the own alarms.
    pub nab_own: Option<f64>,
}

/// The figures of one series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesFigures {
    /// Volume under the range precision-recall surface; none without events.
    pub vus_pr: Option<f64>,
    /// Average precision; none without events.
    pub auc_pr: Option<f64>,
    /// Events on the points that count.
    pub events: usize,
    /// Points that count.
    pub points: usize,
    /// Share of points in events; none without points.
    pub base_rate: Option<f64>,
}

/// No point of any series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no point of any of the {series} series counts; look at `start` and `ignore` of the labels"
)]
pub struct NothingToEvaluate {
    /// How many series there are.
    pub series: usize,
}

/// Works out every figure. The own alarms are what the detector's alert column says, and by `threshold` in series whose scores have
/// no such column; without either there are none. `labels` is the name of the labels, which is repeated.
///
/// # Errors
/// When no point counts.
pub fn evaluate(
    rules: Rules,
    labels: &str,
    series: &[LabelledSeries],
    threshold: Option<f64>,
) -> Result<Evaluation, NothingToEvaluate> {
    let sweep = Sweep::of(series, rules.grace_points).ok_or(NothingToEvaluate {
        series: series.len(),
    })?;
    let alarms_from = alarms_from(series, threshold);
    let on = alarms_from.as_ref().map(|_| {
        let own = series.iter().map(|series| series.own_points(threshold));
        own.collect::<Vec<_>>()
    });
    let own = on
        .as_ref()
        .map(|on| AlarmFigures::of(series, on, rules.grace_points));
    let nab = match rules.nab {
        Nab::Counted => Some(nab(series, on.as_deref())),
        Nab::NotCounted => None,
    };
    let figures = series
        .iter()
        .map(|series| (series.name().to_owned(), of_one(rules, series)));
    let per_series: BTreeMap<_, _> = figures.collect();
    let with_events: Vec<_> = per_series.values().filter(|it| it.events > 0).collect();
    let mean_of = |figure: fn(&SeriesFigures) -> Option<f64>| {
        mean(
            &with_events
                .iter()
                .filter_map(|it| figure(it))
                .collect::<Vec<_>>(),
        )
    };
    let mut figures = Evaluation {
        set: rules.set.to_owned(),
        labels: labels.to_owned(),
        series: series.len(),
        points: per_series.values().map(|it| it.points).sum(),
        series_with_events: with_events.len(),
        base_rate: mean_of(|it| it.base_rate).unwrap_or(0.0),
        vus_pr: mean_of(|it| it.vus_pr),
        auc_pr: mean_of(|it| it.auc_pr),
        alarms_from,
        own,
        recall_within_false_alarms_per_series_day: sweep.recall_within(),
        best_on_these_labels: sweep.best(),
        nab,
        pooled: Flat::default(),
        per_series,
    };
    figures.pooled = flat(&figures);
    Ok(figures)
}

fn flat(figures: &Evaluation) -> Flat {
    let own = figures.own.as_ref();
    let recall = figures.recall_within_false_alarms_per_series_day;
    Flat {
        f1: own.map(|own| own.event_f1),
        precision: own.map(|own| own.precision),
        recall: own.map(|own| own.recall),
        false_alarms_per_series_day: own.map(|own| own.false_alarms_per_series_day),
        median_delay_s: own.and_then(|own| own.median_delay_s),
        vus_pr: figures.vus_pr,
        auc_pr: figures.auc_pr,
        recall_at_tenth: recall.tenth,
        recall_at_half: recall.half,
        recall_at_one: recall.one,
        nab: figures.nab.as_ref().map(|nab| FlatNab {
            nab: nab.labels_chosen_threshold,
            nab_own: nab.own_alarms,
        }),
    }
}

/// In words, for a reader of the figures; none where some series has no own alarms.
fn alarms_from(series: &[LabelledSeries], threshold: Option<f64>) -> Option<String> {
    let with_column = series
        .iter()
        .filter(|series| series.alert_column() == AlertColumn::Present)
        .count();
    if with_column == series.len() {
        return Some("column alert".to_owned());
    }
    let by_threshold = format!("score >= {}", general(threshold?, 6));
    Some(match with_column {
        0 => by_threshold,
        1.. => format!("column alert, else {by_threshold}"),
    })
}

fn nab(series: &[LabelledSeries], on: Option<&[Vec<usize>]>) -> NabFigures {
    let corpus = Corpus::of(series);
    NabFigures {
        labels_chosen_threshold: corpus.at_best_threshold(),
        own_alarms: on.and_then(|on| corpus.at(on)),
    }
}

fn of_one(rules: Rules, series: &LabelledSeries) -> SeriesFigures {
    let points = series.points();
    SeriesFigures {
        vus_pr: vus_pr(series, rules.buffer_max_points),
        auc_pr: auc_pr(series),
        events: series.events.len(),
        points,
        base_rate: (points > 0).then(|| series.points_inside() as f64 / points as f64),
    }
}
