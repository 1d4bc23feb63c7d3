//! The files of `/proc` that tell of the node, and the size of its file systems.

use std::path::Path;

use formats::host::{FileHandles, LoadAverage, MemInfo, Stat, disks, mounts, physical_interfaces};
use formats::kernel::Pressure;
use units::NodeMetric;

use super::Page;
use crate::cgroup::Host;

const MILLIS: f64 = 1e3;
const MICROS: f64 = 1e6;

/// Reads all of them; what cannot be read is left out.
pub(super) fn read(host: &Host, page: &mut Page) {
    let file = |name: &str| std::fs::read(host.path(Path::new("/proc").join(name).as_path())).ok();
    if let Some(text) = file("stat") {
        cpu(&Stat::parse(&text), page);
    }
    if let Some(load) = file("loadavg").and_then(|text| LoadAverage::parse(&text)) {
        for (window, value) in [("1m", load.one), ("5m", load.five), ("15m", load.fifteen)] {
            page.put(NodeMetric::Load, &[("window", window)], Some(value));
        }
    }
    if let Some(text) = file("meminfo") {
        memory(&MemInfo::parse(&text), page);
    }
    if let Some(text) = file("diskstats") {
        disk_io(&text, page);
    }
    // Under a prefix, `self` would be another process in the host's table; 1 sees the host's mounts and its network.
    if let Some(text) = file("1/mountinfo").or_else(|| file("self/mountinfo")) {
        space(host, &text, page);
    }
    if let Some(text) = file("1/net/dev").or_else(|| file("net/dev")) {
        network(&text, page);
    }
    for resource in ["cpu", "memory", "io"] {
        if let Some(text) = file(&format!("pressure/{resource}")) {
            pressure(resource, Pressure::parse(&text), page);
        }
    }
    if let Some(files) = file("sys/fs/file-nr").and_then(|text| FileHandles::parse(&text)) {
        page.put(NodeMetric::FilesOpen, &[], Some(files.open as f64));
        page.put(NodeMetric::FilesMax, &[], Some(files.limit as f64));
    }
}

fn cpu(stat: &Stat, page: &mut Page) {
    if let Some(cpu) = &stat.cpu {
        let modes = [
            ("user", cpu.user),
            ("nice", cpu.nice),
            ("system", cpu.system),
            ("idle", cpu.idle),
            ("iowait", cpu.iowait),
            ("irq", cpu.irq),
            ("softirq", cpu.softirq),
            ("steal", cpu.steal),
        ];
        for (mode, seconds) in modes {
            page.put(NodeMetric::Cpu, &[("mode", mode)], seconds);
        }
    }
    page.put(
        NodeMetric::TasksRunning,
        &[],
        stat.running.map(|it| it as f64),
    );
    page.put(
        NodeMetric::Boot,
        &[],
        stat.boot_time_secs.map(|it| it as f64),
    );
}

fn memory(memory: &MemInfo, page: &mut Page) {
    let values = [
        (NodeMetric::MemoryTotal, memory.total),
        (NodeMetric::MemoryAvailable, memory.available),
        (NodeMetric::SwapTotal, memory.swap_total),
        (NodeMetric::SwapFree, memory.swap_free),
    ];
    for (metric, bytes) in values {
        page.put(metric, &[], bytes.map(|it| it as f64));
    }
}

fn disk_io(text: &[u8], page: &mut Page) {
    for disk in disks(text) {
        let label = [("disk", disk.name)];
        let values = [
            (NodeMetric::DiskReadBytes, disk.read_bytes as f64),
            (NodeMetric::DiskWrittenBytes, disk.written_bytes as f64),
            (NodeMetric::DiskReads, disk.reads as f64),
            (NodeMetric::DiskWrites, disk.writes as f64),
            (NodeMetric::DiskIo, disk.io_ms as f64 / MILLIS),
        ];
        for (metric, value) in values {
            page.put(metric, &label, Some(value));
        }
    }
}

fn space(host: &Host, text: &[u8], page: &mut Page) {
    for mount in mounts(text) {
        let Ok(space) = rustix::fs::statvfs(host.path(&mount.point)) else {
            continue;
        };
        let point = mount.point.to_string_lossy();
        let label = [("mount", &*point)];
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize) as f64;
        let values = [
            (NodeMetric::FilesystemBytes, bytes(space.f_blocks)),
            (NodeMetric::FilesystemFree, bytes(space.f_bavail)),
            (NodeMetric::FilesystemInodes, space.f_files as f64),
            (NodeMetric::FilesystemInodesFree, space.f_favail as f64),
        ];
        for (metric, value) in values {
            page.put(metric, &label, Some(value));
        }
    }
}

fn network(text: &[u8], page: &mut Page) {
    for interface in physical_interfaces(text) {
        let name = String::from_utf8_lossy(interface.name);
        let label = [("interface", &*name)];
        let counters = &interface.counters;
        let values = [
            (NodeMetric::NetRxBytes, counters.rx_bytes),
            (NodeMetric::NetTxBytes, counters.tx_bytes),
            (NodeMetric::NetRxErrors, counters.rx_errors),
            (NodeMetric::NetTxErrors, counters.tx_errors),
            (NodeMetric::NetRxDrops, counters.rx_drops),
            (NodeMetric::NetTxDrops, counters.tx_drops),
        ];
        for (metric, value) in values {
            page.put(metric, &label, Some(value as f64));
        }
    }
}

fn pressure(resource: &str, pressure: Pressure, page: &mut Page) {
    let seconds = |micros: Option<u64>| micros.map(|it| it as f64 / MICROS);
    for (tasks, value) in [("some", pressure.some_us), ("full", pressure.full_us)] {
        page.put(
            NodeMetric::Pressure,
            &[("resource", resource), ("tasks", tasks)],
            seconds(value),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::NodeId;

    #[test]
    fn this_node_tells_what_every_linux_tells() {
        let host = Host::open(Path::new("/")).unwrap();
        let mut page = Page::new(NodeId::from("node-a"));
        read(&host, &mut page);
        for metric in [
            NodeMetric::Cpu,
            NodeMetric::Load,
            NodeMetric::MemoryTotal,
            NodeMetric::MemoryAvailable,
            NodeMetric::FilesystemFree,
            NodeMetric::FilesOpen,
            NodeMetric::Boot,
        ] {
            let told = page.points.iter().any(|point| point.name == metric.name());
            assert!(told, "{}", metric.name());
        }
    }
}
