//! What the nodes hold, as they last said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{
    ContainerId, ContainerRecord, ContainerState, NodeCapacity, NodeFacts, NodeId, NodeInventory,
    ScaleTarget, ServiceId, Steady, Timestamp,
};

use crate::clock_error::ClockError;
use crate::pace::{Pace, Standing, heard_at};
use crate::ranks::Ranks;

/// A clock is taken to be off by as much as it was this long ago at most: it may have been set since.
const ERROR_HOLDS: Duration = Duration::from_secs(10);
/// A clock that is further ahead of this side's than this is known to be off by looking at it alone.
const AHEAD_PLAY: Duration = Duration::from_secs(5);

/// All nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    nodes: BTreeMap<NodeId, Node>,
    by_service: BTreeMap<ServiceId, BTreeSet<(NodeId, ContainerId)>>,
    /// Whose series is asked for, who is scaled by it, and on which node.
    by_asked: BTreeSet<(ServiceId, ServiceId, NodeId)>,
    ranks: Ranks,
    /// Oldest first, so that the silent ones are found without looking at all.
    by_age: BTreeSet<(Timestamp, NodeId)>,
    /// When all that was in the topics before had been read.
    caught_up_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Node {
    /// When it last spoke, by its own clocks.
    at: Timestamp,
    steady: Option<Steady>,
    heard: Heard,
    capacity: NodeCapacity,
    facts: NodeFacts,
    containers: BTreeMap<ContainerId, ContainerRecord>,
    /// Of these, what others were made in the place of.
    replaced: BTreeSet<ContainerId>,
}

/// What is known of when a node last spoke.
#[derive(Debug, Clone, Copy)]
struct Heard {
    /// When what it last told was so, by the clock of this side, as far as is known.
    at: Timestamp,
    /// When it last spoke: it is not silent while it tells only what waited, or by a clock that is behind.
    spoke_at: Timestamp,
    pace: Option<Pace>,
    certainty: Certainty,
    /// Unknown before its steady clock has been seen to go on with this side's.
    error: Option<ClockError>,
}

/// A container with its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replica<'a> {
    pub(crate) node: &'a NodeId,
    /// When its node last spoke, by the clock of this side.
    pub(crate) seen_at: Timestamp,
    pub(crate) certainty: Certainty,
    /// Its node is lost, and another was made in its place.
    pub(crate) is_replaced: bool,
    pub(crate) record: &'a ContainerRecord,
}

/// A node with what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownNode<'a> {
    pub(crate) node: &'a NodeId,
    /// When it last spoke, by the clock of this side.
    pub(crate) spoke_at: Timestamp,
    /// None of it where it did not say.
    pub(crate) capacity: NodeCapacity,
    pub(crate) facts: &'a NodeFacts,
}

/// How sure it is when a node last spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    Sure,
    /// Its time of day alone says so, which may be off: its last word lay in the topic before this side began to read, or waited on the
    /// node for all that is known, or came from a time that is yet to be.
    Doubtful,
}

impl Replica<'_> {
    /// It serves or will: one that starts, is paused or is sick comes back, and must not be replaced twice. One that is isolated is
    /// people's, and no capacity before they put it back; and one of a lost node is none once another was made in its place.
    pub(crate) fn counts(&self) -> bool {
        if self.record.is_isolated() || self.is_replaced {
            return false;
        }
        match self.record.state {
            ContainerState::Running | ContainerState::Paused => true,
            ContainerState::Created => self.record.made_by.is_some(),
            ContainerState::Restarting | ContainerState::Exited | ContainerState::Dead => false,
        }
    }
}

impl Node {
    fn replica<'a>(&self, node: &'a NodeId, record: &'a ContainerRecord) -> Replica<'a> {
        Replica {
            node,
            seen_at: self.heard.at,
            certainty: self.heard.certainty,
            is_replaced: self.replaced.contains(&record.id),
            record,
        }
    }
}

/// Nodes that stopped speaking, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) silent: usize,
    pub(crate) known: usize,
}

impl Fleet {
    /// All that was in the topics has been read: what comes now is told now, or waited on its node.
    pub(crate) fn caught_up(&mut self, now: Timestamp) {
        self.caught_up_at.get_or_insert(now);
    }

    pub(crate) fn caught_up_at(&self) -> Option<Timestamp> {
        self.caught_up_at
    }

    /// Takes a node's state, read now, unless a newer one is known. Returns the services it concerns.
    pub(crate) fn apply(
        &mut self,
        inventory: NodeInventory,
        now: Timestamp,
    ) -> BTreeSet<ServiceId> {
        let mut touched = BTreeSet::new();
        let known = self.nodes.get(&inventory.node);
        if known.is_some_and(|known| !inventory.is_newer_than(known.at, known.steady)) {
            return touched;
        }
        let heard = self.hear(known.map(|known| known.heard), &inventory, now);
        let NodeInventory {
            node,
            at,
            containers,
            steady,
            capacity,
            facts,
            engine: _,
        } = inventory;
        touched.extend(self.remove(&node));
        for record in &containers {
            touched.insert(record.service.clone());
            self.by_asked.extend(asked(record, &node));
            self.by_service
                .entry(record.service.clone())
                .or_default()
                .insert((node.clone(), record.id.clone()));
        }
        self.by_age.insert((heard.spoke_at, node.clone()));
        let containers = containers
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect::<BTreeMap<_, _>>();
        for record in containers.values() {
            self.ranks.add(record);
        }
        let state = Node {
            at,
            steady,
            heard,
            capacity,
            facts,
            containers,
            replaced: BTreeSet::new(),
        };
        self.nodes.insert(node, state);
        touched
    }

    /// Forgets a node and what it holds. Returns the services it concerns.
    pub(crate) fn remove(&mut self, node: &NodeId) -> BTreeSet<ServiceId> {
        let mut touched = BTreeSet::new();
        let Some(known) = self.nodes.remove(node) else {
            return touched;
        };
        self.by_age.remove(&(known.heard.spoke_at, node.clone()));
        for record in known.containers.values() {
            self.ranks.remove(record);
            if let Some(asked) = asked(record, node) {
                self.by_asked.remove(&asked);
            }
            touched.insert(record.service.clone());
            if let Some(members) = self.by_service.get_mut(&record.service) {
                members.remove(&(node.clone(), record.id.clone()));
                if members.is_empty() {
                    self.by_service.remove(&record.service);
                }
            }
        }
        touched
    }

    fn hear(&self, before: Option<Heard>, inventory: &NodeInventory, now: Timestamp) -> Heard {
        // What lay in the topic was not read as fast as it was made: nothing that is told now goes by it.
        let is_told = |pace: &Pace| self.caught_up_at.is_none_or(|at| pace.here > at);
        let pace = before.and_then(|before| before.pace).filter(is_told);
        let (heard_at, pace) = heard_at(pace, inventory, now);
        let error = match pace {
            Some(pace) if pace.standing == Standing::Proven => Some(ClockError {
                ahead_ms: inventory.at.as_millis() - heard_at.as_millis(),
                seen_at: heard_at,
            }),
            Some(_) | None => before.and_then(|before| before.error),
        };
        let certainty = match pace {
            // A collector that tells no steady clock: there is nothing better than its time of day.
            None => Certainty::Sure,
            Some(pace) => match pace.standing {
                Standing::Proven => Certainty::Sure,
                Standing::Likely
                    if self.caught_up_at.is_some() && inventory.at <= now + AHEAD_PLAY =>
                {
                    Certainty::Sure
                }
                Standing::Likely | Standing::Open => Certainty::Doubtful,
            },
        };
        let is_proven = pace.is_none_or(|pace| pace.standing == Standing::Proven);
        let spoke_at = match self.caught_up_at {
            Some(_) if !is_proven => now,
            Some(_) | None => heard_at,
        };
        Heard {
            at: heard_at,
            spoke_at,
            pace,
            certainty,
            error,
        }
    }

    /// Every container of a service, by node and id.
    pub(crate) fn replicas(&self, service: &ServiceId) -> Vec<Replica<'_>> {
        let members = self.by_service.get(service).into_iter().flatten();
        members
            .filter_map(|(node, container)| self.lookup(node, container))
            .collect()
    }

    /// Whether all containers have the same priority.
    pub(crate) fn is_level(&self) -> bool {
        self.ranks.is_level()
    }

    /// The highest priority of a service's containers; none where there are none.
    pub(crate) fn priority(&self, service: &ServiceId) -> u32 {
        self.ranks.highest(service).unwrap_or(0)
    }

    /// The lowest: what it may claim before others.
    pub(crate) fn priority_least(&self, service: &ServiceId) -> u32 {
        self.ranks.lowest(service).unwrap_or(0)
    }

    /// One container of a service.
    pub(crate) fn find(&self, service: &ServiceId, container: &ContainerId) -> Option<Replica<'_>> {
        let members = self.by_service.get(service)?;
        let (node, id) = members.iter().find(|(_, id)| id == container)?;
        self.lookup(node, id)
    }

    fn lookup(&self, node: &NodeId, container: &ContainerId) -> Option<Replica<'_>> {
        let (node, held) = self.nodes.get_key_value(node)?;
        let record = held.containers.get(container)?;
        Some(held.replica(node, record))
    }

    /// Every container of a node.
    pub(crate) fn on_node<'a>(&'a self, node: &NodeId) -> impl Iterator<Item = Replica<'a>> {
        let held = self.nodes.get_key_value(node).into_iter();
        held.flat_map(Self::held)
    }

    /// Every node that spoke at or after `since`, by name.
    pub(crate) fn known(&self, since: Timestamp) -> impl Iterator<Item = KnownNode<'_>> {
        let nodes = self.nodes.iter().map(|(node, held)| KnownNode {
            node,
            spoke_at: held.heard.spoke_at,
            capacity: held.capacity,
            facts: &held.facts,
        });
        nodes.filter(move |known| known.spoke_at >= since)
    }

    /// When a node was last heard, by the clock of this side, and whether that is sure.
    pub(crate) fn heard(&self, node: &NodeId) -> Option<(Timestamp, Certainty)> {
        let heard = self.nodes.get(node)?.heard;
        Some((heard.at, heard.certainty))
    }

    /// When a node last spoke, by the clock of this side: it is not silent while it tells only what waited.
    pub(crate) fn spoke_at(&self, node: &NodeId) -> Option<Timestamp> {
        self.nodes.get(node).map(|it| it.heard.spoke_at)
    }

    /// The zone a node says it is in.
    pub(crate) fn zone(&self, node: &NodeId) -> Option<&str> {
        self.nodes.get(node)?.facts.zone.as_deref()
    }

    /// Another was made in the place of this container, unless its node was heard after `at`.
    pub(crate) fn replace(&mut self, node: &NodeId, container: &ContainerId, at: Timestamp) {
        if let Some(node) = self.nodes.get_mut(node)
            && node.heard.at <= at
            && node.containers.contains_key(container)
        {
            node.replaced.insert(container.clone());
        }
    }

    /// Every container.
    pub(crate) fn everywhere(&self) -> impl Iterator<Item = Replica<'_>> {
        self.nodes.iter().flat_map(Self::held)
    }

    fn held<'a>((node, held): (&'a NodeId, &'a Node)) -> impl Iterator<Item = Replica<'a>> {
        let records = held.containers.values();
        records.map(move |record| held.replica(node, record))
    }

    /// The services that are scaled by what another one tells.
    pub(crate) fn scaled_by(&self, teller: &ServiceId) -> impl Iterator<Item = &ServiceId> {
        let first = (teller.clone(), ServiceId::from(""), NodeId::from(""));
        let asked = self.by_asked.range(first..);
        asked
            .take_while(move |(of, _, _)| of == teller)
            .map(|(_, scaled, _)| scaled)
    }

    /// Every service, by name.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceId> {
        self.by_service.keys()
    }

    pub(crate) fn service_count(&self) -> usize {
        self.by_service.len()
    }

    /// A time that a node told, by the clock of this side, as far as is known how far the node's clock is off.
    pub(crate) fn here(&self, node: &NodeId, told: Timestamp) -> Timestamp {
        let error = self.nodes.get(node).and_then(|node| node.heard.error);
        error.map_or(told, |error| error.here(told))
    }

    /// The latest that something which a node told can have been, by the clock of this side, when it was read at `read_at`. While it is
    /// yet to be seen how far the node's clock is off, or was when this was told, it can have been just then. A node that tells no steady
    /// clock is taken at its word.
    pub(crate) fn latest_here(
        &self,
        node: &NodeId,
        told: Timestamp,
        read_at: Timestamp,
    ) -> Timestamp {
        if let Some(known) = self.known_here(node, told, read_at) {
            return known;
        }
        let node = self.nodes.get(node);
        let is_awaited = node.is_some_and(|it| it.heard.error.is_some() || it.steady.is_some());
        if is_awaited {
            read_at
        } else {
            told.min(read_at)
        }
    }

    /// When something was that a node told, by the clock of this side, when it was read at `read_at`; nothing while it is yet to be seen how
    /// far the node's clock is off, or was when this was told.
    pub(crate) fn known_here(
        &self,
        node: &NodeId,
        told: Timestamp,
        read_at: Timestamp,
    ) -> Option<Timestamp> {
        let error = self.nodes.get(node)?.heard.error?;
        let holds = error.seen_at + ERROR_HOLDS >= read_at;
        holds.then(|| error.here(told).min(read_at))
    }

    /// What a node has to give; nothing where it did not say.
    pub(crate) fn capacity(&self, node: &NodeId) -> NodeCapacity {
        self.nodes
            .get(node)
            .map_or_else(NodeCapacity::default, |node| node.capacity)
    }

    /// Nodes that have not spoken for `stale`. One silent for `forgotten` is gone, not silent.
    pub(crate) fn silence(&self, now: Timestamp, stale: Duration, forgotten: Duration) -> Silence {
        let gone_before = now - forgotten;
        let silent_before = now - stale;
        let mut silence = Silence {
            silent: 0,
            known: self.by_age.len(),
        };
        for (at, _) in &self.by_age {
            if *at < gone_before {
                silence.known -= 1;
            } else if *at < silent_before {
                silence.silent += 1;
            } else {
                break;
            }
        }
        silence
    }

    /// Every node with when it last spoke, earliest first.
    pub(crate) fn last_seen(&self) -> impl Iterator<Item = (&NodeId, Timestamp)> {
        self.by_age.iter().map(|(at, node)| (node, *at))
    }

    /// Containers of the nodes that spoke at or after `since`, by state.
    pub(crate) fn states(&self, since: Timestamp) -> BTreeMap<ContainerState, u32> {
        let mut states: BTreeMap<ContainerState, u32> = ContainerState::ALL
            .into_iter()
            .map(|state| (state, 0))
            .collect();
        let known = self
            .nodes
            .values()
            .filter(|node| node.heard.spoke_at >= since);
        for record in known.flat_map(|node| node.containers.values()) {
            *states.entry(record.state).or_default() += 1;
        }
        states
    }

    /// When the next node becomes silent, should it say nothing more.
    pub(crate) fn next_silence(&self, now: Timestamp, stale: Duration) -> Option<Timestamp> {
        let fresh = self.by_age.iter().find(|(at, _)| *at >= now - stale)?;
        Some(fresh.0 + stale + Duration::from_millis(1))
    }

    /// A name is taken on a node, by whatever service.
    pub(crate) fn is_named(&self, node: &NodeId, name: &str) -> bool {
        let held = self.nodes.get(node);
        held.is_some_and(|node| node.containers.values().any(|it| it.name.as_str() == name))
    }
}

/// What another service is asked for by a container.
fn asked(record: &ContainerRecord, node: &NodeId) -> Option<(ServiceId, ServiceId, NodeId)> {
    let ScaleTarget::Metric(target) = &record.policy.scale.as_ref()?.target else {
        return None;
    };
    let teller = target.service.clone()?;
    Some((teller, record.service.clone(), node.clone()))
}

/// In which state a container is, and how its last run ended where it does not run.
pub(crate) fn in_state(record: &ContainerRecord) -> String {
    let state = record.state;
    let is_over = match state {
        ContainerState::Restarting | ContainerState::Exited | ContainerState::Dead => true,
        ContainerState::Created | ContainerState::Running | ContainerState::Paused => false,
    };
    match record.exit_code.filter(|_| is_over) {
        Some(code) => format!("{state} with exit code {code}"),
        None => state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::EngineInfo;

    const HOUR_MS: i64 = 3_600_000;
    const STALE: Duration = Duration::from_secs(10);
    const FORGOTTEN: Duration = Duration::from_secs(24 * 3_600);

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + second * 1_000)
    }

    fn inventory(at: Timestamp, steady_s: Option<u64>) -> NodeInventory {
        NodeInventory {
            node: NodeId::from("a"),
            at,
            steady: steady_s.map(|seconds| Steady::from_millis(seconds * 1_000)),
            capacity: NodeCapacity::default(),
            engine: EngineInfo::default(),
            facts: NodeFacts::default(),
            containers: Vec::new(),
        }
    }

    fn silent(fleet: &Fleet, now: Timestamp) -> usize {
        fleet.silence(now, STALE, FORGOTTEN).silent
    }

    #[test]
    fn the_newest_is_found_by_the_steady_clock() {
        let mut fleet = Fleet::default();
        let mut read_at_s = 0;
        let mut tell = |at: Timestamp, steady_s: Option<u64>| {
            read_at_s += 1;
            fleet.apply(inventory(at, steady_s), second(read_at_s));
            fleet.nodes[&NodeId::from("a")].at == at
        };
        assert!(tell(second(0), Some(500)));
        assert!(tell(second(5 - 3_600), Some(505)), "set back");
        assert!(
            !tell(second(1), Some(501)),
            "an older one, later by the time of day"
        );
        assert!(tell(second(5), Some(510)), "set forward");
        assert!(tell(second(60), Some(20)), "booted");
        assert!(!tell(second(50), Some(10)), "an older one of this boot");
        assert!(tell(second(65), None), "an older collector");
        assert!(
            !tell(second(64), Some(900)),
            "by the time of day where one has no other"
        );
    }

    #[test]
    fn a_node_whose_time_of_day_is_off_is_not_silent_while_it_speaks() {
        for off_ms in [-HOUR_MS, 0, HOUR_MS] {
            let mut fleet = Fleet::default();
            for at_s in (0..60).step_by(5) {
                let off = if at_s < 20 { 0 } else { off_ms };
                let at = Timestamp::from_millis(second(at_s).as_millis() + off);
                fleet.apply(inventory(at, Some(500 + at_s as u64)), second(at_s));
                assert_eq!(silent(&fleet, second(at_s + 4)), 0, "{off_ms} {at_s}");
            }
            assert_eq!(silent(&fleet, second(65)), 0, "{off_ms}");
            assert_eq!(silent(&fleet, second(66)), 1, "{off_ms}");
        }
    }

    #[test]
    fn tells_that_waited_together_on_a_node_are_no_news_of_now() {
        let mut fleet = Fleet::default();
        let mut tell = |at_s: i64, read_s: i64| {
            fleet.apply(
                inventory(second(at_s), Some(500 + at_s as u64)),
                second(read_s),
            );
            silent(&fleet, second(read_s))
        };
        for at_s in (0..30).step_by(5) {
            assert_eq!(tell(at_s, at_s), 0);
        }
        // Cut off from the log at 26: these waited on the node, some made within a second, and are read in one go at 90.
        for at_s in [30, 31, 35, 36, 37, 40] {
            assert_eq!(tell(at_s, 90), 1, "{at_s}");
        }
        assert_eq!(tell(90, 90), 0);
        // The same for a controller that has just begun to read.
        let mut fresh = Fleet::default();
        for at_s in [30, 31, 35, 36, 37, 40] {
            fresh.apply(inventory(second(at_s), Some(500 + at_s as u64)), second(90));
            assert_eq!(silent(&fresh, second(90)), 1, "{at_s}");
        }
    }

    #[test]
    fn clocks_that_drift_apart_do_not_make_a_node_silent() {
        let mut fleet = Fleet::default();
        for step in 0..20_000_i64 {
            // Half a second an hour slower than here, and its time of day an hour behind.
            let there_ms = 500_000 + step * 5_000 - step * 5_000 / 7_200;
            let tell = NodeInventory {
                steady: Some(Steady::from_millis(there_ms as u64)),
                ..inventory(second(step * 5 - 3_600), None)
            };
            fleet.apply(tell, second(step * 5));
            assert!(step < 3 || silent(&fleet, second(step * 5)) == 0, "{step}");
        }
    }

    /// Speaks each five seconds of this time by a steady clock that is so far behind, and a time of day that is.
    fn speak(fleet: &mut Fleet, seconds: std::ops::Range<i64>, stood_s: i64, behind_s: i64) {
        for at_s in seconds.step_by(5) {
            let steady_s = u64::try_from(500 + at_s - stood_s).unwrap();
            let tell = inventory(second(at_s - behind_s), Some(steady_s));
            fleet.apply(tell, second(at_s));
        }
    }

    #[test]
    fn a_machine_that_was_halted_is_heard_again_a_minute_later() {
        let mut fleet = Fleet::default();
        fleet.caught_up(second(0));
        speak(&mut fleet, 0..60, 0, 0);
        // Seven minutes of nothing, of which its steady clock knows nothing.
        speak(&mut fleet, 475..535, 415, 0);
        assert_eq!(
            silent(&fleet, second(531)),
            1,
            "it may be words that waited"
        );
        speak(&mut fleet, 535..560, 415, 0);
        assert_eq!(silent(&fleet, second(556)), 0);
        assert_eq!(certainty(&fleet), Certainty::Sure);
    }

    #[test]
    fn words_that_come_late_by_both_clocks_are_late_however_long_they_do() {
        let mut fleet = Fleet::default();
        fleet.caught_up(second(0));
        speak(&mut fleet, 0..60, 0, 0);
        speak(&mut fleet, 475..1_475, 415, 415);
        assert_eq!(silent(&fleet, second(1_471)), 1);
    }

    #[test]
    fn what_was_read_late_was_said_then() {
        let mut fleet = Fleet::default();
        for at_s in (0..60).step_by(5) {
            fleet.apply(
                inventory(second(at_s), Some(500 + at_s as u64)),
                second(600),
            );
            assert_eq!(silent(&fleet, second(600)), 1, "{at_s}");
        }
        fleet.apply(inventory(second(601), Some(1_101)), second(601));
        assert_eq!(silent(&fleet, second(602)), 0);
    }

    fn certainty(fleet: &Fleet) -> Certainty {
        fleet.nodes[&NodeId::from("a")].heard.certainty
    }

    #[test]
    fn a_clock_that_is_ahead_does_not_make_an_old_word_a_new_one() {
        let off = Duration::from_secs(203);
        let steady = |at_s: i64| Some(500 + at_s as u64);
        let mut fleet = Fleet::default();
        // The last word of a host that died: by its clock it is from a minute ahead, and from now after a while.
        fleet.apply(inventory(second(0) + off, steady(0)), second(140));
        fleet.caught_up(second(141));
        assert_eq!(certainty(&fleet), Certainty::Doubtful);
        // It was not dead but cut off: all that waited is read in one go, one of it made now by that clock.
        for at_s in (5..205).step_by(5) {
            fleet.apply(inventory(second(at_s) + off, steady(at_s)), second(206));
            assert_eq!(certainty(&fleet), Certainty::Doubtful, "{at_s}");
        }
        for at_s in (210..230).step_by(5) {
            fleet.apply(inventory(second(at_s) + off, steady(at_s)), second(at_s));
        }
        assert_eq!(certainty(&fleet), Certainty::Sure, "it speaks as time goes");
        assert_eq!(silent(&fleet, second(226)), 0);
    }

    #[test]
    fn a_word_from_the_topic_proves_nothing_of_one_that_waited_on_the_node() {
        let off = Duration::from_secs(203);
        let mut fleet = Fleet::default();
        fleet.apply(inventory(second(0) + off, Some(500)), second(194));
        fleet.caught_up(second(194));
        // Read as long after that one as the first two of these were made after it.
        for at_s in (5..=200).step_by(5) {
            let steady_s = 500 + at_s as u64;
            fleet.apply(inventory(second(at_s) + off, Some(steady_s)), second(202));
            assert_eq!(certainty(&fleet), Certainty::Doubtful, "{at_s}");
        }
    }

    #[test]
    fn a_node_whose_clock_is_right_is_sure_of_its_second_word() {
        let mut fleet = Fleet::default();
        fleet.apply(inventory(second(0), Some(500)), second(4));
        fleet.caught_up(second(4));
        fleet.apply(inventory(second(5), Some(505)), second(5));
        assert_eq!(certainty(&fleet), Certainty::Doubtful);
        fleet.apply(inventory(second(10), Some(510)), second(10));
        assert_eq!(certainty(&fleet), Certainty::Sure);
        let a = NodeId::from("a");
        let latest = |fleet: &Fleet, read_s| fleet.latest_here(&a, second(9), second(read_s));
        assert_eq!(latest(&fleet, 11), second(11), "not seen yet");
        fleet.apply(inventory(second(15), Some(515)), second(15));
        assert_eq!(latest(&fleet, 11), second(9));
        assert_eq!(latest(&fleet, 26), second(26), "it may have been set");
        assert_eq!(fleet.here(&a, second(9)), second(9));
    }

    #[test]
    fn how_far_a_clock_is_off_is_seen_from_what_waited_too() {
        let mut fleet = Fleet::default();
        for at_s in (0..30).step_by(5) {
            fleet.apply(
                inventory(second(at_s), Some(500 + at_s as u64)),
                second(at_s),
            );
        }
        // Cut off at 26, and the clock set back by five minutes at 40; all that waited is read at 90.
        let a = NodeId::from("a");
        let told = second(60 - 300);
        assert_eq!(fleet.latest_here(&a, told, second(90)), second(90));
        for at_s in (30..90).step_by(5) {
            let off_s = if at_s < 40 { 0 } else { 300 };
            let tell = inventory(second(at_s - off_s), Some(500 + at_s as u64));
            fleet.apply(tell, second(90));
        }
        let latest = fleet.latest_here(&a, told, second(90));
        let off = latest.since(second(60));
        assert!(latest >= second(60), "{latest}");
        assert!(off < Duration::from_millis(100), "clocks drift: {off:?}");
    }
}
