//! Trained models at work: rows of samples, and what the models of their services say of them.
//!
//! A score follows from a model and the last six rows of a container, which are kept as they were read. So whoever goes on from a
//! checkpoint scores as whoever wrote it would have, and a new model judges from its first row on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use detect::{PatternFeature, PatternScore};
use serde::{Deserialize, Serialize};
use train::{Artefact, Averaged, Averager, Columns, Recent, Score};
use units::{ContainerId, Sample, ServiceId, Timestamp};

/// Models of one partition; of more, those that come later are left out and counted.
const MODELS_MAX: usize = 1_000;
/// After a longer silence than this what was before does not count.
const GAP_MAX: Duration = Duration::from_secs(60);

/// Rows of the containers of a partition, and the models of its services.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Patterns {
    averager: Averager,
    /// One for each container that has a sample; those that are not followed any more are forgotten with the next tick.
    before: BTreeMap<ContainerId, Before>,
    /// They are in a topic of their own, from which they are read again.
    #[serde(skip)]
    models: BTreeMap<ServiceId, InForce>,
    #[serde(skip)]
    left_out: u64,
}

/// The last rows of a container, at most [`Recent::ROWS`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Before {
    service: ServiceId,
    at: Timestamp,
    rows: VecDeque<Vec<Option<f32>>>,
}

/// A model that is scored with.
#[derive(Debug, Clone, PartialEq)]
struct InForce {
    artefact: Arc<Artefact>,
    columns: Columns,
}

/// How many models there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PatternCounts {
    /// Services with a model.
    pub(crate) models: usize,
    /// Models for which there was no room.
    pub(crate) left_out: u64,
}

impl Patterns {
    /// Takes a model, unless it was compared with nothing, or there is a newer one.
    pub(crate) fn take(&mut self, artefact: &Arc<Artefact>) {
        let content = artefact.content();
        if content.provenance.held_back.objection().is_some() {
            return;
        }
        let trained_at = |artefact: &Artefact| artefact.content().provenance.trained_at;
        match self.models.get(&content.service) {
            Some(present) if trained_at(&present.artefact) > trained_at(artefact) => return,
            None if self.models.len() >= MODELS_MAX => {
                self.left_out += 1;
                return;
            }
            Some(_) | None => {}
        }
        let in_force = InForce {
            artefact: Arc::clone(artefact),
            columns: content.model.columns(&Averager::names()),
        };
        self.models.insert(content.service.clone(), in_force);
    }

    /// The model of a service.
    pub(crate) fn model(&self, service: &ServiceId) -> Option<&Arc<Artefact>> {
        self.models.get(service).map(|model| &model.artefact)
    }

    /// Takes a sample; gives the row that it ends.
    pub(crate) fn observe(&mut self, sample: &Sample) -> Option<Averaged> {
        if !self.before.contains_key(&sample.container) {
            let before = Before {
                service: sample.service.clone(),
                at: Timestamp::EPOCH,
                rows: VecDeque::new(),
            };
            self.before.insert(sample.container.clone(), before);
        }
        self.averager.push(sample)
    }

    /// What the service's model says of a row, which then is one of those before the next.
    pub(crate) fn score(&mut self, row: &Averaged) -> Option<PatternScore> {
        let before = self.before.get_mut(&row.container)?;
        if row.at.since(before.at) > GAP_MAX {
            before.rows.clear();
        }
        before.at = row.at;
        let model = self.models.get(&row.service);
        let score = model.and_then(|model| model.score(before, &row.values));
        if before.rows.len() == Recent::ROWS {
            before.rows.pop_front();
        }
        let cell = |value: &Option<f64>| value.map(|value| value as f32);
        before.rows.push_back(row.values.iter().map(cell).collect());
        score
    }

    /// Forgets the containers of which this is not said.
    pub(crate) fn retain(&mut self, stays: impl Fn(&ServiceId, &ContainerId) -> bool) {
        self.before
            .retain(|container, before| stays(&before.service, container));
        let before = &self.before;
        self.averager
            .retain(|container| before.contains_key(container));
    }

    pub(crate) fn counts(&self) -> PatternCounts {
        PatternCounts {
            models: self.models.len(),
            left_out: self.left_out,
        }
    }
}

impl InForce {
    fn score(&self, before: &Before, row: &[Option<f64>]) -> Option<PatternScore> {
        let content = self.artefact.content();
        let rows = before.rows.iter().map(Vec::as_slice);
        let mut recent = content.model.recent(&self.columns, rows);
        let score = content.model.score(&self.columns, &mut recent, row)?;
        let rows = u32::try_from(content.provenance.rows_used).unwrap_or(u32::MAX);
        Some(PatternScore {
            decades: score.decades,
            features: features(&score),
            learned: Averager::STEP.saturating_mul(rows),
        })
    }
}

fn features(score: &Score) -> Vec<PatternFeature> {
    let feature = |weight: &train::Weight| {
        Some(PatternFeature {
            metric: Averager::metric(&weight.metric)?,
            observed: weight.observed,
            expected: weight.expected_range,
        })
    };
    score.metrics.iter().filter_map(feature).collect()
}

#[cfg(test)]
mod tests;
