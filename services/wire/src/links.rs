//! Links: one row for each container and peer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::{NewRecord, Record};
use bytes::Bytes;
use units::{ContainerId, Direction, Link, NodeId, ServiceId, Steady, Timestamp};

use crate::columns::{Batch, Columns};
use crate::error::{DecodeError, EncodeError};
use crate::header::{self, Meta};
use crate::samples::code;
use crate::topic;

pub(crate) const SCHEMA: &str = "links";
const VERSION: u32 = 1;

/// Writes links of one partition: they go where the samples of their service go.
///
/// # Errors
/// When Arrow refuses the batch, as for one beyond its size limits.
pub fn encode_links(links: &[Link], partition: u32, meta: &Meta) -> Result<NewRecord, EncodeError> {
    let mut batch = Batch::default();
    let peers: Vec<String> = links.iter().map(|it| it.peer.to_string()).collect();
    batch.times("at_unix_ms", links.iter().map(|it| it.at.as_millis()));
    batch.counts("steady_ms", links.iter().map(|it| it.steady.as_millis()));
    batch.names("node", links.iter().map(|it| it.node.as_str()));
    batch.names("service", links.iter().map(|it| it.service.as_str()));
    batch.names("container", links.iter().map(|it| it.container.as_str()));
    batch.names("peer", peers.iter().map(String::as_str));
    // Ids are never empty, so empty says that it is not known.
    batch.names(
        "peer_service",
        links
            .iter()
            .map(|it| it.peer_service.as_ref().map_or("", ServiceId::as_str)),
    );
    batch.codes("direction", links.iter().map(|it| it.direction as u8));
    batch.counts("port", links.iter().map(|it| u64::from(it.port)));
    batch.counts(
        "connections",
        links.iter().map(|it| u64::from(it.connections)),
    );
    batch.counts(
        "rtt_median_us",
        links
            .iter()
            .map(|it| u64::try_from(it.rtt_median.as_micros()).unwrap_or(u64::MAX)),
    );
    batch.counts("retransmits", links.iter().map(|it| it.retransmits));
    let value = batch.encode().map_err(|source| EncodeError::Batch {
        topic: topic::SAMPLES,
        source,
    })?;
    Ok(NewRecord {
        topic: topic::SAMPLES.into(),
        key: links.first().map_or_else(Bytes::new, |it| {
            Bytes::copy_from_slice(it.service.as_str().as_bytes())
        }),
        value,
        headers: header::headers(SCHEMA, VERSION, meta),
        partition: Some(partition),
    })
}

/// Reads a batch of links.
///
/// # Errors
/// When schema or version are not known, or the bytes are not such a batch.
pub fn decode_links(record: &Record) -> Result<Vec<Link>, DecodeError> {
    header::expect(record, SCHEMA, VERSION)?;
    let columns =
        Columns::decode(&record.value).map_err(|what| DecodeError::malformed(record, what))?;
    links(&columns).map_err(|what| DecodeError::malformed(record, what))
}

fn links(columns: &Columns) -> Result<Vec<Link>, String> {
    let at = columns.times("at_unix_ms")?;
    let steady = columns.counts("steady_ms")?;
    let node = columns.names("node")?;
    let service = columns.names("service")?;
    let container = columns.names("container")?;
    let peer = columns.names("peer")?;
    let peer_service = columns.names("peer_service")?;
    let direction = columns.codes("direction")?;
    let port = columns.counts("port")?;
    let connections = columns.counts("connections")?;
    let rtt_median_us = columns.counts("rtt_median_us")?;
    let retransmits = columns.counts("retransmits")?;
    (0..columns.rows())
        .map(|row| {
            let told = peer_service.value(row);
            let peer = peer.value(row);
            Ok(Link {
                at: Timestamp::from_millis(at.value(row)),
                steady: Steady::from_millis(steady.value(row)),
                node: NodeId::new(Arc::from(node.value(row))),
                service: ServiceId::new(Arc::from(service.value(row))),
                container: ContainerId::new(Arc::from(container.value(row))),
                peer: peer
                    .parse::<IpAddr>()
                    .map_err(|_| format!("peer {peer:?} is no address"))?,
                peer_service: (!told.is_empty()).then(|| ServiceId::from(told)),
                direction: code(&Direction::ALL, direction.value(row), "direction")?,
                port: narrow(port.value(row), "port")?,
                connections: narrow(connections.value(row), "connections")?,
                rtt_median: Duration::from_micros(rtt_median_us.value(row)),
                retransmits: retransmits.value(row),
            })
        })
        .collect()
}

fn narrow<T: TryFrom<u64>>(value: u64, what: &str) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{value} is out of bounds for {what}"))
}
