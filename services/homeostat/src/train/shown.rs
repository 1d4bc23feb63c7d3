//! What a training came to, for people and for programs.

use serde::Serialize;
use train::{Artefact, Figures};

use super::Outcome;
use crate::ask::trimmed;
use crate::models::log::short;
use crate::table::with_heading;

/// For programs.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    service: &'a str,
    digest: &'a str,
    metrics: Vec<&'a str>,
    provenance: &'a train::Provenance,
    outcome: &'a Outcome,
}

impl<'a> Report<'a> {
    pub(super) fn new(artefact: &'a Artefact, outcome: &'a Outcome) -> Self {
        let content = artefact.content();
        Report {
            service: content.service.as_str(),
            digest: artefact.digest(),
            metrics: content.model.metrics().collect(),
            provenance: &content.provenance,
            outcome,
        }
    }
}

/// For people.
pub(super) fn text(artefact: &Artefact, outcome: &Outcome) -> String {
    let content = artefact.content();
    let from = &content.provenance;
    let version = short(artefact.digest());
    let mut lines = vec![format!(
        "{}: {} metrics, learned from {} of {} rows of {} containers, {} to {}",
        content.service,
        content.model.metrics().count(),
        from.rows_used,
        from.rows,
        from.subjects,
        from.from,
        from.to
    )];
    if !from.left_out.is_empty() {
        lines.push(format!("left out: {}", from.left_out.join(", ")));
    }
    let mut table = with_heading(&["held back", "rows", "false alarms", "off by", "probes seen"]);
    let new = ("this model", &from.held_back);
    let current = match outcome {
        Outcome::Trained => None,
        Outcome::Published { current, .. } => current.as_ref(),
        Outcome::Kept { current, .. } => Some(current),
    };
    let current = current.map(|figures| ("present model", figures));
    for (name, figures) in [Some(new), current].into_iter().flatten() {
        table.add_row([&[name.to_owned()][..], &cells(figures)].concat());
    }
    lines.push(trimmed(&table));
    lines.push(match outcome {
        Outcome::Trained => format!("version {version}"),
        Outcome::Published { note, .. } => format!("published as version {version}: {note}"),
        Outcome::Kept {
            current_digest,
            why,
            ..
        } => format!(
            "version {} stays: of the new one, {why}",
            short(current_digest)
        ),
    });
    lines.join("\n")
}

/// Figures as cells of a table.
pub(crate) fn cells(figures: &Figures) -> [String; 4] {
    [
        figures.rows.to_string(),
        format!("{:.2}%", 100.0 * figures.false_alarm_share),
        format!("{:.1}x", 10f64.powf(figures.calibration_error_decades)),
        format!("{:.0}%", 100.0 * figures.probes_seen_share),
    ]
}
