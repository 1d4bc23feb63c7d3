//! Times that a node told, by the clock of this side.

use units::Timestamp;

/// How far a node's time of day is off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClockError {
    /// Milliseconds that it is ahead of this side's.
    pub(crate) ahead_ms: i64,
    /// When that was so, by the clock of this side.
    pub(crate) seen_at: Timestamp,
}

impl ClockError {
    pub(crate) fn here(self, told: Timestamp) -> Timestamp {
        Timestamp::from_millis(told.as_millis().saturating_sub(self.ahead_ms))
    }
}
