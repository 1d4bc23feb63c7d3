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
    /// Chosen by the mean over six public sets of event F1 against its goal, never for one of them: rows of 1 min, 5 min and 1 h;
    /// 1, 19 and 38 metrics.
    fn default() -> Self {
        SeriesSettings {
            warm_up_rows: 90,
            steady_gain: 0.5,
            swift_weight: 0.7,
            alarm: AlarmSettings {
                open_at: 2.6,
                calm_below: 0.8,
                calm_values: 5,
                told_values: 1,
                worse_at: 1.5,
                dearer_by: 0.7,
                forgiven_after_seconds: 43_200.0,
            },
        }
    }
}
