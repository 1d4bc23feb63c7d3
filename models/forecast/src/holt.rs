//! Exponential smoothing with a damped trend, and the range its own errors justify.

use serde::{Deserialize, Serialize};

/// Weight of the newest value in the level.
const ALPHA: f64 = 0.3;
/// Weight of the newest slope in the trend, as a share of `ALPHA`.
const BETA_SHARE: f64 = 0.1;
/// What is left of the trend with each second: in the long run it adds no more than twenty seconds' worth.
const DAMPING: f64 = 0.95;
/// Weight of the newest one-step error in their spread.
const ERROR_GAIN: f64 = 0.05;
/// An error counts at most as this many spreads, so that one step of load does not widen the range for minutes.
const ERROR_BOUND: f64 = 4.0;
/// Half the width of a range that holds nine in ten, in standard deviations.
const NINETY_PERCENT: f64 = 1.645;
/// Makes a mean absolute error a standard deviation under normal noise.
const MAE_TO_SIGMA: f64 = 1.2533;

/// Additive damped trend, ETS(A,Ad,N) in Hyndman, Koehler, Ord and Snyder, "Forecasting with Exponential Smoothing" (2008):
/// point forecasts of section 2.5, forecast variance of table 6.2. The spread of one-step errors is a bounded running mean
/// absolute error instead of a fitted variance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct DampedTrend {
    level: f64,
    trend: f64,
    error: f64,
}

/// An expectation with its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Expected {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl DampedTrend {
    /// Starts at a value, with no trend and no error yet.
    pub(crate) fn starting(value: f64) -> Self {
        DampedTrend {
            level: value,
            trend: 0.0,
            error: 0.0,
        }
    }

    /// Takes the value of the next second.
    pub(crate) fn learn(&mut self, value: f64) {
        let expected = self.level + DAMPING * self.trend;
        let error = value - expected;
        let bounded = match self.error > 0.0 {
            true => error.abs().min(ERROR_BOUND * self.error),
            false => error.abs(),
        };
        self.error += ERROR_GAIN * (bounded - self.error);
        self.level = expected + ALPHA * error;
        self.trend = DAMPING * self.trend + ALPHA * BETA_SHARE * error;
    }

    /// What is expected so many seconds ahead. Never negative: load is not.
    pub(crate) fn ahead(&self, seconds: u32) -> Expected {
        let mut damping = 1.0;
        let mut reach = 0.0;
        let mut variance = 1.0;
        for step in 1..=seconds {
            if step > 1 {
                let carried = ALPHA + ALPHA * BETA_SHARE * reach;
                variance += carried * carried;
            }
            damping *= DAMPING;
            reach += damping;
        }
        let value = self.level + reach * self.trend;
        let half = NINETY_PERCENT * MAE_TO_SIGMA * self.error * f64::sqrt(variance);
        let value = value.max(0.0);
        Expected {
            value,
            low: (value - half).max(0.0),
            high: value + half,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_followed_and_its_end_is_not_far_overshot() {
        let mut model = DampedTrend::starting(100.0);
        for second in 0..60 {
            model.learn(100.0 + 5.0 * f64::from(second));
        }
        let ahead = model.ahead(15).value;
        assert!(ahead > 400.0 && ahead < 480.0, "{ahead}");
        for _ in 0..60 {
            model.learn(400.0);
        }
        let settled = model.ahead(60).value;
        assert!((settled - 400.0).abs() < 20.0, "{settled}");
    }

    #[test]
    fn the_range_holds_about_nine_in_ten_of_what_follows_noise() {
        let mut state = 7u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (0..12)
                .map(|n| f64::from((state >> (n * 5)) as u32 & 31) / 31.0)
                .sum::<f64>()
                - 6.0
        };
        let mut model = DampedTrend::starting(500.0);
        let (mut inside, mut total) = (0, 0);
        for second in 0..5_000 {
            let value = 500.0 + 20.0 * noise();
            if second > 200 {
                let next = model.ahead(1);
                total += 1;
                inside += u32::from((next.low..=next.high).contains(&value));
            }
            model.learn(value);
        }
        let share = f64::from(inside) / f64::from(total);
        assert!((0.85..=0.95).contains(&share), "{share}");
    }
}
