//! How a move begins, whatever for: when one may, and its first plan.

use std::collections::BTreeSet;
use std::time::Duration;

use units::{ContainerId, NodeId, PlanEntry, Relocation, ServiceId, Timestamp};

use crate::came::{Came, came, void};
use crate::draft::Draft;
use crate::escalate::is_begun;
use crate::fleet::Replica;
use crate::ledger::doubled;
use crate::state::State;
use crate::update;

use super::course::{Course, is_failed};
use super::is_running;
use super::next::is_above_most;
use super::steps::{self, Purpose};

/// The first plan of a move of this container to another node.
pub(crate) fn begin(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    to: &NodeId,
    purpose: Purpose,
    now: Timestamp,
) -> Draft {
    let relocation = Relocation {
        container: replica.record.id.clone(),
        name: replica.record.name.clone(),
        from: replica.node.clone(),
        to: to.clone(),
        at: now,
        lost: false,
    };
    steps::export(state, service, replica, relocation, purpose)
}

/// Nothing else of the service is under way that a move would have to wait for.
pub(crate) fn is_free(state: &State, service: &ServiceId, now: Timestamp) -> bool {
    !update::is_running(state, service) && is_free_but_for_updates(state, service, now)
}

/// The same, whatever an update of the service is at: between two of its steps nothing of it is under way.
pub(crate) fn is_free_but_for_updates(state: &State, service: &ServiceId, now: Timestamp) -> bool {
    let busy = state.plans.active().any(|it| it.plan.service == *service);
    !busy && state.hold_end(service) <= now && !is_running(state, service, now)
}

/// Why this container is not moved, or not for a while. Of what may run once there would be two, since the new one comes first.
pub(crate) fn bar(state: &State, replica: &Replica<'_>, now: Timestamp) -> Option<String> {
    let record = replica.record;
    if record.policy.singleton {
        let text = "no two of it may run at once (io.homeostat.singleton), and a move makes the new one first";
        return Some(text.to_owned());
    }
    bar_of_service(state, &record.service, now)
}

/// Why nothing of the service that runs is moved for a while.
fn bar_of_service(state: &State, service: &ServiceId, now: Timestamp) -> Option<String> {
    barred(state, service, Course::of(state, service), now)
}

/// Why nothing of the service that ran on a lost node is made elsewhere for a while. That a move went wrong which people or the loop began before
/// is no reason: the host may have been failing then.
pub(crate) fn bar_of_failover(
    state: &State,
    service: &ServiceId,
    now: Timestamp,
) -> Option<String> {
    let course = Course::of(state, service).filter(|it| it.relocation.lost);
    barred(state, service, course, now)
}

fn barred(
    state: &State,
    service: &ServiceId,
    course: Option<Course<'_>>,
    now: Timestamp,
) -> Option<String> {
    let until = course.and_then(|it| Some(it.lost_at()? + retried_after(state, &it)));
    if let Some(until) = until.filter(|it| *it > now) {
        return Some(format!(
            "the last move of {service} went wrong, so none is begun before {until}"
        ));
    }
    is_above_most(state, service, now)
        .then(|| format!("more of {service} run than its label io.homeostat.scale allows"))
}

/// How long a service whose move went wrong is left where it is. What ran on a lost node serves nowhere, so it is tried again soon, and
/// after twice the wait each time.
pub(super) fn retried_after(state: &State, course: &Course<'_>) -> Duration {
    let config = &state.config.relocate;
    if !course.relocation.lost {
        return config.retry;
    }
    let since = course.relocation.at - config.retry;
    let container = &course.relocation.container;
    let moves = state.plans.acted(course.service);
    let moves = moves.filter_map(|it| it.plan.relocation.as_ref());
    let tries = moves.filter(|it| it.lost && it.container == *container && it.at >= since);
    let tries: BTreeSet<Timestamp> = tries.map(|it| it.at).collect();
    let again = u32::try_from(tries.len().saturating_sub(1)).unwrap_or(u32::MAX);
    doubled(config.retry_step, again).min(config.retry)
}

/// The last move of the service within the time that the ledger looks back, and what has become of it, in words.
pub(crate) fn last(state: &State, service: &ServiceId, now: Timestamp) -> Option<String> {
    let course = Course::of(state, service)?;
    let relocation = course.relocation;
    let first = course.plans.first()?;
    if relocation.at + state.config.ledger.quarantine <= now || !is_begun(first) {
        return None;
    }
    let came_to = match (came(first), course.fault(), course.is_proven()) {
        (Came::Bad(why), _, _) => why,
        (Came::Void, _, _) => void(first).unwrap_or_else(|| "it came to nothing".to_owned()),
        (Came::Open | Came::Good, Some((_, why)), _) => format!("taken back: {why}"),
        (Came::Open | Came::Good, None, true) => format!("the new one serves on {}", relocation.to),
        (Came::Open | Came::Good, None, false) if is_running(state, service, now) => {
            "not over".to_owned()
        }
        (Came::Open | Came::Good, None, false) => "it came to nothing".to_owned(),
    };
    Some(format!("{relocation} at {}: {came_to}", relocation.at))
}

/// A failover made another in the place of this container that is there, or whose own place was taken since, when its node was lost too.
pub(crate) fn has_stand_in(state: &State, service: &ServiceId, container: &ContainerId) -> bool {
    let moves = state.plans.acted(service);
    let moves = moves.filter_map(|it| it.plan.relocation.as_ref());
    let mut of_it = moves
        .filter(|it| it.lost && it.container == *container)
        .filter_map(|it| Course::about(state, service, it));
    of_it.any(|course| course.stand_in(state).is_some())
}

/// A move took this container away, or was to.
pub(crate) fn has_taken(state: &State, service: &ServiceId, container: &ContainerId) -> bool {
    let Some(course) = Course::of(state, service) else {
        return false;
    };
    let mut taken = course
        .retirements()
        .filter(|it: &&PlanEntry| !is_failed(it));
    course.relocation.container == *container && taken.next().is_some()
}
