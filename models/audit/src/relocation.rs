//! The checks of plans that take a container to another node.

use units::{
    Action, ActionKind, Approval, ContainerId, ContainerRecord, ContainerState, OutcomeResult,
    Plan, PlanEntry, Relocation, ServiceId, Step,
};

use crate::auditor::Auditor;
use crate::failover;
use crate::violation::Violation;

/// While a container moves there may be one more than the label allows: the new one comes first.
pub(crate) const SUCCESSORS_MAX: u32 = 1;

impl Auditor {
    /// Other plans of the same move.
    fn of_move<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a PlanEntry> {
        self.plans.values().filter(|entry| {
            entry.plan.relocation.is_some()
                && entry.plan.relocation == plan.relocation
                && entry.plan.service == plan.service
                && entry.plan.id != plan.id
        })
    }

    /// The move it belongs to was begun with this approval.
    pub(crate) fn is_begun_with(&self, plan: &Plan, approval: &Approval) -> bool {
        let is_lost = plan.relocation.as_ref().is_some_and(|it| it.lost);
        let first = match is_lost {
            true => ActionKind::CreateReplica,
            false => ActionKind::Export,
        };
        let mut begun = self.of_move(plan).filter(|entry| entry.plan.kind == first);
        begun.any(|entry| entry.plan.approval.as_ref() == Some(approval))
    }

    /// How the container is made, as its node told for this move.
    fn is_exported(&self, plan: &Plan, told: &str) -> bool {
        let exports = self.of_move(plan);
        let exports = exports.filter(|entry| entry.plan.kind == ActionKind::Export);
        let mut outcomes = exports.flat_map(|entry| &entry.outcomes);
        outcomes.any(|outcome| match &outcome.result {
            OutcomeResult::Succeeded { sealed, .. } => sealed.as_deref() == Some(told),
            OutcomeResult::Refused { .. }
            | OutcomeResult::Failed { .. }
            | OutcomeResult::Vanished
            | OutcomeResult::Interrupted => false,
        })
    }

    /// It was made in this move.
    fn is_successor(&self, plan: &Plan, record: &ContainerRecord) -> bool {
        let mut made = self
            .of_move(plan)
            .filter(|entry| entry.plan.kind == ActionKind::CreateReplica);
        made.any(|entry| Some(&entry.plan.id) == record.made_by.as_ref())
    }

    /// What was made in this move serves.
    fn has_successor(&self, plan: &Plan, relocation: &Relocation) -> bool {
        let node = self.node(&relocation.to);
        let mut records = node.into_iter().flat_map(|node| &node.containers);
        records.any(|record| record.is_serving() && self.is_successor(plan, record))
            || (relocation.lost && self.has_moved_on(&plan.service, relocation))
    }

    /// What was made in the place of one of a lost node has moved on since, or another was made in its place in turn, and that serves.
    fn has_moved_on(&self, service: &ServiceId, relocation: &Relocation) -> bool {
        let creations = || {
            let plans = self.plans.values().filter(|it| it.plan.service == *service);
            plans.filter(|it| it.plan.kind == ActionKind::CreateReplica)
        };
        let of = |entry: &PlanEntry| entry.plan.relocation.as_ref() == Some(relocation);
        let made: Vec<&ContainerId> = creations().filter(|it| of(it)).flat_map(made).collect();
        creations().any(|entry| {
            let Some(next) = entry.plan.relocation.as_ref() else {
                return false;
            };
            let is_next = next.at > relocation.at && made.contains(&&next.container);
            let node = self.node(&next.to).filter(|_| is_next);
            let mut records = node.into_iter().flat_map(|node| &node.containers);
            let serves =
                records.any(|it| it.is_serving() && it.made_by.as_ref() == Some(&entry.plan.id));
            serves || (is_next && self.has_moved_on(service, next))
        })
    }

    /// The one that was to go, or another that somebody put in its place, is so.
    fn has_original(
        &self,
        relocation: &Relocation,
        is_so: impl Fn(&ContainerRecord) -> bool,
    ) -> bool {
        let node = self.node(&relocation.from);
        // What a lost node told before it was lost says nothing of now.
        let node = node.filter(|node| !relocation.lost || node.at > relocation.at);
        let mut records = node.into_iter().flat_map(|node| &node.containers);
        records.any(|record| {
            let is_it = record.id == relocation.container || record.name == relocation.name;
            is_it && is_so(record)
        })
    }
}

/// What came of it, where it makes something.
fn made(entry: &PlanEntry) -> impl Iterator<Item = &ContainerId> {
    let outcomes = entry.outcomes.iter();
    outcomes.filter_map(|outcome| match &outcome.result {
        OutcomeResult::Succeeded { created, .. } => created.as_ref(),
        OutcomeResult::Refused { .. }
        | OutcomeResult::Failed { .. }
        | OutcomeResult::Vanished
        | OutcomeResult::Interrupted => None,
    })
}

/// A step of a move does nothing but what a move is made of, and what only a move is made of is done in none else.
pub(crate) fn step(
    auditor: &Auditor,
    plan: &Plan,
    step: &Step,
    record: &ContainerRecord,
    found: &mut Vec<Violation>,
) {
    let action = &step.action;
    let Some(relocation) = &plan.relocation else {
        if is_of_moves_alone(action) {
            found.push(no_part(action, record));
        }
        return;
    };
    let is_original = record.id == relocation.container;
    match action {
        Action::Export { .. } if is_original && step.node == relocation.from => {}
        Action::CreateReplica {
            origin: Some(origin),
            image: None,
            ..
        } => {
            let there = step.node == relocation.to && origin.node == relocation.from;
            // How it is made its node told before it was lost, which the one that makes it holds it against.
            let is_told = match relocation.lost {
                true => failover::is_over(auditor, relocation, record, plan.created_at),
                false => auditor.is_exported(plan, &origin.sealed),
            };
            if !is_original || !there || !is_told {
                found.push(Violation::NotItsOrigin {
                    container: record.name.clone(),
                    node: origin.node.clone(),
                });
            }
        }
        Action::Stop { .. } | Action::RemoveReplica { .. } if is_original => {
            if !auditor.has_successor(plan, relocation) {
                found.push(alone(record));
            }
        }
        Action::RemoveReplica { .. } if auditor.is_successor(plan, record) => {
            // One that does not serve now may come to serve again; where nothing else does either, it is all there is.
            let is_in_need = match record.is_serving() {
                true => !auditor.has_original(relocation, ContainerRecord::is_serving),
                false => !auditor.has_original(relocation, is_up),
            };
            if is_in_need {
                found.push(alone(record));
            }
        }
        Action::Restart { .. }
            if is_original && plan.undo_of.is_some() && record.state == ContainerState::Exited => {}
        Action::Export { .. }
        | Action::CreateReplica { .. }
        | Action::Stop { .. }
        | Action::RemoveReplica { .. }
        | Action::Restart { .. }
        | Action::Recreate { .. }
        | Action::UpdateLimits { .. }
        | Action::PullImage { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => found.push(no_part(action, record)),
    }
}

fn is_up(record: &ContainerRecord) -> bool {
    matches!(
        record.state,
        ContainerState::Running | ContainerState::Restarting
    )
}

fn is_of_moves_alone(action: &Action) -> bool {
    action.kind() == ActionKind::Export || action.origin().is_some()
}

fn no_part(action: &Action, record: &ContainerRecord) -> Violation {
    Violation::NoPartOfMove {
        container: record.name.clone(),
        kind: action.kind(),
    }
}

fn alone(record: &ContainerRecord) -> Violation {
    Violation::NoSuccessor {
        container: record.name.clone(),
    }
}
