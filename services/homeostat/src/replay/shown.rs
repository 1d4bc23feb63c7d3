//! A report for people.

use controller::replay::{Figures, PlanLine, Source};
use units::Phase;

use super::Shown;
use crate::ask::trimmed;
use crate::table::{span, with_heading};

/// As many plans and moments as are read; the JSON has all.
const LISTED_MAX: usize = 40;

/// The whole report.
pub(super) fn text(shown: &Shown) -> String {
    let mut text = heading(shown);
    text.push_str("\n\n");
    text.push_str(&figures(shown));
    let report = &shown.report;
    let (whose, of) = match &report.candidate {
        Some(candidate) => ("the candidate", candidate),
        None => ("the present configuration", &report.present),
    };
    if let Some(differs) = &of.differs_from {
        text.push_str(&format!(
            "\n\n{whose} first differs from what happened at {}: {}\nwhat is told of {} services rests on that for {:.0} s in all",
            differs.at, differs.what, differs.services, differs.seconds
        ));
    }
    text.push_str(&plans(whose, &of.plans));
    text.push_str(&risky(whose, of));
    text.push_str("\n\nwhat nobody can know from a recording, and how it is treated here");
    for sentence in report.cannot_know {
        text.push_str(&format!("\n- {sentence}"));
    }
    text
}

fn heading(shown: &Shown) -> String {
    let (recording, input) = (&shown.recording, &shown.report.input);
    let records: u64 = input.records.values().sum();
    let mut lines = vec![
        format!(
            "{}: {} to {} ({}), {records} records, {} nodes",
            recording.source,
            input.from,
            input.to,
            span(input.to.since(input.from)),
            input.nodes
        ),
        format!("present    {}", recording.present),
    ];
    if let Some(candidate) = &recording.candidate {
        lines.push(format!("candidate  {candidate}"));
    }
    if let Some(torn) = recording.torn {
        lines.push(format!("torn: {torn}; all before that is used"));
    }
    if recording.unknown_frames > 0 {
        lines.push(format!(
            "left out: {} frames of versions this homeostat does not know",
            recording.unknown_frames
        ));
    }
    for aside in &input.put_aside {
        lines.push(format!(
            "left out: {} records of {} (schema {}, {})",
            aside.records, aside.topic, aside.schema, aside.reason
        ));
    }
    if input.inventory_filled_seconds > 0.0 {
        lines.push(format!(
            "inventory that the log no longer held was filled in for {:.0} node-seconds: containers that came and went are missing",
            input.inventory_filled_seconds
        ));
    }
    lines.join("\n")
}

fn figures(shown: &Shown) -> String {
    let report = &shown.report;
    let mut courses = vec![("recorded", &report.recorded), ("present", &report.present)];
    courses.extend(report.candidate.as_ref().map(|it| ("candidate", it)));
    let mut heading = vec![""];
    heading.extend(courses.iter().map(|(name, _)| *name));
    let mut table = with_heading(&heading);
    let mut row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        let mut cells = vec![name.to_owned()];
        cells.extend(courses.iter().map(|(_, figures)| cell(figures)));
        table.add_row(cells);
    };
    row(
        "seconds with a signal of warning or above, summed over services",
        &|it| format!("{:.1}", it.slo_seconds),
    );
    row("less than recorded, by assumption", &|it| {
        format!("{:.1}", it.slo_seconds_assumed_away)
    });
    row("seconds of overload", &|it| {
        format!("{:.1}", it.overload_seconds)
    });
    row("seconds with more load than replicas carry", &|it| {
        format!("{:.1}", it.over_capacity_seconds)
    });
    row("replica-hours", &|it| format!("{:.2}", it.replica_hours));
    row("seconds with the breaker open", &|it| {
        format!("{:.1}", it.breaker_open_seconds)
    });
    row("plans carried out", &|it| counted(&it.actions));
    row("plans only said", &|it| counted(&it.suggestions));
    row("risky moments", &|it| it.risky.len().to_string());
    trimmed(&table)
}

fn counted(by_kind: &std::collections::BTreeMap<&'static str, u64>) -> String {
    if by_kind.is_empty() {
        return "none".to_owned();
    }
    let counted: Vec<String> = by_kind
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    counted.join(", ")
}

fn plans(whose: &str, plans: &[PlanLine]) -> String {
    let mut text = format!("\n\nplans of {whose}: {}", plans.len());
    for plan in plans.iter().take(LISTED_MAX) {
        let fate = match (plan.phase, plan.outcome) {
            (Phase::Suggested, _) => "only said",
            (_, Source::Recorded) => "as recorded",
            (_, Source::Assumed) => "assumed",
            (_, Source::None) => "not sent",
        };
        let steps = match plan.steps.is_empty() {
            true => format!("{} (nothing to do)", plan.kind),
            false => plan.steps.join(", "),
        };
        text.push_str(&format!(
            "\n{}  {}  {steps}  [{fate}]\n    {}",
            plan.at, plan.service, plan.reason
        ));
    }
    text + &more(plans.len())
}

fn risky(whose: &str, figures: &Figures) -> String {
    let mut text = format!("\n\nrisky moments of {whose}: {}", figures.risky.len());
    for risk in figures.risky.iter().take(LISTED_MAX) {
        text.push_str(&format!(
            "\n{}  {}  {}",
            risk.at,
            risk.kind.as_str(),
            risk.what
        ));
    }
    text + &more(figures.risky.len())
}

fn more(count: usize) -> String {
    match count.checked_sub(LISTED_MAX) {
        None | Some(0) => String::new(),
        Some(more) => format!("\n… and {more} more; --output json has all"),
    }
}
