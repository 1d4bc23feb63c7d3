//! The journal: every plan with its cause, what was expected of it, and what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Generation, NodeId, Outcome, Plan, PlanId, ServiceId, Timestamp, UpdateId};

/// How far a plan has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Only said: the mode does not allow acting.
    Suggested,
    /// Written down; its commands go out after this.
    Decided,
    /// Every step succeeded; waiting to see whether it helped.
    Executed,
    /// A step did not succeed, or its deadline passed without an outcome.
    Failed,
    /// Judged; nothing more follows.
    Judged,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 5] = [
        Phase::Suggested,
        Phase::Decided,
        Phase::Executed,
        Phase::Failed,
        Phase::Judged,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Suggested => "suggested",
            Phase::Decided => "decided",
            Phase::Executed => "executed",
            Phase::Failed => "failed",
            Phase::Judged => "judged",
        }
    }

    /// How far it is on its way: a state never gives way to one that is less far, which a leader that was cut off may write late.
    pub const fn rank(self) -> u8 {
        match self {
            Phase::Suggested | Phase::Decided => 0,
            Phase::Executed => 1,
            Phase::Failed | Phase::Judged => 2,
        }
    }

    /// Nothing more follows.
    pub const fn is_final(self) -> bool {
        match self {
            Phase::Suggested | Phase::Failed | Phase::Judged => true,
            Phase::Decided | Phase::Executed => false,
        }
    }
}

/// Whether a plan did what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// It did.
    Helped,
    /// Nothing changed.
    NoEffect,
    /// It made things worse: it is undone where that can be done.
    Worse,
    /// The telemetry to judge by was missing.
    Unknown,
}

impl VerdictKind {
    /// Every kind.
    pub const ALL: [VerdictKind; 4] = [
        VerdictKind::Helped,
        VerdictKind::NoEffect,
        VerdictKind::Worse,
        VerdictKind::Unknown,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            VerdictKind::Helped => "helped",
            VerdictKind::NoEffect => "no_effect",
            VerdictKind::Worse => "worse",
            VerdictKind::Unknown => "unknown",
        }
    }
}

/// The judgement on a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which.
    pub kind: VerdictKind,
    /// When.
    pub at: Timestamp,
    /// One plain sentence with the numbers.
    pub reason: String,
}

/// One state of one plan. Each record is complete: the newest of a plan says all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// When this state was reached.
    pub at: Timestamp,
    /// The plan, unchanged from first to last.
    pub plan: Plan,
    /// How far it has come.
    pub phase: Phase,
    /// What became of its steps so far.
    pub outcomes: Vec<Outcome>,
    /// The judgement, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// The loop stopped acting of itself, or began again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerEntry {
    /// When.
    pub at: Timestamp,
    /// Which leader says so.
    pub generation: Generation,
    /// Acting is stopped until this time; absent when it began again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until: Option<Timestamp>,
    /// One plain sentence.
    pub reason: String,
    /// The services that were sick at once.
    pub services: Vec<ServiceId>,
}

/// A person lets a plan that was only suggested be carried out.
///
/// It opens nothing but the mode: what was suggested is done if it is still called for when it is next looked at, and within all
/// budgets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Which.
    pub plan: PlanId,
    /// When.
    pub at: Timestamp,
    /// Who, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Approval {
    /// It holds for so long: what is found to be right later was another situation.
    pub const VALID: Duration = Duration::from_secs(600);

    /// Whether it holds at this time.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.at + Self::VALID > now
    }
}

impl std::fmt::Display for Approval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.by {
            Some(by) => write!(f, "{} approved by {by}", self.plan),
            None => write!(f, "{} approved", self.plan),
        }
    }
}

/// A person wants a service to run another image. The newest of a service counts: going back is an update to the image before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Its id.
    pub id: UpdateId,
    /// Of which service.
    pub service: ServiceId,
    /// The reference to run, such as `shop/web:4`, or an image's id.
    pub image: String,
    /// When it was ordered.
    pub at: Timestamp,
    /// By whom, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Update {
    /// What was not finished so long after it was ordered is given up, and what it changed taken back.
    pub const VALID: Duration = Duration::from_secs(24 * 3_600);
}

impl std::fmt::Display for Update {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "update of {} to {}", self.service, self.image)?;
        match &self.by {
            Some(by) => write!(f, ", ordered by {by}"),
            None => Ok(()),
        }
    }
}

/// What people want done with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeWanted {
    /// Nothing special.
    #[default]
    Open,
    /// Nothing new on it.
    Cordoned,
    /// Nothing new on it, and what may be moved off it.
    Drained,
}

impl NodeWanted {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            NodeWanted::Open => "open",
            NodeWanted::Cordoned => "cordoned",
            NodeWanted::Drained => "drained",
        }
    }
}

impl std::fmt::Display for NodeWanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A person says what is to be done with a node. The newest of a node counts, until there is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOrder {
    /// Which.
    pub node: NodeId,
    /// What.
    pub wanted: NodeWanted,
    /// When it was said.
    pub at: Timestamp,
    /// By whom, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl std::fmt::Display for NodeOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {} is to be {}", self.node, self.wanted)?;
        match &self.by {
            Some(by) => write!(f, ", ordered by {by}"),
            None => Ok(()),
        }
    }
}

/// One record of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum JournalEntry {
    /// A plan's state.
    Plan(Box<PlanEntry>),
    /// The common-cause breaker.
    Breaker(BreakerEntry),
    /// A person approved a suggested plan.
    Approval(Approval),
    /// A person ordered an update.
    Update(Update),
    /// A person said what is to be done with a node.
    Node(NodeOrder),
}
