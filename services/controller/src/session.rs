//! One leadership: from the claim to the loss of the partition.

use std::time::Duration;

use control::Event;
use kit::{Context, EvenClock};
use tokio::task::JoinSet;
use tracing::field::Empty;
use units::{Generation, Signal, Timestamp};

use crate::Error;
use crate::config::Config;
use crate::events::{CommandRefused, ElectionRestarted, Leading, Meters, PlanRefused, SignalHeard};
use crate::policy::{Policy, Ruling};
use crate::reader::{Input, Readers};
use crate::sources::{Back, claims};
use crate::standing;
use crate::writer::Writer;

/// Time is told to the core at least this often, and gauges are set.
const TICK: Duration = Duration::from_secs(1);
/// What a drain may take to write what was decided.
const DRAIN: Duration = Duration::from_secs(5);

/// Why a leadership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A newer leader has claimed; the group will take the partition away.
    Superseded(Generation),
}

/// A leader at work.
pub(crate) struct Session {
    policy: Policy,
    readers: Readers,
    writer: Writer,
    meters: Meters,
    /// What the claim's offset gives.
    claim: Generation,
    /// What it leads by: the claim's, unless the journal knows a newer one and the election no newer claim.
    generation: Generation,
    tick: tokio::time::Interval,
    /// What actuators are to go by, on its way to the log.
    telling: JoinSet<()>,
    context: Context,
    core: control::Config,
    /// What is silent, late or over is so by this clock, which a step of the host's does not move.
    clock: EvenClock,
}

impl Session {
    /// Begins to read. Nothing is decided until all of it has been read.
    pub(crate) fn new(
        config: &Config,
        context: &Context,
        meters: &Meters,
        claim: Generation,
    ) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Session {
            policy: Policy::new(config),
            readers: Readers::start(config, context, meters),
            writer: Writer::new(context.clone(), meters.clone()),
            meters: meters.clone(),
            claim,
            generation: claim,
            tick,
            telling: JoinSet::new(),
            context: context.clone(),
            core: config.core(),
            clock: EvenClock::new(),
        }
    }

    /// Works until a newer leader shows. Dropping the future between any two steps loses nothing the topics do not hold.
    pub(crate) async fn work(&mut self) -> Result<End, Error> {
        loop {
            let due = self.until_deadline();
            tokio::select! {
                () = self.writer.step() => {}
                input = self.readers.inputs.recv(), if !self.writer.is_full() => match input {
                    Some(Input::Event(event)) => self.event(event),
                    Some(Input::Claim(claimed)) if claimed > self.claim => return Ok(End::Superseded(claimed)),
                    Some(Input::Claim(_)) => {}
                    Some(Input::CaughtUp) => self.caught_up(),
                    Some(Input::Failed { topic, source }) => return Err(Error::Read { topic, source }),
                    // The readers tell before they end, so there is nothing left to hear.
                    None => std::future::pending::<()>().await,
                },
                _ = self.tick.tick(), if !self.writer.is_full() => self.time(),
                () = tokio::time::sleep(due), if !self.writer.is_full() => self.time(),
            }
        }
    }

    /// Writes what was decided, as far as the log takes it in time.
    pub(crate) async fn drain(&mut self) {
        let write = async {
            while !self.writer.is_empty() {
                self.writer.step().await;
            }
        };
        if tokio::time::timeout(DRAIN, write).await.is_err() {
            tracing::warn!("ending with decisions unwritten; the next leader decides anew");
        }
    }

    fn until_deadline(&mut self) -> Duration {
        let now = self.clock.now();
        self.policy
            .deadline()
            .map_or(TICK, |at| at.since(now))
            .clamp(Duration::from_millis(5), TICK)
    }

    fn time(&mut self) {
        let now = self.clock.now();
        self.handle(now, Event::Tick);
        self.meters.show(&self.policy.status());
    }

    fn caught_up(&mut self) {
        // A reader that had to begin again catches up again; this controller leads already.
        if self.readers.behind == 0 {
            return;
        }
        self.readers.behind = self.readers.behind.saturating_sub(1);
        if self.readers.behind > 0 {
            return;
        }
        if self.is_outdone() {
            return;
        }
        let now = self.clock.now();
        let generation = self.generation;
        Leading { generation }.emit(&self.meters);
        self.handle(now, Event::Recovered);
        self.handle(now, Event::Leading(generation));
        let policy = standing::policy(&self.core, generation);
        standing::tell(&mut self.telling, &self.context, &policy);
    }

    /// Whether the journal knows a newer generation, and it is yet to be seen whose. Either it is that of a leader that claimed while
    /// this one stood still: its claim is in the log before anything it wrote, so it is met when the claims are read to their end of
    /// now. Or the election topic was made anew, and its offsets began anew too: actuators would refuse whatever is not newer than what
    /// they heard, so this one goes on from there.
    fn is_outdone(&mut self) -> bool {
        let newest = self.policy.newest_generation();
        if newest >= self.generation {
            self.generation = Generation(newest.0.saturating_add(1));
            self.readers.again(claims(Back::Everything));
            return true;
        }
        if self.generation != self.claim {
            ElectionRestarted {
                claim: self.claim,
                generation: self.generation,
            }
            .emit();
        }
        false
    }

    fn event(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Signal(signal) if self.readers.behind == 0 => self.signal(now, *signal),
            Event::Signal(_)
            | Event::Journal(_)
            | Event::Inventory(_)
            | Event::Forecast(_)
            | Event::Container(_)
            | Event::Heartbeat(_)
            | Event::Export(_)
            | Event::ExportGone(_)
            | Event::NodeRemoved(_)
            | Event::Outcome(_)
            | Event::Recovered
            | Event::Leading(_)
            | Event::Following
            | Event::Tick => self.handle(now, event),
        }
    }

    /// Takes a signal within its own trace, so that a plan it leads to goes on from here.
    fn signal(&mut self, now: Timestamp, mut signal: Signal) {
        let span = tracing::info_span!("decide", signal = %signal.id, service = Empty);
        if let Some(service) = &signal.subject.service {
            span.record("service", service.as_str());
        }
        if let Some(traceparent) = &signal.traceparent {
            kit::trace::follow(&span, traceparent);
        }
        if let Some(here) = kit::trace::traceparent(&span) {
            signal.traceparent = Some(here);
        }
        span.in_scope(|| {
            SignalHeard {
                signal: &signal,
                now,
            }
            .emit(&self.meters);
            self.handle(now, Event::Signal(Box::new(signal)));
        });
    }

    fn handle(&mut self, now: Timestamp, event: Event) {
        let rulings = self.policy.handle(now, event);
        self.carry_out(rulings);
    }

    /// Queues what is to be written, and says what must not be.
    fn carry_out(&mut self, rulings: Vec<Ruling>) {
        for ruling in rulings {
            match ruling {
                Ruling::Write(effect) => self.writer.push(effect),
                Ruling::PlanRefused { plan, violations } => PlanRefused {
                    plan: &plan,
                    violations: &violations,
                }
                .emit(&self.meters),
                Ruling::CommandRefused {
                    command,
                    violations,
                } => CommandRefused {
                    command: &command,
                    violations: &violations,
                }
                .emit(&self.meters),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bus::{Bus, From, Tailed};
    use control::Effect;
    use units::{
        Action, ActionKind, Cause, Check, ContainerId, ContainerName, Expectation, JournalEntry,
        Mode, NodeId, Phase, Plan, PlanEntry, PlanId, ServiceId, Step,
    };

    use super::*;

    fn groundless(now: Timestamp) -> Plan {
        Plan {
            relocation: None,
            preemption: None,
            id: PlanId::from("web-restart-1"),
            generation: Generation(1),
            service: ServiceId::from("web"),
            kind: ActionKind::Restart,
            mode: Mode::Act,
            created_at: now,
            deadline: now + Duration::from_secs(30),
            cause: Cause {
                signals: Vec::new(),
                reason: String::new(),
            },
            steps: vec![Step {
                node: NodeId::from("a"),
                action: Action::Restart {
                    container: ContainerId::from("web-1"),
                    name: ContainerName::from("web-1"),
                    grace: Duration::from_secs(10),
                },
            }],
            expected: Expectation {
                text: String::new(),
                check: Check::NoOverload,
                within: Duration::from_secs(60),
            },
            alternatives: Vec::new(),
            undo_of: None,
            approval: None,
            update: None,
            traceparent: None,
        }
    }

    #[tokio::test]
    async fn a_leader_that_read_of_its_successor_first_does_not_lead() {
        let bus = Bus::memory();
        bus.ensure_topics(&wire::topic::all(1)).await.unwrap();
        let context = Context::new(bus.clone(), "controller", "a");
        let meta = wire::Meta::new(std::sync::Arc::clone(&context.producer));
        for _ in 0..2 {
            let claim = wire::Claim {
                candidate: "a".to_owned(),
                at: kit::now(),
            };
            bus.produce(wire::encode(&claim, &meta)).await.unwrap();
        }
        let meters = Meters::new(&context.metrics);
        let mut session = Session::new(&Config::default(), &context, &meters, Generation(1));
        let now = kit::now();
        let plan = Plan {
            generation: Generation(2),
            ..groundless(now)
        };
        let entry = PlanEntry {
            at: now,
            plan,
            phase: Phase::Suggested,
            outcomes: Vec::new(),
            verdict: None,
        };
        // The journal is read to its end before the second claim is: all others have been.
        session.event(Event::Journal(Box::new(JournalEntry::Plan(Box::new(
            entry,
        )))));
        session.readers.behind = 1;
        session.caught_up();
        assert_eq!(session.policy.status().leading, None);
        assert_eq!(session.readers.behind, 1, "the claims are read once more");
        let end = session.work().await.unwrap();
        assert_eq!(end, End::Superseded(Generation(2)));
    }

    #[tokio::test]
    async fn a_plan_that_breaks_an_invariant_is_journaled_as_failed_and_not_sent() {
        let bus = Bus::memory();
        bus.ensure_topics(&wire::topic::all(1)).await.unwrap();
        let context = Context::new(bus.clone(), "controller", "a");
        let meters = Meters::new(&context.metrics);
        let mut session = Session::new(&Config::default(), &context, &meters, Generation(1));
        let now = kit::now();
        let plan = groundless(now);
        let entry = PlanEntry {
            at: now,
            plan: plan.clone(),
            phase: Phase::Decided,
            outcomes: Vec::new(),
            verdict: None,
        };
        let mut rulings = Vec::new();
        let entry = Effect::Journal(Box::new(JournalEntry::Plan(Box::new(entry))));
        session.policy.rule(now, entry, &mut rulings);
        for command in plan.commands() {
            let command = Effect::Command(Box::new(command));
            session.policy.rule(now, command, &mut rulings);
        }
        session.carry_out(rulings);
        session.drain().await;
        let mut tail = bus
            .tail(wire::topic::JOURNAL, From::Beginning)
            .await
            .unwrap();
        let Tailed::Record(record) = tail.next().await.unwrap() else {
            panic!("nothing was journaled");
        };
        let JournalEntry::Plan(entry) = wire::decode(&record).unwrap() else {
            panic!("no plan was journaled");
        };
        assert_eq!(entry.phase, Phase::Failed);
        let reason = entry.verdict.unwrap().reason;
        assert!(
            reason.contains("web-1 of web is not known on node a"),
            "{reason}"
        );
        let mut tail = bus
            .tail(wire::topic::COMMANDS, From::Beginning)
            .await
            .unwrap();
        assert_eq!(tail.next().await.unwrap(), Tailed::CaughtUp, "no command");
        let counted = r#"homeostat_plan_violations_total{violation="unknown_container"} 1"#;
        assert!(context.metrics.encode().contains(counted));
    }
}
