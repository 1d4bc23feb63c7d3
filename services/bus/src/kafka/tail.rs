//! Reading a whole topic without a group.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::client::Link;
use super::feed::{Feed, FeedConsumer, FeedContext, Item, Names, failure};
use crate::{BusError, From, Tailed};

/// librdkafka wants a group's name even where no group is joined and nothing committed. Access lists see it.
const GROUP: &str = "homeostat.tail";

/// Time between two looks for the leader of a partition.
const LEADER_WAIT: Duration = Duration::from_millis(100);

/// A reader of all partitions of a topic.
pub(crate) struct KafkaTail {
    feed: Arc<Feed>,
    closed: CancellationToken,
    topic: String,
}

impl fmt::Debug for KafkaTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTail")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// Partitions that have not been read up to their end as of opening, with that end.
type Remaining = HashMap<i32, i64>;

impl KafkaTail {
    /// Finds the ends and starts reading. Blocks.
    pub(super) fn open(
        link: &Link,
        closed: CancellationToken,
        topic: &str,
        from: From,
    ) -> Result<Self, BusError> {
        let feed = Arc::new(Feed::new());
        let consumer: FeedConsumer = link
            .consumer(GROUP)
            .set("enable.partition.eof", "true")
            .create_with_context(FeedContext {
                feed: Arc::clone(&feed),
                log: link.log.clone(),
            })
            .map_err(|error| link.config_error(error))?;
        let partitions = link.find_topic(consumer.client(), topic)?;
        let failed = |error: KafkaError| BusError::Consume {
            what: format!("topic {topic}"),
            brokers: link.brokers().to_owned(),
            source: error.into(),
        };
        let (list, remaining) =
            starts_with_leaders(&consumer, link, (topic, partitions), from).map_err(failed)?;
        consumer.assign(&list).map_err(failed)?;
        let (thread_feed, what) = (Arc::clone(&feed), topic.to_owned());
        let brokers = link.brokers().to_owned();
        std::thread::Builder::new()
            .name("kafka-tail".to_owned())
            .spawn(move || run(&thread_feed, &consumer, &what, &brokers, remaining))
            .map_err(|error| BusError::Consume {
                what: format!("topic {topic}"),
                brokers: link.brokers().to_owned(),
                source: error.into(),
            })?;
        Ok(Self {
            feed,
            closed,
            topic: topic.to_owned(),
        })
    }

    pub(crate) async fn next(&mut self) -> Result<Tailed, BusError> {
        loop {
            match self.feed.next(&self.closed).await? {
                Item::Record(record) => return Ok(Tailed::Record(record)),
                Item::CaughtUp => return Ok(Tailed::CaughtUp),
                Item::Failed(error) => return Err(error),
                // Only members of a group are assigned anything.
                Item::Assigned(_) | Item::Revoked(_) => {}
            }
        }
    }
}

impl Drop for KafkaTail {
    fn drop(&mut self) {
        self.feed.stop();
    }
}

/// As [`starts`], waiting for leaders: a partition that was just made, or whose broker has just gone, has none for a moment.
fn starts_with_leaders(
    consumer: &FeedConsumer,
    link: &Link,
    what: (&str, u32),
    from: From,
) -> Result<(TopicPartitionList, Remaining), KafkaError> {
    let until = Instant::now() + link.patience();
    loop {
        match starts(consumer, link, what, from) {
            Err(error) if wants_leader(&error) && Instant::now() < until => {
                std::thread::sleep(LEADER_WAIT);
            }
            ended => return ended,
        }
    }
}

fn wants_leader(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// Where each partition starts, and which ones have something to read before they are caught up.
fn starts(
    consumer: &FeedConsumer,
    link: &Link,
    (topic, partitions): (&str, u32),
    from: From,
) -> Result<(TopicPartitionList, Remaining), KafkaError> {
    let timeout = link.request_timeout();
    // Kafka counts partitions in i32.
    let numbers = 0..partitions as i32;
    let at_time = match from {
        From::Time(time_ms) => {
            let mut times = TopicPartitionList::new();
            for number in numbers.clone() {
                times.add_partition_offset(topic, number, Offset::Offset(time_ms.max(0)))?;
            }
            Some(consumer.offsets_for_times(times, timeout)?)
        }
        From::Beginning | From::End => None,
    };
    let mut list = TopicPartitionList::new();
    let mut remaining = Remaining::new();
    for number in numbers {
        let (low, high) = consumer.fetch_watermarks(topic, number, timeout)?;
        let found = at_time
            .as_ref()
            .and_then(|times| times.find_partition(topic, number));
        let start = match (from, found.map(|found| found.offset())) {
            (From::Beginning, _) => low,
            (From::Time(_), Some(Offset::Offset(offset))) => offset,
            // No record is that young.
            (From::Time(_), _) | (From::End, _) => high,
        };
        list.add_partition_offset(topic, number, Offset::Offset(start))?;
        if start < high {
            remaining.insert(number, high);
        }
    }
    Ok((list, remaining))
}

fn run(
    feed: &Arc<Feed>,
    consumer: &FeedConsumer,
    topic: &str,
    brokers: &str,
    mut remaining: Remaining,
) {
    let mut names = Names::default();
    let mut told = false;
    let mut tell = |feed: &Feed, remaining: &Remaining| {
        if remaining.is_empty() && !std::mem::replace(&mut told, true) {
            feed.push(Item::CaughtUp);
        }
    };
    tell(feed, &remaining);
    feed.run(consumer, |feed, polled| {
        match polled {
            Ok(message) => take(feed, &mut names, &mut remaining, &message),
            // Compaction may have removed the last records before the end, so that no record reaches it.
            Err(KafkaError::PartitionEOF(number)) => drop(remaining.remove(&number)),
            Err(error) => {
                if let Some(error) = failure(error, topic, brokers) {
                    feed.push(Item::Failed(error));
                }
            }
        }
        tell(feed, &remaining);
    });
}

fn take(feed: &Feed, names: &mut Names, remaining: &mut Remaining, message: &BorrowedMessage<'_>) {
    use rdkafka::message::Message as _;

    if let Some(record) = names.record(message) {
        feed.push(Item::Record(record));
    }
    let number = message.partition();
    if remaining
        .get(&number)
        .is_some_and(|end| message.offset() + 1 >= *end)
    {
        remaining.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_waited_for() {
        let fetched = |code| KafkaError::MetadataFetch(code);
        assert!(wants_leader(&fetched(
            RDKafkaErrorCode::NotLeaderForPartition
        )));
        assert!(wants_leader(&fetched(RDKafkaErrorCode::LeaderNotAvailable)));
        assert!(!wants_leader(&fetched(
            RDKafkaErrorCode::TopicAuthorizationFailed
        )));
        assert!(!wants_leader(&fetched(RDKafkaErrorCode::OperationTimedOut)));
    }
}
