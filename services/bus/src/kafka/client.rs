//! What all clients of librdkafka share: settings, logs and errors.

use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::util::Timeout;

use crate::{BusError, KafkaConfig};

/// What librdkafka may hold of fetched records per consumer, in KiB.
const FETCHED_KIB: &str = "8192";
/// The largest batch a producer sends. Above our own limit by room for framing, below the broker's default limit.
const MESSAGE_MAX_BYTES: &str = "1040000";
/// What a producer holds of records under way, in KiB. Calls of `produce` wait for room beyond it.
const QUEUED_KIB: &str = "32768";

/// Hands librdkafka's logs and errors to `tracing`.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility = fac, "{log_message}");
            }
            // A broker that is away is an error to librdkafka and something that passes to us.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(facility = fac, "{log_message}")
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility = fac, "{log_message}")
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility = fac, "{log_message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(error = %error, "{reason}");
    }
}

fn common(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", "homeostat")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "2000")
        // Without this, each idle connection that a broker closes is a line in the log.
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in &config.properties {
        client.set(name, value);
    }
    client
}

pub(super) fn producer(config: &KafkaConfig) -> ClientConfig {
    let mut client = common(config);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("compression.type", &config.compression)
        .set("partitioner", "murmur2")
        .set("message.max.bytes", MESSAGE_MAX_BYTES)
        .set("queue.buffering.max.kbytes", QUEUED_KIB)
        .set("message.timeout.ms", config.message_timeout_ms.to_string());
    client
}

/// A client for requests about topics only.
pub(super) fn admin(config: &KafkaConfig) -> ClientConfig {
    common(config)
}

pub(super) fn consumer(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = common(config);
    client
        .set("group.id", group)
        .set("session.timeout.ms", config.session_timeout_ms.to_string())
        .set(
            "heartbeat.interval.ms",
            (config.session_timeout_ms / 3).to_string(),
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

/// A setting that librdkafka refused. It repeats values, so secrets are taken out of what it says.
pub(super) fn config_error(config: &KafkaConfig, error: KafkaError) -> BusError {
    let (key, problem) = match error {
        KafkaError::ClientConfig(_, description, name, _) => (format!("kafka.properties.\"{name}\""), description),
        KafkaError::ClientCreation(description) => ("kafka.properties".to_owned(), description),
        other => ("kafka.properties".to_owned(), other.to_string()),
    };
    let problem = config.secrets().fold(problem, |text, secret| text.replace(secret, "(not shown)"));
    BusError::Config { key, problem }
}

pub(super) fn unreachable(config: &KafkaConfig, error: KafkaError) -> BusError {
    BusError::Unreachable {
        brokers: config.brokers.clone(),
        source: error.into(),
    }
}

/// The partition count of a topic, from metadata that may hold several.
pub(super) fn partitions_of(metadata: &Metadata, topic: &str) -> Option<u32> {
    let found = metadata
        .topics()
        .iter()
        .find(|found| found.name() == topic)?;
    if found.error().is_some() || found.partitions().is_empty() {
        return None;
    }
    u32::try_from(found.partitions().len()).ok()
}

/// Asks for one topic's partition count. Blocks.
pub(super) fn find_topic<C: ClientContext>(
    client: &Client<C>,
    config: &KafkaConfig,
    topic: &str,
) -> Result<u32, BusError> {
    let metadata = client
        .fetch_metadata(Some(topic), request_timeout(config))
        .map_err(|error| unreachable(config, error))?;
    partitions_of(&metadata, topic).ok_or_else(|| BusError::UnknownTopic {
        topic: Arc::from(topic),
    })
}

pub(super) fn request_timeout(config: &KafkaConfig) -> Timeout {
    Timeout::After(std::time::Duration::from_millis(
        config.request_timeout_ms.into(),
    ))
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
