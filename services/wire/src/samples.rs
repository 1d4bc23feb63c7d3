//! Samples: one wide row for each container and tick.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::UInt64Array;
use bus::{NewRecord, Record};
use bytes::Bytes;
use units::{
    ContainerId, ContainerName, ContainerState, HealthState, Metric, MetricRow, NodeId, Sample,
    ServiceId, Steady, Timestamp,
};

use crate::columns::{Batch, Columns, Matrix};
use crate::error::{DecodeError, EncodeError};
use crate::header::{self, Meta};
use crate::topic;

pub(crate) const SCHEMA: &str = "samples";
/// 1 had names by dictionary and a column for each metric.
const VERSION: u32 = 2;
/// The numbers of a row; a metric that no row has is not among their names.
const METRICS: &str = "metrics";

/// Writes the rows of one partition and tick. The caller has put together the services that `bus::partition_of` sends there.
///
/// # Errors
/// When Arrow refuses the batch, as for one beyond its size limits.
pub fn encode_samples(
    rows: &[Sample],
    partition: u32,
    meta: &Meta,
) -> Result<NewRecord, EncodeError> {
    let mut batch = Batch::default();
    batch.times("at_unix_ms", rows.iter().map(|row| row.at.as_millis()));
    batch.counts("steady_ms", rows.iter().map(|row| row.steady.as_millis()));
    batch.plain_names("node", rows.iter().map(|row| row.node.as_str()));
    batch.plain_names("service", rows.iter().map(|row| row.service.as_str()));
    batch.plain_names("container", rows.iter().map(|row| row.container.as_str()));
    batch.plain_names("name", rows.iter().map(|row| row.name.as_str()));
    batch.codes("state", rows.iter().map(|row| row.state as u8));
    batch.codes("health", rows.iter().map(|row| row.health as u8));
    let was_read = |metric: &&Metric| rows.iter().any(|row| row.metrics.get(**metric).is_some());
    let metrics: Vec<Metric> = Metric::ALL.iter().filter(was_read).copied().collect();
    let numbers = |row| {
        let row: &Sample = row;
        metrics.iter().map(|metric| row.metrics.get(*metric))
    };
    let names = metrics.iter().map(|metric| metric.column());
    let value = batch
        .matrix(METRICS, names, rows.iter().flat_map(numbers))
        .and_then(|()| batch.encode())
        .map_err(|source| EncodeError::Batch {
            topic: topic::SAMPLES,
            source,
        })?;
    Ok(NewRecord {
        topic: topic::SAMPLES.into(),
        key: rows.first().map_or_else(Bytes::new, |row| {
            Bytes::copy_from_slice(row.service.as_str().as_bytes())
        }),
        value,
        headers: header::headers(SCHEMA, VERSION, meta),
        partition: Some(partition),
    })
}

/// Reads a batch of samples. Columns this reader does not know are passed over; metrics the batch does not have were not read.
///
/// # Errors
/// When schema or version are not known, or the bytes are not such a batch.
pub fn decode_samples(record: &Record) -> Result<Vec<Sample>, DecodeError> {
    header::expect(record, SCHEMA, VERSION)?;
    let columns =
        Columns::decode(&record.value).map_err(|what| DecodeError::malformed(record, what))?;
    rows(&columns).map_err(|what| DecodeError::malformed(record, what))
}

fn rows(columns: &Columns) -> Result<Vec<Sample>, String> {
    let at = columns.times("at_unix_ms")?;
    let steady = columns.counts_if_any("steady_ms")?;
    let node = columns.names("node")?;
    let service = columns.names("service")?;
    let container = columns.names("container")?;
    let name = columns.names("name")?;
    let state = columns.codes("state")?;
    let health = columns.codes("health")?;
    let mut samples = Vec::with_capacity(columns.rows());
    for row in 0..columns.rows() {
        let at = Timestamp::from_millis(at.value(row));
        samples.push(Sample {
            at,
            steady: steady_of(steady, row, at),
            node: NodeId::new(Arc::from(node.value(row))),
            service: ServiceId::new(Arc::from(service.value(row))),
            container: ContainerId::new(Arc::from(container.value(row))),
            name: ContainerName::new(Arc::from(name.value(row))),
            state: code(&ContainerState::ALL, state.value(row), "state")?,
            health: code(&HealthState::ALL, health.value(row), "health")?,
            metrics: MetricRow::default(),
        });
    }
    match columns.matrix(METRICS)? {
        Some(matrix) => fill(&mut samples, &matrix),
        None => fill_by_column(&mut samples, columns)?,
    }
    Ok(samples)
}

/// Metrics this reader does not know are passed over.
fn fill(samples: &mut [Sample], matrix: &Matrix<'_>) {
    // Writers name them in this order, so each is found just behind the one before it.
    let mut behind = Metric::ALL;
    for (at, name) in matrix.names.iter().enumerate() {
        let found = behind.iter().position(|metric| metric.column() == *name);
        let metric = match found {
            Some(position) => {
                let metric = behind[position];
                behind = &behind[position + 1..];
                metric
            }
            None => match Metric::from_column(name) {
                Some(metric) => metric,
                None => continue,
            },
        };
        for (row, sample) in samples.iter_mut().enumerate() {
            sample.metrics.set_opt(metric, matrix.value(row, at));
        }
    }
}

/// As the first version has them.
fn fill_by_column(samples: &mut [Sample], columns: &Columns) -> Result<(), String> {
    for metric in Metric::ALL {
        let Some(column) = columns.numbers(metric.column())? else {
            continue;
        };
        for (row, sample) in samples.iter_mut().enumerate() {
            if column.is_valid(row) {
                sample.metrics.set(*metric, column.value(row));
            }
        }
    }
    Ok(())
}

/// The clock that never steps, which writers before it was told stand in for with the time of day.
pub(crate) fn steady_of(column: Option<&UInt64Array>, row: usize, at: Timestamp) -> Steady {
    column.map_or_else(
        || Steady::from_time_of_day(at),
        |column| Steady::from_millis(column.value(row)),
    )
}

pub(crate) fn code<T: Copy>(all: &[T], code: u8, what: &str) -> Result<T, String> {
    all.get(usize::from(code))
        .copied()
        .ok_or_else(|| format!("{code} is no {what} code"))
}
