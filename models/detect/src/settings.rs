//! What an operator may tune. Everything else is a named constant beside the rule it belongs to.

use std::time::Duration;

/// Settings of a [`crate::Detector`]. They are not part of its state: a restored detector takes those of today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// An open signal is told again at most this often, unless it became more severe.
    pub update_every: Duration,
    /// After this long open, a deviation is taken for the new normal.
    pub relearn_after: Duration,
    /// After its start, a container is not compared with what was usual for this long.
    pub grace: Duration,
    /// Telemetry is missing when it stopped this long ago.
    pub telemetry_after: Duration,
    /// Containers of one partition that are tracked; those beyond it are counted and not judged.
    pub max_containers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            update_every: Duration::from_secs(30),
            relearn_after: Duration::from_secs(600),
            grace: Duration::from_secs(10),
            telemetry_after: Duration::from_secs(10),
            max_containers: 2_000,
        }
    }
}
