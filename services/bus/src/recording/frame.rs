//! One record as a frame, and back.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::FRAME_MAX;
use crate::{Headers, Position, Record};

/// Version of the frames that are written.
const RECORD: u8 = 1;

/// What a frame holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Record(Record),
    /// Of a version this reader does not know.
    Unknown,
}

/// The names of topics, each held once.
#[derive(Debug, Default)]
pub(super) struct Topics(HashMap<String, Arc<str>>);

/// Topics whose names are shared; beyond it each record has its own copy.
const TOPICS_MAX: usize = 1_024;

impl Topics {
    fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = Arc::from(name);
        if self.0.len() < TOPICS_MAX {
            self.0.insert(name.to_owned(), Arc::clone(&shared));
        }
        shared
    }
}

/// Appends the frame of a record; says its length where that is too much, and appends nothing then.
pub(super) fn encode(record: &Record, to: &mut Vec<u8>) -> Result<(), usize> {
    let begin = to.len();
    to.extend([0; 4]);
    to.push(RECORD);
    to.extend(record.position.partition.to_le_bytes());
    to.extend(record.position.offset.to_le_bytes());
    to.extend(record.timestamp_ms.to_le_bytes());
    // More headers than fit into the field would be over the limit of the frame too.
    let headers = u16::try_from(record.headers.len()).unwrap_or(u16::MAX);
    to.extend(headers.to_le_bytes());
    let fixed = [record.position.topic.as_bytes(), &record.key, &record.value];
    let named = record.headers.iter().take(usize::from(headers));
    let named = named.flat_map(|(name, value)| [name.as_bytes(), value]);
    for text in fixed.into_iter().chain(named) {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        to.extend(length.to_le_bytes());
        to.extend(text);
    }
    let bytes = to.len() - begin - 4;
    if bytes > FRAME_MAX || record.headers.len() > usize::from(u16::MAX) {
        to.truncate(begin);
        return Err(bytes);
    }
    // FRAME_MAX fits.
    let length = (bytes as u32).to_le_bytes();
    to[begin..begin + 4].copy_from_slice(&length);
    Ok(())
}

/// Takes the first frame off `bytes`; None where they are no frame.
pub(super) fn decode(bytes: &mut Bytes, topics: &mut Topics) -> Option<Frame> {
    let length = u32::from_le_bytes(take(bytes)?) as usize;
    if length == 0 || length > bytes.len() {
        return None;
    }
    let mut frame = bytes.split_to(length);
    let [version] = take(&mut frame)?;
    if version != RECORD {
        return Some(Frame::Unknown);
    }
    let partition = u32::from_le_bytes(take(&mut frame)?);
    let offset = u64::from_le_bytes(take(&mut frame)?);
    let timestamp_ms = i64::from_le_bytes(take(&mut frame)?);
    let count = u16::from_le_bytes(take(&mut frame)?);
    let topic = text(&mut frame)?;
    let topic = topics.share(std::str::from_utf8(&topic).ok()?);
    let key = text(&mut frame)?;
    let value = text(&mut frame)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = String::from_utf8(text(&mut frame)?.into()).ok()?;
        headers.push((name, text(&mut frame)?));
    }
    Some(Frame::Record(Record {
        position: Position {
            topic,
            partition,
            offset,
        },
        timestamp_ms,
        key,
        value,
        headers,
    }))
}

fn take<const N: usize>(bytes: &mut Bytes) -> Option<[u8; N]> {
    if bytes.len() < N {
        return None;
    }
    bytes.split_to(N).as_ref().try_into().ok()
}

fn text(bytes: &mut Bytes) -> Option<Bytes> {
    let length = u32::from_le_bytes(take(bytes)?) as usize;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}
