//! The judge: holds what happens in the world, not what the core believes, against the invariants of the design.

mod begin;
mod failover;
mod idle;
mod rank;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use control::Config;
use units::{
    Action, ActionKind, CommandId, ContainerId, Generation, JournalEntry, OutcomeResult, Phase,
    Plan, PlanEntry, PlanId, Refusal, ServiceId, Timestamp, VerdictKind,
};

use super::World;
use super::options::{Broken, Invariant};
use super::view::Touch;

const HOUR: Duration = Duration::from_secs(3_600);
/// What a decision was made from is older than the decision by this at most: a look of the collector, what counts as fresh, and the
/// way through the log. What changed since could not be known.
const UNKNOWABLE: Duration = Duration::from_secs(20);
/// Two leaders may overlap for this long; the log orders what they write, and neither has read the other's last.
const OVERLAP: Duration = Duration::from_secs(20);
/// A record that comes a little late counts as said when it comes.
const PLAY: Duration = Duration::from_secs(4);
/// Around the time of a plan a change to its container cannot be told from the plan's own.
const AMBIGUOUS: Duration = Duration::from_secs(36);

/// What the judge remembers.
#[derive(Debug)]
pub(super) struct Oracle {
    promised: Config,
    pub(super) broken: Option<Broken>,
    pub(super) step: u64,
    /// By node: the newest generation that its actuator has read.
    heard: Vec<Generation>,
    begun: BTreeSet<CommandId>,
    running: BTreeMap<CommandId, (ServiceId, ContainerId)>,
    plans: BTreeMap<PlanId, Known>,
    breaker: Option<(Generation, Timestamp)>,
    losses: BTreeMap<Tried, (u32, Timestamp)>,
    pub(super) decided: u64,
    pub(super) preempted: u64,
    pub(super) taken_over: u64,
    pub(super) commands: u64,
}

/// What losses are counted by: a restart that heals is another try than one that starts what rests.
type Tried = (ServiceId, ActionKind, bool);

fn tried(plan: &Plan) -> Tried {
    let is_start = plan.kind == ActionKind::Restart && plan.cause.signals.is_empty();
    (plan.service.clone(), plan.kind, is_start)
}

#[derive(Debug, Clone)]
struct Known {
    entry: PlanEntry,
    written_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl Oracle {
    pub(super) fn new(promised: Config, nodes: usize) -> Self {
        Oracle {
            promised,
            broken: None,
            step: 0,
            heard: vec![Generation::default(); nodes],
            begun: BTreeSet::new(),
            running: BTreeMap::new(),
            plans: BTreeMap::new(),
            breaker: None,
            losses: BTreeMap::new(),
            decided: 0,
            preempted: 0,
            taken_over: 0,
            commands: 0,
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Notes the first thing that must not be.
    pub(super) fn breaks(&mut self, invariant: Invariant, at: Timestamp, what: String) {
        let step = self.step;
        self.broken.get_or_insert(Broken {
            invariant,
            step,
            at,
            what,
        });
    }

    pub(super) fn codec(&mut self, at: Timestamp, what: String) {
        self.breaks(Invariant::Codec, at, what);
    }

    pub(super) fn audit(&mut self, at: Timestamp, what: String) {
        self.breaks(Invariant::Audit, at, what);
    }

    /// A node's actuator read a command of this generation.
    pub(super) fn heard(&mut self, node: usize, generation: Generation) {
        self.heard[node] = self.heard[node].max(generation);
    }

    /// An engine is done with it.
    pub(super) fn ended(&mut self, command: &CommandId) {
        self.running.remove(command);
    }

    /// The plan is a step of a move.
    pub(super) fn is_of_move(&self, plan: &PlanId) -> bool {
        let known = self.plans.get(plan);
        known.is_some_and(|it| it.entry.plan.relocation.is_some())
    }

    /// Plans the journal does not know the end of.
    pub(super) fn unfinished(&self) -> Vec<&PlanId> {
        let open = self
            .plans
            .iter()
            .filter(|(_, it)| !it.entry.phase.is_final());
        open.map(|(id, _)| id).collect()
    }

    /// The journal took an entry.
    pub(super) fn journaled(&mut self, entry: &JournalEntry, now: Timestamp) {
        match entry {
            JournalEntry::Breaker(entry) => {
                self.breaker = entry.open_until.map(|_| (entry.generation, now));
            }
            JournalEntry::Approval(_) | JournalEntry::Update(_) | JournalEntry::Node(_) => {}
            JournalEntry::Plan(entry) => match entry.phase {
                Phase::Suggested => {}
                Phase::Decided => self.planned(entry, now),
                Phase::Executed | Phase::Failed | Phase::Judged => self.moved_on(entry, now),
            },
        }
    }

    fn planned(&mut self, entry: &PlanEntry, now: Timestamp) {
        let plan = &entry.plan;
        self.decided += 1;
        self.preempted += u64::from(plan.preemption.is_some());
        self.taken_over += u64::from(failover::is_taken_over(plan));
        if self.plans.contains_key(&plan.id) {
            let what = format!("{} is decided a second time", plan.id);
            return self.breaks(Invariant::Restart, now, what);
        }
        for (invariant, what) in self.against_others(plan) {
            self.breaks(invariant, now, what);
        }
        self.hourly(plan, now);
        self.quarantine(plan, now);
        let known = Known {
            entry: entry.clone(),
            written_at: now,
            ended_at: None,
        };
        self.plans.insert(plan.id.clone(), known);
    }

    /// Plans of one leader know of each other; those of two overlapping ones cannot, until each has read the other's. What a plan was
    /// decided by is what had been written then: a leader that stands still may write it much later, after its successor's.
    fn against_others(&self, plan: &Plan) -> Vec<(Invariant, String)> {
        let mut found = Vec::new();
        let known = |generation: Generation, at: Timestamp| {
            generation == plan.generation || at + OVERLAP < plan.created_at
        };
        let others = self.plans.values().filter(|other| {
            !other.entry.phase.is_final() && known(other.entry.plan.generation, other.written_at)
        });
        let (mut all, mut on_node) = (1_u32, BTreeMap::new());
        for other in others {
            let theirs = &other.entry.plan;
            let same_cause = theirs
                .cause
                .signals
                .iter()
                .any(|it| plan.cause.signals.contains(it));
            if same_cause && theirs.kind == plan.kind {
                let what = format!("{} answers what {} answers already", plan.id, theirs.id);
                found.push((Invariant::Restart, what));
            }
            if other.entry.phase != Phase::Decided {
                continue;
            }
            all += 1;
            // An image that is pulled touches nothing that runs.
            if theirs.service == plan.service && theirs.kind.touches_containers() {
                let what = format!("{} is decided while {} runs", plan.id, theirs.id);
                found.push((Invariant::Budgets, what));
            }
            let nodes: BTreeSet<_> = theirs.steps.iter().map(|step| &step.node).collect();
            for node in nodes {
                *on_node.entry(node.clone()).or_insert(0_u32) += 1;
            }
        }
        let budget = &self.promised.budget;
        let busiest = plan
            .steps
            .iter()
            .filter_map(|step| on_node.get(&step.node))
            .max();
        let busiest = busiest.map_or(1, |others| others + 1);
        if all > budget.global_concurrent || busiest > budget.node_concurrent {
            let what = format!("{} makes {all} plans at once, {busiest} on a node", plan.id);
            found.push((Invariant::Budgets, what));
        }
        if let Some((generation, at)) = self.breaker
            && known(generation, at)
        {
            let what = format!("{} is decided while the breaker is open", plan.id);
            found.push((Invariant::Budgets, what));
        }
        found
    }

    fn hourly(&mut self, plan: &Plan, now: Timestamp) {
        let budget = &self.promised.budget;
        let (mut service, mut global) = (plan.steps.len() as u32, plan.steps.len() as u32);
        for other in self.plans.values() {
            let theirs = &other.entry.plan;
            let unread = theirs.generation != plan.generation
                && other.written_at + OVERLAP >= plan.created_at;
            if theirs.created_at + HOUR <= plan.created_at || unread {
                continue;
            }
            let steps = theirs.steps.len() as u32;
            global += steps;
            if theirs.service == plan.service {
                service += steps;
            }
        }
        if service > budget.service_hourly || global > budget.global_hourly {
            let what = format!(
                "{} makes {service} steps of its service and {global} of all in an hour",
                plan.id
            );
            self.breaks(Invariant::Budgets, now, what);
        }
    }

    fn quarantine(&mut self, plan: &Plan, now: Timestamp) {
        // What a person ordered is done whatever was lost before, and says nothing of what is done of itself.
        if plan.update.is_some() || plan.relocation.is_some() {
            return;
        }
        let ledger = &self.promised.ledger;
        let Some((losses, last)) = self.losses.get(&tried(plan)).copied() else {
            return;
        };
        let long_known = last + OVERLAP < plan.created_at;
        if losses >= ledger.losses && last + ledger.quarantine > plan.created_at && long_known {
            let what = format!("{} is decided after {losses} losses in a row", plan.id);
            self.breaks(Invariant::Journaled, now, what);
        }
    }

    fn moved_on(&mut self, entry: &PlanEntry, now: Timestamp) {
        let Some(known) = self.plans.get_mut(&entry.plan.id) else {
            // Refused by the auditor: it was never decided.
            return;
        };
        if known.entry.phase.is_final() || known.entry.phase == entry.phase {
            return;
        }
        if known.entry.plan != entry.plan {
            let what = format!("{} has changed since it was decided", entry.plan.id);
            return self.breaks(Invariant::Journaled, now, what);
        }
        known.entry = entry.clone();
        if !entry.phase.is_final() {
            return;
        }
        known.ended_at = Some(now);
        if entry.phase == Phase::Judged && entry.verdict.is_none() {
            let what = format!("{} is judged without a verdict", entry.plan.id);
            return self.breaks(Invariant::Journaled, now, what);
        }
        if entry.plan.update.is_some() || entry.plan.relocation.is_some() {
            return;
        }
        let (losses, last) = self.losses.entry(tried(&entry.plan)).or_default();
        match weight(entry) {
            Weight::Won => *losses = 0,
            Weight::Neither => return,
            Weight::Lost => *losses += 1,
            Weight::Hopeless => *losses = (*losses).max(self.promised.ledger.losses),
        }
        *last = entry.at;
    }

    /// Whether a person's change could be this plan's own, as far as anybody can tell.
    fn is_ambiguous(&self, touch: &Touch, service: &ServiceId) -> bool {
        self.plans.values().any(|known| {
            let plan = &known.entry.plan;
            let end = known.ended_at.unwrap_or(plan.deadline).max(plan.deadline);
            let near = |at: Timestamp| plan.created_at - AMBIGUOUS <= at && at <= end + AMBIGUOUS;
            let around = near(touch.at) || near(touch.said_at);
            let same = plan.steps.iter().any(|step| match &step.action {
                Action::CreateReplica { name, .. } => *name == touch.name,
                Action::PullImage { .. } | Action::Export { .. } => false,
                Action::Recreate {
                    container, name, ..
                } => *container == touch.container || *name == touch.name,
                Action::Restart { container, .. }
                | Action::UpdateLimits { container, .. }
                | Action::RemoveReplica { container, .. }
                | Action::Stop { container, .. }
                | Action::Isolate { container, .. }
                | Action::Rejoin { container, .. } => *container == touch.container,
            });
            plan.service == *service && around && same
        })
    }
}

/// What an ended plan says of its kind of action; by the words of the journal, not by the core's code.
enum Weight {
    Won,
    Neither,
    Lost,
    Hopeless,
}

fn weight(entry: &PlanEntry) -> Weight {
    if let Some(verdict) = &entry.verdict
        && entry.phase == Phase::Judged
    {
        return match verdict.kind {
            VerdictKind::Helped => Weight::Won,
            VerdictKind::NoEffect | VerdictKind::Worse => Weight::Lost,
            VerdictKind::Unknown => Weight::Neither,
        };
    }
    // One that ended without a word may turn out to have succeeded.
    let mut heaviest = Weight::Neither;
    for outcome in &entry.outcomes {
        match &outcome.result {
            OutcomeResult::Succeeded { .. } | OutcomeResult::Vanished => {}
            OutcomeResult::Failed { .. } | OutcomeResult::Interrupted => heaviest = Weight::Lost,
            OutcomeResult::Refused { refusal, .. } => match refusal {
                Refusal::StaleGeneration | Refusal::Expired => heaviest = Weight::Lost,
                Refusal::NotOptedIn
                | Refusal::Unsafe
                | Refusal::NotOurs
                | Refusal::BelowUse
                | Refusal::NoKey => {
                    return Weight::Hopeless;
                }
            },
        }
    }
    heaviest
}

impl World {
    /// A leader decided a plan: it must not have known better.
    pub(super) fn judge_decision(&mut self, of: usize, plan: &Plan) {
        let now = self.now;
        let view = &self.controllers[of].view;
        let promised = &self.options.promised;
        let mut found: Vec<(Invariant, String)> = Vec::new();
        for step in &plan.steps {
            let heard = view
                .heard
                .get(&step.node)
                .copied()
                .unwrap_or(Timestamp::EPOCH);
            if heard + promised.telemetry_stale + PLAY < now {
                let silent = now.since(heard).as_secs();
                let what = format!("{} acts on {}, silent for {silent} s", plan.id, step.node);
                found.push((Invariant::Telemetry, what));
            }
        }
        let touches = view.touches.get(&plan.service).into_iter().flatten();
        for touch in touches.filter(|it| it.at + promised.people_hold > now) {
            // A clock that was set since makes every time told before it another one.
            let node = self.nodes.iter().find(|node| node.id == touch.node);
            let steady = node.is_some_and(|node| node.clock(touch.at) == touch.said_at);
            if steady && !self.oracle.is_ambiguous(touch, &plan.service) {
                let since = now.since(touch.at).as_secs();
                let what = format!("{}: {} was changed {since} s ago", plan.id, touch.name);
                found.push((Invariant::People, what));
            }
        }
        let breaker = &promised.breaker;
        let least = (view.service_count() as f64 * breaker.share).ceil() as usize;
        let sick = view.critical_since(now - breaker.window);
        if sick >= least.max(breaker.services_min as usize) {
            let what = format!(
                "{} is decided while {sick} services are sick at once",
                plan.id
            );
            found.push((Invariant::Budgets, what));
        }
        let leads = view
            .leads_since
            .is_some_and(|at| at + promised.telemetry_stale + PLAY < now);
        let silent = view.heard.values().filter(|at| {
            **at + promised.telemetry_stale + PLAY < now && **at + breaker.node_forgotten > now
        });
        if leads && silent.count() * 2 > view.heard.len() {
            let what = format!("{} is decided while most nodes are silent", plan.id);
            found.push((Invariant::Budgets, what));
        }
        found.extend(self.against_losses(plan));
        for (invariant, what) in found {
            self.oracle.breaks(invariant, now, what);
        }
    }
}
