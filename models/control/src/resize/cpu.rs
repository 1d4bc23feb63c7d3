//! CPU limits that are too low: the service waits for them, is about to, or has long used nearly all of them.

use units::{
    ActionKind, Check, ContainerId, Expectation, Forecast, Limits, Metric, Millicores, Ratio,
    Signal, SignalKind, Timestamp, Usage,
};

use super::{Finding, Labelled, ids, step, whole_millicores, within};
use crate::draft::Draft;
use crate::fleet::Replica;
use crate::grow::additions;
use crate::loads::{Load, load_ahead};
use crate::scale::{Group, overloads};
use crate::state::State;

/// What waits for its limit needs more than it was seen to use: this many times its limit at least.
const WAITING: f64 = 1.2;
/// More than half of what is asked for is not taken for granted.
const HIDDEN_MOST: f64 = 0.5;
/// The evidence of throttling that tells its share of periods.
const THROTTLED_SHARE: &str = "cpu_throttled_share";

/// What calls for more CPU.
struct Call<'a> {
    signals: Vec<&'a Signal>,
    needs: Needs,
    shown: Shown,
    reason: String,
}

/// Whether the use that is seen is all that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    All,
    /// Some of it waits for the limit.
    Part,
}

/// Limits that would be enough, in millicores.
enum Needs {
    /// Every replica, to carry the service's load.
    Each(f64),
    /// These.
    Some(Vec<(ContainerId, f64)>),
}

impl Needs {
    fn of(&self, id: &ContainerId) -> Option<f64> {
        match self {
            Needs::Each(millicores) => Some(*millicores),
            Needs::Some(all) => all.iter().find(|(known, _)| known == id).map(|(_, it)| *it),
        }
    }
}

/// What raises the CPU limits that are too low, when that is enough or nothing else can be done.
pub(super) fn raise(state: &State, labelled: &Labelled<'_>, now: Timestamp) -> Finding {
    let service = labelled.service;
    let known = state.loads.get(service);
    let Some((load, forecast)) = known.and_then(|load| Some((load, load.newest()?))) else {
        return Finding::No("its load is not known: no forecast of it has come".to_owned());
    };
    if forecast.at + state.config.telemetry_stale < now {
        return Finding::No("its load is not known: the newest forecast is old".to_owned());
    }
    let raisable: Vec<&Replica<'_>> = labelled
        .replicas
        .iter()
        .filter(|replica| limit(replica).is_some() && most(state, replica).is_some())
        .collect();
    if raisable.is_empty() {
        let why = "none of its containers has both a CPU limit and a range for it in its label";
        return Finding::No(why.to_owned());
    }
    let Some(call) = call(state, labelled, &raisable, load, forecast, now) else {
        let why = "nothing waits for its CPU limit, and no limit is below what is needed";
        return Finding::No(why.to_owned());
    };
    let steps: Vec<Raise<'_>> = raisable
        .iter()
        .filter_map(|replica| raised(state, replica, &call))
        .collect();
    if steps.is_empty() {
        let most = raisable.iter().filter_map(|it| most(state, it)).max();
        return Finding::No(format!(
            "its CPU limits are as high as its label and its nodes allow, {}",
            most.unwrap_or_default()
        ));
    }
    if let Needs::Each(needed) = call.needs
        && !is_enough(state, labelled, &raisable, needed)
        && let Some(group) = Group::of(state, service, now)
        && group.metric().is_none()
        && group.current < group.most()
        && additions(state, &group, 1, now).is_ok()
    {
        return Finding::No(format!(
            "each replica would need {needed:.0}m of CPU, more than its label or its node allows: replicas answer that"
        ));
    }
    Finding::Yes(Box::new(draft(state, labelled, &call, &steps, now)))
}

fn limit(replica: &Replica<'_>) -> Option<Millicores> {
    replica.record.limits.cpu.filter(|limit| limit.0 > 0)
}

/// The highest limit the label and the node allow.
fn most(state: &State, replica: &Replica<'_>) -> Option<Millicores> {
    let range = replica.record.policy.limits?.cpu?;
    let node = state.fleet.capacity(replica.node).cpu;
    Some(match node.0 {
        0 => range.max,
        _ => range.max.min(node),
    })
}

/// Every replica can be given what it needs.
fn is_enough(
    state: &State,
    labelled: &Labelled<'_>,
    raisable: &[&Replica<'_>],
    needed: f64,
) -> bool {
    let fits =
        |replica: &&Replica<'_>| most(state, replica).is_some_and(|most| needed <= most.0 as f64);
    raisable.len() == labelled.count && raisable.iter().all(fits)
}

fn call<'a>(
    state: &'a State,
    labelled: &Labelled<'_>,
    raisable: &[&Replica<'_>],
    load: &Load,
    forecast: &Forecast,
    now: Timestamp,
) -> Option<Call<'a>> {
    let headroom = labelled.headroom(state, now);
    let service = labelled.service;
    let overloads = overloads(state, service);
    if !overloads.is_empty() || is_wanted(state, labelled, load, headroom, now) {
        let ahead = demand(state, forecast);
        // Those to come carry their share.
        let replicas = (forecast.replicas as usize).max(labelled.count).max(1);
        let needed = ahead / replicas as f64 / headroom;
        let told = overloads
            .iter()
            .map(|signal| format!("; {}", signal.reason));
        let reason = format!(
            "{service} uses {:.0}m of CPU, waits for its limit in {:.0}% of its time, and {ahead:.0}m are expected: {needed:.0}m for each of {replicas} replicas at {}{}",
            forecast.observed,
            forecast.throttled * 100.0,
            Ratio::saturating(headroom),
            told.collect::<String>(),
        );
        let needs = Needs::Each(needed);
        return Some(Call {
            signals: overloads,
            needs,
            shown: match forecast.throttled >= state.config.scale.throttled {
                true => Shown::Part,
                false => Shown::All,
            },
            reason,
        });
    }
    waiting(state, labelled, headroom).or_else(|| tight(state, raisable, forecast))
}

/// Enough forecasts in a row ask for more than the limits carry, whatever the number of replicas may be. Below the fewest that are
/// promised, replicas are what is missing.
fn is_wanted(
    state: &State,
    labelled: &Labelled<'_>,
    load: &Load,
    headroom: f64,
    now: Timestamp,
) -> bool {
    let config = &state.config.scale;
    let group = Group::of(state, labelled.service, now);
    if group.is_some_and(|group| group.current < group.policy.min) {
        return false;
    }
    // What was measured while people changed the service says nothing about its load.
    let since = state.hold_end(labelled.service).min(now);
    let required = config.up_confirmations.max(1);
    let confirming = load.last(required, since);
    let asks = |forecast: &&Forecast| {
        let replicas = f64::from(forecast.replicas).max(labelled.count as f64);
        let carried = replicas * forecast.replica_capacity.0 as f64 * headroom;
        demand(state, forecast) > carried * (1.0 + config.tolerance)
    };
    confirming.len() >= required as usize && confirming.iter().all(asks)
}

/// The load to be ready for; where it waits for its limit, what is hidden by that too.
fn demand(state: &State, forecast: &Forecast) -> f64 {
    let config = &state.config.scale;
    let ahead = load_ahead(forecast, config.startup);
    if forecast.throttled < config.throttled {
        return ahead;
    }
    let shown = 1.0 - forecast.throttled.clamp(0.0, HIDDEN_MOST);
    ahead.max(forecast.observed / shown)
}

/// Single containers that wait for their limits while their service as a whole does not.
fn waiting<'a>(state: &'a State, labelled: &Labelled<'_>, headroom: f64) -> Option<Call<'a>> {
    let mut signals = Vec::new();
    let mut needs = Vec::new();
    for signal in state.signals.open(labelled.service) {
        let of = |replica: &&Replica<'_>| {
            Some(&replica.record.id) == signal.subject.container.as_ref()
                // Told of a process that was replaced since, or of a limit of before.
                && replica.record.started_at.is_none_or(|at| at <= signal.at)
                && changed_at(state, labelled, replica).is_none_or(|at| at < signal.at)
        };
        if signal.kind != SignalKind::Throttling {
            continue;
        }
        let Some(replica) = labelled.replicas.iter().find(of) else {
            continue;
        };
        let Some(limit) = limit(replica) else {
            continue;
        };
        let used = seen(signal).unwrap_or(limit.0 as f64);
        needs.push((replica.record.id.clone(), used / headroom));
        signals.push(signal);
    }
    let reasons: Vec<&str> = signals.iter().map(|it| it.reason.as_str()).collect();
    (!signals.is_empty()).then(|| Call {
        reason: reasons.join("; "),
        needs: Needs::Some(needs),
        shown: Shown::Part,
        signals,
    })
}

/// When its limits were last changed by a plan.
fn changed_at(state: &State, labelled: &Labelled<'_>, replica: &Replica<'_>) -> Option<Timestamp> {
    let acted = state.plans.acted(labelled.service);
    let changes = acted.filter(|entry| {
        let mut steps = entry.plan.steps.iter();
        entry.plan.kind == ActionKind::UpdateLimits
            && steps.any(|step| *step.action.target() == replica.record.id)
    });
    // Of one that is judged already, what counts is when it was made.
    changes.map(|entry| entry.plan.created_at).max()
}

/// What the container of a throttling signal asks for, in millicores: what it used, and what was hidden by waiting.
fn seen(signal: &Signal) -> Option<f64> {
    let of = |metric: Metric| {
        signal
            .evidence
            .iter()
            .find(move |it| it.metric == Some(metric))
    };
    let cores = of(Metric::CpuUsage)?.observed;
    let share = signal
        .evidence
        .iter()
        .find(|it| it.feature == THROTTLED_SHARE)
        .map_or(0.0, |it| it.observed);
    let hidden = if share.is_finite() {
        share.clamp(0.0, HIDDEN_MOST)
    } else {
        0.0
    };
    let millicores = cores * 1_000.0 / (1.0 - hidden);
    millicores.is_finite().then_some(millicores)
}

/// Limits that are below what is needed nearly always, although nothing complains: by long history alone.
fn tight<'a>(state: &State, raisable: &[&Replica<'_>], forecast: &Forecast) -> Option<Call<'a>> {
    let usage: Usage = forecast.usage?;
    let target = usage.cpu.target;
    let is_tight = raisable
        .iter()
        .any(|replica| limit(replica).is_some_and(|limit| target > limit));
    (is_tight && usage.history >= state.config.resize.raise_history).then(|| Call {
        signals: Vec::new(),
        needs: Needs::Each(target.0 as f64),
        shown: Shown::All,
        reason: format!(
            "the busiest replica of {} needs {target} of CPU nine tenths of the time, with a margin, by {} h of history",
            forecast.service,
            usage.history.as_secs() / 3_600,
        ),
    })
}

struct Raise<'a> {
    replica: &'a Replica<'a>,
    from: Millicores,
    to: Millicores,
}

fn raised<'a>(state: &State, replica: &'a Replica<'a>, call: &Call<'_>) -> Option<Raise<'a>> {
    let config = &state.config.resize;
    let from = limit(replica)?;
    let most = most(state, replica)?;
    let least = replica.record.policy.limits?.cpu?.min;
    let needed = call.needs.of(&replica.record.id)?;
    let now = from.0 as f64;
    let needed = match call.shown {
        Shown::All => needed,
        Shown::Part => needed.max(now * WAITING),
    };
    let to = whole_millicores(needed.min(now * config.raise_most));
    let to = to.max(least).min(most);
    (to.0 as f64 >= now * (1.0 + config.step_least)).then_some(Raise { replica, from, to })
}

fn draft(
    state: &State,
    labelled: &Labelled<'_>,
    call: &Call<'_>,
    steps: &[Raise<'_>],
    now: Timestamp,
) -> Draft {
    let config = &state.config.resize;
    let left = crate::budget::left(&state.plans, &state.config.budget, labelled.service, now);
    // With nothing left the draft keeps its whole size, and the budget is what is said.
    let affordable = match left.service.min(left.global) {
        0 => steps.len(),
        left => left as usize,
    };
    let steps = &steps[..steps.len().min(affordable)];
    let words: Vec<String> = steps
        .iter()
        .map(|it| {
            format!(
                "{} may use {} instead of {}",
                it.replica.record.name, it.to, it.from
            )
        })
        .collect();
    let signals = ids(&call.signals);
    let ratio = Ratio::saturating(labelled.headroom(state, now));
    Draft {
        relocation: None,
        preemption: None,
        service: labelled.service.clone(),
        kind: ActionKind::UpdateLimits,
        signals: signals.clone(),
        reason: call.reason.clone(),
        steps: steps.iter().map(raise_step).collect(),
        expected: Expectation {
            text: format!(
                "{} of CPU, at once and without a restart; nothing waits for its limit any more, or {} carries more; {}",
                words.join(", "),
                labelled.service,
                within(config.verdict_within),
            ),
            check: match signals.is_empty() {
                true => Check::UtilisationAtMost { ratio },
                false => Check::SignalsResolve { signals },
            },
            within: config.verdict_within,
        },
        alternatives: vec![
            format!(
                "add a replica: it needs about {} s to serve and memory of its own, where a limit changes at once",
                state.config.scale.startup.as_secs()
            ),
            "restart: it would wait for the same limit again".to_owned(),
        ],
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: call.signals.iter().find_map(|it| it.traceparent.clone()),
    }
}

fn raise_step(raise: &Raise<'_>) -> units::Step {
    let limits = Limits {
        cpu: Some(raise.to),
        memory: None,
    };
    step(raise.replica, limits)
}
