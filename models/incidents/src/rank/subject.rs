//! Candidates that are sick themselves: a container or service, alone or with those that call it.

use crate::history::End;
use crate::incident::{Cause, CauseKind, Fact};
use crate::kinds::{phrase, specificity};
use crate::weights::JOIN_WINDOW;

use super::{Case, Sick, Terms, cause, fact, list, span};

pub(super) fn causes(case: &Case) -> Vec<Cause> {
    case.sick.iter().map(|sick| of(case, sick)).collect()
}

fn of(case: &Case, sick: &Sick) -> Cause {
    let lead = sick.lead();
    let terms = Terms {
        onset: case.earliness(sick.onset),
        reach: case.share(sick.explains.len()),
        kind: specificity(lead.kind()),
        confirmed: 0.0,
    };
    let terms = if sick.is_symptom {
        terms.explained()
    } else {
        terms
    };
    let subject = sick.subject();
    let followers: Vec<&Sick> = case
        .sick
        .iter()
        .filter(|other| other.service != sick.service && sick.explains.contains(other.service))
        .collect();
    let names: Vec<String> = followers.iter().map(|it| it.service.to_string()).collect();
    let what = phrase(lead.kind());
    let (kind, sentence) = if followers.is_empty() {
        let place = lead.node.filter(|_| subject.container.is_some());
        let place = place.map_or_else(String::new, |node| format!(" on {node}"));
        (CauseKind::Workload, format!("{subject}{place} {what}"))
    } else {
        let turned = if followers.len() == 1 {
            "depends on it and turned"
        } else {
            "depend on it and turned"
        };
        let sentence = format!("{subject} {what}; {} {turned} sick with it", list(&names));
        (CauseKind::Dependency, sentence)
    };
    let mut evidence: Vec<Fact> = sick.entries.iter().map(|entry| fact(entry)).collect();
    evidence.extend(followers.iter().map(|it| Fact {
        at: it.onset,
        text: format!(
            "{} turned sick {}",
            it.service,
            match it.onset.since(sick.onset) {
                lag if lag.is_zero() => "at the same time".to_owned(),
                lag => format!("{} later", span(lag)),
            }
        ),
        signal: None,
    }));
    evidence.extend(ends(case, sick));
    cause(kind, subject, &terms, sentence, evidence)
}

/// How processes of the service ended about that time: by failure or by the kernel.
fn ends(case: &Case, sick: &Sick) -> Vec<Fact> {
    let mut found = Vec::new();
    for story in case.scene.history.stories.values() {
        if story.service != *sick.service {
            continue;
        }
        for (at, end) in &story.ends {
            let about_then =
                sick.onset.since(*at) <= JOIN_WINDOW && at.since(sick.onset) <= JOIN_WINDOW;
            let text = match end {
                End::OutOfMemory => format!("the kernel killed {} for want of memory", story.name),
                End::Died {
                    exit_code: Some(0) | None,
                } => continue,
                End::Died {
                    exit_code: Some(code),
                } => format!("{} ended with exit code {code}", story.name),
            };
            if about_then {
                found.push(Fact {
                    at: *at,
                    text,
                    signal: None,
                });
            }
        }
    }
    found
}
