//! The verbs that ask the console.

use std::time::Duration;

use console::api::{ListedSignal, Problem, ServiceStatus, Status};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use units::PlanEntry;

use crate::cli::Ask;
use crate::exit::Failure;
use crate::explain::{judged, opinion, steps};
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
            "service", "mode", "heal", "scale", "priority", "serving", "load", "signals", "notes",
        ]);
        for service in services {
            table.add_row([
                service.service.to_string(),
                service.mode.to_string(),
                if service.heal { "yes" } else { "no" }.to_owned(),
                service
                    .scale
                    .as_ref()
                    .map_or_else(String::new, |scale| format!("{}..{}", scale.min, scale.max)),
                service.priority.to_string(),
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
    let signals: Vec<ListedSignal> = get(ask, path)?;
    show(ask, &signals, |signals| {
        if signals.is_empty() {
            return "nothing is out of the ordinary".to_owned();
        }
        let mut table = with_heading(&[
            "id", "since", "phase", "severity", "kind", "subject", "said", "why",
        ]);
        for ListedSignal { signal, said } in signals {
            table.add_row([
                signal.id.to_string(),
                signal.opened_at.to_string(),
                signal.phase.as_str().to_owned(),
                signal.severity.to_string(),
                signal.kind.to_string(),
                signal.subject.to_string(),
                said.as_ref().map_or_else(String::new, opinion),
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
        let mut table = with_heading(&[
            "plan", "decided", "service", "action", "state", "why", "verdict",
        ]);
        for entry in actions {
            table.add_row([
                entry.plan.id.to_string(),
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

fn verdict(entry: &PlanEntry) -> String {
    entry.verdict.as_ref().map_or_else(String::new, judged)
}

/// Writes an answer as it was asked for.
pub(crate) fn show<T: Serialize>(
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

/// What the console answers to this path under its API.
pub(crate) fn get<T: DeserializeOwned>(ask: &Ask, path: &str) -> Result<T, Failure> {
    fetch(ask, path, |client, url| client.get(url))
}

/// Tells the console something, and gives its answer.
pub(crate) fn post<T: DeserializeOwned>(
    ask: &Ask,
    path: &str,
    body: &impl Serialize,
) -> Result<T, Failure> {
    fetch(ask, path, |client, url| client.post(url).json(body))
}

fn fetch<T: DeserializeOwned>(
    ask: &Ask,
    path: &str,
    request: impl FnOnce(&Client, &str) -> RequestBuilder,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let url = format!("{}/api/v1/{path}", ask.console.trim_end_matches('/'));
    let client = Client::builder().timeout(TIMEOUT).build()?;
    let request = request(&client, &url);
    runtime.block_on(answer(&ask.console, &url, request))
}

async fn answer<T: DeserializeOwned>(
    console: &str,
    url: &str,
    request: RequestBuilder,
) -> Result<T, Failure> {
    let answer = request.send().await.map_err(|error| {
        if error.is_builder() {
            return Failure::Usage(format!("{console:?} is no address of a console; write http://HOST:PORT"));
        }
        Failure::Unreachable(format!(
            "no console answers at {console}; start `homeostat up` or `homeostat console`, or name another with --console"
        ))
    })?;
    if !answer.status().is_success() {
        let status = answer.status();
        return Err(match answer.json::<Problem>().await {
            Ok(problem) if status == StatusCode::BAD_REQUEST => Failure::Usage(problem.error),
            Ok(problem) => Failure::Unreachable(problem.error),
            Err(_) => Failure::Unreachable(format!("{url} answers {status}; is that a console?")),
        });
    }
    answer.json().await.map_err(|_| {
        Failure::Unreachable(format!(
            "{url} does not answer like a console of this version ({})",
            env!("CARGO_PKG_VERSION")
        ))
    })
}
