//! What the process itself costs, read from `/proc` when scraped.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{MetricName, encode_sample};

#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    /// A value that cannot be read is left out: a missing sample is truer than a zero.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(bytes) = resident_memory_bytes() {
            let sample = ConstGauge::new(bytes);
            encode_sample(&mut encoder, MetricName::ProcessResidentMemory, &sample)?;
        }
        if let Some(seconds) = cpu_seconds() {
            let sample = ConstCounter::new(seconds);
            encode_sample(&mut encoder, MetricName::ProcessCpu, &sample)?;
        }
        Ok(())
    }
}

fn resident_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse_resident_memory_bytes(&status)
}

/// `VmRSS:     1234 kB`, see proc_pid_status(5).
fn parse_resident_memory_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks = parse_cpu_ticks(&stat)?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Fields 14 (utime) and 15 (stime) of proc_pid_stat(5). The name in field 2 may hold spaces and brackets, so
/// counting starts after its closing one.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_itself() {
        assert!(resident_memory_bytes().unwrap() > 100_000);
        assert!(cpu_seconds().unwrap() >= 0.0);
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 10";
        assert_eq!(parse_cpu_ticks(stat), Some(300));
    }

    #[test]
    fn a_truncated_file_gives_nothing() {
        assert_eq!(parse_cpu_ticks("7 (x) S 1 2"), None);
        assert_eq!(parse_resident_memory_bytes("VmRSS:\t  x kB\n"), None);
        assert_eq!(parse_resident_memory_bytes("Name: x\n"), None);
    }
}
