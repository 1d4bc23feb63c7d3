//! Incidents and their causes, as they are told.

use std::fmt;

use serde::{Deserialize, Serialize};
use units::{Fingerprint, Ratio, Severity, SignalId, Subject, Timestamp};

/// One incident. It follows from the incident's first signal, so it is the same wherever it is worked out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(String);

impl IncidentId {
    /// The id of the incident whose first signal this is: `i` and 16 hex digits.
    pub fn of(first: &SignalId) -> Self {
        IncidentId(format!(
            "i{}",
            Fingerprint::of(&["incident", first.as_str()])
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the trouble comes from, as seen from what is sick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From what runs: a container, its image, its limits, or what it depends on.
    Container,
    /// From what containers of a node share: its CPU, memory and disk, or another container that takes too much of them.
    Host,
}

impl Origin {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Origin::Container => "container",
            Origin::Host => "host",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What kind of cause it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// Homeostat itself did something shortly before.
    Action,
    /// A container was made shortly before, from a new image or not.
    Deploy,
    /// Limits or restart policy were changed shortly before.
    Change,
    /// A container was stopped or paused by somebody shortly before.
    Stop,
    /// One container took so much of its node that others went without.
    NoisyNeighbour,
    /// The node itself is short of something, silent, or makes several services sick at once.
    Node,
    /// Something that others call is sick, and they turned sick with it.
    Dependency,
    /// A container or service is sick by itself.
    Workload,
}

impl CauseKind {
    /// Every kind.
    pub const ALL: [CauseKind; 8] = [
        CauseKind::Action,
        CauseKind::Deploy,
        CauseKind::Change,
        CauseKind::Stop,
        CauseKind::NoisyNeighbour,
        CauseKind::Node,
        CauseKind::Dependency,
        CauseKind::Workload,
    ];

    /// The word on the wire and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            CauseKind::Action => "action",
            CauseKind::Deploy => "deploy",
            CauseKind::Change => "change",
            CauseKind::Stop => "stop",
            CauseKind::NoisyNeighbour => "noisy_neighbour",
            CauseKind::Node => "node",
            CauseKind::Dependency => "dependency",
            CauseKind::Workload => "workload",
        }
    }

    /// Where trouble of this kind comes from.
    pub const fn origin(self) -> Origin {
        match self {
            CauseKind::NoisyNeighbour | CauseKind::Node => Origin::Host,
            CauseKind::Action
            | CauseKind::Deploy
            | CauseKind::Change
            | CauseKind::Stop
            | CauseKind::Dependency
            | CauseKind::Workload => Origin::Container,
        }
    }
}

impl fmt::Display for CauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that speaks for a cause.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fact {
    /// When it was so.
    pub at: Timestamp,
    /// In words.
    pub text: String,
    /// The signal that says so, when one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalId>,
}

/// What probably caused an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// What kind of cause.
    pub kind: CauseKind,
    /// Whether it comes from what runs or from the host.
    pub origin: Origin,
    /// What is at fault.
    pub subject: Subject,
    /// How much speaks for it, from 0 to 1. It ranks the causes of one incident; it is no probability.
    pub score: Ratio,
    /// One plain sentence.
    pub sentence: String,
    /// What speaks for it, oldest first.
    pub evidence: Vec<Fact>,
}

/// Signals that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// When its first signal opened.
    pub opened_at: Timestamp,
    /// Since when something was wrong, by the evidence of its signals; never after `opened_at`.
    pub began_at: Timestamp,
    /// When the last of its signals was over; absent while one is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
    /// The highest of its signals.
    pub severity: Severity,
    /// What is sick, earliest first.
    pub subjects: Vec<Subject>,
    /// Its signals, in the order they opened.
    pub signals: Vec<SignalId>,
    /// Probable causes, likeliest first.
    pub causes: Vec<Cause>,
}

impl Incident {
    /// Something of it still goes on.
    pub fn is_open(&self) -> bool {
        self.resolved_at.is_none()
    }
}
