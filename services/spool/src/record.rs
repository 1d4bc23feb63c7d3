//! One entry as it lies in a segment: 32 bytes of head, the tag, the payload. Integers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | CRC-32 (IEEE) of bytes 4..32 and the tag |
//! | 4..8 | CRC-32 (IEEE) of the payload |
//! | 8..12 | length of the tag |
//! | 12..16 | length of the payload |
//! | 16..24 | id |
//! | 24..32 | time of appending, milliseconds since 1970 |
//!
//! Head and payload have a checksum each, so that a tag can be trusted without reading the payload, and a damaged payload
//! costs that entry alone.

use std::fmt;

use crate::error::SpoolError;

/// The longest tag, in bytes.
pub const TAG_MAX: usize = 64 * 1024;

/// The longest payload, in bytes.
pub const PAYLOAD_MAX: usize = 16 * 1024 * 1024;

pub(crate) const HEAD_BYTES: usize = 32;

/// The place of an entry in its spool. It only rises, also across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(crate) u64);

impl EntryId {
    /// The id with this number, as [`EntryId::get`] gave it.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The id's number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What stands before a tag and its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    head_crc: u32,
    payload_crc: u32,
    tag_bytes: u32,
    payload_bytes: u32,
    pub(crate) id: u64,
    pub(crate) at_unix_ms: u64,
}

impl Head {
    /// The head of an entry to be written; fails when the tag or the payload is too large.
    pub(crate) fn new(
        id: u64,
        at_unix_ms: u64,
        tag: &[u8],
        payload_parts: &[&[u8]],
    ) -> Result<Self, SpoolError> {
        if tag.len() > TAG_MAX {
            return Err(SpoolError::TagTooLarge { bytes: tag.len() });
        }
        let bytes = payload_parts
            .iter()
            .fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if bytes > PAYLOAD_MAX {
            return Err(SpoolError::PayloadTooLarge { bytes });
        }
        let mut payload_crc = crc32fast::Hasher::new();
        for part in payload_parts {
            payload_crc.update(part);
        }
        let mut head = Self {
            head_crc: 0,
            payload_crc: payload_crc.finalize(),
            tag_bytes: u32::try_from(tag.len()).expect("TAG_MAX fits 32 bits"),
            payload_bytes: u32::try_from(bytes).expect("PAYLOAD_MAX fits 32 bits"),
            id,
            at_unix_ms,
        };
        head.head_crc = head.checksum(tag);
        Ok(head)
    }

    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0..4].copy_from_slice(&self.head_crc.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.tag_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.at_unix_ms.to_le_bytes());
        bytes
    }

    /// The head in these bytes, unless its lengths are beyond what is ever written. Its checksum covers the tag and is
    /// checked with [`Head::fits_tag`].
    pub(crate) fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let head = Self {
            head_crc: u32_at(bytes, 0),
            payload_crc: u32_at(bytes, 4),
            tag_bytes: u32_at(bytes, 8),
            payload_bytes: u32_at(bytes, 12),
            id: u64_at(bytes, 16),
            at_unix_ms: u64_at(bytes, 24),
        };
        (head.tag_len() <= TAG_MAX && head.payload_len() <= PAYLOAD_MAX).then_some(head)
    }

    pub(crate) const fn tag_len(&self) -> usize {
        self.tag_bytes as usize
    }

    pub(crate) const fn payload_len(&self) -> usize {
        self.payload_bytes as usize
    }

    /// Bytes of the whole entry on disk.
    pub(crate) const fn record_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + self.tag_bytes as u64 + self.payload_bytes as u64
    }

    pub(crate) fn fits_tag(&self, tag: &[u8]) -> bool {
        self.checksum(tag) == self.head_crc
    }

    pub(crate) fn fits_payload(&self, payload: &[u8]) -> bool {
        crc32fast::hash(payload) == self.payload_crc
    }

    fn checksum(&self, tag: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.encode()[4..]);
        hasher.update(tag);
        hasher.finalize()
    }
}

fn u32_at(bytes: &[u8; HEAD_BYTES], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8; HEAD_BYTES], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in any::<[u8; HEAD_BYTES]>()) {
            if let Some(head) = Head::decode(&bytes) {
                prop_assert_eq!(head.encode(), bytes);
                head.fits_tag(&[]);
            }
        }

        #[test]
        fn one_flipped_bit_of_head_or_tag_is_noticed(
            id in any::<u64>(), at in any::<u64>(), tag in prop::collection::vec(any::<u8>(), 0..40), bit in 0_usize..256,
        ) {
            let head = Head::new(id, at, &tag, &[b"pay", b"load"]).unwrap();
            prop_assert!(head.fits_tag(&tag) && head.fits_payload(b"payload"));
            let mut bytes = head.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Head::decode(&bytes).is_none_or(|damaged| !damaged.fits_tag(&tag)));
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let large = vec![0; PAYLOAD_MAX];
        assert!(Head::new(0, 0, &[], &[&large]).is_ok());
        assert!(matches!(
            Head::new(0, 0, &[], &[&large, b"x"]),
            Err(SpoolError::PayloadTooLarge { .. })
        ));
        assert!(matches!(
            Head::new(0, 0, &large[..=TAG_MAX], &[]),
            Err(SpoolError::TagTooLarge { .. })
        ));
    }
}
