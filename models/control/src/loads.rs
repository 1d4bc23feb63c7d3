//! The load of every service: the last forecasts, and the highest load of the time that scaling down looks back on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use units::{Forecast, MetricLoad, Millicores, SeriesSelector, ServiceId, Timestamp};

/// Forecasts kept as they came, newest last.
const LATEST_MAX: usize = 16;
/// Pieces the looked-back time is cut into; each keeps its highest load.
const BUCKETS_MAX: usize = 512;
const BUCKET_LEAST: Duration = Duration::from_secs(1);
/// Kept beyond the scale-down window, so that verdicts can compare with the time of the decision.
const BEYOND: Duration = Duration::from_secs(300);
/// Services without forecasts for this long are forgotten; no decision looks at what is that old.
const REMEMBERED: Duration = Duration::from_secs(2 * 3_600);
/// No trend is believed beyond this many times the highest load of the last minute.
const TREND_MOST: f64 = 2.0;

/// Pages of applications are read every quarter of a minute as a rule: one that was not for this long left a gap …
const METRIC_GAP: Duration = Duration::from_secs(90);
/// … and what was read longer ago than this is not known any more.
pub(crate) const METRIC_STALE: Duration = Duration::from_secs(60);

/// A clock that is further ahead of this side's than this is known to be off.
const AHEAD_PLAY: Duration = Duration::from_secs(5);

/// Whether a forecast was told of a time that is yet to be.
pub(crate) fn is_ahead(forecast: &Forecast, now: Timestamp) -> bool {
    forecast.at > now + AHEAD_PLAY
}

/// Loads by service: its CPU, and the series of its containers that somebody is scaled by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loads {
    cpu: BTreeMap<ServiceId, Load>,
    metrics: BTreeMap<(ServiceId, SeriesSelector), Load>,
}

/// The load of one service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Load {
    latest: VecDeque<Forecast>,
    buckets: VecDeque<Bucket>,
    /// Since when forecasts have come without a gap.
    unbroken_since: Timestamp,
    /// Since when all of them told, in full, that there is none and that none is expected.
    idle_since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    start: Timestamp,
    peak: f64,
    observed: f64,
}

/// How long a new replica takes until it serves: as replicas of the service have taken, else as assumed.
pub(crate) fn startup(forecast: &Forecast, assumed: Duration) -> Duration {
    let seen = forecast.startup_s.map(u64::from);
    seen.map_or(assumed, Duration::from_secs)
}

/// The load to be ready for: what is there, or what is expected once a new replica would serve.
pub(crate) fn load_ahead(forecast: &Forecast, assumed: Duration) -> f64 {
    let startup = startup(forecast, assumed);
    let ahead = forecast
        .points
        .iter()
        .find(|point| point.ahead >= startup)
        .or_else(|| forecast.points.last())
        .map_or(0.0, |point| point.expected);
    let most = forecast.recent_peak.max(forecast.observed) * TREND_MOST;
    if ahead.is_finite() {
        forecast.observed.max(ahead.min(most))
    } else {
        forecast.observed
    }
}

impl Loads {
    /// Takes a forecast, read now, unless a newer one is known.
    pub(crate) fn apply(
        &mut self,
        mut forecast: Forecast,
        now: Timestamp,
        startup: Duration,
        window: Duration,
        gap: Duration,
    ) {
        for load in std::mem::take(&mut forecast.loads) {
            let key = (forecast.service.clone(), load.metric.clone());
            let known = self.metrics.entry(key).or_default();
            let load = of_its_own(&forecast, load);
            known.apply(load, now, startup, window, METRIC_GAP);
        }
        let known = self.cpu.entry(forecast.service.clone()).or_default();
        known.apply(forecast, now, startup, window, gap);
    }

    /// The CPU of a service.
    pub(crate) fn get(&self, service: &ServiceId) -> Option<&Load> {
        self.cpu.get(service)
    }

    /// A series that containers of a service tell.
    pub(crate) fn metric(&self, service: &ServiceId, metric: &SeriesSelector) -> Option<&Load> {
        self.metrics.get(&(service.clone(), metric.clone()))
    }

    /// Forgets services nobody speaks of any more.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.cpu.retain(|_, load| load.is_remembered(now));
        self.metrics.retain(|_, load| load.is_remembered(now));
    }
}

/// A series as a forecast of its own, so that one rule reads both. No CPU is meant by its numbers.
fn of_its_own(forecast: &Forecast, load: MetricLoad) -> Forecast {
    Forecast {
        at: load.at,
        observed: load.total,
        recent_peak: load.recent_peak,
        replicas: load.containers.saturating_add(load.missing),
        replica_capacity: Millicores(1),
        throttled: 0.0,
        points: load.points.clone(),
        // How long replicas of whom it tells take to start is not how long those take that are scaled by it.
        startup_s: None,
        sizing: None,
        usage: None,
        loads: vec![load],
        ..forecast.clone()
    }
}

impl Load {
    fn apply(
        &mut self,
        forecast: Forecast,
        now: Timestamp,
        startup: Duration,
        window: Duration,
        gap: Duration,
    ) {
        let usable = forecast.observed.is_finite() && forecast.observed >= 0.0;
        if !usable || forecast.replica_capacity.0 == 0 {
            return;
        }
        match self.latest.back() {
            // The same told again, or out of its order; not so where a clock was set back from a time that is yet to be.
            Some(last)
                if last.at >= forecast.at
                    && !(is_ahead(last, now) && last.at.since(forecast.at) > gap) =>
            {
                return;
            }
            Some(last) if last.at < forecast.at && forecast.at.since(last.at) <= gap => {}
            // What was before a gap says nothing about now, and must not be put beside it; nor is what a clock said of a time that is
            // yet to be, once it was set back.
            Some(_) | None => {
                *self = Load {
                    unbroken_since: forecast.at,
                    ..Load::default()
                };
            }
        }
        self.push_bucket(&forecast, startup, window);
        // What is missing of a load is no zero.
        let is_whole = forecast.loads.iter().all(|load| load.missing == 0);
        match is_whole && load_ahead(&forecast, startup) == 0.0 {
            true => _ = self.idle_since.get_or_insert(forecast.at),
            false => self.idle_since = None,
        }
        self.latest.push_back(forecast);
        if self.latest.len() > LATEST_MAX {
            self.latest.pop_front();
        }
    }

    fn is_remembered(&self, now: Timestamp) -> bool {
        let last = self.latest.back();
        last.is_some_and(|last| last.at + REMEMBERED >= now)
    }

    fn push_bucket(&mut self, forecast: &Forecast, startup: Duration, window: Duration) {
        let kept = window + BEYOND;
        let width = (kept / BUCKETS_MAX as u32).max(BUCKET_LEAST);
        let peak = load_ahead(forecast, startup);
        match self.buckets.back_mut() {
            Some(bucket) if forecast.at < bucket.start + width => {
                bucket.peak = bucket.peak.max(peak);
                bucket.observed = forecast.observed;
            }
            Some(_) | None => self.buckets.push_back(Bucket {
                start: forecast.at,
                peak,
                observed: forecast.observed,
            }),
        }
        while self
            .buckets
            .front()
            .is_some_and(|bucket| bucket.start + kept < forecast.at)
        {
            self.buckets.pop_front();
        }
    }

    /// The newest forecast.
    pub(crate) fn newest(&self) -> Option<&Forecast> {
        self.latest.back()
    }

    /// The newest `count` forecasts after `since`; fewer when there are not so many.
    pub(crate) fn last(&self, count: u32, since: Timestamp) -> Vec<&Forecast> {
        let count = usize::try_from(count).unwrap_or(LATEST_MAX).min(LATEST_MAX);
        self.latest
            .iter()
            .rev()
            .take(count)
            .filter(|forecast| forecast.at > since)
            .collect()
    }

    /// The forecasts kept as they came.
    pub(crate) fn latest(&self) -> impl Iterator<Item = &Forecast> {
        self.latest.iter()
    }

    /// The highest load of the last `window` before the newest forecast, when forecasts covered all of it without a gap.
    pub(crate) fn peak_over(&self, window: Duration) -> Option<f64> {
        let newest = self.latest.back()?.at;
        let since = newest - window;
        if self.unbroken_since > since {
            return None;
        }
        // The bucket that begins before the window may hold its first forecasts.
        let first = self
            .buckets
            .iter()
            .rposition(|bucket| bucket.start <= since)
            .unwrap_or(0);
        Some(
            self.buckets
                .iter()
                .skip(first)
                .fold(0.0, |peak, bucket| peak.max(bucket.peak)),
        )
    }

    /// Since when every forecast, without a gap, told that there is no load and that none is expected.
    pub(crate) fn idle_since(&self) -> Option<Timestamp> {
        self.idle_since
    }

    /// When the window will first be covered, should no gap come.
    pub(crate) fn covered_at(&self, window: Duration) -> Timestamp {
        self.unbroken_since + window
    }

    /// The load observed at about this time.
    pub(crate) fn observed_at(&self, at: Timestamp) -> Option<f64> {
        let bucket = self
            .buckets
            .iter()
            .rev()
            .find(|bucket| bucket.start <= at)?;
        Some(bucket.observed)
    }
}
