//! Controllers that are killed.

use std::collections::BTreeMap;

use control::{Config, Core, Event};
use units::{Generation, JournalEntry, ServiceId};

use super::Stage;

/// What came of a script whose controller was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// What the core said.
    pub said: String,
    /// What the controllers and actuators wrote.
    pub records: usize,
    /// The containers at the end.
    pub left: Vec<String>,
    /// Plans that are not over.
    pub open: usize,
    /// The fewest containers of each service that served at any time.
    pub fewest: BTreeMap<ServiceId, usize>,
}

/// Plays a script in which the controller is killed once so many records are written, and another one leads at once. With more than
/// there are, none is.
pub fn play_killed(script: &str, after: usize) -> Played {
    let mut stage = Stage::new();
    stage.killed_after = Some(after);
    stage.play(script);
    let mut phases = BTreeMap::new();
    for entry in &stage.journal {
        if let JournalEntry::Plan(entry) = entry {
            phases.insert(&entry.plan.id, entry.phase);
        }
    }
    Played {
        open: phases.values().filter(|it| !it.is_final()).count(),
        records: stage.records,
        left: stage.world.listed(),
        fewest: stage.fewest,
        said: stage.said,
    }
}

impl Stage {
    /// One more record is written: whether the controller is killed after it.
    pub(super) fn is_last(&mut self) -> bool {
        self.records += 1;
        self.killed_after
            .take_if(|it| *it == self.records)
            .is_some()
    }

    /// Another controller leads. What the one before had not written is lost.
    pub(super) fn succeed(&mut self) {
        let before = self.generation.expect("who writes leads");
        self.restart(Generation(before.0 + 1));
    }

    /// What a new process reads before it decides anything: everything that was written, from the beginning.
    pub(super) fn restart(&mut self, generation: Generation) {
        self.said.push_str(&format!(
            "{:8.1} --- killed; another controller reads the log\n",
            self.now.as_millis() as f64 / 1_000.0
        ));
        self.core = Core::new(Config {
            max_mode: units::Mode::Act,
            ..Config::default()
        });
        for entry in self.journal.clone() {
            self.event(Event::Journal(Box::new(entry)));
        }
        for signal in self.signals.values().cloned().collect::<Vec<_>>() {
            self.event(Event::Signal(Box::new(signal)));
        }
        self.heartbeat();
        self.again();
        self.event(Event::Recovered);
        self.lead(generation);
    }
}
