//! The text of the kernel's files, read without allocation. What is missing or malformed is left absent, never zero.

use units::{Metric, MetricRow};

/// Times in `cpuacct.stat` are in clock ticks of 1/100 s: USER_HZ, fixed for user space on every architecture Docker runs on.
const USER_HZ: f64 = 100.0;
const NANOS: f64 = 1e9;
const MICROS: f64 = 1e6;
/// v1 writes "no limit" as the largest multiple of the page size: 9223372036854771712 with pages of 4 KiB, less with larger ones.
const NO_LIMIT_FROM: u64 = 1 << 62;

/// A file that holds one number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    integer(text.trim_ascii())
}

/// A file that holds one number or `max`; numbers that mean "none" count as none.
pub(super) fn limit(text: &[u8]) -> Option<f64> {
    number(text)
        .filter(|value| *value < NO_LIMIT_FROM)
        .map(|value| value as f64)
}

/// v1 `cpuacct.usage`, nanoseconds.
pub(super) fn cpuacct_usage(text: &[u8], row: &mut MetricRow) {
    row.set_opt(Metric::CpuUsage, number(text).map(|ns| ns as f64 / NANOS));
}

/// v1 `cpuacct.stat`, clock ticks.
pub(super) fn cpuacct_stat(text: &[u8], row: &mut MetricRow) {
    for (key, ticks) in pairs(text) {
        match key {
            b"user" => row.set(Metric::CpuUser, ticks as f64 / USER_HZ),
            b"system" => row.set(Metric::CpuSystem, ticks as f64 / USER_HZ),
            _ => {}
        }
    }
}

/// v1 and v2 `cpu.stat`. The keys do not collide: v1 counts nanoseconds in `throttled_time`, v2 microseconds in `*_usec`.
pub(super) fn cpu_stat(text: &[u8], row: &mut MetricRow) {
    for (key, value) in pairs(text) {
        let value = value as f64;
        match key {
            b"nr_periods" => row.set(Metric::CpuPeriods, value),
            b"nr_throttled" => row.set(Metric::CpuThrottledPeriods, value),
            b"throttled_time" => row.set(Metric::CpuThrottled, value / NANOS),
            b"throttled_usec" => row.set(Metric::CpuThrottled, value / MICROS),
            b"usage_usec" => row.set(Metric::CpuUsage, value / MICROS),
            b"user_usec" => row.set(Metric::CpuUser, value / MICROS),
            b"system_usec" => row.set(Metric::CpuSystem, value / MICROS),
            _ => {}
        }
    }
}

/// v1 quota and period in cores; a quota of -1 is no limit.
pub(super) fn cfs_limit(quota: &[u8], period: &[u8]) -> Option<f64> {
    cores(number(quota)?, number(period)?)
}

/// v2 `cpu.max`: quota or `max`, then the period.
pub(super) fn cpu_max(text: &[u8]) -> Option<f64> {
    let mut words = words(text);
    let quota = integer(words.next()?)?;
    let period = integer(words.next()?)?;
    cores(quota, period)
}

fn cores(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

/// v1 `memory.stat`; the `total_` keys count the whole subtree.
pub(super) fn memory_stat_v1(text: &[u8], usage: Option<u64>, row: &mut MetricRow) {
    for (key, value) in pairs(text) {
        match key {
            b"total_rss" => row.set(Metric::MemoryRss, value as f64),
            b"total_cache" => row.set(Metric::MemoryCache, value as f64),
            b"total_swap" => row.set(Metric::MemorySwap, value as f64),
            b"total_pgmajfault" => row.set(Metric::MajorFaults, value as f64),
            b"total_inactive_file" => working_set(usage, value, row),
            _ => {}
        }
    }
}

/// v2 `memory.stat`. Swap has a file of its own there.
pub(super) fn memory_stat_v2(text: &[u8], usage: Option<u64>, row: &mut MetricRow) {
    for (key, value) in pairs(text) {
        match key {
            b"anon" => row.set(Metric::MemoryRss, value as f64),
            b"file" => row.set(Metric::MemoryCache, value as f64),
            b"pgmajfault" => row.set(Metric::MajorFaults, value as f64),
            b"inactive_file" => working_set(usage, value, row),
            _ => {}
        }
    }
}

fn working_set(usage: Option<u64>, inactive_file: u64, row: &mut MetricRow) {
    let working_set = usage.map(|usage| usage.saturating_sub(inactive_file) as f64);
    row.set_opt(Metric::MemoryWorkingSet, working_set);
}

/// v1 `memory.oom_control` and v2 `memory.events`; `max` counts hits of the limit on v2.
pub(super) fn memory_events(text: &[u8], row: &mut MetricRow) {
    for (key, value) in pairs(text) {
        match key {
            b"oom_kill" => row.set(Metric::OomKills, value as f64),
            b"max" => row.set(Metric::MemoryFailures, value as f64),
            _ => {}
        }
    }
}

/// v1 `blkio.throttle.io_service_bytes` or `io_serviced`: `8:0 Read 4096`, summed over devices. An empty file is a container
/// that did no I/O yet: zero, as the kernel would say.
pub(super) fn blkio(text: &[u8], read: Metric, write: Metric, row: &mut MetricRow) {
    let (mut reads, mut writes) = (0_u64, 0_u64);
    for line in lines(text) {
        let mut words = words(line);
        let (Some(_device), Some(operation), Some(value)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let value = integer(value).unwrap_or(0);
        match operation {
            b"Read" => reads = reads.saturating_add(value),
            b"Write" => writes = writes.saturating_add(value),
            _ => {}
        }
    }
    row.set(read, reads as f64);
    row.set(write, writes as f64);
}

/// v2 `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`, summed over devices. Empty means no I/O yet.
pub(super) fn io_stat(text: &[u8], row: &mut MetricRow) {
    const KEYS: [(&[u8], Metric); 4] = [
        (b"rbytes=", Metric::IoReadBytes),
        (b"wbytes=", Metric::IoWriteBytes),
        (b"rios=", Metric::IoReadOps),
        (b"wios=", Metric::IoWriteOps),
    ];
    let mut sums = [0_u64; KEYS.len()];
    for word in lines(text).flat_map(words) {
        for (sum, (key, _)) in sums.iter_mut().zip(KEYS) {
            if let Some(value) = word.strip_prefix(key).and_then(integer) {
                *sum = sum.saturating_add(value);
            }
        }
    }
    for (sum, (_, metric)) in sums.iter().zip(KEYS) {
        row.set(metric, *sum as f64);
    }
}

/// A pressure file: `some avg10=… total=<µs>` and, but for CPU, `full …`. `full` is `None` where it means nothing.
pub(super) fn pressure(text: &[u8], some: Metric, full: Option<Metric>, row: &mut MetricRow) {
    for line in lines(text) {
        let mut words = words(line);
        let metric = match words.next() {
            Some(b"some") => Some(some),
            Some(b"full") => full,
            Some(_) | None => None,
        };
        let total_us = words.find_map(|word| word.strip_prefix(b"total=").and_then(integer));
        if let (Some(metric), Some(total_us)) = (metric, total_us) {
            row.set(metric, total_us as f64 / MICROS);
        }
    }
}

/// `/proc/PID/net/dev`, summed over all interfaces but loopback. Sets nothing when it holds no table.
pub(super) fn net_dev(text: &[u8], row: &mut MetricRow) {
    /// Column of each counter after the interface's name.
    const COLUMNS: [(usize, Metric); 8] = [
        (0, Metric::NetRxBytes),
        (1, Metric::NetRxPackets),
        (2, Metric::NetRxErrors),
        (3, Metric::NetRxDrops),
        (8, Metric::NetTxBytes),
        (9, Metric::NetTxPackets),
        (10, Metric::NetTxErrors),
        (11, Metric::NetTxDrops),
    ];
    let mut sums = [0_u64; COLUMNS.len()];
    let mut interfaces = 0_usize;
    for line in lines(text) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        interfaces += 1;
        if line[..colon].trim_ascii() == b"lo" {
            continue;
        }
        let mut next = 0;
        for (index, word) in words(&line[colon + 1..]).enumerate() {
            if next < COLUMNS.len() && COLUMNS[next].0 == index {
                sums[next] = sums[next].saturating_add(integer(word).unwrap_or(0));
                next += 1;
            }
        }
    }
    if interfaces > 0 {
        for (sum, (_, metric)) in sums.iter().zip(COLUMNS) {
            row.set(metric, *sum as f64);
        }
    }
}

/// Lines of `key number`.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    lines(text).filter_map(|line| {
        let mut words = words(line);
        Some((words.next()?, integer(words.next()?)?))
    })
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

fn integer(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(fill: impl FnOnce(&mut MetricRow)) -> MetricRow {
        let mut row = MetricRow::default();
        fill(&mut row);
        row
    }

    #[test]
    fn no_limit_is_absent() {
        assert_eq!(limit(b"9223372036854771712\n"), None);
        assert_eq!(limit(b"9223372036854710272\n"), None, "pages of 64 KiB");
        assert_eq!(limit(b"max\n"), None);
        assert_eq!(limit(b"67108864\n"), Some(67_108_864.0));
        assert_eq!(cfs_limit(b"-1\n", b"100000\n"), None);
        assert_eq!(cfs_limit(b"50000\n", b"100000\n"), Some(0.5));
        assert_eq!(cpu_max(b"max 100000\n"), None);
        assert_eq!(cpu_max(b"150000 100000\n"), Some(1.5));
        assert_eq!(cpu_max(b"150000 0\n"), None);
    }

    #[test]
    fn block_devices_are_summed_and_totals_left_out() {
        let row = row(|row| {
            blkio(
                b"8:0 Read 4096\n8:0 Write 100\n8:0 Total 4196\n254:0 Read 4\nTotal 4200\n",
                Metric::IoReadBytes,
                Metric::IoWriteBytes,
                row,
            );
        });
        assert_eq!(row.get(Metric::IoReadBytes), Some(4100.0));
        assert_eq!(row.get(Metric::IoWriteBytes), Some(100.0));
    }

    #[test]
    fn loopback_is_not_traffic() {
        let text = b"Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0\n  \
            eth0:1432 18 1 2 0 0 0 0 92 3 4 5 0 0 0 0\n";
        let row = row(|row| net_dev(text, row));
        assert_eq!(row.get(Metric::NetRxBytes), Some(1432.0));
        assert_eq!(row.get(Metric::NetRxDrops), Some(2.0));
        assert_eq!(row.get(Metric::NetTxBytes), Some(92.0));
        assert_eq!(row.get(Metric::NetTxErrors), Some(4.0));
        assert_eq!(row.get(Metric::NetTxDrops), Some(5.0));
    }

    #[test]
    fn what_is_not_there_stays_absent() {
        let row = row(|row| {
            net_dev(b"", row);
            cpu_stat(b"nr_periods x\n", row);
            pressure(
                b"some avg10=0.00 avg60=0.00\n",
                Metric::PsiCpuSome,
                None,
                row,
            );
        });
        assert_eq!(row, MetricRow::default());
    }

    #[test]
    fn a_full_line_of_cpu_pressure_is_passed_over() {
        let text = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        let row = row(|row| pressure(text, Metric::PsiCpuSome, None, row));
        assert_eq!(
            row.iter().collect::<Vec<_>>(),
            vec![(Metric::PsiCpuSome, 2.5)]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            every_parser(&bytes);
        }

        #[test]
        fn no_near_miss_makes_it_panic(text in "(total_rss|rbytes=|some total=|8:0 Read|eth0:|max|[0-9]{1,25}|[ \n:=-]){0,60}") {
            every_parser(text.as_bytes());
        }
    }

    fn every_parser(bytes: &[u8]) {
        let mut row = MetricRow::default();
        let _ = limit(bytes);
        let _ = cfs_limit(bytes, bytes);
        let _ = cpu_max(bytes);
        cpuacct_usage(bytes, &mut row);
        cpuacct_stat(bytes, &mut row);
        cpu_stat(bytes, &mut row);
        memory_stat_v1(bytes, number(bytes), &mut row);
        memory_stat_v2(bytes, number(bytes), &mut row);
        memory_events(bytes, &mut row);
        blkio(bytes, Metric::IoReadBytes, Metric::IoWriteBytes, &mut row);
        io_stat(bytes, &mut row);
        pressure(bytes, Metric::PsiIoSome, Some(Metric::PsiIoFull), &mut row);
        net_dev(bytes, &mut row);
        for (_, value) in row.iter() {
            assert!(value >= 0.0 && value.is_finite());
        }
    }
}
