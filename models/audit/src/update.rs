//! The checks of plans that follow from a person's order of an update.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{
    Action, ActionKind, ContainerRecord, ContainerState, OutcomeResult, Plan, PlanEntry, ServiceId,
    Timestamp, Update,
};

use crate::auditor::Auditor;
use crate::relocation::SUCCESSORS_MAX;
use crate::violation::Violation;

/// Orders and their plans are remembered this long: what was not finished within [`Update::VALID`] is then taken back.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(Update::VALID.as_secs() + 3_600);
/// While an order is carried out there may be one more than the label allows.
const SURGE_MAX: u32 = 1;

/// The newest order of each service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders(BTreeMap<ServiceId, Update>);

impl Orders {
    pub(crate) fn observe(&mut self, order: &Update) {
        let known = self.0.get(&order.service);
        if known.is_none_or(|known| (order.at, &order.id) > (known.at, &known.id)) {
            self.0.insert(order.service.clone(), order.clone());
        }
    }

    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, order| order.at + REMEMBERED >= now);
    }
}

impl Auditor {
    /// The newest order that the journal told of the plan's service is the one it names.
    pub(crate) fn is_ordered(&self, plan: &Plan) -> bool {
        let order = plan.update.as_ref();
        order.is_some_and(|order| self.orders.0.get(&plan.service) == Some(order))
    }

    /// The most replicas there may be with this plan, where the label allows `max`.
    pub(crate) fn most(&self, plan: &Plan, max: u32) -> u32 {
        match (self.is_ordered(plan), &plan.relocation) {
            (true, _) => max.saturating_add(SURGE_MAX),
            (false, Some(_)) => max.saturating_add(SUCCESSORS_MAX),
            (false, None) => max,
        }
    }

    /// Plans of orders of this service.
    fn updates<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a PlanEntry> {
        self.plans.values().filter(|entry| {
            entry.plan.update.is_some()
                && entry.plan.service == plan.service
                && entry.plan.id != plan.id
        })
    }

    /// The id that the order's image was found to have.
    fn is_pulled(&self, plan: &Plan, id: &str) -> bool {
        let own = self
            .updates(plan)
            .filter(|it| it.plan.update == plan.update);
        let mut outcomes = own.flat_map(|entry| &entry.outcomes);
        outcomes.any(|outcome| match &outcome.result {
            OutcomeResult::Succeeded { image, .. } => {
                image.as_ref().is_some_and(|image| image.id == id)
            }
            OutcomeResult::Refused { .. }
            | OutcomeResult::Failed { .. }
            | OutcomeResult::Vanished
            | OutcomeResult::Interrupted => false,
        })
    }

    /// It was run before an order put another in its place.
    fn is_before(&self, plan: &Plan, id: &str) -> bool {
        let steps = self.updates(plan).flat_map(|entry| &entry.plan.steps);
        let mut changes = steps.filter_map(|step| step.action.image_change());
        changes.any(|change| change.from.id == id)
    }

    /// It was made beside the others by an order.
    fn is_surge(&self, plan: &Plan, record: &ContainerRecord) -> bool {
        let mut made = self
            .updates(plan)
            .filter(|entry| entry.plan.kind == ActionKind::CreateReplica);
        made.any(|entry| Some(&entry.plan.id) == record.made_by.as_ref())
    }
}

/// The plan follows from an order that was heard.
pub(crate) fn ordered(auditor: &Auditor, plan: &Plan, found: &mut Vec<Violation>) {
    if let Some(order) = &plan.update
        && !auditor.is_ordered(plan)
    {
        found.push(Violation::NotOrdered {
            service: plan.service.clone(),
            update: order.id.clone(),
        });
    }
}

/// A step of an order does nothing but what an update is made of.
pub(crate) fn step(
    auditor: &Auditor,
    plan: &Plan,
    action: &Action,
    record: &ContainerRecord,
    found: &mut Vec<Violation>,
) {
    let is_part = match action {
        Action::PullImage { .. } => true,
        Action::CreateReplica { image, .. } | Action::Recreate { image, .. } => image.is_some(),
        Action::RemoveReplica { .. } => auditor.is_surge(plan, record),
        Action::Restart { .. }
        | Action::UpdateLimits { .. }
        | Action::Stop { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => false,
    };
    if !is_part {
        found.push(Violation::NoPartOfUpdate {
            container: record.name.clone(),
            kind: action.kind(),
        });
    }
    let Some(change) = action.image_change() else {
        return;
    };
    let to = change.to.id.as_str();
    let is_due = match plan.undo_of {
        Some(_) => auditor.is_before(plan, to),
        None => auditor.is_pulled(plan, to),
    };
    if !is_due {
        found.push(Violation::NotItsImage {
            container: record.name.clone(),
            image: change.to.to_string(),
        });
    }
    if matches!(action, Action::Recreate { .. }) && plan.undo_of.is_none() {
        promised(auditor, plan, record, found);
    }
}

/// While it is replaced, enough others serve; one alone that promises no more than itself may have its gap.
fn promised(auditor: &Auditor, plan: &Plan, record: &ContainerRecord, found: &mut Vec<Violation>) {
    let others: Vec<&ContainerRecord> = auditor
        .replicas(&plan.service)
        .filter(|other| other.id != record.id)
        .collect();
    let serving = others.iter().filter(|it| it.is_serving()).count();
    let serving = u32::try_from(serving).unwrap_or(u32::MAX);
    let min = record.policy.scale.as_ref().map_or(0, |scale| scale.min);
    let is_alone = others.is_empty() && min <= 1;
    if record.is_serving() && serving < min && !is_alone {
        found.push(Violation::BelowFloor {
            service: plan.service.clone(),
            serving,
            min,
        });
    }
}

/// A container that ended is given the image before all the same; nothing else is.
pub(crate) fn is_taken_back(plan: &Plan, record: &ContainerRecord) -> bool {
    let is_back = plan.update.is_some() && plan.undo_of.is_some();
    is_back
        && match record.state {
            ContainerState::Exited | ContainerState::Dead | ContainerState::Created => true,
            ContainerState::Running | ContainerState::Restarting | ContainerState::Paused => false,
        }
}
