//! Limits far above what is used: lowered patiently, one container at a time, and never to what is in use.

use units::{
    ActionKind, Bytes, Check, Expectation, Limits, Millicores, Severity, Timestamp, Usage,
    VerdictKind,
};

use super::{Finding, Labelled, step, whole_mib, whole_millicores, within};
use crate::draft::Draft;
use crate::fleet::Replica;
use crate::state::State;

/// What lowers the limits of one container.
pub(super) fn lower(state: &State, labelled: &Labelled<'_>, now: Timestamp) -> Finding {
    let config = &state.config.resize;
    let service = labelled.service;
    let newest = state.loads.get(service).and_then(|load| load.newest());
    let fresh = newest.filter(|forecast| forecast.at + state.config.telemetry_stale >= now);
    let Some(usage) = fresh.and_then(|forecast| forecast.usage) else {
        return Finding::No("what its containers need is not known".to_owned());
    };
    if usage.history < config.lower_history {
        return Finding::No(format!(
            "it was watched for {} h; limits are lowered after {} h",
            usage.history.as_secs() / 3_600,
            config.lower_history.as_secs() / 3_600
        ));
    }
    let open = state.signals.open(service);
    if let Some(signal) = open.iter().find(|it| it.severity != Severity::Info) {
        return Finding::No(format!("{} is open about it", signal.kind));
    }
    if let Some((why, until)) = held(state, labelled, now) {
        return Finding::Until(why, until);
    }
    let headroom = labelled.headroom(state, now);
    let found = labelled
        .replicas
        .iter()
        .filter(|replica| replica.record.is_serving())
        .find_map(|replica| {
            let limits = Limits {
                cpu: cpu(state, replica, &usage, headroom),
                memory: memory(state, replica, &usage, now, labelled),
            };
            (limits != Limits::default()).then_some((replica, limits))
        });
    match found {
        Some((replica, limits)) => {
            Finding::Yes(Box::new(draft(state, labelled, replica, &limits, &usage)))
        }
        None => Finding::No(
            "its limits are not far above what it needs, or as low as its label allows".to_owned(),
        ),
    }
}

/// Limits of the service were changed, or a lowering made things worse, a short time ago.
fn held(state: &State, labelled: &Labelled<'_>, now: Timestamp) -> Option<(String, Timestamp)> {
    let config = &state.config.resize;
    let changes = || {
        let acted = state.plans.acted(labelled.service);
        acted.filter(|entry| entry.plan.kind == ActionKind::UpdateLimits)
    };
    let last = changes().map(|entry| entry.plan.created_at).max();
    let worse = changes()
        .filter_map(|entry| entry.verdict.as_ref())
        .filter(|verdict| verdict.kind == VerdictKind::Worse)
        .map(|verdict| verdict.at)
        .max();
    let waits = [
        (
            last,
            config.lower_every,
            "its limits were changed a short time ago",
        ),
        (
            worse,
            config.lower_hold,
            "the last change of its limits made things worse",
        ),
    ];
    let ends = waits
        .into_iter()
        .filter_map(|(at, wait, why)| Some((why, at? + wait)));
    let (why, until) = ends.max_by_key(|(_, until)| *until)?;
    (until > now).then(|| (why.to_owned(), until))
}

fn cpu(state: &State, replica: &Replica<'_>, usage: &Usage, headroom: f64) -> Option<Millicores> {
    let config = &state.config.resize;
    let range = replica.record.policy.limits?.cpu?;
    let limit = replica.record.limits.cpu?;
    // Use at the bound, and at the peak of a short time before, stays within the share that calls for no replica.
    let needed = usage.cpu.upper.max(usage.cpu.recent_peak).0 as f64 / headroom;
    let now = limit.0 as f64;
    let to = range.clamp(whole_millicores(needed.max(now * config.lower_most)));
    is_worth(now, to.0 as f64, config.step_least).then_some(to)
}

fn memory(
    state: &State,
    replica: &Replica<'_>,
    usage: &Usage,
    now: Timestamp,
    labelled: &Labelled<'_>,
) -> Option<Bytes> {
    let config = &state.config.resize;
    let range = replica.record.policy.limits?.memory?;
    let limit = replica.record.limits.memory?;
    let need = usage.memory?;
    let killed = state.ooms.last_of(&state.fleet, labelled.service);
    if killed.is_some_and(|at| at + config.lower_hold > now) {
        return None;
    }
    let used = need.recent_peak.0 as f64 * config.memory_margin;
    let held = limit.0 as f64;
    let needed = (need.upper.0 as f64)
        .max(used)
        .max(held * config.lower_most);
    let to = range.clamp(whole_mib(needed));
    // A range that ends below what is in use is not obeyed.
    (is_worth(held, to.0 as f64, config.step_least) && to.0 as f64 >= used).then_some(to)
}

fn is_worth(from: f64, to: f64, least: f64) -> bool {
    to <= from * (1.0 - least)
}

fn draft(
    state: &State,
    labelled: &Labelled<'_>,
    replica: &Replica<'_>,
    limits: &Limits,
    usage: &Usage,
) -> Draft {
    let config = &state.config.resize;
    let record = replica.record;
    let name = &record.name;
    let mut words = Vec::new();
    let mut needs = Vec::new();
    if let (Some(to), Some(from)) = (limits.cpu, record.limits.cpu) {
        words.push(format!("{to} instead of {from} of CPU"));
        needs.push(format!("{} of CPU", usage.cpu.upper));
    }
    if let (Some(to), Some(from), Some(need)) = (limits.memory, record.limits.memory, usage.memory)
    {
        words.push(format!("{to} instead of {from} of memory"));
        needs.push(format!("{} of memory", need.upper));
    }
    let words = words.join(" and ");
    Draft {
        relocation: None,
        preemption: None,
        service: labelled.service.clone(),
        kind: ActionKind::UpdateLimits,
        signals: Vec::new(),
        reason: format!(
            "no replica of {} needs more than {} by {} h of history, far below the limits of {name}",
            labelled.service,
            needs.join(" and "),
            usage.history.as_secs() / 3_600
        ),
        steps: vec![step(replica, *limits)],
        expected: Expectation {
            text: format!(
                "{name} goes on as before with {words}: it waits for no limit and is not killed for want of memory; {}",
                within(config.verdict_within)
            ),
            check: Check::LimitsHold,
            within: config.verdict_within,
        },
        alternatives: vec![
            format!("keep the limits of {name}: they promise what is not used"),
            "lower all at once: one at a time shows first whether it was too much".to_owned(),
        ],
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: None,
    }
}
