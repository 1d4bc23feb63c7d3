//! The checks of plans that take a container out of its networks, or put it back.

use units::{Action, Attachment, ContainerRecord, OutcomeResult, Plan, PlanEntry};

use crate::auditor::Auditor;
use crate::violation::Violation;

/// Another replica serves, and the container has networks to be taken out of.
pub(crate) fn isolates(
    auditor: &Auditor,
    plan: &Plan,
    record: &ContainerRecord,
    found: &mut Vec<Violation>,
) {
    let mut others = auditor.replicas(&plan.service);
    if !others.any(|other| other.id != record.id && other.is_serving()) {
        found.push(Violation::Alone {
            container: record.name.clone(),
            service: plan.service.clone(),
        });
    }
    let spec = record.spec.as_deref();
    if !spec.is_some_and(|spec| spec.has_own_network() && !spec.networks.is_empty()) {
        found.push(Violation::NoNetwork {
            container: record.name.clone(),
        });
    }
}

/// It undoes the plan that took the container out of exactly these networks.
pub(crate) fn rejoins(
    auditor: &Auditor,
    plan: &Plan,
    record: &ContainerRecord,
    networks: &[Attachment],
    found: &mut Vec<Violation>,
) {
    let undone = plan.undo_of.as_ref().and_then(|id| auditor.plans.get(id));
    if !undone.is_some_and(|entry| took_out(entry, record, networks)) {
        found.push(Violation::NotItsNetworks {
            container: record.name.clone(),
        });
    }
}

fn took_out(entry: &PlanEntry, record: &ContainerRecord, networks: &[Attachment]) -> bool {
    let mut steps = entry.plan.steps.iter();
    let is_it = steps.any(|step| {
        matches!(step.action, Action::Isolate { .. }) && *step.action.target() == record.id
    });
    let mut outcomes = entry.outcomes.iter();
    let told = outcomes.any(|outcome| match &outcome.result {
        OutcomeResult::Succeeded { networks: told, .. } => told == networks,
        OutcomeResult::Refused { .. }
        | OutcomeResult::Failed { .. }
        | OutcomeResult::Vanished
        | OutcomeResult::Interrupted => false,
    });
    is_it && told && !networks.is_empty()
}
