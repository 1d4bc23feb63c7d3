//! The history of a service in files: each one of its containers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use train::History;
use units::Timestamp;

use crate::score::{Series, open, series};

/// Every row of every series below `input/series`. Metrics are told apart by name; one that a file does not have is missing there.
pub(super) fn history(input: &Path) -> anyhow::Result<History> {
    let files = series(input)?;
    let mut columns: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        let rows = open(file).with_context(|| file.path.display().to_string())?;
        for metric in rows.metrics {
            columns.insert(metric, 0);
        }
    }
    for (number, column) in columns.values_mut().enumerate() {
        *column = number;
    }
    let mut history = History::new(columns.keys().cloned().collect())?;
    for (subject, file) in files.iter().enumerate() {
        read(file, subject as u32, &columns, &mut history)
            .with_context(|| file.path.display().to_string())?;
    }
    Ok(history)
}

fn read(
    file: &Series,
    subject: u32,
    columns: &BTreeMap<String, usize>,
    history: &mut History,
) -> anyhow::Result<()> {
    let mut rows = open(file)?;
    let places: Vec<usize> = rows.metrics.iter().map(|metric| columns[metric]).collect();
    let mut row = vec![None; columns.len()];
    while rows.next()? {
        row.fill(None);
        for (place, value) in places.iter().zip(&rows.values) {
            row[*place] = *value;
        }
        history.push(Timestamp::from_millis(rows.seconds * 1_000), subject, &row)?;
    }
    Ok(())
}
