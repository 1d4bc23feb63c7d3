//! Candidates that were done: deploys, changed limits, stops, and what Homeostat itself did.

use std::collections::BTreeMap;

use units::{ActionKind, ContainerId, ServiceId, Subject, Timestamp};

use crate::history::{Acted, History, Story, Touch};
use crate::incident::{Cause, CauseKind, Fact};
use crate::join::{Entry, is_shortly_before};
use crate::weights::{
    ACTION_SPAN, CHANGE_HALF, CHANGE_TOLERANCE, DEPLOY_SPAN, FIRST_START, SIBLING,
};

use super::{Case, Sick, Terms, cause, earliest, fact, half_by, span};

/// Something done to a service.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) at: Timestamp,
    pub(crate) service: &'a ServiceId,
    /// The image it brought, when the service ran another one before.
    pub(crate) new_digest: Option<&'a str>,
    kind: CauseKind,
    subject: Subject,
    /// What was done, as `… was …`.
    text: String,
    /// How much of a change it is, from 0 to 1.
    weight: f64,
    plan: Option<&'a Acted>,
}

/// Every change known, oldest first.
pub(crate) fn changes(history: &History) -> Vec<Change<'_>> {
    let ours = Ours::new(history);
    let mut made: BTreeMap<&ServiceId, Vec<Timestamp>> = BTreeMap::new();
    for story in history.stories.values() {
        if let Some(created) = story.created {
            made.entry(&story.service).or_default().push(created);
        }
    }
    let mut found: Vec<Change> = history.plans.values().map(action).collect();
    for (id, story) in &history.stories {
        if let Some(at) = story.created
            && story.made_by.is_none()
            && !ours.did(id, at)
        {
            let siblings = made.get(&story.service).map_or(&[][..], Vec::as_slice);
            found.push(deploy(history, id, story, at, siblings));
        }
        for (at, touch) in &story.touched {
            let replaced = *touch == Touch::Stopped
                && made.get(&story.service).is_some_and(|made| {
                    made.iter().any(|made| {
                        made.since(*at) <= DEPLOY_SPAN && at.since(*made) <= DEPLOY_SPAN
                    })
                });
            if !replaced && !ours.did(id, *at) {
                found.push(touched(id, story, *at, *touch));
            }
        }
    }
    found.sort_by(|a, b| (a.at, a.kind, &a.subject).cmp(&(b.at, b.kind, &b.subject)));
    found
}

pub(super) fn causes(case: &Case) -> Vec<Cause> {
    // One cause a service and kind: the likeliest change stands for it.
    let mut best: BTreeMap<(&ServiceId, CauseKind), Cause> = BTreeMap::new();
    for change in &case.scene.changes {
        for sick in &case.sick {
            let Some(cause) = of(case, change, sick) else {
                continue;
            };
            let key = (change.service, change.kind);
            if best
                .get(&key)
                .is_none_or(|known| known.score.get() <= cause.score.get())
            {
                best.insert(key, cause);
            }
        }
    }
    best.into_values().collect()
}

/// The change as a cause of what is wrong with `sick`: it was done to that service, or to one it calls.
fn of(case: &Case, change: &Change, sick: &Sick) -> Option<Cause> {
    let is_own = change.service == sick.service;
    let is_callee = || {
        let mut callees = case.scene.graph.callees(sick.service);
        callees.any(|callee| callee == change.service)
    };
    if !is_own && (case.of(change.service).is_some() || !is_callee()) {
        return None;
    }
    let after: Vec<&Entry> = sick
        .entries
        .iter()
        .copied()
        .filter(|entry| change.at <= entry.onset() + CHANGE_TOLERANCE)
        .filter(|entry| {
            let signal = &entry.known.signal.id;
            !change.plan.is_some_and(|plan| plan.answers(signal))
        })
        .collect();
    let onset = earliest(&after);
    if after.is_empty() || !is_shortly_before(change.at, onset) {
        return None;
    }
    let lag = onset.since(change.at);
    let sick_container = sick.subject().container;
    let of_sibling = is_own
        && sick_container.is_some()
        && change.subject.container.is_some()
        && sick_container != change.subject.container;
    let nearness = if of_sibling { SIBLING } else { 1.0 };
    let near = half_by(lag, CHANGE_HALF) * change.weight * nearness;
    let reached = case
        .sick
        .iter()
        .filter(|it| sick.explains.contains(it.service) || same_rollout(case, change, it))
        .filter(|it| change.at <= it.onset + CHANGE_TOLERANCE)
        .count();
    let terms = Terms {
        onset: case.earliness(onset),
        reach: case.share(reached),
        kind: near,
        confirmed: near,
    };
    let terms = if sick.is_symptom {
        terms.explained()
    } else {
        terms
    };
    let sentence = format!(
        "{}, {} before {} turned sick",
        change.text,
        span(lag),
        sick.service
    );
    let mut evidence = vec![Fact {
        at: change.at,
        text: change.text.clone(),
        signal: None,
    }];
    evidence.extend(after.iter().map(|entry| fact(entry)));
    let subject = change.subject.clone();
    Some(cause(change.kind, subject, &terms, sentence, evidence))
}

/// The same new image went to that service too.
fn same_rollout(case: &Case, change: &Change, sick: &Sick) -> bool {
    change.new_digest.is_some()
        && case.scene.changes.iter().any(|other| {
            other.service == sick.service
                && other.new_digest == change.new_digest
                && is_shortly_before(other.at, sick.onset)
        })
}

fn deploy<'a>(
    history: &'a History,
    id: &ContainerId,
    story: &'a Story,
    at: Timestamp,
    siblings: &[Timestamp],
) -> Change<'a> {
    let images = history.images.get(&story.service);
    let images = images.map_or(&[][..], Vec::as_slice);
    let own = images.iter().position(|image| image.digest == story.digest);
    let is_new = |first: Timestamp| at.since(first) <= DEPLOY_SPAN;
    let replaced = own
        .filter(|own| is_new(images[*own].first))
        .and_then(|own| own.checked_sub(1))
        .map(|before| &images[before]);
    let ran_before = images.iter().any(|image| !is_new(image.first))
        || siblings.iter().any(|made| !is_new(*made));
    let name = &story.name;
    let text = match (replaced, own) {
        (Some(before), Some(own)) => {
            let (old, new) = (&before.reference, &images[own].reference);
            if old == new {
                format!("{name} was made from a new image of {new}")
            } else {
                format!("{name} was made from image {new}, where {old} ran before")
            }
        }
        (None, _) | (Some(_), None) if ran_before => format!("{name} was made anew"),
        (None, _) | (Some(_), None) => format!("{name} was made for the first time"),
    };
    Change {
        at,
        service: &story.service,
        new_digest: replaced.map(|_| story.digest.as_str()),
        kind: CauseKind::Deploy,
        subject: subject(id, story),
        text,
        weight: if ran_before || replaced.is_some() {
            1.0
        } else {
            FIRST_START
        },
        plan: None,
    }
}

fn touched<'a>(id: &ContainerId, story: &'a Story, at: Timestamp, touch: Touch) -> Change<'a> {
    let name = &story.name;
    let (kind, text) = match touch {
        Touch::Updated => (
            CauseKind::Change,
            format!("limits or restart policy of {name} were changed"),
        ),
        Touch::Stopped => (CauseKind::Stop, format!("{name} was stopped or killed")),
        Touch::Paused => (CauseKind::Stop, format!("{name} was paused")),
    };
    Change {
        at,
        service: &story.service,
        new_digest: None,
        kind,
        subject: subject(id, story),
        text,
        weight: 1.0,
        plan: None,
    }
}

fn action(acted: &Acted) -> Change<'_> {
    let plan = &acted.newest.plan;
    let steps: Vec<String> = plan.steps.iter().map(|it| it.action.to_string()).collect();
    let subject = match plan.steps.as_slice() {
        [step] if step.action.kind() != ActionKind::CreateReplica => Subject::container(
            plan.service.clone(),
            step.node.clone(),
            step.action.target().clone(),
            step.action.name().clone(),
        ),
        _ => Subject::service(plan.service.clone()),
    };
    Change {
        at: acted.at,
        service: &plan.service,
        new_digest: None,
        kind: CauseKind::Action,
        subject,
        text: format!(
            "Homeostat itself acted ({}; {})",
            steps.join(", "),
            plan.cause.reason
        ),
        weight: 1.0,
        plan: Some(acted),
    }
}

fn subject(id: &ContainerId, story: &Story) -> Subject {
    Subject::container(
        story.service.clone(),
        story.node.clone(),
        id.clone(),
        story.name.clone(),
    )
}

/// What the engine told of Homeostat's own actions: not somebody else's change.
struct Ours<'a>(BTreeMap<&'a ContainerId, Vec<(Timestamp, Timestamp)>>);

impl<'a> Ours<'a> {
    fn new(history: &'a History) -> Self {
        let mut windows: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for acted in history.plans.values() {
            let plan = &acted.newest.plan;
            for container in acted.containers() {
                let window = (plan.created_at, plan.deadline + ACTION_SPAN);
                windows.entry(container).or_default().push(window);
            }
        }
        Ours(windows)
    }

    fn did(&self, container: &ContainerId, at: Timestamp) -> bool {
        self.0
            .get(container)
            .is_some_and(|windows| windows.iter().any(|(from, to)| (*from..=*to).contains(&at)))
    }
}
