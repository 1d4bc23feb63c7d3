//! What can go wrong with the log, and what to do about it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// The cause below a [`BusError`].
pub type Cause = Box<dyn Error + Send + Sync>;

/// A failed operation on the log.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// A setting has a value the back end cannot work with.
    #[error("log setting {key}: {problem}")]
    Config {
        /// The setting, with its section.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The topic does not exist.
    #[error(
        "topic {topic} does not exist; topics are created when homeostat starts, or by hand with that name"
    )]
    UnknownTopic {
        /// The topic asked for.
        topic: Arc<str>,
    },
    /// The topic exists without this partition.
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition {
        /// The topic asked for.
        topic: Arc<str>,
        /// The partition asked for.
        partition: u32,
    },
    /// The topic exists, but not as the project needs it.
    #[error(
        "topic {topic} exists with {found}, {wanted} needed; change or delete the topic, it is not changed silently"
    )]
    TopicMismatch {
        /// The topic.
        topic: Arc<str>,
        /// What it has.
        found: String,
        /// What it ought to have.
        wanted: String,
    },
    /// The record exceeds [`crate::MAX_RECORD_BYTES`].
    #[error(
        "a record of {bytes} bytes for topic {topic} is over the limit of {limit}; send it in smaller pieces"
    )]
    TooLarge {
        /// The topic it was meant for.
        topic: Arc<str>,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The log was closed by this process.
    #[error("the log is closed; homeostat is shutting down")]
    Closed,
    /// Another process has the local log open.
    #[error("the local log in {} is in use by another process; stop the other homeostat or set log.local.dir", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The local log cannot be opened.
    #[error("cannot open the local log in {}; check that the directory is writable", dir.display())]
    Open {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The local log's file is damaged.
    #[error("the local log file {} is damaged; move it away and start again, a new one is created", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What was found.
        #[source]
        source: Cause,
    },
    /// The local log cannot be written to. Later calls are tried anew.
    #[error("cannot write to the local log in {}; check free space and health of that disk", dir.display())]
    Write {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The local log cannot be read.
    #[error("cannot read topic {topic} from the local log in {}; check the health of that disk", dir.display())]
    Read {
        /// The directory.
        dir: PathBuf,
        /// The topic.
        topic: Arc<str>,
        /// Why.
        #[source]
        source: Cause,
    },
    /// No Kafka broker answered in time.
    #[error(
        "no broker answers at {brokers}; check that Kafka runs there, and the security settings in log.kafka.properties"
    )]
    Unreachable {
        /// The bootstrap addresses.
        brokers: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Kafka refused to create or describe a topic.
    #[error(
        "cannot prepare topic {topic} at {brokers}; check the permissions to create and describe topics"
    )]
    Topics {
        /// The topic.
        topic: Arc<str>,
        /// The bootstrap addresses.
        brokers: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Kafka did not take a record.
    #[error(
        "cannot append to topic {topic} at {brokers}; check that its brokers are up and writing is permitted"
    )]
    Produce {
        /// The topic.
        topic: Arc<str>,
        /// The bootstrap addresses.
        brokers: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Kafka refused the subscription or ended it.
    #[error(
        "cannot read {what} at {brokers}; check that reading the topic and using the group is permitted"
    )]
    Consume {
        /// The group or topic.
        what: String,
        /// The bootstrap addresses.
        brokers: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Offsets could not be committed.
    #[error(
        "cannot commit offsets of group {group} at {brokers}; the records come again after a restart"
    )]
    Commit {
        /// The consumer group.
        group: String,
        /// The bootstrap addresses.
        brokers: String,
        /// Why.
        #[source]
        source: Cause,
    },
}
