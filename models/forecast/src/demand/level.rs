//! Levels over several windows, and which of them has been least wrong.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use units::Expected;

/// Windows of the exponential means, in seconds.
const WINDOWS_S: [f64; 5] = [10.0, 20.0, 40.0, 80.0, 160.0];
/// The window taken before anything is known.
const FIRST: usize = 1;
/// Weight of the newest slope in the trend, as a share of that of the newest value in the level.
const TREND_SHARE: f64 = 0.05;
/// What is left of a trend after a second.
const TREND_KEPT: f64 = 0.998;
/// Errors are compared over about this time …
const ERROR_WINDOW_S: f64 = 3_600.0;
/// … every so many seconds; another window must be better by this share to be taken.
const CHOICE_EVERY_S: u64 = 600;
const CHOICE_BETTER: f64 = 0.99;
/// The spread follows the errors of about this time.
const SPREAD_WINDOW_S: f64 = 120.0;
/// One squared error counts at most as so many times the usual, so that a jump does not widen the spread for minutes.
const ERROR_BOUND: f64 = 25.0;
/// Arrivals are seldom more regular than this share of a Poisson process' variance.
const DISPERSION_MIN: f64 = 0.5;

/// Whether a level goes on rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Trend {
    Without,
    With,
}

/// Whether the level has moved, and to what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shift {
    None,
    Up(f64),
    Down(f64),
}

/// An exponential mean with the errors it made one start-up time ahead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Level {
    window_s: f64,
    level: Option<f64>,
    slope: f64,
    /// Mean absolute error, in square roots of the load expected.
    error: f64,
    /// Mean squared error, as a share of the load expected: 1 for a Poisson process of known rate.
    dispersion: f64,
    /// Forecasts of the next seconds, nearest first.
    made: VecDeque<f64>,
}

impl Level {
    fn new(window_s: f64) -> Self {
        Level {
            window_s,
            level: None,
            slope: 0.0,
            error: 0.0,
            dispersion: 1.0,
            made: VecDeque::new(),
        }
    }

    fn learn(&mut self, load: f64, shift: Shift, trend: Trend) {
        let Some(level) = self.level else {
            self.level = Some(load);
            return;
        };
        let gain = 1.0 / self.window_s;
        let expected = level + self.slope;
        let error = load - expected;
        if trend == Trend::With {
            self.slope = TREND_KEPT * self.slope + gain * TREND_SHARE * error;
        }
        let learnt = (expected + gain * error).max(0.0);
        let moved = match shift {
            Shift::None => learnt,
            Shift::Up(to) => learnt.max(to),
            Shift::Down(to) => to,
        };
        if shift != Shift::None {
            self.slope = 0.0;
        }
        self.level = Some(moved);
    }

    /// Holds what was forecast for this second against it. `weight` is that of one error among those of the window.
    fn judge(&mut self, load: f64, weight: f64, startup_s: u32) {
        if self.made.len() < startup_s as usize {
            return;
        }
        let Some(forecast) = self.made.pop_front() else {
            return;
        };
        let scale = forecast.max(1.0);
        let error = load - forecast;
        self.error += weight * (error.abs() / scale.sqrt() - self.error);
        let squared = (error * error / scale).min(ERROR_BOUND * self.dispersion);
        self.dispersion += (squared - self.dispersion) / SPREAD_WINDOW_S;
    }

    fn ahead(&self, startup_s: u32) -> f64 {
        let rise = self.slope.max(0.0) * f64::from(startup_s);
        (self.level.unwrap_or(0.0) + rise).max(0.0)
    }
}

/// Levels over several windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ladder {
    trend: Trend,
    startup_s: u32,
    second: u64,
    levels: [Level; WINDOWS_S.len()],
    best: usize,
}

impl Ladder {
    pub(super) fn new(startup_s: u32, trend: Trend) -> Self {
        Ladder {
            trend,
            startup_s,
            second: 0,
            levels: WINDOWS_S.map(Level::new),
            best: FIRST,
        }
    }

    pub(super) fn learn(&mut self, load: f64, shift: Shift) {
        let weight = 1.0 / ((self.second + 1) as f64).min(ERROR_WINDOW_S);
        for level in &mut self.levels {
            level.learn(load, shift, self.trend);
            level.judge(load, weight, self.startup_s);
            level.made.push_back(level.ahead(self.startup_s));
        }
        self.second += 1;
        if self.second.is_multiple_of(CHOICE_EVERY_S) {
            for (other, level) in self.levels.iter().enumerate() {
                if level.error < CHOICE_BETTER * self.levels[self.best].error {
                    self.best = other;
                }
            }
        }
    }

    /// The level now, and the variance of a single second around it.
    pub(super) fn noise(&self) -> (f64, f64) {
        let best = &self.levels[self.best];
        let level = best.level.unwrap_or(0.0).max(1.0);
        (level, best.dispersion.max(DISPERSION_MIN) * level)
    }

    /// One start-up time ahead; no less than `begun`, what a burst that has just begun will reach.
    pub(super) fn expect(&self, begun: Option<f64>) -> Expected {
        let best = &self.levels[self.best];
        let load = best.ahead(self.startup_s).max(begun.unwrap_or(0.0));
        Expected {
            load,
            spread: (best.dispersion.max(DISPERSION_MIN) * load.max(1.0)).sqrt(),
        }
    }
}
