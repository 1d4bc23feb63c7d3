//! Undoing a change of limits that made things worse.

use units::{ActionKind, Check, Expectation, Limits, PlanEntry, ServiceId, Timestamp};

use super::judge::previous;
use super::{step, within};
use crate::draft::{Decision, Draft, admit};
use crate::fleet::Replica;
use crate::state::State;

/// What gives the containers of a plan the limits they had.
pub(crate) fn restore(
    state: &State,
    service: &ServiceId,
    entry: &PlanEntry,
    now: Timestamp,
) -> Decision {
    let config = &state.config.resize;
    let mut mode = units::Mode::Act;
    let (mut steps, mut words) = (Vec::new(), Vec::new());
    for (index, before) in entry.plan.steps.iter().enumerate() {
        let Some(replica) = state.fleet.find(service, before.action.target()) else {
            continue;
        };
        let runs = replica.record.state == units::ContainerState::Running;
        let Some(limits) = previous(entry, index).filter(|_| runs && state.is_fresh(&replica, now))
        else {
            continue;
        };
        let limits = allowed(state, service, &replica, limits);
        if limits == Limits::default() {
            continue;
        }
        mode = mode.min(replica.record.policy.mode);
        let step = step(&replica, limits);
        words.push(step.action.to_string());
        steps.push(step);
    }
    if steps.is_empty() {
        return Decision::Nothing;
    }
    let verdict = entry.verdict.as_ref();
    let because = verdict.map_or("it made things worse", |it| it.reason.as_str());
    let draft = Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::UpdateLimits,
        signals: Vec::new(),
        reason: format!("the change of limits before made things worse: {because}"),
        steps,
        expected: Expectation {
            text: format!(
                "{service} is as it was ({}) and lacks nothing; {}",
                words.join("; "),
                within(config.verdict_within)
            ),
            check: Check::LimitsHold,
            within: config.verdict_within,
        },
        alternatives: vec!["keep the new limits: they are too low for what it does".to_owned()],
        deadline: config.deadline,
        undo_of: Some(entry.plan.id.clone()),
        approval: None,
        update: None,
        traceparent: entry.plan.traceparent.clone(),
    };
    admit(state, draft, mode, now)
}

/// What of the limits of before the label allows still, differs from those of now, and is not below what is in use.
fn allowed(state: &State, service: &ServiceId, replica: &Replica<'_>, before: Limits) -> Limits {
    let now = replica.record.limits;
    let ranges = replica.record.policy.limits;
    let cpu = ranges.and_then(|it| it.cpu).zip(before.cpu);
    let memory = ranges.and_then(|it| it.memory).zip(before.memory);
    let usage = state
        .loads
        .get(service)
        .and_then(|load| load.newest()?.usage);
    let used = usage
        .and_then(|usage| usage.memory)
        .map(|need| need.recent_peak);
    let holds = |limit: units::Bytes| {
        let margin = state.config.resize.memory_margin;
        let fits = used.is_some_and(|used| limit.0 as f64 >= used.0 as f64 * margin);
        now.memory.is_none_or(|now| limit >= now) || fits
    };
    Limits {
        cpu: cpu
            .map(|(range, limit)| range.clamp(limit))
            .filter(|limit| now.cpu != Some(*limit)),
        memory: memory
            .map(|(range, limit)| range.clamp(limit))
            .filter(|limit| now.memory != Some(*limit) && holds(*limit)),
    }
}
