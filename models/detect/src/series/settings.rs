//! The one default profile.

use serde::{Deserialize, Serialize};

use super::alarm::AlarmSettings;

/// Settings of a [`super::SeriesDetector`]. The default is one profile for all kinds of series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeriesSettings {
    /// Rows before the first alert: less history supports no claim.
    pub warm_up_rows: u32,
    /// Share of its own history in the evidence, 0 to 1; the rest is the figure itself, so that a quiet subject's trifles stay
    /// trifles.
    pub history_share: f32,
    /// When evidence becomes an alert.
    pub alarm: AlarmSettings,
}

impl Default for SeriesSettings {
    /// Chosen by the mean over six public sets of event F1 against its goal, never for one of them: rows of 1 min, 5 min and 1 h;
    /// 1, 19 and 38 metrics.
    fn default() -> Self {
        SeriesSettings {
            warm_up_rows: 90,
            history_share: 0.9,
            alarm: AlarmSettings {
                open_at: 2.62,
                calm_below: 0.67,
                calm_values: 2,
                told_values: 1,
                worse_at: 1.0,
                dearer_by: 0.13,
                forgiven_after_rows: 1_200.0,
            },
        }
    }
}
