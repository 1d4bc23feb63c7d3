//! What is usual for one series: a level, a spread, and how often it strays how far.

use serde::{Deserialize, Serialize};

/// Samples of the warm-up, of which the first level and spread are median and scaled median absolute deviation.
pub(crate) const WARM_UP: usize = 20;
/// Samples the estimates remember in the long run: ten minutes at one a second.
const MEMORY_SAMPLES: f64 = 600.0;
/// Residuals beyond this many spreads move the level no further (Huber's psi).
const HUBER_K: f64 = 2.0;
/// Consistency factor of the biweight scale for `HUBER_K` under normal noise.
const SCALE_C: f64 = 2.52;
/// Makes the median absolute deviation estimate a standard deviation under normal noise.
const MAD_TO_SIGMA: f64 = 1.4826;
/// A spread is at least this share of the level: a constant series still has some play.
const SPREAD_OF_LEVEL: f64 = 0.01;
/// The tail remembers about a day of samples at one a second.
const TAIL_KEEP: f32 = 1.0 - 1.0 / 86_400.0;
const TAIL_BINS: usize = 20;
/// What a borrowed expectation weighs.
const PRIOR_SAMPLES: u32 = 60;

/// A robust running baseline with memory of fixed size.
///
/// Level and spread follow the robust exponential smoothing of Gelper, Fried and Croux ("Robust forecasting with exponential and
/// Holt-Winters smoothing", Journal of Forecasting 29, 2010, section 3): residuals are cut at two spreads before they move the
/// level, and the spread is a biweight scale of the one-step residuals. The score is an empirical tail: the share of past
/// residuals that lay nearer, counted over bins and corrected as a conformal p-value (Vovk, Gammerman, Shafer, "Algorithmic
/// Learning in a Random World", 2005, chapter 2), so that 0.99 means one in a hundred whatever the distribution, and little
/// history cannot claim much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    warm_up: Vec<f32>,
    level: f64,
    spread: f64,
    spread_floor: f64,
    samples: u32,
    tail: [f32; TAIL_BINS],
}

impl Baseline {
    /// A baseline that knows nothing. Its spread never falls below `spread_floor`, in the series' unit.
    pub(crate) fn new(spread_floor: f64) -> Self {
        Baseline {
            warm_up: Vec::new(),
            level: 0.0,
            spread: spread_floor,
            spread_floor,
            samples: 0,
            tail: [0.0; TAIL_BINS],
        }
    }

    /// The same expectation with little weight: what a fresh replica is taken to be like its siblings.
    pub(crate) fn as_prior(&self) -> Self {
        let weight = self.weight().max(1.0);
        let factor = (PRIOR_SAMPLES as f64 / weight).min(1.0) as f32;
        Baseline {
            samples: self.samples.min(PRIOR_SAMPLES),
            tail: self.tail.map(|bin| bin * factor),
            ..self.clone()
        }
    }

    /// Learns a value.
    pub(crate) fn learn(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.samples = self.samples.saturating_add(1);
        if !self.is_warm_filled() {
            self.warm_up.push(value as f32);
            if self.warm_up.len() == WARM_UP {
                self.finish_warm_up();
            }
            return;
        }
        let distance = self.distance(value);
        for bin in &mut self.tail {
            *bin *= TAIL_KEEP;
        }
        self.tail[bin_of(distance.abs())] += 1.0;
        let gain = 1.0 / (f64::from(self.samples) + 1.0).min(MEMORY_SAMPLES);
        let spread = self.effective_spread();
        let variance =
            gain * biweight(distance) * spread * spread + (1.0 - gain) * self.spread * self.spread;
        self.spread = variance.sqrt().max(self.spread_floor);
        self.level += gain * distance.clamp(-HUBER_K, HUBER_K) * spread;
    }

    /// The usual value; absent during the warm-up.
    pub(crate) fn level(&self) -> Option<f64> {
        self.is_warm().then_some(self.level)
    }

    /// Samples behind it.
    pub(crate) fn samples(&self) -> u32 {
        self.samples
    }

    /// The range most values fall into: two spreads either way.
    pub(crate) fn range(&self) -> (f64, f64) {
        let reach = 2.0 * self.effective_spread();
        ((self.level - reach).max(0.0), self.level + reach)
    }

    /// How many spreads a value is from the level, below it negative.
    pub(crate) fn distance(&self, value: f64) -> f64 {
        (value - self.level) / self.effective_spread()
    }

    /// How unusual a value is, 0 to 1; 0 during the warm-up.
    pub(crate) fn score(&self, value: f64) -> f64 {
        if !self.is_warm() {
            return 0.0;
        }
        let bin = bin_of(self.distance(value).abs());
        let beyond: f64 = self.tail[bin..].iter().copied().map(f64::from).sum();
        (1.0 - (1.0 + beyond) / (1.0 + self.weight())).max(0.0)
    }

    fn weight(&self) -> f64 {
        self.tail.iter().copied().map(f64::from).sum()
    }

    fn is_warm(&self) -> bool {
        self.samples as usize >= WARM_UP
    }

    fn is_warm_filled(&self) -> bool {
        self.is_warm() && self.samples as usize > WARM_UP
    }

    fn effective_spread(&self) -> f64 {
        self.spread
            .max(self.level.abs() * SPREAD_OF_LEVEL)
            .max(self.spread_floor)
    }

    fn finish_warm_up(&mut self) {
        let mut values: Vec<f64> = self.warm_up.drain(..).map(f64::from).collect();
        self.warm_up = Vec::new();
        self.level = median(&mut values);
        let mut deviations: Vec<f64> = values
            .iter()
            .map(|value| (value - self.level).abs())
            .collect();
        self.spread = (median(&mut deviations) * MAD_TO_SIGMA).max(self.spread_floor);
        for value in values {
            self.tail[bin_of(self.distance(value).abs())] += 1.0;
        }
    }
}

/// Tukey's biweight, bounded at `HUBER_K` spreads.
fn biweight(distance: f64) -> f64 {
    if distance.abs() >= HUBER_K {
        return SCALE_C;
    }
    let inner = 1.0 - (distance / HUBER_K).powi(2);
    SCALE_C * (1.0 - inner.powi(3))
}

/// Bins of half a spread up to four, then widening by half each; the last takes all beyond.
fn bin_of(distance: f64) -> usize {
    const LINEAR: f64 = 4.0;
    if distance < LINEAR {
        return (distance * 2.0) as usize;
    }
    let beyond = (distance / LINEAR).ln() / 1.5f64.ln();
    (8 + beyond as usize).min(TAIL_BINS - 1)
}

/// The median; sorts. Zero for none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;

    fn learnt(values: impl Iterator<Item = f64>) -> Baseline {
        let mut baseline = Baseline::new(0.001);
        values.for_each(|value| baseline.learn(value));
        baseline
    }

    #[test]
    fn it_is_useful_after_twenty_samples_and_silent_before() {
        let mut baseline = learnt((0..WARM_UP as u32 - 1).map(|n| f64::from(n % 3)));
        assert_eq!(baseline.level(), None);
        assert_eq!(baseline.score(1e9), 0.0);
        baseline.learn(1.0);
        assert_eq!(baseline.level(), Some(1.0));
        assert!(baseline.score(1e9) > 0.9);
    }

    #[test]
    fn level_and_spread_of_normal_noise_are_found_and_outliers_do_not_move_them() {
        let mut noise = Noise::seeded(3);
        let clean = learnt((0..5_000).map(|_| 10.0 + noise.normal()));
        assert!((clean.level().unwrap() - 10.0).abs() < 0.2, "{clean:?}");
        assert!((clean.spread - 1.0).abs() < 0.25, "{clean:?}");
        let mut noise = Noise::seeded(3);
        let spoilt = learnt((0..5_000).map(|n| match n % 20 {
            0 => 1_000.0,
            _ => 10.0 + noise.normal(),
        }));
        assert!((spoilt.level().unwrap() - 10.0).abs() < 0.4, "{spoilt:?}");
        assert!(spoilt.spread < 2.0, "{spoilt:?}");
    }

    #[test]
    fn scores_are_calibrated_for_normal_and_for_skewed_noise() {
        type Draw = fn(&mut Noise) -> f64;
        let draws: [(&str, Draw); 2] = [
            ("normal", |n| 50.0 + 5.0 * n.normal()),
            ("poisson", |n| n.poisson(3.0)),
        ];
        for (name, draw) in draws {
            let mut noise = Noise::seeded(11);
            let mut baseline = learnt((0..2_000).map(|_| draw(&mut noise)));
            let mut beyond = 0;
            let total = 50_000;
            for _ in 0..total {
                let value = draw(&mut noise);
                beyond += u32::from(baseline.score(value) >= 0.99);
                baseline.learn(value);
            }
            let share = f64::from(beyond) / f64::from(total);
            assert!(share <= 0.012, "{name}: {share}");
        }
    }

    #[test]
    fn a_prior_keeps_the_expectation_and_drops_the_weight() {
        let mut noise = Noise::seeded(5);
        let elder = learnt((0..10_000).map(|_| 4.0 + noise.normal()));
        let prior = elder.as_prior();
        assert_eq!(prior.level(), elder.level());
        assert!(prior.score(1e6) < elder.score(1e6));
    }

    proptest::proptest! {
        #[test]
        fn scores_stay_between_nought_and_one(values in proptest::collection::vec(0.0f64..1e15, 0..200), probe in 0.0f64..1e18) {
            let score = learnt(values.into_iter()).score(probe);
            proptest::prop_assert!((0.0..=1.0).contains(&score));
        }
    }
}
