//! A policy over recorded telemetry: what it would have decided, beside what happened.
//!
//! [`replay`] reads a recording twice. The first reading finds what was done in it and where the inventory has holes. The second runs
//! the policy, exactly the leader's ([`crate::policy`]), with the recording's own clock, once under the present configuration and once
//! under a candidate, and counts for each of them and for what happened. The same recording and configuration give the same plans,
//! byte for byte; records of the same millisecond are put in an order of their own, however their topics are interleaved.
//!
//! It begins as a leader does: what a leader would have read from before is told first, then the policy leads, at the first record of
//! the time asked for. Recorded plans, and what came of them, are told to it only from before that; afterwards it makes its own.
//!
//! **What it cannot know.** After the first action that differs from what was done, the recording tells of another world. The rule
//! here is simple, and it is told with every report ([`CANNOT_KNOW`]): an action that the recording holds too has its recorded
//! outcome; one that it does not hold is taken to do what its plan expects, for the rest of that episode. What rests on that is told
//! apart, in seconds and as the first difference.
//!
//! Inventory is a compacted topic, so that a log keeps little of its past. Where offsets show that records of it are gone, a node is
//! taken to have held what it told before, or else, of what it told next, the containers that had been created by then.
//!
//! It touches no topic and no engine.

mod groups;
mod report;
mod rest;
mod run;
mod survey;
mod tally;
#[cfg(test)]
mod tests;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::Record;
use control::Event;
use units::{
    ContainerEvent, Forecast, JournalEntry, NodeId, NodeInventory, Phase, PlanEntry, Signal,
    Steady, Timestamp,
};

pub use report::{
    CANNOT_KNOW, Difference, Figures, Input, PlanLine, PutAside, Report, Risk, RiskKind,
    ServiceFigures, Source,
};

use crate::config::Config;
use crate::sources::{Told, sources};
use groups::Groups;
use run::Run;
use survey::{Fill, Survey};
use tally::{Limits, Tally, is_by_somebody};

/// A node whose inventory is gone from the log is taken to have told it this often.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Which part of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// How things stood when it began.
    Before,
    /// What it is about.
    Within,
}

/// Replays a recording, which `open` gives from its beginning each time. None when it holds nothing of the time from `from` on.
///
/// # Errors
/// What reading it says.
pub fn replay<E, I>(
    open: impl Fn() -> Result<I, E>,
    from: Timestamp,
    present: &Config,
    candidate: Option<&Config>,
) -> Result<Option<Report>, E>
where
    I: Iterator<Item = Result<Record, E>>,
{
    let sources = sources(present);
    let topics: Vec<&'static str> = sources.iter().map(|source| source.topic).collect();
    let survey = Survey::take(Groups::new(open()?, topics.clone()), &sources, from)?;
    let Some((first, last)) = survey.heard else {
        return Ok(None);
    };
    let mut courses = Courses::new(&survey, present, candidate);
    let mut groups = Groups::new(open()?, topics);
    while let Some((now, group)) = groups.next()? {
        courses.reach(now);
        for record in group {
            let source = sources
                .iter()
                .find(|source| source.topic == &*record.position.topic);
            // What cannot be read was counted in the first reading.
            if let Some(Ok(Told::Event(event))) = source.map(|it| it.decode(&record)) {
                courses.event(now, event);
            }
        }
    }
    let (recorded, present, candidate) = courses.figures(last);
    Ok(Some(Report {
        input: Input {
            from: first,
            to: last,
            inventory_filled_seconds: filled_seconds(&survey.fills),
            nodes: survey.nodes(),
            records: survey.records,
            put_aside: survey.put_aside,
        },
        cannot_know: CANNOT_KNOW,
        recorded,
        present,
        candidate,
    }))
}

fn filled_seconds(fills: &[Fill]) -> f64 {
    let filled: Duration = fills.iter().map(|fill| fill.to.since(fill.from)).sum();
    filled.as_millis() as f64 / 1e3
}

/// What happened, and the policies beside it.
struct Courses<'a> {
    survey: &'a Survey,
    recorded: Tally,
    /// The present policy first, then the candidate.
    runs: Vec<Run<'a>>,
    part: Part,
    /// What each node told last, and when that was heard.
    told: BTreeMap<NodeId, (NodeInventory, Timestamp)>,
    /// When each hole of the inventory is to be filled next.
    fills: BTreeSet<(Timestamp, usize)>,
}

impl<'a> Courses<'a> {
    fn new(survey: &'a Survey, present: &Config, candidate: Option<&Config>) -> Self {
        let configs = [Some(present), candidate].into_iter().flatten();
        let fills = survey.fills.iter().enumerate();
        Courses {
            survey,
            recorded: Tally::new(Limits::new(present, present)),
            runs: configs
                .map(|config| Run::new(config, present, survey))
                .collect(),
            part: Part::Before,
            told: BTreeMap::new(),
            fills: fills.map(|(index, fill)| (fill.from, index)).collect(),
        }
    }

    /// Lets time pass up to `now`.
    fn reach(&mut self, now: Timestamp) {
        while let Some((at, index)) = self.fills.first().copied()
            && at <= now
        {
            self.fills.pop_first();
            self.advance(at);
            let fill = &self.survey.fills[index];
            if at < fill.to {
                self.fills.insert((at + HEARTBEAT, index));
                if let Some(inventory) = self.filled(fill, at) {
                    self.inventory(at, inventory);
                }
            }
        }
        self.advance(now);
        if self.part == Part::Before && self.survey.part(now) == Part::Within {
            self.part = Part::Within;
            self.recorded.begin(now);
            self.runs.iter_mut().for_each(|run| run.begin(now));
        }
    }

    fn advance(&mut self, to: Timestamp) {
        self.runs.iter_mut().for_each(|run| run.advance(to));
    }

    /// What a node is taken to have told, as it would have told it then.
    fn filled(&self, fill: &Fill, at: Timestamp) -> Option<NodeInventory> {
        if let Some((told, heard_at)) = self.told.get(&fill.node) {
            let since = at.since(*heard_at);
            let mut inventory = told.clone();
            inventory.at = told.at + since;
            inventory.steady = told.steady.map(|steady| steady + since);
            return Some(inventory);
        }
        let mut inventory = self.survey.first.get(&fill.node)?.clone();
        let ahead = fill.to.since(at);
        inventory.at = inventory.at - ahead;
        let earlier = |steady: Steady| {
            let ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
            Steady::from_millis(steady.as_millis().saturating_sub(ahead_ms))
        };
        inventory.steady = inventory.steady.map(earlier);
        let then = inventory.at;
        inventory
            .containers
            .retain(|record| record.created_at.is_none_or(|created| created <= then));
        Some(inventory)
    }

    fn event(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Signal(signal) => self.signal(now, *signal),
            Event::Forecast(forecast) => self.forecast(now, *forecast),
            Event::Inventory(inventory) => {
                let known = self.told.get(&inventory.node);
                if known.is_none_or(|(known, _)| inventory.is_newer_than(known.at, known.steady)) {
                    self.told
                        .insert(inventory.node.clone(), ((*inventory).clone(), now));
                    self.inventory(now, *inventory);
                }
            }
            Event::Container(event) => self.container(now, *event),
            Event::Outcome(outcome) => {
                // Of its own plans each policy learns by itself.
                if !self.survey.plans.contains_key(&outcome.plan) {
                    for run in &mut self.runs {
                        run.outcome((*outcome).clone());
                    }
                }
            }
            Event::Journal(entry) => self.journal(now, *entry),
            // A replay plays no failover: nobody can know how what was made elsewhere would have done.
            Event::Heartbeat(_) | Event::Export(_) | Event::ExportGone(_) => {}
            // It is silent from then on, and forgotten by and by.
            Event::NodeRemoved(_) => {}
            // Records tell none of these.
            Event::Recovered | Event::Leading(_) | Event::Following | Event::Tick => {}
        }
    }

    fn signal(&mut self, now: Timestamp, signal: Signal) {
        self.recorded.signal(now, &signal);
        for run in &mut self.runs {
            run.signal(signal.clone());
        }
    }

    fn forecast(&mut self, now: Timestamp, forecast: Forecast) {
        self.recorded.forecast(now, &forecast);
        let there = self.recorded.replicas(&forecast.service);
        for run in &mut self.runs {
            run.forecast(forecast.clone(), there);
        }
    }

    fn inventory(&mut self, now: Timestamp, inventory: NodeInventory) {
        self.recorded
            .inventory(now, &inventory.node, &inventory.containers);
        for run in &mut self.runs {
            run.inventory(inventory.clone());
        }
    }

    fn container(&mut self, now: Timestamp, event: ContainerEvent) {
        if self.survey.explains(&event) {
            return;
        }
        if is_by_somebody(&event.kind) {
            self.recorded.touched(now, &event.service, event.at);
        }
        for run in &mut self.runs {
            run.container(event.clone());
        }
    }

    fn journal(&mut self, now: Timestamp, entry: JournalEntry) {
        match &entry {
            JournalEntry::Plan(entry) => self.recorded.plan(now, entry, outcome_of(entry)),
            JournalEntry::Breaker(entry) => self.recorded.breaker(now, entry),
            JournalEntry::Approval(_) | JournalEntry::Update(_) | JournalEntry::Node(_) => {}
        }
        if self.part == Part::Before {
            for run in &mut self.runs {
                run.journal(entry.clone());
            }
        }
    }

    fn figures(mut self, end: Timestamp) -> (Figures, Figures, Option<Figures>) {
        let recorded = self.recorded.figures(end);
        let mut runs = std::mem::take(&mut self.runs).into_iter().map(|run| {
            let mut figures = run.figures(end);
            let gained = recorded.slo_seconds - figures.slo_seconds;
            figures.slo_seconds_assumed_away = gained.max(0.0);
            figures
        });
        let present = runs.next().unwrap_or_default();
        let candidate = runs.next();
        drop(runs);
        (recorded, present, candidate)
    }
}

/// Where the outcome of a recorded plan comes from. One first heard of as failed was never sent.
fn outcome_of(entry: &PlanEntry) -> Source {
    match entry.phase {
        Phase::Suggested => Source::None,
        Phase::Failed if entry.outcomes.is_empty() => Source::None,
        Phase::Decided | Phase::Executed | Phase::Failed | Phase::Judged => Source::Recorded,
    }
}
