//! One configuration's course through a recording.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use control::{Effect, Event};
use serde::Serialize;
use sha2::{Digest, Sha256};
use units::{
    ActionKind, CommandId, ContainerEvent, ContainerId, Forecast, Generation, JournalEntry,
    NodeInventory, Outcome, OutcomeResult, Phase, Plan, PlanEntry, Signal, Timestamp,
};

use super::Part;
use super::report::{Figures, Source};
use super::survey::{Recorded, Survey};
use super::tally::{Limits, Tally, is_by_somebody};
use super::world::World;
use crate::config::Config;
use crate::policy::{Policy, Ruling};

/// Time is told to the policy at least this often, as the controller tells it.
const TICK: Duration = Duration::from_secs(1);
/// No two looks at the time are closer, as with the controller.
const LEAST: Duration = Duration::from_millis(5);
/// A plan this far from a recorded one may be the same.
const SAME_WITHIN: Duration = Duration::from_secs(30);
/// An action that the recording does not hold is taken as done after this.
const ASSUMED_AFTER: Duration = Duration::from_secs(1);

/// What is to happen to a policy besides what is recorded.
#[derive(Debug)]
enum Due {
    /// The outcome of a step that was recorded.
    Outcome(Box<Outcome>),
    /// A plan that was not recorded is done.
    Assumed(Box<Plan>),
}

/// A policy on its way.
pub(super) struct Run<'a> {
    policy: Policy,
    survey: &'a Survey,
    world: World,
    tally: Tally,
    agenda: BTreeMap<(Timestamp, u64), Due>,
    numbered: u64,
    now: Timestamp,
    next_tick: Timestamp,
    part: Part,
    decided: Sha256,
}

impl<'a> Run<'a> {
    pub(super) fn new(config: &Config, present: &Config, survey: &'a Survey) -> Self {
        Run {
            policy: Policy::new(config),
            survey,
            world: World::default(),
            tally: Tally::new(Limits::new(config, present)),
            agenda: BTreeMap::new(),
            numbered: 0,
            now: Timestamp::EPOCH,
            next_tick: Timestamp::EPOCH,
            part: Part::Before,
            decided: Sha256::new(),
        }
    }

    /// It knows what a leader would have read, and leads from now on.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.part = Part::Within;
        self.now = now;
        self.next_tick = now + TICK;
        self.tally.begin(now);
        let generation = Generation(self.policy.newest_generation().0.saturating_add(1));
        self.handle(now, Event::Recovered);
        self.handle(now, Event::Leading(generation));
    }

    /// Lets time pass up to `to`, with all that is due by then.
    pub(super) fn advance(&mut self, to: Timestamp) {
        while self.part == Part::Within {
            let due = self.due();
            if due > to {
                break;
            }
            self.now = self.now.max(due);
            let first = self.agenda.first_key_value().map(|((at, _), _)| *at);
            match first.filter(|at| *at <= due) {
                Some(_) => {
                    if let Some((_, due)) = self.agenda.pop_first() {
                        self.happen(due);
                    }
                }
                None => {
                    if self.next_tick <= due {
                        self.next_tick = due + TICK;
                    }
                    self.handle(self.now, Event::Tick);
                }
            }
        }
        self.now = self.now.max(to);
    }

    fn due(&self) -> Timestamp {
        let deadline = self.policy.deadline().map(|at| at.max(self.now + LEAST));
        let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
        [deadline, planned]
            .into_iter()
            .flatten()
            .fold(self.next_tick, Timestamp::min)
    }

    fn happen(&mut self, due: Due) {
        let now = self.now;
        match due {
            Due::Outcome(outcome) => self.handle(now, Event::Outcome(outcome)),
            Due::Assumed(plan) => {
                let over = self.world.assume(&plan, now);
                for (index, step) in plan.steps.iter().enumerate() {
                    let outcome = Outcome {
                        command: CommandId::of(&plan.id, index),
                        plan: plan.id.clone(),
                        node: step.node.clone(),
                        began_at: now,
                        at: now,
                        result: OutcomeResult::Succeeded {
                            networks: Vec::new(),
                            sealed: None,
                            created: World::created(&plan, index),
                            previous: None,
                            image: None,
                        },
                        traceparent: None,
                        note: None,
                    };
                    self.handle(now, Event::Outcome(Box::new(outcome)));
                }
                for signal in over {
                    self.tally.signal(now, &signal);
                    self.handle(now, Event::Signal(Box::new(signal)));
                }
            }
        }
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        if let Some(signal) = self.world.signal(signal) {
            self.tally.signal(self.now, &signal);
            self.handle(self.now, Event::Signal(Box::new(signal)));
        }
    }

    /// A forecast, when there were `there` replicas in the recording.
    pub(super) fn forecast(&mut self, forecast: Forecast, there: u32) {
        let here = self.tally.replicas(&forecast.service);
        let forecast = self.world.forecast(forecast, here, there);
        self.tally.forecast(self.now, &forecast);
        self.handle(self.now, Event::Forecast(Box::new(forecast)));
    }

    pub(super) fn inventory(&mut self, inventory: NodeInventory) {
        let inventory = self.world.inventory(inventory, self.survey);
        self.tally
            .inventory(self.now, &inventory.node, &inventory.containers);
        self.handle(self.now, Event::Inventory(Box::new(inventory)));
    }

    /// Something happened to a container, and no recorded plan of this time was the cause.
    pub(super) fn container(&mut self, event: ContainerEvent) {
        if is_by_somebody(&event.kind) {
            self.tally.touched(self.now, &event.service, event.at);
        }
        self.handle(self.now, Event::Container(Box::new(event)));
    }

    /// What became of a step of a plan from before the recording.
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        self.handle(self.now, Event::Outcome(Box::new(outcome)));
    }

    /// What the journal said before the recording began.
    pub(super) fn journal(&mut self, entry: JournalEntry) {
        if let JournalEntry::Breaker(entry) = &entry {
            self.tally.breaker(self.now, entry);
        }
        self.handle(self.now, Event::Journal(Box::new(entry)));
    }

    pub(super) fn figures(mut self, end: Timestamp) -> Figures {
        for (id, recorded) in &self.survey.plans {
            if !self.world.shared.contains(id) {
                let plan = &recorded.plan;
                let what = format!("recorded, and not decided here: {}", words(plan));
                self.tally.differs(plan.created_at, &plan.service, &what);
            }
        }
        let mut figures = self.tally.figures(end);
        let digest = self.decided.finalize();
        figures.digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        figures
    }

    fn handle(&mut self, now: Timestamp, event: Event) {
        for ruling in self.policy.handle(now, event) {
            match ruling {
                Ruling::Write(Effect::Journal(entry)) => {
                    self.note("journal", &*entry);
                    match *entry {
                        JournalEntry::Plan(entry) => self.plan(now, &entry),
                        JournalEntry::Breaker(entry) => self.tally.breaker(now, &entry),
                        JournalEntry::Approval(_)
                        | JournalEntry::Update(_)
                        | JournalEntry::Node(_) => {}
                    }
                }
                Ruling::Write(Effect::Command(command)) => self.note("command", &*command),
                Ruling::PlanRefused { plan, violations } => {
                    let said: Vec<String> = violations.iter().map(ToString::to_string).collect();
                    let what = format!("{}: {}", plan.id, said.join("; "));
                    self.tally.refused(now, &plan.service, what);
                }
                Ruling::CommandRefused {
                    command,
                    violations,
                } => {
                    let said: Vec<String> = violations.iter().map(ToString::to_string).collect();
                    let what = format!("{}: {}", command.id, said.join("; "));
                    self.tally.refused(now, &command.service, what);
                }
            }
        }
    }

    /// Takes a record that would have been written into the digest.
    fn note(&mut self, what: &str, value: &impl Serialize) {
        let json = serde_json::to_string(value)
            .expect("our records have text keys and no failing serialiser, so JSON takes them");
        self.decided.update(format!("{what} {json}\n"));
    }

    fn plan(&mut self, now: Timestamp, entry: &PlanEntry) {
        let outcome = match entry.phase {
            Phase::Decided => self.send(now, &entry.plan),
            Phase::Suggested | Phase::Executed | Phase::Failed | Phase::Judged => Source::None,
        };
        self.tally.plan(now, entry, outcome);
    }

    /// The plan's commands go out: what becomes of them is recorded or assumed.
    fn send(&mut self, now: Timestamp, plan: &Plan) -> Source {
        let Some(recorded) = self.same(plan) else {
            let what = format!("decided, and not recorded: {}", words(plan));
            self.tally.differs(plan.created_at, &plan.service, &what);
            self.later(now + ASSUMED_AFTER, Due::Assumed(Box::new(plan.clone())));
            return Source::Assumed;
        };
        self.world.shared.insert(recorded.plan.id.clone());
        for index in 0..plan.steps.len() {
            let command = CommandId::of(&recorded.plan.id, index);
            let mut outcomes = recorded.outcomes.iter();
            let Some((heard_at, outcome)) =
                outcomes.rfind(|(_, outcome)| outcome.command == command)
            else {
                continue;
            };
            let outcome = Outcome {
                command: CommandId::of(&plan.id, index),
                plan: plan.id.clone(),
                ..outcome.clone()
            };
            self.later(
                (*heard_at).max(now + LEAST),
                Due::Outcome(Box::new(outcome)),
            );
        }
        Source::Recorded
    }

    fn later(&mut self, at: Timestamp, due: Due) {
        self.numbered += 1;
        self.agenda.insert((at, self.numbered), due);
    }

    /// The recorded plan that this one is, if there is one that was not found yet.
    fn same(&self, plan: &Plan) -> Option<&'a Recorded> {
        let apart = |recorded: &Recorded| {
            let (here, there) = (plan.created_at, recorded.plan.created_at);
            here.since(there).max(there.since(here))
        };
        let survey: &'a Survey = self.survey;
        survey
            .of_service(&plan.service)
            .filter(|recorded| {
                !self.world.shared.contains(&recorded.plan.id)
                    && recorded.plan.kind == plan.kind
                    && apart(recorded) <= SAME_WITHIN
                    && is_about_the_same(plan, &recorded.plan)
            })
            .min_by(|a, b| (apart(a), &a.plan.id).cmp(&(apart(b), &b.plan.id)))
    }
}

fn is_about_the_same(a: &Plan, b: &Plan) -> bool {
    fn targets(plan: &Plan) -> BTreeSet<&ContainerId> {
        let steps = plan.steps.iter();
        steps.map(|step| step.action.target()).collect()
    }
    match a.kind {
        ActionKind::CreateReplica => a.steps.len() == b.steps.len(),
        ActionKind::Restart
        | ActionKind::Recreate
        | ActionKind::UpdateLimits
        | ActionKind::RemoveReplica
        | ActionKind::PullImage
        | ActionKind::Stop
        | ActionKind::Export
        | ActionKind::Isolate
        | ActionKind::Rejoin => targets(a) == targets(b),
    }
}

/// A plan in one line.
fn words(plan: &Plan) -> String {
    let steps: Vec<String> = plan
        .steps
        .iter()
        .map(|step| step.action.to_string())
        .collect();
    format!("{} ({})", steps.join(", "), plan.service)
}
