//! The table of metrics against the code, and names in queries against the table.

use std::collections::BTreeSet;

use kit::metrics::MetricName;

use crate::source::{all, none};

/// Names that Prometheus itself gives, or that belong to it.
const PROMETHEUS: [&str; 1] = ["up"];

#[test]
fn every_metric_is_set_somewhere() {
    let sources = all();
    let used: Vec<_> = sources
        .iter()
        .filter(|source| source.is_rust() && source.path.starts_with("services/"))
        .filter(|source| !source.path.ends_with("metrics/names.rs") && !source.is_test())
        .collect();
    let complaints: Vec<_> = MetricName::ALL
        .iter()
        .filter(|metric| {
            let mention = format!("MetricName::{metric:?}");
            !used
                .iter()
                .any(|source| source.code().any(|(_, line)| names(line, &mention)))
        })
        .map(|metric| {
            format!(
                "{} ({metric:?}) is in the table of metrics and never set",
                metric.name()
            )
        })
        .collect();
    none(&complaints);
}

/// The mention as a whole word: `Plans` is not `PlansHeld`.
fn names(line: &str, mention: &str) -> bool {
    line.match_indices(mention).any(|(at, _)| {
        let after = line[at + mention.len()..].chars().next();
        !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// What is wrong with the metrics a query names, and with the labels it groups by.
pub(crate) fn complaints(query: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut labels: BTreeSet<&str> = ["le", "job", "instance"].into();
    for word in words(query) {
        let ours = word.starts_with("homeostat_") || word.starts_with("process_");
        if !ours || PROMETHEUS.contains(&word) {
            continue;
        }
        match MetricName::ALL
            .iter()
            .find(|metric| metric.sample_names().iter().any(|it| it == word))
        {
            Some(metric) => {
                labels.extend(metric.labels());
                if word.ends_with("_total") && !in_rate(query, word) {
                    complaints.push(format!(
                        "{word} is a counter and stands outside rate and increase"
                    ));
                }
            }
            None => complaints.push(format!("no metric is called {word}")),
        }
    }
    for group in query.split(" by (").skip(1) {
        let group = group.split(')').next().unwrap_or_default();
        for label in group.split(',').map(str::trim) {
            if !labels.contains(label) {
                complaints.push(format!("no metric of this query has the label {label}"));
            }
        }
    }
    complaints
}

fn words(query: &str) -> impl Iterator<Item = &str> {
    query.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

fn in_rate(query: &str, name: &str) -> bool {
    query.match_indices(name).all(|(at, _)| {
        let before = query[..at].trim_end();
        before.ends_with("rate(") || before.ends_with("increase(")
    })
}

#[test]
fn complaints_name_what_is_wrong() {
    assert_eq!(
        complaints("sum by (topic) (rate(homeostat_records_produced_total[5m]))"),
        [""; 0]
    );
    assert_eq!(
        complaints("homeostat_nowhere"),
        ["no metric is called homeostat_nowhere"]
    );
    assert_eq!(
        complaints("sum by (pod) (homeostat_records_produced_total)"),
        [
            "homeostat_records_produced_total is a counter and stands outside rate and increase",
            "no metric of this query has the label pod",
        ]
    );
}
