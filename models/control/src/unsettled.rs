//! Commands that nobody knows the end of: the actuator was ended in the middle, or no answer ever came, and the engine may still be at
//! work. While it may be taking a replica down, no other one of the service is taken down.

use std::time::Duration;

use units::{Action, ActionKind, OutcomeResult, Phase, PlanEntry, ServiceId, Step, Timestamp};

use crate::plans::outcome_of;
use crate::state::State;

/// An engine is at work on a command for this long at the most, beyond the grace of the container it stops: then whoever asked it gives
/// up, and so does it.
const WORKS_FOR: Duration = Duration::from_secs(30);

/// A replica that may still be going down.
pub(crate) struct Unsettled<'a> {
    /// Of what.
    pub(crate) action: &'a Action,
    /// Then it is over.
    pub(crate) until: Timestamp,
}

/// Whether this kind of action has a container stop serving for a while, or for good.
pub(crate) fn takes_down(kind: ActionKind) -> bool {
    match kind {
        ActionKind::Restart
        | ActionKind::Recreate
        | ActionKind::RemoveReplica
        | ActionKind::Stop
        | ActionKind::Isolate => true,
        ActionKind::UpdateLimits
        | ActionKind::CreateReplica
        | ActionKind::PullImage
        | ActionKind::Export
        | ActionKind::Rejoin => false,
    }
}

/// What has to be over before these steps may be taken, the last of it: nothing where they take no replica down, or only the one that
/// may be going down already.
pub(crate) fn before<'a>(
    state: &'a State,
    service: &ServiceId,
    steps: &[Step],
    now: Timestamp,
) -> Option<Unsettled<'a>> {
    let down = || steps.iter().filter(|it| takes_down(it.action.kind()));
    of(state, service, now)
        .filter(|open| down().any(|step| step.action.target() != open.action.target()))
        .max_by_key(|open| open.until)
}

/// Every replica of a service that may still be going down.
pub(crate) fn of<'a>(
    state: &'a State,
    service: &ServiceId,
    now: Timestamp,
) -> impl Iterator<Item = Unsettled<'a>> {
    let failed = state
        .plans
        .acted(service)
        .filter(|entry| entry.phase == Phase::Failed && takes_down(entry.plan.kind));
    let open = failed.flat_map(|entry| {
        let steps = entry.plan.steps.iter().enumerate();
        let open = steps.filter(move |(index, _)| is_open(entry, *index));
        open.map(move |(_, step)| (entry, &step.action, ends(entry, step)))
    });
    open.filter(move |(entry, action, until)| {
        // It was removed, or there is another one in its place.
        let is_there = state.fleet.find(&entry.plan.service, action.target());
        *until > now && is_there.is_some()
    })
    .map(|(_, action, until)| Unsettled { action, until })
}

/// Nobody knows what became of the step.
fn is_open(entry: &PlanEntry, index: usize) -> bool {
    outcome_of(entry, index).is_none_or(|outcome| match &outcome.result {
        OutcomeResult::Interrupted => true,
        OutcomeResult::Succeeded { .. }
        | OutcomeResult::Refused { .. }
        | OutcomeResult::Failed { .. }
        | OutcomeResult::Vanished => false,
    })
}

/// It was begun before its plan was known to have failed, and by its deadline.
fn ends(entry: &PlanEntry, step: &Step) -> Timestamp {
    let grace = match &step.action {
        Action::Restart { grace, .. }
        | Action::Recreate { grace, .. }
        | Action::RemoveReplica { grace, .. }
        | Action::Stop { grace, .. } => *grace,
        Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::PullImage { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => Duration::ZERO,
    };
    entry.at.min(entry.plan.deadline) + grace + WORKS_FOR
}
