//! Feedback: what somebody dismissed must show more before it is told again.
//!
//! The rule, in full. A dismissal raises the bar of that kind for that service, or node: by one, to at most [`HEIGHT_MAX`]. A bar
//! sinks by half in each [`HALF_LIFE`] and is gone below [`GONE_BELOW`]. While it stands, a signal of that kind opens only when it
//! is confirmed by more readings, and, unless the kind is a fact, when it lies further beyond what was expected than the furthest
//! that was dismissed: by [`FACTOR_STEP`] more for each unit of height. What says that a container is down, hangs or is about to
//! be killed, and whatever is critical, is never held back for its size; it waits longer at most. An acknowledgement changes no
//! bar.

mod raise;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    Feedback, NodeId, Opinion, ServiceId, Severity, SignalId, SignalKind, Subject, Timestamp,
};

use crate::gate::{Confirmation, Finding};
pub(crate) use raise::{node_of, raise};

/// A bar sinks by half in this time.
const HALF_LIFE: Duration = Duration::from_secs(3 * 24 * 3_600);
/// Dismissals raise no bar further than this.
pub const HEIGHT_MAX: f64 = 4.0;
/// A bar this low is gone: six days after one dismissal, twelve after many.
const GONE_BELOW: f64 = 0.25;
/// For each unit of height a finding must lie further out by this share of what was dismissed: thrice as far at most.
const FACTOR_STEP: f64 = 0.5;
/// For each unit of height a signal takes so many more readings, or as many as it took before where that is more.
const MORE_READINGS: f64 = 5.0;
/// What lies further out than this many times its bound is not told apart.
const DISTANCE_MAX: f64 = 1_000.0;
/// Bars kept; beyond it the one that is gone soonest goes.
const BARS_MAX: usize = 1_000;

/// What a kind must show more of while its bar is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// It must last longer, and that is all: it is a fact, or soon becomes one.
    Longer,
    /// It must be larger; each occurrence is told by one reading, so there are no more to wait for.
    Larger,
    /// Both.
    LongerAndLarger,
}

fn demand(kind: SignalKind) -> Demand {
    match kind {
        SignalKind::Unhealthy
        | SignalKind::CrashLoop
        | SignalKind::Hang
        | SignalKind::MemoryRunaway
        | SignalKind::TelemetryMissing => Demand::Longer,
        SignalKind::LogNovelty | SignalKind::TelemetryLost => Demand::Larger,
        SignalKind::Overload
        | SignalKind::Throttling
        | SignalKind::CpuAnomaly
        | SignalKind::MemoryAnomaly
        | SignalKind::NetworkAnomaly
        | SignalKind::IoAnomaly
        | SignalKind::ErrorLogs
        | SignalKind::LogStorm
        | SignalKind::LogSilence
        | SignalKind::OddReplica
        | SignalKind::NetworkDelay
        | SignalKind::NodePressure
        | SignalKind::UnusualPattern
        | SignalKind::Standstill
        | SignalKind::LimitNear
        | SignalKind::AppAnomaly
        | SignalKind::RequestAnomaly => Demand::LongerAndLarger,
    }
}

/// What stands between one kind of trouble and its next signal. Raised by dismissals; it sinks by itself, and is gone when low.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// The kind.
    pub kind: SignalKind,
    /// What was dismissed last.
    pub subject: Subject,
    /// How often its kind was dismissed since the bar last stood low.
    pub dismissed: u32,
    /// When that was last.
    pub at: Timestamp,
    signal: SignalId,
    height: f64,
    distance: f64,
}

impl Bar {
    fn new(feedback: &Feedback) -> Self {
        Bar {
            kind: feedback.kind,
            subject: feedback.subject.clone(),
            dismissed: 1,
            at: feedback.at,
            signal: feedback.signal.clone(),
            height: 1.0,
            distance: dismissed_distance(feedback),
        }
    }

    /// Takes the next dismissal; one that was taken before, or is of the same opening, changes nothing.
    fn raise(&mut self, feedback: &Feedback) -> Taken {
        if feedback.at <= self.at || feedback.signal == self.signal {
            return Taken::Before;
        }
        if !self.stands(feedback.at) {
            *self = Bar::new(feedback);
            return Taken::Now;
        }
        *self = Bar {
            dismissed: self.dismissed.saturating_add(1),
            height: (self.height(feedback.at) + 1.0).min(HEIGHT_MAX),
            distance: self.distance.max(dismissed_distance(feedback)),
            ..Bar::new(feedback)
        };
        Taken::Now
    }

    /// How high it stands, from 0 to [`HEIGHT_MAX`].
    pub fn height(&self, now: Timestamp) -> f64 {
        let halvings = now.since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.height * (-halvings).exp2()
    }

    /// Until when it stands if nothing more is dismissed.
    pub fn until(&self) -> Timestamp {
        let halvings = (self.height / GONE_BELOW).log2().max(0.0);
        self.at + HALF_LIFE.mul_f64(halvings)
    }

    /// Whether it still stands.
    pub fn stands(&self, now: Timestamp) -> bool {
        now < self.until()
    }

    /// How far beyond its bound a finding must lie, in times that bound; absent where size does not matter.
    pub fn beyond(&self, now: Timestamp) -> Option<f64> {
        match demand(self.kind) {
            Demand::Longer => None,
            Demand::Larger | Demand::LongerAndLarger => {
                let factor = 1.0 + FACTOR_STEP * self.height(now);
                Some((self.distance * factor).min(DISTANCE_MAX)).filter(|it| *it > 0.0)
            }
        }
    }

    /// How many more readings, of one a second, a signal takes where it took `needed` before.
    pub fn more_readings(&self, needed: u32, now: Timestamp) -> u32 {
        match demand(self.kind) {
            Demand::Larger => 0,
            Demand::Longer | Demand::LongerAndLarger => {
                let each = f64::from(needed).max(MORE_READINGS);
                (self.height(now) * each).ceil() as u32
            }
        }
    }

    /// Whether a finding is enough. What is critical always is.
    pub(crate) fn admits(&self, finding: &Finding, now: Timestamp) -> bool {
        let far_enough = |beyond: f64| {
            let proof = finding.proofs.first();
            proof.is_some_and(|proof| distance(proof.observed, proof.expected) >= beyond)
        };
        finding.severity == Severity::Critical || self.beyond(now).is_none_or(far_enough)
    }

    /// The readings it takes, instead of these. The share of them that must violate stays as it is; a fact may come and go, as a
    /// slow crash loop does, and counts over all the readings there are.
    pub(crate) fn confirmation(&self, usual: Confirmation, now: Timestamp) -> Confirmation {
        let more = self.more_readings(usual.needed, now);
        if more == 0 {
            return usual;
        }
        let needed = usual.needed.saturating_add(more);
        let of = match demand(self.kind) {
            Demand::Longer => Confirmation::OF_MAX,
            Demand::Larger | Demand::LongerAndLarger => {
                (needed * usual.of).div_ceil(usual.needed.max(1))
            }
        };
        let of = of.min(Confirmation::OF_MAX);
        Confirmation {
            needed: needed.min(of),
            of,
            ..usual
        }
    }
}

/// Whether a dismissal was news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Now,
    Before,
}

fn dismissed_distance(feedback: &Feedback) -> f64 {
    feedback.evidence.first().map_or(0.0, |first| {
        distance(first.observed, (first.expected_low, first.expected_high))
    })
}

/// How far a value lies beyond the range it was expected in, in times the bound it crossed: 1 is twice the most, or half the least,
/// that was expected. Where that bound is nothing, the value itself counts.
fn distance(observed: f64, (low, high): (f64, f64)) -> f64 {
    let beyond = if observed > high {
        match high.abs() {
            none if none < f64::MIN_POSITIVE => observed,
            bound => (observed - high) / bound,
        }
    } else if observed < low {
        match low > 0.0 && observed > 0.0 {
            true => low / observed - 1.0,
            false => DISTANCE_MAX,
        }
    } else {
        0.0
    };
    if beyond.is_nan() {
        return 0.0;
    }
    beyond.clamp(0.0, DISTANCE_MAX)
}

/// Whose bars they are: all containers of a service have theirs in common, so that one that was made anew keeps it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Scope {
    Service(ServiceId),
    Node(NodeId),
}

impl Scope {
    fn of(subject: &Subject) -> Option<Self> {
        match (&subject.service, &subject.node) {
            (Some(service), _) => Some(Scope::Service(service.clone())),
            (None, Some(node)) => Some(Scope::Node(node.clone())),
            (None, None) => None,
        }
    }
}

/// The bars that stand, at most a thousand; beyond it the one that is gone soonest goes. They follow from the feedback alone, in its
/// order, however often that is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bars(BTreeMap<(Scope, SignalKind), Bar>);

impl Bars {
    /// Takes feedback, and gives the bar it raised. None when it raises none, or was taken before.
    pub fn take(&mut self, feedback: &Feedback) -> Option<&Bar> {
        match feedback.opinion {
            Opinion::Acknowledged => return None,
            Opinion::Dismissed => {}
        }
        let key = (Scope::of(&feedback.subject)?, feedback.kind);
        match self.0.get_mut(&key) {
            Some(bar) => match bar.raise(feedback) {
                Taken::Before => return None,
                Taken::Now => {}
            },
            None => {
                if self.0.len() >= BARS_MAX {
                    self.drop_lowest();
                }
                self.0.insert(key.clone(), Bar::new(feedback));
            }
        }
        self.0.get(&key)
    }

    /// Those that stand.
    pub fn standing(&self, now: Timestamp) -> impl Iterator<Item = &Bar> {
        self.0.values().filter(move |bar| bar.stands(now))
    }

    /// The one that stands for a kind and subject.
    pub fn of(&self, kind: SignalKind, subject: &Subject, now: Timestamp) -> Option<&Bar> {
        let key = (Scope::of(subject)?, kind);
        self.0.get(&key).filter(|bar| bar.stands(now))
    }

    /// Those of a service, kind by kind.
    fn of_service(&self, service: &ServiceId) -> impl Iterator<Item = &Bar> {
        self.of_scope(Scope::Service(service.clone()))
    }

    /// Those of a node, kind by kind.
    fn of_node(&self, node: &NodeId) -> impl Iterator<Item = &Bar> {
        self.of_scope(Scope::Node(node.clone()))
    }

    fn of_scope(&self, scope: Scope) -> impl Iterator<Item = &Bar> {
        SignalKind::ALL
            .into_iter()
            .filter_map(move |kind| self.0.get(&(scope.clone(), kind)))
    }

    /// How many there are of services that are known, and of nodes.
    pub(crate) fn count(&self, is_known: impl Fn(&ServiceId) -> bool) -> (usize, usize) {
        let mut counted = (0, 0);
        for (scope, _) in self.0.keys() {
            match scope {
                Scope::Service(service) => counted.0 += usize::from(is_known(service)),
                Scope::Node(_) => counted.1 += 1,
            }
        }
        counted
    }

    /// Forgets those of services that are gone by the time of their samples.
    pub(crate) fn prune_services(&mut self, now: Timestamp) {
        self.0.retain(|(scope, _), bar| match scope {
            Scope::Service(_) => bar.stands(now),
            Scope::Node(_) => true,
        });
    }

    /// Forgets those of nodes that are gone by the time of whoever listens to them.
    pub(crate) fn prune_nodes(&mut self, now: Timestamp) {
        self.0.retain(|(scope, _), bar| match scope {
            Scope::Service(_) => true,
            Scope::Node(_) => bar.stands(now),
        });
    }

    fn drop_lowest(&mut self) {
        let lowest = self.0.iter().min_by_key(|(_, bar)| bar.until());
        if let Some(key) = lowest.map(|(key, _)| key.clone()) {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
