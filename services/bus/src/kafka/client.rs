//! What all clients of librdkafka share: settings, logs and errors.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::util::Timeout;

use super::producer::ROOM_KIB;
use crate::{BusError, KafkaConfig};

/// How long a batch waits for more records, in milliseconds.
pub(super) const LINGER_MS: u64 = 20;
/// What librdkafka may hold of fetched records per consumer, in KiB.
const FETCHED_KIB: &str = "8192";
/// The largest batch a producer sends. Above our own limit by room for framing, below the broker's default limit.
const MESSAGE_MAX_BYTES: &str = "1040000";
/// A batch of this size is not kept waiting for more.
const BATCH_BYTES: &str = "262144";
/// librdkafka's own limit of records under way, in KiB and in records. Calls wait for room at half of it: librdkafka counts a
/// record until the whole batch of delivery reports that its own came with is worked off, and must not refuse one meanwhile.
const QUEUED_MAX: u32 = 2 * ROOM_KIB;

/// Hands librdkafka's logs and errors to `tracing`, and remembers the last complaint: its error codes alone do not tell a
/// closed port from a wrong certificate.
#[derive(Debug, Clone, Default)]
pub(super) struct LogContext {
    complaint: Arc<Mutex<Option<String>>>,
}

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                self.remember(log_message);
                tracing::error!(facility = fac, "{log_message}");
            }
            // A broker that is away is an error to librdkafka and something that passes to us.
            RDKafkaLogLevel::Error => {
                self.remember(log_message);
                tracing::warn!(facility = fac, "{log_message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(facility = fac, "{log_message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility = fac, "{log_message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility = fac, "{log_message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // A tail that has caught up, as every quiet one does all the time.
            Some(RDKafkaErrorCode::PartitionEOF) => tracing::trace!("{reason}"),
            // Mostly a count of brokers that are down; what is wrong with them was logged before.
            _ => tracing::warn!(error = %error, "{reason}"),
        }
    }
}

impl LogContext {
    fn remember(&self, complaint: &str) {
        let mut last = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(complaint.to_owned());
    }
}

/// Why nobody answered.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", complaint.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
struct Unanswered {
    error: KafkaError,
    complaint: Option<String>,
}

/// How to make clients for one cluster. Its clones share what librdkafka last complained about.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) config: Arc<KafkaConfig>,
    pub(super) log: LogContext,
}

impl Link {
    pub(super) fn new(config: &KafkaConfig) -> Self {
        Self {
            config: Arc::new(config.clone()),
            log: LogContext::default(),
        }
    }

    pub(super) fn brokers(&self) -> &str {
        &self.config.brokers
    }

    fn common(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.config.brokers)
            .set("client.id", "homeostat")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "2000")
            // Without this, each idle connection that a broker closes is a line in the log.
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in &self.config.properties {
            client.set(name, value);
        }
        client
    }

    /// Set for a collector on a host whose CPU belongs to others: some ten records of some kilobytes a second, more where
    /// logs are chatty. What is not set here is right by default: batches of up to 1 MB, no statistics, TCP without delay,
    /// metadata every five minutes, and lz4 at its fastest level when it is the compression. The idempotent producer keeps
    /// order with up to five requests in flight, and makes the next batch only when the last has been written out.
    pub(super) fn producer(&self) -> ClientConfig {
        let queued_max = QUEUED_MAX.to_string();
        let mut client = self.common();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Every batch costs a request, a response, and some wake-ups of threads on both sides, and small ones compress
            // badly. Records come in bursts, one per scrape and source; this takes a burst in as one batch per partition,
            // and a caller that waits for each record hardly notices. The local log lingers as long.
            .set("linger.ms", LINGER_MS.to_string())
            // A large record is worth a request of its own, at once.
            .set("batch.size", BATCH_BYTES)
            .set("compression.type", &self.config.compression)
            .set("partitioner", "murmur2")
            .set("message.max.bytes", MESSAGE_MAX_BYTES)
            .set("queue.buffering.max.kbytes", &queued_max)
            .set("queue.buffering.max.messages", &queued_max)
            // Brokers could otherwise have this process gather librdkafka's metrics and push them.
            .set("enable.metrics.push", "false")
            .set(
                "message.timeout.ms",
                self.config.message_timeout_ms.to_string(),
            );
        client
    }

    /// A client for requests about topics only.
    pub(super) fn admin(&self) -> ClientConfig {
        self.common()
    }

    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let session_timeout_ms = self.config.session_timeout_ms;
        let mut client = self.common();
        client
            .set("group.id", group)
            .set("session.timeout.ms", session_timeout_ms.to_string())
            .set(
                "heartbeat.interval.ms",
                (session_timeout_ms / 3).to_string(),
            )
            .set("partition.assignment.strategy", "range")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .set("queued.max.messages.kbytes", FETCHED_KIB)
            // A consumer that has enough waits this long before it fetches again; the default is a second.
            .set("fetch.queue.backoff.ms", "50");
        client
    }

    pub(super) fn request_timeout(&self) -> Timeout {
        Timeout::After(self.patience())
    }

    /// How long requests are tried.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.config.request_timeout_ms.into())
    }

    /// A setting that librdkafka refused. It repeats values, so secrets are taken out of what it says.
    pub(super) fn config_error(&self, error: KafkaError) -> BusError {
        let (key, problem) = match error {
            KafkaError::ClientConfig(_, description, name, _) => {
                (format!("kafka.properties.\"{name}\""), description)
            }
            KafkaError::ClientCreation(description) => ("kafka.properties".to_owned(), description),
            other => ("kafka.properties".to_owned(), other.to_string()),
        };
        let secrets = self.config.secrets();
        let problem = secrets.fold(problem, |text, secret| text.replace(secret, "(not shown)"));
        BusError::Config { key, problem }
    }

    pub(super) fn unreachable(&self, error: KafkaError) -> BusError {
        let complaint = self
            .log
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        BusError::Unreachable {
            brokers: self.config.brokers.clone(),
            source: Box::new(Unanswered { error, complaint }),
        }
    }

    /// Asks for one topic's partition count. Blocks.
    pub(super) fn find_topic<C: ClientContext>(
        &self,
        client: &Client<C>,
        topic: &str,
    ) -> Result<u32, BusError> {
        let metadata = client
            .fetch_metadata(Some(topic), self.request_timeout())
            .map_err(|error| self.unreachable(error))?;
        if let Some(partitions) = partitions_of(&metadata, topic) {
            return Ok(partitions);
        }
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found
            .and_then(|found| found.error())
            .map(RDKafkaErrorCode::from)
        {
            Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => Err(BusError::Consume {
                what: format!("topic {topic}"),
                brokers: self.config.brokers.clone(),
                source: KafkaError::MetadataFetch(code).into(),
            }),
            Some(_) | None => Err(BusError::UnknownTopic {
                topic: Arc::from(topic),
            }),
        }
    }
}

/// The partition count of a topic, from metadata that may hold several.
pub(super) fn partitions_of(metadata: &Metadata, topic: &str) -> Option<u32> {
    let found = metadata
        .topics()
        .iter()
        .find(|found| found.name() == topic)?;
    // A missing topic is listed too when it was asked for, without partitions.
    u32::try_from(found.partitions().len())
        .ok()
        .filter(|partitions| *partitions > 0)
}

/// Whether an error says that brokers cannot be reached just now: librdkafka keeps trying by itself.
pub(super) fn passes(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::MessageTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::WaitingForCoordinator
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::BrokerNotAvailable
            | RDKafkaErrorCode::ReplicaNotAvailable
            | RDKafkaErrorCode::NetworkException
            | RDKafkaErrorCode::FencedLeaderEpoch
            | RDKafkaErrorCode::UnknownLeaderEpoch
            | RDKafkaErrorCode::Retry
            | RDKafkaErrorCode::PollExceeded
            | RDKafkaErrorCode::AutoOffsetReset
    )
}
