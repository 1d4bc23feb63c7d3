//! Moves: a container goes to another node, the new one first.
//!
//! A move is one ordinary plan after the other, all with the same [`units::Relocation`]: the node it leaves tells how it is made, one is
//! made so on the node it goes to and watched, and then the one that was there goes: it is removed where Homeostat made it, else stopped
//! and kept. Whatever of that fails, or is judged worse, is taken back: the new one goes, and the old one is started again if it was
//! stopped. Nothing but the plans is kept, so a controller that starts, or takes over, stands where the one before it stood ([`course`]).
//!
//! What is moved, and where to, is [`crate::capacity`]'s advice ([`relief`]): off nodes that are short, one container of a node at a time,
//! so that what that brings is seen before the next; and off nodes that people want drained, a few at a time. What nothing cured where it
//! is moves too ([`crate::further`]). While a service has a container on the way no other of it is, none of it is removed and
//! no limit changed; it is not updated either. A service whose move went wrong is left where it is for a while.

mod begin;
mod course;
mod judge;
mod next;
mod relief;
mod steps;

use units::{ServiceId, Timestamp};

use crate::draft::{Decision, admit, admit_ordered};
use crate::fleet::Replica;
use crate::state::State;

use course::Course;
use next::Next;

pub(crate) use begin::{
    bar, bar_of_failover, begin, has_stand_in, has_taken, is_free, is_free_but_for_updates, last,
};
pub(crate) use judge::{judged, watched_on};
pub(crate) use relief::{Candidate, LOOKED_EVERY, Looked, due, relief, set_out};
pub(crate) use steps::{Purpose, stand_in, takes};

/// How the move of a container of the service goes on.
pub(crate) fn decide(state: &State, service: &ServiceId, now: Timestamp) -> Decision {
    let Some(course) = Course::of(state, service) else {
        return Decision::Nothing;
    };
    match next::next(state, &course, now) {
        Next::Over => Decision::Nothing,
        Next::Wait(until) => until.map_or(Decision::Nothing, Decision::Wait),
        Next::Act(draft) => match course.approval() {
            // Who let it begin let it come to its end.
            Some(approval) => {
                let approval = Some(approval.clone());
                admit_ordered(state, crate::draft::Draft { approval, ..*draft }, now)
            }
            None => admit(state, *draft, course.mode(state), now),
        },
    }
}

/// A container of the service is on its way.
pub(crate) fn is_running(state: &State, service: &ServiceId, now: Timestamp) -> bool {
    let course = Course::of(state, service);
    course.is_some_and(|course| match next::next(state, &course, now) {
        Next::Over => false,
        Next::Wait(_) | Next::Act(_) => true,
    })
}

/// What a move means for its service just now: that it is under way, or went wrong a short time ago; and until when.
pub(crate) fn standing(
    state: &State,
    service: &ServiceId,
    now: Timestamp,
) -> Option<(String, Timestamp)> {
    let course = Course::of(state, service)?;
    let relocation = course.relocation;
    if is_running(state, service, now) {
        let text = format!(
            "the {relocation} is under way: meanwhile no replica is removed, no limit changed, and no update goes on"
        );
        return Some((text, relocation.at + next::GIVEN_UP));
    }
    let until = course.lost_at()? + begin::retried_after(state, &course);
    let why = course
        .fault()
        .map_or_else(String::new, |(_, why)| format!(": {why}"));
    let text = format!(
        "the {relocation} went wrong{why}; until then it stays where it is, and after that it may be tried again"
    );
    (until > now).then_some((text, until))
}

/// A move that is not over is about this container: the new one's sickness is its verdict, and the old one goes.
pub(crate) fn watches(
    state: &State,
    service: &ServiceId,
    replica: &Replica<'_>,
    now: Timestamp,
) -> bool {
    let Some(course) = Course::of(state, service) else {
        return false;
    };
    // What a lost node had is healed when it is back, as long as nothing serves in its place.
    let is_left = course.relocation.lost
        && course
            .stand_in(state)
            .is_none_or(|it| !it.record.is_serving());
    let goes =
        replica.record.id == course.relocation.container && course.fault().is_none() && !is_left;
    let comes = course.is_successor(replica) && !course.is_proven();
    (goes || comes) && is_running(state, service, now)
}
