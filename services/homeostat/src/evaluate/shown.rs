//! The figures as people read them.

use evaluate::{AlarmFigures, Evaluation, NabFigures, general};

use crate::table::with_heading;

/// Significant digits of a figure.
const DIGITS: usize = 4;

/// One figure, what it is, and what to hold it against.
type Row = [String; 3];

/// A line on the set, then a row for each figure.
pub(super) fn table(figures: &Evaluation) -> String {
    let mut table = with_heading(&["figure", "value", "what to know about it"]);
    table.add_rows(ranking(figures));
    match (&figures.own, &figures.alarms_from) {
        (Some(own), Some(from)) => table.add_rows(alarms(own, from)),
        (Some(_) | None, _) => table.add_row(row(
            "own alarms",
            "none".to_owned(),
            "no column alert in every file, and no --threshold",
        )),
    };
    table.add_rows(ceilings(figures));
    if let Some(nab) = &figures.nab {
        table.add_rows(numenta(nab));
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    format!(
        "set {} ({}): {} series, {} with events, {} evaluated points\n{}",
        figures.set,
        figures.labels,
        figures.series,
        figures.series_with_events,
        figures.points,
        lines.join("\n")
    )
}

fn ranking(figures: &Evaluation) -> [Row; 3] {
    [
        row(
            "base rate",
            number(figures.base_rate),
            "share of points in events: chance in AUC-PR",
        ),
        row(
            "VUS-PR",
            optional(figures.vus_pr),
            "mean over series with events",
        ),
        row(
            "AUC-PR",
            optional(figures.auc_pr),
            "mean over series with events",
        ),
    ]
}

fn alarms(own: &AlarmFigures, from: &str) -> [Row; 5] {
    let found = format!("{} of {} events", own.detected, own.events);
    let false_ones = format!("{} in {} days", own.false_alarms, number(own.series_days));
    let delay = own.median_delay_s.map_or_else(
        || "n/a".to_owned(),
        |delay_s| format!("{} s", number(delay_s)),
    );
    [
        row(
            "event F1",
            number(own.event_f1),
            &format!("own alarms: {from}"),
        ),
        row(
            "precision",
            number(own.precision),
            "detected among detected and false alarms",
        ),
        row("recall", number(own.recall), &found),
        row(
            "false alarms per series-day",
            number(own.false_alarms_per_series_day),
            &false_ones,
        ),
        row("median delay", delay, "of detected events"),
    ]
}

fn ceilings(figures: &Evaluation) -> [Row; 4] {
    let within = figures.recall_within_false_alarms_per_series_day;
    let best = figures.best_on_these_labels;
    let recall = |budget: &str, recall: f64| {
        row(
            &format!("recall within {budget}"),
            format!("{recall:.3}"),
            "false alarms per series-day, at the best threshold on these labels",
        )
    };
    [
        recall("0.1", within.tenth),
        recall("0.5", within.half),
        recall("1", within.one),
        row(
            "best event F1",
            number(best.event_f1),
            &format!(
                "at {}: an upper bound, never a claim",
                number(best.threshold)
            ),
        ),
    ]
}

fn numenta(nab: &NabFigures) -> Vec<Row> {
    let score =
        |score: Option<f64>| score.map_or_else(|| "n/a".to_owned(), |it| format!("{it:.2}"));
    let mut rows = vec![row(
        "NAB",
        score(nab.labels_chosen_threshold),
        "standard profile, at the best threshold on these labels",
    )];
    if nab.own_alarms.is_some() {
        rows.push(row(
            "NAB",
            score(nab.own_alarms),
            "standard profile, own alarms",
        ));
    }
    rows
}

fn row(figure: &str, value: String, about: &str) -> Row {
    [figure.to_owned(), value, about.to_owned()]
}

fn number(value: f64) -> String {
    general(value, DIGITS)
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".to_owned(), number)
}
