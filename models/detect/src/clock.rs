//! Time as one node tells it: told as a time of day, measured by the clock that never steps.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{EvenClock, Steady, Timestamp};

/// Readings of one node may come out of order by this much: its containers are read one after the other.
const DISORDER_MAX: Duration = Duration::from_secs(10);
/// A time of day that fell while more than this went by is of another boot, or of long ago.
const LEAP_MAX: Duration = Duration::from_secs(60);
/// The steady clock does not run this far ahead of the time of day within a boot: it is told otherwise than before.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Readings that fit nowhere are passed over until they have gone on for this long with none between that fits: then the node's
/// clocks began anew.
const STRAY_MAX: Duration = Duration::from_secs(120);

/// When something was, on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// For people and for other roles: the time of day without its steps.
    pub(crate) at: Timestamp,
    /// For what lies between two moments: it counts on over boots, and never steps.
    pub(crate) run: Steady,
}

impl Moment {
    /// A moment by a clock that does not step, such as that of this process.
    pub(crate) fn of(now: Timestamp) -> Self {
        Moment {
            at: now,
            run: Steady::from_time_of_day(now),
        }
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        self.run.since(earlier.run)
    }

    /// The same node's moment at another reading.
    pub(crate) fn with_run(self, run: Steady) -> Self {
        let at = match run >= self.run {
            true => self.at + run.since(self.run),
            false => self.at - self.run.since(run),
        };
        Moment { at, run }
    }
}

/// The clocks of one node, as its newest reading told them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeClock {
    time_of_day: Timestamp,
    steady: Steady,
    even: EvenClock,
    /// The first reading of those that fit nowhere.
    stray_since: Option<Steady>,
}

/// How a reading follows the newest one.
enum Order {
    /// It is newer, or of about the same time.
    Follows,
    /// It is of the same boot, and a little older.
    Precedes,
    /// The node booted since: the steady clock began anew.
    Booted,
    /// Neither: a duplicate, or left over from before.
    Stray,
}

impl NodeClock {
    /// A node heard for the first time.
    pub(crate) fn starting(at: Timestamp, steady: Steady) -> Self {
        NodeClock {
            time_of_day: at,
            steady,
            even: EvenClock::starting(at, Steady::from_time_of_day(at)),
            stray_since: None,
        }
    }

    /// The newest moment.
    pub(crate) fn now(&self) -> Moment {
        Moment {
            at: self.even.at(),
            run: self.even.steady(),
        }
    }

    /// Takes a reading. None when it is to be passed over.
    pub(crate) fn read(&mut self, at: Timestamp, steady: Steady) -> Option<Moment> {
        let elapsed = match self.order(at, steady) {
            Order::Follows => steady.since(self.steady),
            Order::Precedes => {
                let run = self.even.steady().as_millis() - self.lag_ms(steady);
                return Some(self.now().with_run(Steady::from_millis(run)));
            }
            Order::Booted => self.between(at),
            Order::Stray => {
                let since = self.stray_since.unwrap_or(steady).min(steady);
                self.stray_since = Some(since);
                if steady.since(since) < STRAY_MAX {
                    return None;
                }
                self.between(at)
            }
        };
        self.stray_since = None;
        self.time_of_day = at;
        self.steady = steady;
        self.even.advance(at, self.even.steady() + elapsed);
        Some(self.now())
    }

    /// When something else that the node told was. Tells without the steady clock are placed by the time of day.
    pub(crate) fn place(&self, at: Timestamp, steady: Option<Steady>) -> Moment {
        let now = self.now();
        let run = match steady.map(|steady| (self.order(at, steady), steady)) {
            Some((Order::Follows, steady)) => now.run + steady.since(self.steady),
            Some((Order::Precedes, steady)) => {
                Steady::from_millis(now.run.as_millis() - self.lag_ms(steady))
            }
            Some((Order::Booted | Order::Stray, _)) | None => now.run + at.since(self.time_of_day),
        };
        now.with_run(run)
    }

    /// When the node wrote this time of day, taking the newest reading for how far it is off.
    pub(crate) fn place_time_of_day(&self, at: Timestamp) -> Steady {
        let run_ms = self.even.steady().as_millis();
        let ahead_ms = at.as_millis().saturating_sub(self.time_of_day.as_millis());
        Steady::from_millis(run_ms.saturating_add_signed(ahead_ms))
    }

    fn order(&self, at: Timestamp, steady: Steady) -> Order {
        if steady >= self.steady {
            let elapsed = steady.since(self.steady);
            if elapsed > LEAP_MAX && at < self.time_of_day {
                return Order::Stray;
            }
            return match elapsed > AHEAD_MAX && at.since(self.time_of_day) < elapsed / 2 {
                true => Order::Booted,
                false => Order::Follows,
            };
        }
        if self.steady.since(steady) <= DISORDER_MAX {
            return Order::Precedes;
        }
        match at > self.time_of_day {
            true => Order::Booted,
            false => Order::Stray,
        }
    }

    fn lag_ms(&self, steady: Steady) -> u64 {
        // A run begins at a time of day, far above what readings may be out of order by.
        (self.steady.as_millis() - steady.as_millis()).min(self.even.steady().as_millis())
    }

    /// What lies between two boots is known by the time of day alone, and is some time at the least.
    fn between(&self, at: Timestamp) -> Duration {
        at.since(self.time_of_day).max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_700_000_000_000;
    const HOUR_S: i64 = 3_600;

    /// Seconds of the run and of what is told, since the start; the node has been up for 1,000 s then.
    fn read(clock: &mut NodeClock, at_s: i64, steady_s: u64) -> Option<(i64, i64)> {
        let at = Timestamp::from_millis(START_MS + at_s * 1_000);
        let moment = clock.read(at, Steady::from_millis(steady_s * 1_000))?;
        let run_ms = moment.run.as_millis() as i64 - START_MS;
        let at_ms = moment.at.as_millis() - START_MS;
        Some((run_ms / 1_000, at_ms / 1_000))
    }

    fn clock() -> NodeClock {
        let at = Timestamp::from_millis(START_MS);
        NodeClock::starting(at, Steady::from_millis(1_000_000))
    }

    #[test]
    fn a_step_of_the_time_of_day_is_no_time() {
        for step_s in [HOUR_S, -HOUR_S] {
            let mut clock = clock();
            assert_eq!(read(&mut clock, 1, 1_001), Some((1, 1)));
            let (run_s, at_s) = read(&mut clock, 2 + step_s, 1_002).unwrap();
            assert_eq!(run_s, 2);
            assert!((1..=3).contains(&at_s), "{at_s}");
            assert_eq!(read(&mut clock, 3 + step_s, 1_003).unwrap().0, 3);
        }
    }

    #[test]
    fn rows_of_a_tick_are_placed_and_old_ones_passed_over() {
        let mut clock = clock();
        assert_eq!(read(&mut clock, 20, 1_020), Some((20, 20)));
        assert_eq!(read(&mut clock, 18, 1_018), Some((18, 18)));
        assert_eq!(read(&mut clock, 2, 1_002), None);
        assert_eq!(read(&mut clock, 21, 1_021), Some((21, 21)));
    }

    #[test]
    fn after_a_boot_time_goes_on_by_the_time_of_day() {
        let mut clock = clock();
        assert_eq!(read(&mut clock, 90, 15), Some((90, 90)));
        assert_eq!(read(&mut clock, 91, 16), Some((91, 91)));
        // What a spool held from before the boot.
        assert_eq!(read(&mut clock, 1, 1_001), None);
        assert_eq!(read(&mut clock, 92, 17), Some((92, 92)));
    }

    #[test]
    fn a_boot_into_the_past_is_believed_when_it_lasts() {
        let mut clock = clock();
        let first =
            (0..200).find_map(|second| read(&mut clock, second - HOUR_S, 10 + second as u64));
        assert_eq!(first.map(|(run_s, _)| run_s), Some(0));
        let (run_s, _) = read(&mut clock, 121 - HOUR_S, 131).unwrap();
        assert_eq!(run_s, 1);
    }

    #[test]
    fn what_else_a_node_tells_is_placed_without_moving_its_clock() {
        let mut clock = clock();
        read(&mut clock, 10, 1_010);
        let place = |at_s: i64, steady_s: Option<u64>| {
            let at = Timestamp::from_millis(START_MS + at_s * 1_000);
            let steady = steady_s.map(|seconds| Steady::from_millis(seconds * 1_000));
            (clock.place(at, steady).run.as_millis() as i64 - START_MS) / 1_000
        };
        assert_eq!(place(14, Some(1_014)), 14);
        assert_eq!(place(14 + HOUR_S, Some(1_014)), 14);
        assert_eq!(place(8, Some(1_008)), 8);
        assert_eq!(place(100, Some(3)), 100);
        assert_eq!(place(15, None), 15);
        assert_eq!(place(5, None), 10);
    }
}
