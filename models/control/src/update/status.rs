//! How far an order has come, for people.

use serde::{Deserialize, Serialize};
use units::{PlanEntry, ServiceId, Timestamp, Update};

use crate::budget;
use crate::state::State;

use super::course::Course;
use super::members::{Member, Members};
use super::next::{Ending, Next};
use super::{ahead, ending_of};

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePhase {
    /// The image is brought to the nodes; nothing that runs is touched.
    Pulling,
    /// One container runs the new image and is watched.
    Canary,
    /// The others follow, one at a time.
    Rolling,
    /// What was changed goes back, one at a time.
    RollingBack,
    /// Every replica runs the image; nothing more follows.
    Finished,
    /// What was changed is as it was before; nothing more follows.
    RolledBack,
    /// Nothing was changed and nothing will be.
    Refused,
}

impl UpdatePhase {
    /// Every phase.
    pub const ALL: [UpdatePhase; 7] = [
        UpdatePhase::Pulling,
        UpdatePhase::Canary,
        UpdatePhase::Rolling,
        UpdatePhase::RollingBack,
        UpdatePhase::Finished,
        UpdatePhase::RolledBack,
        UpdatePhase::Refused,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            UpdatePhase::Pulling => "pulling",
            UpdatePhase::Canary => "canary",
            UpdatePhase::Rolling => "rolling",
            UpdatePhase::RollingBack => "rolling_back",
            UpdatePhase::Finished => "finished",
            UpdatePhase::RolledBack => "rolled_back",
            UpdatePhase::Refused => "refused",
        }
    }

    /// Nothing more follows.
    pub const fn is_final(self) -> bool {
        match self {
            UpdatePhase::Finished | UpdatePhase::RolledBack | UpdatePhase::Refused => true,
            UpdatePhase::Pulling
            | UpdatePhase::Canary
            | UpdatePhase::Rolling
            | UpdatePhase::RollingBack => false,
        }
    }
}

/// How far the newest order of a service has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStatus {
    /// The order.
    pub update: Update,
    /// Where it stands.
    pub phase: UpdatePhase,
    /// Replicas that run its image.
    pub done: u32,
    /// Replicas there are.
    pub of: u32,
    /// What it waits for, what is being done, or how it ended: one plain sentence.
    pub reason: String,
}

/// How far the newest order of a service has come.
pub(crate) fn status(state: &State, service: &ServiceId, now: Timestamp) -> Option<UpdateStatus> {
    let course = Course::of(state, service)?;
    let members = Members::of(state, &course);
    let pulled = course.pulled();
    let target = pulled.values().next();
    let runs = |it: &&Member<'_>| target.is_some_and(|image| it.runs(image));
    let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
    let (phase, reason) = match course.over {
        Some(entry) => (ended(entry), entry.plan.cause.reason.clone()),
        None => {
            let (course, next) = ahead(state, service, now)?;
            let phase = phase(&course, &next, now);
            (phase, doing(state, service, next, now))
        }
    };
    Some(UpdateStatus {
        update: course.order.clone(),
        phase,
        done: count(members.regular().filter(runs).count()),
        of: count(members.regular().count()),
        reason,
    })
}

/// What an order that is not over waits for, and until when.
pub(crate) fn waits(
    state: &State,
    service: &ServiceId,
    now: Timestamp,
) -> Option<(String, Option<Timestamp>)> {
    let (course, next) = ahead(state, service, now)?;
    match next {
        Next::Wait(why, until) => Some((format!("the {} waits: {why}", course.order), until)),
        Next::Act(_) | Next::End(..) => None,
    }
}

fn ended(entry: &PlanEntry) -> UpdatePhase {
    match ending_of(entry) {
        Ending::Finished => UpdatePhase::Finished,
        Ending::RolledBack => UpdatePhase::RolledBack,
        Ending::Refused => UpdatePhase::Refused,
    }
}

fn phase(course: &Course<'_>, next: &Next, now: Timestamp) -> UpdatePhase {
    let goes_back = match next {
        Next::Wait(..) => course.fault(now).is_some(),
        Next::Act(draft) => draft.undo_of.is_some(),
        Next::End(ending, _) => *ending != Ending::Finished,
    };
    let touched = course.changes().next().is_some();
    if goes_back && touched {
        UpdatePhase::RollingBack
    } else if !touched {
        UpdatePhase::Pulling
    } else if course.is_proven() {
        UpdatePhase::Rolling
    } else {
        UpdatePhase::Canary
    }
}

fn doing(state: &State, service: &ServiceId, next: Next, now: Timestamp) -> String {
    match next {
        Next::Wait(why, _) => why,
        Next::End(_, why) => why,
        Next::Act(draft) => {
            let budget = &state.config.budget;
            match budget::admit(&state.plans, budget, service, &draft.steps, now) {
                Ok(()) => draft.reason,
                Err(exhausted) => exhausted.why,
            }
        }
    }
}
