//! A histogram whose buckets grow with the value, and whose samples weigh less the older they are.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::Timestamp;

/// Each bucket is wider than the one before by this factor.
const GROWTH: f64 = 1.05;
/// Buckets there are; the last one takes everything beyond.
const BUCKETS: u16 = 176;
/// A sample weighs half as much after this time.
const HALF_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// Weights are kept as of a reference time; further from it than so many half-lives it is moved, so that no weight overflows.
const HALF_LIVES_MAX: f64 = 32.0;
/// A bucket with less than this share of all weight is forgotten when the reference moves, and says nothing of the highest value.
const FAINT: f64 = 1e-3;

/// What is counted, which says where the buckets lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Quantity {
    /// From hundredths of a core to more than five hundred cores, in millicores.
    Cpu,
    /// From ten megabytes to more than half a terabyte, in bytes.
    Memory,
}

impl Quantity {
    /// The width of the first bucket.
    const fn first(self) -> f64 {
        match self {
            Quantity::Cpu => 10.0,
            Quantity::Memory => 10e6,
        }
    }

    fn bucket(self, value: f64) -> u16 {
        let nth = (value.max(0.0) * (GROWTH - 1.0) / self.first() + 1.0).ln() / GROWTH.ln();
        (nth as u16).min(BUCKETS - 1)
    }

    /// Where a bucket ends.
    fn end(self, bucket: u16) -> f64 {
        self.first() * (GROWTH.powi(i32::from(bucket) + 1) - 1.0) / (GROWTH - 1.0)
    }
}

/// A decaying histogram with exponential buckets, as the recommender of the Kubernetes Vertical Pod Autoscaler uses them
/// (`pkg/recommender/util/{histogram,decaying_histogram}.go`): buckets grow by 5 %, weights halve in 24 hours. At most [`BUCKETS`]
/// numbers, and only those that are not zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Histogram {
    quantity: Quantity,
    /// Weights, as of `reference`.
    weights: BTreeMap<u16, f64>,
    reference: Timestamp,
}

impl Histogram {
    pub(crate) fn new(quantity: Quantity) -> Self {
        Histogram {
            quantity,
            weights: BTreeMap::new(),
            reference: Timestamp::EPOCH,
        }
    }

    /// Counts a value that was so at `at`, with this weight. In whatever order values come, the same is known in the end, up to
    /// rounding. A value that is no number is not counted.
    pub(crate) fn add(&mut self, value: f64, weight: f64, at: Timestamp) {
        if !(value.is_finite() && weight.is_finite()) || weight <= 0.0 {
            return;
        }
        if self.weights.is_empty() {
            self.reference = at;
        }
        if half_lives(self.reference, at) > HALF_LIVES_MAX {
            self.refer_to(at);
        }
        let weight = weight * half_lives(self.reference, at).exp2();
        *self
            .weights
            .entry(self.quantity.bucket(value))
            .or_insert(0.0) += weight;
    }

    /// The value that this share of the weight does not exceed: the end of its bucket, so that the true one is at most so much
    /// and less by one bucket at the most. Nothing where nothing was counted.
    pub(crate) fn percentile(&self, share: f64) -> Option<f64> {
        let wanted = self.total() * share.clamp(0.0, 1.0);
        let mut sum = 0.0;
        for (bucket, weight) in &self.weights {
            sum += weight;
            if sum >= wanted {
                return Some(self.quantity.end(*bucket));
            }
        }
        // Rounding may leave the whole a little short of the total.
        let last = self.weights.keys().next_back()?;
        Some(self.quantity.end(*last))
    }

    /// The highest value that still has weight.
    pub(crate) fn highest(&self) -> Option<f64> {
        let faint = self.total() * FAINT;
        let mut down = self.weights.iter().rev();
        let (bucket, _) = down.find(|(_, weight)| **weight >= faint)?;
        Some(self.quantity.end(*bucket))
    }

    fn total(&self) -> f64 {
        self.weights.values().sum()
    }

    fn refer_to(&mut self, at: Timestamp) {
        let factor = (-half_lives(self.reference, at)).exp2();
        let faint = self.total() * factor * FAINT;
        self.weights.retain(|_, weight| {
            *weight *= factor;
            *weight >= faint && *weight > f64::MIN_POSITIVE
        });
        self.reference = at;
    }
}

/// How many half-lives `at` is after `reference`; negative before it.
fn half_lives(reference: Timestamp, at: Timestamp) -> f64 {
    (at.as_millis() - reference.as_millis()) as f64 / HALF_LIFE.as_millis() as f64
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + second * 1_000)
    }

    fn of(values: &[(f64, i64)]) -> Histogram {
        let mut histogram = Histogram::new(Quantity::Cpu);
        for (value, second) in values {
            histogram.add(*value, 1.0, at(*second));
        }
        histogram
    }

    #[test]
    fn the_buckets_are_those_of_the_recommender() {
        assert_eq!(Quantity::Cpu.bucket(0.0), 0);
        assert_eq!(Quantity::Cpu.bucket(9.9), 0);
        assert_eq!(Quantity::Cpu.bucket(10.1), 1);
        assert!((Quantity::Cpu.end(0) - 10.0).abs() < 1e-9);
        assert!((Quantity::Cpu.end(1) - 20.5).abs() < 1e-9);
        assert_eq!(Quantity::Cpu.bucket(f64::MAX), BUCKETS - 1);
        assert!(Quantity::Cpu.end(BUCKETS - 1) > 1_000_000.0, "1000 cores");
        assert!(Quantity::Memory.end(BUCKETS - 1) > 1e12, "a terabyte");
    }

    #[test]
    fn what_was_long_ago_weighs_half_after_a_day_and_is_forgotten_in_the_end() {
        const DAY: i64 = 24 * 3_600;
        // Two of the old weigh as much as one of the new: just half lies at or below the old.
        let halves = of(&[(100.0, 0), (100.0, 0), (1_000.0, DAY)]);
        assert!(halves.percentile(0.499).unwrap() < 120.0);
        assert!(halves.percentile(0.501).unwrap() >= 1_000.0);
        let mut old = of(&[(5_000.0, 0)]);
        for day in 0..12 {
            old.add(100.0, 1.0, at(day * DAY));
        }
        assert!(old.highest().unwrap() < 120.0);
        assert_eq!(of(&[]).percentile(0.5), None);
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_one_bucket_of_the_exact_one(
            values in vec(0.0f64..500_000.0, 1..200), share in 0.001f64..1.0,
        ) {
            let histogram = of(&values.iter().map(|value| (*value, 0)).collect::<Vec<_>>());
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = sorted[rank - 1];
            let told = histogram.percentile(share).unwrap();
            prop_assert!(told >= exact * (1.0 - 1e-9), "{} {}", told, exact);
            prop_assert!(told <= exact * GROWTH + Quantity::Cpu.first() + 1e-6, "{} {}", told, exact);
        }

        #[test]
        fn a_higher_share_never_has_a_lower_percentile(
            values in vec((0.0f64..1e7, -200_000i64..800_000), 1..100), low in 0.0f64..1.0, more in 0.0f64..1.0,
        ) {
            let histogram = of(&values);
            let high = (low + more).min(1.0);
            prop_assert!(histogram.percentile(low) <= histogram.percentile(high));
            prop_assert!(histogram.weights.len() <= usize::from(BUCKETS));
        }

        #[test]
        fn the_order_of_values_does_not_matter(values in vec((0.0f64..1e6, 0i64..500_000), 1..60)) {
            let one = of(&values);
            let other = of(&values.iter().rev().copied().collect::<Vec<_>>());
            // As of the same time, bucket by bucket.
            let factor = half_lives(one.reference, other.reference).exp2();
            prop_assert_eq!(one.weights.len(), other.weights.len());
            for ((bucket, weight), (same, mirrored)) in one.weights.iter().zip(&other.weights) {
                prop_assert_eq!(bucket, same);
                prop_assert!((weight / (mirrored * factor) - 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn any_number_at_any_time_leaves_it_sound(
            values in vec((any::<f64>(), any::<f64>(), any::<i32>()), 0..60),
        ) {
            let mut histogram = Histogram::new(Quantity::Memory);
            for (value, weight, second) in values {
                histogram.add(value, weight.clamp(0.0, 1e9), at(i64::from(second)));
            }
            prop_assert!(histogram.weights.values().all(|weight| weight.is_finite() && *weight >= 0.0));
            prop_assert!(histogram.percentile(0.9).is_none_or(f64::is_finite));
        }
    }
}
