//! The metrics of a container sample: one table, from which the columns on the wire, the detectors' treatment and the
//! documentation follow.

use std::fmt;

/// How a metric's numbers are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Rises from the container's start; readers take rates, and a fall is a restart.
    Counter,
    /// A level at the time of the sample.
    Gauge,
}

macro_rules! metrics {
    ($($variant:ident, $column:literal, $kind:ident, $doc:literal;)*) => {
        /// One column of a sample. Units are in the column's name; times are seconds of the kernel's counters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum Metric {
            $(#[doc = $doc] $variant,)*
        }

        impl Metric {
            /// Every metric, in column order. New ones are added at the end: the order is the wire's.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant,)*];

            /// How many there are.
            pub const COUNT: usize = Metric::ALL.len();

            /// The column's name, unit included.
            pub const fn column(self) -> &'static str {
                match self { $(Metric::$variant => $column,)* }
            }

            /// Counter or gauge.
            pub const fn kind(self) -> MetricKind {
                match self { $(Metric::$variant => MetricKind::$kind,)* }
            }

            /// What it is, for reference tables.
            pub const fn description(self) -> &'static str {
                match self { $(Metric::$variant => $doc,)* }
            }
        }
    };
}

metrics! {
    CpuUsage, "cpu_usage_seconds", Counter, "CPU time used";
    CpuUser, "cpu_user_seconds", Counter, "CPU time in user mode";
    CpuSystem, "cpu_system_seconds", Counter, "CPU time in kernel mode";
    CpuPeriods, "cpu_periods", Counter, "enforcement periods of the CPU limit";
    CpuThrottledPeriods, "cpu_throttled_periods", Counter, "periods in which the CPU limit was hit";
    CpuThrottled, "cpu_throttled_seconds", Counter, "time spent waiting for the CPU limit";
    CpuLimit, "cpu_limit_cores", Gauge, "CPU limit; absent when there is none";
    MemoryUsage, "memory_usage_bytes", Gauge, "memory charged, page cache included";
    MemoryWorkingSet, "memory_working_set_bytes", Gauge, "memory charged less inactive file pages";
    MemoryRss, "memory_rss_bytes", Gauge, "anonymous memory";
    MemoryCache, "memory_cache_bytes", Gauge, "page cache";
    MemorySwap, "memory_swap_bytes", Gauge, "memory swapped out";
    MemoryLimit, "memory_limit_bytes", Gauge, "memory limit; absent when there is none";
    MemoryFailures, "memory_failures", Counter, "times the memory limit was hit";
    OomKills, "oom_kills", Counter, "processes killed for want of memory";
    MajorFaults, "major_faults", Counter, "page faults that had to read";
    PsiCpuSome, "psi_cpu_some_seconds", Counter, "time some task waited for CPU";
    PsiMemorySome, "psi_memory_some_seconds", Counter, "time some task waited for memory";
    PsiMemoryFull, "psi_memory_full_seconds", Counter, "time all tasks waited for memory";
    PsiIoSome, "psi_io_some_seconds", Counter, "time some task waited for I/O";
    PsiIoFull, "psi_io_full_seconds", Counter, "time all tasks waited for I/O";
    IoReadBytes, "io_read_bytes", Counter, "bytes read from block devices";
    IoWriteBytes, "io_write_bytes", Counter, "bytes written to block devices";
    IoReadOps, "io_read_ops", Counter, "reads from block devices";
    IoWriteOps, "io_write_ops", Counter, "writes to block devices";
    Pids, "pids", Gauge, "tasks";
    PidsLimit, "pids_limit", Gauge, "task limit; absent when there is none";
    NetRxBytes, "net_rx_bytes", Counter, "bytes received, all interfaces but loopback";
    NetTxBytes, "net_tx_bytes", Counter, "bytes sent";
    NetRxPackets, "net_rx_packets", Counter, "packets received";
    NetTxPackets, "net_tx_packets", Counter, "packets sent";
    NetRxErrors, "net_rx_errors", Counter, "receive errors";
    NetTxErrors, "net_tx_errors", Counter, "send errors";
    NetRxDrops, "net_rx_drops", Counter, "received packets dropped";
    NetTxDrops, "net_tx_drops", Counter, "packets to send dropped";
    Restarts, "restarts", Counter, "restarts by the engine's restart policy";
    Uptime, "uptime_seconds", Gauge, "time since the container was last started";
    ExitCode, "exit_code", Gauge, "exit code of the last run; absent while running";
    PsiCpuFull, "psi_cpu_full_seconds", Counter, "time all tasks waited for CPU";
    TcpEstablished, "tcp_established", Gauge, "TCP connections established";
    TcpOpening, "tcp_opening", Gauge, "TCP connections being opened: SYN sent or received";
    TcpClosing, "tcp_closing", Gauge, "TCP connections being closed by this side, TIME_WAIT included";
    TcpCloseWait, "tcp_close_wait", Gauge, "TCP connections the peer has closed and this side has not";
    TcpListening, "tcp_listening", Gauge, "TCP sockets that listen";
    TcpRttMedian, "tcp_rtt_median_seconds", Gauge, "median of the smoothed round-trip times of its connections, loopback left out";
    TcpRttP99, "tcp_rtt_p99_seconds", Gauge, "99th percentile of the smoothed round-trip times of its connections";
    TcpSegments, "tcp_segments_sent", Counter, "TCP segments sent in its network namespace";
    TcpRetransmits, "tcp_segments_retransmitted", Counter, "TCP segments sent again in its network namespace";
    LayerBytes, "layer_bytes", Gauge, "size of its writable layer, measured every few minutes";
    LogLines, "log_lines", Counter, "log lines read since the collector started";
    LogBytes, "log_bytes", Counter, "bytes of log text read since the collector started";
    LogLinesLost, "log_lines_lost", Counter, "log lines lost since the collector started: rotated away unread, or dropped from a full spool";
    LogLinesLimited, "log_lines_limited", Counter, "log lines dropped by the rate limit since the collector started";
    SamplesLost, "samples_lost", Counter, "samples dropped from a full spool since the collector started";
}

impl Metric {
    /// The metric of a column's name.
    pub fn from_column(column: &str) -> Option<Metric> {
        Metric::ALL
            .iter()
            .copied()
            .find(|metric| metric.column() == column)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.column())
    }
}

impl serde::Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.column())
    }
}

impl<'de> serde::Deserialize<'de> for Metric {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let column = String::deserialize(from)?;
        Metric::from_column(&column)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown metric {column:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_unique_and_index_themselves() {
        for (index, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, index);
            assert_eq!(Metric::from_column(metric.column()), Some(*metric));
        }
    }
}
