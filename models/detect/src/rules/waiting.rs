//! Waiting for I/O: the share of time in which some task of the container waited, as the kernel's pressure stall information
//! (`Documentation/accounting/psi.rst`) counts it.
//!
//! It shows who keeps the disk busy where the kernel counts no bytes, as for direct writes in the first version of cgroups; and it
//! shows who waits for others. One long stall is no habit: of a window the longest waits do not count.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Samples of the window, …
const SAMPLES: usize = 12;
/// … and of them those with the longest waits that do not count.
const LONGEST: usize = 2;
/// Programs read themselves in as they start.
const WARM_UP: Duration = Duration::from_secs(60);

/// The last shares of time, from 0 to 1, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    shares: VecDeque<f32>,
}

impl Waiting {
    /// Takes the share of a sample, and gives the mean of the window without its longest waits. None while the container starts,
    /// the window is not full, or the kernel does not tell.
    pub(crate) fn advance(&mut self, share: Option<f64>, uptime: Option<Duration>) -> Option<f64> {
        let warm = uptime.is_none_or(|uptime| uptime >= WARM_UP);
        let Some(share) = share.filter(|_| warm) else {
            self.shares.clear();
            return None;
        };
        if self.shares.len() == SAMPLES {
            self.shares.pop_front();
        }
        self.shares.push_back(share.clamp(0.0, 1.0) as f32);
        if self.shares.len() < SAMPLES {
            return None;
        }
        let mut sorted: Vec<f32> = self.shares.iter().copied().collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let counted = &sorted[..SAMPLES - LONGEST];
        let sum: f64 = counted.iter().copied().map(f64::from).sum();
        Some(sum / counted.len() as f64)
    }

    /// Forgets the run before.
    pub(crate) fn forget(&mut self) {
        self.shares.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Option<Duration> = Some(Duration::from_secs(3_600));

    #[test]
    fn two_long_stalls_are_no_habit_and_a_steady_wait_is_one() {
        let mut waiting = Waiting::default();
        for second in 0..60 {
            let share = match second % 6 {
                0 => 1.0,
                _ => 0.0,
            };
            let mean = waiting.advance(Some(share), OLD);
            assert_eq!(mean.unwrap_or(0.0), 0.0, "{second}");
        }
        let steady = (0..12).filter_map(|_| waiting.advance(Some(0.06), OLD));
        let last = steady.last().unwrap();
        assert!((last - 0.06).abs() < 1e-6, "{last}");
    }

    #[test]
    fn what_is_not_told_or_is_of_a_start_is_nothing_and_not_zero() {
        let mut waiting = Waiting::default();
        let young = Some(Duration::from_secs(30));
        assert!((0..40).all(|_| waiting.advance(Some(0.5), young).is_none()));
        assert!((0..40).all(|_| waiting.advance(None, OLD).is_none()));
        assert!((0..11).all(|_| waiting.advance(Some(0.5), OLD).is_none()));
        assert!(waiting.advance(Some(0.5), OLD).is_some());
    }

    proptest::proptest! {
        #[test]
        fn it_stays_a_share(shares in proptest::collection::vec(-1.0f64..3.0, 12..60)) {
            let mut waiting = Waiting::default();
            for share in shares {
                if let Some(mean) = waiting.advance(Some(share), None) {
                    proptest::prop_assert!((0.0..=1.0).contains(&mean));
                }
            }
        }
    }
}
