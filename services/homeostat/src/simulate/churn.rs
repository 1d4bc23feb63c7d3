//! `homeostat simulate churn`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use sim::churn::{Churn, Item, churn};

use super::columns;
use crate::exit::Failure;
use crate::table::{Output, print, print_json, with_heading};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What comes and goes: a CSV file with columns start, end (minutes) and size (per cent of a host); .gz is unpacked.
    #[arg(long, value_name = "FILE")]
    items: PathBuf,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    host_time_ratio: f64,
    moves_per_item: f64,
    host_time_min: f64,
    items: usize,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let rows = columns::read(&options.items, ["start", "end", "size"])?;
    let items: Vec<Item> = rows
        .into_iter()
        .map(|[start_min, end_min, size_percent]| Item {
            start_min,
            end_min,
            size_percent,
        })
        .collect();
    let figures = churn(&items).with_context(|| options.items.display().to_string())?;
    let output = match options.json {
        true => Output::Json,
        false => Output::Table,
    };
    show(&figures, output)
}

fn show(figures: &Churn, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => print_json(&Shown {
            host_time_ratio: figures.host_time_ratio,
            moves_per_item: figures.moves_per_item,
            host_time_min: figures.host_time_min,
            items: figures.items,
        }),
        Output::Table => {
            let mut table = with_heading(&["items", "host time", "moves per item"]);
            table.add_row([
                figures.items.to_string(),
                format!("{:.4} of the bound", figures.host_time_ratio),
                format!("{:.4}", figures.moves_per_item),
            ]);
            print(&table.to_string())
        }
    }
}
