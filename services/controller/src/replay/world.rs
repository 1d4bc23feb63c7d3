//! How the world of a policy differs from the recorded one: replicas that it has and the recording has not, and the other way round;
//! signals that its actions are taken to have ended; containers that rest in one of the two.

use std::collections::{BTreeMap, BTreeSet};

use units::{
    Action, Check, ContainerId, ContainerRecord, ContainerState, Forecast, HealthState, Limits,
    Millicores, NodeId, NodeInventory, Plan, PlanId, ServiceId, Signal, SignalId, SignalPhase,
    Timestamp,
};

use super::rest::Rests;
use super::survey::Survey;

/// The differences, and what is needed to work them out.
#[derive(Debug, Default)]
pub(super) struct World {
    /// What each node told last, as recorded.
    told: BTreeMap<NodeId, NodeInventory>,
    /// Replicas that only this policy made, by node.
    made: BTreeMap<NodeId, BTreeMap<ContainerId, ContainerRecord>>,
    /// Replicas that only the recorded policy removed, by node.
    kept: BTreeMap<NodeId, BTreeMap<ContainerId, ContainerRecord>>,
    /// Replicas that only this policy removed.
    removed: BTreeSet<ContainerId>,
    /// Limits that only this policy set.
    limits: BTreeMap<ContainerId, Limits>,
    /// Containers that only this policy stopped or started.
    rests: Rests,
    /// Recorded plans that this policy made too.
    pub(super) shared: BTreeSet<PlanId>,
    /// Signals that go on in the recording and are over here.
    ended: BTreeSet<SignalId>,
    /// The last state of every open signal.
    open: BTreeMap<SignalId, Signal>,
}

impl World {
    /// A node's state as it would be here.
    pub(super) fn inventory(&mut self, inventory: NodeInventory, survey: &Survey) -> NodeInventory {
        let node = inventory.node.clone();
        if let Some(before) = self.told.insert(node.clone(), inventory.clone()) {
            self.keep(before, &inventory, survey);
        }
        self.overlaid(inventory, survey)
    }

    /// Keeps what only the recorded policy removed.
    fn keep(&mut self, before: NodeInventory, now: &NodeInventory, survey: &Survey) {
        let there: BTreeSet<&ContainerId> =
            now.containers.iter().map(|record| &record.id).collect();
        let gone = before.containers.into_iter();
        for record in gone.filter(|record| !there.contains(&record.id)) {
            let only_there = survey
                .remover(&record.id)
                .is_some_and(|plan| !self.shared.contains(plan));
            if only_there && !self.is_hidden(&record, survey) {
                let kept = self.kept.entry(now.node.clone()).or_default();
                kept.insert(record.id.clone(), record);
            }
        }
    }

    fn is_hidden(&self, record: &ContainerRecord, survey: &Survey) -> bool {
        let only_there = record
            .made_by
            .as_ref()
            .is_some_and(|plan| survey.plans.contains_key(plan) && !self.shared.contains(plan));
        only_there || self.removed.contains(&record.id)
    }

    fn overlaid(&self, mut inventory: NodeInventory, survey: &Survey) -> NodeInventory {
        inventory
            .containers
            .retain(|record| !self.is_hidden(record, survey));
        let node = &inventory.node;
        for more in [self.made.get(node), self.kept.get(node)]
            .into_iter()
            .flatten()
        {
            inventory.containers.extend(more.values().cloned());
        }
        let containers = inventory.containers.iter_mut();
        containers.for_each(|record| {
            self.limit(record);
            self.rests
                .show(record, survey, |plan| self.shared.contains(plan));
        });
        inventory.containers.sort_by(|a, b| a.name.cmp(&b.name));
        inventory
    }

    /// A signal as it would be here; none where it is over.
    pub(super) fn signal(&mut self, signal: Signal) -> Option<Signal> {
        let id = signal.id.clone();
        match signal.phase {
            SignalPhase::Resolve => {
                self.open.remove(&id);
                match self.ended.remove(&id) {
                    true => None,
                    false => Some(signal),
                }
            }
            SignalPhase::Open | SignalPhase::Update => {
                self.open.insert(id.clone(), signal.clone());
                (!self.ended.contains(&id)).then_some(signal)
            }
        }
    }

    /// A forecast as it would be with so many replicas here and there.
    pub(super) fn forecast(&self, mut forecast: Forecast, here: u32, there: u32) -> Forecast {
        let replicas = (forecast.replicas + here).saturating_sub(there);
        if here != there {
            forecast.replicas = replicas.max(1);
        }
        if here > there {
            forecast.throttled = 0.0;
        }
        if let Some(capacity) = self.capacity(&forecast.service) {
            if capacity > forecast.replica_capacity {
                forecast.throttled = 0.0;
            }
            forecast.replica_capacity = capacity;
        }
        forecast
    }

    /// What a replica of a service carries on average, where this policy set limits.
    fn capacity(&self, service: &ServiceId) -> Option<Millicores> {
        let told = self.told.values().flat_map(|node| node.containers.iter());
        let made = self.made.values().flat_map(|held| held.values());
        let all: Vec<&ContainerRecord> = told
            .chain(made)
            .filter(|it| it.service == *service && it.state == ContainerState::Running)
            .collect();
        let is_set = |record: &&ContainerRecord| self.limits.contains_key(&record.id);
        let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
        if count == 0 || !all.iter().any(is_set) {
            return None;
        }
        let sum = all.iter().map(|record| {
            let set = self.limits.get(&record.id).and_then(|limits| limits.cpu);
            set.or(record.limits.cpu).unwrap_or(Millicores::CORE).0
        });
        Some(Millicores(sum.sum::<u64>() / count))
    }

    /// Gives a container the limits that this policy set.
    fn limit(&self, record: &mut ContainerRecord) {
        if let Some(set) = self.limits.get(&record.id) {
            record.limits.cpu = set.cpu.or(record.limits.cpu);
            record.limits.memory = set.memory.or(record.limits.memory);
        }
    }

    /// The container that a step of this plan makes, when it is one that makes one.
    pub(super) fn created(plan: &Plan, index: usize) -> Option<ContainerId> {
        let step = plan.steps.get(index)?;
        match &step.action {
            Action::CreateReplica { .. } => {
                Some(ContainerId::new(format!("assumed-{}-{index}", plan.id)))
            }
            // The one in its place is told of under the id of the one before: the recording knows no other.
            Action::Recreate { .. }
            | Action::Restart { .. }
            | Action::UpdateLimits { .. }
            | Action::RemoveReplica { .. }
            | Action::PullImage { .. }
            | Action::Stop { .. }
            | Action::Export { .. }
            | Action::Isolate { .. }
            | Action::Rejoin { .. } => None,
        }
    }

    /// A plan that the recording does not hold is done: what it was to bring about is so. Returns the signals that are over with it.
    pub(super) fn assume(&mut self, plan: &Plan, now: Timestamp) -> Vec<Signal> {
        for (index, step) in plan.steps.iter().enumerate() {
            self.rests.assume(&step.action, now);
            match &step.action {
                Action::CreateReplica { template, name, .. } => {
                    let found = self.find(&step.node, template).cloned();
                    if let (Some(mut record), Some(id)) = (found, World::created(plan, index)) {
                        self.limit(&mut record);
                        record.replica_of = Some(std::mem::replace(&mut record.id, id.clone()));
                        record.name = name.clone();
                        record.state = ContainerState::Running;
                        if record.health != HealthState::None {
                            record.health = HealthState::Healthy;
                        }
                        record.restarts = 0;
                        record.created_at = Some(now);
                        record.started_at = Some(now);
                        record.made_by = Some(plan.id.clone());
                        let made = self.made.entry(step.node.clone()).or_default();
                        made.insert(id, record);
                    }
                }
                Action::RemoveReplica { container, .. } => self.remove(container),
                Action::UpdateLimits {
                    container, limits, ..
                } => {
                    let set = self.limits.entry(container.clone()).or_default();
                    set.cpu = limits.cpu.or(set.cpu);
                    set.memory = limits.memory.or(set.memory);
                }
                Action::Restart { .. }
                | Action::Recreate { .. }
                | Action::PullImage { .. }
                | Action::Stop { .. }
                | Action::Export { .. }
                | Action::Isolate { .. }
                | Action::Rejoin { .. } => {}
            }
        }
        let over = match &plan.expected.check {
            Check::SignalsResolve { signals } => signals,
            Check::UtilisationAtMost { .. }
            | Check::NoOverload
            | Check::LimitsHold
            | Check::ServesAsWell
            | Check::SuccessorServes => &plan.cause.signals,
        };
        over.iter().filter_map(|id| self.end(id, now)).collect()
    }

    fn find(&self, node: &NodeId, id: &ContainerId) -> Option<&ContainerRecord> {
        let told = self.told.get(node).map(|told| told.containers.iter());
        let mut told = told.into_iter().flatten();
        told.find(|record| record.id == *id)
            .or_else(|| self.made.get(node)?.get(id))
            .or_else(|| self.kept.get(node)?.get(id))
    }

    fn remove(&mut self, id: &ContainerId) {
        let nodes = self.made.values_mut().chain(self.kept.values_mut());
        nodes.for_each(|held| drop(held.remove(id)));
        self.removed.insert(id.clone());
    }

    fn end(&mut self, id: &SignalId, now: Timestamp) -> Option<Signal> {
        let open = self.open.get(id)?;
        let over = Signal {
            phase: SignalPhase::Resolve,
            at: open.at.max(now),
            ..open.clone()
        };
        self.ended.insert(id.clone()).then_some(over)
    }
}
