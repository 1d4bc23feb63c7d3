//! Feedback: what people say of signals.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Evidence, Fingerprint, Severity, Signal, SignalId, SignalKind, Subject, Timestamp};

/// What somebody said of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opinion {
    /// Somebody has seen it and sees to it. It changes nothing for signals to come.
    Acknowledged,
    /// It should not have been told: its like must show more before it is told again.
    Dismissed,
}

impl Opinion {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Opinion::Acknowledged => "acknowledged",
            Opinion::Dismissed => "dismissed",
        }
    }
}

impl fmt::Display for Opinion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Feedback about one opening of a signal. It holds what the signal showed then, so that whoever reads it needs no other record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// The opening.
    pub signal: SignalId,
    /// The same for each opening of the same kind and subject.
    pub fingerprint: Fingerprint,
    /// What was wrong.
    pub kind: SignalKind,
    /// With what.
    pub subject: Subject,
    /// How much it mattered.
    pub severity: Severity,
    /// What was said.
    pub opinion: Opinion,
    /// When. Writers see to it that it rises from one record to the next.
    pub at: Timestamp,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The numbers the signal showed, most telling first.
    pub evidence: Vec<Evidence>,
}

impl Feedback {
    /// Feedback about a signal as it stands.
    pub fn of(signal: &Signal, opinion: Opinion, at: Timestamp, because: Option<String>) -> Self {
        Feedback {
            signal: signal.id.clone(),
            fingerprint: signal.fingerprint.clone(),
            kind: signal.kind,
            subject: signal.subject.clone(),
            severity: signal.severity,
            opinion,
            at,
            because,
            evidence: signal.evidence.clone(),
        }
    }
}
