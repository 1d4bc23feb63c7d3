//! Plans, and the commands they consist of.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Action, ActionKind, Approval, CommandId, Generation, Mode, NodeId, PlanId, Preemption, Ratio,
    Relocation, ServiceId, SignalId, Timestamp, Update, duration_ms,
};

/// One action on one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Where.
    pub node: NodeId,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// Why a plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The signals behind it; empty when it follows from load alone.
    pub signals: Vec<SignalId>,
    /// One plain sentence.
    pub reason: String,
}

/// How it will be judged whether a plan helped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub enum Check {
    /// These signals resolve, and none of their fingerprints opens again before the judgement.
    SignalsResolve {
        /// Which.
        signals: Vec<SignalId>,
    },
    /// The service's load per replica is at or under this share of capacity.
    UtilisationAtMost {
        /// The share.
        ratio: Ratio,
    },
    /// The service does not come under overload until the judgement.
    NoOverload,
    /// The limits that were changed do what they are for: until the judgement none of their containers is killed for want of
    /// memory, nears a memory limit or waits for a CPU limit, as far as the plan changed that limit.
    LimitsHold,
    /// The containers of an update that run its image serve, healthy, and no signal tells of them what it does not tell of those
    /// that run the image before.
    ServesAsWell,
    /// The container that was made in a move serves, healthy, and nothing that calls for healing is told of it.
    SuccessorServes,
}

/// What a plan is expected to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// One plain sentence.
    pub text: String,
    /// How it is judged.
    pub check: Check,
    /// How long after the last step it is judged at the latest.
    #[serde(rename = "within_ms", with = "duration_ms")]
    pub within: Duration,
}

/// What is to be done, all of it decided. Carrying it out leaves nothing to choose, and it never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// The leader's generation when it was made.
    pub generation: Generation,
    /// For which service.
    pub service: ServiceId,
    /// The kind of all its steps.
    pub kind: ActionKind,
    /// What was allowed when it was made: a suggested plan is not carried out.
    pub mode: Mode,
    /// When it was made.
    pub created_at: Timestamp,
    /// No step begins after this.
    pub deadline: Timestamp,
    /// Why.
    pub cause: Cause,
    /// What, in order.
    pub steps: Vec<Step>,
    /// What it should do.
    pub expected: Expectation,
    /// What else was considered, each with why not.
    pub alternatives: Vec<String>,
    /// The plan this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_of: Option<PlanId>,
    /// Who let it be carried out, where the mode only allows to suggest it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The update it is a step of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// The move it is a step of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relocation: Option<Relocation>,
    /// The more important service it makes room for. Absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemption: Option<Preemption>,
    /// W3C trace context of what led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Plan {
    /// The commands of this plan, one a step.
    pub fn commands(&self) -> impl Iterator<Item = Command> + '_ {
        self.steps.iter().enumerate().map(|(index, step)| Command {
            id: CommandId::of(&self.id, index),
            plan: self.id.clone(),
            generation: self.generation,
            service: self.service.clone(),
            node: step.node.clone(),
            issued_at: self.created_at,
            deadline: self.deadline,
            action: step.action.clone(),
            approval: self.approval.clone(),
            update: self.update.clone(),
            relocation: self.relocation.clone(),
            traceparent: self.traceparent.clone(),
        })
    }
}

/// One step of a plan, on its way to an actuator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Its id; the same step always has the same.
    pub id: CommandId,
    /// The plan it belongs to.
    pub plan: PlanId,
    /// The leader's generation: an actuator refuses one older than the newest it saw.
    pub generation: Generation,
    /// The service.
    pub service: ServiceId,
    /// The node that is to carry it out.
    pub node: NodeId,
    /// When it was decided.
    pub issued_at: Timestamp,
    /// It must not begin after this.
    pub deadline: Timestamp,
    /// What to do.
    #[serde(flatten)]
    pub action: Action,
    /// Who let it be carried out, where the mode only allows to suggest it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The update it is a step of: a person ordered it, which counts as an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// The move it is a step of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relocation: Option<Relocation>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}
