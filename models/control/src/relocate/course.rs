//! The newest move of a service, as its plans tell it.

use std::collections::BTreeSet;

use units::{
    Action, ActionKind, Approval, ContainerId, ContainerState, Mode, OutcomeResult, Phase,
    PlanEntry, Relocation, ServiceId, Timestamp,
};

use crate::came::{Came, came, settles_at, void};
use crate::escalate::is_begun;
use crate::failover;
use crate::fleet::Replica;
use crate::judge::created;
use crate::state::State;

/// One move and its plans.
pub(super) struct Course<'a> {
    pub(super) service: &'a ServiceId,
    pub(super) relocation: &'a Relocation,
    /// Earliest first.
    pub(super) plans: Vec<&'a PlanEntry>,
}

impl<'a> Course<'a> {
    pub(super) fn of(state: &'a State, service: &ServiceId) -> Option<Self> {
        let moves = state.plans.acted(service);
        let moves = moves.filter_map(|it| it.plan.relocation.as_ref());
        let newest = moves.max_by_key(|it| (it.at, &it.container))?;
        let newest = Course::about(state, service, newest)?;
        // Others may have been made in the place of more than one of a lost node, long before it is back.
        let lost = state.plans.acted(service).filter_map(failover::stands_in);
        let lost = lost.filter_map(|it| Course::about(state, service, it));
        let mut back = lost.filter(|it| {
            it.original(state).is_some_and(|it| is_up(&it)) && it.stand_in(state).is_some()
        });
        Some(back.next().unwrap_or(newest))
    }

    pub(super) fn about(
        state: &'a State,
        service: &ServiceId,
        relocation: &'a Relocation,
    ) -> Option<Self> {
        let plans = state.plans.acted(service);
        let plans = plans.filter(|it| it.plan.relocation.as_ref() == Some(relocation));
        let mut plans: Vec<&PlanEntry> = plans.collect();
        plans.sort_by_key(|it| (it.plan.created_at, &it.plan.id));
        Some(Course {
            service: &plans.first()?.plan.service,
            relocation,
            plans,
        })
    }

    /// Its last plan of this kind.
    pub(super) fn last(&self, kind: ActionKind) -> Option<&'a PlanEntry> {
        let mut plans = self.plans.iter().rev();
        plans.find(|it| it.plan.kind == kind).copied()
    }

    /// How the container is made, as its node told for this move; of a lost node it was told before.
    pub(super) fn sealed(&self) -> Option<&'a str> {
        let export = self.last(ActionKind::Export)?;
        let mut outcomes = export.outcomes.iter();
        outcomes.find_map(|outcome| match &outcome.result {
            OutcomeResult::Succeeded { sealed, .. } => sealed.as_deref(),
            OutcomeResult::Refused { .. }
            | OutcomeResult::Failed { .. }
            | OutcomeResult::Vanished
            | OutcomeResult::Interrupted => None,
        })
    }

    /// What took the one that was there away, or was to.
    pub(super) fn retirements(&self) -> impl Iterator<Item = &'a PlanEntry> {
        let forward = self.plans.iter().copied();
        let forward = forward.filter(|it| it.plan.undo_of.is_none());
        forward.filter(|it| match it.plan.kind {
            ActionKind::Stop | ActionKind::RemoveReplica => true,
            ActionKind::Restart
            | ActionKind::Recreate
            | ActionKind::UpdateLimits
            | ActionKind::CreateReplica
            | ActionKind::PullImage
            | ActionKind::Export
            | ActionKind::Isolate
            | ActionKind::Rejoin => false,
        })
    }

    /// Tries to take it back, of one kind, that came to their node in time.
    pub(super) fn tries_back(&self, kind: ActionKind) -> usize {
        let back = self.plans.iter();
        let back = back.filter(|it| it.plan.undo_of.is_some() && it.plan.kind == kind);
        back.filter(|it| is_begun(it)).count()
    }

    /// Plans to take it back that failed, earliest first.
    pub(super) fn failed_back(&self) -> impl DoubleEndedIterator<Item = &'a PlanEntry> {
        let plans = self.plans.iter().copied();
        plans.filter(|it| it.plan.undo_of.is_some() && is_failed(it))
    }

    /// The new one was found to serve.
    pub(super) fn is_proven(&self) -> bool {
        let create = self.last(ActionKind::CreateReplica);
        create.is_some_and(|entry| came(entry) == Came::Good)
    }

    /// Why it is taken back, if it is.
    pub(super) fn fault(&self) -> Option<(&'a PlanEntry, String)> {
        let create = self.last(ActionKind::CreateReplica);
        let changes = self.retirements().chain(create);
        let mut faults = changes.filter_map(|entry| match (came(entry), entry.plan.kind) {
            (Came::Bad(why), _) => Some((entry, why)),
            (Came::Void, ActionKind::CreateReplica) => {
                let why = void(entry).unwrap_or_else(|| "nobody answered for it".to_owned());
                Some((entry, why))
            }
            (Came::Void | Came::Open | Came::Good, _) => None,
        });
        faults.next()
    }

    /// Something of it went wrong, and when.
    pub(super) fn lost_at(&self) -> Option<Timestamp> {
        let export = self.last(ActionKind::Export);
        let bad = export.filter(|it| matches!(came(it), Came::Bad(_)));
        let lost = self.fault().map(|(entry, _)| entry.at);
        lost.or(bad.map(|it| it.at))
    }

    /// The one that goes. Of a lost node nothing is known before it is heard again.
    pub(super) fn original(&self, state: &'a State) -> Option<Replica<'a>> {
        let found = state.fleet.find(self.service, &self.relocation.container);
        found.filter(|it| *it.node == self.relocation.from && self.is_known(it))
    }

    /// What its node told of it counts: it is not lost, or was heard since.
    pub(super) fn is_known(&self, replica: &Replica<'_>) -> bool {
        !self.relocation.lost || replica.seen_at > self.relocation.at
    }

    /// The node it leaves is lost, and it is known how it is made.
    pub(super) fn is_told(&self) -> bool {
        let told = self.last(ActionKind::Export).map(came) == Some(Came::Good);
        self.relocation.lost || (told && self.sealed().is_some())
    }

    pub(super) fn successor(&self, state: &'a State) -> Option<Replica<'a>> {
        let mut replicas = state.fleet.replicas(self.service).into_iter();
        replicas.find(|it| self.is_successor(it))
    }

    /// The same; or, where the node of the one that was there is lost for long, what that one has moved to since, or was made in its place.
    pub(super) fn stand_in(&self, state: &'a State) -> Option<Replica<'a>> {
        self.successor(state).or_else(|| {
            let made = self.plans.iter().flat_map(|it| created(it));
            let made: BTreeSet<&ContainerId> = made.collect();
            let relocation = self.relocation;
            let moves = state.plans.acted(self.service);
            let moves = moves.filter_map(|it| it.plan.relocation.as_ref());
            let mut moves = moves.filter(|it| {
                relocation.lost && it.at > relocation.at && made.contains(&it.container)
            });
            moves.find_map(|it| Course::about(state, self.service, it)?.stand_in(state))
        })
    }

    pub(super) fn is_successor(&self, replica: &Replica<'_>) -> bool {
        let create = self.last(ActionKind::CreateReplica);
        create.is_some_and(|it| Some(&it.plan.id) == replica.record.made_by.as_ref())
    }

    /// A step that nobody answered for may still come about until then.
    pub(super) fn settles_at(&self, now: Timestamp) -> Option<Timestamp> {
        let open = self.plans.iter().filter_map(|it| settles_at(it));
        open.filter(|until| *until > now).max()
    }

    /// Who let it begin, where the mode only allows to suggest it.
    pub(super) fn approval(&self) -> Option<&'a Approval> {
        self.plans.first()?.plan.approval.as_ref()
    }

    /// What the labels of the one that goes allow; of the new one, once that is gone.
    pub(super) fn mode(&self, state: &State) -> Mode {
        let of = |it: Replica<'_>| it.record.policy.mode;
        let original = self.original(state).map(of);
        original
            .or_else(|| self.successor(state).map(of))
            .unwrap_or_default()
    }
}

/// The container a plan of one step is about.
pub(super) fn action(entry: &PlanEntry) -> Option<&Action> {
    entry.plan.steps.first().map(|step| &step.action)
}

/// It was not carried out.
pub(super) fn is_failed(entry: &PlanEntry) -> bool {
    entry.phase == Phase::Failed
}

/// It runs, or is about to: one that people stopped is theirs.
pub(super) fn is_up(replica: &Replica<'_>) -> bool {
    match replica.record.state {
        ContainerState::Running | ContainerState::Restarting => true,
        ContainerState::Created
        | ContainerState::Paused
        | ContainerState::Exited
        | ContainerState::Dead => false,
    }
}
