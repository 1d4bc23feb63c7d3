//! What a service's load is and will be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Millicores, Ratio, SeriesSelector, ServiceId, Timestamp, duration_ms};

/// What the load is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadMetric {
    /// CPU of all replicas together, in millicores.
    CpuMillicores,
}

/// The load expected at one time ahead, with the range it should fall into.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ForecastPoint {
    /// How far ahead.
    #[serde(rename = "ahead_ms", with = "duration_ms")]
    pub ahead: Duration,
    /// Expected load.
    pub expected: f64,
    /// It should not be less than this in nine cases of ten …
    pub low: f64,
    /// … nor more than this.
    pub high: f64,
}

/// How the numbers of a load that is read from pages are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadUnit {
    /// A gauge, as it is.
    Level,
    /// A counter: what it rises by in a second.
    PerSecond,
}

/// A series that some service is scaled by, over the containers that tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricLoad {
    /// Which series.
    pub metric: SeriesSelector,
    /// When the newest number in it was read.
    pub at: Timestamp,
    /// Level or rate.
    pub unit: LoadUnit,
    /// Now: all ready containers that told it together.
    pub total: f64,
    /// The highest total of the last minute.
    pub recent_peak: f64,
    /// Ahead, nearest first.
    pub points: Vec<ForecastPoint>,
    /// Ready containers that told it …
    pub containers: u32,
    /// … and those that did not: `total` lacks their part, which is not zero.
    pub missing: u32,
}

/// The replicas a service needs for what was promised of it, and what that follows from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sizing {
    /// Replicas to have now, those that start counted.
    pub replicas: u32,
    /// Load expected when a replica ordered now would serve.
    pub expected: f64,
    /// Standard deviation of a single second around it.
    pub spread: f64,
    /// What a second without a backlog is worth at present, in replica-seconds.
    pub price: f64,
    /// The share of seconds that may see a backlog.
    pub slo: Ratio,
    /// The share of the last seconds that did, older ones counting less.
    pub broken: Ratio,
}

/// What one quantity of the busiest replica needs, from how it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need<T> {
    /// It was too little most of the time.
    pub lower: T,
    /// It would have been enough nearly always, with a margin.
    pub target: T,
    /// It is more than is needed, as surely as the history behind it allows to say.
    pub upper: T,
    /// The highest of a short time before now.
    pub recent_peak: T,
}

/// What the busiest replica of a service needs. A limit below `target` is a tight one, a limit above `upper` a wide one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// For how long it was watched.
    #[serde(rename = "history_ms", with = "duration_ms")]
    pub history: Duration,
    /// CPU.
    pub cpu: Need<Millicores>,
    /// Memory that cannot be given back at once; absent where it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Need<Bytes>>,
}

/// The load of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The service.
    pub service: ServiceId,
    /// When the newest sample in it was read.
    pub at: Timestamp,
    /// What is measured.
    pub metric: LoadMetric,
    /// Load now: all replicas together, over the last few seconds.
    pub observed: f64,
    /// The highest of the observed loads in the last minute.
    pub recent_peak: f64,
    /// Replicas that gave samples.
    pub replicas: u32,
    /// What one replica can carry at 100 %: its CPU limit, or one core where it has none.
    pub replica_capacity: Millicores,
    /// Share of its time the service waited for its CPU limit, 0 to 1: load that is asked for and not seen in `observed`.
    pub throttled: f64,
    /// How the points were found, for people.
    pub method: String,
    /// Ahead, nearest first.
    pub points: Vec<ForecastPoint>,
    /// Seconds that replicas of it have taken until they served, where that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_s: Option<u32>,
    /// How many replicas it needs, where a share of seconds was promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizing: Option<Sizing>,
    /// What its busiest replica needs. Absent in records of older analytics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Series of its containers that it, or another service, is scaled by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<MetricLoad>,
}
