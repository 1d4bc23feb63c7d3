//! One subject: all metrics of a row together.

use serde::{Deserialize, Serialize};
use units::Timestamp;

use super::alarm::{Alarm, Alert};
use super::metric::{Metric, Surprise, WAYS, Way};
use super::settings::SeriesSettings;
use super::tail::{Scale, Shape, Tail};
use super::view::{self, Mix, Pool, View};

/// Metrics a verdict names at most.
const NAMED_MAX: usize = 3;
/// Rows before evidence is compared with its own history.
const FIRST_ROWS: u64 = 20;
/// The usual step follows what is seen at this gain, and gaps count as so many steps at most.
const STEP_GAIN: f64 = 0.05;
const GAP_STEPS_MAX: f64 = 4.0;
/// Share of its own history in the evidence; the rest is the figure itself, so that a quiet subject's trifles stay trifles.
const HISTORY_SHARE: f32 = 0.75;
/// Decades at which the score is 0.9; twice as many are 0.99.
const SCORE_DECADES: f32 = 4.0;

/// What a spike is seen by.
const SWIFT: [View; 2] = [
    view(Mix::Farthest, 0.5, Pool::Square),
    view(Mix::Only(Way::Spread), 0.5, Pool::Top),
];
/// What lasts is seen by.
const STEADY: [View; 3] = [
    view(Mix::Value, 0.5, Pool::Top),
    view(Mix::Farthest, 1.0, Pool::Top),
    view(Mix::Farthest, 1.0, Pool::Square),
];
/// What the score is made of: ways that rank all rows of a subject well, alert or not.
const RANKING: [View; 2] = [
    view(Mix::Both, 0.0, Pool::Top),
    view(Mix::Farthest, 1.0, Pool::Top),
];
/// By what the metrics to blame are ranked.
const BLAME: View = view(Mix::Both, 0.5, Pool::Top);

const SHAPE: Shape = Shape {
    scale: Scale::Linear,
    low: 0.0,
    width: 0.05,
    bins: 200,
    share: 0.05,
    prior_excess: 0.45,
    prior_weight: 40.0,
    memory: f32::INFINITY,
    learn_up_to: 2.5,
    excess_min: 0.02,
};

const fn view(mix: Mix, size: f32, pool: Pool) -> View {
    View { mix, size, pool }
}

/// What the detector says of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// 0 (as ever) to 1: one minus a tenth to the power of a quarter of the decades of rareness, so 0.9 is four decades.
    pub score: f32,
    /// What the detector decides.
    pub alert: Alert,
    /// The metrics that weigh most, the first most; fewer where fewer have a value.
    pub blame: [Option<Contribution>; NAMED_MAX],
}

impl Verdict {
    /// Whether this row is to be told to somebody.
    pub fn is_alert(&self) -> bool {
        self.alert.is_told()
    }
}

/// What one metric adds to a verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution {
    /// Position of the metric in the row.
    pub metric: usize,
    /// The value seen and the one that was expected, in the metric's unit.
    pub value: f64,
    /// The value expected from level and habit.
    pub expected: f64,
    /// In which way it is most out of the ordinary.
    pub way: Way,
    /// Decades of rareness.
    pub surprise: f32,
}

/// Evidence of one kind with its own history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Evidence {
    mean: f32,
    tail: Tail,
}

impl Evidence {
    fn new() -> Self {
        Evidence {
            mean: 0.0,
            tail: Tail::new(&SHAPE),
        }
    }

    /// The figure smoothed at `gain` and weighed with how rare it has been, in decades.
    fn observe(&mut self, figure: f32, gain: f32, rows: u64) -> f32 {
        self.mean += gain * (figure - self.mean);
        let rare = if rows > FIRST_ROWS {
            self.tail.surprise(&SHAPE, self.mean)
        } else {
            0.0
        };
        self.tail.learn(&SHAPE, self.mean);
        (1.0 - HISTORY_SHARE) * self.mean + HISTORY_SHARE * rare
    }
}

/// The detector for one subject's series. Deterministic; its state does not grow and can be written and read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesDetector {
    settings: SeriesSettings,
    metrics: Vec<Option<Metric>>,
    rows: u64,
    last_seconds: i64,
    step_seconds: f64,
    swift: Evidence,
    steady: Evidence,
    alarm: Alarm,
    #[serde(skip)]
    room: Room,
}

/// Room for one row, kept between rows; it carries nothing over.
#[derive(Debug, Clone, Default)]
struct Room {
    surprises: Vec<[Surprise; WAYS]>,
    figures: Vec<f32>,
}

impl PartialEq for Room {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl SeriesDetector {
    /// A detector that has seen nothing.
    pub fn new(settings: SeriesSettings) -> Self {
        SeriesDetector {
            settings,
            metrics: Vec::new(),
            rows: 0,
            last_seconds: 0,
            step_seconds: 1.0,
            swift: Evidence::new(),
            steady: Evidence::new(),
            alarm: Alarm::new(),
            room: Room::default(),
        }
    }

    /// Judges a row by those before it, then learns it. The number of metrics is that of the widest row so far; what a row does
    /// not have, or has as infinite or not a number, is missing. Time that stands still or steps back counts as one second on.
    pub fn observe(&mut self, at: Timestamp, values: &[Option<f64>]) -> Verdict {
        let seconds = at.as_millis().div_euclid(1_000);
        self.follow_step(seconds);
        self.judge_metrics(seconds, values);
        let room = &mut self.room.figures;
        let surprises = &self.room.surprises;
        let swift = view::mean(&SWIFT, surprises, room);
        let steady = view::mean(&STEADY, surprises, room);
        let ranking = view::mean(&RANKING, surprises, room);
        let swift = self.swift.observe(swift, 1.0, self.rows);
        let gain = self.settings.steady_gain;
        let steady = self.steady.observe(steady, gain, self.rows);
        let evidence = steady.max(self.settings.swift_weight * swift);
        let alert = if self.rows > u64::from(self.settings.warm_up_rows) {
            self.alarm
                .observe(&self.settings.alarm, evidence, self.step_seconds)
        } else {
            Alert::Calm
        };
        Verdict {
            score: (1.0 - 10_f32.powf(-ranking.max(0.0) / SCORE_DECADES)).clamp(0.0, 1.0),
            alert,
            blame: self.blame(values),
        }
    }

    /// Bytes that each metric takes.
    #[cfg(test)]
    pub(super) fn metric_bytes(&self) -> usize {
        self.metrics
            .iter()
            .flatten()
            .map(Metric::bytes)
            .max()
            .unwrap_or(0)
    }

    fn follow_step(&mut self, seconds: i64) {
        let step = seconds.saturating_sub(self.last_seconds).max(1) as f64;
        match self.rows {
            0 => {}
            1 => self.step_seconds = step,
            _ => {
                let seen = step.min(GAP_STEPS_MAX * self.step_seconds);
                self.step_seconds += STEP_GAIN * (seen - self.step_seconds);
            }
        }
        self.last_seconds = seconds;
        self.rows += 1;
    }

    fn judge_metrics(&mut self, seconds: i64, values: &[Option<f64>]) {
        if values.len() > self.metrics.len() {
            self.metrics.resize_with(values.len(), || None);
        }
        self.room.surprises.clear();
        for (position, metric) in self.metrics.iter_mut().enumerate() {
            let surprise = match (present(values, position), metric) {
                (None, _) => [Surprise::default(); WAYS],
                (Some(value), Some(metric)) => metric.observe(value, seconds, self.step_seconds),
                (Some(value), metric) => {
                    *metric = Some(Metric::new(value, seconds));
                    [Surprise::default(); WAYS]
                }
            };
            self.room.surprises.push(surprise);
        }
    }

    fn blame(&self, values: &[Option<f64>]) -> [Option<Contribution>; NAMED_MAX] {
        let mut most: [Option<(usize, f32)>; NAMED_MAX] = [None; NAMED_MAX];
        for (position, ways) in self.room.surprises.iter().enumerate() {
            if present(values, position).is_none() {
                continue;
            }
            let mut this = Some((position, BLAME.of_metric(ways)));
            for place in &mut most {
                let outweighs = match (&this, &place) {
                    (Some(one), Some(other)) => one.1 > other.1,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if outweighs {
                    std::mem::swap(&mut this, place);
                }
            }
        }
        most.map(|one| one.and_then(|(position, surprise)| self.name(position, surprise, values)))
    }

    fn name(&self, metric: usize, surprise: f32, values: &[Option<f64>]) -> Option<Contribution> {
        let ways = self.room.surprises.get(metric)?;
        let of = |way: Way| ways[way as usize].blend(BLAME.size);
        let way = Way::ALL
            .into_iter()
            .max_by(|&a, &b| of(a).total_cmp(&of(b)))?;
        let known = self.metrics.get(metric)?.as_ref()?;
        Some(Contribution {
            metric,
            value: present(values, metric)?,
            expected: known.expected(self.last_seconds, self.step_seconds),
            way,
            surprise,
        })
    }
}

fn present(values: &[Option<f64>], position: usize) -> Option<f64> {
    values
        .get(position)
        .copied()
        .flatten()
        .filter(|value| value.is_finite())
}
