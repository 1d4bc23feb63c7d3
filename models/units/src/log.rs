//! Log lines as they travel.

use serde::{Deserialize, Serialize};

use crate::{ContainerId, ContainerName, NodeId, ServiceId, Timestamp};

/// Which of the container's streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Level of a line, as recognised in its text; named like OpenTelemetry's severity ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing recognised.
    Unknown,
    /// Finest.
    Trace,
    /// For developers.
    Debug,
    /// Ordinary.
    Info,
    /// Odd, handled.
    Warn,
    /// Failed.
    Error,
    /// Gave up.
    Fatal,
}

/// One line a container wrote, its 16 KiB pieces joined, or the lines of one stack trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When the engine took it.
    pub at: Timestamp,
    /// Where.
    pub node: NodeId,
    /// The service.
    pub service: ServiceId,
    /// The engine's id.
    pub container: ContainerId,
    /// The container's name.
    pub name: ContainerName,
    /// Standard output or error.
    pub stream: LogStream,
    /// Its level.
    pub severity: Severity,
    /// The line's number within this stream of the container's log since it was created, as far as this collector counted. With
    /// container and stream it identifies the line, so that a line sent twice is recognised.
    pub sequence: u64,
    /// How many lines this one holds: more than one where a stack trace was merged. The next line of the stream is numbered
    /// `sequence + lines`, and what was sent twice may have been merged otherwise the second time.
    pub lines: u32,
    /// Lines of the container known to be lost directly before this one: rotated away unread, cut off, or dropped from a full
    /// spool. After a crash of the collector it may count lines that came all the same.
    pub lost_before: u64,
    /// Lines the rate limit dropped directly before this one.
    pub limited_before: u64,
    /// The trace it belongs to, as recognised in its text: 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The text without its newline. Bytes that are no UTF-8 stand as U+FFFD, and secrets as `[redacted:…]`.
    pub text: String,
    /// The bytes, where they are no UTF-8.
    pub raw: Option<Vec<u8>>,
}
