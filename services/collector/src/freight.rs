//! Something to send, and its form on disk while the log is away.

use std::sync::Arc;

use bus::NewRecord;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use units::ContainerId;

/// A record with what would be lost with it.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) record: NewRecord,
    pub(crate) cargo: Cargo,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Cargo {
    /// One sample of each of these containers.
    Samples(Vec<ContainerId>),
    /// So many series of an application or the node, or links.
    Rows(u64),
    /// What happened to a container, in nanoseconds since the Unix epoch.
    Event(i64),
    /// The node as it is.
    Inventory,
}

impl Cargo {
    /// Rows that would be lost.
    pub(crate) fn rows(&self) -> u64 {
        match self {
            Cargo::Samples(containers) => containers.len() as u64,
            Cargo::Rows(rows) => *rows,
            Cargo::Event(_) | Cargo::Inventory => 1,
        }
    }

    /// When the event was that it holds, if it holds one.
    pub(crate) fn event_ns(&self) -> Option<i64> {
        match self {
            Cargo::Event(at_ns) => Some(*at_ns),
            Cargo::Samples(_) | Cargo::Rows(_) | Cargo::Inventory => None,
        }
    }

    /// The tag of its entry in the spool: what must be known when it is dropped unread.
    pub(crate) fn to_tag(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("lists of text and numbers have a form in postcard")
    }

    /// `None` for a tag that another version wrote.
    pub(crate) fn from_tag(tag: &[u8]) -> Option<Cargo> {
        postcard::from_bytes(tag).ok()
    }
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    topic: &'a str,
    partition: Option<u32>,
    key: &'a [u8],
    headers: Vec<(&'a str, &'a [u8])>,
    value: &'a [u8],
}

/// A record as it lies on disk.
pub(crate) fn to_payload(record: &NewRecord) -> Vec<u8> {
    let stored = Stored {
        topic: &record.topic,
        partition: record.partition,
        key: &record.key,
        headers: record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), &**value))
            .collect(),
        value: &record.value,
    };
    postcard::to_allocvec(&stored).expect("bytes and text have a form in postcard")
}

/// A record from disk; `None` for bytes that another version wrote.
pub(crate) fn from_payload(payload: &[u8]) -> Option<NewRecord> {
    let stored: Stored<'_> = postcard::from_bytes(payload).ok()?;
    Some(NewRecord {
        topic: Arc::from(stored.topic),
        partition: stored.partition,
        key: Bytes::copy_from_slice(stored.key),
        headers: stored
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value)))
            .collect(),
        value: Bytes::copy_from_slice(stored.value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_laid_down() {
        let record = NewRecord {
            topic: wire::topic::SAMPLES.into(),
            partition: Some(3),
            key: Bytes::from_static(b"web"),
            headers: vec![("schema".to_owned(), Bytes::from_static(b"samples/1"))],
            value: Bytes::from_static(b"\x00\xff"),
        };
        let back = from_payload(&to_payload(&record)).unwrap();
        assert_eq!(
            (
                back.topic,
                back.partition,
                back.key,
                back.headers,
                back.value
            ),
            (
                record.topic,
                record.partition,
                record.key,
                record.headers,
                record.value
            )
        );
        assert!(from_payload(b"\x03").is_none());
    }

    #[test]
    fn a_tag_tells_whose_samples_it_was() {
        let cargo = Cargo::Samples(vec![ContainerId::from("a"), ContainerId::from("b")]);
        assert_eq!(cargo.rows(), 2);
        assert_eq!(Cargo::from_tag(&cargo.to_tag()), Some(cargo));
        assert_eq!(Cargo::from_tag(b"\xff"), None);
    }
}
