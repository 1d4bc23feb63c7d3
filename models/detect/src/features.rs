//! What the detectors look at in one sample of a running container.

use serde::{Deserialize, Serialize};
use units::{Metric, MetricRow};

use crate::baseline::Baseline;
use crate::counters::Rates;
use crate::habits::Habits;
use crate::rules::deviation::Deviation;

/// The numbers of one sample. What could not be read, or has no rate yet, is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Features {
    pub(crate) cpu_cores: Option<f64>,
    pub(crate) cpu_limit_cores: Option<f64>,
    pub(crate) cpu_periods: Option<f64>,
    pub(crate) cpu_throttled_periods: Option<f64>,
    pub(crate) memory_bytes: Option<f64>,
    pub(crate) memory_limit_bytes: Option<f64>,
    /// Memory less what the kernel would give back first.
    pub(crate) working_set_bytes: Option<f64>,
    pub(crate) rx_bytes: Option<f64>,
    pub(crate) tx_bytes: Option<f64>,
    pub(crate) rx_packets: Option<f64>,
    pub(crate) io_bytes: Option<f64>,
    /// Share of the time in which some task waited for I/O.
    pub(crate) io_waiting: Option<f64>,
}

impl Features {
    pub(crate) fn of(rates: &Rates, row: &MetricRow) -> Self {
        let io = [Metric::IoReadBytes, Metric::IoWriteBytes].map(|metric| rates.get(metric));
        Features {
            cpu_cores: rates.get(Metric::CpuUsage),
            cpu_limit_cores: row.get(Metric::CpuLimit).filter(|limit| *limit > 0.0),
            cpu_periods: rates.get(Metric::CpuPeriods),
            cpu_throttled_periods: rates.get(Metric::CpuThrottledPeriods),
            // What cannot be given back counts: page cache grows up to the limit in health.
            memory_bytes: row
                .get(Metric::MemoryRss)
                .or_else(|| row.get(Metric::MemoryWorkingSet)),
            memory_limit_bytes: row.get(Metric::MemoryLimit).filter(|limit| *limit > 0.0),
            working_set_bytes: row.get(Metric::MemoryWorkingSet),
            rx_bytes: rates.get(Metric::NetRxBytes),
            tx_bytes: rates.get(Metric::NetTxBytes),
            rx_packets: rates.get(Metric::NetRxPackets),
            // What is written through the page cache is charged to nobody in the first version of cgroups, and late in the second.
            io_bytes: io
                .iter()
                .flatten()
                .copied()
                .reduce(|read, write| read + write)
                .map(|io| io.max(rates.get(Metric::MemoryCache).unwrap_or(0.0))),
            io_waiting: rates.get(Metric::PsiIoSome),
        }
    }

    /// The metric that `memory_bytes` was read from.
    pub(crate) fn memory_metric(row: &MetricRow) -> Metric {
        match row.get(Metric::MemoryRss) {
            Some(_) => Metric::MemoryRss,
            None => Metric::MemoryWorkingSet,
        }
    }

    /// Share of enforcement periods in which the CPU limit was hit; none when there were no periods.
    pub(crate) fn throttled_share(&self) -> Option<f64> {
        let (periods, throttled) = (self.cpu_periods?, self.cpu_throttled_periods?);
        Some(if periods > 0.0 {
            (throttled / periods).min(1.0)
        } else {
            0.0
        })
    }
}

/// What is usual for each series of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usual {
    pub(crate) cpu_cores: Baseline,
    pub(crate) memory_bytes: Baseline,
    pub(crate) rx_bytes: Baseline,
    pub(crate) tx_bytes: Baseline,
    pub(crate) rx_packets: Baseline,
    pub(crate) io_bytes: Baseline,
    pub(crate) io_waiting: Baseline,
    pub(crate) habits: Habits,
}

impl Default for Usual {
    fn default() -> Self {
        Usual {
            cpu_cores: Baseline::new(0.001),
            memory_bytes: Baseline::new(1024.0 * 1024.0),
            rx_bytes: Baseline::new(256.0),
            tx_bytes: Baseline::new(256.0),
            rx_packets: Baseline::new(0.5),
            io_bytes: Baseline::new(64.0 * 1024.0),
            io_waiting: Baseline::new(0.005),
            habits: Habits::default(),
        }
    }
}

impl Usual {
    /// Number of series a container has here.
    pub(crate) const SERIES: usize = 7;

    /// Learns a series from a sample; what was not read teaches nothing.
    pub(crate) fn learn(&mut self, of: Deviation, now: &Features) {
        let learn = |series: &mut Baseline, value: Option<f64>| {
            value.into_iter().for_each(|value| series.learn(value));
        };
        match of {
            Deviation::Cpu => learn(&mut self.cpu_cores, now.cpu_cores),
            Deviation::Memory => learn(&mut self.memory_bytes, now.memory_bytes),
            Deviation::Network => {
                learn(&mut self.rx_bytes, now.rx_bytes);
                learn(&mut self.tx_bytes, now.tx_bytes);
                learn(&mut self.rx_packets, now.rx_packets);
            }
            Deviation::Io => {
                learn(&mut self.io_bytes, now.io_bytes);
                learn(&mut self.io_waiting, now.io_waiting);
            }
        }
    }

    /// Forgets what is usual for a series, to learn it anew. What it does by habit it will go on to do.
    pub(crate) fn forget(&mut self, of: Deviation) {
        let fresh = Usual::default();
        match of {
            Deviation::Cpu => self.cpu_cores = fresh.cpu_cores,
            Deviation::Memory => self.memory_bytes = fresh.memory_bytes,
            Deviation::Network => {
                self.rx_bytes = fresh.rx_bytes;
                self.tx_bytes = fresh.tx_bytes;
                self.rx_packets = fresh.rx_packets;
            }
            Deviation::Io => {
                self.io_bytes = fresh.io_bytes;
                self.io_waiting = fresh.io_waiting;
            }
        }
    }

    pub(crate) fn as_prior(&self) -> Self {
        Usual {
            cpu_cores: self.cpu_cores.as_prior(),
            memory_bytes: self.memory_bytes.as_prior(),
            rx_bytes: self.rx_bytes.as_prior(),
            tx_bytes: self.tx_bytes.as_prior(),
            rx_packets: self.rx_packets.as_prior(),
            io_bytes: self.io_bytes.as_prior(),
            io_waiting: self.io_waiting.as_prior(),
            // A new version has the cron jobs of the one before.
            habits: self.habits.clone(),
        }
    }
}
