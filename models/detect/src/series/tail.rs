//! How rare a value of a statistic is, judged by what that statistic did before.

use serde::{Deserialize, Serialize};

/// One decade of rareness in natural logarithms.
const LN_10: f32 = std::f32::consts::LN_10;
/// Exceedances a tail is fitted to at least; with fewer, one outlier would be the tail.
const EXCEEDANCES_MIN: f32 = 10.0;
/// While it has seen less than this, it fits after every value.
const YOUNG: f32 = 64.0;
/// After that it fits once per so many values: the tail moves slowly and fitting is the dear part.
const FIT_EVERY: u8 = 16;
/// A new value's weight at which all weights are divided by it, so that they stay finite.
const WEIGHT_MAX: f32 = 1.0e6;

/// How far below its threshold a value is less surprising: by the ratio of the two, of which a statistic may be the logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Scale {
    /// The statistic is the binary logarithm of a magnitude.
    Log2,
    /// The statistic is a magnitude, not negative.
    Linear,
}

/// What a tail is made of; the same for all of a kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    pub(super) scale: Scale,
    /// Value of the lower edge of the first bin, and of every bin's width.
    pub(super) low: f32,
    pub(super) width: f32,
    pub(super) bins: usize,
    /// Share of the values that are taken for the tail.
    pub(super) share: f32,
    /// Mean excess over the threshold that is believed beforehand, and the number of exceedances this belief weighs.
    pub(super) prior_excess: f32,
    pub(super) prior_weight: f32,
    /// Values that are remembered in the long run; infinite: all, alike.
    pub(super) memory: f32,
    /// Values rarer than so many decades are learned as if they were just that rare: an incident does not become normal at once.
    pub(super) learn_up_to: f32,
    /// The least mean excess, where all exceedances lie at the threshold.
    pub(super) excess_min: f32,
}

/// A streaming tail estimate over equal bins: peaks over a threshold with an exponential excess (Pickands, "Statistical inference
/// using extreme order statistics", Annals of Statistics 3, 1975), whose mean is shrunk to a prior. For a logarithm this is Hill's
/// estimator of a power law.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tail {
    bins: Box<[f32]>,
    total: f32,
    weight: f32,
    seen: f32,
    threshold: f32,
    base: f32,
    excess: f32,
    unfitted: u8,
}

impl Tail {
    pub(super) fn new(shape: &Shape) -> Self {
        Tail {
            bins: vec![0.0; shape.bins].into_boxed_slice(),
            total: 0.0,
            weight: 1.0,
            seen: 0.0,
            threshold: shape.low,
            base: 0.0,
            excess: shape.prior_excess,
            unfitted: 0,
        }
    }

    /// Minus the decimal logarithm of the share of values expected to be at least this large.
    pub(super) fn surprise(&self, shape: &Shape, value: f32) -> f32 {
        if value > self.threshold {
            return self.base + (value - self.threshold) / (self.excess * LN_10);
        }
        match shape.scale {
            Scale::Log2 => self.base * (value - self.threshold).exp2(),
            Scale::Linear if self.threshold > 0.0 => self.base * value / self.threshold,
            Scale::Linear => self.base,
        }
    }

    /// Learns a value.
    pub(super) fn learn(&mut self, shape: &Shape, value: f32) {
        let most = self.threshold + (shape.learn_up_to - self.base).max(0.0) * self.excess * LN_10;
        let value = if self.seen > 0.0 {
            value.min(most)
        } else {
            value
        };
        let last = self.bins.len() - 1;
        // The cast saturates: below the first bin is the first.
        let bin = (((value - shape.low) / shape.width) as usize).min(last);
        self.pass(shape);
        self.bins[bin] += self.weight;
        self.fit_now_and_then(shape);
    }

    /// Learns that there was a value, which was on the other side.
    pub(super) fn learn_other(&mut self, shape: &Shape) {
        self.pass(shape);
        self.fit_now_and_then(shape);
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.bins)
    }

    fn pass(&mut self, shape: &Shape) {
        self.seen += 1.0;
        if self.seen > shape.memory {
            self.weight /= 1.0 - 1.0 / shape.memory;
        }
        if self.weight > WEIGHT_MAX {
            let factor = 1.0 / self.weight;
            for bin in &mut self.bins {
                *bin *= factor;
            }
            self.total *= factor;
            self.weight = 1.0;
        }
        self.total += self.weight;
    }

    fn fit_now_and_then(&mut self, shape: &Shape) {
        self.unfitted += 1;
        if self.seen < YOUNG || self.unfitted >= FIT_EVERY {
            self.unfitted = 0;
            self.fit(shape);
        }
    }

    fn fit(&mut self, shape: &Shape) {
        let wanted = (shape.share * self.total).max(EXCEEDANCES_MIN * self.weight);
        let (mut mass, mut moment, mut first) = (0.0, 0.0, self.bins.len());
        while first > 0 && mass < wanted {
            first -= 1;
            mass += self.bins[first];
            moment += self.bins[first] * first as f32;
        }
        let exceedances = mass / self.weight;
        let middle = if mass > 0.0 {
            moment / mass - first as f32
        } else {
            0.0
        };
        let excess = (middle + 0.5) * shape.width;
        let prior = shape.prior_weight;
        self.threshold = shape.low + first as f32 * shape.width;
        let share = (exceedances + 1.0) / (self.total / self.weight + 2.0);
        self.base = -share.min(1.0).log10();
        self.excess = ((exceedances * excess + prior * shape.prior_excess) / (exceedances + prior))
            .max(shape.excess_min);
    }
}
