//! One metric of a subject: what is usual for it, and how a value differs from that in several ways.

use serde::{Deserialize, Serialize};

use super::season::{Moment, Season};
use super::tail::{Scale, Shape, Tail};

/// Values the level and the spreads remember in the long run: about three days of minutes, two weeks of five minutes.
const MEMORY: f64 = 4_000.0;
/// Values a tail remembers; fewer than the level, since habits of noise change sooner.
const TAIL_MEMORY: f32 = 2_000.0;
/// Values before the first judgement, and before it is held against outliers.
const FIRST_VALUES: f64 = 8.0;
const YOUNG: f64 = 20.0;
/// Gains of the recent residual, of the mean deviation that lasts, and of the roughness: windows of some 8, 12 and 20 values.
const RECENT_GAIN: f64 = 0.125;
const LASTING_GAIN: f64 = 0.08;
const ROUGH_GAIN: f64 = 0.05;
/// A residual teaches at most so many spreads (Huber): an incident moves no level at once, a change of the level does in time.
const LEARN_SPREADS: f64 = 3.0;
/// A deviation that lasts is the mean of deviations cut at so many spreads: one spike does not last.
const LASTING_CUT: f64 = 6.0;
/// The least effect: shares of the usual magnitude and of the usual range. What is smaller matters to nobody.
const PLAY_OF_MAGNITUDE: f64 = 0.02;
const PLAY_OF_RANGE: f64 = 0.03;
/// Of the range of all values ever, for the plain deviation.
const PLAY_OF_WHOLE_RANGE: f64 = 0.05;
/// Keeps ratios finite where a metric never moved.
const TINY: f64 = 1.0e-12;
/// Bounds of the binary logarithm of a deviation in spreads.
const LOG_RANGE: (f64, f64) = (-2.0, 9.9);
/// More decades than this are all the same: nothing that was seen can support them.
const SURPRISE_MAX: f32 = 12.0;
/// A magnitude of 2.5 spreads is taken for 1.7 decades, and each doubling for another 0.87: what a tail says of much ordinary noise.
const MAGNITUDE_AT: f32 = 1.3;
const MAGNITUDE_BASE: f32 = 1.7;
const MAGNITUDE_EXCESS: f32 = 0.5;

const SHAPE: Shape = Shape {
    scale: Scale::Log2,
    low: -2.0,
    width: 0.25,
    bins: 48,
    share: 0.02,
    prior_excess: 0.4,
    prior_weight: 10.0,
    memory: TAIL_MEMORY,
    learn_up_to: 3.0,
    excess_min: 0.1,
};

/// Ways in which a value can be out of the ordinary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Far from the long-run level, with its daily or weekly habit.
    Level,
    /// Far from the last few values, apart from what habit explains.
    Jump,
    /// The last few values move much more, or much less, than usual: noise, or a flat line.
    Texture,
    /// Not far from its level, but for long on one side.
    Lasting,
    /// Far from the mean of all values, in their standard deviation.
    Spread,
}

impl Way {
    /// Every way, in the order of what [`Metric::observe`] returns.
    pub(super) const ALL: [Way; WAYS] = [
        Way::Level,
        Way::Jump,
        Way::Texture,
        Way::Lasting,
        Way::Spread,
    ];
}

pub(super) const WAYS: usize = 5;

/// How surprising a value is in one way, in decades of rareness.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Surprise {
    /// By this metric's own tail: the same for all metrics, but blunt where incidents are frequent.
    pub(super) own: f32,
    /// By its size in spreads alone: the same whatever happened before.
    pub(super) size: f32,
}

impl Surprise {
    /// `weight` of the size and the rest of the own tail.
    pub(super) fn blend(self, weight: f32) -> f32 {
        ((1.0 - weight) * self.own + weight * self.size).min(SURPRISE_MAX)
    }
}

/// Tails of deviations up and down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sides {
    up: Tail,
    down: Tail,
}

impl Sides {
    fn new() -> Self {
        Sides {
            up: Tail::new(&SHAPE),
            down: Tail::new(&SHAPE),
        }
    }

    /// Judges a deviation in spreads, then learns it.
    fn observe(&mut self, deviation: f64) -> Surprise {
        let (low, high) = LOG_RANGE;
        let size = deviation.abs().max(TINY).log2().clamp(low, high) as f32;
        let (this, other) = if deviation >= 0.0 {
            (&mut self.up, &mut self.down)
        } else {
            (&mut self.down, &mut self.up)
        };
        let own = this.surprise(&SHAPE, size);
        this.learn(&SHAPE, size);
        other.learn_other(&SHAPE);
        Surprise {
            own,
            size: by_size(size),
        }
    }
}

fn by_size(log2: f32) -> f32 {
    if log2 <= MAGNITUDE_AT {
        MAGNITUDE_BASE * (log2 - MAGNITUDE_AT).exp2()
    } else {
        MAGNITUDE_BASE + (log2 - MAGNITUDE_AT) / (MAGNITUDE_EXCESS * std::f32::consts::LN_10)
    }
}

/// What is known of one metric. Its size does not grow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Metric {
    seen: f64,
    first_seconds: i64,
    last: f64,
    level: f64,
    spread: f64,
    magnitude: f64,
    high: f64,
    low: f64,
    recent: f64,
    recent_spread: f64,
    rough: f64,
    usual_rough: f64,
    lasting: f64,
    mean: f64,
    variance: f64,
    highest: f64,
    lowest: f64,
    season: Season,
    sides: [Sides; WAYS],
}

/// Deviations of a value from what was usual before it.
struct Deviations {
    /// From level and habit, from the mean of the last such residuals and from the last value, in the metric's unit.
    residual: f64,
    jump: f64,
    step: f64,
    /// The least effect, in the metric's unit.
    play: f64,
    rough: f64,
    lasting: f64,
    /// In spreads, in the order of [`Way::ALL`].
    by_way: [f64; WAYS],
}

impl Metric {
    /// A metric whose first value this is.
    pub(super) fn new(value: f64, unix_seconds: i64) -> Self {
        Metric {
            seen: 1.0,
            first_seconds: unix_seconds,
            last: value,
            level: value,
            spread: 0.0,
            magnitude: value.abs(),
            high: value,
            low: value,
            recent: 0.0,
            recent_spread: 0.0,
            rough: 0.0,
            usual_rough: 0.0,
            lasting: 0.0,
            mean: value,
            variance: 0.0,
            highest: value,
            lowest: value,
            season: Season::new(),
            sides: std::array::from_fn(|_| Sides::new()),
        }
    }

    /// Judges a value by what came before it, then learns it.
    pub(super) fn observe(
        &mut self,
        value: f64,
        unix_seconds: i64,
        step_seconds: f64,
    ) -> [Surprise; WAYS] {
        let at = Moment {
            unix_seconds,
            step_seconds,
            days: unix_seconds.saturating_sub(self.first_seconds) as f64 / 86_400.0,
        };
        let deviations = self.deviations(value, at);
        let mut surprises = [Surprise::default(); WAYS];
        if self.seen >= FIRST_VALUES {
            for (way, sides) in self.sides.iter_mut().enumerate() {
                surprises[way] = sides.observe(deviations.by_way[way]);
            }
        }
        self.learn(value, at, &deviations);
        surprises
    }

    /// What the level and the habit let expect at a moment.
    pub(super) fn expected(&self, unix_seconds: i64, step_seconds: f64) -> f64 {
        let at = Moment {
            unix_seconds,
            step_seconds,
            days: unix_seconds.saturating_sub(self.first_seconds) as f64 / 86_400.0,
        };
        self.level + self.season.expected(at)
    }

    /// Bytes of memory, those behind pointers too.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let tails = self
            .sides
            .iter()
            .map(|sides| sides.up.heap_bytes() + sides.down.heap_bytes());
        size_of::<Self>() + tails.sum::<usize>() + self.season.heap_bytes()
    }

    fn deviations(&self, value: f64, at: Moment) -> Deviations {
        let play = self.play();
        let residual = value - self.level - self.season.expected(at);
        let jump = residual - self.recent;
        let step = (value - self.last).abs();
        let in_spreads = residual / (self.spread + play);
        let step_seen = step.min(4.0 * (3.0 * self.usual_rough + play));
        let rough = self.rough + ROUGH_GAIN * (step_seen - self.rough);
        let lasting = self.lasting
            + LASTING_GAIN * (in_spreads.clamp(-LASTING_CUT, LASTING_CUT) - self.lasting);
        let plain = value - self.mean;
        let whole = PLAY_OF_WHOLE_RANGE * (self.highest - self.lowest);
        Deviations {
            residual,
            jump,
            step,
            play,
            rough,
            lasting,
            by_way: [
                in_spreads,
                jump / (self.recent_spread + play),
                texture(rough, self.usual_rough, 0.2 * play),
                2.0 * lasting,
                plain / (self.variance.max(0.0).sqrt() + whole + TINY),
            ],
        }
    }

    fn play(&self) -> f64 {
        PLAY_OF_MAGNITUDE * self.magnitude + PLAY_OF_RANGE * (self.high - self.low) + TINY
    }

    fn learn(&mut self, value: f64, at: Moment, deviations: &Deviations) {
        let gain = (1.0 / (self.seen + 1.0)).max(1.0 / MEMORY);
        let play = deviations.play;
        self.learn_plainly(value);
        let deviation = value - self.level;
        let residual = self.cut(deviations.residual, LEARN_SPREADS * (self.spread + play));
        let jump = self.cut(deviations.jump, LEARN_SPREADS * (self.recent_spread + play));
        let size = self.cut(value.abs(), 3.0 * self.magnitude + play);
        let step = self.cut(deviations.step, 3.0 * self.usual_rough + play);
        self.season.learn(at, deviation, play, gain);
        self.learn_range(value);
        self.seen += 1.0;
        self.level += gain * residual;
        self.spread += gain * (residual.abs() - self.spread);
        self.magnitude += gain * (size - self.magnitude);
        self.recent_spread += gain * (jump.abs() - self.recent_spread);
        self.recent += RECENT_GAIN.max(1.0 / self.seen) * deviations.jump;
        self.usual_rough += gain * (step - self.usual_rough);
        self.rough = deviations.rough;
        self.lasting = deviations.lasting;
        self.last = value;
    }

    /// A young metric learns everything as it is: it has no spread yet to call something an outlier by.
    fn cut(&self, deviation: f64, most: f64) -> f64 {
        if self.seen < YOUNG {
            deviation
        } else {
            deviation.clamp(-most, most)
        }
    }

    /// Mean and variance of all values alike.
    fn learn_plainly(&mut self, value: f64) {
        let gain = 1.0 / (self.seen + 1.0);
        let deviation = value - self.mean;
        self.mean += gain * deviation;
        self.variance += gain * (deviation * deviation * (1.0 - gain) - self.variance);
        self.highest = self.highest.max(value);
        self.lowest = self.lowest.min(value);
    }

    /// The usual range: widened in a few steps, shrunk over the long run.
    fn learn_range(&mut self, value: f64) {
        let widen = if self.seen < YOUNG { 1.0 } else { 0.1 };
        let toward = |edge: f64, is_beyond| {
            if is_beyond {
                edge + widen * (value - edge)
            } else {
                edge + (self.level - edge) / MEMORY
            }
        };
        let (high, low) = (self.high, self.low);
        let high_next = toward(high, value > high);
        self.low = toward(low, value < low);
        self.high = high_next;
    }
}

/// How much rougher or smoother than usual, as a signed magnitude: doubled roughness is 2, a quarter is -8.
fn texture(rough: f64, usual: f64, play: f64) -> f64 {
    let log2 = 2.0 * ((rough + play) / (usual + play)).log2();
    if log2 >= 0.0 {
        0.5 * log2.exp2()
    } else {
        -0.5 * (-log2).exp2()
    }
}
