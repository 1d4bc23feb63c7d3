//! The log that every role reads from and writes to.
//!
//! One interface, three back ends: Apache Kafka for production, a crash-safe store on local disk for a single machine, and
//! memory for simulation and tests. One conformance suite holds them to the same behaviour: records of a key stay in order
//! in one partition, an append is acknowledged once it is durable, members of a group share partitions and hand them over
//! at the last commit, delivery is at least once.
//!
//! What a log held for a while can be kept in one file, a [`recording`], and read without a log.
//!
//! The crate knows bytes, not what they mean: topics, schemas and codecs are `wire`'s. It has no transactions, no
//! exactly-once delivery and no schema registry, and it never creates a topic that was not asked for.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod config;
mod embedded;
mod error;
mod handle;
mod kafka;
mod partitioner;
pub mod recording;
#[cfg(feature = "testing")]
pub mod testing;
mod types;

pub use config::{BackendKind, BusConfig, KafkaConfig, LocalConfig};
pub use error::{BusError, Cause};
pub use handle::{Bus, Subscription, Tail};
pub use partitioner::partition_of;
use types::check_size;
pub use types::{
    Fetched, From, Headers, MAX_RECORD_BYTES, NewRecord, Position, Record, Retention, Tailed,
    TopicPartition, TopicSpec,
};
