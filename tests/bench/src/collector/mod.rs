//! What the collector costs and how soon it tells, measured from outside: it runs as its own process over a real Kafka, beside
//! containers of the bench's own, and beside Netdata and a bare read of the same files.

mod churn;
mod containers;
mod cost;
mod events;
mod floor;
mod logs;
mod netdata;
mod period;
mod rig;
mod table;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use rig::Rig;
use table::Table;

/// What a shell gives for a command ended by an interrupt.
const INTERRUPTED: u8 = 130;

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Processor time and memory, in the same run.
    Cost,
    /// The real time between samples of many containers.
    Period,
    /// From the engine's event to the inventory.
    Events,
    /// From a log file to Kafka.
    Logs,
    /// Memory while containers come and go, for an hour.
    Churn,
}

impl Part {
    /// As on the command line.
    pub(crate) const NAMES: [&str; 6] = ["cpu", "memory", "period", "events", "logs", "churn"];
    const BY_DEFAULT: [Part; 4] = [Part::Cost, Part::Period, Part::Events, Part::Logs];

    /// The parts of these names, or the name that is none. No name: all that take minutes.
    pub(crate) fn all_of<'a>(names: &[&'a str]) -> Result<Vec<Part>, &'a str> {
        if names.is_empty() {
            return Ok(Part::BY_DEFAULT.to_vec());
        }
        let mut parts = Vec::new();
        for name in names {
            let part = match *name {
                "cpu" | "memory" => Part::Cost,
                "period" => Part::Period,
                "events" => Part::Events,
                "logs" => Part::Logs,
                "churn" => Part::Churn,
                unknown => return Err(unknown),
            };
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        Ok(parts)
    }
}

/// Measures these parts and prints one table. Whatever ends it, its containers and processes go with it.
pub(crate) async fn run(parts: &[Part]) -> ExitCode {
    let mut interrupt = signal(SignalKind::interrupt()).unwrap();
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let measured = tokio::select! {
        table = measure(parts) => Some(table),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    // What was measured is dropped by here, and everything it had started with it.
    let Some(table) = measured else {
        eprintln!("bench: interrupted; what it had started is removed");
        return ExitCode::from(INTERRUPTED);
    };
    table.print();
    ExitCode::SUCCESS
}

async fn measure(parts: &[Part]) -> Table {
    let mut table = Table::default();
    let rig = Rig::start().await;
    for part in parts {
        match part {
            Part::Cost => cost::run(&rig, &mut table).await,
            Part::Period => period::run(&rig, &mut table).await,
            Part::Events => events::run(&rig, &mut table).await,
            Part::Logs => logs::run(&rig, &mut table).await,
            Part::Churn => churn::run(&rig, &mut table).await,
        }
    }
    table
}
