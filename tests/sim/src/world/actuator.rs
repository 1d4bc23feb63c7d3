//! Actuators, step by step as `services/actuator` has them: admitted by the ledger, in turn, prepared, written down as begun, asked of
//! the engine, written down as done, told. What decides there is bound to the engine's client, so it is modelled here, not called.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    Action, Command, CommandId, ContainerState, Generation, Outcome, OutcomeResult, Refusal,
    Timestamp,
};

use super::World;
use super::agenda::Happening;
use super::engine::{failed, succeeded};
use super::guard::{guard, refused};
use super::log::{Author, Topic};
use super::moves::isolated;
use super::options::Flaw;

/// Commands the engine is asked for at once.
const PARALLEL: usize = 4;
/// How long the state of the engine is looked at for proof of what it did, beyond a container's grace.
const WATCHES: Duration = Duration::from_secs(30);
/// The same after a start.
const FINISHES_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(500);
/// Records that a start reads again although they were answered: their commit was lost.
const REREAD_MOST: usize = 4;

/// How far a command has come, on disk.
#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Begun,
    Done(Box<Outcome>),
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    command: Command,
    began_at: Timestamp,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Admit,
    Turn,
    Inspect,
    Begin,
    /// The engine works on it.
    Asked,
    /// The answer was lost; looked into until this time of the node's clock.
    Watch(Timestamp),
    /// Begun by an earlier process.
    Settle(Timestamp),
}

#[derive(Debug, Clone)]
struct Job {
    command: Command,
    step: Step,
}

/// One actuator: what is on disk, and what is in its memory.
#[derive(Debug)]
pub(super) struct Actuator {
    pub(super) up: bool,
    pub(super) life: u32,
    ledger: BTreeMap<CommandId, Entry>,
    newest: Generation,
    /// The next record to read.
    position: usize,
    /// Records read whose commands are not answered.
    open: BTreeMap<usize, CommandId>,
    jobs: BTreeMap<CommandId, Job>,
    locked: BTreeSet<CommandId>,
}

impl Default for Actuator {
    fn default() -> Self {
        Actuator {
            up: true,
            life: 0,
            ledger: BTreeMap::new(),
            newest: Generation::default(),
            position: 0,
            open: BTreeMap::new(),
            jobs: BTreeMap::new(),
            locked: BTreeSet::new(),
        }
    }
}

impl Actuator {
    /// The process ends; the ledger and what was committed stay.
    pub(super) fn stop(&mut self) {
        self.up = false;
        self.life += 1;
        if let Some(first) = self.open.keys().next() {
            self.position = *first;
        }
        self.open.clear();
        self.jobs.clear();
        self.locked.clear();
    }

    fn is_settling(&self) -> bool {
        let mut jobs = self.jobs.values();
        jobs.any(|job| matches!(job.step, Step::Settle(_)))
    }

    fn advance(&mut self, id: &CommandId, step: Step) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.step = step;
        }
    }
}

fn grace_of(action: &Action) -> Duration {
    match action {
        Action::Restart { grace, .. }
        | Action::Recreate { grace, .. }
        | Action::RemoveReplica { grace, .. }
        | Action::Stop { grace, .. } => *grace,
        Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::PullImage { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => Duration::ZERO,
    }
}

impl World {
    /// The process starts: what an earlier one began is looked into before anything is read.
    pub(super) fn start_actuator(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let actuator = &mut node.actuator;
        if !node.up || actuator.up {
            return;
        }
        actuator.up = true;
        let again = self.dice.actuator.below(REREAD_MOST + 1);
        actuator.position = actuator.position.saturating_sub(again);
        if self.options.has(Flaw::ForgetsWhatItBegan) {
            actuator.ledger.clear();
            actuator.position = actuator.position.saturating_sub(64);
        }
        let begun = actuator
            .ledger
            .values()
            .filter(|it| it.stage == Stage::Begun);
        let begun: Vec<Entry> = begun.cloned().collect();
        for Entry {
            command, began_at, ..
        } in begun
        {
            let until = began_at + grace_of(&command.action) + FINISHES_WITHIN;
            let id = command.id.clone();
            let step = Step::Settle(until);
            actuator.jobs.insert(id.clone(), Job { command, step });
            let act = Happening::Act(at, actuator.life, id);
            self.agenda.note(self.now + POLL, act);
        }
        self.agenda.note(self.now, Happening::Commands(at));
        self.leases_anew(at);
    }

    /// Reads what is new among the commands.
    pub(super) fn read_commands(&mut self, at: usize) {
        loop {
            let node = &mut self.nodes[at];
            let actuator = &mut node.actuator;
            if !node.up || !node.connected || !actuator.up || actuator.is_settling() {
                return;
            }
            let place = actuator.position;
            let Some(kept) = self.log.get(Topic::Commands, place) else {
                return;
            };
            actuator.position += 1;
            let command = match wire::decode::<Command>(&kept.record) {
                Ok(command) => command,
                Err(error) => {
                    self.oracle.codec(self.now, error.to_string());
                    continue;
                }
            };
            self.oracle.heard(at, command.generation);
            actuator.newest = actuator.newest.max(command.generation);
            if command.node != node.id {
                continue;
            }
            let id = command.id.clone();
            actuator.open.insert(place, id.clone());
            if actuator.jobs.contains_key(&id) {
                continue;
            }
            let step = Step::Admit;
            actuator.jobs.insert(id.clone(), Job { command, step });
            let act = Happening::Act(at, actuator.life, id);
            let wait = self.dice.actuator.millis(1, 20);
            self.agenda.note(self.now + wait, act);
        }
    }

    /// One command goes on.
    pub(super) fn act(&mut self, at: usize, life: u32, id: CommandId) {
        let node = &self.nodes[at];
        if node.actuator.life != life || !node.actuator.up {
            return;
        }
        let Some(Job { command, step }) = node.actuator.jobs.get(&id).cloned() else {
            return;
        };
        let clock = node.clock(self.now);
        match step {
            Step::Admit => self.admit(at, &command),
            Step::Turn | Step::Inspect | Step::Begin if self.is_late(&command, clock) => {
                self.finish(
                    at,
                    &command,
                    refused(Refusal::Expired, "its deadline passed"),
                );
            }
            Step::Turn => self.take_turn(at, &command),
            Step::Inspect => self.inspect(at, &command),
            Step::Begin => self.begin(at, &command, clock),
            Step::Asked => {}
            Step::Watch(until) | Step::Settle(until) => self.find_out(at, &command, until, clock),
        }
    }

    fn is_late(&self, command: &Command, clock: Timestamp) -> bool {
        clock > command.deadline && !self.options.has(Flaw::IgnoresDeadlines)
    }

    fn later(&mut self, at: usize, command: &Command, step: Step, wait: Duration) {
        let actuator = &mut self.nodes[at].actuator;
        actuator.advance(&command.id, step);
        let act = Happening::Act(at, actuator.life, command.id.clone());
        self.agenda.note(self.now + wait, act);
    }

    fn admit(&mut self, at: usize, command: &Command) {
        let actuator = &mut self.nodes[at].actuator;
        match actuator.ledger.get(&command.id).map(|it| it.stage.clone()) {
            Some(Stage::Done(outcome)) => self.deliver(at, command, &outcome),
            Some(Stage::Begun) => self.finish(at, command, OutcomeResult::Interrupted),
            None if self.is_outdated(at, command) => {
                let old = refused(Refusal::StaleGeneration, "a newer leader has spoken");
                self.finish(at, command, old);
            }
            None => {
                self.later(at, command, Step::Turn, Duration::ZERO);
            }
        }
    }

    fn is_outdated(&self, at: usize, command: &Command) -> bool {
        command.generation < self.nodes[at].actuator.newest
            && !self.options.has(Flaw::ObeysOldLeaders)
    }

    fn take_turn(&mut self, at: usize, command: &Command) {
        let actuator = &mut self.nodes[at].actuator;
        let target = command.action.target();
        let mut held = actuator
            .locked
            .iter()
            .filter_map(|id| actuator.jobs.get(id));
        if actuator.locked.len() >= PARALLEL
            || held.any(|job| job.command.action.target() == target)
        {
            return self.later(at, command, Step::Turn, POLL);
        }
        actuator.locked.insert(command.id.clone());
        let wait = self.dice.actuator.millis(5, 50);
        self.later(at, command, Step::Inspect, wait);
    }

    fn inspect(&mut self, at: usize, command: &Command) {
        let node = &self.nodes[at];
        if node.mood.away_until > self.now {
            return self.later(at, command, Step::Inspect, POLL * 2);
        }
        let Some(container) = self.subject_of(at, command) else {
            return self.finish(at, command, OutcomeResult::Vanished);
        };
        if let Err(result) = guard(command, container)
            && !self.options.has(Flaw::IgnoresLabels)
        {
            return self.finish(at, command, *result);
        }
        let wait = self.dice.actuator.millis(1, 30);
        self.later(at, command, Step::Begin, wait);
    }

    fn begin(&mut self, at: usize, command: &Command, clock: Timestamp) {
        if self.is_outdated(at, command) {
            let old = refused(Refusal::StaleGeneration, "a newer leader has spoken");
            return self.finish(at, command, old);
        }
        let actuator = &mut self.nodes[at].actuator;
        actuator.ledger.insert(
            command.id.clone(),
            Entry {
                command: command.clone(),
                began_at: clock,
                stage: Stage::Begun,
            },
        );
        actuator.advance(&command.id, Step::Asked);
        self.judge_begin(at, command, clock);
        self.ask_engine(at, command.clone());
    }

    /// The engine answered.
    pub(super) fn answered(&mut self, at: usize, command: &Command, result: OutcomeResult) {
        let actuator = &self.nodes[at].actuator;
        let asked = actuator.jobs.get(&command.id).map(|job| job.step);
        if actuator.up && asked == Some(Step::Asked) {
            self.finish(at, command, result);
        }
    }

    /// The engine's answer was lost.
    pub(super) fn unanswered(&mut self, at: usize, command: &Command) {
        let node = &self.nodes[at];
        let asked = node.actuator.jobs.get(&command.id).map(|job| job.step);
        if node.actuator.up && asked == Some(Step::Asked) {
            let until = node.clock(self.now) + grace_of(&command.action) + WATCHES;
            self.later(at, command, Step::Watch(until), POLL);
        }
    }

    /// Looks for proof in the engine's state; nothing is done a second time to find out.
    fn find_out(&mut self, at: usize, command: &Command, until: Timestamp, clock: Timestamp) {
        if self.nodes[at].mood.away_until <= self.now
            && let Some(result) = self.proof(at, command)
        {
            return self.finish(at, command, result);
        }
        if clock <= until {
            let step = self.nodes[at].actuator.jobs[&command.id].step;
            return self.later(at, command, step, POLL);
        }
        let result = match &command.action {
            Action::Recreate { .. } => self.put_back(at, command),
            Action::Restart { .. }
            | Action::UpdateLimits { .. }
            | Action::CreateReplica { .. }
            | Action::RemoveReplica { .. }
            | Action::PullImage { .. }
            | Action::Stop { .. }
            | Action::Export { .. }
            | Action::Isolate { .. }
            | Action::Rejoin { .. } => OutcomeResult::Interrupted,
        };
        self.finish(at, command, result);
    }

    /// What was cut off between two containers is brought to one of them, here to the one before.
    fn put_back(&mut self, at: usize, command: &Command) -> OutcomeResult {
        let operations = &mut self.nodes[at].operations;
        operations.retain(|_, operation| operation.command.id != command.id);
        self.oracle.ended(&command.id);
        let target = command.action.target();
        let container = self.nodes[at].containers.get(target);
        if container.is_some_and(|it| it.wanted && it.state == ContainerState::Exited) {
            self.start_container(at, target, Author::Role);
            self.say_inventory(at);
        }
        failed("interrupted; the one before was put back")
    }

    fn proof(&self, at: usize, command: &Command) -> Option<OutcomeResult> {
        let node = &self.nodes[at];
        let target = node.containers.get(command.action.target());
        match &command.action {
            Action::Restart { .. } => {
                let Some(container) = target else {
                    return Some(OutcomeResult::Vanished);
                };
                let began_at = node.actuator.ledger.get(&command.id)?.began_at;
                let is_new = container.started_at.is_some_and(|at| at >= began_at);
                (is_new && container.state == ContainerState::Running).then(|| succeeded(None))
            }
            // What was cut off half-way is brought to one of its ends by the real one.
            Action::Recreate { .. } => match target {
                Some(_) => None,
                None => {
                    let mut all = node.containers.values();
                    let made = all.find(|it| it.command.as_ref() == Some(&command.id));
                    Some(made.map_or(OutcomeResult::Vanished, |it| succeeded(Some(it.id.clone()))))
                }
            },
            Action::RemoveReplica { .. } => target.is_none().then(|| succeeded(None)),
            // Pulling again finds what was pulled, and telling again tells the same.
            Action::PullImage { .. } | Action::Export { .. } => None,
            Action::Isolate { .. } => target.filter(|it| it.is_isolated).map(isolated),
            Action::Rejoin { .. } => target.filter(|it| !it.is_isolated).map(|_| succeeded(None)),
            Action::Stop { .. } => match target {
                None => Some(OutcomeResult::Vanished),
                Some(container) => {
                    (container.state == ContainerState::Exited).then(|| succeeded(None))
                }
            },
            Action::UpdateLimits { limits, .. } => {
                let has = target.map(|it| it.limits)?;
                let is_so = limits.cpu.is_none_or(|it| has.cpu == Some(it))
                    && limits.memory.is_none_or(|it| has.memory == Some(it));
                is_so.then(|| succeeded(None))
            }
            Action::CreateReplica { .. } => {
                let mut all = node.containers.values();
                let made = all.find(|it| it.command.as_ref() == Some(&command.id))?;
                (made.state == ContainerState::Running).then(|| succeeded(Some(made.id.clone())))
            }
        }
    }

    /// Writes the answer down and tells it.
    fn finish(&mut self, at: usize, command: &Command, result: OutcomeResult) {
        let node = &mut self.nodes[at];
        let clock = node.clock(self.now);
        let known = node.actuator.ledger.get(&command.id);
        let began_at = known.map_or(clock, |it| it.began_at);
        let outcome = Outcome {
            command: command.id.clone(),
            plan: command.plan.clone(),
            node: node.id.clone(),
            began_at,
            at: clock,
            result,
            traceparent: None,
            note: None,
        };
        node.actuator.ledger.insert(
            command.id.clone(),
            Entry {
                command: command.clone(),
                began_at,
                stage: Stage::Done(Box::new(outcome.clone())),
            },
        );
        self.deliver(at, command, &outcome);
    }

    fn deliver(&mut self, at: usize, command: &Command, outcome: &Outcome) {
        self.note(|_| format!("outcome of {}: {:?}", outcome.command, outcome.result));
        self.send(Topic::Outcomes, outcome, Some(at), Author::Role);
        let actuator = &mut self.nodes[at].actuator;
        actuator.jobs.remove(&command.id);
        actuator.locked.remove(&command.id);
        actuator.open.retain(|_, id| *id != command.id);
        if !actuator.is_settling() {
            self.agenda.note(self.now, Happening::Commands(at));
        }
        if self.options.has(Flaw::RunsTwice)
            && matches!(outcome.result, OutcomeResult::Succeeded { .. })
        {
            let clock = self.nodes[at].clock(self.now);
            self.judge_begin(at, command, clock);
        }
    }
}
