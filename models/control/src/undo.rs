//! Undoing what made things worse: a removed replica is made again, a useless one is removed. A restart cannot be undone.

use std::time::Duration;

use units::{
    ActionKind, Check, ContainerState, Expectation, OutcomeResult, Phase, PlanEntry, ServiceId,
    Step, Timestamp, VerdictKind,
};

use crate::draft::{Decision, Draft, admit};
use crate::grow::{additions, growth};
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
        ActionKind::Restart | ActionKind::UpdateLimits => Decision::Nothing,
    }
}

fn pending<'a>(state: &'a State, service: &ServiceId, now: Timestamp) -> Option<&'a PlanEntry> {
    let undone = |entry: &PlanEntry| {
        let id = Some(&entry.plan.id);
        state
            .plans
            .acted(service)
            .any(|other| other.plan.undo_of.as_ref() == id)
    };
    state.plans.acted(service).find(|entry| {
        let worse = entry
            .verdict
            .as_ref()
            .is_some_and(|verdict| verdict.kind == VerdictKind::Worse);
        let undoable = match entry.plan.kind {
            ActionKind::CreateReplica | ActionKind::RemoveReplica => true,
            ActionKind::Restart | ActionKind::UpdateLimits => false,
        };
        worse
            && undoable
            && entry.plan.undo_of.is_none()
            && entry.at + UNDO_WITHIN > now
            && !undone(entry)
    })
}

fn verdict(entry: &PlanEntry) -> &str {
    entry
        .verdict
        .as_ref()
        .map_or("it made things worse", |verdict| verdict.reason.as_str())
}

fn recreate(state: &State, service: &ServiceId, entry: &PlanEntry, now: Timestamp) -> Decision {
    let Some(group) = Group::of(state, service, now) else {
        return Decision::Nothing;
    };
    let Some(forecast) = state.loads.get(service).and_then(|load| load.newest()) else {
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
    let mut steps: Vec<Step> = Vec::new();
    let mut mode = units::Mode::Act;
    for outcome in &entry.outcomes {
        let OutcomeResult::Succeeded {
            created: Some(created),
            ..
        } = &outcome.result
        else {
            continue;
        };
        let Some(replica) = state.fleet.find(service, created) else {
            continue;
        };
        // One that serves by now has earned its place.
        if replica.record.made_by.is_some()
            && !replica.record.is_serving()
            // A person froze it; it does not serve for that, and is theirs for as long.
            && replica.record.state != ContainerState::Paused
            && state.is_fresh(&replica, now)
        {
            // It was started again, with its host for instance, and may be about to serve.
            let serves_by = replica.record.started_at.map(|at| at + config.startup);
            let runs = replica.record.state == ContainerState::Running;
            if let Some(serves_by) = serves_by.filter(|by| runs && *by > now) {
                return Decision::Wait(serves_by);
            }
            mode = mode.min(replica.record.policy.mode);
            steps.push(removal(&replica, config));
        }
    }
    if steps.is_empty() {
        return Decision::Nothing;
    }
    let draft = Draft {
        service: service.clone(),
        kind: ActionKind::RemoveReplica,
        signals: Vec::new(),
        reason: format!("the addition before made things worse: {}", verdict(entry)),
        steps,
        expected: Expectation {
            text: format!(
                "{service} is as it was; no overload opens within {} s",
                config.verdict_within.as_secs()
            ),
            check: Check::NoOverload,
            within: config.verdict_within,
        },
        alternatives: vec!["keep them: they do not serve".to_owned()],
        deadline: config.deadline,
        undo_of: Some(entry.plan.id.clone()),
        approval: None,
        traceparent: entry.plan.traceparent.clone(),
    };
    admit(state, draft, mode, now)
}
