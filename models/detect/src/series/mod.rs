//! A detector for any multivariate series: rows of values in, a score, an alert and the metrics to blame out.
//!
//! It knows nothing of what the metrics are and is told nothing but the values and their time. Per metric it keeps what is usual
//! (level, spread, range, roughness, daily and weekly habits) and judges each value in several [`Way`]s, each in decades of
//! rareness. Per subject it pools the metrics, swiftly for spikes and slowly for what lasts, and compares each with its own
//! history, so that the same evidence is equally rare for every subject. The [`Alert`] is told once per incident.
//!
//! Everything is strictly online: a verdict follows from that row and those before it. State is of fixed size: some
//! 4 KB per metric and 4 KB per subject. Rows cost less than a microsecond per metric.
//!
//! What it does not do: relations between metrics are used only as far as several are out at once, and missing values are no
//! evidence.

mod alarm;
mod evidence;
mod metric;
mod ranking;
mod season;
mod settings;
mod subject;
mod tail;
#[cfg(test)]
mod tests;
mod view;

pub use alarm::{AlarmSettings, Alert};
pub use metric::Way;
pub use settings::SeriesSettings;
pub use subject::{Contribution, SeriesDetector, Verdict};
