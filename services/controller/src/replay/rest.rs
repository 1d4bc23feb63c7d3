//! Containers that stand still here and run in the recording, or the other way round.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{
    Action, ActionKind, ContainerId, ContainerRecord, ContainerState, OutcomeResult, PlanId,
    Timestamp,
};

use super::survey::{Recorded, Survey};

/// An engine tells the end of a container so much later than it answers that it stopped it.
const ENGINE_PLAY: Duration = Duration::from_secs(2);

/// What only this policy stopped or started, and when.
#[derive(Debug, Default)]
pub(super) struct Rests {
    stopped: BTreeMap<ContainerId, Timestamp>,
    started: BTreeMap<ContainerId, Timestamp>,
}

impl Rests {
    /// Takes an action that the recording does not hold.
    pub(super) fn assume(&mut self, action: &Action, now: Timestamp) {
        match action {
            Action::Stop { container, .. } => {
                self.started.remove(container);
                self.stopped.insert(container.clone(), now);
            }
            Action::Restart { container, .. } => {
                self.stopped.remove(container);
                self.started.insert(container.clone(), now);
            }
            Action::Recreate { .. }
            | Action::UpdateLimits { .. }
            | Action::CreateReplica { .. }
            | Action::RemoveReplica { .. }
            | Action::PullImage { .. }
            | Action::Export { .. }
            | Action::Isolate { .. }
            | Action::Rejoin { .. } => {}
        }
    }

    /// Shows a container as it is here. What is recorded of it later than what was done here goes before. `is_shared` are the recorded
    /// plans that this policy made too.
    pub(super) fn show(
        &self,
        record: &mut ContainerRecord,
        survey: &Survey,
        is_shared: impl Fn(&PlanId) -> bool,
    ) {
        if record.state == ContainerState::Exited {
            let started = self.started.get(&record.id).copied();
            let later = started.filter(|at| record.finished_at.is_none_or(|ended| ended <= *at));
            let stopper = stopper(record, survey);
            if later.is_some() || stopper.is_some_and(|plan| !is_shared(plan)) {
                record.state = ContainerState::Running;
                record.started_at = later.or(record.started_at);
                (record.finished_at, record.exit_code) = (None, None);
            }
        }
        let stopped = self.stopped.get(&record.id).copied();
        if let (ContainerState::Running, Some(at)) = (record.state, stopped)
            && record.started_at.is_none_or(|started| started <= at)
        {
            record.state = ContainerState::Exited;
            record.finished_at = Some(at);
        }
    }
}

/// The recorded plan that stopped a container for being idle, by when its engine says that it ended.
fn stopper<'a>(record: &ContainerRecord, survey: &'a Survey) -> Option<&'a PlanId> {
    let ended = record.finished_at?;
    let has_stopped = |recorded: &&Recorded| {
        let mut steps = recorded.plan.steps.iter();
        let is_it = recorded.plan.kind == ActionKind::Stop
            && steps.any(|step| *step.action.target() == record.id);
        let mut outcomes = recorded.outcomes.iter();
        is_it
            && outcomes.any(|(_, outcome)| match &outcome.result {
                OutcomeResult::Succeeded { .. }
                | OutcomeResult::Failed { .. }
                | OutcomeResult::Interrupted => {
                    (outcome.began_at..=outcome.at + ENGINE_PLAY).contains(&ended)
                }
                OutcomeResult::Refused { .. } | OutcomeResult::Vanished => false,
            })
    };
    let mut plans = survey.of_service(&record.service);
    plans.find(has_stopped).map(|recorded| &recorded.plan.id)
}
