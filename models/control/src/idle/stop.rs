//! Stopping the last container of a service that nobody asks for.

use units::{Action, ActionKind, Check, ContainerState, Expectation, Forecast, Step, Timestamp};

use crate::budget;
use crate::depends;
use crate::draft::{Decision, Draft, admit};
use crate::fleet::Replica;
use crate::heal::RECHECK;
use crate::ledger::{self, Tried};
use crate::loads::{Load, is_ahead, load_ahead, startup};
use crate::relocate;
use crate::scale::{Group, is_blocked, overloads};
use crate::state::State;
use crate::update;

/// Steps of a stop and of the start that follows.
const ROUND: u32 = 2;

/// What is found of stopping the last replica.
pub(crate) enum Finding<'a> {
    /// Why not.
    No(String),
    /// Not yet: why, and until when.
    Until(String, Timestamp),
    /// This one, idle since then.
    Yes(Replica<'a>, Timestamp),
}

/// Whether a service is idle, where its label lets it come to none. `forecast` is the newest of its load, and not too old.
pub(crate) fn finding<'a>(
    state: &State,
    group: &Group<'a>,
    load: &Load,
    forecast: &Forecast,
    now: Timestamp,
) -> Option<Finding<'a>> {
    if !group.policy.may_rest(group.service) {
        return None;
    }
    let mut counted = group.replicas.iter().filter(|it| it.counts());
    let (1, 0, Some(replica)) = (group.current, group.returning, counted.next().copied()) else {
        return Some(Finding::No(format!(
            "it has {} replicas, and only the last one is stopped",
            group.current + group.returning
        )));
    };
    Some(match hindrance(state, group, &replica, forecast, now) {
        Some(why) => Finding::No(why),
        None => idleness(state, group, load, forecast, (replica, now)),
    })
}

/// Why it is not stopped, however idle it is.
fn hindrance(
    state: &State,
    group: &Group<'_>,
    replica: &Replica<'_>,
    forecast: &Forecast,
    now: Timestamp,
) -> Option<String> {
    let record = replica.record;
    let name = &record.name;
    if !record.is_serving() || record.state != ContainerState::Running {
        return Some(format!("{name} does not serve, and is not idle for that"));
    }
    if !state.is_fresh(replica, now) {
        return Some(state.silence_of(replica, now));
    }
    if update::is_running(state, group.service) {
        return Some("an update of it is not over".to_owned());
    }
    if relocate::is_running(state, group.service, now) {
        return Some("a container of it is on its way to another node".to_owned());
    }
    if !overloads(state, group.service).is_empty() {
        return Some("it is overloaded".to_owned());
    }
    if let Some(sharer) = depends::sharers(&state.fleet, replica).first() {
        let other = &sharer.record.name;
        return Some(format!(
            "{other} shares the network of {name}, and would be left without any"
        ));
    }
    if let Some(why) = stays_down(state, group, now) {
        return Some(why);
    }
    if is_ahead(forecast, now) {
        return Some(format!(
            "{} is told of a time that is yet to be: a clock is ahead",
            group.told(forecast)
        ));
    }
    group.unsure(forecast)
}

/// Why it could not be started again when somebody asks for it. Nothing else is done for a service at rest, so the step that is left of its
/// own hour stays.
fn stays_down(state: &State, group: &Group<'_>, now: Timestamp) -> Option<String> {
    let (service, config) = (group.service, &state.config);
    let left = budget::left(&state.plans, &config.budget, service, now);
    let left = left.service.min(left.global);
    if left < ROUND {
        return Some(format!(
            "its budget leaves {left} steps of this hour, and what is stopped has to be started again (controller.budget)"
        ));
    }
    let losing = ledger::quarantined(&state.plans, &config.ledger, service, Tried::Start, now);
    let until = losing.or_else(|| {
        let retry = ledger::retry_at(&state.plans, &config.ledger, service, Tried::Start);
        Some(retry).filter(|at| *at > now)
    });
    until
        .map(|until| format!("the last starts of it did not help, and none is made before {until}"))
}

/// How long nobody has asked for it. Once started, it is given as long again.
fn idleness<'a>(
    state: &State,
    group: &Group<'_>,
    load: &Load,
    forecast: &Forecast,
    (replica, now): (Replica<'a>, Timestamp),
) -> Finding<'a> {
    let idle_after = state.config.scale.idle_after;
    let Some(since) = load.idle_since() else {
        return Finding::No(format!(
            "it is asked for: {} is {}, with what is expected",
            group.told(forecast),
            group.short(forecast, load_ahead(forecast, group.startup))
        ));
    };
    let started = replica.record.started_at;
    let started = started.map(|at| state.fleet.here(replica.node, at).min(now));
    let begins = started.map_or(since, |at| at.max(since));
    let until = begins + idle_after;
    // A reading from before then says nothing of the time since: the next one does.
    match forecast.at >= since + idle_after && until <= now {
        true => Finding::Yes(replica, since),
        false => Finding::Until(
            format!(
                "nobody has asked for it since {begins}, and it is stopped after {} s of that (controller.scale.idle_after)",
                idle_after.as_secs()
            ),
            until.max(now + RECHECK),
        ),
    }
}

/// What stops the last replica of a service that is idle.
pub(crate) fn stop(
    state: &State,
    group: &Group<'_>,
    load: &Load,
    forecast: &Forecast,
    now: Timestamp,
) -> Decision {
    let (replica, since) = match finding(state, group, load, forecast, now) {
        None | Some(Finding::No(_)) => return Decision::Nothing,
        Some(Finding::Until(_, until)) => return Decision::Wait(until),
        Some(Finding::Yes(replica, since)) => (replica, since),
    };
    if let Some(blocked) = is_blocked(state, group, ActionKind::Stop, now) {
        return blocked;
    }
    let draft = draft(state, group, &replica, forecast, since);
    admit(state, draft, group.mode, now)
}

fn draft(
    state: &State,
    group: &Group<'_>,
    replica: &Replica<'_>,
    forecast: &Forecast,
    since: Timestamp,
) -> Draft {
    let config = &state.config.scale;
    let (service, name) = (group.service, &replica.record.name);
    let told = group.told(forecast);
    let within_s = config.verdict_within.as_secs();
    Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::Stop,
        signals: Vec::new(),
        reason: format!(
            "{told} has been 0 for {} s without a break, and 0 is expected; {name} is the last replica of {service}, whose label lets it come down to none",
            forecast.at.since(since).as_secs()
        ),
        steps: vec![Step {
            node: replica.node.clone(),
            action: Action::Stop {
                container: replica.record.id.clone(),
                name: name.clone(),
                grace: config.grace,
            },
        }],
        expected: Expectation {
            text: format!(
                "nobody asks for {service} within {within_s} s, and what {name} held is free; it is started as soon as {told} is above 0, and serves about {} s later",
                startup(forecast, group.startup).as_secs()
            ),
            check: Check::NoOverload,
            within: config.verdict_within,
        },
        alternatives: vec![
            format!(
                "keep {name}: it would hold its memory for nothing, as it has for {} s",
                forecast.at.since(since).as_secs()
            ),
            format!(
                "remove {name}: a container that is kept starts sooner, and with what it wrote"
            ),
        ],
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: None,
    }
}
