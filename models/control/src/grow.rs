//! Adding replicas: from which container, by which names, and what is expected of it.

use std::collections::BTreeSet;

use units::{
    Action, ActionKind, Check, ContainerName, Expectation, Forecast, Mode, NodeId, Ratio, Sizing,
    Step, Timestamp,
};

use crate::budget;
use crate::config;
use crate::draft::{Decision, Draft, admit, say};
use crate::fleet::Replica;
use crate::loads::{load_ahead, startup};
use crate::measure::figure;
use crate::preempt::{self, Room};
use crate::scale::{Group, is_blocked, is_capped, overloads};
use crate::spread;
use crate::state::State;

/// What adds the replicas that are missing.
pub(crate) fn grow(
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
    let mut open = able(state, group, now);
    open.retain(|it| preempt::held(state, it, now).is_none());
    let onto = match preempt::room(state, group, &open, now) {
        Room::Anywhere => None,
        Room::On(node) => Some(node),
        Room::Awaited => return Decision::Nothing,
        Room::Made(decision) => return decision,
    };
    // With nothing left the draft keeps its whole size, and the budget is what is said.
    let affordable = match left.service.min(left.global) {
        0 => desired,
        steps => steps,
    };
    let count = desired.saturating_sub(group.current).min(affordable);
    // Room is made for one at a time.
    let count = onto.as_ref().map_or(count, |_| count.min(1));
    let config = &state.config.scale;
    let reason = match (group.sizing(forecast), forecast.loads.first()) {
        (Some(sizing), _) => promised(group, forecast, &sizing),
        (None, Some(load)) => group.outgrown_metric(forecast, load),
        (None, None) => outgrown(group, forecast, config),
    };
    match additions_on(state, group, count, onto.as_ref(), now) {
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

/// Why the replicas there are do not keep what was promised.
fn promised(group: &Group<'_>, forecast: &Forecast, sizing: &Sizing) -> String {
    format!(
        "{} uses {:.0}m of CPU, and {:.0}m give or take {:.0}m are expected in {} s: {} replicas are worth their cost for a promise of {} ({:.2}% of the last seconds broke it), and there are {}",
        group.service,
        forecast.observed,
        sizing.expected,
        sizing.spread,
        startup(forecast, group.startup).as_secs(),
        sizing.replicas,
        kept(sizing),
        sizing.broken.get() * 100.0,
        group.current,
    )
}

/// What is promised, as the label says it.
pub(crate) fn kept(sizing: &Sizing) -> String {
    let percent = (1.0 - sizing.slo.get()) * 100.0;
    let digits = format!("{percent:.2}");
    format!("{}%", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// Why the replicas there are do not carry what is to come.
fn outgrown(group: &Group<'_>, forecast: &Forecast, config: &config::Scale) -> String {
    let carries = group.carries(forecast.replica_capacity);
    let ahead = load_ahead(forecast, group.startup);
    let capped = if is_capped(forecast, group, config) {
        format!(
            ", and {:.0}% of its time it waits for its CPU limit, so more is asked for than is seen",
            forecast.throttled * 100.0
        )
    } else {
        String::new()
    };
    format!(
        "{} uses {:.0}m of CPU and {ahead:.0}m are expected in {} s{capped}; {} replicas carry {:.0}m at {}",
        group.service,
        forecast.observed,
        startup(forecast, group.startup).as_secs(),
        group.current,
        carries * f64::from(group.current),
        Ratio::saturating(group.target()),
    )
}

/// The steps that add `count` replicas, each like the oldest serving one of its node, or why there can be none.
pub(crate) fn additions(
    state: &State,
    group: &Group<'_>,
    count: u32,
    now: Timestamp,
) -> Result<Vec<Step>, String> {
    additions_on(state, group, count, None, now)
}

/// The same, on this node where one is given.
fn additions_on(
    state: &State,
    group: &Group<'_>,
    count: u32,
    onto: Option<&NodeId>,
    now: Timestamp,
) -> Result<Vec<Step>, String> {
    let able = able(state, group, now);
    if able.is_empty() {
        return Err(match serving(state, group, now).next() {
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
    }
    let mut holding = None;
    let able: Vec<&Replica<'_>> = able
        .into_iter()
        .filter(|it| onto.is_none_or(|node| it.node == node))
        .filter(|it| match preempt::held(state, it, now) {
            None => true,
            Some((why, _)) => {
                holding.get_or_insert(why);
                false
            }
        })
        .collect();
    if let (true, Some(why)) = (able.is_empty(), holding) {
        return Err(why);
    }
    let mut steps: Vec<Step> = Vec::new();
    for template in spread::templates(state, &able, &group.replicas, count) {
        let step = Step {
            node: template.node.clone(),
            action: Action::CreateReplica {
                origin: None,
                template: template.record.id.clone(),
                name: free_name(state, &group.replicas, template, &steps),
                image: None,
            },
        };
        steps.push(step);
    }
    Ok(steps)
}

fn serving<'a>(
    state: &State,
    group: &'a Group<'_>,
    now: Timestamp,
) -> impl Iterator<Item = &'a Replica<'a>> {
    let replicas = group.replicas.iter();
    replicas.filter(move |it| it.record.is_serving() && state.is_fresh(it, now))
}

/// What a replica could be made from.
fn able<'a>(state: &State, group: &'a Group<'_>, now: Timestamp) -> Vec<&'a Replica<'a>> {
    let serving = serving(state, group, now);
    serving
        .filter(|it| it.record.copy_obstacles.is_empty())
        .collect()
}

/// `web-1-r1`, `web-1-r2` …: the first that neither a container, a running plan nor one of these steps has.
pub(crate) fn free_name(
    state: &State,
    replicas: &[Replica<'_>],
    template: &Replica<'_>,
    steps: &[Step],
) -> ContainerName {
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
        .chain(replicas.iter().map(|replica| replica.record.name.as_str()))
        .chain(steps.iter().map(|step| step.action.name().as_str()))
        .collect();
    let is_taken =
        |name: &str| promised.contains(name) || state.fleet.is_named(template.node, name);
    let mut number = 1_u32;
    while is_taken(&format!("{base}-r{number}")) {
        number += 1;
    }
    ContainerName::new(format!("{base}-r{number}"))
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
    let target = Ratio::saturating(group.target());
    let capacity = forecast.replica_capacity.0 as f64;
    let share = |replicas: u32| forecast.observed / (f64::from(replicas.max(1)) * capacity) * 100.0;
    let causes = overloads(state, group.service);
    let (falls, each) = match forecast.loads.first() {
        Some(load) => {
            let each = forecast.observed / f64::from(group.current.saturating_add(1));
            let falls = group.shared_metric(load, forecast.observed, group.current, total);
            (falls, figure(load, each))
        }
        None => {
            let falls = format!(
                "CPU use per replica falls from {:.0}% to about {:.0}% with {total} instead of {} replicas",
                share(group.current),
                share(total),
                group.current,
            );
            (falls, format!("{:.0}%", share(group.current + 1)))
        }
    };
    let mut alternatives = vec![format!(
        "wait: forecasts in a row ask for more, and a new replica needs about {} s to serve",
        startup(forecast, group.startup).as_secs()
    )];
    if added > 1 {
        alternatives.push(format!(
            "add one replica: {} would each still be at {each}",
            group.current + 1,
        ));
    }
    Draft {
        relocation: None,
        preemption: None,
        service: group.service.clone(),
        kind: ActionKind::CreateReplica,
        signals: causes.iter().map(|signal| signal.id.clone()).collect(),
        reason,
        steps,
        expected: Expectation {
            text: format!(
                "{falls}, or they carry more together; judged within {} s",
                config.verdict_within.as_secs()
            ),
            check: Check::UtilisationAtMost { ratio: target },
            within: config.verdict_within,
        },
        alternatives,
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: causes.iter().find_map(|signal| signal.traceparent.clone()),
    }
}
