//! Reading as a member of a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Embedded;
use super::cursors::{Cursor, Cursors};
use super::group::{MemberId, Turn};
use crate::{BusError, Fetched, Position, TopicPartition};

/// A member of a group.
#[derive(Debug)]
pub(crate) struct EmbeddedSubscription {
    log: Arc<Embedded>,
    group: String,
    topics: Vec<(Arc<str>, u32)>,
    member: MemberId,
    wake: Arc<Notify>,
    cursors: Cursors,
    held: Vec<TopicPartition>,
    /// The caller was told to give back what it held, and may commit until it calls again.
    told: bool,
}

impl EmbeddedSubscription {
    pub(crate) fn join(log: Arc<Embedded>, group: &str, topics: &[&str]) -> Result<Self, BusError> {
        log.check_open()?;
        let wake = Arc::new(Notify::new());
        let mut known = Vec::new();
        for name in topics {
            let topic = log.topic(name)?;
            topic.add_reader(&wake);
            known.push((Arc::clone(&topic.name), topic.partition_count()));
        }
        let member = log.with_group(group, |group| {
            group.join(known.clone(), Arc::clone(&wake), Instant::now())
        });
        Ok(Self {
            cursors: Cursors::new(Arc::clone(&log), Vec::new()),
            log,
            group: group.to_owned(),
            topics: known,
            member,
            wake,
            held: Vec::new(),
            told: false,
        })
    }

    pub(crate) async fn next(&mut self) -> Result<Fetched, BusError> {
        loop {
            self.log.check_open()?;
            if std::mem::take(&mut self.told) {
                let member = self.member;
                self.log
                    .with_group(&self.group, |group| group.gave_back(member));
            }
            let member = self.member;
            let turn = self
                .log
                .with_group(&self.group, |group| group.turn(member, Instant::now()));
            match turn {
                Turn::Steady => {
                    if let Some(record) = self.cursors.next().await? {
                        return Ok(Fetched::Record(record));
                    }
                    self.wake.notified().await;
                }
                Turn::GiveBack => {
                    self.told = true;
                    return Ok(Fetched::Revoked(self.let_go()));
                }
                Turn::WaitUntil(limit) => {
                    // Running into the limit is an answer too: the group then goes on without the laggard.
                    let _woken = timeout_at(limit, self.wake.notified()).await;
                }
                Turn::Take(share) => {
                    self.take(&share)?;
                    return Ok(Fetched::Assigned(share));
                }
                Turn::Expelled => {
                    let (topics, wake) = (self.topics.clone(), Arc::clone(&self.wake));
                    self.member = self.log.with_group(&self.group, |group| {
                        group.join(topics, wake, Instant::now())
                    });
                    if !self.held.is_empty() {
                        return Ok(Fetched::Revoked(self.let_go()));
                    }
                }
            }
        }
    }

    pub(crate) async fn commit(&self, done: &[Position]) -> Result<(), BusError> {
        let mut offsets: BTreeMap<TopicPartition, u64> = BTreeMap::new();
        for position in done {
            let next = offsets.entry(position.topic_partition()).or_insert(0);
            *next = (*next).max(position.offset + 1);
        }
        let member = self.member;
        self.log.with_group(&self.group, |group| {
            offsets.retain(|partition, _| group.holds(member, partition));
        });
        if offsets.is_empty() {
            return self.log.check_open();
        }
        self.log
            .commit(&self.group, offsets.into_iter().collect())
            .await
    }

    fn let_go(&mut self) -> Vec<TopicPartition> {
        self.cursors = Cursors::new(Arc::clone(&self.log), Vec::new());
        std::mem::take(&mut self.held)
    }

    fn take(&mut self, share: &[TopicPartition]) -> Result<(), BusError> {
        let mut list = Vec::new();
        for one in share {
            list.push(Cursor {
                topic: self.log.topic(&one.topic)?,
                partition: one.partition,
                next: self.log.committed(&self.group, one),
            });
        }
        self.cursors = Cursors::new(Arc::clone(&self.log), list);
        self.held = share.to_vec();
        Ok(())
    }
}

impl Drop for EmbeddedSubscription {
    fn drop(&mut self) {
        let member = self.member;
        self.log
            .with_group(&self.group, |group| group.leave(member, Instant::now()));
    }
}
