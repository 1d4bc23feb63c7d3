//! The series that services are scaled by, as the pages of containers tell them.
//!
//! Inventories say who asks for which series of whom; whoever holds the service that tells a series adds it up and looks ahead, for
//! itself and for others. Within a container all series that are meant are summed: gauges as they are, counters as what they rise by
//! in a second. What a container did not tell is missing and never a zero.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forecast::Forecaster;
use serde::{Deserialize, Serialize};
use units::{
    ContainerId, ContainerState, HealthState, LoadUnit, MetricLoad, NodeId, NodeInventory, Point,
    Sample, ScaleTarget, SeriesKind, SeriesSelector, ServiceId, Steady, Timestamp,
};

/// A number read longer ago than this is missing: six scrapes at the usual pace.
const FRESH: Duration = Duration::from_secs(90);
/// A container whose last sample is older than this is not known to be ready.
const READY: Duration = Duration::from_secs(10);
/// Series of one metric within a container; one with more tells nothing, rather than a part of the sum.
const SERIES_MAX: usize = 2_000;
/// A counter that was not on the page for this long is forgotten.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What is asked for of the services of a partition, and what was told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// By the node whose containers are scaled by it.
    asked: BTreeMap<NodeId, BTreeSet<Asked>>,
    services: BTreeMap<ServiceId, Service>,
}

/// A series of a service.
type Asked = (ServiceId, SeriesSelector);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Service {
    containers: BTreeMap<ContainerId, Standing>,
    series: BTreeMap<SeriesSelector, Series>,
}

/// When a container was last heard, and whether it was ready then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Standing {
    at: Timestamp,
    is_ready: bool,
}

/// What the containers of a service tell of one selector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Series {
    told: BTreeMap<ContainerId, Told>,
    forecaster: Forecaster,
    last: Option<MetricLoad>,
}

/// What one container told of one selector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Told {
    /// Counters by their labels, for rates.
    counters: BTreeMap<String, (Steady, f64)>,
    reading: Option<Reading>,
}

/// The sum over one page.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Reading {
    at: Timestamp,
    steady: Steady,
    sum: f64,
    unit: LoadUnit,
    series: usize,
}

impl Watched {
    /// Takes what the containers of a node are scaled by, as far as services of this partition tell it.
    pub(crate) fn inventory(
        &mut self,
        inventory: &NodeInventory,
        knows: impl Fn(&ServiceId) -> bool,
    ) {
        let asks = inventory.containers.iter().filter_map(|record| {
            let ScaleTarget::Metric(target) = &record.policy.scale.as_ref()?.target else {
                return None;
            };
            let teller = target.service.as_ref().unwrap_or(&record.service);
            knows(teller).then(|| (teller.clone(), target.metric.clone()))
        });
        let asks: BTreeSet<Asked> = asks.collect();
        let before = match asks.is_empty() {
            true => self.asked.remove(&inventory.node),
            false => self.asked.insert(inventory.node.clone(), asks),
        };
        if self.asked.get(&inventory.node) != before.as_ref() {
            self.settle();
        }
    }

    /// Forgets what a node asked for.
    pub(crate) fn node_removed(&mut self, node: &NodeId) {
        if self.asked.remove(node).is_some() {
            self.settle();
        }
    }

    /// Forgets the services that are not known any more, and containers that were not heard of for long.
    pub(crate) fn retain(&mut self, knows: impl Fn(&ServiceId) -> bool) {
        let before: usize = self.asked.values().map(BTreeSet::len).sum();
        self.asked.retain(|_, asked| {
            asked.retain(|(service, _)| knows(service));
            !asked.is_empty()
        });
        if self.asked.values().map(BTreeSet::len).sum::<usize>() != before {
            self.settle();
        }
        for service in self.services.values_mut() {
            let newest = service.containers.values().map(|it| it.at).max();
            let Some(newest) = newest else { continue };
            service
                .containers
                .retain(|_, standing| newest.since(standing.at) <= REMEMBERED);
            for series in service.series.values_mut() {
                series
                    .told
                    .retain(|id, _| service.containers.contains_key(id));
            }
        }
    }

    /// Keeps exactly what somebody asks for.
    fn settle(&mut self) {
        let wanted: BTreeSet<&Asked> = self.asked.values().flatten().collect();
        for (name, service) in &mut self.services {
            service
                .series
                .retain(|metric, _| wanted.contains(&(name.clone(), metric.clone())));
        }
        self.services
            .retain(|_, service| !service.series.is_empty());
        for (service, metric) in wanted {
            let service = self.services.entry(service.clone()).or_default();
            service.series.entry(metric.clone()).or_default();
        }
    }

    /// Whether a point belongs to a series that somebody is scaled by.
    pub(crate) fn follows(&self, point: &Point) -> bool {
        let service = point.service.as_ref();
        let service = service.and_then(|service| self.services.get(service));
        service.is_some_and(|service| {
            let mut all = service.series.keys();
            all.any(|metric| metric.selects(&point.name, &point.labels))
        })
    }

    /// Takes a container's state.
    pub(crate) fn sample(&mut self, sample: &Sample) {
        if let Some(service) = self.services.get_mut(&sample.service) {
            let is_ready = sample.state == ContainerState::Running
                && matches!(sample.health, HealthState::None | HealthState::Healthy);
            let standing = Standing {
                at: sample.at,
                is_ready,
            };
            service
                .containers
                .insert(sample.container.clone(), standing);
        }
    }

    /// Takes what pages told.
    pub(crate) fn points(&mut self, points: &[Point]) {
        for point in points {
            let (Some(service), Some(container)) = (&point.service, &point.container) else {
                continue;
            };
            let Some(service) = self.services.get_mut(service) else {
                continue;
            };
            for (metric, series) in &mut service.series {
                if metric.selects(&point.name, &point.labels) {
                    let told = series.told.entry(container.clone()).or_default();
                    told.take(point);
                }
            }
        }
    }

    /// The loads that a service tells, as of a time. One that none of its ready containers tells is left out.
    pub(crate) fn loads(&mut self, service: &ServiceId, at: Timestamp) -> Vec<MetricLoad> {
        let Some(service) = self.services.get_mut(service) else {
            return Vec::new();
        };
        let is_ready = |standing: &&Standing| standing.is_ready && at.since(standing.at) <= READY;
        let ready: Vec<&ContainerId> = service
            .containers
            .iter()
            .filter(|(_, standing)| is_ready(standing))
            .map(|(id, _)| id)
            .collect();
        let loads = service.series.iter_mut();
        loads
            .filter_map(|(metric, series)| series.load(metric, &ready, at))
            .collect()
    }
}

impl Series {
    fn load(
        &mut self,
        metric: &SeriesSelector,
        ready: &[&ContainerId],
        at: Timestamp,
    ) -> Option<MetricLoad> {
        let told = ready.iter().filter_map(|id| self.told.get(*id)?.reading());
        let fresh: Vec<Reading> = told.filter(|it| at.since(it.at) <= FRESH).collect();
        let newest = fresh.iter().max_by_key(|it| it.at)?;
        let total: f64 = fresh.iter().map(|it| it.sum).sum();
        if !total.is_finite() || total < 0.0 {
            return None;
        }
        let containers = u32::try_from(fresh.len()).unwrap_or(u32::MAX);
        let missing = u32::try_from(ready.len() - fresh.len()).unwrap_or(u32::MAX);
        let last = self.last.as_ref();
        let is_alike = last.is_none_or(|last| (last.missing, last.unit) == (missing, newest.unit));
        if let Some(last) = last
            && is_alike
            && last.at == newest.at
        {
            return self.last.clone();
        }
        if !is_alike {
            // The total lacks another part than before: where it was going says nothing.
            self.forecaster = Forecaster::default();
        }
        let course = self.forecaster.follow(newest.at, total, FRESH);
        self.last = Some(MetricLoad {
            metric: metric.clone(),
            at: newest.at,
            unit: newest.unit,
            total,
            recent_peak: course.recent_peak.max(total),
            points: course.points,
            containers,
            missing,
        });
        self.last.clone()
    }
}

impl Told {
    fn reading(&self) -> Option<Reading> {
        self.reading.filter(|it| it.series <= SERIES_MAX)
    }

    fn take(&mut self, point: &Point) {
        let (number, unit) = match is_counter(point) {
            false => (Some(point.value), LoadUnit::Level),
            true => (self.rate(point), LoadUnit::PerSecond),
        };
        let Some(number) = number else { return };
        let of_this_page = self.reading.filter(|it| it.steady == point.steady);
        let (sum, series) = of_this_page.map_or((0.0, 0), |it| (it.sum, it.series));
        self.reading = Some(Reading {
            at: point.at,
            steady: point.steady,
            sum: sum + number,
            unit,
            series: series + 1,
        });
    }

    /// What a counter rose by in a second since the page before; not known where there is none, or where it began anew.
    fn rate(&mut self, point: &Point) -> Option<f64> {
        let now = (point.steady, point.value);
        let before = match self.counters.get_mut(&point.labels) {
            Some(known) => std::mem::replace(known, now),
            None => {
                let here = point.steady;
                self.counters
                    .retain(|_, (then, _)| *then <= here && here.since(*then) <= REMEMBERED);
                if self.counters.len() <= SERIES_MAX {
                    self.counters.insert(point.labels.clone(), now);
                }
                return None;
            }
        };
        let (then, value) = before;
        let elapsed_s = point.steady.since(then).as_secs_f64();
        (elapsed_s > 0.0 && point.value >= value).then(|| (point.value - value) / elapsed_s)
    }
}

/// By its type, or where its page tells none, by its name. The quantiles of a summary are levels, its sum and count are counters.
fn is_counter(point: &Point) -> bool {
    match point.kind {
        SeriesKind::Counter | SeriesKind::Histogram => true,
        SeriesKind::Gauge => false,
        SeriesKind::Summary => point.name.ends_with("_sum") || point.name.ends_with("_count"),
        SeriesKind::Unknown => point.name.ends_with("_total"),
    }
}

#[cfg(test)]
mod tests;
