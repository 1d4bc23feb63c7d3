//! Whether each node may be lost: what of it would not fit elsewhere, and why.

use std::collections::BTreeMap;

use super::picture::{Held, Picture};
use super::tied::Known;
use super::{Stranded, Survives, Unfit};
use crate::place::survival::stranded;
use crate::place::{ContainerIndex, HostIndex, Hosts, Intake, obstacle};

/// Containers named for one node that would find no place; the others are counted.
const NAMED_MAX: usize = 20;
/// Containers named for all nodes together: each takes a look at every node.
const NAMED_OF_ALL_MAX: usize = 200;
/// Reasons given for one container.
const REASONS_MAX: usize = 3;

/// What the loss of a node would do.
pub(super) struct Loss {
    pub(super) survives: Survives,
    pub(super) stranded: usize,
    pub(super) examples: Vec<Stranded>,
}

/// The loss of each node in turn, in the order of the hosts. The hosts are as before when this returns.
pub(super) fn losses(picture: &mut Picture<'_>) -> Vec<Loss> {
    let hosts: Vec<HostIndex> = picture.hosts.indices().collect();
    let judged = verdicts(picture, &hosts);
    let mut left = NAMED_OF_ALL_MAX;
    let mut losses = Vec::with_capacity(hosts.len());
    for (host, (survives, lost)) in hosts.into_iter().zip(judged) {
        let named = lost.len().min(NAMED_MAX).min(left);
        left -= named;
        let examples = lost[..named].iter();
        let examples = examples.map(|container| explained(picture, *container, host));
        losses.push(Loss {
            survives,
            stranded: lost.len(),
            examples: examples.collect(),
        });
    }
    losses
}

/// How many of these nodes may not be lost for all that is known: those that would strand something, and those of which it is unknown.
pub(super) fn doubtful(picture: &mut Picture<'_>, hosts: &[HostIndex]) -> usize {
    let judged = verdicts(picture, hosts).into_iter();
    judged.filter(|it| it.0 != Survives::Yes).count()
}

/// What is not known is taken both ways: as nothing, and as all that its node has left. What does not fit even then is stranded; what
/// fits even so is safe.
fn verdicts(
    picture: &mut Picture<'_>,
    hosts: &[HostIndex],
) -> Vec<(Survives, Vec<ContainerIndex>)> {
    let doubtful: Vec<HostIndex> = picture.doubtful().collect();
    let hopeful: Vec<Vec<ContainerIndex>> = hosts
        .iter()
        .map(|host| lost(&mut picture.hosts, &picture.held, *host))
        .collect();
    let opened: Vec<HostIndex> = doubtful
        .into_iter()
        .filter(|it| picture.hosts.host(*it).intake == Intake::Open)
        .collect();
    for host in &opened {
        picture.hosts.set_intake(*host, Intake::Closed);
    }
    let mut verdicts = Vec::with_capacity(hosts.len());
    for (host, stranded) in hosts.iter().zip(hopeful) {
        let is_part = |it: ContainerIndex| picture.held[it.0].known == Known::Part;
        let survives = if !stranded.is_empty() {
            Survives::No
        } else if picture.hosts.on(*host).any(|(it, _)| is_part(it)) {
            Survives::Unknown
        } else if opened.is_empty() || lost(&mut picture.hosts, &picture.held, *host).is_empty() {
            Survives::Yes
        } else {
            Survives::Unknown
        };
        verdicts.push((survives, stranded));
    }
    for host in opened {
        picture.hosts.set_intake(host, Intake::Open);
    }
    verdicts
}

/// What would be lost with a node. What is tied to its node and runs on another as well, as an agent on every node does, is not.
fn lost(hosts: &mut Hosts, held: &[Held<'_>], dead: HostIndex) -> Vec<ContainerIndex> {
    let mut lost = stranded(hosts, dead);
    lost.retain(|index| {
        let is_tied = held[index.0].tie.is_some();
        let Some((container, _)) = hosts.container(*index) else {
            return false;
        };
        !(is_tied && hosts.runs_elsewhere(&container.service, dead))
    });
    lost
}

fn explained(picture: &Picture<'_>, index: ContainerIndex, dead: HostIndex) -> Stranded {
    let held = &picture.held[index.0];
    let record = held.replica.record;
    let why = match &held.tie {
        Some(tie) => vec![Unfit {
            text: tie.clone(),
            nodes: None,
        }],
        None => why(&picture.hosts, index, dead),
    };
    Stranded {
        container: record.name.clone(),
        service: record.service.clone(),
        why,
    }
}

fn why(hosts: &Hosts, index: ContainerIndex, dead: HostIndex) -> Vec<Unfit> {
    let others = hosts.indices().filter(|it| *it != dead);
    let Some((container, _)) = hosts.container(index) else {
        return Vec::new();
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for host in others {
        let text = match obstacle(hosts, container, host) {
            Some(obstacle) => obstacle.to_string(),
            None => "what else would have to go there leaves no room".to_owned(),
        };
        *counts.entry(text).or_default() += 1;
    }
    if counts.is_empty() {
        return vec![Unfit {
            text: "there is no other node".to_owned(),
            nodes: None,
        }];
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    counts.truncate(REASONS_MAX);
    let unfit = |(text, nodes)| Unfit {
        text,
        nodes: Some(nodes),
    };
    counts.into_iter().map(unfit).collect()
}
