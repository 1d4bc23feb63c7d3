//! The verbs about incidents, which ask the console too.

use console::api::{IncidentDetail, IncidentOf};
use incidents::{Cause, Incident};
use units::Subject;

use crate::ask::{Which, get, show, trimmed};
use crate::cli::Ask;
use crate::exit::Failure;
use crate::explain::steps;
use crate::table::with_heading;

/// Subjects named in a table; the rest are counted.
const SUBJECTS_SHOWN: usize = 3;

/// `homeostat incidents`.
pub(crate) fn list(ask: &Ask, which: Which) -> Result<(), Failure> {
    let path = match which {
        Which::Open => "incidents",
        Which::All => "incidents?all=true",
    };
    let incidents: Vec<Incident> = get(ask, path)?;
    show(ask, &incidents, |incidents| listed(incidents))
}

/// `homeostat incidents show`.
pub(crate) fn one(ask: &Ask, id: &str) -> Result<(), Failure> {
    let detail: IncidentDetail = get(ask, &format!("incidents/{id}"))?;
    show(ask, &detail, shown)
}

/// What `homeostat explain` says of a signal's incident.
pub(crate) fn mention(incident: &IncidentOf) -> String {
    let others = match incident.signals.saturating_sub(1) {
        0 => "no other signal".to_owned(),
        1 => "1 other signal".to_owned(),
        others => format!("{others} other signals"),
    };
    let cause = incident
        .cause
        .as_ref()
        .map_or_else(String::new, |cause| format!("\n  probably    {cause}"));
    format!("  incident    {} with {others}{cause}", incident.id)
}

fn listed(incidents: &[Incident]) -> String {
    if incidents.is_empty() {
        return "no incident".to_owned();
    }
    let mut table = with_heading(&[
        "id", "since", "state", "severity", "signals", "sick", "origin", "probably",
    ]);
    for incident in incidents {
        let likeliest = incident.causes.first();
        table.add_row([
            incident.id.to_string(),
            incident.began_at.to_string(),
            state(incident),
            incident.severity.to_string(),
            incident.signals.len().to_string(),
            sick(&incident.subjects),
            likeliest.map_or_else(String::new, |cause| cause.origin.to_string()),
            likeliest.map_or_else(String::new, |cause| cause.sentence.clone()),
        ]);
    }
    trimmed(&table)
}

fn state(incident: &Incident) -> String {
    if incident.is_open() { "open" } else { "over" }.to_owned()
}

fn sick(subjects: &[Subject]) -> String {
    let named = subjects.iter().take(SUBJECTS_SHOWN);
    let named = named.map(ToString::to_string).collect::<Vec<_>>();
    match subjects.len().saturating_sub(SUBJECTS_SHOWN) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn shown(detail: &IncidentDetail) -> String {
    let incident = &detail.incident;
    let mut lines = vec![
        format!(
            "incident · {} · {}",
            sick(&incident.subjects),
            incident.severity
        ),
        String::new(),
        format!("  id          {}", incident.id),
        format!("  began       {}", incident.began_at),
        format!("  opened      {}", incident.opened_at),
        match incident.resolved_at {
            Some(at) => format!("  over        {at}"),
            None => "  over        not yet".to_owned(),
        },
        "\nprobable causes, likeliest first".to_owned(),
    ];
    if incident.causes.is_empty() {
        lines.push("  none can be named".to_owned());
    }
    for cause in &incident.causes {
        lines.extend(cause_lines(cause));
    }
    lines.push("\nsignals".to_owned());
    lines.extend(detail.signals.iter().map(|signal| {
        format!(
            "  {}  {}  {} of {}: {}",
            signal.opened_at,
            signal.phase.as_str(),
            signal.kind,
            signal.subject,
            signal.reason
        )
    }));
    lines.push("\nwhat was done".to_owned());
    if detail.plans.is_empty() {
        lines.push("  nothing".to_owned());
    }
    lines.extend(detail.plans.iter().map(|entry| {
        format!(
            "  {}  {} [{}]",
            entry.plan.created_at,
            steps(entry),
            entry.phase.as_str()
        )
    }));
    lines.join("\n")
}

fn cause_lines(cause: &Cause) -> Vec<String> {
    let mut lines = vec![format!(
        "  {:.2}  {} ({}, {})",
        cause.score.get(),
        cause.sentence,
        cause.kind,
        cause.origin
    )];
    let facts = cause.evidence.iter();
    lines.extend(facts.map(|fact| format!("        {}  {}", fact.at, fact.text)));
    lines
}

#[cfg(test)]
mod tests {
    use incidents::{CauseKind, Fact, IncidentId, Origin};
    use units::{NodeId, Ratio, ServiceId, Severity, SignalId, Timestamp};

    use super::*;

    fn incident() -> Incident {
        let first = SignalId::from("s1");
        Incident {
            id: IncidentId::of(&first),
            opened_at: Timestamp::from_millis(5_000),
            began_at: Timestamp::from_millis(2_000),
            resolved_at: None,
            severity: Severity::Critical,
            subjects: ["a", "b", "c", "d"]
                .map(|name| Subject::service(ServiceId::from(name)))
                .to_vec(),
            signals: vec![first.clone()],
            causes: vec![Cause {
                kind: CauseKind::Node,
                origin: Origin::Host,
                subject: Subject::node(NodeId::from("n")),
                score: Ratio::saturating(0.9),
                sentence: "node n is short of memory".to_owned(),
                evidence: vec![Fact {
                    at: Timestamp::from_millis(2_000),
                    text: "it is".to_owned(),
                    signal: Some(first),
                }],
            }],
        }
    }

    #[test]
    fn the_table_says_what_is_sick_and_why() {
        let table = listed(&[incident()]);
        for part in [
            "SIGNALS",
            "a, b, c and 1 more",
            "host",
            "node n is short of memory",
        ] {
            let words: Vec<&str> = part.split(' ').collect();
            assert!(
                words.iter().all(|word| table.contains(word)),
                "{part}: {table}"
            );
        }
        assert_eq!(listed(&[]), "no incident");
    }

    #[test]
    fn one_incident_is_told_with_the_evidence_of_each_cause() {
        let text = shown(&IncidentDetail {
            incident: incident(),
            signals: Vec::new(),
            plans: Vec::new(),
        });
        let cause = "  0.90  node n is short of memory (node, host)\n        1970-01-01T00:00:02.000Z  it is";
        assert!(text.contains(cause), "{text}");
        assert!(text.contains("over        not yet"), "{text}");
    }

    #[test]
    fn a_signal_names_its_incident() {
        let text = mention(&IncidentOf {
            id: IncidentId::of(&SignalId::from("s1")),
            signals: 3,
            cause: Some("a hangs".to_owned()),
        });
        assert!(
            text.contains("with 2 other signals\n  probably    a hangs"),
            "{text}"
        );
    }
}
