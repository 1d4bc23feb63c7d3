//! What probably caused an incident: candidates by subject, by host and by change, scored by the same four terms.
//!
//! The terms are onset, graph, kind, and an independent fact; `weights` says how much each counts and where it comes from. A score ranks
//! the causes of one incident. It is no probability, and scores of different incidents are not comparable.

pub(crate) mod change;
mod host;
mod subject;

use std::collections::BTreeSet;
use std::time::Duration;

use units::{Ratio, ServiceId, SignalKind, Subject, Timestamp};

use crate::incident::{Cause, CauseKind, Fact};
use crate::join::{Entry, Scene, may_precede};
use crate::kinds::specificity;
use crate::weights::{CAUSES_MAX, CONFIRMED, EXPLAINED, FACTS_MAX, KIND, ONSET, ONSET_HALF, REACH};

/// The probable causes of an incident of these entries, likeliest first.
pub(crate) fn causes<'a>(scene: &'a Scene<'a>, group: &[usize]) -> Vec<Cause> {
    let case = Case::new(scene, group);
    let mut causes = subject::causes(&case);
    causes.extend(host::causes(&case));
    causes.extend(change::causes(&case));
    causes.sort_by(|a, b| {
        b.score
            .get()
            .total_cmp(&a.score.get())
            .then_with(|| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)))
    });
    causes.truncate(CAUSES_MAX);
    causes
}

/// One incident, laid out for ranking.
struct Case<'a> {
    scene: &'a Scene<'a>,
    entries: Vec<&'a Entry<'a>>,
    began: Timestamp,
    sick: Vec<Sick<'a>>,
}

/// One service of it.
struct Sick<'a> {
    service: &'a ServiceId,
    entries: Vec<&'a Entry<'a>>,
    onset: Timestamp,
    /// The services of the incident that its trouble would explain: itself, and those that call it.
    explains: BTreeSet<&'a ServiceId>,
    /// Something else explains it, and as much as it does or more.
    is_symptom: bool,
}

impl<'a> Case<'a> {
    fn new(scene: &'a Scene<'a>, group: &[usize]) -> Self {
        let entries: Vec<&Entry> = group.iter().map(|index| &scene.entries[*index]).collect();
        let services: BTreeSet<&ServiceId> =
            entries.iter().filter_map(|entry| entry.service()).collect();
        let mut sick: Vec<Sick> = services
            .into_iter()
            .map(|service| {
                let own = entries.iter().filter(|it| it.service() == Some(service));
                let own: Vec<&Entry> = own.copied().collect();
                Sick {
                    service,
                    onset: earliest(&own),
                    entries: own,
                    explains: BTreeSet::new(),
                    is_symptom: false,
                }
            })
            .collect();
        let explains: Vec<_> = sick.iter().map(|it| explained(scene, it, &sick)).collect();
        for (it, explains) in sick.iter_mut().zip(&explains) {
            it.explains.clone_from(explains);
        }
        for (index, it) in sick.iter_mut().enumerate() {
            it.is_symptom = explains
                .iter()
                .enumerate()
                .any(|(other, explains_of_other)| {
                    other != index
                        && explains_of_other.contains(it.service)
                        && explains_of_other.len() >= explains[index].len()
                });
        }
        Case {
            scene,
            began: earliest(&entries),
            entries,
            sick,
        }
    }

    /// Share of the sick services that so many are.
    fn share(&self, services: usize) -> f64 {
        services as f64 / self.sick.len().max(services).max(1) as f64
    }

    /// How early it is, from 1 at the beginning.
    fn earliness(&self, at: Timestamp) -> f64 {
        half_by(at.since(self.began), ONSET_HALF)
    }

    fn of(&self, service: &ServiceId) -> Option<&Sick<'a>> {
        self.sick.iter().find(|it| it.service == service)
    }
}

impl Sick<'_> {
    /// What is at fault, as narrowly as its signals say: one container, if they are about no other.
    fn subject(&self) -> Subject {
        let mut containers = self
            .entries
            .iter()
            .map(|entry| &entry.known.signal.subject)
            .filter(|subject| subject.container.is_some());
        match containers.next() {
            Some(first) if containers.all(|other| other.container == first.container) => {
                first.clone()
            }
            Some(_) | None => Subject::service(self.service.clone()),
        }
    }

    /// The signal that says most; of equals the earliest.
    fn lead(&self) -> &Entry<'_> {
        self.entries
            .iter()
            .rev()
            .max_by(|a, b| {
                specificity(a.kind())
                    .total_cmp(&specificity(b.kind()))
                    .then(b.onset().cmp(&a.onset()))
            })
            .expect("a service is sick by at least one entry")
    }

    fn has(&self, kind: SignalKind) -> bool {
        self.entries.iter().any(|entry| entry.kind() == kind)
    }
}

/// What a score consists of, each from 0 to 1.
struct Terms {
    onset: f64,
    reach: f64,
    kind: f64,
    confirmed: f64,
}

impl Terms {
    /// Rounded, so that equal causes are equal whatever the order of additions.
    fn score(&self) -> Ratio {
        let score =
            ONSET * self.onset + REACH * self.reach + KIND * self.kind + CONFIRMED * self.confirmed;
        Ratio::saturating((score * 1_000.0).round() / 1_000.0)
    }

    /// The same for what something else explains.
    fn explained(self) -> Self {
        Terms {
            reach: self.reach * EXPLAINED,
            kind: self.kind * EXPLAINED,
            ..self
        }
    }
}

fn cause(
    kind: CauseKind,
    subject: Subject,
    terms: &Terms,
    sentence: String,
    mut evidence: Vec<Fact>,
) -> Cause {
    evidence.sort();
    evidence.dedup();
    evidence.truncate(FACTS_MAX);
    Cause {
        kind,
        origin: kind.origin(),
        subject,
        score: terms.score(),
        sentence,
        evidence,
    }
}

fn earliest(entries: &[&Entry]) -> Timestamp {
    let onsets = entries.iter().map(|entry| entry.onset());
    onsets.min().unwrap_or(Timestamp::EPOCH)
}

/// The services that trouble of `root` explains: those that call it, through sick ones, and did not turn sick clearly before it. Slow
/// connections show on both ends, so a service that has them to several is at their middle, whoever calls.
fn explained<'a>(scene: &Scene<'a>, root: &Sick<'a>, all: &[Sick<'a>]) -> BTreeSet<&'a ServiceId> {
    let mut found = BTreeSet::from([root.service]);
    let mut open = vec![root];
    // Ends: each service is added once.
    while let Some(callee) = open.pop() {
        for caller in all {
            let calls = scene
                .reach
                .get(caller.service)
                .is_some_and(|callees| callees.contains(callee.service));
            if calls && may_precede(callee.onset, caller.onset) && found.insert(caller.service) {
                open.push(caller);
            }
        }
    }
    if root.has(SignalKind::NetworkDelay) {
        let calls = |caller: &Sick, callee: &Sick| {
            let mut callees = scene.graph.callees(caller.service);
            callees.any(|it| it == callee.service)
        };
        let slow: Vec<_> = all
            .iter()
            .filter(|it| it.service != root.service && it.has(SignalKind::NetworkDelay))
            .filter(|it| calls(it, root) || calls(root, it))
            .map(|it| it.service)
            .collect();
        if slow.len() > 1 {
            found.extend(slow);
        }
    }
    found
}

/// What an entry says.
fn fact(entry: &Entry) -> Fact {
    let signal = &entry.known.signal;
    Fact {
        at: entry.onset(),
        text: format!("{} of {}: {}", signal.kind, signal.subject, signal.reason),
        signal: Some(signal.id.clone()),
    }
}

fn half_by(lag: Duration, half: Duration) -> f64 {
    0.5_f64.powf(lag.as_secs_f64() / half.as_secs_f64())
}

/// A duration as people say it.
fn span(lag: Duration) -> String {
    match lag.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

/// Names with commas and an `and`; beyond three only how many more there are.
fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        [one, other, last] => format!("{one}, {other} and {last}"),
        [one, other, rest @ ..] => format!("{one}, {other} and {} more", rest.len()),
    }
}
