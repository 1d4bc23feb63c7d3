//! The whole policy: the decision core, and the auditor that has the last word on what it decides.
//!
//! It reads no topic and no clock: the leading controller tells it what happens as it happens, a replay as it was recorded.

use std::collections::BTreeSet;

use audit::{Auditor, Violation};
use control::{Core, Effect, Event, Status};
use units::{
    Command, Generation, JournalEntry, Phase, Plan, PlanEntry, PlanId, Timestamp, Verdict,
    VerdictKind,
};

use crate::config::Config;

/// What came of something the core decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// To be written, in this order.
    Write(Effect),
    /// A plan breaks an invariant: what is written of it says that it failed, and its commands are not sent.
    PlanRefused {
        /// The plan.
        plan: Box<Plan>,
        /// What is wrong with it.
        violations: Vec<Violation>,
    },
    /// A command breaks an invariant, and is not sent.
    CommandRefused {
        /// The command.
        command: Box<Command>,
        /// What is wrong with it.
        violations: Vec<Violation>,
    },
}

/// Decides, and audits what was decided.
#[derive(Debug, Clone)]
pub struct Policy {
    core: Core,
    auditor: Auditor,
    /// Plans the auditor refused; their commands are not sent.
    refused: BTreeSet<PlanId>,
}

impl Policy {
    /// A policy that knows nothing yet and leads nothing.
    pub fn new(config: &Config) -> Self {
        Policy {
            core: Core::new(config.core()),
            auditor: Auditor::new(config.bounds()),
            refused: BTreeSet::new(),
        }
    }

    /// Takes in what happened, and says what is to be written, in order.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Ruling> {
        match &event {
            Event::Journal(entry) => self.auditor.observe_entry(entry),
            Event::Inventory(inventory) => self.auditor.observe_inventory(inventory),
            Event::Heartbeat(beat) => self.auditor.observe_heartbeat(beat, now),
            Event::Tick => self.auditor.forget(now),
            Event::Signal(_)
            | Event::Forecast(_)
            | Event::Container(_)
            | Event::Export(_)
            | Event::ExportGone(_)
            | Event::NodeRemoved(_)
            | Event::Outcome(_)
            | Event::Recovered
            | Event::Leading(_)
            | Event::Following => {}
        }
        let mut rulings = Vec::new();
        for effect in self.core.handle(now, event) {
            self.rule(now, effect, &mut rulings);
        }
        rulings
    }

    /// When [`Event::Tick`] is due at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.core.deadline()
    }

    /// Figures for metrics.
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// The newest generation seen, in the journal or on a command.
    pub fn newest_generation(&self) -> Generation {
        self.auditor.newest_generation()
    }

    /// Lets an effect through unless the auditor finds that it must not be.
    pub(crate) fn rule(&mut self, now: Timestamp, effect: Effect, rulings: &mut Vec<Ruling>) {
        match effect {
            Effect::Journal(entry) => {
                let entry = self.audited(now, *entry, rulings);
                self.auditor.observe_entry(&entry);
                rulings.push(Ruling::Write(Effect::Journal(Box::new(entry))));
            }
            Effect::Command(command) if self.refused.contains(&command.plan) => {}
            Effect::Command(command) => {
                let violations = self.auditor.check_command(&command, now);
                rulings.push(match violations.is_empty() {
                    true => Ruling::Write(Effect::Command(command)),
                    false => Ruling::CommandRefused {
                        command,
                        violations,
                    },
                });
            }
        }
    }

    /// The entry as it may be written: a plan that breaks an invariant is written as failed, and the core is told.
    fn audited(
        &mut self,
        now: Timestamp,
        entry: JournalEntry,
        rulings: &mut Vec<Ruling>,
    ) -> JournalEntry {
        let JournalEntry::Plan(entry) = entry else {
            return entry;
        };
        if entry.phase != Phase::Decided {
            return JournalEntry::Plan(entry);
        }
        let violations = self.auditor.check(&entry.plan, now);
        if violations.is_empty() {
            return JournalEntry::Plan(entry);
        }
        let said: Vec<String> = violations.iter().map(ToString::to_string).collect();
        self.refused.insert(entry.plan.id.clone());
        rulings.push(Ruling::PlanRefused {
            plan: Box::new(entry.plan.clone()),
            violations,
        });
        let failed = JournalEntry::Plan(Box::new(failed(now, entry.plan, &said.join("; "))));
        // The core learns it as any other entry; it answers with nothing that concerns this plan.
        let after = self
            .core
            .handle(now, Event::Journal(Box::new(failed.clone())));
        for effect in after {
            self.rule(now, effect, rulings);
        }
        failed
    }
}

fn failed(now: Timestamp, plan: Plan, why: &str) -> PlanEntry {
    let reason = format!("not sent, because it breaks an invariant: {why}");
    let verdict = Verdict {
        kind: VerdictKind::Unknown,
        at: now,
        reason,
    };
    PlanEntry {
        at: now,
        plan,
        phase: Phase::Failed,
        outcomes: Vec::new(),
        verdict: Some(verdict),
    }
}
