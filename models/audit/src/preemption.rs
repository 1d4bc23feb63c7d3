//! The checks of removals that make room for a more important service.

use units::{ActionKind, Mode, Plan, Preemption};

use crate::auditor::Auditor;
use crate::violation::Violation;

/// What goes for another service names it, is strictly less important by what both label now, and leaves what it promises; that it opted in
/// is checked as of every removal, and no approval stands for it.
pub(crate) fn check(auditor: &Auditor, plan: &Plan, found: &mut Vec<Violation>) {
    let Some(preemption) = &plan.preemption else {
        return;
    };
    let is_plain = plan.kind == ActionKind::RemoveReplica
        && plan.steps.len() == 1
        && plan.update.is_none()
        && plan.relocation.is_none()
        && plan.undo_of.is_none()
        && plan.approval.is_none();
    if !is_plain {
        found.push(Violation::NotOneRemoval {
            service: plan.service.clone(),
        });
    }
    if !is_known(auditor, preemption) {
        found.push(Violation::NoBeneficiary {
            service: preemption.service.clone(),
        });
    }
    let priorities = |service| {
        let all = auditor.replicas(service);
        all.map(|it| it.policy.priority)
    };
    let gives = priorities(&plan.service).max().unwrap_or(preemption.over);
    let gets = priorities(&preemption.service).min().unwrap_or(0);
    if gives.max(preemption.over) >= gets.min(preemption.priority) {
        found.push(Violation::NotLessImportant {
            service: plan.service.clone(),
            priority: gives.max(preemption.over),
            than: preemption.service.clone(),
            of: gets.min(preemption.priority),
        });
    }
    floor(auditor, plan, found);
}

/// Something of it runs, or will, and is acted on; where one container is to move, that one may.
fn is_known(auditor: &Auditor, preemption: &Preemption) -> bool {
    let acts = |mode: Mode| mode.min(auditor.bounds.max_mode) == Mode::Act;
    let mut acting = auditor
        .replicas(&preemption.service)
        .filter(|it| acts(it.policy.mode));
    match &preemption.container {
        Some(container) => acting.any(|it| it.id == *container && it.policy.movable),
        None => acting.any(|it| it.policy.scale.is_some()),
    }
}

/// As many as are promised serve without it, whether or not it serves itself.
fn floor(auditor: &Auditor, plan: &Plan, found: &mut Vec<Violation>) {
    let goes = |id| plan.steps.iter().any(|step| step.action.target() == id);
    let left = auditor.replicas(&plan.service);
    let left = left.filter(|it| it.is_serving() && !goes(&it.id)).count();
    let serving = u32::try_from(left).unwrap_or(u32::MAX);
    let scales = auditor.replicas(&plan.service);
    let scales = scales.filter_map(|it| it.policy.scale.as_ref());
    let fewest = scales.map(|it| it.least()).min();
    let is_told = found
        .iter()
        .any(|it| matches!(it, Violation::BelowFloor { .. }));
    if let Some(min) = fewest
        && serving < min
        && !is_told
    {
        found.push(Violation::BelowFloor {
            service: plan.service.clone(),
            serving,
            min,
        });
    }
}
