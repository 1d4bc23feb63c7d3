//! The signals known, each in its newest state.

use std::collections::BTreeMap;

use units::{Signal, SignalId, SignalPhase, Timestamp};

use crate::weights::ONSET_BACK_MAX;

/// A signal, and since when it is so.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) signal: Signal,
    /// The earliest time any record of it names, within bounds.
    pub(crate) onset: Timestamp,
}

impl Known {
    /// When it was over.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        match self.signal.phase {
            SignalPhase::Open | SignalPhase::Update => None,
            SignalPhase::Resolve => Some(self.signal.at),
        }
    }
}

/// All of them. Its bound is kept by its owner, who knows which belong together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    by_id: BTreeMap<SignalId, Known>,
}

impl Signals {
    /// Takes a record; whether that changed anything. The end beats all else, then the newest record holds.
    pub(crate) fn take(&mut self, signal: &Signal) -> bool {
        let onset = onset(signal);
        let Some(known) = self.by_id.get_mut(&signal.id) else {
            let signal = signal.clone();
            self.by_id
                .insert(signal.id.clone(), Known { signal, onset });
            return true;
        };
        let mut changed = onset < known.onset;
        known.onset = known.onset.min(onset);
        if rank(signal) > rank(&known.signal) {
            known.signal = signal.clone();
            changed = true;
        }
        changed
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: &SignalId) -> Option<&Known> {
        self.by_id.get(id)
    }

    pub(crate) fn remove(&mut self, id: &SignalId) {
        self.by_id.remove(id);
    }

    /// In the order they opened.
    pub(crate) fn in_order(&self) -> Vec<&Known> {
        let mut known: Vec<&Known> = self.by_id.values().collect();
        known.sort_by(|a, b| {
            (a.signal.opened_at, &a.signal.id).cmp(&(b.signal.opened_at, &b.signal.id))
        });
        known
    }
}

fn rank(signal: &Signal) -> (bool, Timestamp, bool) {
    (
        signal.phase == SignalPhase::Resolve,
        signal.at,
        signal.phase == SignalPhase::Update,
    )
}

fn onset(signal: &Signal) -> Timestamp {
    let evidence = signal.evidence.iter().map(|evidence| evidence.since);
    let earliest = evidence.min().unwrap_or(signal.opened_at);
    earliest.clamp(signal.opened_at - ONSET_BACK_MAX, signal.opened_at)
}
