//! What is made elsewhere of what ran on lost nodes.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use units::{
    ActionKind, ContainerState, Mode, NodeId, Phase, PlanEntry, Relocation, ServiceId,
    StandingExport, Timestamp,
};

use super::loss::{Loss, Losses, lease, loss, losses};
use crate::capacity::{Stranger, refuges};
use crate::draft::Draft;
use crate::fleet::{Fleet, Replica};
use crate::judge::created;
use crate::relocate;
use crate::state::State;
use crate::update;

/// Lost nodes are looked for this often …
pub(crate) const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// … and, where nothing could be begun for what ran there, this often: each look is at the whole fleet.
pub(crate) const TRIED_EVERY: Duration = Duration::from_secs(10);
/// Containers that a place is looked for in one look; the others are looked at next time.
const LOOKED_MAX: usize = 64;

/// One that is to run elsewhere.
struct Candidate<'a> {
    replica: Replica<'a>,
    export: &'a StandingExport,
    loss: Loss,
}

/// What is to be made elsewhere, the most important first, with how far that may go: whether budgets allow it is asked of each when those
/// before it have begun. Nothing where nothing waits for that.
pub(crate) fn take_over(state: &State, now: Timestamp) -> Option<Vec<(ServiceId, Draft, Mode)>> {
    let losses = losses(state, now);
    let mut candidates = candidates(state, &losses, now);
    if candidates.is_empty() {
        return None;
    }
    candidates.sort_by_key(|it| Reverse(state.fleet.priority(&it.replica.record.service)));
    candidates.truncate(LOOKED_MAX);
    let strangers: Vec<Stranger<'_>> = candidates
        .iter()
        .map(|it| Stranger {
            replica: it.replica,
            avoid: failed_on(state, &it.replica, now),
        })
        .collect();
    let places = refuges(state, &strangers, now);
    let mut drafts = Vec::new();
    let mut begun = BTreeSet::new();
    for (candidate, place) in candidates.iter().zip(places) {
        // Why none is found is told to those who ask why not.
        let Ok(to) = place else { continue };
        // Others of the service follow when this one is made: nothing else of it is done meanwhile.
        let service = &candidate.replica.record.service;
        if losses.common_cause.is_none() && !begun.insert(service) {
            continue;
        }
        let draft = draft(state, candidate, &to, now);
        let record = candidate.replica.record;
        let (draft, mode) = match &losses.common_cause {
            Some(why) => (draft.held(why), record.policy.mode.min(Mode::Suggest)),
            None => (draft, record.policy.mode),
        };
        drafts.push((record.service.clone(), draft, mode));
    }
    Some(drafts)
}

/// Something is being made elsewhere.
pub(crate) fn is_under_way(state: &State) -> bool {
    let mut active = state.plans.active();
    active.any(|it| it.plan.relocation.as_ref().is_some_and(|it| it.lost))
}

fn candidates<'a>(state: &'a State, losses: &Losses<'a>, now: Timestamp) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for (node, loss) in &losses.lost {
        for replica in state.fleet.on_node(node) {
            let Some(export) = state.beats.export(node, &replica.record.id) else {
                continue;
            };
            if hindrance(state, &replica, *loss, now).is_none() {
                found.push(Candidate {
                    replica,
                    export,
                    loss: *loss,
                });
            }
        }
    }
    found
}

/// The node that was lost after `since`, and where one of the service ran that only waits for what is watched of the service.
pub(crate) fn awaited_on<'a>(
    state: &'a State,
    service: &ServiceId,
    since: Timestamp,
    now: Timestamp,
) -> Option<&'a NodeId> {
    let mut replicas = state.fleet.replicas(service).into_iter();
    let awaited = replicas.find(|it| {
        let loss = loss(state, it.node, now);
        loss.is_some_and(|loss| loss.shown_at(now) > since && unfit(it, loss).is_none())
            && it.record.policy.mode == Mode::Act
            && state.beats.export(it.node, &it.record.id).is_some()
    })?;
    let is_free_else = state.config.max_mode == Mode::Act
        && state.hold_end(service) <= now
        && !update::is_running(state, service)
        && !relocate::is_running(state, service, now)
        && relocate::bar_of_failover(state, service, now).is_none()
        && back_unseen(state, &awaited, now).is_none();
    if !is_free_else {
        return None;
    }
    let losses = losses(state, now);
    let is_answered = losses.common_cause.is_none() && losses.lost.contains_key(awaited.node);
    is_answered.then_some(awaited.node)
}

/// Why a container of a lost node is not made elsewhere, or not yet.
fn hindrance(state: &State, replica: &Replica<'_>, loss: Loss, now: Timestamp) -> Option<String> {
    let service = &replica.record.service;
    if let Some(why) = unfit(replica, loss) {
        return Some(why);
    }
    if !is_free(state, replica, now) {
        return Some("something else of the service is under way, or people were at it".to_owned());
    }
    if let Some(node) = back_unseen(state, replica, now) {
        return Some(format!(
            "node {node} is heard again, and what of {service} runs there is not known yet"
        ));
    }
    relocate::bar_of_failover(state, service, now)
}

/// Nothing of the service is under way that this has to wait for. An update does not go on before all are heard, so between two of its steps
/// what it has not changed yet is made elsewhere, and the update goes on with that.
fn is_free(state: &State, replica: &Replica<'_>, now: Timestamp) -> bool {
    let service = &replica.record.service;
    relocate::is_free_but_for_updates(state, service, now)
        && !update::has_changed(state, service, replica)
}

/// What of the container itself keeps it from being made elsewhere.
fn unfit(replica: &Replica<'_>, loss: Loss) -> Option<String> {
    let record = replica.record;
    let policy = &record.policy;
    if !policy.movable {
        return Some("the label io.homeostat.move is not true".to_owned());
    }
    let ran = matches!(
        record.state,
        ContainerState::Running | ContainerState::Restarting
    );
    if !ran || replica.is_replaced || record.is_isolated() {
        return Some(
            "it did not run when it was last heard of, or another has its place".to_owned(),
        );
    }
    if policy.singleton && loss.actuator < fenced_by(loss.lease) {
        let until = fenced_by(loss.lease)
            .saturating_sub(loss.actuator)
            .as_secs();
        return Some(format!(
            "no two of it may run at once, and its own node may take {until} s more to stop it"
        ));
    }
    None
}

/// The node of one that others were made in the place of, which is heard again and has not told yet what it runs: that may be enough.
fn back_unseen<'a>(state: &'a State, replica: &Replica<'_>, now: Timestamp) -> Option<&'a NodeId> {
    let replaced = state.fleet.replicas(&replica.record.service).into_iter();
    let mut replaced = replaced.filter(|it| it.is_replaced && it.node != replica.node);
    let back = replaced.find(|it| {
        let beat = state.beats.of(it.node);
        beat.is_some_and(|beat| beat.read_at + lease(state, it.node) >= now)
    });
    back.map(|it| it.node)
}

/// Containers of the service that are on lost nodes and not made elsewhere, each with why; without those that are about to be.
pub(crate) fn why_not<'a>(
    state: &'a State,
    service: &ServiceId,
    now: Timestamp,
) -> Vec<(Replica<'a>, String)> {
    let losses = losses(state, now);
    if losses.lost.is_empty() {
        return Vec::new();
    }
    let replicas = state.fleet.replicas(service).into_iter();
    let kept = replicas.filter_map(|it| Some((it, kept(state, &losses, &it, now)?)));
    kept.collect()
}

fn kept(
    state: &State,
    losses: &Losses<'_>,
    replica: &Replica<'_>,
    now: Timestamp,
) -> Option<String> {
    let loss = losses.lost.get(replica.node)?;
    let export = state.beats.export(replica.node, &replica.record.id);
    if export.is_none() {
        let text = "its actuator has not told how it is made: it takes io.homeostat.move=true, a mode of act, and actuator.move_key_file";
        return Some(text.to_owned());
    }
    let stranger = Stranger {
        replica: *replica,
        avoid: failed_on(state, replica, now),
    };
    let common_cause = losses.common_cause.clone();
    common_cause
        .or_else(|| hindrance(state, replica, *loss, now))
        .or_else(|| refuges(state, &[stranger], now).pop()?.err())
}

/// Until then after its last heartbeat a node has stopped what may run once: its lease is over, and stopping it then takes some seconds and half
/// a lease.
fn fenced_by(lease: Duration) -> Duration {
    lease * 2 + Duration::from_secs(1)
}

/// The node where the last try to make one of it elsewhere came to nothing.
fn failed_on<'a>(state: &'a State, replica: &Replica<'_>, now: Timestamp) -> Option<&'a NodeId> {
    let since = now - state.config.ledger.quarantine;
    let tries = state.plans.acted(&replica.record.service);
    let tries = tries.filter(|it| it.at >= since && it.plan.kind == ActionKind::CreateReplica);
    let moves = tries.filter_map(|it| Some((it, it.plan.relocation.as_ref()?)));
    let moves = moves.filter(|(it, relocation)| {
        relocation.container == replica.record.id && it.phase == Phase::Failed
    });
    let last = moves.max_by_key(|(it, _)| it.at);
    last.map(|(_, relocation)| &relocation.to)
}

fn draft(state: &State, candidate: &Candidate<'_>, to: &NodeId, now: Timestamp) -> Draft {
    let Candidate {
        replica,
        export,
        loss,
    } = candidate;
    let relocation = Relocation {
        container: replica.record.id.clone(),
        name: replica.record.name.clone(),
        from: replica.node.clone(),
        to: to.clone(),
        at: now,
        lost: true,
    };
    let reason = format!(
        "nothing was heard of its actuator for {} s and of its collector for {} s, while others were heard",
        loss.actuator.as_secs(),
        loss.collector.as_secs()
    );
    relocate::stand_in(state, replica, relocation, &export.sealed, &reason)
}

/// The failover that this plan made a container for: the old one counts for nothing until its node is heard again.
pub(crate) fn stands_in(entry: &PlanEntry) -> Option<&Relocation> {
    let relocation = entry.plan.relocation.as_ref().filter(|it| it.lost)?;
    let is_made = entry.plan.kind == ActionKind::CreateReplica
        && matches!(entry.phase, Phase::Executed | Phase::Judged)
        && !created(entry).is_empty();
    is_made.then_some(relocation)
}

/// Whether a plan that is over must not be forgotten: the one whose place was taken may still run, should its node come back.
pub(crate) fn keeps(fleet: &Fleet, entry: &PlanEntry) -> bool {
    let Some(relocation) = stands_in(entry) else {
        return false;
    };
    let find = |container| fleet.find(&entry.plan.service, container);
    // What its own actuator stopped would be started again by one that does not know of it.
    let is_up = |it: Replica<'_>| {
        let state = it.record.state;
        matches!(state, ContainerState::Running | ContainerState::Restarting)
            || it.record.policy.singleton
    };
    let is_beside = created(entry).into_iter().any(|it| find(it).is_some());
    fleet.caught_up_at().is_none() || (find(&relocation.container).is_some_and(is_up) && is_beside)
}
