//! What limits the busiest replica of a service needs, from how much it used.

mod histogram;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Bytes, Millicores, Need, Timestamp, Usage};

use histogram::{Histogram, Quantity};

/// Shares of the time that the bounds of CPU hold for. What exceeds a CPU limit waits.
const CPU_LOWER: f64 = 0.50;
const CPU_TARGET: f64 = 0.90;
const CPU_UPPER: f64 = 0.95;
/// Shares of the hours. What exceeds a memory limit is killed, so the upper bound is the highest peak not forgotten yet.
const MEMORY_LOWER: f64 = 0.50;
const MEMORY_TARGET: f64 = 0.90;
/// Added to everything that was used.
const MARGIN: f64 = 1.15;
/// Of memory one value counts for this time: its highest.
const MEMORY_EVERY: Duration = Duration::from_secs(3_600);
/// The highest lately is that of this time at least, and of twice this time at most.
const CPU_LATELY: Duration = Duration::from_secs(300);
const MEMORY_LATELY: Duration = Duration::from_secs(3_600);
/// A value stands for the time since the one before, but for no more than this: what was not seen is not made up.
const STANDS_FOR: Duration = Duration::from_secs(10);
/// A clock that is set by more than this says nothing of how old what is known is: it starts anew.
const STEP_MAX: Duration = Duration::from_secs(2 * 24 * 3_600);
const DAY_S: f64 = 24.0 * 3_600.0;
/// Shorter histories than this say no less.
const DAYS_LEAST: f64 = 1.0 / 1_440.0;

/// The highest value of a short time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct RecentPeak {
    since: Timestamp,
    now: f64,
    before: f64,
}

impl RecentPeak {
    fn take(&mut self, value: f64, at: Timestamp, window: Duration) {
        let age = at.since(self.since);
        if at < self.since || age >= window * 2 {
            *self = RecentPeak {
                since: at,
                now: value,
                before: value,
            };
        } else if age >= window {
            *self = RecentPeak {
                since: at,
                now: value,
                before: self.now,
            };
        } else {
            self.now = self.now.max(value);
        }
    }

    fn highest(&self) -> f64 {
        self.now.max(self.before)
    }
}

/// Follows what the busiest replica of one service uses. The method is that of the Kubernetes Vertical Pod Autoscaler's recommender
/// (percentiles of decaying histograms, 15 % more, bounds that widen while history is short), with peaks of memory by the hour
/// instead of by the day. It holds at most two times 176 numbers, some kilobytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageTracker {
    cpu: Histogram,
    memory: Histogram,
    cpu_lately: RecentPeak,
    memory_lately: RecentPeak,
    /// The hour that is not over: when it began, and its highest memory.
    hour: Option<(Timestamp, f64)>,
    watched: Duration,
    newest: Option<Timestamp>,
}

impl Default for UsageTracker {
    fn default() -> Self {
        UsageTracker {
            cpu: Histogram::new(Quantity::Cpu),
            memory: Histogram::new(Quantity::Memory),
            cpu_lately: RecentPeak::default(),
            memory_lately: RecentPeak::default(),
            hour: None,
            watched: Duration::ZERO,
            newest: None,
        }
    }
}

impl UsageTracker {
    /// Takes what the busiest replica uses at `at`: CPU in millicores, memory in bytes where it was read. Tells what it needs. A
    /// value that is no number is taken for zero; one told again at the same time counts for nothing.
    pub fn observe(
        &mut self,
        at: Timestamp,
        cpu_millicores: f64,
        memory_bytes: Option<f64>,
    ) -> Usage {
        let sound = |value: f64| {
            if value.is_finite() {
                value.max(0.0)
            } else {
                0.0
            }
        };
        let (cpu, memory) = (sound(cpu_millicores), memory_bytes.map(sound));
        if self
            .newest
            .is_some_and(|newest| at.since(newest) > STEP_MAX || newest.since(at) > STEP_MAX)
        {
            *self = UsageTracker::default();
        }
        let stands_for = match self.newest {
            Some(newest) => at.since(newest).min(STANDS_FOR),
            None => Duration::from_secs(1),
        };
        self.newest = Some(at);
        self.watched += stands_for;
        self.cpu.add(cpu, stands_for.as_secs_f64(), at);
        self.cpu_lately.take(cpu, at, CPU_LATELY);
        if let Some(memory) = memory {
            self.memory_lately.take(memory, at, MEMORY_LATELY);
            self.take_memory(memory, at);
        }
        self.usage()
    }

    fn take_memory(&mut self, memory: f64, at: Timestamp) {
        match &mut self.hour {
            Some((began, peak)) if at >= *began && at.since(*began) < MEMORY_EVERY => {
                *peak = peak.max(memory);
            }
            over => {
                if let Some((began, peak)) = over.replace((at, memory)) {
                    self.memory.add(peak, 1.0, began);
                }
            }
        }
    }

    fn usage(&self) -> Usage {
        let days = (self.watched.as_secs_f64() / DAY_S).max(DAYS_LEAST);
        let widened = 1.0 + 1.0 / days;
        let narrowed = (1.0 + 0.001 / days).powi(-2);
        let lately = self.cpu_lately.highest();
        let share = |of: &Histogram, share: f64| of.percentile(share).unwrap_or(0.0) * MARGIN;
        let cpu = Need {
            lower: millicores(share(&self.cpu, CPU_LOWER) * narrowed),
            target: millicores(share(&self.cpu, CPU_TARGET)),
            upper: millicores(share(&self.cpu, CPU_UPPER) * widened),
            recent_peak: millicores(lately),
        };
        let memory = self.hour.map(|(_, peak)| {
            // The hour that is not over counts as one of its own.
            let with_now = |past: Option<f64>| past.unwrap_or(0.0).max(peak) * MARGIN;
            Need {
                lower: bytes(self.memory.percentile(MEMORY_LOWER).unwrap_or(peak) * narrowed),
                target: bytes(with_now(self.memory.percentile(MEMORY_TARGET))),
                upper: bytes(with_now(self.memory.highest()) * widened),
                recent_peak: bytes(self.memory_lately.highest()),
            }
        });
        Usage {
            history: self.watched,
            cpu,
            memory,
        }
    }
}

fn millicores(value: f64) -> Millicores {
    Millicores(value.ceil() as u64)
}

fn bytes(value: f64) -> Bytes {
    Bytes(value.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MIB: f64 = 1024.0 * 1024.0;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + second * 1_000)
    }

    /// One value each ten seconds.
    fn after(values: impl IntoIterator<Item = (f64, f64)>) -> Usage {
        let mut tracker = UsageTracker::default();
        let mut last = None;
        for (step, (cpu, memory)) in values.into_iter().enumerate() {
            last = Some(tracker.observe(at(step as i64 * 10), cpu, Some(memory)));
        }
        last.expect("there was a value")
    }

    const DAY: usize = 8_640;

    #[test]
    fn a_steady_use_needs_a_margin_and_what_is_sure_comes_with_time() {
        let day = after(vec![(200.0, 100.0 * MIB); DAY]);
        let week = after(vec![(200.0, 100.0 * MIB); 7 * DAY]);
        for usage in [day, week] {
            let memory = usage.memory.unwrap();
            assert!((230..=250).contains(&usage.cpu.target.0), "{usage:?}");
            assert_eq!(usage.cpu.recent_peak, Millicores(200));
            assert!(memory.target >= Bytes::from_mib(115), "{usage:?}");
            assert!(memory.target <= Bytes::from_mib(130), "{usage:?}");
        }
        assert!(day.cpu.upper.0 >= 2 * day.cpu.target.0 - 1, "{day:?}");
        assert!(week.cpu.upper.0 < 290, "{week:?}");
        assert!(
            week.memory.unwrap().upper < Bytes::from_mib(150),
            "{week:?}"
        );
        assert!(week.history.as_secs() >= 7 * 86_400 - 20);
    }

    #[test]
    fn peaks_of_cpu_are_let_pass_and_those_of_memory_are_not() {
        // A minute of each hour.
        let busy = |step: usize| step % 360 < 6;
        let value = |step: usize| match busy(step) {
            true => (2_000.0, 400.0 * MIB),
            false => (100.0, 80.0 * MIB),
        };
        let usage = after((0..7 * DAY).map(value));
        assert!(usage.cpu.upper.0 < 200, "{usage:?}");
        let memory = usage.memory.unwrap();
        assert!(memory.target >= Bytes::from_mib(460), "{usage:?}");
        assert!(memory.recent_peak >= Bytes::from_mib(400), "{usage:?}");
    }

    #[test]
    fn what_is_not_seen_is_not_made_up_and_a_clock_set_by_days_starts_anew() {
        let mut tracker = UsageTracker::default();
        tracker.observe(at(0), 100.0, None);
        let usage = tracker.observe(at(40_000), 100.0, None);
        assert_eq!(usage.history, Duration::from_secs(11));
        assert_eq!(usage.memory, None);
        for second in [40_000 + 3 * 86_400, 40_000] {
            let anew = tracker.observe(at(second), 50.0, None);
            assert_eq!(anew.history, Duration::from_secs(1));
            assert_eq!(anew.cpu.recent_peak, Millicores(50));
        }
    }

    proptest! {
        #[test]
        fn bounds_are_ordered_and_never_below_what_is_used(
            values in vec((0.0f64..50_000.0, 1e6f64..1e11), 1..300),
        ) {
            let (cpu, memory) = *values.last().unwrap();
            let usage = after(values);
            prop_assert!(usage.cpu.lower <= usage.cpu.target && usage.cpu.target <= usage.cpu.upper);
            prop_assert!(usage.cpu.recent_peak.0 as f64 >= cpu);
            let need = usage.memory.unwrap();
            prop_assert!(need.lower <= need.target && need.target <= need.upper);
            prop_assert!(need.recent_peak.0 as f64 >= memory);
            prop_assert!(need.target >= need.recent_peak || need.upper >= need.recent_peak);
        }

        #[test]
        fn more_use_never_needs_less(
            values in vec((0.0f64..5_000.0, 1e6f64..1e10), 1..200), factor in 1.0f64..4.0,
        ) {
            let less = after(values.clone());
            let more = after(values.into_iter().map(|(cpu, memory)| (cpu * factor, memory * factor)));
            prop_assert!(more.cpu.target >= less.cpu.target && more.cpu.upper >= less.cpu.upper);
            let (more, less) = (more.memory.unwrap(), less.memory.unwrap());
            prop_assert!(more.target >= less.target && more.upper >= less.upper);
        }

        #[test]
        fn written_and_read_back_it_goes_on_as_before(
            values in vec((0.0f64..5_000.0, 1e6f64..1e10, 1i64..2_000), 2..80), half in 0usize..80,
        ) {
            let (mut one, mut other) = (UsageTracker::default(), UsageTracker::default());
            let mut second = 0;
            for (step, (cpu, memory, gap)) in values.iter().enumerate() {
                if step == half {
                    other = postcard::from_bytes(&postcard::to_stdvec(&one).unwrap()).unwrap();
                }
                second += gap;
                let usage = one.observe(at(second), *cpu, Some(*memory));
                if step >= half {
                    prop_assert_eq!(usage, other.observe(at(second), *cpu, Some(*memory)));
                }
            }
        }
    }
}
