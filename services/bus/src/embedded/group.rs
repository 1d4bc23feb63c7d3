//! Who of a consumer group holds which partitions, for the back ends that live in one process.
//!
//! It follows Kafka's eager protocol with the range assignor: when a member comes or goes, all members give back what they
//! hold, and only then everything is shared out anew. Partition n of two topics with equal partition counts therefore lies
//! with one member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::TopicPartition;

/// How long a member may take to give back its partitions before it is put out of the group. A member that only works
/// slowly joins again by itself.
pub(crate) const HANDOVER_LIMIT: Duration = Duration::from_secs(30);

/// A member's number within one group; the order of joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(u64);

/// What a member has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing changed: go on reading.
    Steady,
    /// Give back what is held, then ask again.
    GiveBack,
    /// Others have not given back yet: ask again when woken, at the latest at this time.
    WaitUntil(Instant),
    /// These partitions are the member's from now on.
    Take(Vec<TopicPartition>),
    /// The member was put out of the group: give back what is held and join again.
    Expelled,
}

#[derive(Debug)]
struct Member {
    /// Names and partition counts of the topics it subscribed to.
    topics: Vec<(Arc<str>, u32)>,
    wake: Arc<Notify>,
    /// The rebalance it has given back its partitions for.
    released: u64,
    /// The rebalance it has taken its partitions of.
    taken: u64,
    held: Vec<TopicPartition>,
}

/// One consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    members: BTreeMap<MemberId, Member>,
    next_member: u64,
    /// Counts rebalances.
    round: u64,
    round_since: Instant,
}

impl Group {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            members: BTreeMap::new(),
            next_member: 0,
            round: 0,
            round_since: now,
        }
    }

    /// Adds a member and starts a rebalance.
    pub(crate) fn join(
        &mut self,
        topics: Vec<(Arc<str>, u32)>,
        wake: Arc<Notify>,
        now: Instant,
    ) -> MemberId {
        let id = MemberId(self.next_member);
        self.next_member += 1;
        self.start_round(now);
        let member = Member {
            topics,
            wake,
            released: self.round,
            taken: 0,
            held: Vec::new(),
        };
        self.members.insert(id, member);
        id
    }

    /// Takes a member out and starts a rebalance.
    pub(crate) fn leave(&mut self, id: MemberId, now: Instant) {
        if self.members.remove(&id).is_some() {
            self.start_round(now);
        }
    }

    /// Whether the member holds the partition, also while it is asked to give it back.
    pub(crate) fn holds(&self, id: MemberId, partition: &TopicPartition) -> bool {
        self.members
            .get(&id)
            .is_some_and(|member| member.held.contains(partition))
    }

    /// What the member has to do now.
    pub(crate) fn turn(&mut self, id: MemberId, now: Instant) -> Turn {
        let Some(member) = self.members.get(&id) else {
            return Turn::Expelled;
        };
        if member.taken == self.round {
            return Turn::Steady;
        }
        if member.released < self.round {
            return Turn::GiveBack;
        }
        let limit = self.round_since + HANDOVER_LIMIT;
        let round = self.round;
        if self.members.values().any(|member| member.released < round) {
            if now < limit {
                return Turn::WaitUntil(limit);
            }
            self.members.retain(|_, member| member.released >= round);
            self.wake_all();
        }
        let share = self.share_of(id);
        match self.members.get_mut(&id) {
            Some(member) => {
                member.taken = round;
                member.held.clone_from(&share);
                Turn::Take(share)
            }
            None => Turn::Expelled,
        }
    }

    /// The member has stopped using what it held.
    pub(crate) fn gave_back(&mut self, id: MemberId) {
        let round = self.round;
        if let Some(member) = self.members.get_mut(&id) {
            member.released = round;
            member.held.clear();
        }
        if self.members.values().all(|member| member.released == round) {
            self.wake_all();
        }
    }

    fn start_round(&mut self, now: Instant) {
        self.round += 1;
        self.round_since = now;
        // Who holds nothing has nothing to give back.
        for member in self
            .members
            .values_mut()
            .filter(|member| member.held.is_empty())
        {
            member.released = self.round;
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        for member in self.members.values() {
            member.wake.notify_one();
        }
    }

    /// Kafka's range assignor: per topic, members in order get runs of partitions, the first ones one more where it does
    /// not divide evenly.
    fn share_of(&self, id: MemberId) -> Vec<TopicPartition> {
        let Some(member) = self.members.get(&id) else {
            return Vec::new();
        };
        let mut share = Vec::new();
        for (topic, partitions) in &member.topics {
            let readers: Vec<MemberId> = self
                .members
                .iter()
                .filter(|(_, other)| other.topics.iter().any(|(name, _)| name == topic))
                .map(|(id, _)| *id)
                .collect();
            let Some(rank) = readers.iter().position(|reader| *reader == id) else {
                continue;
            };
            let (rank, readers) = (rank as u32, readers.len() as u32);
            let (each, extra) = (partitions / readers, partitions % readers);
            let first = rank * each + rank.min(extra);
            let count = each + u32::from(rank < extra);
            share.extend((first..first + count).map(|partition| TopicPartition {
                topic: Arc::clone(topic),
                partition,
            }));
        }
        share
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settle(group: &mut Group, ids: &[MemberId], now: Instant) -> Vec<Vec<TopicPartition>> {
        let mut shares = vec![None; ids.len()];
        // Once for everyone to give back, once for everyone to take.
        for _ in 0..2 {
            for (id, share) in ids.iter().zip(&mut shares) {
                match group.turn(*id, now) {
                    Turn::GiveBack => group.gave_back(*id),
                    Turn::Take(taken) => *share = Some(taken),
                    Turn::Steady | Turn::WaitUntil(_) => {}
                    Turn::Expelled => panic!("{id:?} was put out"),
                }
            }
        }
        shares.into_iter().map(Option::unwrap).collect()
    }

    proptest! {
        /// Every partition lies with exactly one member, and co-partitioned topics lie alike.
        #[test]
        fn shares_are_disjoint_complete_and_co_partitioned(partitions in 1_u32..40, members in 1_usize..9) {
            let now = Instant::now();
            let mut group = Group::new(now);
            let topics = vec![(Arc::from("a"), partitions), (Arc::from("b"), partitions)];
            let ids: Vec<MemberId> =
                (0..members).map(|_| group.join(topics.clone(), Arc::new(Notify::new()), now)).collect();
            let shares = settle(&mut group, &ids, now);
            let mut all: Vec<TopicPartition> = shares.iter().flatten().cloned().collect();
            prop_assert_eq!(all.len() as u32, partitions * 2);
            all.sort();
            all.dedup();
            prop_assert_eq!(all.len() as u32, partitions * 2);
            for share in &shares {
                let of = |topic: &str| -> Vec<u32> {
                    share.iter().filter(|one| &*one.topic == topic).map(|one| one.partition).collect()
                };
                prop_assert_eq!(of("a"), of("b"));
                prop_assert!(of("a").len().abs_diff(partitions as usize / members) <= 1);
            }
        }
    }

    #[test]
    fn a_member_that_does_not_give_back_is_put_out_in_the_end() {
        let now = Instant::now();
        let mut group = Group::new(now);
        let topics = vec![(Arc::from("a"), 2)];
        let stuck = group.join(topics.clone(), Arc::new(Notify::new()), now);
        settle(&mut group, &[stuck], now);
        let fresh = group.join(topics, Arc::new(Notify::new()), now);
        assert_eq!(
            group.turn(fresh, now),
            Turn::WaitUntil(now + HANDOVER_LIMIT)
        );
        let later = now + HANDOVER_LIMIT;
        assert!(matches!(group.turn(fresh, later), Turn::Take(share) if share.len() == 2));
        assert_eq!(group.turn(stuck, later), Turn::Expelled);
    }
}
