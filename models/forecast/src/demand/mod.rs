//! The demand on one service: what arrives in each second, and how much will once an ordered replica is ready.

mod burst;
mod level;

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use burst::Bursts;
use level::{Ladder, Shift, Trend};
use units::{Coming, Outlook};

/// A jump is looked for in the mean of so many seconds, and what bursts reach in the mean of the longest.
const SHORT_S: usize = 5;
const MIDDLE_S: usize = 10;
const LONG_S: usize = 20;
/// A mean so many of its own standard deviations away from the level is no noise: the level has moved.
const SHIFT_DEVIATIONS: f64 = 6.0;
/// … and by at least this share of it upwards, and this share downwards.
const SHIFT_UP_SHARE: f64 = 0.1;
const SHIFT_DOWN_SHARE: f64 = 0.15;
/// Before so many seconds have been seen no level is known well enough to have moved.
const SETTLED_S: u64 = 300;
/// The level outside of bursts is a mean over about this time.
const CALM_WINDOW_S: f64 = 120.0;
/// The longest start-up time that is looked ahead: what is kept of past forecasts is bounded by it.
pub const STARTUP_MAX_S: u32 = 3_600;

/// Looks one start-up time ahead, second by second.
///
/// A level is an exponential mean, with and without a trend (Holt, "Forecasting seasonals and trends by exponentially weighted
/// moving averages", 1957), each over five windows; the window that was least wrong in the last hour is taken. The spread follows
/// the errors of the last minutes. A level that jumps is taken up at once. Bursts are remembered; where most of the last ones
/// began at the same time of a period, the next is expected there, as likely as it was so many periods after the one before.
///
/// Memory: five levels of two kinds, each with a forecast for every second of the start-up time, and 48 bursts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DemandForecaster {
    startup_s: u32,
    second: u64,
    newest: VecDeque<f64>,
    steady: Ladder,
    rising: Ladder,
    bursts: Bursts,
    /// Mean outside of bursts.
    calm: Option<f64>,
}

impl DemandForecaster {
    /// For replicas that take so many seconds to start, pressed into 1 to [`STARTUP_MAX_S`].
    pub fn new(startup_s: u32) -> Self {
        let startup_s = startup_s.clamp(1, STARTUP_MAX_S);
        DemandForecaster {
            startup_s,
            second: 0,
            newest: VecDeque::with_capacity(LONG_S + 1),
            steady: Ladder::new(startup_s, Trend::Without),
            rising: Ladder::new(startup_s, Trend::With),
            bursts: Bursts::default(),
            calm: None,
        }
    }

    /// Takes what arrived in the next second. What is negative or no number counts as nothing.
    pub fn observe(&mut self, requests: f64) {
        let load = if requests.is_finite() {
            requests.max(0.0)
        } else {
            0.0
        };
        self.newest.push_back(load);
        if self.newest.len() > LONG_S {
            self.newest.pop_front();
        }
        let calm = *self.calm.get_or_insert(load);
        let shift = self.shift();
        self.steady.learn(load, shift);
        self.rising.learn(load, shift);
        let now = burst::Now {
            second: self.second,
            short: self.mean(SHORT_S),
            long: self.mean(LONG_S),
            calm,
            shift,
        };
        self.bursts.learn(&now);
        if !self.bursts.is_under_way() {
            self.calm = Some(calm + (load - calm) / CALM_WINDOW_S);
        }
        self.second += 1;
    }

    /// What follows from all that was observed.
    pub fn outlook(&self) -> Outlook {
        let calm = self.calm.unwrap_or(0.0);
        let reached = self.bursts.reached(calm);
        let newest = self.second.saturating_sub(1);
        let begun = reached.filter(|_| self.bursts.has_just_begun(newest));
        let coming = reached.and_then(|level| {
            let (chance, window_s) = self.bursts.chance(newest, self.startup_s)?;
            Some(Coming {
                level,
                chance,
                window_s,
            })
        });
        Outlook {
            steady: self.steady.expect(begun),
            rising: self.rising.expect(begun),
            coming,
        }
    }

    fn mean(&self, seconds: usize) -> f64 {
        let newest = self.newest.iter().rev().take(seconds);
        newest.sum::<f64>() / seconds as f64
    }

    /// Whether the level has moved: at once upwards, where each second counts, and a little later downwards.
    fn shift(&self) -> Shift {
        if self.second <= SETTLED_S {
            return Shift::None;
        }
        let (level, variance) = self.steady.noise();
        let far = |seconds: usize| SHIFT_DEVIATIONS * (variance / seconds as f64).sqrt();
        let up = self.mean(SHORT_S);
        if up - level > far(SHORT_S).max(SHIFT_UP_SHARE * level) {
            return Shift::Up(up);
        }
        let down = self.mean(MIDDLE_S);
        if level - down > far(MIDDLE_S).max(SHIFT_DOWN_SHARE * level) {
            return Shift::Down(down);
        }
        Shift::None
    }
}

#[cfg(test)]
mod tests;
