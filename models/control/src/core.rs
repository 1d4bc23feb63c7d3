//! The state machine: events in, effects out.

mod heard;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    BreakerEntry, Command, Generation, JournalEntry, Mode, Phase, Plan, PlanEntry, PlanId,
    ServiceId, Timestamp,
};

use crate::breaker;
use crate::config::Config;
use crate::draft::{Decision, Draft, admit};
use crate::event::{Effect, Event};
use crate::failover;
use crate::heal;
use crate::idle;
use crate::judge;
use crate::ledger;
use crate::people::LATE;
use crate::plans::{is_answered, is_done, outcome_of, timer};
use crate::preempt;
use crate::relocate::{self, Looked};
use crate::resize;
use crate::scale::{self, Wanted};
use crate::state::State;
use crate::turns::{Turn, turns};
use crate::undo;
use crate::update;

/// What is over is forgotten this often.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The decision core. See the crate's own words for what it guarantees.
#[derive(Debug, Clone)]
pub struct Core {
    state: State,
    recovered: bool,
    leading: Option<Leadership>,
    /// Services of which something was heard since they were last looked at.
    dirty: BTreeSet<ServiceId>,
    /// Services to be looked at again, and when.
    wakes: BTreeMap<ServiceId, Timestamp>,
    wanted: BTreeMap<ServiceId, Wanted>,
    pruned_at: Timestamp,
    /// When the whole fleet was last looked at for moves.
    relieved_at: Timestamp,
    /// When lost nodes are looked for next.
    fail_over_at: Timestamp,
    now: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Leadership {
    generation: Generation,
    since: Timestamp,
}

impl Core {
    /// A core that knows nothing yet and leads nothing.
    pub fn new(config: Config) -> Self {
        Core {
            state: State::new(config),
            recovered: false,
            leading: None,
            dirty: BTreeSet::new(),
            wakes: BTreeMap::new(),
            wanted: BTreeMap::new(),
            pruned_at: Timestamp::EPOCH,
            relieved_at: Timestamp::EPOCH,
            fail_over_at: Timestamp::EPOCH,
            now: Timestamp::EPOCH,
        }
    }

    /// Takes in what happened, and says what is to be written, in order. The same event again changes nothing.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        self.now = now;
        let mut effects = Vec::new();
        match event {
            Event::Signal(signal) => {
                let service = self.state.signals.apply(*signal);
                self.dirty.extend(service);
            }
            Event::Forecast(forecast) => self.forecast(*forecast),
            Event::Inventory(inventory) => self.inventory(*inventory),
            Event::NodeRemoved(node) => self.node_removed(&node),
            Event::Heartbeat(beat) => self.heartbeat(*beat),
            Event::Export(export) => self.state.beats.exported(*export),
            Event::ExportGone(container) => self.state.beats.gone(&container),
            Event::Container(event) => self.container(*event),
            Event::Outcome(outcome) => self.outcome(*outcome),
            Event::Journal(entry) => self.journal(*entry),
            Event::Recovered => {
                let first = !std::mem::replace(&mut self.recovered, true);
                if first {
                    self.state.fleet.caught_up(now);
                    self.resume(&mut effects);
                }
            }
            Event::Leading(generation) => {
                self.leading = Some(Leadership {
                    generation,
                    since: now,
                });
                self.resume(&mut effects);
            }
            Event::Following => self.leading = None,
            Event::Tick => {}
        }
        self.wake();
        if now.since(self.pruned_at) >= PRUNE_EVERY {
            self.pruned_at = now;
            self.state.prune(now);
            self.retell(&mut effects);
        }
        if let (true, Some(leadership)) = (self.recovered, self.leading) {
            self.decide(leadership, &mut effects);
        }
        effects
    }

    /// When [`Event::Tick`] is due at the latest. Nothing is due while not leading.
    pub fn deadline(&self) -> Option<Timestamp> {
        if !self.recovered {
            return None;
        }
        let leadership = self.leading?;
        let stale = self.state.config.telemetry_stale;
        let plans = self.state.plans.active().filter_map(timer);
        let silence = self.state.fleet.next_silence(self.now, stale);
        let listening = Some(leadership.since + stale).filter(|at| *at > self.now);
        plans
            .chain(self.wakes.values().copied())
            .chain(self.state.breaker.open_until())
            .chain(silence)
            .chain(listening)
            .chain(self.relieved_next())
            .min()
    }

    /// Begins to lead where the one before stopped: what it decided and may not have sent is sent, with the same ids.
    fn resume(&mut self, effects: &mut Vec<Effect>) {
        let (true, Some(leadership)) = (self.recovered, self.leading) else {
            return;
        };
        self.dirty.extend(self.state.fleet.services().cloned());
        self.dirty.extend(self.state.orders.services().cloned());
        for entry in self.state.plans.active() {
            self.dirty.insert(entry.plan.service.clone());
            if entry.phase != Phase::Decided || self.now >= entry.plan.deadline {
                continue;
            }
            for (index, command) in entry.plan.commands().enumerate() {
                if outcome_of(entry, index).is_none() {
                    // Under the new generation: actuators that heard this leader already would refuse the old one.
                    let generation = leadership.generation.max(command.generation);
                    effects.push(Effect::Command(Box::new(Command {
                        generation,
                        ..command
                    })));
                }
            }
        }
    }

    /// Tells again what must not be forgotten while whoever reads the journal later does not read that far back.
    fn retell(&mut self, effects: &mut Vec<Effect>) {
        if !self.recovered || self.leading.is_none() {
            return;
        }
        for id in idle::to_retell(&self.state, self.now) {
            let entry = self.state.plans.retell(&id, self.now);
            let entry = entry.map(|entry| JournalEntry::Plan(Box::new(entry)));
            effects.extend(entry.map(|entry| Effect::Journal(Box::new(entry))));
        }
        let orders = self.state.node_orders.retell(self.now).into_iter();
        effects.extend(orders.map(|it| Effect::Journal(Box::new(JournalEntry::Node(it)))));
    }

    fn wake(&mut self) {
        let now = self.now;
        let due: Vec<ServiceId> = self
            .wakes
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(service, _)| service.clone())
            .collect();
        for service in due {
            self.wakes.remove(&service);
            self.dirty.insert(service);
        }
    }

    /// Writes down what actuators did by themselves while they were cut off. From then on it counts like what was decided here: in budgets,
    /// in waits, and it is judged.
    fn adopt(&mut self, generation: Generation, effects: &mut Vec<Effect>) {
        let plans = &self.state.plans;
        let healed = self.state.beats.healed();
        let news = healed.filter(|it| plans.get(&it.plan.id).is_none());
        let news: Vec<PlanEntry> = news.cloned().collect();
        for mut entry in news {
            entry.at = self.now;
            entry.plan.generation = generation;
            self.record(entry, effects);
        }
    }

    fn decide(&mut self, leadership: Leadership, effects: &mut Vec<Effect>) {
        self.adopt(leadership.generation, effects);
        // Each plan moves on twice at the most: executed, then judged.
        while self.advance(effects) {}
        // Where nothing is ever done there is nothing to stop; what was stopped before is let go.
        let may_act = self.state.config.max_mode != Mode::Observe || self.state.breaker.is_open();
        let Leadership { generation, since } = leadership;
        if may_act && let Some(entry) = breaker::change(&self.state, generation, since, self.now) {
            self.switch(entry, effects);
        }
        if self.state.breaker.is_open() {
            // Closing marks every service to be looked at.
            self.dirty.clear();
            self.wakes.clear();
            return;
        }
        self.fail_over(generation, effects);
        let mut looked = self.relief();
        loop {
            let services = std::mem::take(&mut self.dirty);
            let turns = turns(&self.state.fleet, services, std::mem::take(&mut looked));
            if turns.is_empty() {
                return;
            }
            for turn in turns {
                self.take(turn, generation, effects);
            }
        }
    }

    fn take(&mut self, turn: Turn, generation: Generation, effects: &mut Vec<Effect>) {
        match turn {
            Turn::Service(service) => self.look(&service, generation, effects),
            Turn::Move(candidate) => {
                // Each is held against what those before it have begun.
                let begins = relocate::set_out(&self.state, &candidate, self.now);
                if let Some((service, decision)) = begins {
                    self.carry_out(&service, decision, generation, effects);
                }
            }
            Turn::Room(room) => {
                let decision = preempt::moving(&self.state, &room, self.now);
                self.carry_out(&room.victim.service, decision, generation, effects);
            }
        }
    }

    /// Makes elsewhere what ran on lost nodes.
    fn fail_over(&mut self, generation: Generation, effects: &mut Vec<Effect>) {
        if self.state.config.max_mode == Mode::Observe || self.fail_over_at > self.now {
            return;
        }
        let before = effects.len();
        let found = failover::take_over(&self.state, self.now);
        let waits = found.is_some();
        for (service, draft, mode) in found.into_iter().flatten() {
            let decision = admit(&self.state, draft, mode, self.now);
            self.carry_out(&service, decision, generation, effects);
        }
        let is_stuck = waits && effects.len() == before && !failover::is_under_way(&self.state);
        self.fail_over_at = self.now
            + match is_stuck {
                true => failover::TRIED_EVERY,
                false => failover::LOOKED_EVERY,
            };
    }

    /// Looks at the whole fleet where a node is to be drained, or has been short of something for long enough.
    fn relief(&mut self) -> Looked {
        let due = self.relieved_next();
        if due.is_none_or(|at| at > self.now) {
            return Looked::default();
        }
        self.relieved_at = self.now;
        relocate::relief(&self.state, self.now)
    }

    fn relieved_next(&self) -> Option<Timestamp> {
        if self.state.config.max_mode == Mode::Observe || self.state.breaker.is_open() {
            return None;
        }
        let at = relocate::due(&self.state)?;
        Some(at.max(self.relieved_at + relocate::LOOKED_EVERY))
    }

    fn switch(&mut self, entry: BreakerEntry, effects: &mut Vec<Effect>) {
        self.state.breaker.apply(&entry);
        effects.push(Effect::Journal(Box::new(JournalEntry::Breaker(entry))));
        self.dirty.extend(self.state.fleet.services().cloned());
        self.dirty.extend(self.state.orders.services().cloned());
    }

    /// Moves plans on by one phase: to executed or failed by their outcomes, to judged by what came of them. True when one moved.
    fn advance(&mut self, effects: &mut Vec<Effect>) -> bool {
        let now = self.now;
        let before = effects.len();
        let due: Vec<PlanId> = self
            .state
            .plans
            .active()
            .filter(|entry| {
                self.dirty.contains(&entry.plan.service)
                    || timer(entry).is_some_and(|at| at <= now)
                    || judge::is_cut_short(&self.state, entry, now)
            })
            .map(|entry| entry.plan.id.clone())
            .collect();
        for id in due {
            let Some(entry) = self.state.plans.get(&id) else {
                continue;
            };
            let next = match entry.phase {
                Phase::Decided if is_done(entry) => Some((Phase::Executed, None)),
                Phase::Decided if is_answered(entry) || now >= entry.plan.deadline + LATE => {
                    Some((Phase::Failed, None))
                }
                Phase::Executed => judge::judge(&self.state, entry, now).map(|verdict| {
                    let config = &self.state.config.ledger;
                    let plans = &self.state.plans;
                    (
                        Phase::Judged,
                        Some(ledger::weighed(plans, config, entry, verdict, now)),
                    )
                }),
                Phase::Decided | Phase::Suggested | Phase::Failed | Phase::Judged => None,
            };
            if let Some((phase, verdict)) = next {
                let entry = PlanEntry {
                    at: now,
                    phase,
                    verdict,
                    ..entry.clone()
                };
                self.record(entry, effects);
            }
        }
        effects.len() > before
    }

    /// Looks at one service: undo first, then heal, then a move that began, then what people ordered, then what is cheapest: limits before replicas.
    fn look(&mut self, service: &ServiceId, generation: Generation, effects: &mut Vec<Effect>) {
        let now = self.now;
        let undo = undo::decide(&self.state, service, now);
        self.carry_out(service, undo, generation, effects);
        for decision in heal::decide(&self.state, service, now) {
            self.carry_out(service, decision, generation, effects);
        }
        let fenced = failover::start(&self.state, service, now);
        self.carry_out(service, fenced, generation, effects);
        let moving = relocate::decide(&self.state, service, now);
        self.carry_out(service, moving, generation, effects);
        let update = update::decide(&self.state, service, now);
        self.carry_out(service, update, generation, effects);
        let resize = resize::decide(&self.state, service, now);
        for decision in resize.decisions {
            self.carry_out(service, decision, generation, effects);
        }
        let (wanted, decision) = scale::decide(&self.state, service, now);
        match wanted {
            Some(wanted) => self.wanted.insert(service.clone(), wanted),
            None => self.wanted.remove(service),
        };
        match resize.load {
            resize::Load::Open => self.carry_out(service, decision, generation, effects),
            resize::Load::Answered => {}
        }
    }

    fn carry_out(
        &mut self,
        service: &ServiceId,
        decision: Decision,
        generation: Generation,
        effects: &mut Vec<Effect>,
    ) {
        match decision {
            Decision::Nothing => {}
            Decision::Wait(until) => self.wake_at(service, until),
            Decision::Say(draft, again) => {
                if let Some(until) = again {
                    self.wake_at(&draft.service, until);
                }
                let plan = self.plan(*draft, generation, Mode::Suggest);
                self.record(
                    PlanEntry {
                        at: self.now,
                        plan,
                        phase: Phase::Suggested,
                        outcomes: Vec::new(),
                        verdict: None,
                    },
                    effects,
                );
            }
            Decision::Act(draft) => {
                let plan = self.plan(*draft, generation, Mode::Act);
                let commands: Vec<Command> = plan.commands().collect();
                self.record(
                    PlanEntry {
                        at: self.now,
                        plan,
                        phase: Phase::Decided,
                        outcomes: Vec::new(),
                        verdict: None,
                    },
                    effects,
                );
                effects.extend(
                    commands
                        .into_iter()
                        .map(|command| Effect::Command(Box::new(command))),
                );
            }
        }
    }

    /// Remembers the earliest time a service is to be looked at again. A time that has come already is the next tick's.
    fn wake_at(&mut self, service: &ServiceId, until: Timestamp) {
        let until = until.max(self.now + Duration::from_millis(1));
        let wake = self.wakes.entry(service.clone()).or_insert(until);
        *wake = until.min(*wake);
    }

    fn plan(&self, draft: Draft, generation: Generation, mode: Mode) -> Plan {
        let id = self
            .state
            .plans
            .fresh_id(&draft.service, draft.kind, self.now);
        draft.plan(id, generation, mode, self.now)
    }

    /// Writes a plan's new state down, here and in the journal.
    fn record(&mut self, entry: PlanEntry, effects: &mut Vec<Effect>) {
        if entry.phase == Phase::Executed
            || entry.phase == Phase::Failed
            || entry.phase == Phase::Judged
        {
            self.dirty.insert(entry.plan.service.clone());
            let room = entry.plan.preemption.as_ref();
            self.dirty.extend(room.map(|it| it.service.clone()));
        }
        let service = self.state.plans.apply(entry.clone(), self.now);
        self.state.replace(std::iter::once(&service));
        effects.push(Effect::Journal(Box::new(JournalEntry::Plan(Box::new(
            entry,
        )))));
    }
}
