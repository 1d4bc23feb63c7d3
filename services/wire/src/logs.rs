//! Log lines: one row each.

use std::sync::Arc;

use arrow_array::{Array, ArrayAccessor};
use bus::{NewRecord, Record};
use bytes::Bytes;
use units::{
    ContainerId, ContainerName, LogLine, LogSeverity, LogStream, NodeId, ServiceId, Timestamp,
};

use crate::columns::{Batch, Columns};
use crate::error::{DecodeError, EncodeError};
use crate::header::{self, Meta};
use crate::samples::code;
use crate::topic;

const SCHEMA: &str = "logs";
const VERSION: u32 = 2;

const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];
const SEVERITIES: [LogSeverity; 7] = [
    LogSeverity::Unknown,
    LogSeverity::Trace,
    LogSeverity::Debug,
    LogSeverity::Info,
    LogSeverity::Warn,
    LogSeverity::Error,
    LogSeverity::Fatal,
];

/// Writes lines of one partition, in the order they were written by each container.
///
/// # Errors
/// When Arrow refuses the batch, as for one beyond its size limits.
pub fn encode_logs(
    lines: &[LogLine],
    partition: u32,
    meta: &Meta,
) -> Result<NewRecord, EncodeError> {
    let mut batch = Batch::default();
    batch.times("at_unix_ms", lines.iter().map(|line| line.at.as_millis()));
    batch.names("node", lines.iter().map(|line| line.node.as_str()));
    batch.names("service", lines.iter().map(|line| line.service.as_str()));
    batch.names(
        "container",
        lines.iter().map(|line| line.container.as_str()),
    );
    batch.names("name", lines.iter().map(|line| line.name.as_str()));
    batch.codes("stream", lines.iter().map(|line| line.stream as u8));
    batch.codes("severity", lines.iter().map(|line| line.severity as u8));
    batch.counts("sequence", lines.iter().map(|line| line.sequence));
    let counts = |of: fn(&LogLine) -> u64| lines.iter().map(of);
    batch.counts_unless("lines", 1, counts(|line| u64::from(line.lines)));
    batch.counts_unless("lost_before", 0, counts(|line| line.lost_before));
    batch.counts_unless("limited_before", 0, counts(|line| line.limited_before));
    batch.text_if_any(
        "trace_id",
        lines.iter().map(|line| line.trace_id.as_deref()),
    );
    batch.text("text", lines.iter().map(|line| line.text.as_str()));
    batch.bytes_if_any("raw", lines.iter().map(|line| line.raw.as_deref()));
    let value = batch.encode().map_err(|source| EncodeError::Batch {
        topic: topic::LOGS,
        source,
    })?;
    Ok(NewRecord {
        topic: topic::LOGS.into(),
        key: lines.first().map_or_else(Bytes::new, |line| {
            Bytes::copy_from_slice(line.service.as_str().as_bytes())
        }),
        value,
        headers: header::headers(SCHEMA, VERSION, meta),
        partition: Some(partition),
    })
}

/// Reads a batch of lines. Columns that only seldom hold anything are there only when they do.
///
/// # Errors
/// When schema or version are not known, or the bytes are not such a batch.
pub fn decode_logs(record: &Record) -> Result<Vec<LogLine>, DecodeError> {
    header::expect(record, SCHEMA, VERSION)?;
    let columns =
        Columns::decode(&record.value).map_err(|what| DecodeError::malformed(record, what))?;
    lines(&columns).map_err(|what| DecodeError::malformed(record, what))
}

fn lines(columns: &Columns) -> Result<Vec<LogLine>, String> {
    let at = columns.times("at_unix_ms")?;
    let node = columns.names("node")?;
    let service = columns.names("service")?;
    let container = columns.names("container")?;
    let name = columns.names("name")?;
    let stream = columns.codes("stream")?;
    let severity = columns.codes("severity")?;
    let sequence = columns.counts("sequence")?;
    let merged = columns.counts_if_any("lines")?;
    let lost_before = columns.counts_if_any("lost_before")?;
    let limited_before = columns.counts_if_any("limited_before")?;
    let trace_id = columns.text_if_any("trace_id")?;
    let text = columns.text("text")?;
    let raw = columns.bytes_if_any("raw")?;
    (0..columns.rows())
        .map(|row| {
            let merged = merged.map_or(1, |column| column.value(row));
            let trace_id = trace_id.filter(|column| column.is_valid(row));
            let raw = raw.filter(|column| column.is_valid(row));
            Ok(LogLine {
                at: Timestamp::from_millis(at.value(row)),
                node: NodeId::new(Arc::from(node.value(row))),
                service: ServiceId::new(Arc::from(service.value(row))),
                container: ContainerId::new(Arc::from(container.value(row))),
                name: ContainerName::new(Arc::from(name.value(row))),
                stream: code(&STREAMS, stream.value(row), "stream")?,
                severity: code(&SEVERITIES, severity.value(row), "severity")?,
                sequence: sequence.value(row),
                lines: u32::try_from(merged).map_err(|_| format!("{merged} lines in one"))?,
                lost_before: lost_before.map_or(0, |column| column.value(row)),
                limited_before: limited_before.map_or(0, |column| column.value(row)),
                trace_id: trace_id.map(|column| column.value(row).to_owned()),
                text: text.value(row).to_owned(),
                raw: raw.map(|column| column.value(row).to_owned()),
            })
        })
        .collect()
}
