//! The plans of an update, each of one kind.

use std::time::Duration;

use units::{
    Action, ActionKind, Check, ContainerRecord, ContainerState, Expectation, ImageChange, PlanId,
    Step,
};

use crate::draft::Draft;
use crate::fleet::in_state;
use crate::grow::free_name;

use super::course::Fault;
use super::members::Member;
use super::next::{Look, within};

/// Which container is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first, which is watched for longer.
    Canary,
    Next,
}

/// What a container is, in a few words.
pub(crate) fn standing(record: &ContainerRecord) -> String {
    match record.state {
        ContainerState::Running => record.health.as_str().to_owned(),
        ContainerState::Created
        | ContainerState::Paused
        | ContainerState::Restarting
        | ContainerState::Exited
        | ContainerState::Dead => in_state(record),
    }
}

/// The image is brought to the nodes of these.
pub(crate) fn pull(look: &Look<'_>, first: &[&Member<'_>]) -> Draft {
    let order = look.course.order;
    let config = &look.state.config.update;
    let step = |member: &&Member<'_>| Step {
        node: member.replica.node.clone(),
        action: Action::PullImage {
            container: member.replica.record.id.clone(),
            name: member.name().clone(),
            reference: order.image.clone(),
        },
    };
    let nodes = first.len();
    Draft {
        reason: ordered(look),
        steps: first.iter().map(step).collect(),
        alternatives: vec![
            "pull as each container is replaced: an image that is not to be had would be found out halfway".to_owned(),
        ],
        deadline: config.pull_deadline,
        ..draft(
            look,
            ActionKind::PullImage,
            format!("{nodes} nodes have {} at hand; nothing that runs is touched", order.image),
            Duration::ZERO,
        )
    }
}

/// One more of the new image, beside the others.
pub(crate) fn add(look: &Look<'_>, template: &Member<'_>, image: ImageChange, turn: Turn) -> Draft {
    let within = within(turn, &look.state.config.update);
    let replicas = look.state.fleet.replicas(&look.course.order.service);
    let name = free_name(look.state, &replicas, &template.replica, &[]);
    let text = format!(
        "{name} serves from {} for {} s, and nothing is told of it that is not told of the others, which all stay as they are",
        image.to,
        within.as_secs()
    );
    Draft {
        reason: format!("{}: one is tried beside the others", ordered(look)),
        alternatives: vec![format!(
            "replace {} at once: one would serve less meanwhile",
            template.name()
        )],
        steps: vec![Step {
            node: template.replica.node.clone(),
            action: Action::CreateReplica {
                origin: None,
                template: template.replica.record.id.clone(),
                name,
                image: Some(image),
            },
        }],
        ..draft(look, ActionKind::CreateReplica, text, within)
    }
}

/// One of the new image in the place of an old one.
pub(crate) fn replace(
    look: &Look<'_>,
    member: &Member<'_>,
    image: ImageChange,
    turn: Turn,
) -> Draft {
    let within = within(turn, &look.state.config.update);
    let name = member.name();
    let done = look.members.0.iter().filter(|it| it.runs(&image.to));
    let meanwhile = match look.members.others(look.state, member, look.now) {
        0 if member.serves() => {
            format!(
                "; nothing of {} serves until the new one does",
                look.course.order.service
            )
        }
        0 => String::new(),
        others => format!("; {others} others serve meanwhile"),
    };
    let reason = match turn {
        Turn::Canary if member.is_surge => format!("{}: {name} is tried first", ordered(look)),
        Turn::Canary => format!(
            "{}: {name} is tried first, in its place, as no other can be made beside it{meanwhile}",
            ordered(look)
        ),
        Turn::Next => format!(
            "{}: {} of {} run it{meanwhile}",
            ordered(look),
            done.count(),
            look.members.0.len()
        ),
    };
    let text = format!(
        "{name} serves from {} for {} s, and nothing is told of it that is not told of those of the image before; should it not start, the old one is put back",
        image.to,
        within.as_secs()
    );
    Draft {
        reason,
        alternatives: vec![
            format!("leave {name} as it is: people ordered {}", image.to),
            "replace more at once: one at a time shows first whether it serves".to_owned(),
        ],
        steps: vec![recreate(look, member, image)],
        ..draft(look, ActionKind::Recreate, text, within)
    }
}

/// The image before, once more.
pub(crate) fn take_back(
    look: &Look<'_>,
    member: &Member<'_>,
    image: ImageChange,
    fault: &Fault,
) -> Draft {
    let within = look.state.config.update.soak;
    let text = format!("{} serves from {} again", member.name(), image.to);
    Draft {
        reason: fault.why.clone(),
        alternatives: vec![format!(
            "keep {}: it was found worse than {}",
            image.from, image.to
        )],
        steps: vec![recreate(look, member, image)],
        undo_of: Some(undone(look, fault)),
        ..draft(look, ActionKind::Recreate, text, within)
    }
}

/// What was made beside the others goes; `undo_of` where it is part of the way back.
pub(crate) fn remove(
    look: &Look<'_>,
    surge: &Member<'_>,
    reason: String,
    undo_of: Option<PlanId>,
) -> Draft {
    let others = look.members.others(look.state, surge, look.now);
    let text = format!("{others} others serve without {}", surge.name());
    Draft {
        reason,
        alternatives: vec![format!("keep {}: it was made for the update", surge.name())],
        steps: vec![Step {
            node: surge.replica.node.clone(),
            action: Action::RemoveReplica {
                container: surge.replica.record.id.clone(),
                name: surge.name().clone(),
                grace: look.state.config.update.grace,
            },
        }],
        undo_of,
        ..draft(
            look,
            ActionKind::RemoveReplica,
            text,
            look.state.config.update.soak,
        )
    }
}

/// The plan that is undone: the one that showed the fault, else the last change.
pub(crate) fn undone(look: &Look<'_>, fault: &Fault) -> PlanId {
    let last = look.course.changes().next_back();
    let last = last.or(look.course.chain.last().copied());
    let last = last.map(|entry| entry.plan.id.clone());
    let plan = fault.plan.clone().or(last);
    plan.unwrap_or_else(|| PlanId::new(look.course.order.id.as_str()))
}

fn recreate(look: &Look<'_>, member: &Member<'_>, image: ImageChange) -> Step {
    Step {
        node: member.replica.node.clone(),
        action: Action::Recreate {
            container: member.replica.record.id.clone(),
            name: member.name().clone(),
            grace: look.state.config.update.grace,
            image: Some(image),
        },
    }
}

fn ordered(look: &Look<'_>) -> String {
    look.course.order.to_string()
}

fn draft(look: &Look<'_>, kind: ActionKind, text: String, within: Duration) -> Draft {
    let order = look.course.order;
    Draft {
        relocation: None,
        preemption: None,
        service: order.service.clone(),
        kind,
        signals: Vec::new(),
        reason: String::new(),
        steps: Vec::new(),
        expected: Expectation {
            text,
            check: Check::ServesAsWell,
            within,
        },
        alternatives: Vec::new(),
        deadline: look.state.config.update.deadline,
        undo_of: None,
        approval: None,
        update: Some(order.clone()),
        traceparent: None,
    }
}
