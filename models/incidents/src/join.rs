//! Which signals belong together.

use std::collections::{BTreeMap, BTreeSet};

use units::{NodeId, PlanId, ServiceId, SignalId, SignalKind, Timestamp};

use crate::fleet::{Fleet, Graph};
use crate::history::History;
use crate::kinds::feels_host;
use crate::rank::change::{Change, changes};
use crate::signals::{Known, Signals};
use crate::weights::{
    CHANGE_TOLERANCE, CHANGE_WINDOW, JOIN_WINDOW, NODE_WINDOW, ONSET_TOLERANCE, SETTLE, SLOW_WINDOW,
};

/// A signal with what relates it to others.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) known: &'a Known,
    /// Where it is: the signal's own node, else the only one its service runs on.
    pub(crate) node: Option<&'a NodeId>,
    /// Digest of the image its service changed to shortly before.
    rollout: Option<&'a str>,
    /// Plans that it led to, or that came shortly before it.
    plans: Vec<&'a PlanId>,
}

impl<'a> Entry<'a> {
    pub(crate) fn kind(&self) -> SignalKind {
        self.known.signal.kind
    }

    pub(crate) fn onset(&self) -> Timestamp {
        self.known.onset
    }

    pub(crate) fn service(&self) -> Option<&'a ServiceId> {
        self.known.signal.subject.service.as_ref()
    }

    /// It is about a node as a whole.
    pub(crate) fn is_of_node(&self) -> bool {
        self.service().is_none()
    }

    fn lasts_until(&self) -> Option<Timestamp> {
        self.known.end().map(|end| end + SETTLE)
    }
}

/// All there is to join and rank by, laid out once for all incidents.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) graph: Graph<'a>,
    pub(crate) reach: BTreeMap<&'a ServiceId, BTreeSet<&'a ServiceId>>,
    pub(crate) changes: Vec<Change<'a>>,
    pub(crate) history: &'a History,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(signals: &'a Signals, fleet: &'a Fleet, history: &'a History) -> Self {
        let known = signals.in_order();
        let sick: BTreeSet<&ServiceId> = known
            .iter()
            .filter_map(|known| known.signal.subject.service.as_ref())
            .collect();
        let graph = fleet.graph();
        let reach = graph.reach(&sick);
        let changes = changes(history);
        let only_nodes = fleet.only_nodes();
        let mut by_service: BTreeMap<&ServiceId, Vec<(Timestamp, Option<&'a str>)>> =
            BTreeMap::new();
        for change in &changes {
            let news = (change.at, change.new_digest);
            by_service.entry(change.service).or_default().push(news);
        }
        let mut answers: BTreeMap<&SignalId, Vec<&PlanId>> = BTreeMap::new();
        let mut acted_for: BTreeMap<&ServiceId, Vec<(Timestamp, &PlanId)>> = BTreeMap::new();
        for (id, acted) in &history.plans {
            let plan = &acted.newest.plan;
            for signal in &plan.cause.signals {
                answers.entry(signal).or_default().push(id);
            }
            acted_for
                .entry(&plan.service)
                .or_default()
                .push((acted.at, id));
        }
        let entry = |known: &'a Known| {
            let subject = &known.signal.subject;
            let service = subject.service.as_ref();
            let at_home = service.and_then(|service| only_nodes.get(service).copied().flatten());
            let rollout = of(&by_service, service)
                .iter()
                .filter(|(at, _)| is_shortly_before(*at, known.onset))
                .filter_map(|(_, digest)| *digest)
                .next_back();
            let after = of(&acted_for, service)
                .iter()
                .filter(|(at, _)| is_shortly_before(*at, known.onset))
                .map(|(_, id)| *id);
            let plans = of(&answers, Some(&known.signal.id)).iter().copied();
            Entry {
                known,
                node: subject.node.as_ref().or(at_home),
                rollout,
                plans: plans.chain(after).collect(),
            }
        };
        Scene {
            entries: known.into_iter().map(entry).collect(),
            graph,
            reach,
            changes,
            history,
        }
    }

    /// The entries of each incident, in the order they opened: the connected parts of the relation, so the order in which anything
    /// was told does not matter.
    pub(crate) fn groups(&self) -> Vec<Vec<usize>> {
        let mut sets = Sets((0..self.entries.len()).collect());
        let mut by_onset: Vec<usize> = (0..self.entries.len()).collect();
        by_onset.sort_by_key(|index| self.entries[*index].onset());
        for (position, earlier) in by_onset.iter().enumerate() {
            for later in &by_onset[position + 1..] {
                let (first, second) = (&self.entries[*earlier], &self.entries[*later]);
                if second.onset().since(first.onset()) > SLOW_WINDOW {
                    break;
                }
                if self.are_related(first, second) {
                    sets.join(*earlier, *later);
                }
            }
        }
        self.join_containers(&mut sets, &by_onset);
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in 0..self.entries.len() {
            groups.entry(sets.root(index)).or_default().push(index);
        }
        groups.into_values().collect()
    }

    /// Whatever overlaps on one container belongs together, however long it takes.
    fn join_containers(&self, sets: &mut Sets, by_onset: &[usize]) {
        let mut by_subject: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for index in by_onset {
            let subject = &self.entries[*index].known.signal.subject;
            let lost = self.entries[*index].kind() == SignalKind::TelemetryLost;
            let whole = if subject.container.is_none() {
                Some((&subject.service, &subject.node))
            } else {
                None
            };
            by_subject
                .entry((&subject.container, whole, lost))
                .or_default()
                .push(*index);
        }
        for same in by_subject.values() {
            let mut longest: Option<usize> = None;
            for index in same {
                let entry = &self.entries[*index];
                let Some(before) = longest else {
                    longest = Some(*index);
                    continue;
                };
                let end = self.entries[before].lasts_until();
                if end.is_none_or(|end| entry.onset() <= end) {
                    sets.join(before, *index);
                }
                let later_end = entry.lasts_until();
                if end.is_some_and(|end| later_end.is_none_or(|later| later > end)) {
                    longest = Some(*index);
                }
            }
        }
    }

    /// `first` began no later than `second`, at most [`SLOW_WINDOW`] before it.
    fn are_related(&self, first: &Entry, second: &Entry) -> bool {
        // What collectors lost says nothing of what they watch.
        if [first.kind(), second.kind()].contains(&SignalKind::TelemetryLost) {
            return false;
        }
        let lag = second.onset().since(first.onset());
        let goes_on = first.lasts_until().is_none_or(|end| second.onset() <= end);
        if !goes_on && lag > JOIN_WINDOW {
            return false;
        }
        same(first.service(), second.service())
            || self.are_linked(first, second)
            || share_a_node(first, second)
            || (lag <= JOIN_WINDOW && same(first.rollout, second.rollout))
            || first.plans.iter().any(|plan| second.plans.contains(plan))
    }

    /// A sick callee explains what its callers show later, for as long as it is sick; callers seen first wait a little for it.
    fn are_linked(&self, first: &Entry, second: &Entry) -> bool {
        let (Some(one), Some(other)) = (first.service(), second.service()) else {
            return false;
        };
        let calls = |caller, callee| {
            self.reach
                .get(caller)
                .is_some_and(|callees| callees.contains(callee))
        };
        let lag = second.onset().since(first.onset());
        calls(other, one) || (calls(one, other) && lag <= JOIN_WINDOW)
    }
}

fn of<'m, K: Ord, V>(map: &'m BTreeMap<&K, Vec<V>>, key: Option<&K>) -> &'m [V] {
    key.and_then(|key| map.get(key)).map_or(&[], Vec::as_slice)
}

/// What the node's own signal covers, or what several of its containers may feel at once.
fn share_a_node(first: &Entry, second: &Entry) -> bool {
    if !same(first.node, second.node) {
        return false;
    }
    let lag = second.onset().since(first.onset());
    // What was over when the next began did not bring it about by the host alone.
    let end = first.known.end();
    if end.is_some_and(|end| second.onset() > end + ONSET_TOLERANCE) {
        return false;
    }
    if first.is_of_node() {
        return true;
    }
    if second.is_of_node() {
        return lag <= JOIN_WINDOW || feels_host(first.kind());
    }
    lag <= NODE_WINDOW && feels_host(first.kind()) && feels_host(second.kind())
}

fn same<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && one == other
}

/// Shortly enough before `onset` to have caused it; a clock may put it a little after.
pub(crate) fn is_shortly_before(at: Timestamp, onset: Timestamp) -> bool {
    at <= onset + CHANGE_TOLERANCE && onset.since(at) <= CHANGE_WINDOW
}

/// `cause` began before `effect`, or so little after it that detectors may have swapped them.
pub(crate) fn may_precede(cause: Timestamp, effect: Timestamp) -> bool {
    cause <= effect + ONSET_TOLERANCE
}

/// Disjoint sets; the root is the smallest member, so that the result does not depend on the order of joins.
struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, mut index: usize) -> usize {
        // Ends: each step goes to a smaller index.
        while self.0[index] != index {
            self.0[index] = self.0[self.0[index]];
            index = self.0[index];
        }
        index
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other)] = one.min(other);
    }
}
