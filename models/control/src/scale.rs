//! How many replicas a service needs, and the plan that gives or takes some.
//!
//! The need follows from the service's whole load, not from a share per replica, so replicas that a deploy adds for a while, or that
//! do not serve yet, do not look like load. The rule is that of the Kubernetes Horizontal Pod Autoscaler (ceil(load / target), with a
//! tolerance) with two additions: the load is the one expected when a new replica would serve, never less than the one seen; and time
//! spent waiting for a CPU limit proves that the load seen is capped.

use std::collections::BTreeSet;

use units::{
    Action, ActionKind, Check, ContainerName, ContainerState, Expectation, Forecast, Millicores,
    Mode, Phase, Ratio, ScalePolicy, ScaleTarget, ServiceId, Signal, SignalKind, Step, Timestamp,
    VerdictKind,
};

use crate::config;
use crate::draft::{Decision, Draft, admit, say};
use crate::fleet::Replica;
use crate::loads::{Load, load_ahead};
use crate::state::State;
use crate::{budget, ledger};

/// A service that may be scaled, as it stands.
pub(crate) struct Group<'a> {
    pub(crate) service: &'a ServiceId,
    pub(crate) replicas: Vec<Replica<'a>>,
    pub(crate) policy: ScalePolicy,
    /// The most careful of its containers' modes.
    pub(crate) mode: Mode,
    /// Replicas that serve or will.
    pub(crate) current: u32,
}

/// How many replicas are wanted, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) current: u32,
    pub(crate) desired: u32,
}

impl<'a> Group<'a> {
    /// The service, when its oldest running container says how far it may be scaled.
    pub(crate) fn of(state: &'a State, service: &'a ServiceId) -> Option<Self> {
        let mut replicas: Vec<Replica<'a>> = state.fleet.replicas(service);
        replicas.sort_by(|a, b| {
            (a.record.created_at, &a.record.name).cmp(&(b.record.created_at, &b.record.name))
        });
        let counted: Vec<&Replica<'a>> =
            replicas.iter().filter(|replica| replica.counts()).collect();
        let policy = counted
            .iter()
            .filter(|replica| replica.record.state == ContainerState::Running)
            .find_map(|replica| replica.record.policy.scale)?;
        let mode = counted
            .iter()
            .map(|replica| replica.record.policy.mode)
            .min()?;
        let current = u32::try_from(counted.len()).unwrap_or(u32::MAX);
        Some(Group {
            service,
            replicas,
            policy,
            mode,
            current,
        })
    }

    fn target(&self) -> f64 {
        let ScaleTarget::Cpu(ratio) = self.policy.target;
        ratio.get().max(0.01)
    }

    fn all_serve(&self) -> bool {
        let counted = self.replicas.iter().filter(|replica| replica.counts());
        counted
            .into_iter()
            .all(|replica| replica.record.is_serving())
    }

    /// What one replica carries at the target, in millicores.
    fn carries(&self, capacity: Millicores) -> f64 {
        capacity.0 as f64 * self.target()
    }
}

fn replicas_for(load: f64, carries: f64) -> u32 {
    ((load / carries).ceil().clamp(1.0, 1_000_000.0)) as u32
}

/// The load seen is all that the CPU limits let through.
fn is_capped(forecast: &Forecast, group: &Group<'_>, config: &config::Scale) -> bool {
    let carried = f64::from(forecast.replicas) * group.carries(forecast.replica_capacity);
    forecast.throttled >= config.throttled && carried > 0.0 && forecast.observed >= carried
}

/// Replicas this forecast asks for. Never more than twice those there are: the next step is taken with what this one teaches.
pub(crate) fn need(forecast: &Forecast, group: &Group<'_>, config: &config::Scale) -> u32 {
    let carries = group.carries(forecast.replica_capacity);
    let load = load_ahead(forecast, config.startup);
    let ratio = load / (f64::from(group.current.max(1)) * carries);
    let mut desired = if (ratio - 1.0).abs() <= config.tolerance {
        group.current
    } else {
        replicas_for(load, carries)
    };
    // Replicas to come have shown nothing yet: only when all carry load is more than they can carry being asked for.
    if is_capped(forecast, group, config) && forecast.replicas >= group.current && group.all_serve()
    {
        let demand = forecast.observed / (1.0 - forecast.throttled.clamp(0.0, 0.5));
        desired = desired
            .max(replicas_for(demand, carries))
            .max(group.current.saturating_add(1));
    }
    let most = group
        .current
        .saturating_mul(2)
        .max(group.current.saturating_add(1));
    desired.min(most).clamp(group.policy.min, group.policy.max)
}

/// The number of replicas that enough forecasts in a row ask for, when it is more than there are.
pub(crate) fn wants_more(
    state: &State,
    group: &Group<'_>,
    load: &Load,
    now: Timestamp,
) -> Option<u32> {
    let config = &state.config.scale;
    if group.current < group.policy.min {
        return Some(group.policy.min);
    }
    let overloaded = !overloads(state, group.service).is_empty();
    let required = if overloaded {
        1
    } else {
        config.up_confirmations.max(1)
    };
    // What was measured while people changed the service says nothing about its load.
    let since = state.hold_end(group.service).min(now);
    let confirming = load.last(required, since);
    if confirming.len() < required as usize {
        return None;
    }
    let least = confirming
        .iter()
        .map(|forecast| need(forecast, group, config))
        .min()?;
    (least > group.current).then_some(least)
}

/// Open overload signals of a service.
fn overloads<'a>(state: &'a State, service: &ServiceId) -> Vec<&'a Signal> {
    let open = state.signals.open(service).into_iter();
    open.filter(|signal| signal.kind == SignalKind::Overload)
        .collect()
}

/// What to do about the number of replicas of a service.
pub(crate) fn decide(
    state: &State,
    service: &ServiceId,
    now: Timestamp,
) -> (Option<Wanted>, Decision) {
    let Some(group) = Group::of(state, service) else {
        return (None, Decision::Nothing);
    };
    let Some(load) = state.loads.get(service) else {
        return (None, Decision::Nothing);
    };
    let Some(forecast) = load.newest() else {
        return (None, Decision::Nothing);
    };
    let wanted = |desired| {
        Some(Wanted {
            current: group.current,
            desired,
        })
    };
    if forecast.at + state.config.telemetry_stale < now {
        return (wanted(group.current), Decision::Nothing);
    }
    if let Some(desired) = wants_more(state, &group, load, now) {
        return (wanted(desired), grow(state, &group, forecast, desired, now));
    }
    match wants_less(state, &group, load, forecast) {
        Less::No => (wanted(group.current), Decision::Nothing),
        Less::Until(until) => (wanted(group.current), Decision::Wait(until)),
        Less::Yes { peak } => (
            wanted(group.current - 1),
            shrink(state, &group, forecast, peak, now),
        ),
    }
}

/// A plan of the service, or people, forbid a change of replicas.
fn is_blocked(
    state: &State,
    group: &Group<'_>,
    kind: ActionKind,
    now: Timestamp,
) -> Option<Decision> {
    let hold = state.hold_end(group.service);
    if hold > now {
        return Some(Decision::Wait(hold));
    }
    let mut active = state
        .plans
        .active()
        .filter(|entry| entry.plan.service == *group.service);
    let busy = active.any(|entry| {
        let restarting = entry.plan.kind == ActionKind::Restart;
        entry.phase == Phase::Decided || !restarting || kind == ActionKind::RemoveReplica
    });
    if busy {
        return Some(Decision::Nothing);
    }
    let retry = ledger::retry_at(&state.plans, &state.config.ledger, group.service, kind);
    (retry > now).then_some(Decision::Wait(retry))
}

fn grow(
    state: &State,
    group: &Group<'_>,
    forecast: &Forecast,
    desired: u32,
    now: Timestamp,
) -> Decision {
    if let Some(blocked) = is_blocked(state, group, ActionKind::CreateReplica, now) {
        return blocked;
    }
    let left = budget::left(&state.plans, &state.config.budget, group.service, now);
    // With nothing left the draft keeps its whole size, and the budget is what is said.
    let affordable = match left.service.min(left.global) {
        0 => desired,
        steps => steps,
    };
    let count = desired.saturating_sub(group.current).min(affordable);
    let config = &state.config.scale;
    let carries = group.carries(forecast.replica_capacity);
    let ahead = load_ahead(forecast, config.startup);
    let capped = if is_capped(forecast, group, config) {
        format!(
            ", and {:.0}% of its time it waits for its CPU limit, so more is asked for than is seen",
            forecast.throttled * 100.0
        )
    } else {
        String::new()
    };
    let reason = format!(
        "{} uses {:.0}m of CPU and {ahead:.0}m are expected in {} s{capped}; {} replicas carry {:.0}m at {}",
        group.service,
        forecast.observed,
        config.startup.as_secs(),
        group.current,
        carries * f64::from(group.current),
        Ratio::saturating(group.target()),
    );
    match additions(state, group, count, now) {
        Ok(steps) => {
            let draft = growth(state, group, reason, steps, forecast);
            admit(state, draft, group.mode, now)
        }
        Err(why) => {
            let draft = growth(state, group, reason, Vec::new(), forecast).held(&why);
            match group.mode.min(state.config.max_mode) {
                Mode::Observe => Decision::Nothing,
                Mode::Suggest | Mode::Act => say(state, draft, None, now),
            }
        }
    }
}

/// The steps that add `count` replicas like the oldest serving one, or why there can be none.
pub(crate) fn additions(
    state: &State,
    group: &Group<'_>,
    count: u32,
    now: Timestamp,
) -> Result<Vec<Step>, String> {
    let serving = group
        .replicas
        .iter()
        .filter(|replica| replica.record.is_serving());
    let serving: Vec<&Replica<'_>> = serving
        .filter(|replica| state.is_fresh(replica, now))
        .collect();
    let template = serving
        .iter()
        .find(|replica| replica.record.copy_obstacles.is_empty());
    let Some(template) = template else {
        return Err(match serving.first() {
            Some(first) => format!(
                "no replica can be made from {}: {}",
                first.record.name,
                first.record.copy_obstacles.join("; ")
            ),
            None => format!(
                "no replica of {} serves that a new one could be made from",
                group.service
            ),
        });
    };
    let names = free_names(state, group, template, count);
    let step = |name| Step {
        node: template.node.clone(),
        action: Action::CreateReplica {
            template: template.record.id.clone(),
            name,
        },
    };
    Ok(names.into_iter().map(step).collect())
}

/// `web-1-r1`, `web-1-r2` …: the first that neither a container nor a running plan has.
fn free_names(
    state: &State,
    group: &Group<'_>,
    template: &Replica<'_>,
    count: u32,
) -> Vec<ContainerName> {
    let name = template.record.name.as_str();
    let base = match name.rsplit_once("-r") {
        Some((base, digits))
            if template.record.made_by.is_some() && digits.parse::<u32>().is_ok() =>
        {
            base
        }
        Some(_) | None => name,
    };
    let promised: BTreeSet<&str> = state
        .plans
        .active()
        .flat_map(|entry| {
            entry
                .plan
                .steps
                .iter()
                .map(|step| step.action.name().as_str())
        })
        .chain(
            group
                .replicas
                .iter()
                .map(|replica| replica.record.name.as_str()),
        )
        .collect();
    (1_u32..)
        .map(|number| format!("{base}-r{number}"))
        .filter(|name| {
            !promised.contains(name.as_str()) && !state.fleet.is_named(template.node, name)
        })
        .take(count as usize)
        .map(ContainerName::new)
        .collect()
}

/// The draft of a growth by these steps.
pub(crate) fn growth(
    state: &State,
    group: &Group<'_>,
    reason: String,
    steps: Vec<Step>,
    forecast: &Forecast,
) -> Draft {
    let config = &state.config.scale;
    let added = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    let total = group.current.saturating_add(added);
    let ScaleTarget::Cpu(target) = group.policy.target;
    let capacity = forecast.replica_capacity.0 as f64;
    let share = |replicas: u32| forecast.observed / (f64::from(replicas.max(1)) * capacity) * 100.0;
    let causes = overloads(state, group.service);
    let mut alternatives = vec![format!(
        "wait: forecasts in a row ask for more, and a new replica needs about {} s to serve",
        config.startup.as_secs()
    )];
    if added > 1 {
        alternatives.push(format!(
            "add one replica: {} would each still be at {:.0}%",
            group.current + 1,
            share(group.current + 1)
        ));
    }
    Draft {
        service: group.service.clone(),
        kind: ActionKind::CreateReplica,
        signals: causes.iter().map(|signal| signal.id.clone()).collect(),
        reason,
        steps,
        expected: Expectation {
            text: format!(
                "CPU use per replica falls from {:.0}% to about {:.0}% with {total} instead of {} replicas, or they carry more together; judged within {} s",
                share(group.current),
                share(total),
                group.current,
                config.verdict_within.as_secs()
            ),
            check: Check::UtilisationAtMost { ratio: target },
            within: config.verdict_within,
        },
        alternatives,
        deadline: config.deadline,
        undo_of: None,
        traceparent: causes.iter().find_map(|signal| signal.traceparent.clone()),
    }
}

enum Less {
    No,
    Until(Timestamp),
    Yes { peak: f64 },
}

fn wants_less(state: &State, group: &Group<'_>, load: &Load, forecast: &Forecast) -> Less {
    let config = &state.config.scale;
    if group.current <= group.policy.min || !overloads(state, group.service).is_empty() {
        return Less::No;
    }
    let Some(peak) = load.peak_over(config.down_window) else {
        return Less::Until(load.covered_at(config.down_window));
    };
    let after = f64::from(group.current - 1) * group.carries(forecast.replica_capacity);
    let fits = peak <= after * (1.0 - config.tolerance) && !is_capped(forecast, group, config);
    if fits || group.current > group.policy.max {
        Less::Yes { peak }
    } else {
        Less::No
    }
}

fn shrink(
    state: &State,
    group: &Group<'_>,
    forecast: &Forecast,
    peak: f64,
    now: Timestamp,
) -> Decision {
    if let Some(blocked) = is_blocked(state, group, ActionKind::RemoveReplica, now) {
        return blocked;
    }
    let config = &state.config.scale;
    if let Some(worse) = last_worse(state, group.service)
        && worse + config.down_hold > now
    {
        return Decision::Wait(worse + config.down_hold);
    }
    let Some(replica) = removable(state, group, now) else {
        return Decision::Nothing;
    };
    let name = &replica.record.name;
    let left = group.current - 1;
    let capacity = forecast.replica_capacity.0 as f64;
    let share = peak / (f64::from(left.max(1)) * capacity) * 100.0;
    let draft = Draft {
        service: group.service.clone(),
        kind: ActionKind::RemoveReplica,
        signals: Vec::new(),
        reason: format!(
            "{} needed at most {peak:.0}m of CPU for {} s; {left} replicas carry {:.0}m at {}",
            group.service,
            config.down_window.as_secs(),
            f64::from(left) * group.carries(forecast.replica_capacity),
            Ratio::saturating(group.target()),
        ),
        steps: vec![removal(replica, config)],
        expected: Expectation {
            text: format!(
                "{left} replicas carry the load at {share:.0}% at the most; no overload of {} opens within {} s",
                group.service,
                config.verdict_within.as_secs()
            ),
            check: Check::NoOverload,
            within: config.verdict_within,
        },
        alternatives: vec![
            format!("keep {name}: its share of the load fits the others"),
            "remove more at once: one at a time shows first whether it was too many".to_owned(),
        ],
        deadline: config.deadline,
        undo_of: None,
        traceparent: None,
    };
    admit(state, draft, group.mode, now)
}

/// The step that removes a container.
pub(crate) fn removal(replica: &Replica<'_>, config: &config::Scale) -> Step {
    Step {
        node: replica.node.clone(),
        action: Action::RemoveReplica {
            container: replica.record.id.clone(),
            name: replica.record.name.clone(),
            grace: config.grace,
        },
    }
}

/// When a removal was last found to have made things worse.
fn last_worse(state: &State, service: &ServiceId) -> Option<Timestamp> {
    let removals = state
        .plans
        .acted(service)
        .filter(|entry| entry.plan.kind == ActionKind::RemoveReplica);
    let worse = removals.filter_map(|entry| entry.verdict.as_ref());
    worse
        .filter(|verdict| verdict.kind == VerdictKind::Worse)
        .map(|verdict| verdict.at)
        .max()
}

/// The newest container of ours that can go without falling below the promise.
fn removable<'a>(state: &State, group: &'a Group<'_>, now: Timestamp) -> Option<&'a Replica<'a>> {
    let serving = group
        .replicas
        .iter()
        .filter(|replica| replica.record.is_serving())
        .count();
    let ours = group.replicas.iter().rev().filter(|replica| {
        replica.counts()
            && replica.record.made_by.is_some()
            && replica.record.state != ContainerState::Paused
            && state.is_fresh(replica, now)
    });
    ours.into_iter().find(|replica| {
        let others = serving - usize::from(replica.record.is_serving());
        others >= group.policy.min as usize
    })
}
