//! Settings of the log.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::BusError;

/// The shortest session timeout Apache Kafka accepts by default (`group.min.session.timeout.ms`).
const SESSION_TIMEOUT_MIN_MS: u32 = 6_000;
/// Longer than this and a dead member is missed for minutes.
const SESSION_TIMEOUT_MAX_MS: u32 = 300_000;
/// Compressions librdkafka knows.
const COMPRESSIONS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// What homeostat itself sets for librdkafka, because its guarantees hang on it or because it has a setting of its own.
const RESERVED_PROPERTIES: [&str; 14] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "compression.type",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "heartbeat.interval.ms",
    "message.timeout.ms",
    "partition.assignment.strategy",
    "partitioner",
    "session.timeout.ms",
];

/// Which log is used and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct BusConfig {
    /// Which back end is used.
    pub backend: BackendKind,
    /// Settings of the local back end.
    pub local: LocalConfig,
    /// Settings of the Kafka back end.
    pub kafka: KafkaConfig,
}

/// The back ends of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind {
    /// A crash-safe store on this machine's disk, for one process.
    #[default]
    Local,
    /// Apache Kafka.
    Kafka,
    /// Memory of this process; nothing survives it.
    Memory,
}

/// Settings of the local back end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct LocalConfig {
    /// The directory of the store; created when missing, used by one process at a time.
    pub dir: PathBuf,
    /// How long a write waits for others to share its fsync, in milliseconds.
    pub linger_ms: u64,
    /// Memory for cached pages of the store, in bytes.
    pub cache_bytes: u64,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/var/lib/homeostat/log"),
            linger_ms: 20,
            cache_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Settings of the Kafka back end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct KafkaConfig {
    /// Bootstrap addresses, `host:port` separated by commas.
    pub brokers: String,
    /// Compression of produced batches: none, gzip, snappy, lz4 or zstd.
    pub compression: String,
    /// Replication factor of topics that homeostat creates.
    pub replication_factor: i16,
    /// After how long without a heartbeat a group member is taken for dead, in milliseconds. Failover takes about as long.
    pub session_timeout_ms: u32,
    /// How long a record is tried before its delivery fails, in milliseconds.
    pub message_timeout_ms: u32,
    /// How long a request for metadata, offsets or topics may take, in milliseconds.
    pub request_timeout_ms: u32,
    /// Handed to librdkafka as they are: `security.protocol`, `sasl.*`, `ssl.*` and others.
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".to_owned(),
            compression: "lz4".to_owned(),
            replication_factor: 1,
            session_timeout_ms: SESSION_TIMEOUT_MIN_MS,
            message_timeout_ms: 120_000,
            request_timeout_ms: 15_000,
            properties: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("compression", &self.compression)
            .field("replication_factor", &self.replication_factor)
            .field("session_timeout_ms", &self.session_timeout_ms)
            .field("message_timeout_ms", &self.message_timeout_ms)
            .field("request_timeout_ms", &self.request_timeout_ms)
            .field("properties", &Redacted(&self.properties))
            .finish()
    }
}

/// Properties without the values that open doors.
struct Redacted<'a>(&'a BTreeMap<String, String>);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, value)| {
                let shown = if is_secret(name) {
                    "(not shown)"
                } else {
                    value.as_str()
                };
                (name, shown)
            }))
            .finish()
    }
}

/// Whether a property's value must not be shown. `sasl.jaas.config` and `sasl.oauthbearer.config` carry credentials inside.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "key", "jaas", "oauthbearer.config"]
        .iter()
        .any(|part| name.contains(part))
}

impl BusConfig {
    /// Everything wrong with these settings that can be told without opening the log. Settings of back ends that are not
    /// in use are not looked at. Keys are relative to this section.
    #[must_use]
    pub fn problems(&self) -> Vec<BusError> {
        match self.backend {
            BackendKind::Local => self.local.problems(),
            BackendKind::Kafka => self.kafka.problems(),
            BackendKind::Memory => Vec::new(),
        }
    }
}

impl LocalConfig {
    fn problems(&self) -> Vec<BusError> {
        let mut problems = Vec::new();
        if self.dir.as_os_str().is_empty() {
            problems.push(problem("local.dir", "is empty; give a directory"));
        }
        if self.linger_ms > 1_000 {
            problems.push(problem(
                "local.linger_ms",
                "is over 1000; every write would wait that long",
            ));
        }
        problems
    }
}

impl KafkaConfig {
    fn problems(&self) -> Vec<BusError> {
        let mut problems = Vec::new();
        if self
            .brokers
            .split(',')
            .any(|broker| broker.trim().is_empty())
        {
            problems.push(problem(
                "kafka.brokers",
                "has an empty address; give host:port, separated by commas",
            ));
        }
        if !COMPRESSIONS.contains(&self.compression.as_str()) {
            let text = format!(
                "is {:?}; use one of {}",
                self.compression,
                COMPRESSIONS.join(", ")
            );
            problems.push(problem("kafka.compression", &text));
        }
        if self.replication_factor < 1 {
            problems.push(problem(
                "kafka.replication_factor",
                "is below 1; use 3 on a cluster, 1 on a single broker",
            ));
        }
        if !(SESSION_TIMEOUT_MIN_MS..=SESSION_TIMEOUT_MAX_MS).contains(&self.session_timeout_ms) {
            let text = format!(
                "is {}; use {SESSION_TIMEOUT_MIN_MS} to {SESSION_TIMEOUT_MAX_MS}",
                self.session_timeout_ms
            );
            problems.push(problem("kafka.session_timeout_ms", &text));
        }
        for name in RESERVED_PROPERTIES
            .iter()
            .filter(|name| self.properties.contains_key(**name))
        {
            let key = format!("kafka.properties.\"{name}\"");
            problems.push(problem(&key, "is set by homeostat itself; remove it"));
        }
        problems
    }

    /// The values that must not be shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret = self
            .properties
            .iter()
            .filter(|(name, value)| is_secret(name) && !value.is_empty());
        secret.map(|(_, value)| value.as_str())
    }
}

fn problem(key: &str, text: &str) -> BusError {
    BusError::Config {
        key: key.to_owned(),
        problem: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_what_opens_doors() {
        let mut config = KafkaConfig::default();
        for (name, value) in [
            ("sasl.password", "hunter2"),
            ("sasl.oauthbearer.client.secret", "hunter2"),
            ("ssl.key.pem", "hunter2"),
            ("SSL.KeyStore.Password", "hunter2"),
            ("sasl.username", "homeostat"),
        ] {
            config.properties.insert(name.to_owned(), value.to_owned());
        }
        let shown = format!(
            "{:?}",
            BusConfig {
                kafka: config,
                ..BusConfig::default()
            }
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(
            shown.contains("homeostat") && shown.contains("(not shown)"),
            "{shown}"
        );
    }

    #[test]
    fn only_the_used_back_end_is_judged() {
        let mut config = BusConfig::default();
        config.kafka.brokers = String::new();
        config.kafka.compression = "zip".to_owned();
        config.kafka.replication_factor = 0;
        config.kafka.session_timeout_ms = 10;
        assert!(config.problems().is_empty());
        config
            .kafka
            .properties
            .insert("acks".to_owned(), "1".to_owned());
        config.backend = BackendKind::Kafka;
        assert_eq!(config.problems().len(), 5);
    }
}
