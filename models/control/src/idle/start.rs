//! Starting what rests once somebody asks for it. One reading is enough: a start is cheap, and somebody waits.

use units::{Action, ActionKind, Check, Expectation, Forecast, Ratio, ServiceId, Step, Timestamp};

use super::{AtRest, at_rest};
use crate::draft::{Decision, Draft, admit};
use crate::heal::RECHECK;
use crate::ledger::{self, Tried};
use crate::loads::{Load, startup};
use crate::scale::Wanted;
use crate::state::State;

/// What to do about a service of which nothing runs.
pub(crate) fn start(
    state: &State,
    service: &ServiceId,
    now: Timestamp,
) -> (Option<Wanted>, Decision) {
    let Some(rest) = at_rest(state, service) else {
        return (None, Decision::Nothing);
    };
    let group = &rest.group;
    let forecast = group.load(state).and_then(Load::newest);
    let fresh = forecast.filter(|it| it.at + group.stale(state) >= now);
    let Some(forecast) = fresh.filter(|it| it.observed > 0.0) else {
        return (wanted(0), Decision::Nothing);
    };
    // One that was started a moment ago may not have been seen to run yet.
    if state.plans.active().any(|it| it.plan.service == *service) {
        return (wanted(1), Decision::Nothing);
    }
    let hold = state.hold_end(service);
    let retry = ledger::retry_at(&state.plans, &state.config.ledger, service, Tried::Start);
    let until = hold.max(retry);
    if until > now {
        return (wanted(1), Decision::Wait(until));
    }
    if !state.is_fresh(&rest.replica, now) {
        return (wanted(1), Decision::Wait(now + RECHECK));
    }
    let draft = draft(state, &rest, forecast);
    (wanted(1), admit(state, draft, group.mode, now))
}

fn wanted(desired: u32) -> Option<Wanted> {
    Some(Wanted {
        current: 0,
        desired,
    })
}

fn draft(state: &State, rest: &AtRest<'_>, forecast: &Forecast) -> Draft {
    let config = &state.config.scale;
    let (group, record) = (&rest.group, rest.replica.record);
    let (service, name) = (group.service, &record.name);
    let carries = group.carries(forecast.replica_capacity);
    Draft {
        relocation: None,
        preemption: None,
        service: service.clone(),
        kind: ActionKind::Restart,
        signals: Vec::new(),
        reason: format!(
            "{} is {}, and nothing of {service} runs: {name} was stopped at {}, when nobody asked for it",
            group.told(forecast),
            group.short(forecast, forecast.observed),
            rest.since
        ),
        steps: vec![Step {
            node: rest.replica.node.clone(),
            action: Action::Restart {
                container: record.id.clone(),
                name: name.clone(),
                grace: config.grace,
            },
        }],
        expected: Expectation {
            text: format!(
                "{name} serves about {} s after its start, {} s at the most, and carries {}; more are added as the load asks for them",
                startup(forecast, group.startup).as_secs(),
                config.verdict_within.as_secs(),
                group.short(forecast, carries)
            ),
            check: Check::UtilisationAtMost {
                ratio: Ratio::saturating(group.target()),
            },
            within: config.verdict_within,
        },
        alternatives: vec![
            "wait for a second reading: a start is cheap, and somebody waits".to_owned(),
            format!(
                "make a new replica: none serves that it could be made from, and {name} is there"
            ),
        ],
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        traceparent: None,
    }
}
