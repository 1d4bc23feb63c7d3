//! One subject: all metrics of a row together.

use serde::{Deserialize, Serialize};
use units::Timestamp;

use super::alarm::{Alarm, Alert};
use super::evidence::Evidence;
use super::metric::{Metric, Surprise, WAYS, Way};
use super::ranking::Ranking;
use super::settings::SeriesSettings;
use super::view::{Mix, Pool, View};

/// Metrics a verdict names at most.
const NAMED_MAX: usize = 3;
/// The usual step follows what is seen at this gain, and gaps count as so many steps at most.
const STEP_GAIN: f64 = 0.05;
const GAP_STEPS_MAX: f64 = 4.0;
/// By what the metrics to blame are ranked.
const BLAME: View = View::of(Mix::Both, 0.5, Pool::Top(1));

/// What the detector says of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// 0 (as ever) to 1: one minus a tenth to the power of a quarter of the decades of rareness, so 0.9 is four decades, as a mean
    /// over several views of which some look at the last few rows.
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

/// The detector for one subject's series. Deterministic; its state does not grow and can be written and read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesDetector {
    settings: SeriesSettings,
    metrics: Vec<Option<Metric>>,
    rows: u64,
    last_seconds: i64,
    step_seconds: f64,
    evidence: Evidence,
    ranking: Ranking,
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
            evidence: Evidence::new(),
            ranking: Ranking::default(),
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
        let score = self.ranking.observe(surprises, room);
        let history_share = self.settings.history_share;
        let evidence = self
            .evidence
            .observe(surprises, self.rows, history_share, room);
        let alert = if self.rows > u64::from(self.settings.warm_up_rows) {
            self.alarm.observe(&self.settings.alarm, evidence)
        } else {
            Alert::Calm
        };
        Verdict {
            score,
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
