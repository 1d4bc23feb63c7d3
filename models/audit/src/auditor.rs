//! The facts, and the checks that look at more than one plan.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{
    Approval, Command, CommandId, ContainerRecord, ContainerState, Generation, Heartbeat,
    JournalEntry, Mode, NodeId, NodeInventory, Phase, Plan, PlanEntry, PlanId, ServiceId,
    Timestamp,
};

use crate::failover::{self, Beats};
use crate::preemption;
use crate::rest;
use crate::steps;
use crate::update::{self, Orders};
use crate::violation::Violation;

const HOUR: Duration = Duration::from_secs(3_600);
/// Plans and commands over for this long are forgotten.
const REMEMBERED: Duration = Duration::from_secs(2 * 3_600);

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The ceiling over every container's own mode.
    pub max_mode: Mode,
    /// Plans being carried out on one node.
    pub node_concurrent: u32,
    /// Plans being carried out everywhere.
    pub global_concurrent: u32,
    /// Steps in an hour for one service.
    pub service_hourly: u32,
    /// Steps in an hour everywhere.
    pub global_hourly: u32,
}

/// Knows what the nodes hold and what was decided, and tells what must not be.
#[derive(Debug, Clone)]
pub struct Auditor {
    pub(crate) bounds: Bounds,
    nodes: BTreeMap<NodeId, NodeInventory>,
    pub(crate) plans: BTreeMap<PlanId, PlanEntry>,
    sent: BTreeMap<CommandId, (Generation, Timestamp)>,
    newest: Generation,
    breaker_open: bool,
    breaker_at: Timestamp,
    approvals: BTreeMap<PlanId, Approval>,
    pub(crate) orders: Orders,
    pub(crate) beats: Beats,
}

impl Auditor {
    /// An auditor that has seen nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        Auditor {
            bounds,
            nodes: BTreeMap::new(),
            plans: BTreeMap::new(),
            sent: BTreeMap::new(),
            newest: Generation::default(),
            breaker_open: false,
            breaker_at: Timestamp::EPOCH,
            approvals: BTreeMap::new(),
            orders: Orders::default(),
            beats: Beats::default(),
        }
    }

    /// Takes in what a node holds, unless something newer is known.
    pub fn observe_inventory(&mut self, inventory: &NodeInventory) {
        let newer = self
            .nodes
            .get(&inventory.node)
            .is_none_or(|known| inventory.is_newer_than(known.at, known.steady));
        if newer {
            self.nodes.insert(inventory.node.clone(), inventory.clone());
        }
    }

    /// Takes in that an actuator is there, as read now.
    pub fn observe_heartbeat(&mut self, beat: &Heartbeat, now: Timestamp) {
        self.beats.observe(beat, now);
    }

    /// Takes in what the journal says.
    pub fn observe_entry(&mut self, entry: &JournalEntry) {
        match entry {
            JournalEntry::Plan(entry) => {
                self.newest = self.newest.max(entry.plan.generation);
                let known = self.plans.get(&entry.plan.id);
                if known.is_none_or(|known| !known.phase.is_final() && known.at <= entry.at) {
                    self.plans.insert(entry.plan.id.clone(), (**entry).clone());
                }
            }
            JournalEntry::Breaker(entry) if entry.at >= self.breaker_at => {
                self.breaker_at = entry.at;
                self.breaker_open = entry.open_until.is_some();
            }
            JournalEntry::Breaker(_) => {}
            JournalEntry::Approval(approval) => {
                self.approvals
                    .insert(approval.plan.clone(), approval.clone());
            }
            JournalEntry::Update(order) => self.orders.observe(order),
            // It allows nothing.
            JournalEntry::Node(_) => {}
        }
    }

    /// The newest generation seen, in the journal or on a command.
    pub fn newest_generation(&self) -> Generation {
        self.newest
    }

    /// Forgets what has been over for hours.
    pub fn forget(&mut self, now: Timestamp) {
        let nodes = &self.nodes;
        self.plans.retain(|_, entry| {
            let remembered = match entry.plan.update {
                Some(_) => update::REMEMBERED,
                None => REMEMBERED,
            };
            !entry.phase.is_final() || entry.at + remembered >= now || rest::keeps(nodes, entry)
        });
        self.orders.forget(now);
        self.approvals
            .retain(|_, approval| approval.at + REMEMBERED >= now);
        self.sent
            .retain(|_, (_, deadline)| *deadline + REMEMBERED >= now);
    }

    /// Everything that is wrong with a plan that is about to be decided.
    pub fn check(&self, plan: &Plan, now: Timestamp) -> Vec<Violation> {
        let mut found = Vec::new();
        if plan.mode != Mode::Act {
            found.push(Violation::NotToBeCarriedOut {
                plan: plan.id.clone(),
                mode: plan.mode,
            });
        }
        if plan.steps.is_empty() {
            found.push(Violation::Empty {
                plan: plan.id.clone(),
            });
        }
        if plan
            .steps
            .iter()
            .any(|step| step.action.kind() != plan.kind)
        {
            found.push(Violation::MixedKinds {
                plan: plan.id.clone(),
            });
        }
        let not_before = plan.created_at.max(now);
        if plan.deadline <= not_before {
            found.push(Violation::Deadline {
                deadline: plan.deadline,
                not_before,
            });
        }
        if plan.generation < self.newest {
            found.push(Violation::StaleGeneration {
                generation: plan.generation,
                newest: self.newest,
            });
        }
        if self.breaker_open {
            found.push(Violation::BreakerOpen);
        }
        self.running(plan, &mut found);
        self.budgets(plan, now, &mut found);
        update::ordered(self, plan, &mut found);
        steps::check(self, plan, &mut found);
        preemption::check(self, plan, &mut found);
        found
    }

    /// Everything that is wrong with a command that is about to be sent; it counts as sent when that is nothing.
    pub fn check_command(&mut self, command: &Command, now: Timestamp) -> Vec<Violation> {
        let mut found = Vec::new();
        let decided = self.plans.get(&command.plan).is_some_and(|entry| {
            entry.phase == Phase::Decided
                && entry.plan.commands().any(|step| {
                    step.id == command.id
                        && step.node == command.node
                        && step.action == command.action
                        && step.deadline == command.deadline
                        && step.approval == command.approval
                        && step.update == command.update
                        && step.relocation == command.relocation
                })
        });
        if !decided {
            found.push(Violation::NoPlan {
                command: command.id.clone(),
            });
        }
        if command.deadline <= now {
            found.push(Violation::Deadline {
                deadline: command.deadline,
                not_before: now,
            });
        }
        if command.generation < self.newest {
            found.push(Violation::StaleGeneration {
                generation: command.generation,
                newest: self.newest,
            });
        }
        if self
            .sent
            .get(&command.id)
            .is_some_and(|(generation, _)| *generation >= command.generation)
        {
            found.push(Violation::SentTwice {
                command: command.id.clone(),
            });
        }
        if found.is_empty() {
            self.newest = self.newest.max(command.generation);
            self.sent
                .insert(command.id.clone(), (command.generation, command.deadline));
        }
        found
    }

    /// Containers of a service that are or will be there.
    pub(crate) fn replicas(&self, service: &ServiceId) -> impl Iterator<Item = &ContainerRecord> {
        let all = self.nodes.values();
        let all = all.flat_map(|node| node.containers.iter().map(move |record| (node, record)));
        let replaced = failover::replaced(self, service);
        let service = service.clone();
        let all = all.filter(move |(node, record)| {
            let mut replaced = replaced.iter();
            record.service == service && !replaced.any(|it| failover::is_of(it, node, record))
        });
        all.map(|(_, record)| record).filter(|record| {
            !record.is_isolated()
                && match record.state {
                    ContainerState::Running | ContainerState::Paused => true,
                    ContainerState::Created => record.made_by.is_some(),
                    ContainerState::Restarting | ContainerState::Exited | ContainerState::Dead => {
                        false
                    }
                }
        })
    }

    /// A person let this plan be carried out: the log says so, of a plan that was only suggested and has the same steps.
    pub(crate) fn is_approved(&self, plan: &Plan) -> bool {
        let Some(approval) = &plan.approval else {
            return false;
        };
        let suggested = self.plans.get(&approval.plan).is_some_and(|entry| {
            entry.phase == Phase::Suggested
                && entry.plan.service == plan.service
                && entry.plan.steps == plan.steps
        });
        (suggested || self.is_begun_with(plan, approval))
            && self.approvals.get(&approval.plan) == Some(approval)
            && approval.holds_at(plan.created_at)
    }

    pub(crate) fn node(&self, node: &NodeId) -> Option<&NodeInventory> {
        self.nodes.get(node)
    }

    fn others<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a PlanEntry> {
        self.plans.values().filter(|entry| entry.plan.id != plan.id)
    }

    fn running(&self, plan: &Plan, found: &mut Vec<Violation>) {
        let out: Vec<&PlanEntry> = self
            .others(plan)
            .filter(|entry| entry.phase == Phase::Decided)
            .collect();
        // An image that is pulled touches nothing that runs.
        let touching = out
            .iter()
            .filter(|other| other.plan.kind.touches_containers());
        for other in touching {
            if other.plan.service == plan.service {
                found.push(Violation::InFlight {
                    service: plan.service.clone(),
                    running: other.plan.id.clone(),
                });
            }
        }
        let count = |plans: usize| u32::try_from(plans).unwrap_or(u32::MAX).saturating_add(1);
        if count(out.len()) > self.bounds.global_concurrent {
            found.push(Violation::Concurrency {
                scope: "all nodes".to_owned(),
                plans: count(out.len()),
                most: self.bounds.global_concurrent,
            });
        }
        let mut nodes: Vec<&NodeId> = plan.steps.iter().map(|step| &step.node).collect();
        nodes.dedup();
        for node in nodes {
            let on_node = out
                .iter()
                .filter(|other| other.plan.steps.iter().any(|step| step.node == *node));
            let plans = count(on_node.count());
            if plans > self.bounds.node_concurrent {
                found.push(Violation::Concurrency {
                    scope: format!("node {node}"),
                    plans,
                    most: self.bounds.node_concurrent,
                });
            }
        }
    }

    fn budgets(&self, plan: &Plan, now: Timestamp, found: &mut Vec<Violation>) {
        let recent = |entry: &&PlanEntry| {
            entry.phase != Phase::Suggested && entry.plan.created_at + HOUR > now
        };
        let steps = |plans: &mut dyn Iterator<Item = &PlanEntry>| {
            let taken: usize = plans.map(|entry| entry.plan.steps.len()).sum();
            u32::try_from(taken + plan.steps.len()).unwrap_or(u32::MAX)
        };
        let of_service = steps(
            &mut self
                .others(plan)
                .filter(recent)
                .filter(|entry| entry.plan.service == plan.service),
        );
        if of_service > self.bounds.service_hourly {
            found.push(Violation::HourlyBudget {
                scope: plan.service.to_string(),
                steps: of_service,
                most: self.bounds.service_hourly,
            });
        }
        let global = steps(&mut self.others(plan).filter(recent));
        if global > self.bounds.global_hourly {
            found.push(Violation::HourlyBudget {
                scope: "all services".to_owned(),
                steps: global,
                most: self.bounds.global_hourly,
            });
        }
    }
}
