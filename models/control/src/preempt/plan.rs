//! The removal that makes room.

use units::{
    ActionKind, Check, ContainerId, Expectation, NodeCapacity, Preemption, ServiceId, Timestamp,
};

use crate::capacity::Victim;
use crate::draft::Draft;
use crate::scale::Group;
use crate::shrink;
use crate::state::State;

/// What takes a replica away for another service, or for one container of it. Nothing where either is not known any more.
pub(super) fn removal(
    state: &State,
    service: &ServiceId,
    container: Option<&ContainerId>,
    victim: &Victim,
    now: Timestamp,
) -> Option<Draft> {
    let config = &state.config.scale;
    let replica = state.fleet.find(&victim.service, &victim.container)?;
    let group = Group::of(state, &victim.service, now)?;
    let frees = NodeCapacity {
        cpu: victim.frees.cpu,
        memory: victim.frees.memory,
    };
    let preemption = Preemption {
        service: service.clone(),
        priority: state.fleet.priority_least(service),
        over: state.fleet.priority(&victim.service),
        frees,
        container: container.cloned(),
    };
    let node = &victim.node;
    let name = &replica.record.name;
    let wants = match container {
        Some(container) => {
            let moving = state.fleet.find(service, container)?;
            format!(
                "{} is to leave node {}, and no other node has room for it",
                moving.record.name, moving.node
            )
        }
        None => format!("{service} needs a replica more, and all of its nodes are short"),
    };
    let (gives, over) = (&victim.service, preemption.over);
    let left = group.current.saturating_sub(1);
    let within_s = config.verdict_within.as_secs();
    Some(Draft {
        relocation: None,
        service: gives.clone(),
        kind: ActionKind::RemoveReplica,
        signals: Vec::new(),
        reason: format!(
            "{preemption}: {wants}; {gives}, of priority {over}, has {} replicas and promises {}, so {name} goes",
            group.current,
            group.policy.least()
        ),
        steps: vec![shrink::removal(&replica, config)],
        expected: Expectation {
            text: format!(
                "{} of CPU and {} of memory become free on node {node} for {service}; {left} replicas of {gives} serve on, and no overload of it opens within {within_s} s",
                frees.cpu, frees.memory
            ),
            check: Check::NoOverload,
            within: config.verdict_within,
        },
        alternatives: vec![
            format!("keep {name}: {service} is more important, and waits for room"),
            format!("take more at once: one at a time, and never what {gives} promises"),
        ],
        deadline: config.deadline,
        undo_of: None,
        approval: None,
        update: None,
        preemption: Some(preemption),
        traceparent: None,
    })
}
