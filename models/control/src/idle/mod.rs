//! Scale to none: the last container of a service that nobody asks for is stopped and kept, and started again once somebody does.
//!
//! Only where the label says `0..N` with a series that another service tells ([`units::ScalePolicy::may_rest`]): of a service of which
//! nothing runs no load is seen. What is stopped is started again only where the journal knows that it was stopped here, and nobody had
//! it run or stopped it since; a container that people stopped is theirs.
//!
//! Nothing is kept but the plans: that a container rests follows from the plan that stopped it, and from when its engine says it ended.
//! So such a plan is remembered for as long as its container stands still ([`keeps`]), and told again in the journal now and then
//! ([`to_retell`]), since a controller that starts does not read back for ever.

mod judge;
mod start;
mod stop;

use std::time::Duration;

use units::{
    ActionKind, Check, ContainerState, OutcomeResult, Plan, PlanEntry, PlanId, ServiceId, Timestamp,
};

use crate::fleet::{Fleet, Replica};
use crate::loads::{Load, startup};
use crate::plans::outcome_of;
use crate::scale::Group;
use crate::state::State;

pub(crate) use judge::{started, stopped};
pub(crate) use start::start;
pub(crate) use stop::{Finding, finding, stop};

/// That a container rests is told again in the journal after this, which is well within what a controller reads back.
const RETELL_AFTER: Duration = Duration::from_secs(12 * 3_600);

/// A service of which nothing runs because it was idle.
pub(crate) struct AtRest<'a> {
    /// The service, by the label of the container that rests.
    pub(crate) group: Group<'a>,
    /// The container to start.
    pub(crate) replica: Replica<'a>,
    /// When it ended, by the clock of this side.
    pub(crate) since: Timestamp,
}

/// The service, when nothing of it runs or is about to and a plan of ours stopped the last of it.
pub(crate) fn at_rest<'a>(state: &'a State, service: &'a ServiceId) -> Option<AtRest<'a>> {
    let replicas = state.fleet.replicas(service);
    let is_up = |it: &Replica<'_>| it.counts() || it.record.state == ContainerState::Restarting;
    if replicas.iter().any(is_up) {
        return None;
    }
    let resting = replicas
        .iter()
        .filter_map(|it| Some((rests(state, it)?, *it)));
    let (since, replica) = resting.max_by_key(|(since, it)| (*since, &it.record.name))?;
    let group = group_of(state, service, replica, replicas)?;
    let may_rest = group.policy.may_rest(service);
    may_rest.then_some(AtRest {
        group,
        replica,
        since,
    })
}

/// When a container ended that a plan of ours stopped, and that nobody had run or stopped since; by the clock of this side.
pub(crate) fn rests(state: &State, replica: &Replica<'_>) -> Option<Timestamp> {
    let mut acted = state.plans.acted(&replica.record.service);
    let is_ours = acted.any(|entry| has_stopped(entry, replica));
    let ended = replica.record.finished_at?;
    is_ours.then(|| state.fleet.here(replica.node, ended))
}

/// The container stands still since the step of this plan: both times are told by one node, so its clock may be off. One that ended
/// before the engine was asked was stopped by somebody else, whatever the engine answered; one that ended while it was at work was
/// stopped by it, though it may have failed in the end ([`units::Outcome::covers`]).
fn has_stopped(entry: &PlanEntry, replica: &Replica<'_>) -> bool {
    let record = replica.record;
    let (ContainerState::Exited, Some(ended)) = (record.state, record.finished_at) else {
        return false;
    };
    if entry.plan.kind != ActionKind::Stop || entry.plan.relocation.is_some() {
        return false;
    }
    let mut steps = entry.plan.steps.iter().enumerate();
    steps.any(|(index, step)| {
        let outcome = outcome_of(entry, index).filter(|it| match &it.result {
            OutcomeResult::Succeeded { .. }
            | OutcomeResult::Failed { .. }
            | OutcomeResult::Interrupted => true,
            OutcomeResult::Refused { .. } | OutcomeResult::Vanished => false,
        });
        let within = outcome.is_some_and(|it| it.covers(ended));
        within && *step.action.target() == record.id && step.node == *replica.node
    })
}

/// Whether a plan starts what rests, and restarts nothing that is sick.
pub(crate) fn is_start(plan: &Plan) -> bool {
    starts(plan.kind, &plan.expected.check)
}

/// The same, by how it is judged.
pub(crate) fn starts(kind: ActionKind, check: &Check) -> bool {
    let by_load = match check {
        Check::UtilisationAtMost { .. } => true,
        Check::SignalsResolve { .. }
        | Check::NoOverload
        | Check::LimitsHold
        | Check::ServesAsWell
        | Check::SuccessorServes => false,
    };
    kind == ActionKind::Restart && by_load
}

/// Whether a plan that is over must not be forgotten: the container it stopped stands still, or it is not known yet whether it does.
pub(crate) fn keeps(fleet: &Fleet, entry: &PlanEntry) -> bool {
    if entry.plan.kind != ActionKind::Stop || entry.plan.relocation.is_some() {
        return false;
    }
    let mut steps = entry.plan.steps.iter();
    fleet.caught_up_at().is_none()
        || steps.any(|step| {
            let replica = fleet.find(&entry.plan.service, step.action.target());
            // Its node may not have spoken since.
            replica.is_some_and(|it| has_stopped(entry, &it) || it.seen_at <= entry.at)
        })
}

/// Plans to be told again, so that whoever reads the journal later knows of them.
pub(crate) fn to_retell(state: &State, now: Timestamp) -> Vec<PlanId> {
    let over = state.plans.all().filter(|entry| {
        entry.phase.is_final()
            && state.plans.told_at(entry) + RETELL_AFTER <= now
            && state.keeps(entry)
    });
    over.map(|entry| entry.plan.id.clone()).collect()
}

/// The service by the label of one of its containers that does not run.
fn group_of<'a>(
    state: &State,
    service: &'a ServiceId,
    replica: Replica<'a>,
    replicas: Vec<Replica<'a>>,
) -> Option<Group<'a>> {
    let assumed = state.config.scale.startup;
    let newest = state.loads.get(service).and_then(Load::newest);
    Some(Group {
        service,
        replicas,
        policy: replica.record.policy.scale.as_ref()?,
        mode: replica.record.policy.mode,
        current: 0,
        returning: 0,
        startup: newest.map_or(assumed, |forecast| startup(forecast, assumed)),
    })
}
