//! The verbs that ask the console.

use std::time::Duration;

use console::api::{Explanation, Problem, ServiceStatus, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use units::{Evidence, PlanEntry, Signal};

use crate::cli::Ask;
use crate::exit::Failure;
use crate::table::{Output, print, print_json, span, with_heading};

/// The console answers from memory; one that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which signals to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that are not over.
    Open,
    /// Those that are over too.
    All,
}

/// `homeostat status`.
pub(crate) fn status(ask: &Ask) -> Result<(), Failure> {
    let status: Status = get(ask, "status")?;
    show(ask, &status, |status| {
        let mut table = with_heading(&["node", "heartbeat", "containers", "engine"]);
        for node in &status.nodes {
            let age = Duration::from_millis(node.heartbeat_age_ms);
            table.add_row([
                node.node.to_string(),
                format!("{} ago", span(age)),
                node.containers.to_string(),
                node.engine.clone(),
            ]);
        }
        let mut text = format!(
            "{} services, {} containers running, {} open signals, {} plans under way\n{}",
            status.services,
            status.containers_running,
            status.signals_open,
            status.plans_running,
            match status.nodes.is_empty() {
                true => "no node has been heard of; a collector runs on each".to_owned(),
                false => trimmed(&table),
            }
        );
        if let Some(breaker) = &status.breaker {
            text.push_str(&format!("\nacting is stopped: {}", breaker.reason));
        }
        text
    })
}

/// `homeostat services`.
pub(crate) fn services(ask: &Ask) -> Result<(), Failure> {
    let services: Vec<ServiceStatus> = get(ask, "services")?;
    show(ask, &services, |services| {
        if services.is_empty() {
            return "no service is known; collectors tell of them".to_owned();
        }
        let mut table = with_heading(&[
            "service", "mode", "heal", "scale", "serving", "load", "signals", "notes",
        ]);
        for service in services {
            table.add_row([
                service.service.to_string(),
                service.mode.to_string(),
                if service.heal { "yes" } else { "no" }.to_owned(),
                service
                    .scale
                    .map_or_else(String::new, |scale| format!("{}..{}", scale.min, scale.max)),
                format!("{}/{}", service.serving, service.replicas),
                service
                    .utilisation
                    .map_or_else(String::new, |share| format!("{:.0}%", share * 100.0)),
                service.signals_open.to_string(),
                notes(service),
            ]);
        }
        trimmed(&table)
    })
}

fn notes(service: &ServiceStatus) -> String {
    let obstacles = service
        .copy_obstacles
        .iter()
        .map(|why| format!("cannot be copied: {why}"));
    let labels = service.label_problems.iter().map(ToString::to_string);
    obstacles.chain(labels).collect::<Vec<_>>().join("; ")
}

/// `homeostat signals`.
pub(crate) fn signals(ask: &Ask, which: Which) -> Result<(), Failure> {
    let path = match which {
        Which::Open => "signals",
        Which::All => "signals?all=true",
    };
    let signals: Vec<Signal> = get(ask, path)?;
    show(ask, &signals, |signals| {
        if signals.is_empty() {
            return "nothing is out of the ordinary".to_owned();
        }
        let mut table =
            with_heading(&["id", "since", "phase", "severity", "kind", "subject", "why"]);
        for signal in signals {
            table.add_row([
                signal.id.to_string(),
                signal.opened_at.to_string(),
                signal.phase.as_str().to_owned(),
                signal.severity.to_string(),
                signal.kind.to_string(),
                signal.subject.to_string(),
                signal.reason.clone(),
            ]);
        }
        trimmed(&table)
    })
}

/// `homeostat actions`.
pub(crate) fn actions(ask: &Ask) -> Result<(), Failure> {
    let actions: Vec<PlanEntry> = get(ask, "actions")?;
    show(ask, &actions, |actions| {
        if actions.is_empty() {
            return "nothing has been done or suggested".to_owned();
        }
        let mut table = with_heading(&["decided", "service", "action", "state", "why", "verdict"]);
        for entry in actions {
            table.add_row([
                entry.plan.created_at.to_string(),
                entry.plan.service.to_string(),
                steps(entry),
                entry.phase.as_str().to_owned(),
                entry.plan.cause.reason.clone(),
                verdict(entry),
            ]);
        }
        trimmed(&table)
    })
}

fn steps(entry: &PlanEntry) -> String {
    let steps = entry.plan.steps.iter().map(|step| step.action.to_string());
    steps.collect::<Vec<_>>().join(", ")
}

fn verdict(entry: &PlanEntry) -> String {
    entry.verdict.as_ref().map_or_else(String::new, |verdict| {
        format!("{}: {}", verdict.kind.as_str(), verdict.reason)
    })
}

/// `homeostat explain`.
pub(crate) fn explain(ask: &Ask, id: &str) -> Result<(), Failure> {
    let explanation: Explanation = get(ask, &format!("signals/{id}"))?;
    show(ask, &explanation, explained)
}

fn explained(explanation: &Explanation) -> String {
    let signal = &explanation.signal;
    let mut lines = vec![
        format!("{} · {} · {}", signal.kind, signal.subject, signal.severity),
        signal.reason.clone(),
        String::new(),
        format!("  id          {}", signal.id),
        format!("  opened      {}", signal.opened_at),
        format!("  state       {} at {}", signal.phase.as_str(), signal.at),
        format!(
            "  score       {:.3} (confidence {})",
            signal.score.get(),
            signal.confidence.as_str()
        ),
    ];
    if !signal.evidence.is_empty() {
        lines.push("\nevidence".to_owned());
        lines.extend(signal.evidence.iter().map(evidence));
    }
    lines.push("\nwhat was done".to_owned());
    if explanation.plans.is_empty() {
        lines.push("  nothing".to_owned());
    }
    for entry in &explanation.plans {
        lines.push(format!(
            "  {}  {} [{}]",
            entry.plan.created_at,
            steps(entry),
            entry.phase.as_str()
        ));
        lines.push(format!("    expected: {}", entry.plan.expected.text));
        lines.extend(
            entry
                .plan
                .alternatives
                .iter()
                .map(|other| format!("    not taken: {other}")),
        );
        if entry.verdict.is_some() {
            lines.push(format!("    verdict: {}", verdict(entry)));
        }
    }
    if !explanation.earlier.is_empty() {
        lines.push("\nearlier".to_owned());
        lines.extend(
            explanation
                .earlier
                .iter()
                .map(|other| format!("  {}  {}", other.opened_at, other.reason)),
        );
    }
    lines.join("\n")
}

fn evidence(evidence: &Evidence) -> String {
    format!(
        "  {:<28} {} {}  expected {} to {}  since {}",
        evidence.feature,
        number(evidence.observed),
        evidence.unit,
        number(evidence.expected_low),
        number(evidence.expected_high),
        evidence.since
    )
}

/// Three significant digits are as many as a judgement needs.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        0.1..10.0 => format!("{value:.2}"),
        10.0..1_000.0 => format!("{value:.0}"),
        1_000.0..1e6 => format!("{:.1}k", value / 1e3),
        1e6..1e9 => format!("{:.1}M", value / 1e6),
        1e9.. => format!("{:.1}G", value / 1e9),
        _ => format!("{value:.4}"),
    }
}

fn show<T: Serialize>(
    ask: &Ask,
    answer: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match ask.output {
        Output::Table => print(&table(answer)),
        Output::Json => print_json(answer),
    }
}

/// The table without the blanks at the ends of its lines.
pub(crate) fn trimmed(table: &comfy_table::Table) -> String {
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

fn get<T: DeserializeOwned>(ask: &Ask, path: &str) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fetch(&ask.console, path))
}

async fn fetch<T: DeserializeOwned>(console: &str, path: &str) -> Result<T, Failure> {
    let url = format!("{}/api/v1/{path}", console.trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let answer = client.get(&url).send().await.map_err(|error| {
        if error.is_builder() {
            return Failure::Usage(format!("{console:?} is no address of a console; write http://HOST:PORT"));
        }
        Failure::Unreachable(format!(
            "no console answers at {console}; start `homeostat up` or `homeostat console`, or name another with --console"
        ))
    })?;
    if !answer.status().is_success() {
        let status = answer.status();
        let text = match answer.json::<Problem>().await {
            Ok(problem) => problem.error,
            Err(_) => format!("{url} answers {status}; is that a console?"),
        };
        return Err(Failure::Unreachable(text));
    }
    answer.json().await.map_err(|_| {
        Failure::Unreachable(format!(
            "{url} does not answer like a console of this version ({})",
            env!("CARGO_PKG_VERSION")
        ))
    })
}
