//! The picture of the loop, put together from its topics. Pure: records in, answers out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use units::{
    Approval, BreakerEntry, ContainerRecord, ContainerState, Feedback, Forecast, JournalEntry,
    NodeId, NodeInventory, PlanEntry, PlanId, ServiceId, Signal, SignalId, SignalPhase, Timestamp,
};

use crate::api::{BarStatus, Explanation, Heard, ListedSignal, NodeStatus, ServiceStatus, Status};
use crate::approve::{self, Approvals, NotApproved};
use crate::explain;
use crate::feedback::Opinions;
use crate::orders::{Before, Orders, Replica};

/// Resolved signals kept; the oldest go first. Open ones are always kept.
const SIGNALS_KEPT: usize = 2_000;
/// Plans kept; the oldest go first.
const PLANS_KEPT: usize = 2_000;
/// Earlier openings shown with an explanation.
const EARLIER_SHOWN: usize = 5;

/// What is known of the loop.
#[derive(Debug, Default)]
pub struct View {
    nodes: BTreeMap<NodeId, NodeInventory>,
    signals: BTreeMap<SignalId, Signal>,
    signal_order: VecDeque<SignalId>,
    plans: BTreeMap<PlanId, PlanEntry>,
    plan_order: VecDeque<PlanId>,
    forecasts: BTreeMap<ServiceId, Forecast>,
    breaker: Option<BreakerEntry>,
    opinions: Opinions,
    approvals: Approvals,
    orders: Orders,
}

/// Why an id was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// No signal's id begins like this.
    #[error("no signal's id begins with {0:?}; `homeostat signals` lists them")]
    Unknown(String),
    /// Several do.
    #[error("{0:?} is the beginning of {1} signals' ids; give more of it")]
    Ambiguous(String, usize),
}

impl View {
    /// Takes a heartbeat.
    pub fn inventory(&mut self, inventory: NodeInventory) {
        self.nodes.insert(inventory.node.clone(), inventory);
    }

    /// Takes the news that a node was removed.
    pub fn node_removed(&mut self, node: &NodeId) {
        self.nodes.remove(node);
    }

    /// Takes a state of a signal. A state older than the one known, as a repeated record brings, changes nothing.
    pub fn signal(&mut self, signal: Signal) {
        match self.signals.get(&signal.id) {
            Some(known) if known.at > signal.at || known.phase == SignalPhase::Resolve => return,
            Some(_) => {}
            None => self.signal_order.push_back(signal.id.clone()),
        }
        self.signals.insert(signal.id.clone(), signal);
        self.trim_signals();
    }

    /// Takes a record of the journal.
    pub fn journal(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Plan(entry) => self.plan(*entry),
            JournalEntry::Breaker(entry) => {
                self.breaker = entry.open_until.is_some().then_some(entry);
            }
            JournalEntry::Approval(approval) => self.approvals.take(approval),
            JournalEntry::Update(update) => self.orders.take(update),
            // The core knows it.
            JournalEntry::Node(_) => {}
        }
    }

    /// Takes what somebody said of a signal.
    pub fn feedback(&mut self, feedback: Feedback) {
        self.opinions.take(feedback);
    }

    /// Takes a service's load.
    pub fn forecast(&mut self, forecast: Forecast) {
        self.forecasts.insert(forecast.service.clone(), forecast);
    }

    fn plan(&mut self, entry: PlanEntry) {
        let id = entry.plan.id.clone();
        let known = self.plans.get(&id);
        if known.is_some_and(|it| it.phase.rank() > entry.phase.rank()) {
            return;
        }
        if !self.plans.contains_key(&id) {
            self.plan_order.push_back(id.clone());
        }
        self.plans.insert(id, entry);
        while self.plan_order.len() > PLANS_KEPT {
            if let Some(oldest) = self.plan_order.pop_front() {
                self.plans.remove(&oldest);
            }
        }
    }

    fn trim_signals(&mut self) {
        let mut looked_at = 0;
        while self.signals.len() > SIGNALS_KEPT && looked_at < self.signal_order.len() {
            looked_at += 1;
            let Some(oldest) = self.signal_order.pop_front() else {
                break;
            };
            if self.signals.get(&oldest).is_some_and(is_open) {
                self.signal_order.push_back(oldest);
            } else {
                self.signals.remove(&oldest);
            }
        }
    }

    /// The fleet at a glance.
    pub fn status(&self, now: Timestamp) -> Status {
        let breaker = self
            .breaker
            .clone()
            .filter(|entry| entry.open_until.is_some_and(|until| until > now));
        Status {
            at: now,
            nodes: self
                .nodes
                .values()
                .map(|node| node_status(node, now))
                .collect(),
            services: self.services_seen().len(),
            containers_running: self
                .containers()
                .filter(|(_, container)| container.state == ContainerState::Running)
                .count(),
            signals_open: self
                .signals
                .values()
                .filter(|signal| is_open(signal))
                .count(),
            plans_running: self
                .plans
                .values()
                .filter(|entry| !entry.phase.is_final())
                .count(),
            breaker,
        }
    }

    /// Every service, by name.
    pub fn services(&self) -> Vec<ServiceStatus> {
        self.services_seen()
            .into_iter()
            .map(|service| self.service(service))
            .collect()
    }

    /// Signals, newest first: open ones only, or all that are kept.
    pub fn signals(&self, which: Which) -> Vec<Signal> {
        let mut signals: Vec<Signal> = self
            .signals
            .values()
            .filter(|signal| which == Which::All || is_open(signal))
            .cloned()
            .collect();
        signals.sort_by(|a, b| b.opened_at.cmp(&a.opened_at).then_with(|| a.id.cmp(&b.id)));
        signals
    }

    /// Signals as [`View::signals`] gives them, with what was said of each.
    pub fn listed(&self, which: Which) -> Vec<ListedSignal> {
        let signals = self.signals(which).into_iter();
        signals.map(|signal| self.with_said(signal)).collect()
    }

    /// The bars that stand, highest first.
    pub fn bars(&self, now: Timestamp) -> Vec<BarStatus> {
        self.opinions.bars(now)
    }

    /// The signal whose id begins so.
    ///
    /// # Errors
    /// As [`View::explain`].
    pub fn find(&self, id: &str) -> Result<ListedSignal, NotFound> {
        self.lookup(id).map(|signal| self.with_said(signal.clone()))
    }

    /// When feedback that is given now is given: after all before it.
    pub(crate) fn next_feedback_at(&self, now: Timestamp) -> Timestamp {
        self.opinions.next_at(now)
    }

    pub(crate) fn heard(&self, listed: ListedSignal, now: Timestamp) -> Heard {
        let (kind, subject) = (listed.signal.kind, &listed.signal.subject);
        let bar = self.opinions.bar(kind, subject, now);
        Heard { listed, bar }
    }

    fn with_said(&self, signal: Signal) -> ListedSignal {
        let said = self.opinions.of(&signal.id);
        ListedSignal { signal, said }
    }

    /// The suggested plan whose id begins so, if it can be approved.
    pub(crate) fn suggested(&self, id: &str) -> Result<&PlanEntry, NotApproved> {
        approve::suggested(&self.plans, id)
    }

    /// The approval of a plan, while it holds.
    pub(crate) fn approval(&self, plan: &PlanId, now: Timestamp) -> Option<&Approval> {
        self.approvals.of(plan, now)
    }

    /// What people ordered.
    pub(crate) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// The containers of a service, as orders look at them.
    pub(crate) fn replicas(&self, service: &ServiceId) -> Vec<Replica<'_>> {
        let of_service =
            |(_, container): &(&NodeId, &ContainerRecord)| container.service == *service;
        let containers = self.containers().filter(of_service);
        containers
            .map(|(_, container)| Replica::of(container))
            .collect()
    }

    /// What the service ran before its newest update that changed something.
    pub(crate) fn before_last(&self, service: &ServiceId) -> Option<Before> {
        self.orders.before_last(service, self.plans.values())
    }

    /// Plans, newest first.
    pub fn actions(&self) -> Vec<PlanEntry> {
        let mut plans: Vec<PlanEntry> = self.plans.values().cloned().collect();
        plans.sort_by(|a, b| {
            b.plan
                .created_at
                .cmp(&a.plan.created_at)
                .then_with(|| a.plan.id.cmp(&b.plan.id))
        });
        plans
    }

    /// The signal whose id begins so, with what was done about it and what is known of its like.
    ///
    /// # Errors
    /// When none or several begin so.
    pub fn explain(&self, id: &str, now: Timestamp) -> Result<Explanation, NotFound> {
        let signal = self.lookup(id)?;
        let caused_by = |signal: &SignalId| self.caused_by(std::slice::from_ref(signal));
        Ok(Explanation {
            signal: signal.clone(),
            said: self.opinions.of(&signal.id),
            confidence_why: explain::confidence_why(signal).to_owned(),
            bar: self.opinions.bar(signal.kind, &signal.subject, now),
            similar: explain::similar(signal, self.signals.values(), caused_by, &self.opinions),
            earlier: self.earlier(signal),
            plans: self.caused_by(std::slice::from_ref(&signal.id)),
            // Incidents are kept beside the view.
            incident: None,
        })
    }

    fn lookup(&self, id: &str) -> Result<&Signal, NotFound> {
        let from = SignalId::from(id);
        let mut found = self
            .signals
            .range(from..)
            .take_while(|(known, _)| known.as_str().starts_with(id));
        let Some((_, signal)) = found.next() else {
            return Err(NotFound::Unknown(id.to_owned()));
        };
        let others = found.count();
        if others > 0 && signal.id.as_str() != id {
            return Err(NotFound::Ambiguous(id.to_owned(), others + 1));
        }
        Ok(signal)
    }

    fn earlier(&self, signal: &Signal) -> Vec<Signal> {
        let mut earlier: Vec<Signal> = self
            .signals
            .values()
            .filter(|other| {
                other.fingerprint == signal.fingerprint && other.opened_at < signal.opened_at
            })
            .cloned()
            .collect();
        earlier.sort_by_key(|other| std::cmp::Reverse(other.opened_at));
        earlier.truncate(EARLIER_SHOWN);
        earlier
    }

    /// Plans that any of the signals caused, oldest first.
    pub fn caused_by(&self, signals: &[SignalId]) -> Vec<PlanEntry> {
        let mut plans: Vec<PlanEntry> = self
            .plans
            .values()
            .filter(|entry| {
                let causes = &entry.plan.cause.signals;
                causes.iter().any(|cause| signals.contains(cause))
            })
            .cloned()
            .collect();
        plans.sort_by_key(|entry| entry.plan.created_at);
        plans
    }

    /// The nodes as they last told of themselves, by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeInventory> {
        self.nodes.values()
    }

    /// The plans, in no particular order.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &PlanEntry> {
        self.plans.values()
    }

    fn containers(&self) -> impl Iterator<Item = (&NodeId, &ContainerRecord)> {
        self.nodes
            .iter()
            .flat_map(|(id, node)| node.containers.iter().map(move |container| (id, container)))
    }

    fn services_seen(&self) -> BTreeSet<&ServiceId> {
        self.containers()
            .map(|(_, container)| &container.service)
            .collect()
    }

    fn service(&self, service: &ServiceId) -> ServiceStatus {
        let replicas: Vec<(&NodeId, &ContainerRecord)> = self
            .containers()
            .filter(|(_, container)| container.service == *service)
            .collect();
        let forecast = self.forecasts.get(service);
        let scale = replicas
            .iter()
            .find_map(|(_, container)| container.policy.scale.clone());
        let obstacles: BTreeSet<String> = replicas
            .iter()
            .filter(|_| scale.is_some())
            .flat_map(|(_, container)| container.copy_obstacles.iter().cloned())
            .collect();
        ServiceStatus {
            service: service.clone(),
            mode: replicas
                .iter()
                .map(|(_, container)| container.policy.mode)
                .min()
                .unwrap_or_default(),
            heal: replicas.iter().all(|(_, container)| container.policy.heal),
            scale,
            priority: replicas
                .iter()
                .map(|(_, container)| container.policy.priority)
                .max()
                .unwrap_or_default(),
            replicas: replicas.len(),
            serving: replicas
                .iter()
                .filter(|(_, container)| container.is_serving())
                .count(),
            load_millicores: forecast.map(|forecast| forecast.observed),
            utilisation: forecast.and_then(utilisation),
            nodes: replicas
                .iter()
                .map(|(node, _)| (*node).clone())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            signals_open: self
                .signals
                .values()
                .filter(|signal| {
                    is_open(signal) && signal.subject.service.as_ref() == Some(service)
                })
                .count(),
            copy_obstacles: obstacles.into_iter().collect(),
            label_problems: replicas
                .iter()
                .flat_map(|(_, container)| container.label_problems.clone())
                .collect(),
        }
    }
}

/// Which signals to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are not over.
    Open,
    /// All that are kept.
    All,
}

fn is_open(signal: &Signal) -> bool {
    match signal.phase {
        SignalPhase::Open | SignalPhase::Update => true,
        SignalPhase::Resolve => false,
    }
}

fn utilisation(forecast: &Forecast) -> Option<f64> {
    let capacity = forecast.replica_capacity.0 as f64 * f64::from(forecast.replicas);
    (capacity > 0.0).then(|| forecast.observed / capacity)
}

fn node_status(node: &NodeInventory, now: Timestamp) -> NodeStatus {
    NodeStatus {
        node: node.node.clone(),
        heartbeat_age_ms: u64::try_from(now.since(node.at).as_millis()).unwrap_or(u64::MAX),
        containers: node.containers.len(),
        engine: node.engine.version.clone(),
    }
}
