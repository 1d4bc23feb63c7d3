//! Services that come down to none while nobody asks for them, and are started again.

use std::collections::BTreeMap;

use units::{
    Action, ActionKind, CommandId, ContainerRecord, ContainerState, NodeId, NodeInventory,
    OutcomeResult, Phase, Plan, PlanEntry, Step,
};

use crate::auditor::Auditor;
use crate::violation::Violation;

/// Stopped is only what the label lets come to none. That it is idle is not known here.
pub(crate) fn may_rest(
    auditor: &Auditor,
    plan: &Plan,
    record: &ContainerRecord,
    found: &mut Vec<Violation>,
) {
    let scale = record.policy.scale.as_ref();
    if !scale.is_some_and(|scale| scale.may_rest(&plan.service)) {
        found.push(Violation::MayNotRest {
            container: record.name.clone(),
        });
    }
    let beside = auditor.replicas(&plan.service);
    let others = beside.filter(|other| other.id != record.id).count();
    if others > 0 {
        found.push(Violation::NotTheLast {
            container: record.name.clone(),
            others,
        });
    }
}

/// Whether a restart starts what a plan of ours stopped and nobody had run since. It needs no signal, for it heals nothing.
pub(crate) fn is_start(
    auditor: &Auditor,
    plan: &Plan,
    step: &Step,
    record: &ContainerRecord,
) -> bool {
    let scale = record.policy.scale.as_ref();
    let may_rest = scale.is_some_and(|scale| scale.may_rest(&plan.service));
    let mut stops = auditor.plans.values();
    record.state == ContainerState::Exited
        && may_rest
        && stops.any(|entry| has_stopped(entry, step, record))
}

/// It brought a service to rest; what a move stops has a successor.
fn is_rest(entry: &PlanEntry) -> bool {
    entry.plan.kind == ActionKind::Stop && entry.plan.relocation.is_none()
}

/// Whether a plan that is over may still be asked for: the container it stopped stands still, or its node is yet to be heard.
pub(crate) fn keeps(nodes: &BTreeMap<NodeId, NodeInventory>, entry: &PlanEntry) -> bool {
    let mut steps = entry.plan.steps.iter();
    is_rest(entry)
        && steps.any(|step| {
            nodes.get(&step.node).is_none_or(|node| {
                let mut all = node.containers.iter();
                all.any(|it| it.id == *step.action.target() && it.state == ContainerState::Exited)
            })
        })
}

/// A plan stopped it, as far as its node tells: it did not end before the engine was asked to stop it. An answer may come when its plan
/// was given up; then the journal does not have it, and nothing speaks against it.
fn has_stopped(entry: &PlanEntry, step: &Step, record: &ContainerRecord) -> bool {
    if !is_rest(entry) || entry.phase == Phase::Suggested {
        return false;
    }
    let mut steps = entry.plan.steps.iter().enumerate();
    steps.any(|(index, stop)| {
        let id = CommandId::of(&entry.plan.id, index);
        let outcome = entry.outcomes.iter().find(|it| it.command == id);
        let is_possible = outcome.is_none_or(|outcome| match &outcome.result {
            OutcomeResult::Succeeded { .. }
            | OutcomeResult::Failed { .. }
            | OutcomeResult::Interrupted => {
                let ended = record.finished_at;
                ended.is_some_and(|at| at >= outcome.began_at || outcome.covers(at))
            }
            OutcomeResult::Refused { .. } | OutcomeResult::Vanished => false,
        });
        let is_same = matches!(stop.action, Action::Stop { .. })
            && stop.node == step.node
            && *stop.action.target() == record.id;
        is_possible && is_same
    })
}
