//! Controllers: the shell of `services/controller` around the real core and the real auditor.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use audit::{Auditor, Bounds, Violation};
use control::{Config, Core, Effect, Event};
use units::{
    Command, ContainerEvent, ContainerId, Forecast, Generation, Heartbeat, JournalEntry,
    NodeInventory, Outcome, Phase, PlanId, ScaleTarget, Signal, StandingExport, Timestamp,
};
use wire::Claim;

use super::World;
use super::agenda::Happening;
use super::entries::{failed, told};
use super::log::{self, Author, Kept, TOPICS, Topic};
use super::options::Flaw;
use super::view::View;

/// Time is told to the core at least this often.
const TICK: Duration = Duration::from_secs(1);
const SOONEST: Duration = Duration::from_millis(5);
const HOUR: Duration = Duration::from_secs(3_600);

/// One controller, from its claim to its end.
#[derive(Debug)]
pub(super) struct Controller {
    pub(super) core: Core,
    auditor: Auditor,
    /// What the offset of its claim gives, by which it knows a newer one.
    claim: Generation,
    /// What it leads by: another one where the journal knows a newer one than its claim, and the election no newer claim.
    pub(super) generation: Generation,
    pub(super) alive: bool,
    pub(super) frozen_until: Timestamp,
    /// By topic: the next place to read, the end when it began, when its reader is there, how far it lags.
    next: [usize; TOPICS],
    ends: [usize; TOPICS],
    opens_at: [Timestamp; TOPICS],
    pub(super) lag: [Duration; TOPICS],
    behind: BTreeSet<Topic>,
    queue: VecDeque<Effect>,
    writing: Option<u64>,
    tokens: u64,
    refused: BTreeSet<PlanId>,
    wake_at: Option<Timestamp>,
    pub(super) view: View,
}

pub(super) fn bounds(config: &Config) -> Bounds {
    Bounds {
        max_mode: config.max_mode,
        node_concurrent: config.budget.node_concurrent,
        global_concurrent: config.budget.global_concurrent,
        service_hourly: config.budget.service_hourly,
        global_hourly: config.budget.global_hourly,
    }
}

enum Input {
    Event(Event),
    Claim(Generation),
}

fn decode(topic: Topic, kept: &Kept) -> Result<Input, wire::DecodeError> {
    let record = &kept.record;
    let event = match topic {
        Topic::Journal => Event::Journal(Box::new(wire::decode::<JournalEntry>(record)?)),
        Topic::Signals => Event::Signal(Box::new(wire::decode::<Signal>(record)?)),
        Topic::Inventory => Event::Inventory(Box::new(wire::decode::<NodeInventory>(record)?)),
        Topic::Outcomes => Event::Outcome(Box::new(wire::decode::<Outcome>(record)?)),
        Topic::Forecasts => Event::Forecast(Box::new(wire::decode::<Forecast>(record)?)),
        Topic::Events => Event::Container(Box::new(wire::decode::<ContainerEvent>(record)?)),
        Topic::Heartbeats => Event::Heartbeat(Box::new(wire::decode::<Heartbeat>(record)?)),
        Topic::Exports if wire::is_tombstone(record) => {
            let key = String::from_utf8_lossy(&record.key);
            Event::ExportGone(ContainerId::from(key.as_ref()))
        }
        Topic::Exports => Event::Export(Box::new(wire::decode::<StandingExport>(record)?)),
        Topic::Election | Topic::Commands => {
            wire::decode::<Claim>(record)?;
            return Ok(Input::Claim(Generation(record.position.offset + 1)));
        }
    };
    Ok(Input::Event(event))
}

impl World {
    /// A controller starts, claims to lead, and begins to read.
    pub(super) fn claim(&mut self) {
        let now = self.now;
        self.note(|world| format!("controller {} claims", world.controllers.len()));
        let claim = Claim {
            candidate: format!("controller-{}", self.controllers.len()),
            at: now,
        };
        let place = self.log.end(Topic::Election);
        self.send(Topic::Election, &claim, None, Author::Role);
        let config = &self.options.core;
        let looked_back = config.scale.down_window.max(config.scale.idle_after);
        let forecasts = looked_back + config.scale.verdict_within + HOUR / 6;
        let people = config.people_hold + HOUR / 6;
        let mut next = [0; TOPICS];
        let mut ends = [0; TOPICS];
        let mut opens_at = [now; TOPICS];
        let mut lag = [Duration::ZERO; TOPICS];
        for topic in log::read(&self.options) {
            let topic = *topic;
            let back = match topic {
                Topic::Journal => HOUR * 25,
                Topic::Signals | Topic::Outcomes => HOUR * 2,
                Topic::Inventory | Topic::Commands | Topic::Exports => HOUR * 1_000,
                Topic::Forecasts => forecasts,
                Topic::Events => people,
                Topic::Election | Topic::Heartbeats => Duration::from_secs(60),
            };
            next[topic as usize] = self.log.since(topic, now - back);
            ends[topic as usize] = self.log.end(topic);
            opens_at[topic as usize] = now + self.dice.controller.millis(20, 1_500);
            lag[topic as usize] = self.dice.controller.millis(1, 300);
        }
        if self.options.has(Flaw::ReadsNoJournal) {
            next[Topic::Journal as usize] = ends[Topic::Journal as usize];
        }
        self.controllers.push(Controller {
            core: Core::new(config.clone()),
            auditor: Auditor::new(bounds(&self.options.promised)),
            claim: Generation(place as u64 + 1),
            generation: Generation(place as u64 + 1),
            alive: true,
            frozen_until: Timestamp::EPOCH,
            next,
            ends,
            opens_at,
            lag,
            behind: log::read(&self.options).iter().copied().collect(),
            queue: VecDeque::new(),
            writing: None,
            tokens: 0,
            refused: BTreeSet::new(),
            wake_at: None,
            view: View::default(),
        });
        self.wake(self.controllers.len() - 1, now + SOONEST);
    }

    /// Has a controller look at this time at the latest.
    pub(super) fn wake(&mut self, of: usize, at: Timestamp) {
        let controller = &mut self.controllers[of];
        if !controller.alive || controller.wake_at.is_some_and(|known| known <= at) {
            return;
        }
        controller.wake_at = Some(at);
        self.agenda.note(at, Happening::Controller(of));
    }

    /// A controller reads what is there, and time is told to it.
    pub(super) fn control(&mut self, of: usize) {
        let controller = &mut self.controllers[of];
        if !controller.alive || controller.wake_at != Some(self.now) {
            return;
        }
        controller.wake_at = None;
        if controller.frozen_until > self.now {
            let until = controller.frozen_until;
            return self.wake(of, until);
        }
        let topics = log::read(&self.options);
        let first = self.dice.controller.below(topics.len());
        for turn in 0..topics.len() {
            self.read(of, topics[(first + turn) % topics.len()]);
            if !self.controllers[of].alive || self.oracle.is_broken() {
                return;
            }
        }
        let now = self.now;
        self.controllers[of].auditor.forget(now);
        self.handle(of, Event::Tick);
        let due = self.controllers[of].core.deadline();
        let due = due.map_or(now + TICK, |at| at.min(now + TICK));
        self.wake(of, due.max(now + SOONEST));
    }

    fn read(&mut self, of: usize, topic: Topic) {
        let index = topic as usize;
        loop {
            let controller = &mut self.controllers[of];
            if !controller.alive || controller.opens_at[index] > self.now {
                return;
            }
            let place = controller.next[index];
            if place >= controller.ends[index] && controller.behind.remove(&topic) {
                self.caught_up(of);
                continue;
            }
            let Some(kept) = self.log.get(topic, place) else {
                return;
            };
            let visible_at = kept.at() + controller.lag[index];
            if visible_at > self.now {
                return self.wake(of, visible_at);
            }
            controller.next[index] += 1;
            if place < controller.ends[index] && self.log.is_gone(topic, place, self.now) {
                continue;
            }
            match decode(topic, kept) {
                Ok(Input::Claim(claim)) if claim > controller.claim => {
                    controller.alive = false;
                    self.land(of);
                }
                Ok(Input::Claim(_)) => {}
                Ok(Input::Event(event)) => {
                    controller.view.read(&event, kept.made_at, kept.author);
                    self.event(of, event);
                }
                Err(error) => self.oracle.codec(self.now, error.to_string()),
            }
        }
    }

    fn caught_up(&mut self, of: usize) {
        let controller = &mut self.controllers[of];
        if !controller.behind.is_empty() {
            return;
        }
        let newest = controller.auditor.newest_generation();
        if newest >= controller.generation {
            // Whoever wrote that may have claimed since: then it is read of in the election, which is read to its end of now first.
            controller.generation = Generation(newest.0 + 1);
            controller.ends[Topic::Election as usize] = self.log.end(Topic::Election);
            controller.behind.insert(Topic::Election);
            return self.wake(of, self.now + SOONEST);
        }
        let generation = controller.generation;
        controller.view.leads_since = Some(self.now);
        self.handle(of, Event::Recovered);
        self.handle(of, Event::Leading(generation));
    }

    fn event(&mut self, of: usize, event: Event) {
        let auditor = &mut self.controllers[of].auditor;
        match &event {
            Event::Journal(entry) => auditor.observe_entry(entry),
            Event::Inventory(inventory) => auditor.observe_inventory(inventory),
            Event::Heartbeat(beat) => auditor.observe_heartbeat(beat, self.now),
            Event::Container(_) if self.options.has(Flaw::SeesNoPeople) => return,
            Event::Signal(_)
            | Event::Forecast(_)
            | Event::Container(_)
            | Event::Export(_)
            | Event::ExportGone(_)
            | Event::NodeRemoved(_)
            | Event::Outcome(_)
            | Event::Recovered
            | Event::Leading(_)
            | Event::Following
            | Event::Tick => {}
        }
        let event = self.distorted(event);
        self.handle(of, event);
    }

    /// The event as a flawed core takes it.
    fn distorted(&self, event: Event) -> Event {
        let mut inventory = match event {
            Event::Inventory(inventory) => inventory,
            other => return super::losses::distorted(other, &self.options),
        };
        for record in &mut inventory.containers {
            let policy = &mut record.policy;
            if self.options.has(Flaw::TakesAllForWilling) {
                policy.mode = units::Mode::Act;
                policy.heal = true;
            }
            if self.options.has(Flaw::TakesNoPromise)
                && let Some(scale) = &mut policy.scale
            {
                scale.min = 1;
                scale.max += 20;
                scale.target = ScaleTarget::Cpu(units::Ratio::saturating(0.95));
            }
        }
        Event::Inventory(inventory)
    }

    fn handle(&mut self, of: usize, event: Event) {
        let effects = self.controllers[of].core.handle(self.now, event);
        for effect in effects {
            self.effect(of, effect);
        }
    }

    fn effect(&mut self, of: usize, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Journal(entry) => {
                let entry = self.audited(of, *entry);
                if let JournalEntry::Plan(entry) = &entry
                    && entry.phase == Phase::Decided
                {
                    self.judge_decision(of, &entry.plan);
                    self.stall(of);
                }
                self.controllers[of].auditor.observe_entry(&entry);
                let lost = self.options.has(Flaw::JournalsNothing)
                    && matches!(&entry, JournalEntry::Plan(entry) if entry.phase == Phase::Decided);
                if !lost {
                    self.push(of, Effect::Journal(Box::new(entry)));
                }
            }
            Effect::Command(command) if self.controllers[of].refused.contains(&command.plan) => {}
            Effect::Command(command) => {
                if !self.options.has(Flaw::Unaudited) {
                    let found = self.controllers[of].auditor.check_command(&command, now);
                    if !found.is_empty() {
                        return self.refused(of, &found, &command.id.to_string());
                    }
                }
                self.push(of, Effect::Command(command));
            }
        }
    }

    /// What a leader that has been superseded still decides is refused as it should be; anything else must not come to the auditor.
    fn refused(&mut self, of: usize, found: &[Violation], what: &str) {
        let newest = self.controllers[of].auditor.newest_generation();
        if newest > self.controllers[of].generation {
            return;
        }
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        self.oracle
            .audit(self.now, format!("{what}: {}", said.join("; ")));
    }

    fn audited(&mut self, of: usize, entry: JournalEntry) -> JournalEntry {
        let now = self.now;
        let JournalEntry::Plan(entry) = entry else {
            return entry;
        };
        if entry.phase != Phase::Decided || self.options.has(Flaw::Unaudited) {
            return JournalEntry::Plan(entry);
        }
        let found = self.controllers[of].auditor.check(&entry.plan, now);
        if found.is_empty() {
            return JournalEntry::Plan(entry);
        }
        let what = format!("{} ({})", entry.plan.id, entry.plan.cause.reason);
        self.refused(of, &found, &what);
        self.controllers[of].refused.insert(entry.plan.id.clone());
        let failed = JournalEntry::Plan(Box::new(failed(now, entry.plan)));
        let event = Event::Journal(Box::new(failed.clone()));
        for effect in self.controllers[of].core.handle(now, event) {
            self.effect(of, effect);
        }
        failed
    }

    fn push(&mut self, of: usize, effect: Effect) {
        self.controllers[of].queue.push_back(effect);
        self.write(of);
    }

    /// Begins to write the first effect in the queue.
    fn write(&mut self, of: usize) {
        let controller = &mut self.controllers[of];
        if controller.writing.is_some() || controller.queue.is_empty() {
            return;
        }
        controller.tokens += 1;
        controller.writing = Some(controller.tokens);
        let written = Happening::Written(of, controller.tokens);
        let took = self.dice.controller.millis(1, 12) * self.log_slow;
        self.agenda.note(self.now + took, written);
    }

    /// The log took a controller's record.
    pub(super) fn written(&mut self, of: usize, token: u64) {
        let controller = &mut self.controllers[of];
        if !controller.alive || controller.writing != Some(token) {
            return;
        }
        if controller.frozen_until > self.now {
            let until = controller.frozen_until;
            return self.agenda.note(until, Happening::Written(of, token));
        }
        controller.writing = None;
        if let Some(effect) = controller.queue.pop_front() {
            self.publish(&effect);
        }
        self.write(of);
    }

    fn publish(&mut self, effect: &Effect) {
        match effect {
            Effect::Journal(entry) => {
                self.note(|_| told(entry));
                self.send(Topic::Journal, &**entry, None, Author::Role);
                self.oracle.journaled(entry, self.now);
            }
            Effect::Command(command) => {
                self.send::<Command>(Topic::Commands, command, None, Author::Role);
            }
        }
    }

    /// A controller ends; what it was writing may have come through.
    pub(super) fn land(&mut self, of: usize) {
        let controller = &mut self.controllers[of];
        controller.alive = false;
        let effect = controller.queue.pop_front();
        let came_through = controller.writing.is_some() && self.dice.controller.chance(0.5);
        if let (Some(effect), true) = (effect, came_through) {
            self.publish(&effect);
        }
    }

    /// The controller that leads, or is about to.
    pub(super) fn leader(&self) -> Option<usize> {
        self.controllers.iter().rposition(|it| it.alive)
    }

    /// What the leader says of itself: its breaker is open, or it does not lead yet.
    pub(super) fn leader_rests(&self) -> Result<(), String> {
        let Some(of) = self.leader() else {
            return Err("nobody leads".to_owned());
        };
        let status = self.controllers[of].core.status();
        let wanting: BTreeMap<_, _> = status
            .services
            .iter()
            .filter(|it| it.desired > it.current)
            .map(|it| (it.service.as_str(), it.desired))
            .collect();
        if status.leading.is_none() {
            return Err("the leader does not lead yet".to_owned());
        }
        if status.breaker_open {
            return Err("the breaker is open".to_owned());
        }
        match status.active_plans {
            0 if wanting.is_empty() => Ok(()),
            0 => Err(format!("more replicas are wanted: {wanting:?}")),
            plans => Err(format!("{plans} plans are not over")),
        }
    }
}
