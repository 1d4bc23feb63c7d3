//! How often loads lie how far above what was expected of them.

use serde::{Deserialize, Serialize};

/// Bins of a tenth of a spread, from four spreads below to twelve above; the last holds all that lies beyond.
const BINS: usize = 160;
const BINS_A_SPREAD: f64 = 10.0;
const LOWEST: f64 = -4.0;
/// Until errors have been seen, so many of a normal distribution stand for them.
const PRIOR: f64 = 2_000.0;
/// What is left of older errors at each refresh: every ten minutes, so half of them after a day.
const KEPT: f64 = 0.995;

/// A histogram of errors in spreads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tail {
    counts: Vec<f64>,
    /// Of each bin, what lies in it and above, as of the last refresh.
    above: Vec<f64>,
}

impl Default for Tail {
    fn default() -> Self {
        let density = |bin: usize| {
            let middle = LOWEST + (bin as f64 + 0.5) / BINS_A_SPREAD;
            let normal = (-middle * middle / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            PRIOR * normal / BINS_A_SPREAD
        };
        let mut counts: Vec<f64> = (0..BINS).map(density).collect();
        counts.push(0.0);
        let mut tail = Tail {
            counts,
            above: Vec::new(),
        };
        tail.sum();
        tail
    }
}

impl Tail {
    /// Takes an error in spreads. What is no number is left out.
    pub(super) fn learn(&mut self, error: f64) {
        if error.is_nan() {
            return;
        }
        let bin = ((error - LOWEST) * BINS_A_SPREAD).clamp(0.0, BINS as f64);
        self.counts[bin as usize] += 1.0;
    }

    /// Forgets a little, and lets what was learnt count.
    pub(super) fn refresh(&mut self) {
        for count in &mut self.counts {
            *count *= KEPT;
        }
        self.sum();
    }

    fn sum(&mut self) {
        let mut above = 0.0;
        self.above = self
            .counts
            .iter()
            .rev()
            .map(|count| {
                above += count;
                above
            })
            .collect();
        self.above.reverse();
    }

    /// The share of errors above so many spreads, linear within a bin.
    pub(super) fn above(&self, spreads: f64) -> f64 {
        let place = (spreads - LOWEST) * BINS_A_SPREAD;
        let all = self.above[0];
        if place.is_nan() || place <= 0.0 {
            return 1.0;
        }
        let bin = place as usize;
        if bin >= BINS {
            return self.above[BINS] / all;
        }
        let part = place - bin as f64;
        (self.above[bin] * (1.0 - part) + self.above[bin + 1] * part) / all
    }
}
