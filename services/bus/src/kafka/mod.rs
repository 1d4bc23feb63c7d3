//! The log in Apache Kafka, through librdkafka.

mod client;
mod feed;
mod subscription;
mod tail;
mod topics;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tokio_util::sync::CancellationToken;

use self::client::{Link, LogContext};
pub(crate) use self::subscription::KafkaSubscription;
pub(crate) use self::tail::KafkaTail;
use crate::{BusError, From, KafkaConfig, NewRecord, Position, TopicSpec};

/// How long readiness waits for a broker's answer.
const STATUS_LIMIT: Duration = Duration::from_secs(3);
/// How long closing waits for records under way.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// Asked for by readiness: it lives on every cluster that has groups, and asking does not create it.
const STATUS_TOPIC: &str = "__consumer_offsets";

/// A connection to Kafka.
pub(crate) struct Kafka {
    link: Link,
    producer: FutureProducer<LogContext>,
    /// Partition counts of topics that were found to exist.
    known: Mutex<HashMap<Arc<str>, u32>>,
    closed: CancellationToken,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("config", &self.link.config)
            .finish_non_exhaustive()
    }
}

impl Kafka {
    pub(crate) fn new(config: &KafkaConfig) -> Result<Self, BusError> {
        let link = Link::new(config);
        let producer = link
            .producer()
            .create_with_context(link.log.clone())
            .map_err(|error| link.config_error(error))?;
        Ok(Self {
            link,
            producer,
            known: Mutex::default(),
            closed: CancellationToken::new(),
        })
    }

    pub(crate) async fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), BusError> {
        self.check_open()?;
        topics::ensure(&self.link, specs).await
    }

    pub(crate) async fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        self.check_open()?;
        self.find(&Arc::from(topic)).await
    }

    pub(crate) async fn produce(&self, record: NewRecord) -> Result<Position, BusError> {
        self.check_open()?;
        self.check_place(&record).await?;
        let headers = record.headers.iter().fold(
            OwnedHeaders::new_with_capacity(record.headers.len()),
            |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(&**value),
                })
            },
        );
        let mut message = FutureRecord::to(&record.topic)
            .key(&*record.key)
            .headers(headers);
        // Compaction takes a missing value for a tombstone, not an empty one.
        if !record.value.is_empty() {
            message = message.payload(&*record.value);
        }
        if let Some(partition) = record.partition {
            // Known to exist, and Kafka counts partitions in i32.
            message = message.partition(partition as i32);
        }
        let queue_timeout = Duration::from_millis(self.link.config.message_timeout_ms.into());
        match self.producer.send(message, queue_timeout).await {
            Ok(delivery) => Ok(Position {
                topic: record.topic,
                // A delivered record has both.
                partition: u32::try_from(delivery.partition).unwrap_or_default(),
                offset: u64::try_from(delivery.offset).unwrap_or_default(),
            }),
            Err((error, _)) => Err(self.produce_error(record, error)),
        }
    }

    pub(crate) async fn subscribe(
        &self,
        group: &str,
        topics: &[&str],
    ) -> Result<KafkaSubscription, BusError> {
        self.check_open()?;
        let (link, closed) = (self.link.clone(), self.closed.clone());
        let group = group.to_owned();
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        blocking(move || KafkaSubscription::join(&link, closed, &group, &topics)).await
    }

    pub(crate) async fn tail(&self, topic: &str, from: From) -> Result<KafkaTail, BusError> {
        self.check_open()?;
        let (link, closed, topic) = (self.link.clone(), self.closed.clone(), topic.to_owned());
        blocking(move || KafkaTail::open(&link, closed, &topic, from)).await
    }

    pub(crate) async fn status(&self) -> Result<(), BusError> {
        self.check_open()?;
        let (producer, link) = (self.producer.clone(), self.link.clone());
        blocking(move || {
            if let Some((code, _)) = producer.client().fatal_error() {
                return Err(link.unreachable(KafkaError::MessageProduction(code)));
            }
            producer
                .client()
                .fetch_metadata(Some(STATUS_TOPIC), STATUS_LIMIT)
                .map(drop)
                .map_err(|error| link.unreachable(error))
        })
        .await
    }

    pub(crate) async fn close(&self) {
        self.closed.cancel();
        let producer = self.producer.clone();
        let flushed = tokio::task::spawn_blocking(move || producer.flush(CLOSE_LIMIT)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(error = %error, brokers = self.link.brokers(), "records under way were not all delivered");
        }
    }

    fn check_open(&self) -> Result<(), BusError> {
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        Ok(())
    }

    /// librdkafka would try an unknown topic for as long as any record. Asking once tells at once.
    async fn check_place(&self, record: &NewRecord) -> Result<(), BusError> {
        crate::check_size(record)?;
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&record.topic)
            .copied();
        let partitions = match known {
            Some(partitions) => partitions,
            None => match self.find(&record.topic).await {
                Ok(partitions) => partitions,
                // With the brokers away the record is queued and tried like any other.
                Err(BusError::Unreachable { .. }) => return Ok(()),
                Err(other) => return Err(other),
            },
        };
        match record.partition {
            Some(partition) if partition >= partitions => Err(BusError::UnknownPartition {
                topic: Arc::clone(&record.topic),
                partition,
            }),
            Some(_) | None => Ok(()),
        }
    }

    async fn find(&self, topic: &Arc<str>) -> Result<u32, BusError> {
        let (producer, link, name) = (self.producer.clone(), self.link.clone(), Arc::clone(topic));
        let partitions = blocking(move || {
            // All topics, as asking a broker for one by name from a producer may create it.
            let metadata = producer
                .client()
                .fetch_metadata(None, link.request_timeout())
                .map_err(|error| link.unreachable(error))?;
            client::partitions_of(&metadata, &name).ok_or(BusError::UnknownTopic { topic: name })
        })
        .await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(Arc::clone(topic), partitions);
        Ok(partitions)
    }

    fn produce_error(&self, record: NewRecord, error: KafkaError) -> BusError {
        let topic = record.topic;
        match error {
            KafkaError::MessageProduction(
                RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition,
            ) => {
                // It was deleted meanwhile; the next record asks again.
                self.known
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&topic);
                BusError::UnknownTopic { topic }
            }
            error => BusError::Produce {
                topic,
                brokers: self.link.brokers().to_owned(),
                source: error.into(),
            },
        }
    }
}

/// Runs a call of librdkafka that blocks. The task is never aborted, so it ends early only by the runtime's end.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, BusError> + Send + 'static,
) -> Result<T, BusError> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|_| BusError::Closed)?
}
