//! What is expected of a load one start-up time ahead: between the forecast that makes it and the sizing that goes by it.

use serde::{Deserialize, Serialize};

/// What is expected at one time ahead.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Load, in requests a second or in any unit a load is told in.
    pub load: f64,
    /// Standard deviation of a single second around it, in the same unit; more than zero.
    pub spread: f64,
}

/// A burst that may begin soon, because bursts of before began at this time of their period.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coming {
    /// What it will reach, in the unit of the load.
    pub level: f64,
    /// How likely it is to come at all this time, 0 to 1.
    pub chance: f64,
    /// The time in which it begins if it comes, in seconds.
    pub window_s: f64,
}

/// What will be, as seen from the newest second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    /// When a replica ordered now is ready, if the level stays.
    pub steady: Expected,
    /// The same, if a rise goes on.
    pub rising: Expected,
    /// A burst for which replicas would have to be ordered now.
    pub coming: Option<Coming>,
}
