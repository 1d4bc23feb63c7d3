//! The topics that carry JSON.

use bus::{NewRecord, Record};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use units::{
    Command, ContainerEvent, Feedback, Forecast, Heartbeat, JournalEntry, NodeInventory, Outcome,
    ServiceId, Signal, StandingExport, StandingPolicy, Timestamp,
};

use crate::error::DecodeError;
use crate::header::{self, Meta};
use crate::topic;

/// A record that travels as JSON.
pub trait Json: Serialize + DeserializeOwned {
    /// Where.
    const TOPIC: &'static str;
    /// Schema name in the header.
    const SCHEMA: &'static str;
    /// Newest version; readers take this and all before it. Adding an optional field needs no new one.
    const VERSION: u32;
    /// The key: records with the same one stay in order.
    fn key(&self) -> &str;
}

macro_rules! json {
    ($type:ty, $topic:ident, $schema:literal, $self:ident => $key:expr) => {
        impl Json for $type {
            const TOPIC: &'static str = topic::$topic;
            const SCHEMA: &'static str = $schema;
            const VERSION: u32 = 1;

            fn key(&$self) -> &str {
                $key
            }
        }
    };
}

json!(ContainerEvent, EVENTS, "event", self => self.container.as_str());
json!(Signal, SIGNALS, "signal", self => self.fingerprint.as_str());
json!(Feedback, FEEDBACK, "feedback", self => self.fingerprint.as_str());
json!(Forecast, FORECASTS, "forecast", self => self.service.as_str());
json!(Command, COMMANDS, "command", self => self.node.as_str());
json!(Outcome, OUTCOMES, "outcome", self => self.node.as_str());
json!(Heartbeat, HEARTBEATS, "heartbeat", self => self.node.as_str());
impl Json for StandingPolicy {
    const TOPIC: &'static str = topic::POLICY;
    const SCHEMA: &'static str = "policy";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        "heal"
    }
}

json!(StandingExport, EXPORTS, "export", self => self.container.as_str());
json!(JournalEntry, JOURNAL, "journal", self => match self {
    JournalEntry::Plan(entry) => entry.plan.id.as_str(),
    JournalEntry::Breaker(_) => "breaker",
    JournalEntry::Approval(approval) => approval.plan.as_str(),
    JournalEntry::Update(update) => update.id.as_str(),
    JournalEntry::Node(order) => order.node.as_str(),
});
json!(Claim, ELECTION, "claim", self => &self.candidate);
json!(Checkpoint, CHECKPOINTS, "checkpoint", self => &self.partition_key);
json!(TrainedModel, MODELS, "model", self => self.service.as_str());

impl<C: Serialize + DeserializeOwned> Json for NodeInventory<C> {
    const TOPIC: &'static str = topic::INVENTORY;
    const SCHEMA: &'static str = "inventory";
    const VERSION: u32 = 1;

    fn key(&self) -> &str {
        self.node.as_str()
    }
}

/// A controller's claim to lead. The offset it gets is its generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who claims.
    pub candidate: String,
    /// When.
    pub at: Timestamp,
}

/// The state of the detectors of one partition of the samples, as of a position in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The partition's number as text: the key.
    pub partition_key: String,
    /// The next offset of samples to read.
    pub samples_next: u64,
    /// The next offset of logs to read.
    pub logs_next: u64,
    /// When it was taken.
    pub at: Timestamp,
    /// Version of the state's own encoding; another one is not read.
    pub state_version: u32,
    /// The state, as its owner encodes it, in base 64.
    pub state: String,
}

/// The model of a service, trained on its own history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainedModel {
    /// Whose it is: the key.
    pub service: ServiceId,
    /// When it was trained.
    pub trained_at: Timestamp,
    /// The model's version: a digest of what the artefact holds.
    pub digest: String,
    /// Version of the artefact's own encoding; another one is not read.
    pub artefact_version: u32,
    /// The model and where it came from, as its owner encodes them.
    pub artefact: serde_json::Value,
}

/// Writes a value for its topic.
pub fn encode<T: Json>(value: &T, meta: &Meta) -> NewRecord {
    let json = serde_json::to_vec(value)
        .expect("our records have text keys and no failing serialiser, so JSON takes them");
    NewRecord {
        topic: T::TOPIC.into(),
        key: Bytes::copy_from_slice(value.key().as_bytes()),
        value: Bytes::from(json),
        headers: header::headers(T::SCHEMA, T::VERSION, meta),
        partition: None,
    }
}

/// Reads a value.
///
/// # Errors
/// When schema or version are not known, or the bytes are not that value.
pub fn decode<T: Json>(record: &Record) -> Result<T, DecodeError> {
    header::expect(record, T::SCHEMA, T::VERSION)?;
    serde_json::from_slice(&record.value).map_err(|error| DecodeError::malformed(record, error))
}

/// What takes back the newest record of a key in a compacted topic.
pub fn tombstone<T: Json>(key: &str, meta: &Meta) -> NewRecord {
    NewRecord {
        topic: T::TOPIC.into(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::new(),
        headers: header::headers(T::SCHEMA, T::VERSION, meta),
        partition: None,
    }
}

/// The record says that its key is gone.
pub fn is_tombstone(record: &Record) -> bool {
    record.value.is_empty()
}
