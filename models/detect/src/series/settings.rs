//! The one default profile.

use serde::{Deserialize, Serialize};

use super::alarm::AlarmSettings;

/// Settings of a [`super::SeriesDetector`]. The default is one profile for all kinds of series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeriesSettings {
    /// Rows before the first alert: less history supports no claim.
    pub warm_up_rows: u32,
    /// Gain of the steady evidence: a mean over some of the last rows, so that one spike is not enough.
    pub steady_gain: f32,
    /// What a spike counts against what lasts.
    pub swift_weight: f32,
    /// When evidence becomes an alert.
    pub alarm: AlarmSettings,
}

impl Default for SeriesSettings {
    fn default() -> Self {
        SeriesSettings {
            warm_up_rows: 60,
            steady_gain: 0.33,
            swift_weight: 0.8,
            alarm: AlarmSettings {
                open_at: 2.5,
                calm_below: 0.9,
                calm_values: 5,
                told_values: 3,
                worse_at: 1.3,
                dearer_by: 0.7,
                forgiven_after_seconds: 86_400.0,
            },
        }
    }
}
