//! Undoing what made things worse: a removed replica is made again, useless ones are removed one after the other, limits are as they
//! were, an image that was rolled back comes again, and what was isolated is put back. A restart cannot be undone, nor a new container of the same image; what an
//! update changed is taken back by that ([`crate::update`]), and not here.

use std::time::Duration;

use units::{
    Action, ActionKind, Check, ContainerId, ContainerState, Expectation, ImageChange, Phase,
    PlanEntry, ServiceId, Timestamp, VerdictKind,
};

use crate::draft::{Decision, Draft, admit};
use crate::escalate;
use crate::grow::{additions, growth};
use crate::images::image_of;
use crate::isolate;
use crate::judge::created;
use crate::resize::restore;
use crate::scale::Group;
use crate::shrink::removal;
use crate::state::State;

/// What could not be undone within this time is left to the ordinary decisions.
const UNDO_WITHIN: Duration = Duration::from_secs(600);

/// What is to be undone of a service, if anything.
pub(crate) fn decide(state: &State, service: &ServiceId, now: Timestamp) -> Decision {
    let Some(entry) = pending(state, service, now) else {
        return Decision::Nothing;
    };
    let busy = state.plans.active().any(|other| {
        other.plan.service == *service
            && other.plan.kind.touches_containers()
            && (other.phase == Phase::Decided || other.plan.kind != ActionKind::Restart)
    });
    if busy {
        return Decision::Nothing;
    }
    let hold = state.hold_end(service);
    if hold > now {
        return Decision::Wait(hold);
    }
    match entry.plan.kind {
        ActionKind::RemoveReplica => recreate(state, service, entry, now),
        ActionKind::CreateReplica => remove(state, service, entry, now),
        ActionKind::Recreate => roll_forward(state, service, entry, now),
        ActionKind::UpdateLimits => restore(state, service, entry, now),
        ActionKind::Isolate => isolate::rejoin(state, service, entry, now),
        ActionKind::Restart
        | ActionKind::PullImage
        | ActionKind::Stop
        | ActionKind::Export
        | ActionKind::Rejoin => Decision::Nothing,
    }
}

fn pending<'a>(state: &'a State, service: &ServiceId, now: Timestamp) -> Option<&'a PlanEntry> {
    let undone = |entry: &PlanEntry| match entry.plan.kind {
        ActionKind::CreateReplica => {
            let mut made = created(entry).into_iter();
            made.all(|it| is_tried(state, entry, it))
        }
        ActionKind::Isolate => isolate::is_undone(undoing(state, entry)),
        ActionKind::RemoveReplica
        | ActionKind::Recreate
        | ActionKind::Restart
        | ActionKind::UpdateLimits
        | ActionKind::PullImage
        | ActionKind::Stop
        | ActionKind::Export
        | ActionKind::Rejoin => undoing(state, entry).next().is_some(),
    };
    state.plans.acted(service).find(|entry| {
        let worse = entry
            .verdict
            .as_ref()
            .is_some_and(|verdict| verdict.kind == VerdictKind::Worse);
        let undoable = match entry.plan.kind {
            ActionKind::CreateReplica
            | ActionKind::RemoveReplica
            | ActionKind::UpdateLimits
            | ActionKind::Isolate => true,
            ActionKind::Recreate => image_change(entry).is_some(),
            ActionKind::Restart
            | ActionKind::PullImage
            | ActionKind::Stop
            | ActionKind::Export
            | ActionKind::Rejoin => false,
        };
        worse
            && undoable
            // Those of an update, or a move, are taken back together, by that.
            && entry.plan.update.is_none()
            && entry.plan.relocation.is_none()
            && entry.plan.undo_of.is_none()
            && entry.at + UNDO_WITHIN > now
            && !undone(entry)
    })
}

/// What was done to undo it.
fn undoing<'a>(state: &'a State, entry: &'a PlanEntry) -> impl Iterator<Item = &'a PlanEntry> {
    state
        .plans
        .acted(&entry.plan.service)
        .filter(|other| other.plan.undo_of.as_ref() == Some(&entry.plan.id))
}

/// An attempt was made to remove this one.
fn is_tried(state: &State, entry: &PlanEntry, container: &ContainerId) -> bool {
    let mut steps = undoing(state, entry).flat_map(|other| &other.plan.steps);
    steps.any(|step| step.action.target() == container)
}

fn verdict(entry: &PlanEntry) -> &str {
    entry
        .verdict
        .as_ref()
        .map_or("it made things worse", |verdict| verdict.reason.as_str())
}

fn image_change(entry: &PlanEntry) -> Option<&ImageChange> {
    entry.plan.steps.iter().find_map(|step| match &step.action {
        Action::Recreate { image, .. } => image.as_ref(),
        Action::Restart { .. }
        | Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::RemoveReplica { .. }
        | Action::PullImage { .. }
        | Action::Stop { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => None,
    })
}

/// The image people chose, once more: the one before it was no better.
fn roll_forward(state: &State, service: &ServiceId, entry: &PlanEntry, now: Timestamp) -> Decision {
    let change = image_change(entry);
    let made = created(entry);
    let Some((change, made)) = change.zip(made.first().copied()) else {
        return Decision::Nothing;
    };
    let Some(replica) = state.fleet.find(service, made) else {
        return Decision::Nothing;
    };
    let stands = match replica.record.state {
        ContainerState::Running | ContainerState::Restarting => true,
        ContainerState::Created
        | ContainerState::Paused
        | ContainerState::Exited
        | ContainerState::Dead => false,
    };
    let runs = image_of(&replica).is_some_and(|image| image.id == change.to.id);
    if !stands || !runs || !replica.record.policy.recreate || !state.is_fresh(&replica, now) {
        return Decision::Nothing;
    }
    let back = ImageChange {
        from: change.to.clone(),
        to: change.from.clone(),
    };
    let draft = Draft {
        signals: entry.plan.cause.signals.clone(),
        reason: format!("the roll back before made things worse: {}", verdict(entry)),
        alternatives: vec![format!(
            "keep {}: it does not run either, and {} is the one people chose",
            change.to, change.from
        )],
        undo_of: Some(entry.plan.id.clone()),
        traceparent: entry.plan.traceparent.clone(),
        ..escalate::draft(state, service, &replica, &[], Some(back))
    };
    admit(state, draft, replica.record.policy.mode, now)
}

fn recreate(state: &State, service: &ServiceId, entry: &PlanEntry, now: Timestamp) -> Decision {
    let Some(group) = Group::of(state, service, now) else {
        return Decision::Nothing;
    };
    let Some(forecast) = group.load(state).and_then(|load| load.newest()) else {
        return Decision::Nothing;
    };
    if group.current >= group.most() {
        return Decision::Nothing;
    }
    let Ok(steps) = additions(state, &group, 1, now) else {
        return Decision::Nothing;
    };
    let reason = format!("the removal before made things worse: {}", verdict(entry));
    let mut draft = growth(state, &group, reason, steps, forecast);
    draft.undo_of = Some(entry.plan.id.clone());
    admit(state, draft, group.mode, now)
}

fn remove(state: &State, service: &ServiceId, entry: &PlanEntry, now: Timestamp) -> Decision {
    let config = &state.config.scale;
    let mut wait: Option<Timestamp> = None;
    let mut useless = None;
    // One at a time: it may serve by the time the engine is asked, and then another one has to be there.
    let mut made = created(entry);
    made.retain(|it| !is_tried(state, entry, it));
    for container in made {
        let Some(replica) = state.fleet.find(service, container) else {
            continue;
        };
        // One that serves by now has earned its place.
        if replica.record.made_by.is_some()
            && !replica.record.is_serving()
            && !replica.record.is_isolated()
            // A person froze it; it does not serve for that, and is theirs for as long.
            && replica.record.state != ContainerState::Paused
            && state.is_fresh(&replica, now)
        {
            // It was started again, with its host for instance, and may be about to serve.
            let serves_by = replica.record.started_at.map(|at| at + config.startup);
            let runs = replica.record.state == ContainerState::Running;
            if let Some(serves_by) = serves_by.filter(|by| runs && *by > now) {
                wait = Some(wait.map_or(serves_by, |known| known.min(serves_by)));
                continue;
            }
            useless = Some(replica);
            break;
        }
    }
    let Some(useless) = useless else {
        return wait.map_or(Decision::Nothing, Decision::Wait);
    };
    let draft = Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::RemoveReplica,
        signals: Vec::new(),
        reason: format!("the addition before made things worse: {}", verdict(entry)),
        steps: vec![removal(&useless, config)],
        expected: Expectation {
            text: format!(
                "{service} is as it was; no overload opens within {} s",
                config.verdict_within.as_secs()
            ),
            check: Check::NoOverload,
            within: config.verdict_within,
        },
        alternatives: vec![format!("keep {}: it does not serve", useless.record.name)],
        deadline: config.deadline,
        undo_of: Some(entry.plan.id.clone()),
        approval: None,
        update: None,
        traceparent: entry.plan.traceparent.clone(),
    };
    admit(state, draft, useless.record.policy.mode, now)
}
