//! How much a spool holds, and for how long.

use std::time::Duration;

use crate::error::LimitsError;

/// The smallest segment, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 4 * 1024;

/// The most segments of full size that a spool may be cut into; at it, the limits are refused.
pub const SEGMENTS_MAX: u64 = 16 * 1024;

/// A segment spans at most this part of the age, so that what is dropped for its age is at least 7/8 of it.
const AGE_PARTS: u64 = 8;

/// The bounds of a spool: bytes on disk, age of entries, bytes of one segment.
///
/// Dropping goes by whole segments. No entry stays beyond `age_max`; one may go when it is 7/8 of that old, with the others
/// of its segment. Age is measured with the clock the caller hands in: a clock stepped forward by `age_max` empties the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    bytes_max: u64,
    age_max_ms: u64,
    segment_bytes: u64,
}

impl Limits {
    /// Limits that can hold: a segment of at least [`SEGMENT_BYTES_MIN`] and at most a quarter of `bytes_max`, at most
    /// [`SEGMENTS_MAX`] segments, and an age of a second or more.
    pub fn new(bytes_max: u64, age_max: Duration, segment_bytes: u64) -> Result<Self, LimitsError> {
        if segment_bytes < SEGMENT_BYTES_MIN {
            return Err(LimitsError::SegmentTooSmall { segment_bytes });
        }
        if segment_bytes > bytes_max / 4 {
            return Err(LimitsError::SegmentTooLarge {
                segment_bytes,
                bytes_max,
            });
        }
        if bytes_max / segment_bytes > SEGMENTS_MAX {
            return Err(LimitsError::TooManySegments {
                segment_bytes,
                bytes_max,
            });
        }
        if age_max < Duration::from_secs(1) {
            return Err(LimitsError::AgeTooShort);
        }
        let age_max_ms = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            bytes_max,
            age_max_ms,
            segment_bytes,
        })
    }

    /// The most bytes on disk. While one entry alone is larger, that entry is held.
    pub const fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The age beyond which entries are dropped, in milliseconds.
    pub const fn age_max_ms(&self) -> u64 {
        self.age_max_ms
    }

    /// The bytes after which a new segment begins.
    pub const fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The time after which a new segment begins, in milliseconds.
    pub(crate) const fn segment_age_ms(&self) -> u64 {
        self.age_max_ms / AGE_PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_hold_are_refused() {
        let hour = Duration::from_secs(3600);
        assert!(Limits::new(16 * 1024, hour, 4 * 1024).is_ok());
        assert_eq!(
            Limits::new(16 * 1024, hour, 4 * 1024 + 1),
            Err(LimitsError::SegmentTooLarge {
                segment_bytes: 4 * 1024 + 1,
                bytes_max: 16 * 1024
            })
        );
        assert_eq!(
            Limits::new(1 << 40, hour, 1024),
            Err(LimitsError::SegmentTooSmall {
                segment_bytes: 1024
            })
        );
        assert_eq!(
            Limits::new(1 << 40, hour, 4096),
            Err(LimitsError::TooManySegments {
                segment_bytes: 4096,
                bytes_max: 1 << 40
            })
        );
        assert_eq!(
            Limits::new(1 << 20, Duration::ZERO, 4096),
            Err(LimitsError::AgeTooShort)
        );
    }
}
