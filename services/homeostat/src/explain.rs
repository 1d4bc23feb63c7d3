//! `homeostat explain`: a signal in full, for people.

use std::io::IsTerminal;
use std::time::Duration;

use console::api::{BarStatus, Done, Explanation, Said, Similar};
use units::{Evidence, Phase, PlanEntry, Verdict};

use crate::ask::{get, show};
use crate::ask_incidents;
use crate::chart::{self, Ink, number};
use crate::cli::Ask;
use crate::exit::Failure;
use crate::table::span;

/// Columns where nothing says how many there are.
const COLUMNS_DEFAULT: usize = 80;

/// `homeostat explain`.
pub(crate) fn explain(ask: &Ask, id: &str) -> Result<(), Failure> {
    let explanation: Explanation = get(ask, &format!("signals/{id}"))?;
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|text| text.parse().ok());
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ink = match std::io::stdout().is_terminal() && !no_colour {
        true => Ink::Terminal,
        false => Ink::Plain,
    };
    show(ask, &explanation, |explanation| {
        explained(explanation, columns.unwrap_or(COLUMNS_DEFAULT), ink)
    })
}

fn explained(explanation: &Explanation, columns: usize, ink: Ink) -> String {
    let signal = &explanation.signal;
    let mut lines = vec![
        format!("{} · {} · {}", signal.kind, signal.subject, signal.severity),
        signal.reason.clone(),
        String::new(),
        format!("  id          {}", signal.id),
        format!("  opened      {}", signal.opened_at),
        format!("  state       {} at {}", signal.phase.as_str(), signal.at),
        format!("  score       {:.3}", signal.score.get()),
        format!(
            "  confidence  {}: {}",
            signal.confidence.as_str(),
            explanation.confidence_why
        ),
    ];
    lines.extend(explanation.incident.as_ref().map(ask_incidents::mention));
    let said = explanation.said.as_ref();
    lines.extend(said.map(|said| format!("  feedback    {}", said_at(said))));
    let bar = explanation.bar.as_ref();
    lines.extend(bar.map(|bar| format!("  bar         {}", raised(bar))));
    if !signal.evidence.is_empty() {
        lines.push("\nevidence".to_owned());
        let drawn = |it| evidence(it, columns, ink);
        lines.extend(signal.evidence.iter().flat_map(drawn));
    }
    lines.push("\nwhat was done".to_owned());
    if explanation.plans.is_empty() {
        lines.push("  nothing".to_owned());
    }
    lines.extend(explanation.plans.iter().flat_map(plan));
    if !explanation.similar.is_empty() {
        lines.push("\nsimilar before".to_owned());
        lines.extend(explanation.similar.iter().flat_map(similar));
    }
    lines.join("\n")
}

fn evidence(evidence: &Evidence, columns: usize, ink: Ink) -> Vec<String> {
    let said = format!(
        "  {}  {} {}, expected {} to {}, since {}",
        evidence.feature,
        number(evidence.observed),
        evidence.unit,
        number(evidence.expected_low),
        number(evidence.expected_high),
        evidence.since
    );
    let drawn = chart::bar(evidence, columns, ink).map(|bar| format!("    {bar}"));
    [said].into_iter().chain(drawn).collect()
}

fn plan(entry: &PlanEntry) -> Vec<String> {
    let plan = &entry.plan;
    let mut lines = vec![
        format!(
            "  {}  {} [{}]",
            plan.created_at,
            steps(entry),
            entry.phase.as_str()
        ),
        format!("    expected: {}", plan.expected.text),
    ];
    let others = plan.alternatives.iter();
    lines.extend(others.map(|other| format!("    not taken: {other}")));
    let verdict = entry.verdict.as_ref();
    lines.extend(verdict.map(|it| format!("    verdict: {}", judged(it))));
    lines
}

/// The steps of a plan, in a line.
pub(crate) fn steps(entry: &PlanEntry) -> String {
    let steps = entry.plan.steps.iter().map(|step| step.action.to_string());
    steps.collect::<Vec<_>>().join(", ")
}

/// A verdict in a line.
pub(crate) fn judged(verdict: &Verdict) -> String {
    format!("{}: {}", verdict.kind.as_str(), verdict.reason)
}

fn similar(similar: &Similar) -> Vec<String> {
    let lasted = similar.lasted_ms.map_or_else(
        || "still open".to_owned(),
        |ms| format!("lasted {}", span(Duration::from_millis(ms))),
    );
    let said = similar.said.as_ref();
    let said = said.map_or_else(String::new, |said| format!(", {}", opinion(said)));
    let about = format!(
        "  {}  {}, {}, {lasted}{said}",
        similar.opened_at, similar.subject, similar.severity
    );
    let done = similar.done.iter().map(done);
    [about].into_iter().chain(done).collect()
}

fn done(done: &Done) -> String {
    let came_of_it = match (&done.verdict, done.phase) {
        (Some(verdict), _) => judged(verdict),
        (None, Phase::Suggested) => "only suggested".to_owned(),
        (None, Phase::Decided | Phase::Executed | Phase::Failed | Phase::Judged) => {
            done.phase.as_str().to_owned()
        }
    };
    format!("    {}: {came_of_it}", done.action)
}

/// What was said, and why.
pub(crate) fn opinion(said: &Said) -> String {
    match &said.because {
        Some(because) => format!("{}: {because}", said.opinion),
        None => said.opinion.to_string(),
    }
}

fn said_at(said: &Said) -> String {
    let because = said.because.as_ref();
    let because = because.map_or_else(String::new, |because| format!(": {because}"));
    format!("{} at {}{because}", said.opinion, said.at)
}

fn raised(bar: &BarStatus) -> String {
    let times = match bar.dismissed {
        1 => "dismissed once".to_owned(),
        times => format!("dismissed {times} times"),
    };
    format!(
        "raised to {:.1} of {:.0} until {} ({times}): its like is told only when {}",
        bar.height,
        bar.height_max,
        bar.until,
        demanded(bar)
    )
}

/// What a raised bar asks for.
pub(crate) fn demanded(bar: &BarStatus) -> String {
    let beyond = bar.beyond.map(|beyond| {
        format!(
            "it lies {} times its bound beyond it, or is critical",
            number(beyond)
        )
    });
    let longer = (bar.more_readings > 0).then(|| {
        let plural = if bar.more_readings == 1 { "" } else { "s" };
        format!(
            "at least {} more reading{plural} confirm it",
            bar.more_readings
        )
    });
    let parts: Vec<String> = longer.into_iter().chain(beyond).collect();
    parts.join(" and ")
}

#[cfg(test)]
mod tests {
    use units::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    fn signal() -> Signal {
        let subject = Subject::service(ServiceId::from("web"));
        let fingerprint = subject.fingerprint(SignalKind::CpuAnomaly);
        Signal {
            id: SignalId::of(&fingerprint, at(0)),
            fingerprint,
            phase: SignalPhase::Update,
            kind: SignalKind::CpuAnomaly,
            subject,
            severity: Severity::Info,
            score: Ratio::saturating(0.99),
            confidence: Confidence::Low,
            opened_at: at(0),
            at: at(9),
            reason: "web: 60% of a core for 9 s; usually 5%".to_owned(),
            evidence: vec![Evidence {
                feature: "cpu_usage_seconds".to_owned(),
                metric: None,
                unit: "cores".to_owned(),
                observed: 15.0,
                expected_low: 5.0,
                expected_high: 8.0,
                since: at(-7),
            }],
            traceparent: None,
        }
    }

    fn explanation() -> Explanation {
        let said = Said {
            opinion: Opinion::Dismissed,
            at: at(30),
            because: Some("the nightly backup".to_owned()),
        };
        Explanation {
            signal: signal(),
            said: Some(said.clone()),
            confidence_why: "less than an hour of history".to_owned(),
            bar: Some(BarStatus {
                kind: SignalKind::CpuAnomaly,
                subject: signal().subject,
                dismissed: 2,
                dismissed_at: at(30),
                because: None,
                height: 1.9,
                height_max: 4.0,
                more_readings: 10,
                beyond: Some(1.75),
                until: at(900),
            }),
            earlier: Vec::new(),
            incident: None,
            similar: vec![Similar {
                id: SignalId::from("x"),
                subject: signal().subject,
                severity: Severity::Warning,
                opened_at: at(-900),
                lasted_ms: Some(65_000),
                done: vec![Done {
                    action: "restart web-1".to_owned(),
                    phase: Phase::Judged,
                    verdict: Some(Verdict {
                        kind: VerdictKind::Helped,
                        at: at(-800),
                        reason: "the signal resolved".to_owned(),
                    }),
                }],
                said: Some(said),
            }],
            plans: Vec::new(),
        }
    }

    #[test]
    fn a_signal_is_told_with_its_axis_its_feedback_and_its_like() {
        let told = explained(&explanation(), 44, Ink::Plain);
        let expected = "cpu_anomaly · web · info
web: 60% of a core for 9 s; usually 5%

  id          ID
  opened      2023-11-14T22:13:20.000Z
  state       update at 2023-11-14T22:13:29.000Z
  score       0.990
  confidence  low: less than an hour of history
  feedback    dismissed at 2023-11-14T22:13:50.000Z: the nightly backup
  bar         raised to 1.9 of 4 until 2023-11-14T22:28:20.000Z (dismissed 2 times): its like is told only when at least 10 more readings confirm it and it lies 1.75 times its bound beyond it, or is critical

evidence
  cpu_usage_seconds  15 cores, expected 5.00 to 8.00, since 2023-11-14T22:13:13.000Z
    0 |·····[==]······●| 15

what was done
  nothing

similar before
  2023-11-14T21:58:20.000Z  web, warning, lasted 1m05s, dismissed: the nightly backup
    restart web-1: helped: the signal resolved";
        assert_eq!(
            told,
            expected.replace("ID", signal().id.as_str()),
            "\n{told}"
        );
    }

    #[test]
    fn a_signal_of_which_nothing_is_known_is_told_briefly() {
        let brief = Explanation {
            said: None,
            bar: None,
            similar: Vec::new(),
            ..explanation()
        };
        let told = explained(&brief, 80, Ink::Plain);
        for absent in ["feedback", "bar  ", "similar"] {
            assert!(!told.contains(absent), "{told}");
        }
    }
}
