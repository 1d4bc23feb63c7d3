//! Plans, as the journal tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    ActionKind, Approval, CommandId, ContainerId, Outcome, OutcomeResult, Phase, PlanEntry, PlanId,
    Refusal, ServiceId, SignalId, Step, Timestamp,
};

use crate::draft::Draft;
use crate::failover;
use crate::idle;
use crate::judge;
use crate::people::LATE;
use crate::update;

/// Finished plans are remembered this long: budgets and the ledger look back on them.
const REMEMBERED: Duration = Duration::from_secs(2 * 3_600);
/// What was said about a signal is not said again within this.
const SAID_REMEMBERED: Duration = Duration::from_secs(24 * 3_600);
/// What was said about load alone is said again after this.
const SAID_AGAIN: Duration = Duration::from_secs(3_600);
/// Finished plans remembered for one service; the oldest go first, those of updates and those that stopped a container last.
const PER_SERVICE_MAX: usize = 256;
/// Outcomes that came before their plan; beyond this the earliest plan's go first, and that plan fails by its deadline.
const ORPHANS_MAX: usize = 1_024;

/// Every plan remembered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plans {
    entries: BTreeMap<PlanId, PlanEntry>,
    by_service: BTreeMap<ServiceId, BTreeSet<PlanId>>,
    active: BTreeSet<PlanId>,
    orphans: BTreeMap<PlanId, Vec<Outcome>>,
    approvals: BTreeMap<PlanId, Approval>,
    /// When plans that are over were told again.
    retold: BTreeMap<PlanId, Timestamp>,
}

fn remembered(entry: &PlanEntry) -> Duration {
    match entry.phase {
        Phase::Suggested | Phase::Failed | Phase::Judged if entry.plan.update.is_some() => {
            update::REMEMBERED
        }
        Phase::Suggested if !entry.plan.cause.signals.is_empty() => SAID_REMEMBERED,
        Phase::Suggested | Phase::Failed | Phase::Judged => REMEMBERED,
        Phase::Decided | Phase::Executed => Duration::MAX,
    }
}

/// It may have to be known for as long as a container stands still that it stopped, or a node is lost that it made one in the place of.
fn may_matter(entry: &PlanEntry) -> bool {
    entry.plan.kind == ActionKind::Stop || failover::stands_in(entry).is_some()
}

/// A leader that was fenced off tells nothing of the step: what else is known of it counts more.
fn tells_more(new: &Outcome, old: &Outcome) -> bool {
    let fenced = |outcome: &Outcome| {
        matches!(
            outcome.result,
            OutcomeResult::Refused {
                refusal: Refusal::StaleGeneration,
                ..
            }
        )
    };
    fenced(old) && !fenced(new)
}

fn merge(outcomes: &mut Vec<Outcome>, new: Outcome) {
    match outcomes
        .iter_mut()
        .find(|known| known.command == new.command)
    {
        Some(known) if tells_more(&new, known) => *known = new,
        Some(_) => {}
        None => outcomes.push(new),
    }
}

impl Plans {
    /// Takes a state of a plan; one that is not further than what is known only adds its outcomes. Returns its service.
    pub(crate) fn apply(&mut self, mut entry: PlanEntry, now: Timestamp) -> ServiceId {
        let id = entry.plan.id.clone();
        let service = entry.plan.service.clone();
        for outcome in self.orphans.remove(&id).unwrap_or_default() {
            merge(&mut entry.outcomes, outcome);
        }
        match self.entries.get_mut(&id) {
            Some(known) if known.phase.rank() >= entry.phase.rank() => {
                for outcome in entry.outcomes {
                    merge(&mut known.outcomes, outcome);
                }
            }
            Some(known) => {
                for outcome in std::mem::take(&mut known.outcomes) {
                    merge(&mut entry.outcomes, outcome);
                }
                *known = entry;
            }
            None => {
                self.by_service
                    .entry(service.clone())
                    .or_default()
                    .insert(id.clone());
                self.entries.insert(id.clone(), entry);
            }
        }
        let known = &self.entries[&id];
        if !known.phase.is_final() {
            self.active.insert(id);
        } else {
            self.active.remove(&id);
            // Whether what it stopped still stands still, or whose place it took is back, is known when all has been read.
            let may_matter = may_matter(known);
            if known.at + remembered(known) < now && !may_matter {
                self.forget(&id);
            } else {
                self.shorten(&service);
            }
        }
        service
    }

    /// Takes what became of a step. Returns the service when it was news of a plan that is known.
    pub(crate) fn outcome(&mut self, outcome: Outcome) -> Option<ServiceId> {
        if let Some(entry) = self.entries.get_mut(&outcome.plan) {
            merge(&mut entry.outcomes, outcome);
            return Some(entry.plan.service.clone());
        }
        merge(
            self.orphans.entry(outcome.plan.clone()).or_default(),
            outcome,
        );
        if self.orphans.len() > ORPHANS_MAX {
            let earliest = self
                .orphans
                .iter()
                .min_by_key(|(_, outcomes)| outcomes.first().map(|outcome| outcome.at))
                .map(|(plan, _)| plan.clone());
            if let Some(plan) = earliest {
                self.orphans.remove(&plan);
            }
        }
        None
    }

    pub(crate) fn get(&self, id: &PlanId) -> Option<&PlanEntry> {
        self.entries.get(id)
    }

    /// Plans that are not over, by id.
    pub(crate) fn active(&self) -> impl Iterator<Item = &PlanEntry> {
        self.active.iter().filter_map(|id| self.entries.get(id))
    }

    /// Everything remembered.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PlanEntry> {
        self.entries.values()
    }

    /// Everything remembered of a service.
    pub(crate) fn of_service(&self, service: &ServiceId) -> impl Iterator<Item = &PlanEntry> {
        let ids = self.by_service.get(service).into_iter().flatten();
        ids.filter_map(|id| self.entries.get(id))
    }

    /// Everything of a service that was to be carried out.
    pub(crate) fn acted(&self, service: &ServiceId) -> impl Iterator<Item = &PlanEntry> {
        self.of_service(service)
            .filter(|entry| entry.phase != Phase::Suggested)
    }

    /// A copy that knows of one service only, to try out what a change would mean.
    pub(crate) fn only(&self, service: &ServiceId) -> Plans {
        let mut copy = Plans::default();
        for entry in self.of_service(service) {
            let id = entry.plan.id.clone();
            copy.by_service
                .entry(service.clone())
                .or_default()
                .insert(id.clone());
            copy.entries.insert(id, entry.clone());
        }
        copy
    }

    /// When the restarts of a container were decided, earliest first.
    pub(crate) fn restarts(&self, service: &ServiceId, container: &ContainerId) -> Vec<Timestamp> {
        let mut times: Vec<Timestamp> = self
            .acted(service)
            .filter(|entry| entry.plan.kind == ActionKind::Restart && !idle::is_start(&entry.plan))
            .filter(|entry| {
                entry
                    .plan
                    .steps
                    .iter()
                    .any(|step| step.action.target() == container)
            })
            .map(|entry| entry.plan.created_at)
            .collect();
        times.sort_unstable();
        times
    }

    /// The same was said before: about the same signals ever, or about the same steps for load's sake within the hour.
    pub(crate) fn is_said(
        &self,
        service: &ServiceId,
        kind: ActionKind,
        signals: &[SignalId],
        steps: &[Step],
        now: Timestamp,
    ) -> bool {
        // That an update is over is another word than that something is not done.
        let is_end = |entry: &PlanEntry| entry.plan.update.is_some() && entry.plan.steps.is_empty();
        let said = self
            .of_service(service)
            .filter(|entry| entry.phase == Phase::Suggested && entry.plan.kind == kind)
            .filter(|entry| !is_end(entry));
        said.into_iter().any(|entry| {
            if signals.is_empty() {
                entry.plan.cause.signals.is_empty()
                    && entry.plan.steps == steps
                    && entry.at + SAID_AGAIN > now
            } else {
                entry.plan.cause.signals == signals
            }
        })
    }

    /// Takes what a person approved. Returns the service, when the plan is known.
    pub(crate) fn approve(&mut self, approval: Approval) -> Option<ServiceId> {
        let service = self.entries.get(&approval.plan)?.plan.service.clone();
        self.approvals.insert(approval.plan.clone(), approval);
        Some(service)
    }

    /// Who let this be done: the same was suggested, somebody approved of that a short time ago, and nothing was done upon it yet.
    pub(crate) fn approval(&self, draft: &Draft, now: Timestamp) -> Option<&Approval> {
        let used = |plan: &PlanId| {
            self.acted(&draft.service).any(|entry| {
                let approval = entry.plan.approval.as_ref();
                approval.is_some_and(|approval| approval.plan == *plan)
            })
        };
        let suggested = self.of_service(&draft.service).filter(|entry| {
            entry.phase == Phase::Suggested
                && entry.plan.kind == draft.kind
                && entry.plan.steps == draft.steps
        });
        suggested
            .filter_map(|entry| self.approvals.get(&entry.plan.id))
            .find(|approval| approval.holds_at(now) && !used(&approval.plan))
    }

    /// An id no plan has yet: two of one service and kind may be decided in the same millisecond.
    pub(crate) fn fresh_id(&self, service: &ServiceId, kind: ActionKind, now: Timestamp) -> PlanId {
        let mut at = now;
        loop {
            let id = PlanId::of(service, kind.as_str(), at);
            if !self.entries.contains_key(&id) {
                return id;
            }
            at = at + Duration::from_millis(1);
        }
    }

    /// When a plan was last told in the journal, as far as is known.
    pub(crate) fn told_at(&self, entry: &PlanEntry) -> Timestamp {
        let retold = self.retold.get(&entry.plan.id).copied();
        retold.map_or(entry.at, |at| at.max(entry.at))
    }

    /// Takes that a plan is told again. The plan as it is then told.
    pub(crate) fn retell(&mut self, id: &PlanId, now: Timestamp) -> Option<PlanEntry> {
        let entry = self.entries.get(id)?.clone();
        self.retold.insert(id.clone(), now);
        Some(entry)
    }

    /// Forgets what is over long enough, and is not to be kept.
    pub(crate) fn prune(&mut self, now: Timestamp, keeps: impl Fn(&PlanEntry) -> bool) {
        let old: Vec<PlanId> = self
            .entries
            .values()
            .filter(|entry| entry.phase.is_final() && entry.at + remembered(entry) < now)
            .filter(|entry| !keeps(entry))
            .map(|entry| entry.plan.id.clone())
            .collect();
        for id in old {
            self.forget(&id);
        }
        self.approvals.retain(|_, approval| approval.holds_at(now));
        self.orphans.retain(|_, outcomes| {
            outcomes
                .iter()
                .any(|outcome| outcome.at + REMEMBERED >= now)
        });
    }

    fn shorten(&mut self, service: &ServiceId) {
        let count = self.by_service.get(service).map_or(0, BTreeSet::len);
        if count <= PER_SERVICE_MAX {
            return;
        }
        let oldest = self
            .of_service(service)
            .filter(|entry| entry.phase.is_final())
            .min_by_key(|it| {
                let stays = it.plan.update.is_some() || may_matter(it);
                (stays, it.at, &it.plan.id)
            })
            .map(|entry| entry.plan.id.clone());
        if let Some(id) = oldest {
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &PlanId) {
        let Some(entry) = self.entries.remove(id) else {
            return;
        };
        self.active.remove(id);
        self.retold.remove(id);
        if let Some(of_service) = self.by_service.get_mut(&entry.plan.service) {
            of_service.remove(id);
            if of_service.is_empty() {
                self.by_service.remove(&entry.plan.service);
            }
        }
    }
}

/// The outcome of step `index`, when there is one.
pub(crate) fn outcome_of(entry: &PlanEntry, index: usize) -> Option<&Outcome> {
    let id = CommandId::of(&entry.plan.id, index);
    entry.outcomes.iter().find(|outcome| outcome.command == id)
}

/// Every step has its outcome.
pub(crate) fn is_answered(entry: &PlanEntry) -> bool {
    (0..entry.plan.steps.len()).all(|index| outcome_of(entry, index).is_some())
}

/// Every step succeeded.
pub(crate) fn is_done(entry: &PlanEntry) -> bool {
    (0..entry.plan.steps.len()).all(|index| {
        outcome_of(entry, index)
            .is_some_and(|outcome| matches!(outcome.result, OutcomeResult::Succeeded { .. }))
    })
}

/// When a plan must be looked at even if nothing is heard of it.
pub(crate) fn timer(entry: &PlanEntry) -> Option<Timestamp> {
    match entry.phase {
        Phase::Decided => Some(entry.plan.deadline + LATE),
        Phase::Executed => Some(judge::due(entry)),
        Phase::Suggested | Phase::Failed | Phase::Judged => None,
    }
}
