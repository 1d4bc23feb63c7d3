//! From cumulative counters to rates.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Metric, MetricRow, Steady};

/// After a longer silence, what happened within it is not spread over it: the rate starts anew.
const GAP_MAX: Duration = Duration::from_secs(10);

/// The counters rates are taken of; and the page cache, which grows by what is read or written through it.
const TRACKED: [Metric; 10] = [
    Metric::CpuUsage,
    Metric::CpuPeriods,
    Metric::CpuThrottledPeriods,
    Metric::NetRxBytes,
    Metric::NetTxBytes,
    Metric::NetRxPackets,
    Metric::IoReadBytes,
    Metric::IoWriteBytes,
    Metric::MemoryCache,
    Metric::PsiIoSome,
];

/// The last values of a container's counters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counters {
    run: Option<Steady>,
    values: [Option<f64>; TRACKED.len()],
}

/// Rates per second between two samples. Absent where one of the two was not read, fell, or is too old.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rates([Option<f64>; TRACKED.len()]);

impl Rates {
    /// The rate of a counter; absent for a metric that is not tracked.
    pub(crate) fn get(&self, metric: Metric) -> Option<f64> {
        let index = TRACKED.iter().position(|tracked| *tracked == metric)?;
        self.0[index]
    }
}

impl Counters {
    /// Takes the values of a sample. A fall is a restart and gives no rate, never a negative one.
    pub(crate) fn advance(&mut self, run: Steady, row: &MetricRow) -> Rates {
        let elapsed = self.run.map(|before| run.since(before));
        let usable = elapsed.filter(|gap| !gap.is_zero() && *gap <= GAP_MAX);
        let mut rates = Rates::default();
        for (index, metric) in TRACKED.iter().enumerate() {
            let value = row.get(*metric);
            if let (Some(gap), Some(before), Some(now)) = (usable, self.values[index], value) {
                rates.0[index] = (now >= before).then(|| (now - before) / gap.as_secs_f64());
            }
            self.values[index] = value;
        }
        self.run = Some(run);
        rates
    }

    /// Forgets the values: the next sample gives no rates.
    pub(crate) fn forget(&mut self) {
        *self = Counters::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cpu: f64) -> MetricRow {
        let mut row = MetricRow::default();
        row.set(Metric::CpuUsage, cpu);
        row
    }

    fn cpu_rates(steps: &[(u64, f64)]) -> Vec<Option<f64>> {
        let mut counters = Counters::default();
        let rate = |(ms, cpu): &(u64, f64)| {
            counters
                .advance(Steady::from_millis(*ms), &row(*cpu))
                .get(Metric::CpuUsage)
        };
        steps.iter().map(rate).collect()
    }

    #[test]
    fn a_rate_is_per_second_of_the_steady_clock() {
        assert_eq!(cpu_rates(&[(0, 1.0), (2_000, 2.0)]), [None, Some(0.5)]);
    }

    #[test]
    fn a_fall_an_older_value_and_a_gap_start_anew() {
        let fall = cpu_rates(&[(0, 5.0), (1_000, 1.0), (2_000, 1.5)]);
        assert_eq!(fall, [None, None, Some(0.5)]);
        let older = cpu_rates(&[(5_000, 5.0), (1_000, 6.0), (2_000, 7.0)]);
        assert_eq!(older, [None, None, Some(1.0)]);
        let gap = cpu_rates(&[(0, 5.0), (10_001, 6.0), (11_001, 7.0)]);
        assert_eq!(gap, [None, None, Some(1.0)]);
    }

    proptest::proptest! {
        #[test]
        fn no_rate_is_ever_negative(steps in proptest::collection::vec((0u64..40_000, 0.0f64..1e12), 0..40)) {
            for rate in cpu_rates(&steps).into_iter().flatten() {
                proptest::prop_assert!(rate >= 0.0 && rate.is_finite());
            }
        }
    }
}
