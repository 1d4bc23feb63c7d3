//! Log lines: one row each.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, Int64Array, StringArray, UInt8Array, UInt64Array,
};
use arrow_schema::ArrowError;
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

/// Where lines come from: what is the same for all lines of a container.
#[derive(Debug, Clone, Copy)]
pub struct LogOrigin<'a> {
    /// The node.
    pub node: &'a str,
    /// The service.
    pub service: &'a str,
    /// The engine's id of the container.
    pub container: &'a str,
    /// The container's name.
    pub name: &'a str,
}

/// An origin as a batch knows it; good for that batch only.
#[derive(Debug, Clone, Copy)]
pub struct OriginKey([i32; 4]);

/// A line without its origin, all text borrowed. The fields are those of [`LogLine`].
#[derive(Debug, Clone, Copy)]
pub struct LogRow<'a> {
    /// When the engine took it.
    pub at: Timestamp,
    /// Standard output or error.
    pub stream: LogStream,
    /// Its level.
    pub severity: LogSeverity,
    /// Its number.
    pub sequence: u64,
    /// How many lines it holds.
    pub lines: u32,
    /// Lines lost before it.
    pub lost_before: u64,
    /// Lines the rate limit dropped before it.
    pub limited_before: u64,
    /// Its trace.
    pub trace_id: Option<&'a str>,
    /// Its text.
    pub text: &'a str,
    /// Its bytes, where they are no UTF-8.
    pub raw: Option<&'a [u8]>,
}

/// What a row takes beside its text, raw bytes and trace id: numbers, codes, offsets and the keys of names.
const ROW_BYTES: usize = 72;

/// Lines of one partition, gathered column by column in the order they were written by each container.
#[derive(Debug, Default)]
pub struct LogBatch {
    at: Vec<i64>,
    names: [Names; 4],
    stream: Vec<u8>,
    severity: Vec<u8>,
    sequence: Vec<u64>,
    lines: Vec<u64>,
    lost_before: Vec<u64>,
    limited_before: Vec<u64>,
    trace_id: StringBuilder,
    text: StringBuilder,
    raw: BinaryBuilder,
    bytes: usize,
}

impl LogBatch {
    /// Looks an origin up. Once for many lines is enough.
    pub fn origin(&mut self, origin: LogOrigin<'_>) -> OriginKey {
        let texts = [origin.node, origin.service, origin.container, origin.name];
        let mut keys = [0; 4];
        for ((key, names), text) in keys.iter_mut().zip(&mut self.names).zip(texts) {
            *key = names.key(text);
        }
        OriginKey(keys)
    }

    /// Adds a line.
    pub fn push(&mut self, origin: OriginKey, row: &LogRow<'_>) {
        for (names, key) in self.names.iter_mut().zip(origin.0) {
            names.keys.push(key);
        }
        self.at.push(row.at.as_millis());
        self.stream.push(row.stream as u8);
        self.severity.push(row.severity as u8);
        self.sequence.push(row.sequence);
        self.lines.push(u64::from(row.lines));
        self.lost_before.push(row.lost_before);
        self.limited_before.push(row.limited_before);
        self.trace_id.append_option(row.trace_id);
        self.text.append_value(row.text);
        self.raw.append_option(row.raw);
        self.bytes += ROW_BYTES
            + row.text.len()
            + row.trace_id.map_or(0, str::len)
            + row.raw.map_or(0, <[u8]>::len);
    }

    /// How many lines there are.
    pub fn rows(&self) -> usize {
        self.at.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// What the lines will take when they are encoded, names and framing left out; rather more than less.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes the lines.
    ///
    /// # Errors
    /// When Arrow refuses the batch, as for one beyond its size limits.
    pub fn encode(self, partition: u32, meta: &Meta) -> Result<NewRecord, EncodeError> {
        let key = self.names[1].first().map_or_else(Bytes::new, |service| {
            Bytes::copy_from_slice(service.as_bytes())
        });
        let value = self.value().map_err(|source| EncodeError::Batch {
            topic: topic::LOGS,
            source,
        })?;
        Ok(NewRecord {
            topic: topic::LOGS.into(),
            key,
            value,
            headers: header::headers(SCHEMA, VERSION, meta),
            partition: Some(partition),
        })
    }

    fn value(mut self) -> Result<Bytes, ArrowError> {
        let mut batch = Batch::default();
        let counts = |values: Vec<u64>| Arc::new(UInt64Array::from(values));
        batch.push("at_unix_ms", Arc::new(Int64Array::from(self.at)));
        for (name, names) in ["node", "service", "container", "name"]
            .into_iter()
            .zip(self.names)
        {
            batch.push(name, names.column()?);
        }
        batch.push("stream", Arc::new(UInt8Array::from(self.stream)));
        batch.push("severity", Arc::new(UInt8Array::from(self.severity)));
        batch.push("sequence", counts(self.sequence));
        // Columns that hold nothing out of the ordinary are left out.
        for (name, usual, values) in [
            ("lines", 1, self.lines),
            ("lost_before", 0, self.lost_before),
            ("limited_before", 0, self.limited_before),
        ] {
            if values.iter().any(|value| *value != usual) {
                batch.push(name, counts(values));
            }
        }
        let trace_id = self.trace_id.finish();
        if trace_id.null_count() < trace_id.len() {
            batch.push("trace_id", Arc::new(trace_id));
        }
        batch.push("text", Arc::new(self.text.finish()));
        let raw = self.raw.finish();
        if raw.null_count() < raw.len() {
            batch.push("raw", Arc::new(raw));
        }
        batch.encode()
    }
}

/// A column of names, each kept once.
#[derive(Debug, Default)]
struct Names {
    known: HashMap<Box<str>, i32>,
    texts: Vec<Box<str>>,
    keys: Vec<i32>,
}

impl Names {
    fn key(&mut self, text: &str) -> i32 {
        if let Some(key) = self.known.get(text) {
            return *key;
        }
        let key = i32::try_from(self.texts.len())
            .expect("a batch is under a megabyte, and each name takes a byte of it");
        self.known.insert(text.into(), key);
        self.texts.push(text.into());
        key
    }

    /// The name of the first line.
    fn first(&self) -> Option<&str> {
        let key = usize::try_from(*self.keys.first()?).ok()?;
        self.texts.get(key).map(AsRef::as_ref)
    }

    fn column(self) -> Result<ArrayRef, ArrowError> {
        let values = StringArray::from_iter_values(self.texts);
        let keys = Int32Array::from(self.keys);
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(
            keys,
            Arc::new(values),
        )?))
    }
}

/// Writes lines of one partition, in the order they were written by each container.
///
/// # Errors
/// As [`LogBatch::encode`].
pub fn encode_logs(
    lines: &[LogLine],
    partition: u32,
    meta: &Meta,
) -> Result<NewRecord, EncodeError> {
    let mut batch = LogBatch::default();
    for line in lines {
        let origin = batch.origin(LogOrigin {
            node: line.node.as_str(),
            service: line.service.as_str(),
            container: line.container.as_str(),
            name: line.name.as_str(),
        });
        let row = LogRow {
            at: line.at,
            stream: line.stream,
            severity: line.severity,
            sequence: line.sequence,
            lines: line.lines,
            lost_before: line.lost_before,
            limited_before: line.limited_before,
            trace_id: line.trace_id.as_deref(),
            text: &line.text,
            raw: line.raw.as_deref(),
        };
        batch.push(origin, &row);
    }
    batch.encode(partition, meta)
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
