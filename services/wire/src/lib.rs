//! The contract between the roles: every topic, the record on it, its version and its codec.
//!
//! Samples and logs travel as Arrow IPC streams, everything else as JSON. Each record names its schema and version, its producer and
//! its W3C trace context in headers. A reader takes the versions it knows; anything else is a [`DecodeError`] that names topic, version
//! and offset, so that it can be counted and put aside. Decoding never panics, whatever the bytes.
//!
//! What this crate does not do: it moves nothing (that is `bus`), and decides nothing (that is `models/`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod columns;
mod error;
mod header;
mod json;
mod links;
mod logs;
mod samples;
mod series;
mod telemetry;
pub mod topic;

pub use error::{DecodeError, DecodeProblem, EncodeError};
pub use header::{Meta, producer, traceparent};
pub use json::{Checkpoint, Claim, Json, TrainedModel, decode, encode, is_tombstone, tombstone};
pub use links::{decode_links, encode_links};
pub use logs::{LogBatch, LogOrigin, LogRow, OriginKey, decode_logs, encode_logs};
pub use samples::{decode_samples, encode_samples};
pub use series::{decode_series, encode_series};
pub use telemetry::{Telemetry, decode_telemetry};
