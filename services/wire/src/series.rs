//! Series of applications and nodes: one narrow row for each number.

use std::sync::Arc;

use bus::{NewRecord, Record};
use bytes::Bytes;
use units::{ContainerId, NodeId, Point, SeriesKind, ServiceId, Timestamp};

use crate::columns::{Batch, Columns};
use crate::error::{DecodeError, EncodeError};
use crate::header::{self, Meta};
use crate::samples::{code, steady_of};
use crate::topic;

pub(crate) const SCHEMA: &str = "series";
const VERSION: u32 = 1;

/// Writes points of one partition. Those of a service go where its samples go; a node's own where its name leads.
///
/// # Errors
/// When Arrow refuses the batch, as for one beyond its size limits.
pub fn encode_series(
    points: &[Point],
    partition: u32,
    meta: &Meta,
) -> Result<NewRecord, EncodeError> {
    let mut batch = Batch::default();
    batch.times("at_unix_ms", points.iter().map(|it| it.at.as_millis()));
    batch.counts("steady_ms", points.iter().map(|it| it.steady.as_millis()));
    batch.names("node", points.iter().map(|it| it.node.as_str()));
    // Ids are never empty, so empty says that there is none.
    batch.names(
        "service",
        points
            .iter()
            .map(|it| it.service.as_ref().map_or("", ServiceId::as_str)),
    );
    batch.names(
        "container",
        points
            .iter()
            .map(|it| it.container.as_ref().map_or("", ContainerId::as_str)),
    );
    batch.names("name", points.iter().map(|it| it.name.as_str()));
    batch.names("labels", points.iter().map(|it| it.labels.as_str()));
    batch.codes("kind", points.iter().map(|it| it.kind as u8));
    batch.numbers("value", points.iter().map(|it| Some(it.value)));
    let value = batch.encode().map_err(|source| EncodeError::Batch {
        topic: topic::SAMPLES,
        source,
    })?;
    let key = points.first().map_or_else(Bytes::new, |it| {
        let key = it
            .service
            .as_ref()
            .map_or(it.node.as_str(), |id| id.as_str());
        Bytes::copy_from_slice(key.as_bytes())
    });
    Ok(NewRecord {
        topic: topic::SAMPLES.into(),
        key,
        value,
        headers: header::headers(SCHEMA, VERSION, meta),
        partition: Some(partition),
    })
}

/// Reads a batch of points.
///
/// # Errors
/// When schema or version are not known, or the bytes are not such a batch.
pub fn decode_series(record: &Record) -> Result<Vec<Point>, DecodeError> {
    header::expect(record, SCHEMA, VERSION)?;
    let columns =
        Columns::decode(&record.value).map_err(|what| DecodeError::malformed(record, what))?;
    points(&columns).map_err(|what| DecodeError::malformed(record, what))
}

fn points(columns: &Columns) -> Result<Vec<Point>, String> {
    let at = columns.times("at_unix_ms")?;
    let steady = columns.counts("steady_ms")?;
    let node = columns.names("node")?;
    let service = columns.names("service")?;
    let container = columns.names("container")?;
    let name = columns.names("name")?;
    let labels = columns.names("labels")?;
    let kind = columns.codes("kind")?;
    let value = columns.numbers("value")?.ok_or("column value is missing")?;
    let some = |text: &str| (!text.is_empty()).then(|| Arc::<str>::from(text));
    (0..columns.rows())
        .map(|row| {
            let at = Timestamp::from_millis(at.value(row));
            Ok(Point {
                at,
                steady: steady_of(Some(steady), row, at),
                node: NodeId::new(Arc::from(node.value(row))),
                service: some(service.value(row)).map(ServiceId::new),
                container: some(container.value(row)).map(ContainerId::new),
                name: name.value(row).to_owned(),
                labels: labels.value(row).to_owned(),
                kind: code(&SeriesKind::ALL, kind.value(row), "kind")?,
                value: value.value(row),
            })
        })
        .collect()
}
