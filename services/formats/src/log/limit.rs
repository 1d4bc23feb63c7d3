//! How much a container may log: a token bucket of lines and one of bytes.

use std::num::NonZeroU32;

/// What a container may log a second in the long run, and how much of it may come at once. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Lines a second.
    pub lines: Option<NonZeroU32>,
    /// Bytes of text a second.
    pub bytes: Option<NonZeroU32>,
    /// The seconds whose lines and bytes may come at once after a quiet time.
    pub burst_seconds: NonZeroU32,
}

/// Whether there is room for a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// There is.
    Pass,
    /// There is none: it was counted as dropped.
    Drop,
}

/// Both buckets of one container. They begin full.
#[derive(Debug)]
pub struct Limiter {
    lines: Option<Bucket>,
    bytes: Option<Bucket>,
    at_ms: u64,
    dropped: u64,
}

impl Limiter {
    /// Buckets that are full at `now_ms`.
    pub fn new(limits: &Limits, now_ms: u64) -> Limiter {
        let bucket = |rate: NonZeroU32| Bucket::full(rate, limits.burst_seconds);
        Limiter {
            lines: limits.lines.map(bucket),
            bytes: limits.bytes.map(bucket),
            at_ms: now_ms,
            dropped: 0,
        }
    }

    /// Asks for room for a line of so many bytes. The time is in milliseconds of a clock that does not step back; where it does,
    /// nothing flows in until it has caught up. A line longer than the whole bucket passes when the bucket is full.
    pub fn take(&mut self, bytes: usize, now_ms: u64) -> Grant {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let mut asked = [
            (self.lines.as_mut(), 1),
            (
                self.bytes.as_mut(),
                u64::try_from(bytes).unwrap_or(u64::MAX),
            ),
        ];
        let mut room = true;
        for (bucket, cost) in &mut asked {
            if let Some(bucket) = bucket {
                bucket.fill(elapsed_ms);
                room &= bucket.covers(*cost);
            }
        }
        if !room {
            self.dropped += 1;
            return Grant::Drop;
        }
        for (bucket, cost) in &mut asked {
            if let Some(bucket) = bucket {
                bucket.pay(*cost);
            }
        }
        Grant::Pass
    }

    /// Lines dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// Counted in thousandths, so that a millisecond brings a whole number of them.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    thousandths: u64,
    capacity: u64,
}

impl Bucket {
    fn full(rate: NonZeroU32, burst_seconds: NonZeroU32) -> Bucket {
        let rate = u64::from(rate.get());
        let capacity = rate
            .saturating_mul(u64::from(burst_seconds.get()))
            .saturating_mul(1000);
        Bucket {
            rate,
            thousandths: capacity,
            capacity,
        }
    }

    fn fill(&mut self, elapsed_ms: u64) {
        let flown = self.rate.saturating_mul(elapsed_ms);
        self.thousandths = self.thousandths.saturating_add(flown).min(self.capacity);
    }

    fn price(&self, cost: u64) -> u64 {
        cost.saturating_mul(1000).min(self.capacity)
    }

    fn covers(&self, cost: u64) -> bool {
        self.price(cost) <= self.thousandths
    }

    fn pay(&mut self, cost: u64) {
        self.thousandths = self.thousandths.saturating_sub(self.price(cost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(lines: u32, bytes: u32, burst_seconds: u32) -> Limits {
        Limits {
            lines: NonZeroU32::new(lines),
            bytes: NonZeroU32::new(bytes),
            burst_seconds: NonZeroU32::new(burst_seconds).unwrap(),
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut limiter = Limiter::new(&limits(10, 0, 2), 0);
        let passed = (0..100)
            .filter(|_| limiter.take(5, 0) == Grant::Pass)
            .count();
        assert_eq!((passed, limiter.take_dropped()), (20, 80));
        assert_eq!(limiter.take_dropped(), 0);
        assert_eq!(limiter.take(5, 99), Grant::Drop);
        assert_eq!(limiter.take(5, 100), Grant::Pass);
        assert_eq!(limiter.take(5, 100), Grant::Drop);
    }

    #[test]
    fn bytes_count_too_and_no_line_is_too_long_for_ever() {
        let mut limiter = Limiter::new(&limits(0, 100, 1), 0);
        assert_eq!(limiter.take(5_000, 0), Grant::Pass);
        assert_eq!(limiter.take(1, 0), Grant::Drop);
        assert_eq!(limiter.take(1, 10), Grant::Pass);
        assert_eq!(limiter.take(5_000, 1_000), Grant::Drop);
        assert_eq!(limiter.take(5_000, 1_010), Grant::Pass);
    }

    #[test]
    fn without_limits_all_passes() {
        let mut limiter = Limiter::new(&limits(0, 0, 1), 5);
        assert!((0..1_000).all(|_| limiter.take(usize::MAX, 0) == Grant::Pass));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(
            asked in proptest::collection::vec((0_usize..300, 0_u64..200), 1..200),
            lines in 1_u32..50, bytes in 1_u32..5_000, burst in 1_u32..4,
        ) {
            let mut limiter = Limiter::new(&limits(lines, bytes, burst), 0);
            let (mut now, mut passed_lines, mut passed_bytes, mut asks) = (0, 0, 0, 0);
            for (size, wait) in asked {
                now += wait;
                asks += 1;
                if limiter.take(size, now) == Grant::Pass {
                    passed_lines += 1;
                    passed_bytes += (size as u64).min(u64::from(bytes * burst));
                }
            }
            let seconds = f64::from(burst) + now as f64 / 1000.0;
            prop_assert!(passed_lines as f64 <= f64::from(lines) * seconds + 1e-6);
            prop_assert!(passed_bytes as f64 <= f64::from(bytes) * seconds + 1e-6);
            prop_assert_eq!(passed_lines + limiter.take_dropped(), asks);
        }
    }
}
