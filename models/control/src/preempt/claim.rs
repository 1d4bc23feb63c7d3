//! Room that was made: for whom, whether it is taken, and who must not take it back.

use std::time::Duration;

use units::{ActionKind, ContainerId, NodeId, Phase, PlanEntry, Preemption, ServiceId, Timestamp};

use crate::capacity::{fits, takes_room};
use crate::fleet::Replica;
use crate::scale::{Group, wants_more};
use crate::state::State;

/// Whoever gave room for a more important service takes none of it back within this at the most, and what was made and not taken is
/// forgotten: by then it was found that something else stands in the way.
const HOLD: Duration = Duration::from_secs(1_800);

/// A replica that goes, or went, for another service.
pub(crate) struct Claim<'a> {
    entry: &'a PlanEntry,
    pub(crate) preemption: &'a Preemption,
    node: &'a NodeId,
    victim: &'a ContainerId,
}

/// Every removal that makes room, or made it a short time ago.
pub(crate) fn claims(state: &State, now: Timestamp) -> impl Iterator<Item = Claim<'_>> {
    let all = state.plans.all().filter_map(Claim::of);
    all.filter(move |it| it.ends_at() > now)
}

impl<'a> Claim<'a> {
    fn of(entry: &'a PlanEntry) -> Option<Self> {
        let preemption = entry.plan.preemption.as_ref()?;
        match entry.phase {
            Phase::Suggested | Phase::Failed => return None,
            Phase::Decided | Phase::Executed | Phase::Judged => {}
        }
        let step = entry.plan.steps.first()?;
        Some(Claim {
            entry,
            preemption,
            node: &step.node,
            victim: step.action.target(),
        })
    }

    /// Where the room is.
    pub(crate) fn node(&self) -> &'a NodeId {
        self.node
    }

    fn ends_at(&self) -> Timestamp {
        self.entry.plan.created_at + HOLD
    }

    /// It is for a replica more of this service.
    pub(crate) fn is_of_growth(&self, service: &ServiceId) -> bool {
        self.preemption.container.is_none() && self.preemption.service == *service
    }

    /// The replica that goes is still there, as far as its node told.
    pub(crate) fn is_pending(&self, state: &State) -> bool {
        let there = state.fleet.find(&self.entry.plan.service, self.victim);
        self.entry.phase == Phase::Decided || there.is_some_and(|it| takes_room(&it))
    }

    /// What was made, or is being made, where the room is.
    fn taker<'s>(&self, state: &'s State) -> Option<&'s PlanEntry> {
        let Preemption {
            service, container, ..
        } = self.preemption;
        let mut made = state.plans.acted(service).filter(|it| {
            it.plan.kind == ActionKind::CreateReplica
                && it.phase != Phase::Failed
                && it.plan.undo_of.is_none()
                && it.plan.created_at > self.entry.plan.created_at
        });
        made.find(|it| match (container, &it.plan.relocation) {
            (Some(container), Some(relocation)) => relocation.container == *container,
            (None, None) => it.plan.update.is_none(),
            (Some(_), None) | (None, Some(_)) => false,
        })
    }

    /// The room is used for what it was made for.
    pub(crate) fn is_taken(&self, state: &State) -> bool {
        self.taker(state).is_some()
    }

    /// The more important service still has need of room; where that is not known it is taken to.
    fn is_wanted(&self, state: &State, now: Timestamp) -> bool {
        let service = &self.preemption.service;
        let Some(container) = &self.preemption.container else {
            let Some(group) = Group::of(state, service, now) else {
                return false;
            };
            let Some(load) = group.load(state) else {
                return false;
            };
            let told = load.newest().map(|it| it.at + group.stale(state));
            return told.is_none_or(|until| until < now)
                || wants_more(state, &group, load, now).is_some();
        };
        let there = state.fleet.find(service, container);
        there.is_some_and(|it| {
            let drained = state
                .node_orders
                .drains()
                .any(|order| order.node == *it.node);
            takes_room(&it) && (drained || state.is_pressed(it.node))
        })
    }

    /// A container still waits to move to where the room is.
    pub(crate) fn is_for_a_move(&self, state: &State, now: Timestamp) -> bool {
        self.preemption.container.is_some() && !self.is_taken(state) && self.is_wanted(state, now)
    }

    /// The more important service waits for the room, or what it made there is not known to its node yet.
    fn waits(&self, state: &State, now: Timestamp) -> bool {
        match self.taker(state) {
            None => self.is_wanted(state, now),
            Some(taker) => {
                let heard = state.fleet.heard(self.node);
                taker.phase == Phase::Decided || heard.is_none_or(|(at, _)| at <= taker.at)
            }
        }
    }
}

/// Why a service makes no replica on this node: one of it went for a more important service, which still waits, or there is no room for
/// both. In words, and until when at the latest.
pub(crate) fn held(
    state: &State,
    like: &Replica<'_>,
    now: Timestamp,
) -> Option<(String, Timestamp)> {
    let given = state.plans.acted(&like.record.service);
    let given = given.filter_map(Claim::of);
    let given = given.filter(|it| it.node == like.node && it.ends_at() > now);
    let claim = given.max_by_key(|it| (it.entry.plan.created_at, &it.entry.plan.id))?;
    let until = claim.ends_at();
    let name = claim.entry.plan.steps.first()?.action.name();
    let Preemption {
        service, priority, ..
    } = claim.preemption;
    let node = claim.node;
    let why = if claim.waits(state, now) {
        "which still waits for the room".to_owned()
    } else if state.is_pressed(node) {
        format!("and node {node} is still short")
    } else if claim.preemption.container.is_some() && !fits(state, node, like) {
        format!("and node {node} has no room for one more")
    } else {
        return None;
    };
    let text = format!(
        "{name} went from node {node} for {service} of priority {priority}, {why}; no other is made there before {until}"
    );
    Some((text, until))
}

/// What room a service waits for, and who goes for it; each in words, with the container that is to move there if one is, and until when.
pub(crate) fn standing(
    state: &State,
    service: &ServiceId,
    now: Timestamp,
) -> Vec<(String, Option<ContainerId>, Timestamp)> {
    let mine = claims(state, now).filter(|it| {
        it.preemption.service == *service && !it.is_taken(state) && it.is_wanted(state, now)
    });
    mine.filter_map(|it| {
        let plan = &it.entry.plan;
        let name = plan.steps.first()?.action.name();
        let goes = match it.is_pending(state) {
            true => "goes",
            false => "went",
        };
        let text = format!(
            "it waits for room on node {}: {name}, a replica of {} of priority {}, {goes} for it",
            it.node, plan.service, it.preemption.over
        );
        Some((text, it.preemption.container.clone(), it.ends_at()))
    })
    .collect()
}
