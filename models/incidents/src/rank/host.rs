//! Candidates that are the host's: the node itself, or one container that takes what its neighbours need.
//!
//! That the rise of one task's use, and the suffering of its neighbours, name the antagonist is the idea of CPI² (Zhang and others,
//! EuroSys 2013). It correlates the two series; here only their onsets are compared.

use std::collections::{BTreeMap, BTreeSet};

use units::{NodeId, Resource, ServiceId, SignalKind, Subject, Timestamp};

use crate::history::End;
use crate::incident::{Cause, CauseKind, Fact};
use crate::join::{Entry, may_precede};
use crate::kinds::{consumes, feels_host, short_of, waits_for_disk};
use crate::weights::{JOIN_WINDOW, NEIGHBOUR_KIND, NODE_KIND, SHARED_NODE_SURE};

use super::{Case, Terms, cause, earliest, fact, list};

pub(super) fn causes(case: &Case) -> Vec<Cause> {
    let mut by_node: BTreeMap<&NodeId, Vec<&Entry>> = BTreeMap::new();
    for entry in &case.entries {
        if let Some(node) = entry.node {
            by_node.entry(node).or_default().push(entry);
        }
    }
    let mut found = Vec::new();
    for (node, entries) in by_node {
        let place = Place::new(node, entries);
        let neighbours = place.neighbours(case);
        found.extend(place.itself(case, &neighbours));
        found.extend(neighbours);
    }
    found
}

/// What of an incident is on one node.
struct Place<'a> {
    node: &'a NodeId,
    entries: Vec<&'a Entry<'a>>,
    /// The node's own signals.
    own: Vec<&'a Entry<'a>>,
}

impl<'a> Place<'a> {
    fn new(node: &'a NodeId, entries: Vec<&'a Entry<'a>>) -> Self {
        let own = entries
            .iter()
            .filter(|entry| entry.is_of_node() && tells_of_itself(entry.kind()));
        Place {
            node,
            own: own.copied().collect(),
            entries,
        }
    }

    fn pressure(&self) -> Option<&'a Entry<'a>> {
        let mut own = self.own.iter().copied();
        own.find(|entry| entry.kind() == SignalKind::NodePressure)
    }

    /// The node as the cause: it says so itself, or several services on it are sick and none of them explains another.
    fn itself(&self, case: &Case, neighbours: &[Cause]) -> Option<Cause> {
        let confirmed = !self.own.is_empty();
        let felt: Vec<&Entry> = self
            .entries
            .iter()
            .copied()
            .filter(|entry| confirmed || feels_host(entry.kind()))
            .collect();
        let services: BTreeSet<&ServiceId> = felt.iter().filter_map(|it| it.service()).collect();
        let roots = services
            .iter()
            .filter(|service| case.of(service).is_some_and(|it| !it.is_symptom))
            .count();
        if !confirmed && roots < 2 {
            return None;
        }
        let shared = (roots.saturating_sub(1) as f64 / SHARED_NODE_SURE).min(NODE_KIND);
        let kind = match (confirmed, neighbours.is_empty()) {
            (true, true) => NODE_KIND,
            // The neighbour explains the node's trouble, or as much of it as is known.
            (true, false) => NODE_KIND / 2.0,
            (false, true) => shared,
            (false, false) => shared / 2.0,
        };
        let terms = Terms {
            onset: case.earliness(earliest(&felt)),
            reach: case.share(services.len().max(usize::from(confirmed))),
            kind,
            confirmed: f64::from(u8::from(confirmed)),
        };
        let mut evidence: Vec<Fact> = self.own.iter().map(|entry| fact(entry)).collect();
        evidence.extend(
            services
                .iter()
                .filter_map(|service| case.of(service))
                .filter_map(|it| it.entries.first().map(|entry| fact(entry))),
        );
        evidence.extend(self.killed(case));
        let sentence = self.sentence(&services);
        let subject = Subject::node(self.node.clone());
        Some(cause(CauseKind::Node, subject, &terms, sentence, evidence))
    }

    fn sentence(&self, services: &BTreeSet<&ServiceId>) -> String {
        let names: Vec<String> = services.iter().map(ToString::to_string).collect();
        let node = self.node;
        let what = match (self.pressure(), self.own.is_empty()) {
            (Some(entry), _) => match short_of(&entry.known.signal) {
                Some(resource) => format!("node {node} is short of {}", resource.as_str()),
                None => format!("node {node} is short of what its containers share"),
            },
            (None, false) => format!("node {node} tells nothing any more"),
            (None, true) => {
                return format!(
                    "{} turned sick together on node {node}, and none of them explains the others",
                    list(&names)
                );
            }
        };
        match names.as_slice() {
            [] => what,
            _ => format!("{what}; {} on it turned sick", list(&names)),
        }
    }

    /// The kernel's own word for a lack of memory.
    fn killed(&self, case: &Case) -> Vec<Fact> {
        let stories = case.scene.history.stories.values();
        stories
            .filter(|story| story.node == *self.node)
            .flat_map(|story| story.ends.iter().map(move |(at, end)| (story, *at, *end)))
            .filter(|(_, at, end)| {
                *end == End::OutOfMemory
                    && case.began.since(*at) <= JOIN_WINDOW
                    && at.since(case.began) <= JOIN_WINDOW
            })
            .map(|(story, at, _)| Fact {
                at,
                text: format!("the kernel killed {} for want of memory", story.name),
                signal: None,
            })
            .collect()
    }

    /// Containers that began to take more before others on the node suffered, or before the node itself ran short of it.
    fn neighbours(&self, case: &Case) -> Vec<Cause> {
        let takers = self.entries.iter().filter_map(|entry| {
            let resource = consumes(&entry.known.signal).or_else(|| self.waits_alone(entry))?;
            entry.known.signal.subject.container.as_ref()?;
            Some((*entry, resource))
        });
        // One cause a container: its earliest signal stands for it.
        let mut by_container: BTreeMap<_, (&Entry, Resource)> = BTreeMap::new();
        for (entry, resource) in takers {
            let known = by_container.entry(&entry.known.signal.subject.container);
            let best = known.or_insert((entry, resource));
            if entry.onset() < best.0.onset() {
                *best = (entry, resource);
            }
        }
        by_container
            .into_values()
            .filter_map(|(taker, resource)| self.neighbour(case, taker, resource))
            .collect()
    }

    /// Who alone waits for the disk is taken to keep it busy, since bytes are not counted everywhere. Where somebody else is known
    /// to take more of it, or others wait as well, who waits is a victim for all that is known.
    fn waits_alone(&self, waiter: &Entry) -> Option<Resource> {
        let own = waiter.known.signal.subject.container.as_ref();
        let alone = !self.entries.iter().any(|entry| {
            let signal = &entry.known.signal;
            let other = signal.subject.container.as_ref() != own;
            other && (waits_for_disk(signal) || consumes(signal) == Some(Resource::Disk))
        });
        (alone && waits_for_disk(&waiter.known.signal)).then_some(Resource::Disk)
    }

    fn neighbour(&self, case: &Case, taker: &Entry, resource: Resource) -> Option<Cause> {
        let service = taker.service()?;
        let own = case.of(service)?;
        let pressure = self.pressure().filter(|entry| {
            short_of(&entry.known.signal).is_none_or(|short| short == resource)
                && may_precede(taker.onset(), entry.onset())
        });
        // Memory hurts neighbours only where the node itself runs short of it.
        if resource == Resource::Memory && pressure.is_none() {
            return None;
        }
        let victims: Vec<&Entry> = self
            .entries
            .iter()
            .copied()
            .filter(|entry| pressure.is_some() || feels_host(entry.kind()))
            .filter(|entry| suffers(entry, taker.onset()))
            .filter(|entry| {
                entry.service().is_some_and(|victim| {
                    victim != service
                        && !own.explains.contains(victim)
                        && case
                            .of(victim)
                            .is_none_or(|it| !it.explains.contains(service))
                })
            })
            .collect();
        let names: BTreeSet<&ServiceId> = victims.iter().filter_map(|it| it.service()).collect();
        if names.is_empty() && pressure.is_none() {
            return None;
        }
        let terms = Terms {
            onset: case.earliness(taker.onset()),
            reach: case.share(names.len() + own.explains.len()),
            kind: pressure.map_or(NEIGHBOUR_KIND, |_| 1.0),
            confirmed: pressure.map_or(0.0, |_| 1.0),
        };
        let suffered = match names.is_empty() {
            true => "the node ran short of it".to_owned(),
            false => {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                format!("{} beside it suffered", list(&names))
            }
        };
        let (subject, node) = (&taker.known.signal.subject, self.node);
        let what = resource.as_str();
        let sentence = match waits_for_disk(&taker.known.signal) {
            true => format!(
                "{subject} alone waited for the {what} of node {node} as it never did, and {suffered}"
            ),
            false => format!(
                "{subject} took more {what} of node {node} than it ever did, and {suffered}"
            ),
        };
        let mut evidence = vec![fact(taker)];
        evidence.extend(pressure.iter().map(|entry| fact(entry)));
        evidence.extend(victims.iter().map(|entry| fact(entry)));
        let subject = taker.known.signal.subject.clone();
        Some(cause(
            CauseKind::NoisyNeighbour,
            subject,
            &terms,
            sentence,
            evidence,
        ))
    }
}

/// A node's own signal that explains what is on it.
fn tells_of_itself(kind: SignalKind) -> bool {
    [SignalKind::NodePressure, SignalKind::TelemetryMissing].contains(&kind)
}

/// It went without something from `since` on, and did not take more itself.
fn suffers(entry: &Entry, since: Timestamp) -> bool {
    entry.kind() != SignalKind::TelemetryLost
        && consumes(&entry.known.signal).is_none()
        && may_precede(since, entry.onset())
}
