//! What people are told: a condition that opens, changes and ends, a plan, or a test.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use units::{BreakerEntry, Phase, PlanEntry, Severity, Signal, Timestamp};

/// One thing to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Notice {
    /// Something that is so for a while.
    Condition {
        /// Where it stands.
        change: Change,
        /// What it is.
        condition: Condition,
    },
    /// A plan reached a state worth telling.
    Plan(Arc<PlanEntry>),
    /// Sent by hand, to see whether it arrives.
    Test {
        /// When.
        at: Timestamp,
    },
}

/// Where a condition stands, from the view of who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Not told of before; goes to `Changed` and `Resolved`.
    Opened,
    /// Told of before, and its severity is another one now.
    Changed,
    /// Over. Nothing follows.
    Resolved,
}

/// Something that opens and ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// A signal.
    Signal(Arc<Signal>),
    /// The common-cause breaker.
    Breaker(Arc<BreakerEntry>),
}

/// One opening of one condition: what a resolve is matched to its trigger by.
pub(crate) type ConditionId = Arc<str>;

/// The breaker is one condition for the whole fleet.
const BREAKER: &str = "breaker";

impl Condition {
    /// This opening.
    pub(crate) fn id(&self) -> ConditionId {
        match self {
            Condition::Signal(signal) => signal.id.as_str().into(),
            Condition::Breaker(_) => BREAKER.into(),
        }
    }

    /// How much it matters. A loop that stopped acting needs a person.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Condition::Signal(signal) => signal.severity,
            Condition::Breaker(_) => Severity::Critical,
        }
    }

    /// The same for each opening of the same condition, so that a sink can put them together.
    pub(crate) fn dedup_key(&self) -> String {
        match self {
            Condition::Signal(signal) => format!("homeostat-{}", signal.fingerprint),
            Condition::Breaker(_) => format!("homeostat-{BREAKER}"),
        }
    }
}

impl Notice {
    /// The event's name, as webhook receivers see it.
    pub(crate) fn event_type(&self) -> &'static str {
        match self {
            Notice::Condition { change, condition } => match (condition, change) {
                (Condition::Signal(_), Change::Opened) => "signal.opened",
                (Condition::Signal(_), Change::Changed) => "signal.changed",
                (Condition::Signal(_), Change::Resolved) => "signal.resolved",
                (Condition::Breaker(_), Change::Opened) => "breaker.opened",
                (Condition::Breaker(_), Change::Changed) => "breaker.changed",
                (Condition::Breaker(_), Change::Resolved) => "breaker.closed",
            },
            Notice::Plan(entry) => match entry.phase {
                Phase::Suggested => "plan.suggested",
                Phase::Decided => "plan.decided",
                Phase::Executed => "plan.executed",
                Phase::Failed => "plan.failed",
                Phase::Judged => "plan.judged",
            },
            Notice::Test { .. } => "test",
        }
    }

    /// When it became so.
    pub(crate) fn at(&self) -> Timestamp {
        match self {
            Notice::Condition { condition, .. } => match condition {
                Condition::Signal(signal) => signal.at,
                Condition::Breaker(entry) => entry.at,
            },
            Notice::Plan(entry) => entry.at,
            Notice::Test { at } => *at,
        }
    }

    /// The same for each attempt and each process that tells this: receivers drop duplicates by it.
    pub(crate) fn message_id(&self) -> String {
        let subject = match self {
            Notice::Condition { condition, .. } => condition.id(),
            Notice::Plan(entry) => entry.plan.id.as_str().into(),
            Notice::Test { .. } => "test".into(),
        };
        // Ids hold names that people chose; a header takes only a part of those characters.
        let text = format!(
            "{}\n{subject}\n{}",
            self.event_type(),
            self.at().as_millis()
        );
        let digest = Sha256::digest(text.as_bytes());
        let hex: String = digest[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("hs_{hex}")
    }

    /// W3C trace context of what led to it.
    pub(crate) fn traceparent(&self) -> Option<&str> {
        match self {
            Notice::Condition {
                condition: Condition::Signal(signal),
                ..
            } => signal.traceparent.as_deref(),
            Notice::Plan(entry) => entry.plan.traceparent.as_deref(),
            Notice::Condition {
                condition: Condition::Breaker(_),
                ..
            }
            | Notice::Test { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    #[test]
    fn ids_are_stable_fit_a_header_and_differ_by_change() {
        let opened = examples::opened();
        assert_eq!(opened.message_id(), examples::opened().message_id());
        assert_ne!(opened.message_id(), examples::resolved().message_id());
        let id = opened.message_id();
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            "{id}"
        );
    }

    #[test]
    fn every_opening_of_a_signal_has_one_dedup_key() {
        let key = |notice: &Notice| match notice {
            Notice::Condition { condition, .. } => condition.dedup_key(),
            Notice::Plan(_) | Notice::Test { .. } => String::new(),
        };
        assert_eq!(key(&examples::opened()), key(&examples::resolved()));
    }
}
