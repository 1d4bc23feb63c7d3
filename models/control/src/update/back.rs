//! Taking an update back: what runs its image goes back to the one before, the last first, and what was made beside the others goes.
//!
//! It is done once, and for good: what cannot be taken back after [`TRIES_MAX`] tries is left to people, and said.

use units::{ActionKind, ContainerState, ImageChange, Mode, Phase, PlanEntry, Timestamp};

use crate::came::{Came, came};
use crate::heal::RECHECK;

use super::course::Fault;
use super::members::Member;
use super::next::{Ending, Held, Look, Next, may_go, under_way};
use super::steps;

/// Tries to take one container back before it is left to people.
const TRIES_MAX: usize = 5;

/// What keeps one container from being taken back now.
enum Stuck {
    Wait(String, Option<Timestamp>),
    /// For good.
    Left(String),
}

/// What comes next on the way back.
pub(crate) fn next(look: &Look<'_>, fault: &Fault) -> Next {
    if let Some(wait) = held(look) {
        return wait;
    }
    let mut waits = None;
    let mut left = Vec::new();
    for member in look.members.regular().rev() {
        let Some(change) = change(look, member) else {
            continue;
        };
        match stuck(look, member) {
            None => return Next::Act(Box::new(steps::take_back(look, member, change, fault))),
            Some(Stuck::Wait(why, until)) => waits = waits.or(Some((why, until))),
            Some(Stuck::Left(why)) => left.push(why),
        }
    }
    for surge in look.members.surge() {
        match removable(look, surge) {
            Ok(()) => {
                let plan = Some(steps::undone(look, fault));
                let why = fault.why.clone();
                return Next::Act(Box::new(steps::remove(look, surge, why, plan)));
            }
            Err(Stuck::Wait(why, until)) => waits = waits.or(Some((why, until))),
            Err(Stuck::Left(why)) => left.push(why),
        }
    }
    match waits {
        Some((why, until)) => Next::Wait(why, until),
        None => end(look, fault, &left),
    }
}

fn end(look: &Look<'_>, fault: &Fault, left: &[String]) -> Next {
    let touched = look.course.changes().next().is_some();
    let why = &fault.why;
    let rest = match left.is_empty() {
        true => String::new(),
        false => format!("; left to people: {}", left.join("; ")),
    };
    match touched {
        true => Next::End(
            Ending::RolledBack,
            format!("rolled back because {why}{rest}"),
        ),
        false => Next::End(Ending::Refused, format!("nothing was changed: {why}")),
    }
}

/// What any undoing waits for.
fn held(look: &Look<'_>) -> Option<Next> {
    let Look {
        state, course, now, ..
    } = *look;
    let service = &course.order.service;
    // Where nothing was touched there is nothing to wait for.
    course.changes().next()?;
    let busy = state.plans.active().find(|entry| {
        let is_beside = match entry.plan.kind {
            ActionKind::Restart => entry.phase != Phase::Decided,
            ActionKind::PullImage | ActionKind::Export => true,
            ActionKind::Recreate
            | ActionKind::UpdateLimits
            | ActionKind::CreateReplica
            | ActionKind::RemoveReplica
            | ActionKind::Stop
            | ActionKind::Isolate
            | ActionKind::Rejoin => false,
        };
        entry.plan.service == *service && !is_beside
    });
    if let Some(entry) = busy {
        return Some(Next::Wait(under_way(entry), None));
    }
    let hold = state.hold_end(service);
    if hold > now {
        let why = "somebody else changed one of its containers a short time ago";
        return Some(Next::Wait(why.to_owned(), Some(hold)));
    }
    if let Some((entry, until)) = course.settling(now) {
        let why = format!(
            "nobody answered for plan {}, which may still come about",
            entry.plan.id
        );
        return Some(Next::Wait(why, Some(until)));
    }
    // What was begun there and never heard of is seen once its node speaks.
    let unanswered = course.unanswered();
    let mut silent = look
        .members
        .0
        .iter()
        .filter(|it| unanswered.contains(it.replica.node));
    silent
        .find(|it| !state.is_fresh(&it.replica, now))
        .map(|it| Next::Wait(state.silence_of(&it.replica, now), Some(now + RECHECK)))
}

/// The image a container is to have back.
fn change(look: &Look<'_>, member: &Member<'_>) -> Option<ImageChange> {
    let from = member.image.clone()?;
    let to = look.course.home(&member.replica)?;
    let is_due = from.id != to.id && look.course.is_ours(look.state, &member.replica);
    is_due.then(|| ImageChange {
        from,
        to: to.clone(),
    })
}

fn stuck(look: &Look<'_>, member: &Member<'_>) -> Option<Stuck> {
    let Look {
        state, course, now, ..
    } = *look;
    let name = member.name();
    let policy = &member.replica.record.policy;
    if !policy.update || policy.mode.min(state.config.max_mode) == Mode::Observe {
        return Some(Stuck::Left(format!("{name} does not allow it")));
    }
    let about = |entry: &PlanEntry| {
        let mut steps = entry.plan.steps.iter();
        entry.plan.undo_of.is_some()
            && entry.plan.kind == ActionKind::Recreate
            && steps.any(|it| it.node == *member.replica.node && it.action.name() == name)
    };
    let tries = course.own.iter().filter(|entry| about(entry));
    let failed = tries.filter(|entry| came(entry) != Came::Good).count();
    if failed >= TRIES_MAX {
        return Some(Stuck::Left(format!(
            "{name} could not be taken back in {failed} tries"
        )));
    }
    let retry = course.retry_at(about, state.config.update.retry);
    if let Some(until) = retry.filter(|it| *it > now) {
        return Some(Stuck::Wait(
            format!("{name} could not be taken back yet"),
            Some(until),
        ));
    }
    in_hand(look, member).err()
}

/// It was heard of lately, and is not in people's hands.
fn in_hand(look: &Look<'_>, member: &Member<'_>) -> Result<(), Stuck> {
    let Look { state, now, .. } = *look;
    if !state.is_fresh(&member.replica, now) {
        let why = state.silence_of(&member.replica, now);
        return Err(Stuck::Wait(why, Some(now + RECHECK)));
    }
    if member.replica.record.state == ContainerState::Paused {
        let why = format!("{} is paused, by a person", member.name());
        return Err(Stuck::Wait(why, Some(now + RECHECK)));
    }
    Ok(())
}

fn removable(look: &Look<'_>, surge: &Member<'_>) -> Result<(), Stuck> {
    let Look {
        state, course, now, ..
    } = *look;
    let policy = &surge.replica.record.policy;
    if !policy.update || policy.mode.min(state.config.max_mode) == Mode::Observe {
        return Err(Stuck::Left(format!("{} does not allow it", surge.name())));
    }
    in_hand(look, surge)?;
    let about = |entry: &PlanEntry| entry.plan.kind == ActionKind::RemoveReplica;
    let retry = course.retry_at(about, state.config.update.retry);
    if let Some(until) = retry.filter(|it| *it > now) {
        return Err(Stuck::Wait(
            format!("{} is to be removed", surge.name()),
            Some(until),
        ));
    }
    match may_go(look, surge) {
        Ok(()) => Ok(()),
        Err(Held::Wait(why, until)) => Err(Stuck::Wait(why, until)),
        Err(Held::Fault(fault)) => Err(Stuck::Left(fault.why)),
    }
}
