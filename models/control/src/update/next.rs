//! What an order does next.

use std::collections::BTreeMap;

use units::{ContainerState, Image, ImageChange, Mode, NodeId, PlanEntry, Timestamp, Update};

use crate::came::void;
use crate::config;
use crate::depends;
use crate::draft::Draft;
use crate::heal::RECHECK;
use crate::idle;
use crate::images::image_of;
use crate::loads::Load;
use crate::relocate;
use crate::scale::{Group, need};
use crate::state::State;

use super::back;
use super::course::{Course, Fault};
use super::judge::complaint;
use super::members::{Member, Members, returning};
use super::steps::{self, Turn};

/// Nodes on which an image is pulled in one plan; the others follow in the next.
const PULLS_MAX: usize = 8;

/// How an order ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything runs what was ordered.
    Finished,
    /// What was changed is as it was.
    RolledBack,
    /// Nothing was changed.
    Refused,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// Not yet: why, and when to look again; without a time, at the next event.
    Wait(String, Option<Timestamp>),
    Act(Box<Draft>),
    End(Ending, String),
}

/// Everything it is found from.
pub(crate) struct Look<'a> {
    pub(crate) state: &'a State,
    pub(crate) course: &'a Course<'a>,
    pub(crate) members: &'a Members<'a>,
    pub(crate) now: Timestamp,
}

/// A step that cannot be taken yet, or shows that the order must go back.
pub(crate) enum Held {
    Wait(String, Option<Timestamp>),
    Fault(Fault),
}

impl Held {
    fn soon(why: String, now: Timestamp) -> Held {
        Held::Wait(why, Some(now + RECHECK))
    }

    /// What shows at a look and not by any plan: the last one is what is undone.
    fn fault(course: &Course<'_>, why: String) -> Held {
        let last = course.changes().next_back();
        let plan = last.map(|entry| entry.plan.id.clone());
        Held::Fault(Fault { plan, why })
    }
}

/// What comes next of an order that is not over.
pub(crate) fn next(look: &Look<'_>) -> Next {
    if let Some(fault) = look.course.fault(look.now) {
        return back::next(look, &fault);
    }
    match forward(look) {
        Ok(next) => next,
        Err(Held::Wait(why, until)) => Next::Wait(why, until),
        Err(Held::Fault(fault)) => back::next(look, &fault),
    }
}

fn forward(look: &Look<'_>) -> Result<Next, Held> {
    may_go_on(look)?;
    if let Some(pull) = missing(look) {
        return Ok(pull);
    }
    let pulled = look.course.pulled();
    let Some(target) = pulled.values().next().copied() else {
        return Err(Held::soon(
            "its image is not known yet".to_owned(),
            look.now,
        ));
    };
    let old: Vec<&Member<'_>> = look
        .members
        .regular()
        .filter(|it| !it.runs(target) && it.is_up())
        .collect();
    if look.course.changes().next().is_some() {
        gate(look, target)?;
    }
    if old.is_empty() {
        return last(look, target);
    }
    let turn = match look.course.is_proven() {
        true => Turn::Next,
        false => Turn::Canary,
    };
    // One made for an order before this may be all that serves: then those that do not come first.
    if let Some(surge) = look
        .members
        .surge()
        .find(|it| !it.runs(target) && it.is_up())
        && is_bearable(look, surge).is_ok()
    {
        return Ok(replace(look, surge, target, turn));
    }
    if look.members.surge().next().is_none()
        && !is_above_most(look)
        && let Some(template) = template(look, &old)
    {
        return Ok(add(look, template, target, turn));
    }
    let mut order = old;
    order.sort_by_key(|it| it.serves());
    match order.first() {
        Some(first) => {
            is_bearable(look, first)?;
            Ok(replace(look, first, target, turn))
        }
        None => last(look, target),
    }
}

/// What holds for every step forward.
fn may_go_on(look: &Look<'_>) -> Result<(), Held> {
    let Look {
        state,
        course,
        members,
        now,
    } = *look;
    let service = &course.order.service;
    if members.0.is_empty() {
        let listening = state.listening_until();
        if let Some(rest) = idle::at_rest(state, service) {
            let member = Member {
                replica: rest.replica,
                image: image_of(&rest.replica),
                is_surge: false,
            };
            if let Some(why) = unfit(state, &member) {
                return Err(Held::fault(course, why));
            }
            let name = &rest.replica.record.name;
            let why = format!(
                "{name} was stopped at {}, when nobody asked for {service}; the update goes on once it runs again",
                rest.since
            );
            return Err(Held::Wait(why, Some(course.order.at + Update::VALID)));
        }
        let why = format!("no container of {service} is known");
        return Err(match listening > now {
            true => Held::Wait(why, Some(listening)),
            false => Held::fault(course, why),
        });
    }
    for member in &members.0 {
        if let Some(why) = unfit(state, member) {
            return Err(Held::fault(course, why));
        }
    }
    let hold = state.hold_end(service);
    if hold > now {
        let why = "somebody else changed one of its containers a short time ago";
        return Err(Held::Wait(why.to_owned(), Some(hold)));
    }
    let mut active = state.plans.active();
    if let Some(entry) = active.find(|it| it.plan.service == *service) {
        return Err(Held::Wait(under_way(entry), None));
    }
    if relocate::is_running(state, service, now) {
        let why = format!("a container of {service} is on its way to another node");
        return Err(Held::soon(why, now));
    }
    if let Some((entry, until)) = course.settling(now) {
        let why = format!(
            "nobody answered for plan {}, which may still come about",
            entry.plan.id
        );
        return Err(Held::Wait(why, Some(until)));
    }
    let retry = course.retry_at(|_| true, state.config.update.retry);
    if let Some(until) = retry.filter(|it| *it > now) {
        let told = course.own.last().and_then(|entry| void(entry));
        let told = told.map_or_else(String::new, |it| format!(": {it}"));
        let why = format!("the last step came to nothing{told}");
        return Err(Held::Wait(why, Some(until)));
    }
    is_seen(look)
}

/// Every container was heard of lately, and none is in people's hands.
fn is_seen(look: &Look<'_>) -> Result<(), Held> {
    let Look { state, now, .. } = *look;
    for member in &look.members.0 {
        if !state.is_fresh(&member.replica, now) {
            let listening = Some(state.listening_until()).filter(|it| *it > now);
            let why = state.silence_of(&member.replica, now);
            return Err(Held::Wait(why, listening.or(Some(now + RECHECK))));
        }
        if member.replica.record.state == ContainerState::Paused {
            let why = format!("{} is paused, by a person", member.name());
            return Err(Held::soon(why, now));
        }
        if member.replica.record.is_isolated() {
            let why = format!(
                "{} is in none of its networks, for people to look at; the update goes on once they put it back or remove it",
                member.name()
            );
            return Err(Held::soon(why, now));
        }
    }
    match returning(state, &look.course.order.service, now) {
        Some(replica) => {
            let why = format!("{} ended a short time ago", replica.record.name);
            Err(Held::soon(why, now))
        }
        None => Ok(()),
    }
}

/// In words, what a plan that is not over is at.
pub(crate) fn under_way(entry: &PlanEntry) -> String {
    let plan = &entry.plan;
    format!(
        "plan {} ({}) is not over: {}",
        plan.id, plan.kind, plan.cause.reason
    )
}

/// Why nothing may be rolled out to a container.
fn unfit(state: &State, member: &Member<'_>) -> Option<String> {
    let name = member.name();
    let policy = &member.replica.record.policy;
    if !policy.update {
        return Some(format!(
            "{name} does not allow it; label it io.homeostat.update=true"
        ));
    }
    if state.config.max_mode == Mode::Observe {
        return Some("controller.max_mode is observe; set it to suggest or act".to_owned());
    }
    if policy.mode == Mode::Observe {
        return Some(format!(
            "{name} is only watched; label it io.homeostat.mode=suggest or act"
        ));
    }
    if member.image.is_none() {
        let node = member.replica.node;
        return Some(format!("node {node} does not tell which image {name} runs"));
    }
    let sharers = depends::sharers(&state.fleet, &member.replica);
    sharers.first().map(|sharer| {
        let other = &sharer.record.name;
        format!(
            "{name} cannot be recreated: {other} shares its network, and would be left without any"
        )
    })
}

/// The pulls that are missing.
fn missing(look: &Look<'_>) -> Option<Next> {
    let pulled = look.course.pulled();
    let mut nodes: BTreeMap<&NodeId, &Member<'_>> = BTreeMap::new();
    for member in &look.members.0 {
        if !pulled.contains_key(member.replica.node) {
            nodes.entry(member.replica.node).or_insert(member);
        }
    }
    let first: Vec<&Member<'_>> = nodes.into_values().take(PULLS_MAX).collect();
    (!first.is_empty()).then(|| Next::Act(Box::new(steps::pull(look, &first))))
}

/// Those that run it serve; it is too late for one that still does not, or of which a signal tells.
fn gate(look: &Look<'_>, target: &Image) -> Result<(), Held> {
    let Look {
        state, course, now, ..
    } = *look;
    let bake = state.config.update.bake;
    let judged = course.chain.last().map_or(Timestamp::EPOCH, |it| it.at);
    let members = look.members.0.iter().filter(|it| it.runs(target));
    for member in members.filter(|it| course.is_ours(state, &it.replica)) {
        let (name, record) = (member.name(), member.replica.record);
        if let Some(why) = complaint(state, course, &record.id) {
            return Err(Held::fault(course, why));
        }
        if member.serves() {
            continue;
        }
        let changed = record.started_at.max(record.finished_at);
        let changed = changed.filter(|_| record.restarts == 0);
        let changed = changed.map(|at| state.fleet.here(member.replica.node, at).min(now));
        let until = changed.map_or(judged, |at| at.max(judged)) + bake;
        let state = steps::standing(record);
        if until > now {
            let why = format!("{name}, which runs the new image, is {state}");
            return Err(Held::Wait(why, Some(until.min(now + bake))));
        }
        let why = format!(
            "{name}, which runs {target}, has been {state} for {} s",
            bake.as_secs()
        );
        return Err(Held::fault(course, why));
    }
    Ok(())
}

/// Nothing old is left: what was made beside the others goes, unless the load asks for it.
fn last(look: &Look<'_>, target: &Image) -> Result<Next, Held> {
    let Look {
        course, members, ..
    } = *look;
    let regular = members.regular().count();
    let changed = course.changes().next().is_some();
    let done = match changed {
        true => format!("all {regular} replicas run {target}"),
        false => format!("all {regular} replicas ran {target} already"),
    };
    let Some(surge) = members.surge().next() else {
        return Ok(Next::End(Ending::Finished, done));
    };
    if surge.runs(target) && is_wanted(look) {
        let done = format!("{done}; {} stays, as the load asks for it", surge.name());
        return Ok(Next::End(Ending::Finished, done));
    }
    may_go(look, surge)?;
    let why = format!("{done}, and {} was made for the update", surge.name());
    Ok(Next::Act(Box::new(steps::remove(look, surge, why, None))))
}

/// The load asks for as many replicas as there are with the one made beside the others.
fn is_wanted(look: &Look<'_>) -> bool {
    let service = &look.course.order.service;
    let load: Option<&Load> = look.state.loads.get(service);
    let (Some(load), Some(mut group)) = (load, Group::of(look.state, service, look.now)) else {
        return false;
    };
    let stale = look.state.config.telemetry_stale;
    let fresh = load.newest().is_some_and(|it| it.at + stale >= look.now);
    if !fresh || group.current > group.policy.max {
        return false;
    }
    group.current = group.current.saturating_sub(1);
    let config = &look.state.config.scale;
    let required = config.up_confirmations.max(1);
    let newest = load.last(required, Timestamp::EPOCH);
    let agree = newest.len() >= required as usize;
    let mut asked = newest.iter().map(|it| need(it, &group, config));
    group.current < group.policy.min || agree && asked.all(|desired| desired > group.current)
}

/// What serves goes only where enough others do.
pub(crate) fn may_go(look: &Look<'_>, surge: &Member<'_>) -> Result<(), Held> {
    let others = look.members.others(look.state, surge, look.now);
    let least = look.members.promised().unwrap_or(1).max(1);
    match !surge.serves() || others >= least {
        true => Ok(()),
        false => {
            let name = surge.name();
            let why = format!("{others} others serve, and {least} must before {name} goes");
            Err(Held::soon(why, look.now))
        }
    }
}

/// The oldest that one more can be made from, of the image that goes.
fn template<'a>(look: &Look<'_>, old: &[&'a Member<'a>]) -> Option<&'a Member<'a>> {
    let put = look.course.put();
    let mut copyable = old
        .iter()
        .copied()
        .filter(|it| it.serves() && it.replica.record.copy_obstacles.is_empty());
    let first = copyable.clone().find(|it| !it.runs_one_of(&put));
    first.or_else(|| copyable.next())
}

/// There are more than are allowed already: one more to spare, which goes once the order is over.
fn is_above_most(look: &Look<'_>) -> bool {
    let group = Group::of(look.state, &look.course.order.service, look.now);
    group.is_some_and(|it| it.current + it.returning > it.policy.max)
}

/// One more, beside the others; one above the most that are allowed, for as long as the update goes on.
fn add(look: &Look<'_>, template: &Member<'_>, target: &Image, turn: Turn) -> Next {
    match template.image.clone() {
        Some(from) => {
            let to = target.clone();
            let change = ImageChange { from, to };
            Next::Act(Box::new(steps::add(look, template, change, turn)))
        }
        None => Next::Wait("its image is not known".to_owned(), None),
    }
}

fn replace(look: &Look<'_>, member: &Member<'_>, target: &Image, turn: Turn) -> Next {
    match member.image.clone() {
        Some(from) => {
            let to = target.clone();
            let change = ImageChange { from, to };
            Next::Act(Box::new(steps::replace(look, member, change, turn)))
        }
        None => Next::Wait("its image is not known".to_owned(), None),
    }
}

/// As many serve while this one is replaced as are promised: all that there were where one was made beside them.
fn is_bearable(look: &Look<'_>, member: &Member<'_>) -> Result<(), Held> {
    if !member.serves() {
        return Ok(());
    }
    let regular = look.members.regular().filter(|it| it.is_up()).count();
    let regular = u32::try_from(regular).unwrap_or(u32::MAX);
    let others = look.members.others(look.state, member, look.now);
    let promised = look.members.promised();
    let beside = look.members.surge().filter(|it| it.is_up()).count();
    let beside = u32::try_from(beside).unwrap_or(u32::MAX);
    let all_others = regular.saturating_add(beside).saturating_sub(1);
    let least = match promised {
        // One alone has a short gap, which nobody promised it would not have.
        Some(0 | 1) | None if regular == 1 => 0,
        Some(min) => min,
        None => 0,
    };
    if others >= least && (others >= all_others || beside > 0 && others >= regular) {
        return Ok(());
    }
    let name = member.name();
    if others < all_others {
        let why = format!("{others} others serve while {name} would be replaced, of {all_others}");
        return Err(Held::soon(why, look.now));
    }
    let obstacles = member.replica.record.copy_obstacles.join("; ");
    let why = format!(
        "{others} others would serve while {name} is replaced, {least} are promised, and none can be made beside them ({obstacles})"
    );
    Err(Held::fault(look.course, why))
}

pub(crate) const fn within(turn: Turn, config: &config::Update) -> std::time::Duration {
    match turn {
        Turn::Canary => config.bake,
        Turn::Next => config.soak,
    }
}
