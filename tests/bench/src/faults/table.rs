//! The table of the faults, in Markdown.

use std::time::Duration;

use units::{Severity, Signal};

use super::Row;

const FOUND_S: f64 = 30.0;

/// Prints the table, what the numbers come to, and the signals nobody accounts for; `between` are those that opened while no
/// fault was there.
pub(crate) fn print(rows: &[Row], between: &[Signal]) {
    println!(
        "\n| fault | found | delay, s | signal | first cause right | resolved after its end, s | false signals (info) |"
    );
    println!("|---|---|---|---|---|---|---|");
    for row in rows {
        println!("{}", line(row));
    }
    let found = |row: &&Row| seconds(row).is_some_and(|delay| delay <= FOUND_S);
    println!(
        "\nfound within {FOUND_S:.0} s: {} of {}; first cause right: {} of {}; false signals: {}; between two faults: {}",
        rows.iter().filter(found).count(),
        rows.len(),
        rows.iter().filter(|row| row.cause_right).count(),
        rows.len(),
        rows.iter().map(|row| counts(&row.others).0).sum::<usize>(),
        counts(between).0,
    );
    for row in rows {
        for signal in &row.others {
            println!("false, during {}: {}", row.fault.name(), said(signal));
        }
        if let Some(note) = row.note {
            println!("{}: {note}", row.fault.name());
        }
    }
    for signal in between {
        println!("between two faults: {}", said(signal));
    }
}

/// One row.
pub(crate) fn line(row: &Row) -> String {
    let (found, kind) = match &row.found {
        Some((signal, _)) => ("yes", format!("`{}`, {}", signal.kind, signal.severity)),
        None => ("no", "–".to_owned()),
    };
    let cause = match (&row.cause, row.cause_right) {
        (None, _) => "none named".to_owned(),
        (Some(cause), true) => format!("yes, `{}`", cause.kind),
        (Some(cause), false) => format!("no: `{}` of {}", cause.kind, cause.subject),
    };
    let (false_ones, info) = counts(&row.others);
    format!(
        "| {} | {found} | {} | {kind} | {cause} | {} | {false_ones} ({info}) |",
        row.fault.name(),
        seconds(row).map_or("–".to_owned(), |delay| format!("{delay:.1}")),
        row.resolved.map_or("not".to_owned(), |after| format!(
            "{:.0}",
            after.as_secs_f64()
        )),
    )
}

/// A signal in one line.
pub(crate) fn said(signal: &Signal) -> String {
    format!("{} {}: {}", signal.severity, signal.kind, signal.reason)
}

fn seconds(row: &Row) -> Option<f64> {
    row.found
        .as_ref()
        .map(|(_, after): &(Signal, Duration)| after.as_secs_f64())
}

/// Those worth a look, and those only worth knowing.
fn counts(signals: &[Signal]) -> (usize, usize) {
    let info = signals
        .iter()
        .filter(|signal| signal.severity < Severity::Warning)
        .count();
    (signals.len() - info, info)
}
