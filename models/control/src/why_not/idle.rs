//! Why the last container of a service is not stopped, or one that was is not started.

use units::{ActionKind, ContainerState, Forecast, ServiceId, Timestamp};

use crate::idle::{AtRest, Finding, at_rest, finding};
use crate::ledger::Tried;
use crate::loads::Load;
use crate::scale::Group;
use crate::state::State;

use super::{Reason, losing};

/// Why the last replica is not stopped; nothing where the label keeps it, or where it is about to be.
pub(super) fn running(
    state: &State,
    group: &Group<'_>,
    load: &Load,
    forecast: &Forecast,
    now: Timestamp,
) -> Option<Reason> {
    match finding(state, group, load, forecast, now)? {
        Finding::No(why) => Some(Reason::of(ActionKind::Stop, why)),
        Finding::Until(why, until) => Some(Reason::of(ActionKind::Stop, why).until(until)),
        Finding::Yes(..) => None,
    }
}

/// Why nothing of a service is started; nothing where it has none that may be stopped.
pub(super) fn standing(state: &State, service: &ServiceId, now: Timestamp) -> Option<Vec<Reason>> {
    if let Some(rest) = at_rest(state, service) {
        let mut reasons = vec![resting(state, &rest, now)];
        reasons.extend(losing(state, service, Tried::Start, now));
        return Some(reasons);
    }
    let replicas = state.fleet.replicas(service);
    let theirs = replicas.iter().filter(|it| {
        let scale = it.record.policy.scale.as_ref();
        it.record.state == ContainerState::Exited && scale.is_some_and(|it| it.may_rest(service))
    });
    let reasons: Vec<Reason> = theirs
        .map(|it| {
            let text = "it ended, or somebody stopped it, and what was not stopped here for being idle is not started here";
            Reason {
                container: Some(it.record.name.clone()),
                ..Reason::of(ActionKind::Restart, text)
            }
        })
        .collect();
    (!reasons.is_empty()).then_some(reasons)
}

fn resting(state: &State, rest: &AtRest<'_>, now: Timestamp) -> Reason {
    let (group, since) = (&rest.group, rest.since);
    let teller = group.teller();
    let series = group
        .metric()
        .map_or_else(String::new, |target| target.metric.to_string());
    let newest = group.load(state).and_then(Load::newest);
    let known = match newest {
        None => format!("no ready container of {teller} has told it"),
        Some(newest) if newest.at + group.stale(state) < now => format!(
            "what {teller} told of it last is {} s old",
            now.since(newest.at).as_secs()
        ),
        Some(newest) => format!("it is {}", group.short(newest, newest.observed)),
    };
    let silent = match state.is_fresh(&rest.replica, now) {
        true => String::new(),
        false => format!("; {}", state.silence_of(&rest.replica, now)),
    };
    let text = format!(
        "it is idle and stopped since {since}; it starts when {series} of {teller} is above 0, and {known}{silent}"
    );
    Reason {
        container: Some(rest.replica.record.name.clone()),
        ..Reason::of(ActionKind::Restart, text)
    }
}
