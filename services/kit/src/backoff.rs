//! Waiting times between attempts: exponential with full jitter and a cap.
//!
//! Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): each wait is drawn
//! uniformly from zero to the current ceiling, so that many clients of one broken service spread out.

use std::time::Duration;

/// No ceiling is raised beyond this, whatever a caller asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// An endless iterator of waiting times. The same seed gives the same waits.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    ceiling: Duration,
    state: u64,
}

impl Backoff {
    /// Waits that start within `base`, double their ceiling with each attempt and never exceed `cap`.
    pub fn new(base: Duration, cap: Duration, seed: u64) -> Self {
        let cap = cap.min(LONGEST_WAIT);
        let base = base.clamp(Duration::from_millis(1), cap.max(Duration::from_millis(1)));
        Backoff {
            base,
            cap: cap.max(base),
            ceiling: base,
            state: seed,
        }
    }

    /// Starts again from `base`, after a success.
    pub fn reset(&mut self) {
        self.ceiling = self.base;
    }

    /// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): small, and good enough to spread waits.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let ceiling_us = u64::try_from(self.ceiling.as_micros()).unwrap_or(u64::MAX - 1);
        let wait = Duration::from_micros(self.draw() % (ceiling_us + 1));
        self.ceiling = self.ceiling.saturating_mul(2).min(self.cap);
        Some(wait)
    }
}

/// A seed from a name, such as a producer's: processes of different names wait differently.
pub fn seed_of(name: &str) -> u64 {
    // FNV-1a, so that the seed does not depend on the standard library's hasher.
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_ceiling_that_doubles_up_to_the_cap() {
        let base = Duration::from_millis(100);
        let cap = Duration::from_millis(1500);
        let waits: Vec<_> = Backoff::new(base, cap, 7).take(200).collect();
        let mut ceiling = base;
        for wait in &waits {
            assert!(*wait <= ceiling, "{wait:?} above {ceiling:?}");
            ceiling = (ceiling * 2).min(cap);
        }
        assert!(
            waits.iter().any(|wait| *wait > cap / 2),
            "uses the whole range"
        );
        assert!(
            waits.iter().any(|wait| *wait < cap / 4),
            "uses the whole range"
        );
    }

    #[test]
    fn one_seed_gives_one_sequence_and_reset_starts_over() {
        let new = |seed| Backoff::new(Duration::from_millis(50), Duration::from_secs(5), seed);
        let first: Vec<_> = new(1).take(20).collect();
        assert_eq!(first, new(1).take(20).collect::<Vec<_>>());
        assert_ne!(first, new(2).take(20).collect::<Vec<_>>());
        let mut backoff = new(3);
        let _ = backoff.by_ref().take(10).count();
        backoff.reset();
        assert!(backoff.next().unwrap() <= Duration::from_millis(50));
    }

    #[test]
    fn degenerate_limits_still_wait_a_bounded_time() {
        let longest = Backoff::new(Duration::ZERO, Duration::ZERO, 1)
            .take(50)
            .max();
        assert!(longest.unwrap() <= Duration::from_millis(1));
        let longest = Backoff::new(Duration::MAX, Duration::MAX, 1).take(50).max();
        assert!(longest.unwrap() <= LONGEST_WAIT);
    }

    #[test]
    fn names_give_different_seeds() {
        assert_ne!(seed_of("collector@a"), seed_of("collector@b"));
    }
}
