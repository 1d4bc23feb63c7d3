//! Which updates people ordered, and what their services ran before. Pure.

use std::collections::BTreeMap;

use units::{
    ContainerName, ContainerRecord, Image, ImageChange, Mode, OutcomeResult, PlanEntry, ServiceId,
    Update, UpdateId,
};

/// Orders kept; the earliest go first. Those of the last days are what somebody asks for.
const KEPT_MAX: usize = 1_000;

/// What was ordered.
#[derive(Debug, Default)]
pub(crate) struct Orders(BTreeMap<UpdateId, Update>);

/// What a service ran before an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Before {
    /// The image.
    pub(crate) image: Image,
    /// The update that replaced it.
    pub(crate) update: Update,
}

/// A container as an order looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replica<'a> {
    pub(crate) name: &'a ContainerName,
    pub(crate) mode: Mode,
    /// Whether its label lets it be updated.
    pub(crate) update: bool,
    /// The id of the image it runs; absent where the node does not say.
    pub(crate) image: Option<&'a str>,
}

impl<'a> Replica<'a> {
    pub(crate) fn of(container: &'a ContainerRecord) -> Self {
        let spec = container.spec.as_ref();
        Replica {
            name: &container.name,
            mode: container.policy.mode,
            update: container.policy.update,
            image: spec.map(|spec| spec.image_digest.as_str()),
        }
    }
}

impl Orders {
    /// Takes a record.
    pub(crate) fn take(&mut self, update: Update) {
        self.0.insert(update.id.clone(), update);
        if self.0.len() > KEPT_MAX {
            let earliest = self.0.values().min_by_key(|update| update.at);
            if let Some(id) = earliest.map(|update| update.id.clone()) {
                self.0.remove(&id);
            }
        }
    }

    /// Every order, newest first.
    pub(crate) fn all(&self) -> Vec<&Update> {
        let mut all: Vec<&Update> = self.0.values().collect();
        all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));
        all
    }

    /// The newest order of a service, which is the one that counts.
    pub(crate) fn newest(&self, service: &ServiceId) -> Option<&Update> {
        let of_service = self.0.values().filter(|it| it.service == *service);
        of_service.max_by_key(|update| (update.at, &update.id))
    }

    /// What the service ran before the newest order that changed something: the image that the first step of it replaced.
    pub(crate) fn before_last<'a>(
        &self,
        service: &ServiceId,
        plans: impl Iterator<Item = &'a PlanEntry>,
    ) -> Option<Before> {
        let changed = plans.filter_map(|entry| {
            let update = entry.plan.update.as_ref()?;
            let change = first_change(entry)?;
            (update.service == *service).then_some((update, entry, change))
        });
        // The newest order, and of its plans the first: later ones may take it back.
        let newest = changed.max_by_key(|(update, entry, _)| {
            let earliest_first = std::cmp::Reverse((entry.plan.created_at, &entry.plan.id));
            (update.at, &update.id, earliest_first)
        });
        newest.map(|(update, _, change)| Before {
            image: change.from.clone(),
            update: update.clone(),
        })
    }
}

/// The change of image of a plan of which a step was done.
fn first_change(entry: &PlanEntry) -> Option<&ImageChange> {
    let is_done = |result: &OutcomeResult| match result {
        OutcomeResult::Succeeded { .. } => true,
        OutcomeResult::Refused { .. }
        | OutcomeResult::Failed { .. }
        | OutcomeResult::Vanished
        | OutcomeResult::Interrupted => false,
    };
    if !entry.outcomes.iter().any(|it| is_done(&it.result)) {
        return None;
    }
    entry
        .plan
        .steps
        .iter()
        .find_map(|step| step.action.image_change())
}
