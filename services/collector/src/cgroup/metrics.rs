//! What the kernel's files say, as the metrics of a sample. What they do not say is not set.

use formats::kernel::{
    CpuStat, IoStat, MemoryEvents, MemoryStat, NetCounters, Operations, Pressure,
};
use units::{Metric, MetricRow};

const NANOS: f64 = 1e9;
const MICROS: f64 = 1e6;

pub(super) fn cpu(stat: &CpuStat, row: &mut MetricRow) {
    let values = [
        (Metric::CpuUsage, stat.usage_ns.map(seconds)),
        (Metric::CpuUser, stat.user_ns.map(seconds)),
        (Metric::CpuSystem, stat.system_ns.map(seconds)),
        (Metric::CpuPeriods, stat.periods.map(float)),
        (
            Metric::CpuThrottledPeriods,
            stat.throttled_periods.map(float),
        ),
        (Metric::CpuThrottled, stat.throttled_ns.map(seconds)),
    ];
    set_known(&values, row);
}

/// `usage` is in bytes, from a file of its own.
pub(super) fn memory(usage: Option<u64>, stat: &MemoryStat, row: &mut MetricRow) {
    let working_set = match (usage, stat.inactive_file) {
        (Some(usage), Some(inactive_file)) => Some(usage.saturating_sub(inactive_file)),
        (Some(_) | None, _) => None,
    };
    let values = [
        (Metric::MemoryUsage, usage.map(float)),
        (Metric::MemoryWorkingSet, working_set.map(float)),
        (Metric::MemoryRss, stat.anonymous.map(float)),
        (Metric::MemoryCache, stat.cache.map(float)),
        (Metric::MemorySwap, stat.swap.map(float)),
        (Metric::MajorFaults, stat.major_faults.map(float)),
    ];
    set_known(&values, row);
}

pub(super) fn memory_events(events: &MemoryEvents, row: &mut MetricRow) {
    let values = [
        (Metric::MemoryFailures, events.limit_hits.map(float)),
        (Metric::OomKills, events.oom_kills.map(float)),
    ];
    set_known(&values, row);
}

pub(super) fn io_bytes(bytes: Operations, row: &mut MetricRow) {
    row.set(Metric::IoReadBytes, float(bytes.read));
    row.set(Metric::IoWriteBytes, float(bytes.write));
}

pub(super) fn io_operations(operations: Operations, row: &mut MetricRow) {
    row.set(Metric::IoReadOps, float(operations.read));
    row.set(Metric::IoWriteOps, float(operations.write));
}

pub(super) fn io(stat: &IoStat, row: &mut MetricRow) {
    row.set(Metric::IoReadBytes, float(stat.read_bytes));
    row.set(Metric::IoWriteBytes, float(stat.written_bytes));
    row.set(Metric::IoReadOps, float(stat.reads));
    row.set(Metric::IoWriteOps, float(stat.writes));
}

pub(super) fn pressure(pressure: Pressure, some: Metric, full: Metric, row: &mut MetricRow) {
    let time = |micros: u64| micros as f64 / MICROS;
    let values = [
        (some, pressure.some_us.map(time)),
        (full, pressure.full_us.map(time)),
    ];
    set_known(&values, row);
}

pub(super) fn network(counters: &NetCounters, row: &mut MetricRow) {
    let values = [
        (Metric::NetRxBytes, counters.rx_bytes),
        (Metric::NetRxPackets, counters.rx_packets),
        (Metric::NetRxErrors, counters.rx_errors),
        (Metric::NetRxDrops, counters.rx_drops),
        (Metric::NetTxBytes, counters.tx_bytes),
        (Metric::NetTxPackets, counters.tx_packets),
        (Metric::NetTxErrors, counters.tx_errors),
        (Metric::NetTxDrops, counters.tx_drops),
    ];
    for (metric, value) in values {
        row.set(metric, float(value));
    }
}

/// Leaves alone what another file of the same container has said already.
fn set_known(values: &[(Metric, Option<f64>)], row: &mut MetricRow) {
    for (metric, value) in values {
        if let Some(value) = value {
            row.set(*metric, *value);
        }
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / NANOS
}

fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_set() {
        let mut row = MetricRow::default();
        cpu(&CpuStat::default(), &mut row);
        memory(None, &MemoryStat::default(), &mut row);
        memory_events(&MemoryEvents::default(), &mut row);
        pressure(
            Pressure::default(),
            Metric::PsiCpuSome,
            Metric::PsiCpuFull,
            &mut row,
        );
        assert_eq!(row, MetricRow::default());
    }

    #[test]
    fn a_second_file_adds_to_the_first() {
        let mut row = MetricRow::default();
        row.set(Metric::CpuUsage, 1.0);
        let user = CpuStat {
            user_ns: Some(500_000_000),
            ..CpuStat::default()
        };
        cpu(&user, &mut row);
        let set: Vec<_> = row.iter().collect();
        assert_eq!(set, [(Metric::CpuUsage, 1.0), (Metric::CpuUser, 0.5)]);
    }

    #[test]
    fn there_is_no_working_set_without_usage() {
        let mut row = MetricRow::default();
        let stat = MemoryStat {
            inactive_file: Some(10),
            ..MemoryStat::default()
        };
        memory(None, &stat, &mut row);
        assert_eq!(row.get(Metric::MemoryWorkingSet), None);
        memory(Some(7), &stat, &mut row);
        assert_eq!(row.get(Metric::MemoryWorkingSet), Some(0.0));
    }
}
