//! The log in Apache Kafka, through librdkafka.

mod client;
mod feed;
mod producer;
mod subscription;
mod tail;
mod topics;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use tokio::task::unconstrained;
use tokio_util::sync::CancellationToken;

use self::client::Link;
use self::producer::{Producer, Unsent};
pub(crate) use self::subscription::KafkaSubscription;
pub(crate) use self::tail::KafkaTail;
use crate::{BusError, From, KafkaConfig, NewRecord, Position, TopicSpec};

/// How long readiness waits for a broker's answer.
const STATUS_LIMIT: Duration = Duration::from_secs(3);
/// Asked for by readiness: it lives on every cluster that has groups, and asking does not create it.
const STATUS_TOPIC: &str = "__consumer_offsets";

/// A connection to Kafka.
pub(crate) struct Kafka {
    link: Link,
    producer: Producer,
    /// Partition counts of topics that were found to exist.
    known: Mutex<HashMap<Arc<str>, u32>>,
    /// One per topic that was written to. Topics are named by the program, so there are few.
    lanes: Mutex<HashMap<Arc<str>, Arc<Lane>>>,
    closed: CancellationToken,
}

/// Lets calls for one topic pass in the order they came: while the first asks whether the topic exists or waits for room,
/// the others stand behind it. tokio's mutex is fair. Holds when no broker answered the last call that asked.
type Lane = tokio::sync::Mutex<Option<Instant>>;

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
        let producer = Producer::open(&link)?;
        Ok(Self {
            link,
            producer,
            known: Mutex::default(),
            lanes: Mutex::default(),
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
        crate::check_size(&record)?;
        let patience = Duration::from_millis(self.link.config.message_timeout_ms.into());
        let began = Instant::now();
        let lane = self.lane(&record.topic);
        let report = {
            // Within tokio's budget it might be told to yield before it has taken its place in the line.
            let mut unanswered = unconstrained(lane.lock()).await;
            self.check_place(&record, began, &mut unanswered).await?;
            // Counted from the call on, or every call in line would wait as long again as the one before it.
            let since = unanswered.map_or(began, |at| at.max(began));
            self.producer.send(&record, since + patience).await
        };
        let outcome = match report {
            // The thread answers every record that librdkafka took before it ends.
            Ok(report) => report.await.map_err(|_| BusError::Closed)?,
            Err(Unsent::Closed) => return Err(BusError::Closed),
            Err(Unsent::Refused(error)) => Err(error),
        };
        match outcome {
            Ok(delivered) => Ok(Position {
                topic: record.topic,
                // A delivered record has both.
                partition: u32::try_from(delivered.partition).unwrap_or_default(),
                offset: u64::try_from(delivered.offset).unwrap_or_default(),
            }),
            Err(error) => Err(self.produce_error(record.topic, error)),
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
        let (shared, link) = (self.producer.client()?, self.link.clone());
        blocking(move || {
            let client = shared.base.client();
            if let Some((code, _)) = client.fatal_error() {
                return Err(link.unreachable(KafkaError::MessageProduction(code)));
            }
            client
                .fetch_metadata(Some(STATUS_TOPIC), STATUS_LIMIT)
                .map(drop)
                .map_err(|error| link.unreachable(error))
        })
        .await
    }

    pub(crate) async fn close(&self) {
        self.closed.cancel();
        if let Err(error) = self.producer.close().await {
            tracing::warn!(error = %error, brokers = self.link.brokers(), "records under way were not all delivered");
        }
    }

    fn check_open(&self) -> Result<(), BusError> {
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        Ok(())
    }

    fn lane(&self, topic: &Arc<str>) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        match lanes.get(topic) {
            Some(lane) => Arc::clone(lane),
            None => Arc::clone(lanes.entry(Arc::clone(topic)).or_default()),
        }
    }

    /// librdkafka would try an unknown topic for as long as any record. Asking once tells at once.
    async fn check_place(
        &self,
        record: &NewRecord,
        began: Instant,
        unanswered: &mut Option<Instant>,
    ) -> Result<(), BusError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&record.topic)
            .copied();
        let partitions = match known {
            Some(partitions) => partitions,
            // The call before this one asked while this one stood behind it: asking again would add the waits up.
            None if unanswered.is_some_and(|at| at >= began) => return Ok(()),
            None => match self.find(&record.topic).await {
                Ok(partitions) => partitions,
                // With the brokers away the record is queued and tried like any other.
                Err(BusError::Unreachable { .. }) => {
                    *unanswered = Some(Instant::now());
                    return Ok(());
                }
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
        let (shared, link, name) = (
            self.producer.client()?,
            self.link.clone(),
            Arc::clone(topic),
        );
        let partitions = blocking(move || {
            // All topics, as asking a broker for one by name from a producer may create it.
            let metadata = shared
                .base
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

    fn produce_error(&self, topic: Arc<str>, error: KafkaError) -> BusError {
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
