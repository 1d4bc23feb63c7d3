//! What can go wrong between a record and its bytes.

use std::fmt;

use bus::Record;

/// A value that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Arrow refused the batch.
    #[error("cannot encode a batch for topic {topic}")]
    Batch {
        /// Where it was to go.
        topic: &'static str,
        /// Why.
        #[source]
        source: arrow_schema::ArrowError,
    },
}

/// A record that could not be read. It names the record, so that it can be found in the log.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {topic}/{partition} offset {offset} (schema {schema}): {problem}")]
pub struct DecodeError {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
    /// What the record says of its schema and version.
    pub schema: String,
    /// What is wrong with it.
    pub problem: DecodeProblem,
}

/// What is wrong with a record.
#[derive(Debug)]
pub enum DecodeProblem {
    /// It has no schema header: nothing of ours wrote it.
    NoSchema,
    /// Its schema or version is not known to this reader.
    UnknownVersion {
        /// What this reader knows.
        known: String,
    },
    /// The bytes are not what schema and version say.
    Malformed(String),
}

impl DecodeProblem {
    /// A word for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            DecodeProblem::NoSchema => "no_schema",
            DecodeProblem::UnknownVersion { .. } => "unknown_version",
            DecodeProblem::Malformed(_) => "malformed",
        }
    }
}

impl fmt::Display for DecodeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeProblem::NoSchema => f.write_str(
                "it has no homeostat-schema header; check that nothing else writes to this topic",
            ),
            DecodeProblem::UnknownVersion { known } => {
                write!(
                    f,
                    "this reader knows {known}; upgrade it before its writers"
                )
            }
            DecodeProblem::Malformed(what) => f.write_str(what),
        }
    }
}

impl DecodeError {
    pub(crate) fn new(record: &Record, problem: DecodeProblem) -> Self {
        DecodeError {
            topic: record.position.topic.to_string(),
            partition: record.position.partition,
            offset: record.position.offset,
            schema: crate::header::schema(record).unwrap_or("none").to_owned(),
            problem,
        }
    }

    pub(crate) fn malformed(record: &Record, what: impl fmt::Display) -> Self {
        DecodeError::new(record, DecodeProblem::Malformed(what.to_string()))
    }
}
