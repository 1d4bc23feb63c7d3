//! What comes next of a move.

use std::time::Duration;

use units::{ActionKind, ContainerName, ContainerState, HealthState, ServiceId, Timestamp};

use crate::draft::Draft;
use crate::fleet::Replica;
use crate::heal::RECHECK;
use crate::ledger::doubled;
use crate::scale::returns;
use crate::state::State;

use super::course::{Course, is_failed, is_up};
use super::steps;

/// No step forward is begun so long after a move was decided: what was right then is another question by now.
const VALID: Duration = Duration::from_secs(1_800);
/// A move that was not brought to an end by then is left to people, as it is.
pub(super) const GIVEN_UP: Duration = Duration::from_secs(5_400);
/// The new one must have been begun by then: nobody can say how long a node stays silent, and another may be found.
const BEGUN_WITHIN: Duration = Duration::from_secs(300);
/// Tries of one step before it is given up.
const TRIES_MAX: usize = 3;
/// Tries to take the new one away again, each after twice the wait: an engine may fail for as long as it takes to mend it, and what is left
/// over is nobody's.
const REMOVALS_MAX: usize = 8;

/// What comes next.
pub(super) enum Next {
    /// Not yet; look again then. Without a time, at the next event.
    Wait(Option<Timestamp>),
    Act(Box<Draft>),
    Over,
}

/// What comes next of a move.
pub(super) fn next(state: &State, course: &Course<'_>, now: Timestamp) -> Next {
    let original = course.original(state);
    let is_back = course.relocation.lost && original.is_some_and(|it| is_up(&it));
    if course.relocation.at + GIVEN_UP <= now && !is_back {
        return Next::Over;
    }
    let mut active = state.plans.active();
    if active.any(|it| it.plan.service == *course.service) {
        return Next::Wait(None);
    }
    if let Some(until) = course.settles_at(now) {
        return Next::Wait(Some(until));
    }
    let hold = state.hold_end(course.service);
    let ahead = forward(state, course, now);
    match ahead {
        Next::Act(_) if hold > now => Next::Wait(Some(hold)),
        other @ (Next::Act(_) | Next::Wait(_) | Next::Over) => other,
    }
}

fn forward(state: &State, course: &Course<'_>, now: Timestamp) -> Next {
    if !course.is_told() {
        return Next::Over;
    }
    let original = course.original(state);
    let Some(create) = course.last(ActionKind::CreateReplica) else {
        return match original {
            Some(_) if course.relocation.at + BEGUN_WITHIN <= now => Next::Over,
            Some(_)
                if is_above_most(state, course.service, now)
                    || !state.hears(&course.relocation.to, now) =>
            {
                Next::Wait(Some(now + RECHECK))
            }
            // One that keeps ending is made anew as well, in whichever state it is met.
            Some(original) if is_up(&original) => act_on(state, course, &original, now, || {
                steps::create(state, course, &original)
            }),
            Some(_) | None => Next::Over,
        };
    };
    if let Some((entry, why)) = course.fault() {
        return back(state, course, &why, entry, now);
    }
    let Some(successor) = course.stand_in(state) else {
        // Its node may not have told of it yet, or somebody took it away: then all is as it was.
        return heard_since(state, course, create.at, now);
    };
    let original = match original {
        Some(original) if is_up(&original) => original,
        Some(_) | None => {
            return match another(state, course) {
                Some((_, false)) => Next::Wait(Some(now + RECHECK)),
                Some((name, true)) => {
                    let why = format!("another {name} was put in its place meanwhile");
                    back(state, course, &why, create, now)
                }
                None => Next::Over,
            };
        }
    };
    if let Some(why) = why_back(state, course, &original, &successor, now) {
        return back(state, course, why, create, now);
    }
    let lost = course.retirements().filter(|it| is_failed(it)).count();
    if let Some(last) = course.retirements().last()
        && is_failed(last)
    {
        let again = last.at + waits(state, lost);
        if again > now {
            return Next::Wait(Some(again));
        }
    }
    if !successor.record.is_serving()
        || !state.is_fresh(&successor, now)
        || (carries(&original) && !is_enough(state, course, &original, now))
    {
        return Next::Wait(Some(now + RECHECK));
    }
    act_on(state, course, &original, now, || {
        steps::retire(state, course, &original, &successor)
    })
}

/// Why it does not go forward any more, while both are there.
fn why_back(
    state: &State,
    course: &Course<'_>,
    original: &Replica<'_>,
    successor: &Replica<'_>,
    now: Timestamp,
) -> Option<&'static str> {
    let relocation = course.relocation;
    let is_back = relocation.lost && original.record.is_serving() && state.is_fresh(original, now);
    // One that was made in its place in turn is not this move's to take away.
    let is_own = course.successor(state).is_some();
    if is_back && is_own && !successor.record.is_serving() {
        return Some("the one that was there is back and serves, and the new one does not");
    }
    let lost = course.retirements().filter(|it| is_failed(it)).count();
    // A lost node may come back after any time. One that does not serve by now is not gone back to: nothing heals it while it is on its way.
    let is_late = !relocation.lost && relocation.at + VALID <= now;
    let goes_on = !carries(original) && successor.record.is_serving();
    let is_over = lost >= TRIES_MAX || (is_late && !goes_on);
    is_over.then_some("the one it is to take the place of did not go")
}

/// The wait after so many tries of a step that failed.
fn waits(state: &State, lost: usize) -> Duration {
    let times = u32::try_from(lost.saturating_sub(1)).unwrap_or(u32::MAX);
    doubled(state.config.relocate.retry_step, times)
}

/// It serves or is about to: one that is sick, or keeps ending, takes nothing away when it goes.
fn carries(replica: &Replica<'_>) -> bool {
    replica.record.state == ContainerState::Running
        && replica.record.health != HealthState::Unhealthy
}

/// Without this one as many serve as are promised, as their nodes said a short time ago.
fn is_enough(state: &State, course: &Course<'_>, one: &Replica<'_>, now: Timestamp) -> bool {
    let replicas = state.fleet.replicas(course.service);
    let others = replicas.iter().filter(|it| it.record.id != one.record.id);
    let serving = others.filter(|it| it.record.is_serving() && state.is_fresh(it, now));
    let scales = replicas
        .iter()
        .filter_map(|it| it.record.policy.scale.as_ref());
    let least = scales.map(|it| it.min).min().unwrap_or(1).max(1);
    serving.count() >= least as usize
}

/// More than are allowed run, or are likely to be started again: there is no room for one beside them.
pub(super) fn is_above_most(state: &State, service: &ServiceId, now: Timestamp) -> bool {
    let replicas = state.fleet.replicas(service);
    let there = replicas
        .iter()
        .filter(|it| it.counts() || returns(state, it, now));
    let scales = replicas
        .iter()
        .filter_map(|it| it.record.policy.scale.as_ref());
    let most = scales.map(|it| it.max).max();
    most.is_some_and(|most| there.count() > most as usize)
}

/// Somebody made another of the name where it was: its name, and whether it serves.
fn another<'a>(state: &State, course: &Course<'a>) -> Option<(&'a ContainerName, bool)> {
    let relocation = course.relocation;
    let mut replicas = state.fleet.replicas(course.service).into_iter();
    let found = replicas.find(|it| {
        *it.node == relocation.from
            && it.record.name == relocation.name
            && it.record.id != relocation.container
            && course.is_known(it)
            && is_up(it)
    })?;
    Some((&relocation.name, found.record.is_serving()))
}

/// The way back: the old one is started again if the move stopped it, then the new one goes.
fn back(
    state: &State,
    course: &Course<'_>,
    why: &str,
    of: &units::PlanEntry,
    now: Timestamp,
) -> Next {
    let lost = course.failed_back().count();
    if let Some(last) = course.failed_back().next_back() {
        let again = last.at + waits(state, lost);
        if again > now {
            return Next::Wait(Some(again));
        }
    }
    let original = course.original(state);
    let stopped = course
        .retirements()
        .any(|it| it.plan.kind == ActionKind::Stop && !is_failed(it));
    if let Some(original) = &original
        && stopped
        && original.record.state == ContainerState::Exited
        && course.tries_back(ActionKind::Restart) < TRIES_MAX
    {
        return act_on(state, course, original, now, || {
            steps::start_again(state, course, original, of, why)
        });
    }
    let Some(successor) = course.successor(state) else {
        return heard_since(state, course, of.at, now);
    };
    let other = another(state, course);
    // What a silent node told last is no reason to take away what serves.
    let there = original.as_ref().filter(|it| state.is_fresh(it, now));
    let serves =
        other.is_some_and(|(_, serves)| serves) || there.is_some_and(|it| it.record.is_serving());
    let stays = other.is_some() || there.is_some_and(is_up);
    let removed = original.is_none()
        && course
            .retirements()
            .any(|it| it.plan.kind == ActionKind::RemoveReplica && !is_failed(it));
    if !serves && (successor.record.is_serving() || !stays) {
        // It is all there is, or all that may come to serve again: a stop that failed may have been half done. In the place of one of a lost
        // node it is healed as any other, for as long as that one is away.
        return match stopped || removed || course.relocation.lost {
            true => Next::Over,
            false => Next::Wait(Some(now + RECHECK)),
        };
    }
    if successor.record.is_serving() && !is_enough(state, course, &successor, now) {
        return Next::Wait(Some(now + RECHECK));
    }
    if successor.record.state == ContainerState::Paused
        || course.tries_back(ActionKind::RemoveReplica) >= REMOVALS_MAX
    {
        return Next::Over;
    }
    act_on(state, course, &successor, now, || {
        steps::remove(state, course, &successor, of, why)
    })
}

/// Nothing of what is made there is known; the node may have it and not have said so.
fn heard_since(state: &State, course: &Course<'_>, at: Timestamp, now: Timestamp) -> Next {
    let mut seen = state.fleet.last_seen();
    let heard = seen.any(|(node, heard)| *node == course.relocation.to && heard > at);
    match heard {
        true => Next::Over,
        false => Next::Wait(Some(now + state.config.telemetry_stale)),
    }
}

/// What is acted on is as its node told it after the last step.
fn act_on(
    state: &State,
    course: &Course<'_>,
    replica: &Replica<'_>,
    now: Timestamp,
    draft: impl FnOnce() -> Draft,
) -> Next {
    let last = course.plans.last().map_or(Timestamp::EPOCH, |it| it.at);
    match state.is_fresh(replica, now) && replica.seen_at > last {
        true => Next::Act(Box::new(draft())),
        false => Next::Wait(Some(now + RECHECK)),
    }
}
