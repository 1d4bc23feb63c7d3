//! What the cases share.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bus::{
    Bus, Fetched, NewRecord, Position, Record, Retention, Subscription, Tail, Tailed,
    TopicPartition, TopicSpec,
};
use bytes::Bytes;
use futures::future::try_join_all;

/// How long anything may take before it counts as lost. Generous, as test machines are busy.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// Fails the test when the future takes too long.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took over {DEADLINE:?}"),
    }
}

/// A name nobody else uses.
pub(super) fn unique(name: &str) -> &'static str {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Box::leak(format!("{name}-{}-{number}", std::process::id()).into_boxed_str())
}

pub(super) fn kept(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: unique(name),
        partitions,
        retention: Retention::Delete {
            max_age: Duration::from_secs(3600),
            max_bytes: 256 * 1024 * 1024,
        },
    }
}

pub(super) fn compacted(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: unique(name),
        partitions,
        retention: Retention::Compact,
    }
}

/// Creates a topic that keeps everything and returns its name.
pub(super) async fn topic(bus: &Bus, name: &str, partitions: u32) -> &'static str {
    let spec = kept(name, partitions);
    within("creating a topic", bus.ensure_topics(&[spec]))
        .await
        .unwrap();
    spec.name
}

pub(super) fn record(topic: &str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord {
        topic: Arc::from(topic),
        key: Bytes::from(key.into()),
        value: Bytes::from(value.into()),
        headers: Vec::new(),
        partition: None,
    }
}

pub(super) fn placed(topic: &str, partition: u32, value: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord {
        partition: Some(partition),
        ..record(topic, "key", value)
    }
}

/// Appends one after the other.
pub(super) async fn produce_in_order(bus: &Bus, records: Vec<NewRecord>) -> Vec<Position> {
    let mut positions = Vec::new();
    for record in records {
        positions.push(within("producing", bus.produce(record)).await.unwrap());
    }
    positions
}

/// Appends all at once.
pub(super) async fn produce_together(bus: &Bus, records: Vec<NewRecord>) -> Vec<Position> {
    let calls = records.into_iter().map(|record| bus.produce(record));
    within("producing", try_join_all(calls)).await.unwrap()
}

/// The records up to the first catching up.
pub(super) async fn until_caught_up(tail: &mut Tail) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        match within("catching up", tail.next()).await.unwrap() {
            Tailed::Record(record) => records.push(record),
            Tailed::CaughtUp => return records,
        }
    }
}

pub(super) async fn next_tailed(tail: &mut Tail) -> Record {
    match within("the next record", tail.next()).await.unwrap() {
        Tailed::Record(record) => record,
        Tailed::CaughtUp => panic!("caught up a second time"),
    }
}

/// The next records, whatever is assigned meanwhile.
pub(super) async fn fetch(subscription: &mut Subscription, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        match within("the next record", subscription.next())
            .await
            .unwrap()
        {
            Fetched::Record(record) => records.push(record),
            Fetched::Assigned(_) | Fetched::Revoked(_) => {}
        }
    }
    records
}

pub(super) fn values(records: &[Record]) -> Vec<Bytes> {
    records.iter().map(|record| record.value.clone()).collect()
}

pub(super) fn numbers(range: std::ops::Range<u32>) -> Vec<Bytes> {
    range
        .map(|number| Bytes::from(number.to_string()))
        .collect()
}

/// What a member does with partitions that are taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnRevoke {
    Commit,
    Forget,
}

/// A member of a group and what it has seen.
pub(super) struct Member {
    pub(super) subscription: Subscription,
    pub(super) held: BTreeSet<TopicPartition>,
    pub(super) records: Vec<Record>,
    pub(super) assignments: usize,
    on_revoke: OnRevoke,
}

impl Member {
    pub(super) async fn join(bus: &Bus, group: &str, topics: &[&str], on_revoke: OnRevoke) -> Self {
        let subscription = within("joining", bus.subscribe(group, topics))
            .await
            .unwrap();
        Self {
            subscription,
            held: BTreeSet::new(),
            records: Vec::new(),
            assignments: 0,
            on_revoke,
        }
    }

    /// Takes one thing if there is one soon. Dropping the call so often also tests that nothing is lost by it.
    async fn step(&mut self) {
        let soon = Duration::from_millis(20);
        let Ok(fetched) = tokio::time::timeout(soon, self.subscription.next()).await else {
            return;
        };
        match fetched.unwrap() {
            Fetched::Record(record) => {
                let place = record.position.topic_partition();
                assert!(
                    self.held.contains(&place),
                    "a record of {place:?}, which is not held"
                );
                self.records.push(record);
            }
            Fetched::Assigned(share) => {
                self.assignments += 1;
                self.held = share.into_iter().collect();
            }
            Fetched::Revoked(share) => {
                for partition in &share {
                    assert!(
                        self.held.remove(partition),
                        "{partition:?} taken, which is not held"
                    );
                }
                if self.on_revoke == OnRevoke::Commit {
                    let done: Vec<Position> = self
                        .records
                        .iter()
                        .map(|record| record.position.clone())
                        .collect();
                    within("committing", self.subscription.commit(&done))
                        .await
                        .unwrap();
                }
            }
        }
    }
}

/// Lets all members work until the condition holds.
pub(super) async fn run_until(
    what: &str,
    members: &mut [Member],
    holds: impl Fn(&[Member]) -> bool,
) {
    let until = Instant::now() + DEADLINE;
    while !holds(members) {
        assert!(Instant::now() < until, "{what} took over {DEADLINE:?}");
        for member in members.iter_mut() {
            member.step().await;
        }
    }
}
