//! From a container's samples to rows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    ContainerId, ContainerState, Metric, MetricKind, Sample, ServiceId, Steady, Timestamp,
};

/// Containers that are followed; samples of more are counted and left out.
const CONTAINERS_MAX: usize = 4_096;
/// After a longer silence, what happened within it is not spread over it.
const GAP_MAX: Duration = Duration::from_secs(10);
/// A container that said nothing for so many steps is forgotten when the place is needed.
const SILENT_STEPS: u32 = 30;

/// The metrics that tell of a container's work; limits, totals since a start and what is read every few minutes do not.
const TAKEN: [Metric; 29] = [
    Metric::CpuUsage,
    Metric::CpuSystem,
    Metric::CpuThrottled,
    Metric::MemoryWorkingSet,
    Metric::MemoryRss,
    Metric::MemoryCache,
    Metric::MajorFaults,
    Metric::PsiCpuSome,
    Metric::PsiMemorySome,
    Metric::PsiIoSome,
    Metric::IoReadBytes,
    Metric::IoWriteBytes,
    Metric::IoReadOps,
    Metric::IoWriteOps,
    Metric::Pids,
    Metric::NetRxBytes,
    Metric::NetTxBytes,
    Metric::NetRxPackets,
    Metric::NetTxPackets,
    Metric::TcpEstablished,
    Metric::TcpOpening,
    Metric::TcpClosing,
    Metric::TcpCloseWait,
    Metric::TcpRttMedian,
    Metric::TcpRttP99,
    Metric::TcpSegments,
    Metric::TcpRetransmits,
    Metric::LogLines,
    Metric::LogBytes,
];

/// Makes rows of samples: means over steps of ten seconds, counters as rates per second. It follows 4,096 containers at most, and
/// goes on from what was written of it as if it had not been interrupted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Averager {
    containers: BTreeMap<ContainerId, Container>,
    left_out: u64,
}

/// The mean of one container over one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Averaged {
    /// When the step began.
    pub at: Timestamp,
    /// Whose it is.
    pub service: ServiceId,
    /// The container.
    pub container: ContainerId,
    /// In the order of [`Averager::names`].
    pub values: Vec<Option<f64>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Container {
    step: Timestamp,
    steady: Option<Steady>,
    counters: [Option<f64>; TAKEN.len()],
    sums: [(f64, u32); TAKEN.len()],
}

impl Averager {
    /// Over how long a row is a mean.
    pub const STEP: Duration = Duration::from_secs(10);

    /// Names of a row's values: the metric's column, with `/s` behind it where it is a rate.
    pub fn names() -> Vec<String> {
        let name = |metric: &Metric| match metric.kind() {
            MetricKind::Counter => format!("{metric}/s"),
            MetricKind::Gauge => metric.to_string(),
        };
        TAKEN.iter().map(name).collect()
    }

    /// The metric behind a name of [`Averager::names`].
    pub fn metric(name: &str) -> Option<Metric> {
        let metric = Metric::from_column(name.strip_suffix("/s").unwrap_or(name))?;
        TAKEN.contains(&metric).then_some(metric)
    }

    /// Forgets the containers of which this is not said.
    pub fn retain(&mut self, stays: impl Fn(&ContainerId) -> bool) {
        self.containers.retain(|container, _| stays(container));
    }

    /// Takes a sample; gives the row of the step before when this one begins another. Samples of a container come in the order they
    /// were taken; one from before its step is left out.
    pub fn push(&mut self, sample: &Sample) -> Option<Averaged> {
        let step_ms = Self::STEP.as_millis() as i64;
        let step = Timestamp::from_millis(sample.at.as_millis().div_euclid(step_ms) * step_ms);
        if !self.containers.contains_key(&sample.container) && !self.make_place(step) {
            self.left_out += 1;
            return None;
        }
        let container = self
            .containers
            .entry(sample.container.clone())
            .or_insert_with(|| Container::new(step));
        if step < container.step {
            return None;
        }
        let finished = match step > container.step {
            true => container.finish(step, sample),
            false => None,
        };
        container.add(sample);
        finished
    }

    /// Samples left out because there were too many containers.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn make_place(&mut self, now: Timestamp) -> bool {
        if self.containers.len() >= CONTAINERS_MAX {
            let silent = Self::STEP * SILENT_STEPS;
            self.containers
                .retain(|_, container| now.since(container.step) < silent);
        }
        self.containers.len() < CONTAINERS_MAX
    }
}

impl Container {
    fn new(step: Timestamp) -> Self {
        Container {
            step,
            steady: None,
            counters: [None; TAKEN.len()],
            sums: [(0.0, 0); TAKEN.len()],
        }
    }

    /// The means of the step that ended; none when nothing was read in it.
    fn finish(&mut self, next: Timestamp, sample: &Sample) -> Option<Averaged> {
        let mean = |(sum, count): &(f64, u32)| (*count > 0).then(|| sum / f64::from(*count));
        let values: Vec<Option<f64>> = self.sums.iter().map(mean).collect();
        let at = self.step;
        self.step = next;
        self.sums = [(0.0, 0); TAKEN.len()];
        values.iter().any(Option::is_some).then(|| Averaged {
            at,
            service: sample.service.clone(),
            container: sample.container.clone(),
            values,
        })
    }

    fn add(&mut self, sample: &Sample) {
        if sample.state != ContainerState::Running {
            // It begins anew; what it counted before is of another run.
            self.counters = [None; TAKEN.len()];
            self.steady = None;
            return;
        }
        let gap = self.steady.map(|before| sample.steady.since(before));
        let gap_s = gap
            .filter(|gap| !gap.is_zero() && *gap <= GAP_MAX)
            .map(|gap| gap.as_secs_f64());
        self.steady = Some(sample.steady);
        for (at, metric) in TAKEN.iter().enumerate() {
            let read = sample.metrics.get(*metric);
            let value = match metric.kind() {
                MetricKind::Gauge => read,
                MetricKind::Counter => {
                    let before = std::mem::replace(&mut self.counters[at], read);
                    rate(before, read, gap_s)
                }
            };
            if let Some(value) = value {
                self.sums[at].0 += value;
                self.sums[at].1 += 1;
            }
        }
    }
}

/// A fall is a restart and gives no rate.
fn rate(before: Option<f64>, now: Option<f64>, gap_s: Option<f64>) -> Option<f64> {
    let (before, now, gap_s) = (before?, now?, gap_s?);
    (now >= before).then(|| (now - before) / gap_s)
}

#[cfg(test)]
mod tests {
    use units::{HealthState, MetricRow};

    use super::*;

    fn sample(second: u64, cpu: f64, pids: f64) -> Sample {
        let mut metrics = MetricRow::default();
        metrics.set(Metric::CpuUsage, cpu);
        metrics.set(Metric::Pids, pids);
        Sample {
            at: Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(second),
            steady: Steady::from_millis(second * 1_000),
            node: "n".into(),
            service: "shop/web".into(),
            container: "c".into(),
            name: "shop-web-1".into(),
            state: ContainerState::Running,
            health: HealthState::None,
            metrics,
        }
    }

    fn value(row: &Averaged, name: &str) -> Option<f64> {
        let at = Averager::names().iter().position(|it| it == name).unwrap();
        row.values[at]
    }

    #[test]
    fn a_row_is_a_mean_over_its_step_with_rates_of_counters() {
        let mut averager = Averager::default();
        for second in 0..10 {
            let pids = if second < 5 { 2.0 } else { 4.0 };
            assert_eq!(
                averager.push(&sample(second, second as f64 / 2.0, pids)),
                None
            );
        }
        let row = averager.push(&sample(10, 5.0, 9.0)).unwrap();
        assert_eq!(row.at, sample(0, 0.0, 0.0).at);
        assert_eq!(value(&row, "cpu_usage_seconds/s"), Some(0.5));
        assert_eq!(value(&row, "pids"), Some(3.0));
        assert_eq!(
            value(&row, "memory_rss_bytes"),
            None,
            "what was not read is absent"
        );
    }

    #[test]
    fn every_name_tells_its_metric() {
        let metrics = Averager::names()
            .into_iter()
            .map(|it| Averager::metric(&it));
        assert_eq!(metrics.collect::<Vec<_>>(), TAKEN.map(Some));
        assert_eq!(Averager::metric("memory_limit_bytes"), None);
    }

    #[test]
    fn a_stop_and_a_fall_give_no_rate() {
        let mut averager = Averager::default();
        averager.push(&sample(0, 5.0, 1.0));
        averager.push(&sample(1, 1.0, 1.0));
        let stopped = Sample {
            state: ContainerState::Exited,
            metrics: MetricRow::default(),
            ..sample(2, 0.0, 0.0)
        };
        averager.push(&stopped);
        averager.push(&sample(3, 9.0, 1.0));
        let row = averager.push(&sample(10, 9.0, 1.0)).unwrap();
        assert_eq!(value(&row, "cpu_usage_seconds/s"), None);
        assert_eq!(
            averager.push(&sample(5, 9.0, 1.0)),
            None,
            "from before its step"
        );
        averager.push(&Sample {
            at: sample(20, 0.0, 0.0).at,
            ..stopped.clone()
        });
        let silent = averager.push(&Sample {
            at: sample(30, 0.0, 0.0).at,
            ..stopped
        });
        assert_eq!(silent, None, "nothing was read in that step");
    }
}
