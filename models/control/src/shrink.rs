//! Removing replicas: one at a time, after a long look back, and only what Homeostat made.

use std::time::Duration;

use units::{
    Action, ActionKind, Check, ContainerState, Expectation, Forecast, Ratio, ServiceId, Step,
    Timestamp, VerdictKind,
};

use crate::config;
use crate::draft::{Decision, Draft, admit};
use crate::fleet::Replica;
use crate::grow::kept;
use crate::loads::Load;
use crate::measure::figure;
use crate::relocate;
use crate::scale::{Group, is_blocked, is_capped, overloads};
use crate::spread;
use crate::state::State;
use crate::update;

/// So far is looked back where a number was found for a promise …
const SIZED_WINDOW: Duration = Duration::from_secs(60);
/// … and those left must not have been used by more than this at the most.
const SIZED_FULL: f64 = 0.9;

/// Whether a service has more than it needs.
pub(crate) enum Less {
    No,
    Until(Timestamp),
    Yes { peak: f64 },
}

/// Whether all of the window could do with one less.
pub(crate) fn wants_less(
    state: &State,
    group: &Group<'_>,
    load: &Load,
    forecast: &Forecast,
) -> Less {
    let config = &state.config.scale;
    if group.current <= group.policy.least()
        || !overloads(state, group.service).is_empty()
        || group.unsure(forecast).is_some()
    {
        return Less::No;
    }
    let window = looked_back(group, forecast, config);
    let Some(peak) = load.peak_over(window) else {
        return Less::Until(load.covered_at(window));
    };
    let left = f64::from(group.current - 1);
    let fits = match group.sizing(forecast) {
        Some(_) => {
            let mut latest = load.latest();
            let all = latest.all(|forecast| {
                let sizing = group.sizing(forecast);
                sizing.is_some_and(|sizing| sizing.replicas < group.current)
            });
            all && peak <= left * forecast.replica_capacity.0 as f64 * SIZED_FULL
        }
        None => {
            let after = left * group.carries(forecast.replica_capacity);
            peak <= after * (1.0 - config.tolerance) && !is_capped(forecast, group, config)
        }
    };
    if fits || group.current > group.policy.max {
        Less::Yes { peak }
    } else {
        Less::No
    }
}

/// How far back must have asked for less. A number that was found for a promise is patient by itself.
pub(crate) fn looked_back(
    group: &Group<'_>,
    forecast: &Forecast,
    config: &config::Scale,
) -> Duration {
    match group.sizing(forecast) {
        Some(_) => config.down_window.min(SIZED_WINDOW),
        None => config.down_window,
    }
}

/// What removes one replica.
pub(crate) fn shrink(
    state: &State,
    group: &Group<'_>,
    forecast: &Forecast,
    peak: f64,
    now: Timestamp,
) -> Decision {
    if let Some(blocked) = is_blocked(state, group, ActionKind::RemoveReplica, now) {
        return blocked;
    }
    // The one that is too many is the update's own; it ends with a look at what the load asks for.
    if update::is_running(state, group.service) || relocate::is_running(state, group.service, now) {
        return Decision::Nothing;
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
    let each = match forecast.loads.first() {
        Some(load) => format!(
            "{} of {}",
            figure(load, peak / f64::from(left.max(1))),
            load.metric
        ),
        None => format!("{:.0}%", peak / (f64::from(left.max(1)) * capacity) * 100.0),
    };
    let draft = Draft {
        relocation: None,
        preemption: None,
        service: group.service.clone(),
        kind: ActionKind::RemoveReplica,
        signals: Vec::new(),
        reason: reason(group, forecast, peak, config),
        steps: vec![removal(replica, config)],
        expected: Expectation {
            text: format!(
                "{left} replicas carry the load at {each} at the most; no overload of {} opens within {} s",
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
        approval: None,
        update: None,
        traceparent: None,
    };
    admit(state, draft, group.mode, now)
}

fn reason(group: &Group<'_>, forecast: &Forecast, peak: f64, config: &config::Scale) -> String {
    if let Some(load) = forecast.loads.first() {
        let window = looked_back(group, forecast, config);
        return group.outsized_metric(forecast, load, peak, window);
    }
    let window_s = looked_back(group, forecast, config).as_secs();
    let needed = format!(
        "{} needed at most {peak:.0}m of CPU for {window_s} s",
        group.service
    );
    let left = group.current - 1;
    match group.sizing(forecast) {
        Some(sizing) => format!(
            "{needed}, and {:.0}m give or take {:.0}m are expected; {} replicas are worth their cost for a promise of {}",
            sizing.expected,
            sizing.spread,
            sizing.replicas,
            kept(&sizing)
        ),
        None => format!(
            "{needed}; {left} replicas carry {:.0}m at {}",
            f64::from(left) * group.carries(forecast.replica_capacity),
            Ratio::saturating(group.target()),
        ),
    }
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
pub(crate) fn last_worse(state: &State, service: &ServiceId) -> Option<Timestamp> {
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

/// The container of ours that can go without falling below the promise: of the most crowded node, and there the newest.
pub(crate) fn removable<'a>(
    state: &State,
    group: &'a Group<'_>,
    now: Timestamp,
) -> Option<&'a Replica<'a>> {
    let serving = group
        .replicas
        .iter()
        // What a silent node said last is no promise that it still serves.
        .filter(|replica| replica.record.is_serving() && state.is_fresh(replica, now))
        .count();
    let ours = group.replicas.iter().rev().filter(|replica| {
        replica.counts()
            && replica.record.made_by.is_some()
            && replica.record.state != ContainerState::Paused
            && state.is_fresh(replica, now)
    });
    let mut able = ours.filter(|replica| {
        let others = serving - usize::from(replica.record.is_serving());
        others >= group.policy.least() as usize
    });
    let newest = able.next()?;
    let crowds = spread::crowds(state, &group.replicas);
    let crowd = |it: &Replica<'_>| crowds.get(it.node).copied().unwrap_or_default();
    // Of equal ones the newest stays the choice.
    Some(able.fold(
        newest,
        |best, it| if crowd(it) > crowd(best) { it } else { best },
    ))
}
