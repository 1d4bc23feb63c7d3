//! Reading as a member of a consumer group.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::client::{Link, passes};
use super::feed::{Feed, FeedConsumer, FeedContext, Item, Names, failure};
use crate::{BusError, Cause, Fetched, Position, TopicPartition};

/// Between two tries of a commit while brokers are away.
const COMMIT_RETRY: Duration = Duration::from_millis(250);

/// A member of a consumer group.
pub(crate) struct KafkaSubscription {
    feed: Arc<Feed>,
    consumer: Arc<FeedConsumer>,
    closed: CancellationToken,
    group: String,
    brokers: String,
    /// How long a commit is tried while brokers are away.
    patience: Duration,
}

impl fmt::Debug for KafkaSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSubscription")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl KafkaSubscription {
    /// Joins the group. Blocks.
    pub(super) fn join(
        link: &Link,
        closed: CancellationToken,
        group: &str,
        topics: &[String],
    ) -> Result<Self, BusError> {
        let feed = Arc::new(Feed::new());
        let consumer: FeedConsumer = link
            .consumer(group)
            .create_with_context(FeedContext {
                feed: Arc::clone(&feed),
                log: link.log.clone(),
            })
            .map_err(|error| link.config_error(error))?;
        for topic in topics {
            link.find_topic(consumer.client(), topic)?;
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let failed = |source: Cause| BusError::Consume {
            what: format!("group {group}"),
            brokers: link.brokers().to_owned(),
            source,
        };
        consumer
            .subscribe(&names)
            .map_err(|error| failed(error.into()))?;
        let consumer = Arc::new(consumer);
        let what = topics.join(", ");
        let (thread_feed, thread_consumer) = (Arc::clone(&feed), Arc::clone(&consumer));
        let brokers = link.brokers().to_owned();
        std::thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || run(&thread_feed, thread_consumer, &what, &brokers))
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            feed,
            consumer,
            closed,
            group: group.to_owned(),
            brokers: link.brokers().to_owned(),
            patience: link.patience(),
        })
    }

    pub(crate) async fn next(&mut self) -> Result<Fetched, BusError> {
        loop {
            match self.feed.next(&self.closed).await? {
                Item::Record(record) => return Ok(Fetched::Record(record)),
                Item::Assigned(share) => return Ok(Fetched::Assigned(share)),
                Item::Revoked(share) => return Ok(Fetched::Revoked(share)),
                Item::Failed(error) => return Err(error),
                // Only a tail knows an end.
                Item::CaughtUp => {}
            }
        }
    }

    pub(crate) async fn commit(&self, done: &[Position]) -> Result<(), BusError> {
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        let mut offsets: BTreeMap<TopicPartition, u64> = BTreeMap::new();
        for position in done {
            let next = offsets.entry(position.topic_partition()).or_insert(0);
            *next = (*next).max(position.offset + 1);
        }
        offsets.retain(|partition, _| self.feed.holds(partition));
        if offsets.is_empty() {
            return Ok(());
        }
        let list = offset_list(&offsets).map_err(|error| self.failed(error.into()))?;
        let consumer = Arc::clone(&self.consumer);
        let until = Instant::now() + self.patience;
        let committed = tokio::task::spawn_blocking(move || commit(&consumer, &list, until)).await;
        match committed {
            Ok(result) => result.map_err(|error| self.failed(error.into())),
            // The task is never aborted, so it ends early only by the runtime's end.
            Err(_) => Err(BusError::Closed),
        }
    }

    fn failed(&self, source: Cause) -> BusError {
        BusError::Commit {
            group: self.group.clone(),
            brokers: self.brokers.clone(),
            source,
        }
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        self.feed.stop();
    }
}

fn run(feed: &Arc<Feed>, consumer: Arc<FeedConsumer>, what: &str, brokers: &str) {
    let mut names = Names::default();
    feed.run(&consumer, |feed, polled| match polled {
        Ok(message) => {
            if let Some(record) = names.record(&message) {
                feed.push(Item::Record(record));
            }
        }
        Err(error) => {
            if let Some(error) = failure(error, what, brokers) {
                feed.push(Item::Failed(error));
            }
        }
    });
    // Leaving is what dropping the last handle does; a commit under way may still hold one.
    drop(consumer);
}

fn offset_list(offsets: &BTreeMap<TopicPartition, u64>) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, next) in offsets {
        // Both came from Kafka, which has them signed.
        let (number, next) = (partition.partition as i32, *next as i64);
        list.add_partition_offset(&partition.topic, number, Offset::Offset(next))?;
    }
    Ok(list)
}

/// Commits, trying again while brokers are away. Blocks.
fn commit(
    consumer: &FeedConsumer,
    list: &TopicPartitionList,
    until: Instant,
) -> Result<(), KafkaError> {
    loop {
        match consumer.commit(list, CommitMode::Sync) {
            Err(KafkaError::ConsumerCommit(code)) if was_handed_over(code) => {
                tracing::debug!(%code, "offsets of partitions that went to another member are left out");
                return Ok(());
            }
            Err(KafkaError::ConsumerCommit(code)) if passes(code) && Instant::now() < until => {
                std::thread::sleep(COMMIT_RETRY);
            }
            other => return other,
        }
    }
}

/// The group has gone on meanwhile: the partitions' new holders read those records again.
fn was_handed_over(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::RebalanceInProgress
            | RDKafkaErrorCode::FencedInstanceId
            | RDKafkaErrorCode::AssignmentLost
            | RDKafkaErrorCode::NoOffset
    )
}
