//! A trained model, and what it says of a row.

use serde::{Deserialize, Serialize};
use units::Timestamp;

use crate::recent::{Features, Recent};
use crate::relations::Relations;
use crate::scale::Scale;
use crate::settings::{METRICS_MAX, WINDOWS_MAX};
use crate::shapes::Shapes;
use crate::tail::{Tail, share};

/// Metrics a score names.
const NAMED: usize = 3;
/// What is within so many standard deviations of what was to be expected is as expected.
const EXPECTED_DEVIATIONS: f64 = 3.0;
/// A row in which fewer than this share of the model's metrics is there is not judged.
const SEEN_MIN_SHARE: f64 = 0.5;

/// What is usual for a service, learned in windows of different age. Something is as unusual as the most lenient window finds it:
/// all must agree, as in Netdata's consensus of models.
///
/// It holds at most 32 metrics, 6 windows and 8 centroids in each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub(crate) metrics: Vec<ModelMetric>,
    pub(crate) members: Vec<Member>,
    /// How rare an agreement of all windows is.
    pub(crate) agreed: Tail,
}

/// A metric and its scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelMetric {
    pub(crate) name: String,
    pub(crate) scale: Scale,
}

/// What was learned in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) relations: Relations,
    pub(crate) relations_tail: Tail,
    pub(crate) shapes: Shapes,
    pub(crate) shapes_tail: Tail,
}

/// Where a model finds its metrics in rows that are laid out in some way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(Vec<Option<usize>>);

/// How unusual a row is.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// From 0 to 1: the share of ordinary rows that are less unusual, so .999 means one in a thousand.
    pub score: f64,
    /// The same in decades: 3 is one in a thousand. Beyond 6 nothing is told apart.
    pub decades: f64,
    /// The metrics that weigh most, at most three, the heaviest first.
    pub metrics: Vec<Weight>,
}

/// What one metric adds to a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Its name.
    pub metric: String,
    /// What was to be expected, given the other metrics or the state of the service, in the metric's own unit.
    pub expected: f64,
    /// The least and the most that would have been no surprise: three standard deviations to either side.
    pub expected_range: (f64, f64),
    /// What was seen: its mean over the last three rows, far values drawn in, in the metric's own unit.
    pub observed: f64,
    /// How far apart the two are, in standard deviations.
    pub deviations: f64,
}

/// Which of the two ways to be unusual weighs, and in which window.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Relations(usize),
    Shapes(usize),
}

impl Model {
    /// Names of the metrics it looks at.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.metrics.iter().map(|metric| metric.name.as_str())
    }

    /// The windows it was trained on, each from its first row to its last, the oldest first.
    pub fn windows(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.members.iter().map(|member| (member.from, member.to))
    }

    /// Where its metrics stand in rows with these columns. A metric that is not among them is missing in every row.
    pub fn columns(&self, names: &[String]) -> Columns {
        let place = |metric: &ModelMetric| names.iter().position(|name| *name == metric.name);
        Columns(self.metrics.iter().map(place).collect())
    }

    /// What the next row of a container comes after: its rows so far, the oldest first, of which the last [`Recent::ROWS`] matter.
    /// What it was scored after before, by this model, is the same.
    pub fn recent<'a>(
        &self,
        columns: &Columns,
        rows: impl IntoIterator<Item = &'a [Option<f32>]>,
    ) -> Recent {
        let mut recent = Recent::new();
        for row in rows {
            let value =
                |column: &Option<usize>| column.and_then(|at| row.get(at).copied().flatten());
            let values: Vec<f32> = columns
                .0
                .iter()
                .map(|column| value(column).unwrap_or(f32::NAN))
                .collect();
            self.advance(&mut recent, &values);
        }
        recent
    }

    /// How unusual a row of a container is, after those `recent` holds, to which it is added; none when fewer than half of the
    /// metrics are there.
    pub fn score(
        &self,
        columns: &Columns,
        recent: &mut Recent,
        values: &[Option<f64>],
    ) -> Option<Score> {
        let value =
            |column: &Option<usize>| column.and_then(|at| values.get(at).copied().flatten());
        let row: Vec<f32> = columns
            .0
            .iter()
            .map(|column| value(column).map_or(f32::NAN, |value| value as f32))
            .collect();
        let features = self.advance(recent, &row);
        let (agreed, way) = self.agreement(&features)?;
        let decades = self.agreed.decades(agreed);
        Some(Score {
            score: 1.0 - share(decades),
            decades,
            metrics: self.weigh(&features, way),
        })
    }

    /// The features at a row, whose values stand in the model's own order.
    pub(crate) fn advance(&self, recent: &mut Recent, row: &[f32]) -> Features {
        let scaled = self
            .metrics
            .iter()
            .zip(row)
            .map(|(metric, value)| metric.scale.to(f64::from(*value)) as f32);
        recent.push(scaled.collect())
    }

    /// How rare a row is, in decades, without saying why; none as in [`Model::score`].
    pub(crate) fn decades(&self, recent: &mut Recent, row: &[f32]) -> Option<f64> {
        let features = self.advance(recent, row);
        let (agreed, _) = self.agreement(&features)?;
        Some(self.agreed.decades(agreed))
    }

    /// Decades on which all windows agree, not yet calibrated as a whole.
    pub(crate) fn agreed(members: &[Member], features: &Features) -> f64 {
        let [relations, shapes] = Self::lenient(members, features);
        relations.0.max(shapes.0)
    }

    fn agreement(&self, features: &Features) -> Option<(f64, Way)> {
        let seen = features
            .level
            .iter()
            .filter(|value| value.is_finite())
            .count();
        if (seen as f64) < SEEN_MIN_SHARE * self.metrics.len() as f64 {
            return None;
        }
        let [relations, shapes] = Self::lenient(&self.members, features);
        Some(match relations.0 >= shapes.0 {
            true => (relations.0, Way::Relations(relations.1)),
            false => (shapes.0, Way::Shapes(shapes.1)),
        })
    }

    /// For both ways the decades of the most lenient window, and which that is.
    fn lenient(members: &[Member], features: &Features) -> [(f64, usize); 2] {
        let mut least = [(f64::INFINITY, 0); 2];
        for (at, member) in members.iter().enumerate() {
            let found = [
                member.relations_decades(features),
                member.shapes_decades(features),
            ];
            for (least, decades) in least.iter_mut().zip(found) {
                if decades < least.0 {
                    *least = (decades, at);
                }
            }
        }
        least
    }

    fn weigh(&self, features: &Features, way: Way) -> Vec<Weight> {
        let explained = match way {
            Way::Relations(at) => self.members[at].relations.explain(&features.level),
            Way::Shapes(at) => self.members[at].shapes.explain(features),
        };
        let mut weights: Vec<Weight> = self
            .metrics
            .iter()
            .zip(explained)
            .zip(&features.level)
            .filter(|(_, level)| level.is_finite())
            .map(|((metric, (expected, deviations)), level)| {
                let deviation = match deviations > 0.0 {
                    true => (level - expected).abs() / deviations,
                    false => 0.0,
                };
                let bound = |side: f64| {
                    let bound = expected + side * EXPECTED_DEVIATIONS * deviation;
                    metric.scale.from(bound)
                };
                Weight {
                    metric: metric.name.clone(),
                    expected: metric.scale.from(expected),
                    expected_range: (bound(-1.0), bound(1.0)),
                    observed: metric.scale.from(*level),
                    deviations,
                }
            })
            .collect();
        weights.sort_by(|a, b| b.deviations.total_cmp(&a.deviations));
        weights.truncate(NAMED);
        weights
    }

    /// Why its parts do not fit together, if they do not.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let width = self.metrics.len();
        if !(1..=METRICS_MAX).contains(&width) {
            return Some("it has no metric or too many");
        }
        if !(1..=WINDOWS_MAX).contains(&self.members.len()) {
            return Some("it has no window or too many");
        }
        if !self.metrics.iter().all(|metric| metric.scale.is_valid()) {
            return Some("a metric has no scale");
        }
        let whole = |member: &Member| {
            member.relations.is_valid(width)
                && member.relations_tail.is_valid()
                && member.shapes.is_valid(width)
                && member.shapes_tail.is_valid()
        };
        if !self.members.iter().all(whole) || !self.agreed.is_valid() {
            return Some("a window's numbers do not fit its metrics");
        }
        None
    }
}

impl Columns {
    /// The model's metrics of a row, not-a-number where they are missing.
    pub(crate) fn pick(&self, row: &[f32]) -> Vec<f32> {
        let value = |column: &Option<usize>| column.map_or(f32::NAN, |at| row[at]);
        self.0.iter().map(value).collect()
    }
}

impl Member {
    fn relations_decades(&self, features: &Features) -> f64 {
        self.relations_tail
            .decades(self.relations.distance(&features.level).ln_1p())
    }

    fn shapes_decades(&self, features: &Features) -> f64 {
        self.shapes_tail
            .decades(self.shapes.distance(features).ln_1p())
    }
}
