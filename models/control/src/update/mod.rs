//! Rolling updates: a person orders another image for a service, and it is brought to its replicas one at a time.
//!
//! The order is a record of the journal ([`units::Update`]); the newest of a service counts. What it comes to is one ordinary plan after
//! the other, each with the order in it: the image is pulled to every node, one container more is made of it beside the others (or one is
//! replaced, where none can be made beside it) and watched, the others follow one at a time, and the one that was made beside them goes.
//! Whatever of that fails, or is judged worse, turns the order round: what was changed goes back to the image before, the last first, and
//! the order is over. It is never tried again.
//!
//! Nothing is kept but the newest order. How far it has come follows from its plans in the journal and from what the nodes hold
//! ([`course`]), so a controller that starts, or takes over, stands where the one before it stood. That an order is over is said once, as a
//! suggestion without steps; its kind says how it ended ([`ending_of`]). A newer order takes the place of one that is not over: what that
//! one changed is brought to the newest image, and, should that be no good either, back to what all ran before both.
//!
//! An order is a person's consent, so a mode of `suggest` is enough for it; people at work, budgets and the breaker hold it up as they do
//! everything else, and the ledger does not: nothing is tried twice. What an update changed is taken back here and never by
//! [`crate::undo`], which leaves plans with an order alone: it would know one plan, and not the others of the order. While one runs, what it
//! put there is not healed (its sickness is the verdict), no replica is removed and no limit changed; replicas may be added.

mod back;
mod course;
mod judge;
mod members;
mod next;
mod orders;
mod status;
mod steps;

pub use status::{UpdatePhase, UpdateStatus};

pub(crate) use judge::judged;
pub(crate) use orders::{Orders, REMEMBERED};
pub(crate) use status::{status, waits};

use std::time::Duration;

use units::{ActionKind, Check, Expectation, PlanEntry, ServiceId, Timestamp};

use crate::draft::{Decision, Draft, admit_ordered};
use crate::fleet::Replica;
use crate::state::State;

use course::Course;
use members::Members;
use next::{Ending, Look, Next};

/// What to do about the newest order of a service.
pub(crate) fn decide(state: &State, service: &ServiceId, now: Timestamp) -> Decision {
    match ahead(state, service, now) {
        None => Decision::Nothing,
        Some((_, Next::Wait(_, until))) => until.map_or(Decision::Nothing, Decision::Wait),
        Some((_, Next::Act(draft))) => admit_ordered(state, *draft, now),
        Some((course, Next::End(ending, why))) => {
            Decision::Say(Box::new(said(&course, ending, why)), None)
        }
    }
}

/// An order of the service is not over.
pub(crate) fn is_running(state: &State, service: &ServiceId) -> bool {
    Course::of(state, service).is_some_and(|course| course.over.is_none())
}

/// An order that is not over made this container, or another in its place, or was about to.
pub(crate) fn has_changed(state: &State, service: &ServiceId, replica: &Replica<'_>) -> bool {
    let course = Course::of(state, service).filter(|course| course.over.is_none());
    course.is_some_and(|course| course.changed(replica).is_some())
}

/// An order that is not over put this container there, and its sickness is the order's verdict.
pub(crate) fn watches(state: &State, service: &ServiceId, replica: &Replica<'_>) -> bool {
    let course = Course::of(state, service).filter(|course| course.over.is_none());
    course.is_some_and(|course| course.is_ours(state, replica))
}

/// What comes next of an order that is not over.
fn ahead<'a>(state: &'a State, service: &ServiceId, now: Timestamp) -> Option<(Course<'a>, Next)> {
    let course = Course::of(state, service)?;
    if course.over.is_some() {
        return None;
    }
    let members = Members::of(state, &course);
    let next = next::next(&Look {
        state,
        course: &course,
        members: &members,
        now,
    });
    Some((course, next))
}

/// The kind of the suggestion that says that an order is over.
const fn kind_of(ending: Ending) -> ActionKind {
    match ending {
        Ending::Finished => ActionKind::CreateReplica,
        Ending::RolledBack => ActionKind::Recreate,
        Ending::Refused => ActionKind::PullImage,
    }
}

/// How an order ended, by the suggestion that says so.
fn ending_of(entry: &PlanEntry) -> Ending {
    match entry.plan.kind {
        ActionKind::CreateReplica => Ending::Finished,
        ActionKind::PullImage => Ending::Refused,
        ActionKind::Recreate
        | ActionKind::Restart
        | ActionKind::UpdateLimits
        | ActionKind::RemoveReplica
        | ActionKind::Stop
        | ActionKind::Export
        | ActionKind::Isolate
        | ActionKind::Rejoin => Ending::RolledBack,
    }
}

/// The word that it is over.
fn said(course: &Course<'_>, ending: Ending, why: String) -> Draft {
    let order = course.order;
    let text = match ending {
        Ending::Finished => format!("the {order} is finished; nothing more is done for it"),
        Ending::RolledBack => {
            format!("the {order} is over and not tried again; someone looks at what its image does")
        }
        Ending::Refused => format!("the {order} is over; once its reason is gone, order it again"),
    };
    Draft {
        relocation: None,
        preemption: None,
        service: order.service.clone(),
        kind: kind_of(ending),
        signals: Vec::new(),
        reason: format!("{order}: {why}"),
        steps: Vec::new(),
        expected: Expectation {
            text,
            check: Check::ServesAsWell,
            within: Duration::ZERO,
        },
        alternatives: Vec::new(),
        deadline: Duration::ZERO,
        undo_of: None,
        approval: None,
        update: Some(order.clone()),
        traceparent: None,
    }
}
