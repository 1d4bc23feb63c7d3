//! The application that the demonstration and the end-to-end tests keep healthy: one static binary that plays a web
//! service, a worker, a service that can be told to fall ill, a store with its callers, jobs, and the traffic that reaches
//! them.
//!
//! It stands on the standard library alone, so that it runs by itself in an image made from one file. It is no part
//! of Homeostat: nothing in it knows of the loop, and it reports nothing but its HTTP answers and its log lines.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod client;
mod dns;
mod illness;
mod job;
mod patient;
mod server;
mod stats;
mod store;
#[allow(
    unsafe_code,
    reason = "the standard library offers neither signal handlers nor the processor time of a thread"
)]
mod sys;
mod traffic;
mod web;
mod worker;

use std::fmt;
use std::io;
use std::process::ExitCode;

use args::{Options, UsageError};

const USAGE: &str = "\
usage: demo-app COMMAND [OPTIONS]

  web      [--listen ADDR] [--burn-ms MS] [--delay-ms MS] [--failing-percent N]
                                            HTTP service that burns processor time for each request, and may answer late or fail
  worker                                    steady 5 % of a core and 20 MB, a log line each 2 s
  patient  [--listen ADDR] [--crash-if FILE]
                                            HTTP service that falls ill when told: POST /hang, /leak?mb_per_s=8,
                                            /errors?per_s=20, /lines?per_s=500, /burn?millicores=900, /write?mb_per_s=50,
                                            /slow?ms=30; /leak/stop and so on. Crashes while FILE is there
  store    [--listen ADDR]                  answers questions over connections that stay open
  caller   --target HOST:PORT=RPS           asks a store at a fixed rate
  job      [--seconds N] [--burn-millicores N] [--write-mb-per-s N]
                                            works for some seconds and ends well
  traffic  --target HOST:PORT=RPS ... [--control ADDR] [--timeout-ms MS]
                                            sends requests at fixed rates; POST /rate?target=HOST&rps=N, GET /stats
  health   [--listen ADDR]                  exits 0 when GET /health answers on this container, else 1

ADDR is [IP]:PORT, by default :8080 (traffic: :9000, store: :7000).";

/// Why the process ends with an error: the caller's mistake, or the world's.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong; ends with status 2.
    Usage(UsageError),
    /// Something the process needs is not there; ends with status 1.
    Io(String, io::Error),
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => write!(f, "{error}\n\n{USAGE}"),
            Self::Io(subject, error) => write!(f, "{subject}: {error}"),
        }
    }
}

fn main() -> ExitCode {
    sys::catch_termination();
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    match run(&command, &words) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("demo-app: {failure}");
            match failure {
                Failure::Usage(_) => ExitCode::from(2),
                Failure::Io(..) => ExitCode::FAILURE,
            }
        }
    }
}

fn run(command: &str, words: &[String]) -> Result<ExitCode, Failure> {
    match command {
        "web" => web::run(&Options::parse(
            words,
            &["listen", "burn-ms", "delay-ms", "failing-percent"],
        )?)?,
        "worker" => {
            Options::parse(words, &[])?;
            worker::run();
        }
        "patient" => patient::run(&Options::parse(words, &["listen", "crash-if"])?)?,
        "store" => store::run(&Options::parse(words, &["listen"])?)?,
        "caller" => store::call(&Options::parse(words, &["target"])?)?,
        "job" => job::run(&Options::parse(
            words,
            &["seconds", "burn-millicores", "write-mb-per-s"],
        )?)?,
        "traffic" => traffic::run(&Options::parse(
            words,
            &["target", "control", "timeout-ms"],
        )?)?,
        "health" => return client::health(&Options::parse(words, &["listen"])?),
        "help" | "--help" | "-h" => println!("{USAGE}"),
        other => return Err(UsageError::unknown_command(other).into()),
    }
    Ok(ExitCode::SUCCESS)
}
