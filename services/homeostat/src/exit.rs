//! Exit statuses, the same for every verb.

use std::fmt::Display;
use std::process::ExitCode;

/// Done.
pub(crate) const OK: u8 = 0;
/// It was tried and did not work; standard error says what and what to do.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong; nothing was done.
const USAGE: u8 = 2;
/// The console, or what it was asked for, is not there.
const UNREACHABLE: u8 = 3;

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was tried and did not work.
    Failed(anyhow::Error),
    /// The command line or the configuration is wrong. The text is complete.
    Usage(String),
    /// The console, or what it was asked for, is not there. The text is complete.
    Unreachable(String),
}

impl Failure {
    pub(crate) fn report(self) -> ExitCode {
        let (text, status) = match self {
            Failure::Failed(error) => (chain(&error), FAILED),
            Failure::Usage(text) => (text, USAGE),
            Failure::Unreachable(text) => (text, UNREACHABLE),
        };
        complain(&text);
        status.into()
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(error.into())
    }
}

/// Prints what clap says; asking for help is no failure.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Standard output may be closed, as in `homeostat help | head`; there is nobody left to tell.
    let _ = error.print();
    if error.use_stderr() {
        USAGE.into()
    } else {
        OK.into()
    }
}

fn chain(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Tells on standard error.
pub(crate) fn complain(text: &dyn Display) {
    use std::io::Write;
    // As above: a closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "homeostat: {text}");
}
