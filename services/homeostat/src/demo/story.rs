//! The story: what stands in the log, told as it comes, and which of the expected reactions came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{From, Record, Tailed};
use kit::Context;
use kit::boot::{self, Connected};
use tokio::sync::Notify;
use tokio::time::Instant;
use units::{
    ActionKind, Forecast, JournalEntry, Outcome, OutcomeResult, Phase, Plan, PlanEntry, PlanId,
    Signal, SignalId, SignalKind, SignalPhase,
};
use wire::topic;

use crate::table::print;

/// Forecasts of the web service, one a second, after which its baseline counts as learnt.
const BASELINE_FORECASTS: u32 = 30;

macro_rules! milestones {
    ($($variant:ident, $what:literal;)*) => {
        /// What is expected, in the order a spectator expects it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Milestone {
            $($variant,)*
        }

        impl Milestone {
            const ALL: &'static [Milestone] = &[$(Milestone::$variant,)*];

            /// In words.
            pub(super) const fn what(self) -> &'static str {
                match self { $(Milestone::$variant => $what,)* }
            }
        }
    };
}

milestones! {
    Baseline, "baseline learnt";
    LoadRises, "load rises";
    OverloadSignal, "signal: web is overloaded";
    ReplicaAdded, "replica of web added";
    AddVerdict, "verdict on the added replica";
    LoadFalls, "load falls";
    ReplicaRemoved, "replica of web removed";
    RemoveVerdict, "verdict on the removed replica";
    Hang, "patient hangs";
    HangSignal, "signal: patient hangs";
    Restarted, "patient restarted";
    Recovered, "patient recovered";
    RestartVerdict, "verdict on the restart";
    Errors, "patient logs errors";
    ErrorSignal, "signal: patient logs errors";
    Leak, "patient leaks";
    LeakSignal, "signal: patient's memory runs away";
    LeakRestarted, "patient restarted before it ran out";
    LeakVerdict, "verdict on that restart";
}

/// Shared between the task that reads the log, and the script that waits for what is read.
#[derive(Clone)]
pub(super) struct Story(Arc<Inner>);

struct Inner {
    began: Instant,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    reached: BTreeMap<Milestone, Duration>,
    baseline_forecasts: u32,
    plans: BTreeMap<PlanId, PlanEntry>,
    leaks: BTreeSet<SignalId>,
}

impl Story {
    pub(super) fn new() -> Story {
        Story(Arc::new(Inner {
            began: Instant::now(),
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// A new round: only what comes from now on counts, the baseline excepted.
    pub(super) fn begin(&self) {
        self.state()
            .reached
            .retain(|milestone, _| *milestone == Milestone::Baseline);
    }

    /// Notes a milestone the first time, and tells it.
    pub(super) fn reach(&self, milestone: Milestone, text: &str) {
        self.state()
            .reached
            .entry(milestone)
            .or_insert_with(|| self.0.began.elapsed());
        self.tell(milestone.what(), text);
        self.0.changed.notify_waiters();
    }

    /// Tells one line.
    pub(super) fn tell(&self, what: &str, text: &str) {
        let at = self.0.began.elapsed().as_secs_f64();
        // Nobody is left to tell when standard output is closed.
        let _ = print(&format!("{at:6.1}s  {what:<36} {text}"));
    }

    /// Returns once the milestone is reached.
    pub(super) async fn reached(&self, milestone: Milestone) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.state().reached.contains_key(&milestone) {
                return;
            }
            changed.await;
        }
    }

    /// What did not come.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let state = self.state();
        let expected = Milestone::ALL
            .iter()
            .filter(|milestone| !state.reached.contains_key(milestone));
        expected.map(|milestone| milestone.what()).collect()
    }

    /// All of it in order.
    pub(super) fn summary(&self) -> String {
        let state = self.state();
        let line = |milestone: &Milestone| match state.reached.get(milestone) {
            Some(after) => format!("  {:6.1}s  {}", after.as_secs_f64(), milestone.what()),
            None => format!("  missing  {}", milestone.what()),
        };
        let lines: Vec<String> = Milestone::ALL.iter().map(line).collect();
        format!("\n{}", lines.join("\n"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, record: &Record) -> Result<(), wire::DecodeError> {
        match &*record.position.topic {
            topic::FORECASTS => self.forecast(&wire::decode(record)?),
            topic::SIGNALS => self.signal(&wire::decode(record)?),
            topic::JOURNAL => self.journal(wire::decode(record)?),
            topic::OUTCOMES => self.outcome(&wire::decode(record)?),
            other => tracing::debug!(topic = other, "not part of the story"),
        }
        Ok(())
    }

    fn forecast(&self, forecast: &Forecast) {
        if forecast.service.as_str() != "web" {
            return;
        }
        let learnt = {
            let mut state = self.state();
            state.baseline_forecasts += 1;
            state.baseline_forecasts == BASELINE_FORECASTS
        };
        if learnt {
            let text = format!(
                "web uses {:.0} of {} millicores",
                forecast.observed,
                u64::from(forecast.replicas) * forecast.replica_capacity.0
            );
            self.reach(Milestone::Baseline, &text);
        }
    }

    fn signal(&self, signal: &Signal) {
        let service = signal
            .subject
            .service
            .as_ref()
            .map_or("", |service| service.as_str());
        match signal.phase {
            SignalPhase::Open => match (service, signal.kind) {
                ("web", SignalKind::Overload) => {
                    self.reach(Milestone::OverloadSignal, &signal.reason)
                }
                ("patient", SignalKind::Hang | SignalKind::Unhealthy) => {
                    self.reach(Milestone::HangSignal, &signal.reason);
                }
                ("patient", SignalKind::ErrorLogs) => {
                    self.reach(Milestone::ErrorSignal, &signal.reason)
                }
                ("patient", SignalKind::MemoryRunaway) => {
                    self.state().leaks.insert(signal.id.clone());
                    self.reach(Milestone::LeakSignal, &signal.reason);
                }
                _ => self.tell("signal", &format!("{}: {}", signal.kind, signal.reason)),
            },
            SignalPhase::Resolve if service == "patient" && signal.kind == SignalKind::Hang => {
                self.reach(Milestone::Recovered, &signal.reason);
            }
            SignalPhase::Resolve => {
                self.tell(
                    "resolved",
                    &format!("{} of {}: {}", signal.kind, signal.subject, signal.reason),
                );
            }
            SignalPhase::Update => {}
        }
    }

    fn journal(&self, entry: JournalEntry) {
        match entry {
            JournalEntry::Plan(entry) => self.plan(*entry),
            JournalEntry::Breaker(entry) => self.tell("breaker", &entry.reason),
            JournalEntry::Approval(approval) => self.tell("approval", &approval.to_string()),
            JournalEntry::Update(update) => self.tell("update", &update.to_string()),
            JournalEntry::Node(order) => self.tell("node", &order.to_string()),
        }
    }

    fn plan(&self, entry: PlanEntry) {
        let plan = &entry.plan;
        match (&entry.verdict, entry.phase) {
            (Some(verdict), _) => {
                let text = format!(
                    "{}: {}; {}",
                    steps(&entry),
                    verdict.kind.as_str().replace('_', " "),
                    verdict.reason
                );
                match (plan.service.as_str(), plan.kind) {
                    ("web", ActionKind::CreateReplica) => self.reach(Milestone::AddVerdict, &text),
                    ("web", ActionKind::RemoveReplica) => {
                        self.reach(Milestone::RemoveVerdict, &text)
                    }
                    ("patient", ActionKind::Restart) if self.is_about_a_leak(plan) => {
                        self.reach(Milestone::LeakVerdict, &text);
                    }
                    ("patient", ActionKind::Restart) => {
                        self.reach(Milestone::RestartVerdict, &text)
                    }
                    _ => self.tell("verdict", &text),
                }
            }
            (None, Phase::Decided) if entry.outcomes.is_empty() => {
                self.tell(
                    "decided",
                    &format!("{}, because {}", steps(&entry), plan.cause.reason),
                );
            }
            (None, Phase::Suggested | Phase::Failed) => {
                self.tell(
                    entry.phase.as_str(),
                    &format!("{}: {}", steps(&entry), plan.cause.reason),
                );
            }
            (None, Phase::Decided | Phase::Executed | Phase::Judged) => {}
        }
        self.state().plans.insert(plan.id.clone(), entry);
    }

    fn is_about_a_leak(&self, plan: &Plan) -> bool {
        let state = self.state();
        plan.cause
            .signals
            .iter()
            .any(|signal| state.leaks.contains(signal))
    }

    fn outcome(&self, outcome: &Outcome) {
        let Some(entry) = self.state().plans.get(&outcome.plan).cloned() else {
            return;
        };
        let took = outcome.at.since(outcome.began_at).as_secs_f64();
        let text = format!(
            "{}: {} in {took:.1} s",
            steps(&entry),
            outcome.result.as_str()
        );
        let succeeded = match outcome.result {
            OutcomeResult::Succeeded { .. } => true,
            OutcomeResult::Refused { .. }
            | OutcomeResult::Failed { .. }
            | OutcomeResult::Vanished
            | OutcomeResult::Interrupted => false,
        };
        match (entry.plan.service.as_str(), entry.plan.kind) {
            ("web", ActionKind::CreateReplica) if succeeded => {
                self.reach(Milestone::ReplicaAdded, &text)
            }
            ("web", ActionKind::RemoveReplica) if succeeded => {
                self.reach(Milestone::ReplicaRemoved, &text)
            }
            ("patient", ActionKind::Restart) if succeeded && self.is_about_a_leak(&entry.plan) => {
                self.reach(Milestone::LeakRestarted, &text);
            }
            ("patient", ActionKind::Restart) if succeeded => {
                self.reach(Milestone::Restarted, &text)
            }
            _ => self.tell("done", &text),
        }
    }
}

fn steps(entry: &PlanEntry) -> String {
    let steps = entry.plan.steps.iter().map(|step| step.action.to_string());
    steps.collect::<Vec<_>>().join(", ")
}

/// Reads the log into the story until shutdown.
pub(super) async fn follow(context: Context, partitions: u32, story: Story) -> anyhow::Result<()> {
    let topics = topic::all(partitions);
    match boot::connect(&context.bus, &topics, &context.health, &context.shutdown).await {
        Connected::ShutDown => return Ok(()),
        Connected::Yes => {}
    }
    let mut forecasts = context.bus.tail(topic::FORECASTS, From::Beginning).await?;
    let mut signals = context.bus.tail(topic::SIGNALS, From::Beginning).await?;
    let mut journal = context.bus.tail(topic::JOURNAL, From::Beginning).await?;
    let mut outcomes = context.bus.tail(topic::OUTCOMES, From::Beginning).await?;
    loop {
        let next = tokio::select! {
            next = forecasts.next() => next?,
            next = signals.next() => next?,
            next = journal.next() => next?,
            next = outcomes.next() => next?,
            () = context.shutdown.cancelled() => return Ok(()),
        };
        if let Tailed::Record(record) = next {
            story.record(&record)?;
        }
    }
}
