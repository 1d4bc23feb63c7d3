//! Headers: schema with version, producer, trace context.

use std::sync::Arc;

use bus::{Headers, Record};
use bytes::Bytes;

use crate::error::{DecodeError, DecodeProblem};

const SCHEMA: &str = "homeostat-schema";
const PRODUCER: &str = "homeostat-producer";
const TRACEPARENT: &str = "traceparent";

/// What a writer says of itself with each record.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Role, version and node, such as `collector/0.1.0@node-a`.
    pub producer: Arc<str>,
    /// W3C trace context of the work that led to the record.
    pub traceparent: Option<String>,
}

impl Meta {
    /// A writer with no trace to continue.
    pub fn new(producer: impl Into<Arc<str>>) -> Self {
        Meta {
            producer: producer.into(),
            traceparent: None,
        }
    }

    /// The same writer, within this trace.
    pub fn within(&self, traceparent: Option<String>) -> Self {
        Meta {
            producer: Arc::clone(&self.producer),
            traceparent,
        }
    }
}

/// The W3C trace context a record carries.
pub fn traceparent(record: &Record) -> Option<&str> {
    text(record, TRACEPARENT)
}

/// Who wrote a record.
pub fn producer(record: &Record) -> Option<&str> {
    text(record, PRODUCER)
}

pub(crate) fn schema(record: &Record) -> Option<&str> {
    text(record, SCHEMA)
}

pub(crate) fn headers(schema: &str, version: u32, meta: &Meta) -> Headers {
    let mut headers = vec![
        (
            SCHEMA.to_owned(),
            Bytes::from(format!("{schema}/{version}")),
        ),
        (
            PRODUCER.to_owned(),
            Bytes::copy_from_slice(meta.producer.as_bytes()),
        ),
    ];
    if let Some(context) = &meta.traceparent {
        headers.push((TRACEPARENT.to_owned(), Bytes::from(context.clone())));
    }
    headers
}

/// Whether the record says that it is of this schema, whatever its version.
pub(crate) fn is(record: &Record, name: &str) -> bool {
    schema(record)
        .and_then(|said| said.split_once('/'))
        .is_some_and(|(said, _)| said == name)
}

/// Refuses a record whose schema is not `schema`, or whose version is not one of `1..=newest`.
pub(crate) fn expect(record: &Record, name: &str, newest: u32) -> Result<u32, DecodeError> {
    let Some(said) = schema(record) else {
        return Err(DecodeError::new(record, DecodeProblem::NoSchema));
    };
    let version = said
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|digits| digits.parse::<u32>().ok())
        .filter(|version| (1..=newest).contains(version));
    version.ok_or_else(|| {
        let known = format!("{name}/1 to {name}/{newest}");
        DecodeError::new(record, DecodeProblem::UnknownVersion { known })
    })
}

fn text<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let (_, value) = record.headers.iter().find(|(key, _)| key == name)?;
    std::str::from_utf8(value).ok()
}
