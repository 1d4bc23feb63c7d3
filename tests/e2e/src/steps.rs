//! What controllers and actuators write into the log, as steps that two runs of the same have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use bus::{Bus, From, Record, Tail, Tailed};
use tokio::time::timeout;
use units::{Command, CommandId, JournalEntry, Outcome, PlanEntry, PlanId, VerdictKind};
use wire::{Json, topic};

/// A record that the broker has taken is read. Less than a producer waits before it sends one again.
const READ: Duration = Duration::from_secs(10);

/// A record of the log, said without ids and times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A person wants it.
    Ordered,
    /// A controller wrote down what a plan is at.
    Journaled(String),
    /// A controller sent a command of a plan.
    Commanded(String),
    /// An actuator answered one.
    Answered(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Ordered => f.write_str("it is ordered"),
            Step::Journaled(plan) => write!(f, "{plan} is journaled"),
            Step::Commanded(plan) => write!(f, "{plan} is commanded"),
            Step::Answered(plan) => write!(f, "{plan} is answered"),
        }
    }
}

/// A step, and the service it is about.
pub type Found = (String, Step);

/// The log as it grows.
pub struct Log {
    bus: Bus,
    journal: Tail,
    commands: Tail,
    outcomes: Tail,
    plans: BTreeMap<PlanId, PlanEntry>,
    answered: BTreeSet<CommandId>,
    /// Records of controllers that were read.
    written: usize,
}

/// People's orders are in the journal too.
fn is_controllers(entry: &JournalEntry) -> bool {
    match entry {
        JournalEntry::Plan(_) | JournalEntry::Breaker(_) => true,
        JournalEntry::Approval(_) | JournalEntry::Update(_) | JournalEntry::Node(_) => false,
    }
}

fn decoded<T: Json>(tailed: Result<Tailed, bus::BusError>) -> Option<T> {
    match tailed.unwrap() {
        Tailed::Record(record) => Some(wire::decode(&record).unwrap()),
        Tailed::CaughtUp => None,
    }
}

impl Log {
    /// Reads from the beginning.
    pub async fn open(bus: Bus) -> Log {
        let tail = async |name| bus.tail(name, From::Beginning).await.unwrap();
        let (journal, commands) = (tail(topic::JOURNAL).await, tail(topic::COMMANDS).await);
        let outcomes = tail(topic::OUTCOMES).await;
        Log {
            bus,
            journal,
            commands,
            outcomes,
            plans: BTreeMap::new(),
            answered: BTreeSet::new(),
            written: 0,
        }
    }

    /// The next record of a controller's, after the answers that it knows of. Nothing when it is about no service, or when there is none,
    /// as when its producer has sent one twice.
    pub async fn next(&mut self) -> Vec<Found> {
        let began = Instant::now();
        while began.elapsed() < READ {
            tokio::select! {
                entry = self.journal.next() => {
                    let entry = decoded::<JournalEntry>(entry).filter(is_controllers);
                    if let Some(entry) = entry {
                        self.written += 1;
                        return self.journaled(entry).await;
                    }
                }
                command = self.commands.next() => {
                    if let Some(command) = decoded::<Command>(command) {
                        self.written += 1;
                        return vec![self.about(&command.plan, Step::Commanded)];
                    }
                }
                () = tokio::time::sleep(READ) => {}
            }
        }
        Vec::new()
    }

    async fn journaled(&mut self, entry: JournalEntry) -> Vec<Found> {
        let JournalEntry::Plan(entry) = entry else {
            return Vec::new();
        };
        let id = entry.plan.id.clone();
        let phase = entry.phase.as_str();
        let verdict = entry.verdict.as_ref().map(|it| it.kind.as_str());
        let verdict = verdict.map(|it| format!(" ({it})")).unwrap_or_default();
        let knows: Vec<CommandId> = entry.outcomes.iter().map(|it| it.command.clone()).collect();
        self.plans.insert(id.clone(), *entry);
        let mut steps = Vec::new();
        while !knows.iter().all(|it| self.answered.contains(it)) {
            let answer = timeout(READ, self.answer()).await;
            steps.push(answer.expect("what the controller has read is in the log"));
        }
        steps.push(self.about(&id, |plan| {
            Step::Journaled(format!("{plan}: {phase}{verdict}"))
        }));
        steps
    }

    /// A plan was written before anything else that is about it. Those of one container have one step.
    fn about(&self, plan: &PlanId, step: impl FnOnce(String) -> Step) -> Found {
        let plan = &self.plans[plan].plan;
        let back = plan.undo_of.as_ref().map_or("", |_| "back: ");
        let kind = match plan.steps.is_empty() {
            true => "the end",
            false => plan.kind.as_str(),
        };
        (plan.service.to_string(), step(format!("{back}{kind}")))
    }

    /// The next outcome. Cancel-safe.
    pub async fn answer(&mut self) -> Found {
        loop {
            if let Some(outcome) = decoded::<Outcome>(self.outcomes.next().await) {
                let result = outcome.result.as_str();
                self.answered.insert(outcome.command);
                return self.about(&outcome.plan, |plan| {
                    Step::Answered(format!("{plan}: {result}"))
                });
            }
        }
    }

    /// Records of controllers that were read until now.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Something was planned for a service, and all of it is over.
    pub fn is_over(&self, service: &str) -> bool {
        let mut plans = self.of(service).peekable();
        plans.peek().is_some() && plans.all(|it| it.phase.is_final())
    }

    /// Something of it was not carried out, or was not found to be good.
    pub fn went_wrong(&self, service: &str) -> bool {
        self.of(service).any(|it| {
            let verdict = it.verdict.as_ref().map(|it| it.kind);
            it.phase.is_final() && verdict != Some(VerdictKind::Helped)
        })
    }

    /// The plans for a service, as they are at.
    pub fn of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a PlanEntry> {
        let plans = self.plans.values();
        plans.filter(move |it| it.plan.service.as_str() == service)
    }

    /// Records of controllers that are in the log now.
    pub async fn in_log(&self) -> usize {
        let is_its = |record: &Record| is_controllers(&wire::decode(record).unwrap());
        let journaled = self.count(topic::JOURNAL, is_its).await;
        journaled + self.count(topic::COMMANDS, |_| true).await
    }

    async fn count(&self, name: &str, is_counted: impl Fn(&Record) -> bool) -> usize {
        let mut tail = self.bus.tail(name, From::Beginning).await.unwrap();
        let mut count = 0;
        loop {
            match tail.next().await.unwrap() {
                Tailed::Record(record) => count += usize::from(is_counted(&record)),
                Tailed::CaughtUp => return count,
            }
        }
    }
}
