//! A plan in the making, and whether it may be carried out.

use std::time::Duration;

use units::{
    ActionKind, Approval, Cause, Expectation, Generation, Mode, Plan, PlanId, Preemption,
    Relocation, ServiceId, SignalId, Step, Timestamp, Update,
};

use crate::ledger::{self, Tried};
use crate::state::State;
use crate::{budget, unsettled};

/// Everything of a plan but its id, generation and time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    pub(crate) service: ServiceId,
    pub(crate) kind: ActionKind,
    pub(crate) signals: Vec<SignalId>,
    pub(crate) reason: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) expected: Expectation,
    pub(crate) alternatives: Vec<String>,
    pub(crate) deadline: Duration,
    pub(crate) undo_of: Option<PlanId>,
    /// Who let it be done, where the mode only allows to say it.
    pub(crate) approval: Option<Approval>,
    /// The update it is a step of.
    pub(crate) update: Option<Update>,
    /// The move it is a step of.
    pub(crate) relocation: Option<Relocation>,
    /// The more important service it makes room for.
    pub(crate) preemption: Option<Preemption>,
    pub(crate) traceparent: Option<String>,
}

/// What to do about one thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// Nothing; the next event about the service is soon enough.
    Nothing,
    /// Nothing; look again then.
    Wait(Timestamp),
    /// Write down what would be done, and why it is not. Look again then, if a time is given.
    Say(Box<Draft>, Option<Timestamp>),
    /// Do it.
    Act(Box<Draft>),
}

impl Draft {
    pub(crate) fn plan(
        self,
        id: PlanId,
        generation: Generation,
        mode: Mode,
        now: Timestamp,
    ) -> Plan {
        Plan {
            id,
            generation,
            service: self.service,
            kind: self.kind,
            mode,
            created_at: now,
            deadline: now + self.deadline,
            cause: Cause {
                signals: self.signals,
                reason: self.reason,
            },
            steps: self.steps,
            expected: self.expected,
            alternatives: self.alternatives,
            undo_of: self.undo_of,
            approval: self.approval,
            update: self.update,
            relocation: self.relocation,
            preemption: self.preemption,
            traceparent: self.traceparent,
        }
    }

    /// The same, said with the reason why it is not done.
    pub(crate) fn held(mut self, why: &str) -> Draft {
        self.reason = format!("{}; not done: {why}", self.reason);
        self
    }
}

/// Writes it down unless that was done before.
pub(crate) fn say(
    state: &State,
    draft: Draft,
    again: Option<Timestamp>,
    now: Timestamp,
) -> Decision {
    if state.plans.is_said(
        &draft.service,
        draft.kind,
        &draft.signals,
        &draft.steps,
        now,
    ) {
        return again.map_or(Decision::Nothing, Decision::Wait);
    }
    Decision::Say(Box::new(draft), again)
}

/// Mode, ledger, what may still go on, and budgets: the last word on whether a draft is carried out.
pub(crate) fn admit(state: &State, draft: Draft, allowed: Mode, now: Timestamp) -> Decision {
    match allowed.min(state.config.max_mode) {
        Mode::Observe => Decision::Nothing,
        Mode::Suggest => match state.plans.approval(&draft, now).cloned() {
            None => say(state, draft, None, now),
            approval @ Some(_) => within_bounds(state, Draft { approval, ..draft }, now),
        },
        Mode::Act => within_bounds(state, draft, now),
    }
}

/// Budgets alone: a person's order is consent to what the mode lets be suggested, and nothing of it is tried twice.
pub(crate) fn admit_ordered(state: &State, draft: Draft, now: Timestamp) -> Decision {
    within_budget(state, draft, now)
}

/// Ledger, what may still go on, and budgets.
fn within_bounds(state: &State, draft: Draft, now: Timestamp) -> Decision {
    let config = &state.config.ledger;
    let tried = Tried::of(draft.kind, &draft.expected.check);
    // What replicas did not help against says nothing of a move, which has waits of its own.
    let quarantined = match draft.relocation {
        Some(_) => None,
        None => ledger::quarantined(&state.plans, config, &draft.service, tried, now),
    };
    if let Some(until) = quarantined {
        let why = format!(
            "{} did not help {} the last {} times, so it is left alone until {until}",
            draft.kind, draft.service, config.losses
        );
        return say(state, draft.held(&why), Some(until), now);
    }
    within_budget(state, draft, now)
}

fn within_budget(state: &State, draft: Draft, now: Timestamp) -> Decision {
    if let Some(open) = unsettled::before(state, &draft.service, &draft.steps, now) {
        return Decision::Wait(open.until);
    }
    match budget::admit(
        &state.plans,
        &state.config.budget,
        &draft.service,
        &draft.steps,
        now,
    ) {
        Ok(()) => Decision::Act(Box::new(draft)),
        Err(exhausted) => say(
            state,
            draft.held(&exhausted.why),
            Some(exhausted.until),
            now,
        ),
    }
}
