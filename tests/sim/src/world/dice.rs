//! Seeded chance.

use std::time::Duration;

/// A stream of numbers that follows from a seed and its purpose alone (SplitMix64: Steele, Lea, Flood, OOPSLA 2014). Each purpose has
/// its own, so that one more draw for one of them does not move the others. Written out here because a seed must mean the same world
/// whatever version of a crate is installed.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// The stream of this seed for this purpose.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        let mut dice = Dice(seed);
        for byte in purpose.bytes() {
            dice.0 = dice.next() ^ u64::from(byte);
        }
        dice
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `bound`, without it; 0 for a bound of 0. The bias of the remainder does not matter at these bounds.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let drawn = self.next();
        (drawn % (bound.max(1) as u64)) as usize
    }

    /// From 0 to 1, without it.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Whole milliseconds, both ends included.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_millis() as usize;
        least + Duration::from_millis(self.below(span + 1) as u64)
    }

    /// Whole seconds, both ends included.
    pub(super) fn secs(&mut self, least: u64, most: u64) -> Duration {
        self.between(Duration::from_secs(least), Duration::from_secs(most))
    }

    /// Whole milliseconds, both ends included.
    pub(super) fn millis(&mut self, least: u64, most: u64) -> Duration {
        self.between(Duration::from_millis(least), Duration::from_millis(most))
    }

    /// One of these by weight; the last when all weigh nothing.
    pub(super) fn weighed<T: Copy>(&mut self, from: &[(u32, T)]) -> Option<T> {
        let total: u32 = from.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.below(total as usize) as u32;
        for (weight, value) in from {
            if drawn < *weight {
                return Some(*value);
            }
            drawn -= weight;
        }
        from.last().map(|(_, value)| *value)
    }
}
