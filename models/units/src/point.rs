//! Numbers beyond a container's own table: what an application tells of itself, and what a node is doing.

use serde::{Deserialize, Serialize};

use crate::{ContainerId, MetricKind, NodeId, ServiceId, Steady, Timestamp};

/// How the numbers of a series are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesKind {
    /// Its source did not say.
    Unknown,
    /// Only rises; a fall is a restart.
    Counter,
    /// A level.
    Gauge,
    /// A bucket, sum or count of a histogram: a counter.
    Histogram,
    /// A quantile, sum or count of a summary.
    Summary,
}

impl SeriesKind {
    /// Every kind; the position is the code on the wire.
    pub const ALL: [SeriesKind; 5] = [
        SeriesKind::Unknown,
        SeriesKind::Counter,
        SeriesKind::Gauge,
        SeriesKind::Histogram,
        SeriesKind::Summary,
    ];
}

impl From<MetricKind> for SeriesKind {
    fn from(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => SeriesKind::Counter,
            MetricKind::Gauge => SeriesKind::Gauge,
        }
    }
}

/// One number of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When it was read.
    pub at: Timestamp,
    /// The same by the node's clock that never steps.
    pub steady: Steady,
    /// Where.
    pub node: NodeId,
    /// The service whose replica told it; absent for the node's own.
    pub service: Option<ServiceId>,
    /// The container that told it; absent for the node's own.
    pub container: Option<ContainerId>,
    /// The metric's name, as its source gives it.
    pub name: String,
    /// Labels as `name="value"`, in order of name, joined by commas; empty without any.
    pub labels: String,
    /// Counter, gauge and so on.
    pub kind: SeriesKind,
    /// The number; never infinite, and never not a number.
    pub value: f64,
}

macro_rules! node_metrics {
    ($($variant:ident, $name:literal, $kind:ident, $doc:literal;)*) => {
        /// What is told of a node. The unit is in the name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum NodeMetric {
            $(#[doc = $doc] $variant,)*
        }

        impl NodeMetric {
            /// Every one of them.
            pub const ALL: &'static [NodeMetric] = &[$(NodeMetric::$variant,)*];

            /// The series' name, unit included.
            pub const fn name(self) -> &'static str {
                match self { $(NodeMetric::$variant => $name,)* }
            }

            /// Counter or gauge.
            pub const fn kind(self) -> MetricKind {
                match self { $(NodeMetric::$variant => MetricKind::$kind,)* }
            }

            /// What it is, with its labels, for reference tables.
            pub const fn description(self) -> &'static str {
                match self { $(NodeMetric::$variant => $doc,)* }
            }
        }
    };
}

node_metrics! {
    Cpu, "node_cpu_seconds", Counter, "CPU time of all cores by `mode`";
    Load, "node_load", Gauge, "tasks running or waiting, averaged over the `window`";
    TasksRunning, "node_tasks_running", Gauge, "tasks that can run";
    MemoryTotal, "node_memory_total_bytes", Gauge, "memory there is";
    MemoryAvailable, "node_memory_available_bytes", Gauge, "memory that can be given without swapping";
    SwapTotal, "node_swap_total_bytes", Gauge, "swap there is";
    SwapFree, "node_swap_free_bytes", Gauge, "swap not in use";
    DiskReadBytes, "node_disk_read_bytes", Counter, "bytes read from a `disk`";
    DiskWrittenBytes, "node_disk_written_bytes", Counter, "bytes written to a `disk`";
    DiskReads, "node_disk_reads", Counter, "reads from a `disk`";
    DiskWrites, "node_disk_writes", Counter, "writes to a `disk`";
    DiskIo, "node_disk_io_seconds", Counter, "time a `disk` had I/O under way";
    FilesystemBytes, "node_filesystem_bytes", Gauge, "size of the file system at `mount`";
    FilesystemFree, "node_filesystem_free_bytes", Gauge, "space left for ordinary users at `mount`";
    FilesystemInodes, "node_filesystem_inodes", Gauge, "inodes of the file system at `mount`";
    FilesystemInodesFree, "node_filesystem_inodes_free", Gauge, "inodes left at `mount`";
    NetRxBytes, "node_net_rx_bytes", Counter, "bytes received by an `interface`";
    NetTxBytes, "node_net_tx_bytes", Counter, "bytes sent by an `interface`";
    NetRxErrors, "node_net_rx_errors", Counter, "receive errors of an `interface`";
    NetTxErrors, "node_net_tx_errors", Counter, "send errors of an `interface`";
    NetRxDrops, "node_net_rx_drops", Counter, "received packets an `interface` dropped";
    NetTxDrops, "node_net_tx_drops", Counter, "packets to send an `interface` dropped";
    Pressure, "node_pressure_seconds", Counter, "time tasks waited for a `resource`, `some` or `full` by `tasks`";
    FilesOpen, "node_files_open", Gauge, "file descriptors in use";
    FilesMax, "node_files_max", Gauge, "file descriptors there may be";
    ClockOffset, "node_clock_offset_seconds", Gauge, "how far the clock is off, as the kernel's clock discipline estimates it";
    ClockSynchronised, "node_clock_synchronised", Gauge, "1 while something keeps the clock right, 0 else";
    Boot, "node_boot_unix_seconds", Gauge, "when the node booted";
    EngineAnswer, "engine_answer_seconds", Gauge, "how long the engine took for its last answer to a ping";
    EngineImages, "engine_images", Gauge, "images the engine holds";
    EngineImageBytes, "engine_image_bytes", Gauge, "size of the images' layers";
    EngineVolumes, "engine_volumes", Gauge, "volumes the engine holds";
    EngineContainers, "engine_containers", Gauge, "containers by `state`";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> =
            NodeMetric::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), NodeMetric::ALL.len());
    }
}
