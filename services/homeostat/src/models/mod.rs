//! `homeostat models`: which models are in the log, and where they came from.

pub(crate) mod log;

use clap::{Args, Subcommand};
use serde::Serialize;
use train::{Artefact, Figures};
use units::Timestamp;

use crate::ask::trimmed;
use crate::config::Sources;
use crate::exit::Failure;
use crate::table::{Output, print, print_json, with_heading};
use crate::train::cells;
use log::{Present, Stored, short};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// For people or for programs.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every service's model, with how it did on rows held back. This is what `models` alone does.
    List,
    /// One model: where it came from, its metrics and windows. As JSON the whole artefact.
    Show {
        /// The service.
        #[arg(value_name = "NAME")]
        service: String,
    },
}

/// Lists or shows.
pub(crate) fn run(options: &Options, sources: Sources) -> Result<(), Failure> {
    let models = log::with(sources, async |bus: &bus::Bus| log::all(bus).await)?;
    match &options.verb {
        None | Some(Verb::List) => list(&models, options.output),
        Some(Verb::Show { service }) => show(&models, service, options.output),
    }
}

/// A model in a list, for programs.
#[derive(Serialize)]
struct Listed<'a> {
    service: &'a str,
    digest: &'a str,
    trained_at: Timestamp,
    rows: Option<usize>,
    metrics: Option<usize>,
    held_back: Option<&'a Figures>,
    previous: Option<&'a str>,
    problem: Option<&'a str>,
}

impl<'a> Listed<'a> {
    fn of(stored: &'a Stored) -> Self {
        let record = &stored.record;
        let mut listed = Listed {
            service: record.service.as_str(),
            digest: &record.digest,
            trained_at: record.trained_at,
            rows: None,
            metrics: None,
            held_back: None,
            previous: None,
            problem: None,
        };
        match &stored.model {
            Present::None => {}
            Present::Unreadable(problem) => listed.problem = Some(problem),
            Present::Model(artefact) => {
                let content = artefact.content();
                listed.rows = Some(content.provenance.rows);
                listed.metrics = Some(content.model.metrics().count());
                listed.held_back = Some(&content.provenance.held_back);
                listed.previous = content.provenance.previous.as_deref();
            }
        }
        listed
    }
}

fn list(models: &[Stored], output: Output) -> Result<(), Failure> {
    let models: Vec<Listed<'_>> = models.iter().map(Listed::of).collect();
    if output == Output::Json {
        return print_json(&models);
    }
    if models.is_empty() {
        return print("no service has a model; `homeostat train --service NAME` trains one");
    }
    let mut table = with_heading(&[
        "service",
        "version",
        "trained",
        "rows",
        "metrics",
        "held back",
        "false alarms",
        "off by",
        "probes seen",
        "previous",
    ]);
    for model in &models {
        let number = |number: Option<usize>| number.map_or_else(String::new, |it| it.to_string());
        let figures = match (model.held_back, model.problem) {
            (Some(figures), _) => cells(figures),
            (None, problem) => [problem.unwrap_or(""), "", "", ""].map(str::to_owned),
        };
        let mut row = vec![
            model.service.to_owned(),
            short(model.digest).to_owned(),
            model.trained_at.to_string(),
            number(model.rows),
            number(model.metrics),
        ];
        row.extend(figures);
        row.push(
            model
                .previous
                .map_or_else(String::new, |it| short(it).to_owned()),
        );
        table.add_row(row);
    }
    print(&trimmed(&table))
}

fn show(models: &[Stored], service: &str, output: Output) -> Result<(), Failure> {
    let found = models
        .iter()
        .find(|stored| stored.record.service.as_str() == service);
    let missing = || {
        Failure::Unreachable(format!(
            "service {service} has no model; `homeostat models` names those that do, `homeostat train --service {service}` trains one"
        ))
    };
    match &found.ok_or_else(missing)?.model {
        Present::None => Err(missing()),
        Present::Unreadable(problem) => Err(anyhow::anyhow!("service {service}: {problem}").into()),
        Present::Model(artefact) => match output {
            Output::Json => print_json(artefact),
            Output::Table => print(&shown(artefact)),
        },
    }
}

fn shown(artefact: &Artefact) -> String {
    let content = artefact.content();
    let from = &content.provenance;
    let [rows, false_alarms, off_by, probes] = cells(&from.held_back);
    let metrics: Vec<&str> = content.model.metrics().collect();
    let mut lines = vec![
        format!("{} · {}", content.service, short(artefact.digest())),
        String::new(),
        format!("  digest      {}", artefact.digest()),
        format!(
            "  previous    {}",
            from.previous.as_deref().unwrap_or("none")
        ),
        format!("  trained     {}", from.trained_at),
        format!("  history     {} to {}", from.from, from.to),
        format!(
            "  rows        {} of {} containers, learned from {}",
            from.rows, from.subjects, from.rows_used
        ),
        format!(
            "  bounds      {} rows, {} windows of {} centroids, {} iterations; seed {}",
            from.settings.rows_max(),
            from.settings.windows(),
            from.settings.centroids(),
            from.settings.iterations_max(),
            from.seed
        ),
        format!(
            "  held back   {rows} rows: false alarms {false_alarms}, rareness off by {off_by}, probes seen {probes}"
        ),
        format!("  metrics     {}", metrics.join(", ")),
    ];
    if !from.left_out.is_empty() {
        lines.push(format!("  left out    {}", from.left_out.join(", ")));
    }
    lines.push("\nwindows".to_owned());
    let windows = content.model.windows();
    lines.extend(windows.map(|(first, last)| format!("  {first} to {last}")));
    lines.join("\n")
}
