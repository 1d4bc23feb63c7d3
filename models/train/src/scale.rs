//! Numbers of all sizes on one scale.

use serde::{Deserialize, Serialize};

/// The median absolute deviation of a normal distribution is the standard deviation over this.
const MAD_TO_SPREAD: f64 = 1.4826;
/// 5th to 95th percentile of a normal distribution, in standard deviations.
const MIDDLE_TO_SPREAD: f64 = 1.0 / 3.29;
/// A spread smaller than this share of the level is not worth a word.
const SPREAD_MIN_SHARE: f64 = 0.03;
/// Of a metric that mostly rests, the spread is this share of its range.
const RANGE_TO_SPREAD: f64 = 0.25;

/// Where a metric usually is, and how far it strays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scale {
    median: f32,
    spread: f32,
}

impl Scale {
    /// The scale of these numbers, which it sorts; none where they are all the same.
    pub(crate) fn of(values: &mut [f64]) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let median = quantile(values, 0.5)?;
        let range = quantile(values, 0.999)? - quantile(values, 0.001)?;
        let middle = quantile(values, 0.95)? - quantile(values, 0.05)?;
        let mut away: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
        away.sort_by(f64::total_cmp);
        let mad = quantile(&away, 0.5)?;
        let strays = (MAD_TO_SPREAD * mad).max(MIDDLE_TO_SPREAD * middle);
        let spread = match strays > 0.0 {
            true => strays,
            false => RANGE_TO_SPREAD * range,
        };
        let spread = spread.max(SPREAD_MIN_SHARE * median.abs()) as f32;
        // A subnormal spread is that of a constant to which rounding was added.
        (range > 0.0 && spread.is_normal()).then_some(Scale {
            median: median as f32,
            spread,
        })
    }

    /// In spreads from the median, far ones drawn in by the inverse hyperbolic sine. Missing stays missing.
    pub(crate) fn to(self, value: f64) -> f64 {
        ((value - f64::from(self.median)) / f64::from(self.spread)).asinh()
    }

    /// Back to the metric's own unit.
    pub(crate) fn from(self, scaled: f64) -> f64 {
        f64::from(self.median) + f64::from(self.spread) * scaled.sinh()
    }

    pub(crate) fn is_valid(self) -> bool {
        self.median.is_finite() && self.spread.is_normal() && self.spread > 0.0
    }
}

/// The value below which this share of the sorted values lies; none when there are none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    let part = at - below as f64;
    Some(sorted[below] + part * (sorted[above] - sorted[below]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_never_changes_has_no_scale() {
        assert_eq!(Scale::of(&mut [7.0; 50]), None);
        assert_eq!(Scale::of(&mut []), None);
    }

    #[test]
    fn what_mostly_rests_has_the_scale_of_its_range() {
        let mut values = [0.0; 100];
        values[..3].fill(8.0);
        let scale = Scale::of(&mut values).unwrap();
        assert_eq!((scale.median, scale.spread), (0.0, 2.0));
    }

    proptest! {
        #[test]
        fn there_and_back(mut values in prop::collection::vec(-1e9f64..1e9, 3..60), value in -1e9f64..1e9) {
            if let Some(scale) = Scale::of(&mut values) {
                let back = scale.from(scale.to(value));
                let size = value.abs() + f64::from(scale.spread) + f64::from(scale.median).abs();
                prop_assert!((back - value).abs() <= 1e-6 * size, "{value} came back as {back}");
            }
        }
    }
}
