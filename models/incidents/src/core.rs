//! The core: events in, incidents out.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use units::{Severity, Signal, SignalId, Subject, Timestamp};

use crate::event::Event;
use crate::fleet::Fleet;
use crate::history::History;
use crate::incident::{Incident, IncidentId};
use crate::join::Scene;
use crate::rank;
use crate::signals::Signals;
use crate::weights::{FORGET_EVERY, KEPT, SIGNALS_EVICTED, SIGNALS_MAX};

/// What is known, and the incidents that follow from it.
///
/// Taking an event is cheap; incidents are worked out when they are asked for, and kept until something changes. Everything that is
/// remembered is bounded (see `weights`), and what is over for a day is forgotten.
#[derive(Debug, Clone, Default)]
pub struct Incidents {
    signals: Signals,
    fleet: Fleet,
    history: History,
    forgot_at: Option<Timestamp>,
    /// Newest first. Empty whenever something changed.
    worked_out: OnceLock<Vec<Incident>>,
}

/// Why an id was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// Nothing begins like this.
    Unknown(String),
    /// Several do.
    Ambiguous(String, usize),
}

impl std::error::Error for NotFound {}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotFound::Unknown(id) => write!(
                f,
                "no incident's id begins with {id:?}; `homeostat incidents --all` lists them"
            ),
            NotFound::Ambiguous(id, incidents) => write!(
                f,
                "{id:?} is the beginning of {incidents} incidents' ids; give more of it"
            ),
        }
    }
}

impl Incidents {
    /// Takes an event. `now` only decides what is old enough to be forgotten; everything else goes by the records' own times.
    pub fn handle(&mut self, now: Timestamp, event: Event<'_>) {
        let changed = match event {
            // What was told last so long ago would be forgotten at once.
            Event::Signal(signal) if now.since(signal.at) > KEPT => false,
            Event::Signal(signal) => self.signals.take(signal),
            Event::Inventory(inventory) => {
                let past = self.history.inventory(now, inventory);
                self.fleet.inventory(inventory) || past
            }
            Event::NodeRemoved(node) => self.fleet.remove(node),
            Event::Links(links) => self.fleet.links(links),
            Event::Container(event) => self.history.event(now, event),
            Event::Journal(entry) => self.history.journal(now, entry),
        };
        if changed {
            self.worked_out.take();
        }
        self.forget(now);
        if self.signals.len() > SIGNALS_MAX {
            self.evict();
        }
    }

    /// Every incident known, newest first.
    pub fn all(&self) -> &[Incident] {
        self.worked_out.get_or_init(|| self.work_out())
    }

    /// The incident of this id, or of one of its signals' ids, or of what begins so. An incident that merged with an earlier one, or
    /// whose first signal was told late, is also found by the id it had before.
    ///
    /// # Errors
    /// When none or several begin so.
    pub fn find(&self, id: &str) -> Result<&Incident, NotFound> {
        let answers = |incident: &Incident| {
            incident.signals.iter().any(|signal| {
                signal.as_str().starts_with(id) || IncidentId::of(signal).as_str().starts_with(id)
            })
        };
        let mut found = self.all().iter().filter(|incident| answers(incident));
        let Some(first) = found.next() else {
            return Err(NotFound::Unknown(id.to_owned()));
        };
        let others = found.count();
        if others == 0 {
            return Ok(first);
        }
        let exact = self.all().iter().find(|it| it.id.as_str() == id);
        exact.ok_or_else(|| NotFound::Ambiguous(id.to_owned(), others + 1))
    }

    /// The incident a signal belongs to.
    pub fn of_signal(&self, id: &SignalId) -> Option<&Incident> {
        self.all().iter().find(|it| it.signals.contains(id))
    }

    /// The newest state of a signal.
    pub fn signal(&self, id: &SignalId) -> Option<&Signal> {
        self.signals.get(id).map(|known| &known.signal)
    }

    /// How many records are remembered of all kinds, for whoever watches the bound.
    pub fn remembered(&self) -> usize {
        self.signals.len() + self.fleet.size() + self.history.size()
    }

    fn work_out(&self) -> Vec<Incident> {
        let scene = Scene::new(&self.signals, &self.fleet, &self.history);
        let groups = scene.groups();
        let mut incidents: Vec<Incident> =
            groups.iter().map(|group| incident(&scene, group)).collect();
        incidents.sort_by(|a, b| (b.opened_at, &a.id).cmp(&(a.opened_at, &b.id)));
        incidents
    }

    fn forget(&mut self, now: Timestamp) {
        if self
            .forgot_at
            .is_some_and(|last| now.since(last) < FORGET_EVERY)
        {
            return;
        }
        self.forgot_at = Some(now);
        let mut changed = self.fleet.forget(now);
        changed |= self.history.forget(now);
        // Whole incidents, so that what goes on keeps its id and its beginning. An open signal that nothing tells of any more is over.
        let is_old = |incident: &Incident| {
            incident.signals.iter().all(|id| {
                self.signals
                    .get(id)
                    .is_none_or(|known| now.since(known.signal.at) > KEPT)
            })
        };
        let any_old = self
            .signals
            .in_order()
            .first()
            .is_some_and(|oldest| now.since(oldest.signal.opened_at) > KEPT);
        let old: Vec<SignalId> = if any_old {
            let incidents = self.all().iter().filter(|incident| is_old(incident));
            incidents.flat_map(|it| it.signals.clone()).collect()
        } else {
            Vec::new()
        };
        for id in &old {
            self.signals.remove(id);
        }
        if changed || !old.is_empty() {
            self.worked_out.take();
        }
    }

    /// Makes room: incidents that are over first, by their end; then signals by when they opened.
    fn evict(&mut self) {
        let room = SIGNALS_MAX - SIGNALS_EVICTED;
        let mut over: Vec<&Incident> = self.all().iter().filter(|it| !it.is_open()).collect();
        over.sort_by_key(|incident| (incident.resolved_at, incident.id.clone()));
        let over: Vec<SignalId> = over.into_iter().flat_map(|it| it.signals.clone()).collect();
        let oldest = self.signals.in_order();
        let oldest: Vec<SignalId> = oldest.iter().map(|it| it.signal.id.clone()).collect();
        for id in over.iter().chain(&oldest) {
            if self.signals.len() <= room {
                break;
            }
            self.signals.remove(id);
        }
        self.worked_out.take();
    }
}

fn incident<'a>(scene: &'a Scene<'a>, group: &[usize]) -> Incident {
    let entries = || group.iter().map(|index| &scene.entries[*index]);
    let signals: Vec<SignalId> = entries().map(|it| it.known.signal.id.clone()).collect();
    let mut by_onset: Vec<(Timestamp, &Subject)> = entries()
        .map(|it| (it.onset(), &it.known.signal.subject))
        .collect();
    by_onset.sort();
    let mut seen = BTreeSet::new();
    let subjects = by_onset
        .iter()
        .filter(|(_, subject)| seen.insert(*subject))
        .map(|(_, subject)| (*subject).clone());
    let ends: Option<Vec<Timestamp>> = entries().map(|it| it.known.end()).collect();
    Incident {
        id: IncidentId::of(&signals[0]),
        opened_at: entries()
            .map(|it| it.known.signal.opened_at)
            .min()
            .unwrap_or(Timestamp::EPOCH),
        began_at: by_onset.first().map_or(Timestamp::EPOCH, |(at, _)| *at),
        resolved_at: ends.and_then(|ends| ends.into_iter().max()),
        severity: entries()
            .map(|it| it.known.signal.severity)
            .max()
            .unwrap_or(Severity::Info),
        subjects: subjects.collect(),
        causes: rank::causes(scene, group),
        signals,
    }
}
