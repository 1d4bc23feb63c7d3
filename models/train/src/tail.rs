//! From a distance to how rare it is.

use serde::{Deserialize, Serialize};

use crate::scale::quantile;

/// Rareness in decades (2 is one in a hundred) at which distances are kept.
const DECADES: [f64; 8] = [0.0, 0.3, 0.6, 1.0, 1.5, 2.0, 2.5, 3.0];
/// A quantile is believed with so many values beyond it.
const BEYOND_MIN: f64 = 8.0;
/// What happens less often than this is equally rare to us.
pub(crate) const DECADES_MAX: f64 = 6.0;
/// So many values weigh as much as what is thought of a tail beforehand.
const BEFOREHAND_WEIGHT: f64 = 10.0;

/// The tail of a distribution: quantiles as far as there are values, and an exponential beyond. Of logarithms of distances that is
/// a Pareto tail with Hill's estimate of its index (B. M. Hill, Annals of Statistics 3(5), 1975).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tail {
    /// One for each of the first decades; they do not fall.
    levels: Vec<f32>,
    /// Mean excess over the last level.
    excess: f32,
}

/// What a tail is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Logarithms of distances.
    Distances,
    /// Rareness in decades.
    Rareness,
}

impl Of {
    /// The mean excess that is thought of beforehand, for a tail of which little was seen.
    fn excess_beforehand(self) -> f64 {
        match self {
            // A Pareto tail of index 4.
            Of::Distances => 0.25,
            // Each decade is ten times rarer than the one before.
            Of::Rareness => std::f64::consts::LOG10_E,
        }
    }
}

impl Tail {
    /// The tail of these values, which it sorts.
    pub(crate) fn of(values: &mut [f64], what: Of) -> Self {
        values.sort_by(f64::total_cmp);
        let count = values.len() as f64;
        let levels: Vec<f32> = DECADES
            .iter()
            .take_while(|decades| **decades == 0.0 || share(**decades) * count >= BEYOND_MIN)
            .map(|decades| quantile(values, 1.0 - share(*decades)).unwrap_or(0.0) as f32)
            .collect();
        let last = levels.last().map_or(0.0, |level| f64::from(*level));
        let beyond = values.iter().filter(|value| **value > last);
        let (sum, number) = beyond.fold((0.0, 0.0), |(sum, number), value| {
            (sum + value - last, number + 1.0)
        });
        let beforehand = BEFOREHAND_WEIGHT * what.excess_beforehand();
        let excess = (sum + beforehand) / (number + BEFOREHAND_WEIGHT);
        Tail {
            levels,
            excess: excess as f32,
        }
    }

    /// How rare a value is, in decades: 3 is one in a thousand.
    pub(crate) fn decades(&self, value: f64) -> f64 {
        let below = self
            .levels
            .iter()
            .take_while(|level| f64::from(**level) < value)
            .count();
        let Some(under) = below.checked_sub(1) else {
            return 0.0;
        };
        let low = f64::from(self.levels[under]);
        let Some(above) = self.levels.get(below) else {
            let over = (value - low) / (f64::from(self.excess) * std::f64::consts::LN_10);
            return (DECADES[under] + over).min(DECADES_MAX);
        };
        let part = (value - low) / (f64::from(*above) - low);
        DECADES[under] + part * (DECADES[below] - DECADES[under])
    }

    pub(crate) fn is_valid(&self) -> bool {
        (1..=DECADES.len()).contains(&self.levels.len())
            && self.levels.iter().all(|level| level.is_finite())
            && self.levels.is_sorted()
            && self.excess.is_normal()
            && self.excess > 0.0
    }
}

/// The share of values that are at least so rare.
pub(crate) fn share(decades: f64) -> f64 {
    10f64.powf(-decades)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_met_and_the_tail_goes_on() {
        let mut values: Vec<f64> = (0..10_000)
            .map(|step| -(1.0 - (f64::from(step) + 0.5) / 1e4).log10())
            .collect();
        let tail = Tail::of(&mut values, Of::Rareness);
        for decades in [0.5, 1.0, 2.0, 2.7, 4.0, 5.0] {
            let found = tail.decades(decades);
            assert!(
                (found - decades).abs() < 0.3,
                "{decades} was found as {found}"
            );
        }
    }

    proptest! {
        #[test]
        fn farther_is_never_less_rare(mut values in prop::collection::vec(0f64..9.0, 0..300), a in -1f64..20.0, b in -1f64..20.0) {
            let tail = Tail::of(&mut values, Of::Rareness);
            prop_assert!(tail.is_valid());
            let (near, far) = (tail.decades(a.min(b)), tail.decades(a.max(b)));
            prop_assert!(near <= far && (0.0..=DECADES_MAX).contains(&far));
        }
    }
}
