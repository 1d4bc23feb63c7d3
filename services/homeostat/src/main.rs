//! The homeostat binary: command line and wiring. What each role does is in its own crate; this one only puts them
//! together, reads the configuration they share, and shows what the console knows.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod approve;
mod ask;
mod ask_incidents;
mod chart;
mod cli;
mod config;
mod demo;
mod evaluate;
mod exit;
mod explain;
mod feedback;
mod members;
mod memory;
mod models;
mod node;
mod nodes;
mod process;
mod record;
mod replay;
mod score;
mod simulate;
mod table;
mod templates;
mod train;
mod update;
mod when;
mod why_not;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    match cli::dispatch(cli) {
        Ok(()) => exit::OK.into(),
        Err(failure) => failure.report(),
    }
}
