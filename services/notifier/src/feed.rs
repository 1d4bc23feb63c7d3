//! From records to notices: drops what was seen before and what is not worth telling.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use units::{
    BreakerEntry, Fingerprint, JournalEntry, Phase, PlanEntry, PlanId, Severity, Signal, SignalId,
    SignalPhase, Timestamp,
};

use crate::notice::{Change, Condition, Notice};

/// So many fingerprints are remembered; beyond it the ones longest resolved are forgotten first, and a replay of
/// those would be told again.
const MAX_KNOWN_SIGNALS: usize = 20_000;
/// So many states of plans are remembered; beyond it the oldest is forgotten.
const MAX_KNOWN_PLANS: usize = 10_000;

/// What one partition has said so far.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    signals: HashMap<Fingerprint, Known>,
    plans: HashSet<(PlanId, Phase)>,
    plan_order: VecDeque<(PlanId, Phase)>,
    breaker: Option<(Timestamp, Change)>,
}

#[derive(Debug, Clone)]
struct Known {
    id: SignalId,
    phase: SignalPhase,
    at: Timestamp,
    severity: Severity,
}

impl Feed {
    /// The notice a signal's record makes, if any: openings, other severities and ends do, once each.
    pub(crate) fn signal(&mut self, signal: Signal) -> Option<Notice> {
        let known = self.signals.get(&signal.fingerprint);
        if known.is_some_and(|known| is_duplicate(known, &signal)) {
            return None;
        }
        let same = known.filter(|known| known.id == signal.id);
        let change = match (signal.phase, same) {
            (SignalPhase::Resolve, _) => Some(Change::Resolved),
            (SignalPhase::Open | SignalPhase::Update, None) => Some(Change::Opened),
            (SignalPhase::Open | SignalPhase::Update, Some(known)) => {
                (known.severity != signal.severity).then_some(Change::Changed)
            }
        };
        self.remember(&signal);
        change.map(|change| Notice::Condition {
            change,
            condition: Condition::Signal(Arc::new(signal)),
        })
    }

    /// The notice a journal record makes, if any.
    pub(crate) fn journal(&mut self, entry: JournalEntry) -> Option<Notice> {
        match entry {
            JournalEntry::Plan(entry) => self.plan(*entry),
            JournalEntry::Breaker(entry) => self.breaker(entry),
            // What is done upon it is told as a plan.
            JournalEntry::Approval(_) | JournalEntry::Update(_) | JournalEntry::Node(_) => None,
        }
    }

    fn plan(&mut self, entry: PlanEntry) -> Option<Notice> {
        let key = (entry.plan.id.clone(), entry.phase);
        if !self.plans.insert(key.clone()) {
            return None;
        }
        self.plan_order.push_back(key);
        if self.plan_order.len() > MAX_KNOWN_PLANS
            && let Some(oldest) = self.plan_order.pop_front()
        {
            self.plans.remove(&oldest);
        }
        match entry.phase {
            Phase::Suggested | Phase::Decided | Phase::Failed | Phase::Judged => {
                Some(Notice::Plan(Arc::new(entry)))
            }
            // The verdict follows, and says more.
            Phase::Executed => None,
        }
    }

    fn breaker(&mut self, entry: BreakerEntry) -> Option<Notice> {
        let change = match entry.open_until {
            Some(_) => Change::Opened,
            None => Change::Resolved,
        };
        if let Some((at, last)) = self.breaker
            && (entry.at <= at || last == change)
        {
            // Opened for longer is still open: people know.
            self.breaker = Some((at.max(entry.at), last));
            return None;
        }
        self.breaker = Some((entry.at, change));
        Some(Notice::Condition {
            change,
            condition: Condition::Breaker(Arc::new(entry)),
        })
    }

    fn remember(&mut self, signal: &Signal) {
        let known = Known {
            id: signal.id.clone(),
            phase: signal.phase,
            at: signal.at,
            severity: signal.severity,
        };
        self.signals.insert(signal.fingerprint.clone(), known);
        if self.signals.len() > MAX_KNOWN_SIGNALS {
            self.forget_oldest();
        }
    }

    /// Forgets a tenth at once, so that the search for the oldest is rare.
    fn forget_oldest(&mut self) {
        let mut by_age: Vec<_> = self
            .signals
            .iter()
            .map(|(fingerprint, known)| {
                (
                    known.phase != SignalPhase::Resolve,
                    known.at,
                    fingerprint.clone(),
                )
            })
            .collect();
        by_age.sort();
        for (_, _, fingerprint) in by_age.into_iter().take(MAX_KNOWN_SIGNALS / 10) {
            self.signals.remove(&fingerprint);
        }
    }
}

/// The log delivers at least once: what is not newer than the last state of its opening was told before.
fn is_duplicate(known: &Known, signal: &Signal) -> bool {
    let rank = |phase: SignalPhase| match phase {
        SignalPhase::Open => 0,
        SignalPhase::Update => 1,
        SignalPhase::Resolve => 2,
    };
    if known.id != signal.id {
        return signal.at < known.at;
    }
    known.phase == SignalPhase::Resolve
        || (signal.at, rank(signal.phase)) <= (known.at, rank(known.phase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    fn changes(feed: &mut Feed, signals: &[Signal]) -> Vec<&'static str> {
        let notices = signals
            .iter()
            .cloned()
            .filter_map(|signal| feed.signal(signal));
        notices.map(|notice| notice.event_type()).collect()
    }

    fn life() -> Vec<Signal> {
        let at = |phase, at_ms, severity| Signal {
            phase,
            severity,
            at: Timestamp::from_millis(at_ms),
            ..examples::signal()
        };
        vec![
            at(SignalPhase::Open, 1_000, Severity::Warning),
            at(SignalPhase::Update, 2_000, Severity::Warning),
            at(SignalPhase::Update, 3_000, Severity::Critical),
            at(SignalPhase::Resolve, 4_000, Severity::Critical),
        ]
    }

    #[test]
    fn openings_other_severities_and_ends_are_told() {
        let told = changes(&mut Feed::default(), &life());
        assert_eq!(told, ["signal.opened", "signal.changed", "signal.resolved"]);
    }

    #[test]
    fn a_replay_tells_nothing_twice_wherever_it_starts() {
        for start in 0..life().len() {
            let mut feed = Feed::default();
            changes(&mut feed, &life());
            assert_eq!(
                changes(&mut feed, &life()[start..]),
                [""; 0],
                "from {start}"
            );
        }
    }

    #[test]
    fn the_next_opening_of_the_same_fingerprint_is_told() {
        let mut feed = Feed::default();
        changes(&mut feed, &life());
        let again = Signal {
            id: SignalId::from("later"),
            at: Timestamp::from_millis(9_000),
            ..examples::signal()
        };
        assert_eq!(
            changes(&mut feed, &[again.clone(), again]),
            ["signal.opened"]
        );
    }

    #[test]
    fn a_plan_is_told_once_in_each_phase_but_executed() {
        let mut feed = Feed::default();
        let mut told = Vec::new();
        for phase in [
            Phase::Decided,
            Phase::Executed,
            Phase::Judged,
            Phase::Decided,
        ] {
            let entry = PlanEntry {
                phase,
                ..examples::plan_entry()
            };
            told.extend(feed.journal(JournalEntry::Plan(Box::new(entry))));
        }
        let told: Vec<_> = told.iter().map(Notice::event_type).collect();
        assert_eq!(told, ["plan.decided", "plan.judged"]);
    }

    #[test]
    fn an_extended_breaker_is_told_once_and_its_end_too() {
        let mut feed = Feed::default();
        let at = |at_ms: i64, open: Option<i64>| {
            JournalEntry::Breaker(BreakerEntry {
                at: Timestamp::from_millis(at_ms),
                open_until: open.map(Timestamp::from_millis),
                ..examples::breaker_entry()
            })
        };
        let entries = [at(1, Some(10)), at(2, Some(20)), at(20, None), at(20, None)];
        let told: Vec<_> = entries
            .into_iter()
            .filter_map(|entry| feed.journal(entry))
            .collect();
        let told: Vec<_> = told.iter().map(Notice::event_type).collect();
        assert_eq!(told, ["breaker.opened", "breaker.closed"]);
    }

    #[test]
    fn memory_is_bounded_and_forgets_resolved_signals_first() {
        let mut feed = Feed::default();
        feed.signal(examples::signal());
        for index in 0..MAX_KNOWN_SIGNALS {
            feed.signal(Signal {
                fingerprint: Fingerprint::new(format!("{index}")),
                id: SignalId::new(format!("{index}")),
                phase: SignalPhase::Resolve,
                ..examples::signal()
            });
        }
        assert!(feed.signals.len() <= MAX_KNOWN_SIGNALS);
        assert!(feed.signals.contains_key(&examples::signal().fingerprint));
    }
}
