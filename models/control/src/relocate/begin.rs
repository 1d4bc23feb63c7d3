//! How a move begins, whatever for: when one may, and its first plan.

use units::{ActionKind, ContainerId, NodeId, PlanEntry, Relocation, ServiceId, Timestamp};

use crate::came::{Came, came};
use crate::draft::Draft;
use crate::escalate::is_begun;
use crate::fleet::Replica;
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
    let busy = state.plans.active().any(|it| it.plan.service == *service);
    !busy
        && state.hold_end(service) <= now
        && !update::is_running(state, service)
        && !is_running(state, service, now)
}

/// Why none of the service is moved for a while.
pub(crate) fn bar(state: &State, service: &ServiceId, now: Timestamp) -> Option<String> {
    let lost = Course::of(state, service).and_then(|it| it.lost_at());
    let until = lost.map(|at| at + state.config.relocate.retry);
    if let Some(until) = until.filter(|it| *it > now) {
        return Some(format!(
            "the last move of {service} went wrong, so none is begun before {until}"
        ));
    }
    is_above_most(state, service, now)
        .then(|| format!("more of {service} run than its label io.homeostat.scale allows"))
}

/// The last move of the service within the time that the ledger looks back, and what has become of it, in words.
pub(crate) fn last(state: &State, service: &ServiceId, now: Timestamp) -> Option<String> {
    let course = Course::of(state, service)?;
    let relocation = course.relocation;
    let export = course.last(ActionKind::Export)?;
    if relocation.at + state.config.ledger.quarantine <= now || !is_begun(export) {
        return None;
    }
    let came_to = match (came(export), course.fault(), course.is_proven()) {
        (Came::Bad(why), _, _) => why,
        (Came::Void, _, _) => "it came to nothing".to_owned(),
        (Came::Open | Came::Good, Some((_, why)), _) => format!("taken back: {why}"),
        (Came::Open | Came::Good, None, true) => format!("the new one serves on {}", relocation.to),
        (Came::Open | Came::Good, None, false) if is_running(state, service, now) => {
            "not over".to_owned()
        }
        (Came::Open | Came::Good, None, false) => "it came to nothing".to_owned(),
    };
    Some(format!("{relocation} at {}: {came_to}", relocation.at))
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
