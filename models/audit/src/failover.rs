//! What is made elsewhere because a node is lost, and what its own actuator stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    Action, ActionKind, ContainerId, ContainerRecord, ContainerState, Heartbeat, NodeId,
    NodeInventory, OutcomeResult, PlanEntry, Relocation, ServiceId, Step, Timestamp,
};

use crate::auditor::Auditor;

/// The newest heartbeats.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beats(BTreeMap<NodeId, Beat>);

#[derive(Debug, Clone)]
struct Beat {
    read_at: Timestamp,
    lease: Duration,
    fenced: BTreeSet<ContainerId>,
}

impl Beats {
    pub(crate) fn observe(&mut self, beat: &Heartbeat, now: Timestamp) {
        let fenced = beat.fenced.iter().map(|it| it.container.clone());
        let known = Beat {
            read_at: now,
            lease: beat.lease,
            fenced: fenced.collect(),
        };
        self.0.insert(beat.node.clone(), known);
    }
}

/// The lease of its node's actuator was over by then; where no two of it may run at once, for long enough that it has been stopped there.
pub(crate) fn is_over(
    auditor: &Auditor,
    relocation: &Relocation,
    record: &ContainerRecord,
    at: Timestamp,
) -> bool {
    let Some(beat) = auditor.beats.0.get(&relocation.from) else {
        return true;
    };
    let needed = match record.policy.singleton {
        true => beat.lease + beat.lease / 2,
        false => beat.lease,
    };
    beat.read_at + needed <= at
}

/// A restart starts what its own actuator stopped, as it last told.
pub(crate) fn is_start(auditor: &Auditor, step: &Step, record: &ContainerRecord) -> bool {
    let is_restart = matches!(step.action, Action::Restart { .. });
    let beat = auditor.beats.0.get(&step.node);
    let is_fenced = beat.is_some_and(|beat| beat.fenced.contains(&record.id));
    let allowed = record.policy.movable && record.policy.singleton;
    is_restart && allowed && is_fenced && record.state == ContainerState::Exited
}

/// Containers of the service that others were made in the place of, as their nodes were lost.
pub(crate) fn replaced<'a>(auditor: &'a Auditor, service: &ServiceId) -> Vec<&'a Relocation> {
    let made = auditor.plans.values().filter(|entry| {
        entry.plan.service == *service
            && entry.plan.kind == ActionKind::CreateReplica
            && is_made(entry)
    });
    let moves = made.filter_map(|entry| entry.plan.relocation.as_ref());
    moves.filter(|it| it.lost).collect()
}

fn is_made(entry: &PlanEntry) -> bool {
    let mut outcomes = entry.outcomes.iter();
    outcomes.any(|it| matches!(it.result, OutcomeResult::Succeeded { .. }))
}

/// The record is that of what was replaced, as its node told it before it was lost.
pub(crate) fn is_of(
    relocation: &Relocation,
    node: &NodeInventory,
    record: &ContainerRecord,
) -> bool {
    relocation.container == record.id && relocation.from == node.node && node.at <= relocation.at
}
