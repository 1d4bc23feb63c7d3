//! The checks of what a plan does to containers.

use std::collections::BTreeSet;

use units::{
    Action, ActionKind, ContainerId, ContainerName, ContainerRecord, ContainerState, ImageChange,
    Limits, Mode, NodeId, Plan, Step,
};

use crate::auditor::Auditor;
use crate::failover;
use crate::isolation;
use crate::relocation;
use crate::rest;
use crate::update;
use crate::violation::Violation;

pub(crate) fn check(auditor: &Auditor, plan: &Plan, found: &mut Vec<Violation>) {
    // What moved and was started again where it had been has one name on two nodes.
    let mut named: BTreeSet<(&NodeId, &ContainerName)> = BTreeSet::new();
    let mut tally = Tally::default();
    for step in &plan.steps {
        let name = step.action.name();
        if is_taken(auditor, step) || !named.insert((&step.node, name)) {
            found.push(Violation::Twice {
                container: name.clone(),
            });
        }
        let Some(record) = record(auditor, plan, step) else {
            found.push(Violation::UnknownContainer {
                container: name.clone(),
                service: plan.service.clone(),
                node: step.node.clone(),
            });
            continue;
        };
        opted_in(auditor, plan, step, record, found);
        if plan.update.is_some() {
            update::step(auditor, plan, &step.action, record, found);
        }
        relocation::step(auditor, plan, step, record, found);
        one(auditor, plan, step, record, &mut tally, found);
    }
    if tally.restarts > 1 {
        found.push(Violation::TogetherDown {
            service: plan.service.clone(),
            steps: tally.restarts,
        });
    }
    range(auditor, plan, &tally, found);
}

/// What one step does.
fn one<'a>(
    auditor: &Auditor,
    plan: &Plan,
    step: &Step,
    record: &'a ContainerRecord,
    tally: &mut Tally<'a>,
    found: &mut Vec<Violation>,
) {
    match &step.action {
        // What a move stopped, once more; checked as a step of that.
        Action::Restart { .. } if plan.relocation.is_some() => {}
        Action::Restart { .. } if is_start(auditor, plan, step, record) => tally.added += 1,
        Action::Restart { .. } => {
            tally.restarts += 1;
            running(record, found);
            if !is_cut_off(auditor, step, record) {
                caused(plan, record, found);
            }
        }
        Action::Recreate { image, .. } => {
            tally.restarts += 1;
            recreated(plan, record, image.as_ref(), found);
            if plan.update.is_none() {
                caused(plan, record, found);
            }
        }
        Action::UpdateLimits { limits, .. } => {
            running(record, found);
            bounds(record, limits, found);
        }
        Action::CreateReplica { image, .. } => {
            tally.added += 1;
            going(plan, record, found);
            other_image(record, image.as_ref(), found);
        }
        // It touches nothing that runs, and is done for an order alone.
        Action::PullImage { .. } if plan.update.is_some() => {}
        Action::PullImage { .. } => found.push(Violation::NoPartOfUpdate {
            container: step.action.name().clone(),
            kind: step.action.kind(),
        }),
        Action::Export { .. } => going(plan, record, found),
        Action::Isolate { .. } => {
            running(record, found);
            caused(plan, record, found);
            isolation::isolates(auditor, plan, record, found);
            tally.removed.push(record);
        }
        Action::Rejoin { networks, .. } => {
            running(record, found);
            isolation::rejoins(auditor, plan, record, networks, found);
        }
        Action::Stop { .. } | Action::RemoveReplica { .. } => {
            tally.removed.push(record);
            may_go(auditor, plan, step, record, found);
        }
    }
}

/// It starts what does not run, which needs no signal.
fn is_start(auditor: &Auditor, plan: &Plan, step: &Step, record: &ContainerRecord) -> bool {
    rest::is_start(auditor, plan, step, record) || failover::is_start(auditor, step, record)
}

/// What the steps of a plan come to together.
#[derive(Default)]
struct Tally<'a> {
    restarts: usize,
    added: u32,
    removed: Vec<&'a ContainerRecord>,
}

/// The name a new replica is to get is that of another container there.
fn is_taken(auditor: &Auditor, step: &Step) -> bool {
    match &step.action {
        Action::CreateReplica { name, .. } => auditor
            .node(&step.node)
            .is_some_and(|node| node.containers.iter().any(|record| record.name == *name)),
        Action::Restart { .. }
        | Action::Recreate { .. }
        | Action::UpdateLimits { .. }
        | Action::RemoveReplica { .. }
        | Action::PullImage { .. }
        | Action::Stop { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => false,
    }
}

fn record<'a>(auditor: &'a Auditor, plan: &Plan, step: &Step) -> Option<&'a ContainerRecord> {
    let origin = step.action.origin();
    let at = origin.map_or(&step.node, |origin| &origin.node);
    let node = auditor.node(at)?;
    let target = step.action.target();
    node.containers
        .iter()
        .find(|record| record.id == *target && record.service == plan.service)
}

fn caused(plan: &Plan, record: &ContainerRecord, found: &mut Vec<Violation>) {
    if plan.cause.signals.is_empty() {
        found.push(Violation::NoCause {
            container: record.name.clone(),
        });
    }
}

/// It shares the network of a container that was started after it, so what it is in leads nowhere: cause enough for a restart.
fn is_cut_off(auditor: &Auditor, step: &Step, record: &ContainerRecord) -> bool {
    let mode = record.spec.as_ref().map(|spec| spec.network_mode.as_str());
    let Some(owner) = mode.and_then(|mode| mode.strip_prefix("container:")) else {
        return false;
    };
    let beside = auditor.node(&step.node).map(|node| node.containers.iter());
    beside.into_iter().flatten().any(|other| {
        let is_owner = other.id.as_str() == owner || other.name.as_str() == owner;
        is_owner && other.started_at > record.started_at
    })
}

fn opted_in(
    auditor: &Auditor,
    plan: &Plan,
    step: &Step,
    record: &ContainerRecord,
    found: &mut Vec<Violation>,
) {
    let policy = &record.policy;
    let kind_allowed = match &step.action {
        Action::Restart { .. } => policy.heal || is_start(auditor, plan, step, record),
        Action::Recreate { .. } => policy.heal && policy.recreate,
        Action::UpdateLimits { .. } => policy.limits.is_some(),
        Action::CreateReplica { .. } | Action::RemoveReplica { .. } | Action::Stop { .. } => {
            policy.scale.is_some()
        }
        Action::PullImage { .. } => policy.update,
        Action::Export { .. } => policy.movable,
        Action::Isolate { .. } | Action::Rejoin { .. } => policy.heal && policy.recreate,
    };
    let kind_allowed = match plan.relocation {
        Some(_) => policy.movable,
        None => kind_allowed,
    };
    // A person's order is a consent to what its own label allows.
    let is_ordered = auditor.is_ordered(plan);
    let kind_allowed = match is_ordered {
        true => policy.update,
        false => kind_allowed,
    };
    let needed = match is_ordered || auditor.is_approved(plan) {
        true => Mode::Suggest,
        false => Mode::Act,
    };
    if policy.mode.min(auditor.bounds.max_mode) < needed || !kind_allowed {
        found.push(Violation::NotOptedIn {
            container: record.name.clone(),
        });
    }
}

/// New limits lie within the ranges of the container's label, and something is changed by them.
fn bounds(record: &ContainerRecord, limits: &Limits, found: &mut Vec<Violation>) {
    let allowed = record.policy.limits;
    let cpu = allowed.and_then(|allowed| allowed.cpu);
    let memory = allowed.and_then(|allowed| allowed.memory);
    let outside = |limit: String| Violation::OutsideRange {
        container: record.name.clone(),
        limit,
    };
    if let Some(limit) = limits.cpu
        && cpu.is_none_or(|range| limit < range.min || limit > range.max)
    {
        found.push(outside(format!("a CPU limit of {limit}")));
    }
    if let Some(limit) = limits.memory
        && memory.is_none_or(|range| limit < range.min || limit > range.max)
    {
        found.push(outside(format!("a memory limit of {limit}")));
    }
    if limits.cpu.is_none() && limits.memory.is_none() {
        found.push(Violation::NoLimit {
            container: record.name.clone(),
        });
    }
}

/// What is stopped may be for its label, what is removed for who made it.
fn may_go(
    auditor: &Auditor,
    plan: &Plan,
    step: &Step,
    record: &ContainerRecord,
    found: &mut Vec<Violation>,
) {
    let is_stop = matches!(step.action, Action::Stop { .. });
    match (is_stop, &plan.relocation) {
        // What moves away is checked as a step of that.
        (true, Some(_)) => {}
        (true, None) => {
            running(record, found);
            rest::may_rest(auditor, plan, record, found);
        }
        (false, _) => ours(record, found),
    }
}

/// Only what was made here is removed, and nothing that a person paused.
fn ours(record: &ContainerRecord, found: &mut Vec<Violation>) {
    if record.state == ContainerState::Paused {
        running(record, found);
    }
    if record.made_by.is_none() {
        found.push(Violation::NotOurs {
            container: record.name.clone(),
        });
    }
}

/// What moves may be sick, and keep ending; a template is not.
fn going(plan: &Plan, record: &ContainerRecord, found: &mut Vec<Violation>) {
    if plan.relocation.is_none() || record.state != ContainerState::Restarting {
        running(record, found);
    }
}

fn running(record: &ContainerRecord, found: &mut Vec<Violation>) {
    if record.state != ContainerState::Running {
        found.push(Violation::NotRunning {
            container: record.name.clone(),
            state: record.state,
        });
    }
}

/// One that keeps ending is replaced too, whichever way it is found; one that was stopped, paused or never started is not. Another
/// image is only put in the place of the one that is named.
fn recreated(
    plan: &Plan,
    record: &ContainerRecord,
    image: Option<&ImageChange>,
    found: &mut Vec<Violation>,
) {
    if record.state != ContainerState::Restarting && !update::is_taken_back(plan, record) {
        running(record, found);
    }
    other_image(record, image, found);
}

fn other_image(record: &ContainerRecord, image: Option<&ImageChange>, found: &mut Vec<Violation>) {
    let runs = record.spec.as_ref().map(|spec| spec.image_digest.as_str());
    if let Some(image) = image
        && runs != Some(image.from.id.as_str())
    {
        found.push(Violation::OtherImage {
            container: record.name.clone(),
            named: image.from.id.clone(),
            runs: runs.unwrap_or("an image nobody told of").to_owned(),
        });
    }
}

fn range(auditor: &Auditor, plan: &Plan, tally: &Tally<'_>, found: &mut Vec<Violation>) {
    let (added, removed) = (tally.added, &tally.removed);
    let count = |replicas: usize| u32::try_from(replicas).unwrap_or(u32::MAX);
    let scale = auditor
        .replicas(&plan.service)
        .filter_map(|record| record.policy.scale.as_ref());
    if added > 0
        && let Some(max) = scale.map(|scale| scale.max).max()
    {
        let replicas = count(auditor.replicas(&plan.service).count()).saturating_add(added);
        if replicas > auditor.most(plan, max) {
            found.push(Violation::AboveMost {
                service: plan.service.clone(),
                replicas,
                max,
            });
        }
    }
    // Taking away what does not serve lowers no capacity.
    if plan.kind == ActionKind::Isolate || removed.iter().any(|record| record.is_serving()) {
        let gone: BTreeSet<&ContainerId> = removed.iter().map(|record| &record.id).collect();
        let left = auditor
            .replicas(&plan.service)
            .filter(|record| record.is_serving() && !gone.contains(&record.id));
        let serving = count(left.count());
        let scale = auditor
            .replicas(&plan.service)
            .filter_map(|record| record.policy.scale.as_ref());
        // Only what brings it to rest brings it down to none.
        let rests = plan.kind == ActionKind::Stop && plan.relocation.is_none();
        let fewest = scale.map(|scale| match rests {
            true => scale.min,
            false => scale.least(),
        });
        if let Some(min) = fewest.min()
            && serving < min
        {
            found.push(Violation::BelowFloor {
                service: plan.service.clone(),
                serving,
                min,
            });
        }
    }
}
