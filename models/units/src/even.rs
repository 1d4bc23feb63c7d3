//! The time of day without its steps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Steady, Timestamp};

/// A time of day that is further ahead than this was never right before: it is taken as it is.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A time of day that neither steps nor goes back: it goes on by a clock that never steps, and is drawn towards the time of day
/// that it is shown. Drawn forward it runs at most a quarter faster than time, drawn back at least half as fast, so a step of an hour
/// is worked in within four: what is measured by it, such as a silence, is never taken for much longer than it was. Without a step it
/// is the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EvenClock {
    at: Timestamp,
    steady: Steady,
}

impl EvenClock {
    /// A clock that begins with this time of day.
    pub fn starting(at: Timestamp, steady: Steady) -> Self {
        EvenClock { at, steady }
    }

    /// The time at its newest reading.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The clock that never steps, at its newest reading.
    pub fn steady(&self) -> Steady {
        self.steady
    }

    /// Takes a reading of both clocks. A steady one that is not after the last changes nothing.
    pub fn advance(&mut self, time_of_day: Timestamp, steady: Steady) -> Timestamp {
        let elapsed = steady.since(self.steady);
        if elapsed.is_zero() {
            return self.at;
        }
        let even = self.at + elapsed;
        let ahead = time_of_day.since(even);
        self.at = if ahead > AHEAD_MAX {
            time_of_day
        } else if ahead > Duration::ZERO {
            even + ahead.min(elapsed / 4)
        } else {
            even - even.since(time_of_day).min(elapsed / 2)
        };
        self.steady = steady;
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + ms)
    }

    /// Readings a second apart while the time of day is off by what `off_ms` says.
    fn run(seconds: u64, off_ms: impl Fn(u64) -> i64) -> Vec<i64> {
        let mut clock = EvenClock::starting(at(off_ms(0)), Steady::from_millis(0));
        (1..=seconds)
            .map(|second| {
                let now = at(second as i64 * 1_000 + off_ms(second));
                let read = clock.advance(now, Steady::from_millis(second * 1_000));
                read.as_millis() - at(0).as_millis()
            })
            .collect()
    }

    #[test]
    fn without_a_step_it_is_the_time_of_day() {
        assert_eq!(run(4, |_| 0), [1_000, 2_000, 3_000, 4_000]);
        assert_eq!(run(3, |second| -(second as i64) * 10), [990, 1_980, 2_970]);
    }

    #[test]
    fn a_step_is_worked_in_and_never_jumped() {
        for (step_ms, within_s) in [(HOUR_MS, 14_400), (-HOUR_MS, 7_200)] {
            let read = run(15_000, |second| if second < 10 { 0 } else { step_ms });
            let pace = |pair: &[i64]| pair[1] - pair[0];
            assert!(
                read.windows(2)
                    .all(|pair| (500..=1_250).contains(&pace(pair)))
            );
            let there = within_s + 10;
            assert_eq!(read[there], (there as i64 + 1) * 1_000 + step_ms);
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_taken_once_it_is() {
        let day_ms = 24 * HOUR_MS;
        let read = run(3, |second| if second < 2 { -3 * day_ms } else { 0 });
        assert_eq!(read[1..], [2_000, 3_000]);
    }

    #[test]
    fn a_reading_twice_changes_nothing() {
        let mut clock = EvenClock::starting(at(0), Steady::from_millis(5));
        assert_eq!(clock.advance(at(900), Steady::from_millis(5)), at(0));
        assert_eq!(clock.advance(at(900), Steady::from_millis(4)), at(0));
        assert_eq!(clock.steady(), Steady::from_millis(5));
        assert_eq!(clock.at(), at(0));
    }
}
