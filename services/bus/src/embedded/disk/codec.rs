//! How a record lies in the store.
//!
//! ```text
//! version u8 | timestamp i64 | key length u32 | key | headers u32 | (name length u32 | name | value length u32 | value)* | value
//! ```
//! Numbers are little endian. Topic, partition and offset are the key in the table.

use bytes::{Buf, BufMut, Bytes};

use crate::{Headers, Position, Record};

const VERSION: u8 = 1;
/// Everything of fixed size.
const FIXED_BYTES: usize = 1 + 8 + 4 + 4;
/// The lengths before a header's name and value.
const HEADER_BYTES: usize = 4 + 4;

/// The stored form of a record.
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let capacity = FIXED_BYTES + record.headers.len() * HEADER_BYTES + record.size_bytes();
    let mut out = Vec::with_capacity(capacity);
    out.put_u8(VERSION);
    out.put_i64_le(record.timestamp_ms);
    put_bytes(&mut out, &record.key);
    // Records are limited to a megabyte, so no length overflows.
    out.put_u32_le(record.headers.len() as u32);
    for (name, value) in &record.headers {
        put_bytes(&mut out, name.as_bytes());
        put_bytes(&mut out, value);
    }
    out.put_slice(&record.value);
    out
}

/// The record of a stored form; `None` when it is not one.
pub(super) fn decode(position: Position, stored: &[u8]) -> Option<Record> {
    let mut rest = Bytes::copy_from_slice(stored);
    if rest.try_get_u8().ok()? != VERSION {
        return None;
    }
    let timestamp_ms = rest.try_get_i64_le().ok()?;
    let key = take_bytes(&mut rest)?;
    let count = rest.try_get_u32_le().ok()? as usize;
    if count > rest.len() / HEADER_BYTES {
        return None;
    }
    let mut headers = Headers::with_capacity(count);
    for _ in 0..count {
        let name = String::from_utf8(take_bytes(&mut rest)?.to_vec()).ok()?;
        headers.push((name, take_bytes(&mut rest)?));
    }
    Some(Record {
        position,
        timestamp_ms,
        key,
        value: rest,
        headers,
    })
}

/// Only the time of a stored form.
pub(super) fn timestamp_ms(stored: &[u8]) -> Option<i64> {
    let mut rest = stored.get(1..)?;
    rest.try_get_i64_le().ok()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(bytes.len() as u32);
    out.put_slice(bytes);
}

fn take_bytes(rest: &mut Bytes) -> Option<Bytes> {
    let length = rest.try_get_u32_le().ok()? as usize;
    (length <= rest.len()).then(|| rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn position() -> Position {
        Position {
            topic: Arc::from("t"),
            partition: 3,
            offset: 7,
        }
    }

    proptest! {
        #[test]
        fn round_trips(
            timestamp_ms: i64,
            key: Vec<u8>,
            value: Vec<u8>,
            headers in proptest::collection::vec((".*", any::<Vec<u8>>()), 0..5),
        ) {
            let record = Record {
                position: position(),
                timestamp_ms,
                key: key.into(),
                value: value.into(),
                headers: headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
            };
            let stored = encode(&record);
            prop_assert_eq!(super::timestamp_ms(&stored), Some(timestamp_ms));
            prop_assert_eq!(decode(position(), &stored), Some(record));
        }

        /// Damaged bytes give `None` or some record, never a panic or a huge allocation.
        #[test]
        fn survives_any_bytes(mut stored: Vec<u8>) {
            let _any = decode(position(), &stored);
            if let Some(first) = stored.first_mut() {
                *first = VERSION;
            }
            let _any = decode(position(), &stored);
        }
    }
}
