//! Node pressure: the node itself is short of CPU, memory, disk space, I/O or file descriptors.
//!
//! The collector tells the node's series every ten seconds or so; a reading here is one such page.

mod filling;
mod io;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    Confidence, ContainerName, NodeId, Ratio, Severity, Signal, SignalKind, SignalPhase, Steady,
    Timestamp,
};

use super::page::{Disk, DiskTime, Page, Totals};
use crate::clock::Moment;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{bytes, duration, number, percent};
use filling::{Fillings, files};
pub(crate) use io::NodeIo;

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 2,
    of: 3,
    calm: 3,
};

/// CPU: some task waited for so much of the time while so much of all cores was busy …
const CPU_WAITING_MIN: f64 = 0.50;
const CPU_BUSY_MIN: f64 = 0.90;
/// … or, where the kernel does not tell who waits, so many tasks a core could run; or the machine below took so much away.
const TASKS_PER_CORE_MIN: f64 = 3.0;
const STOLEN_MIN: f64 = 0.20;
/// Memory: less than this share can still be given, or all tasks waited for it for so much of the time.
const MEMORY_LEFT_MIN: f64 = 0.05;
const MEMORY_LEFT_CRITICAL: f64 = 0.02;
const MEMORY_FULL_MIN: f64 = 0.10;
/// Disk: less than this share of space or inodes is left, and of space no more than so many bytes.
const DISK_LEFT_MIN: f64 = 0.05;
const DISK_LEFT_CRITICAL: f64 = 0.01;
const DISK_BYTES_ENOUGH: f64 = 50.0 * 1024.0 * 1024.0 * 1024.0;
/// I/O: all tasks waited for it for so much of the time.
const IO_FULL_MIN: f64 = 0.60;
/// What has fallen below this share of its bound is calm.
const CALM: f64 = 0.8;
/// Between two pages lies no more than this, or their counters are not compared.
const GAP_MAX: Duration = Duration::from_secs(150);
/// A shortage that was told this long ago, and not again, is not taken for granted any more.
const HEARSAY: Duration = Duration::from_secs(600);
/// A rise that may have caused it: cores, bytes of memory, and bytes read and written a second.
const RISE_CORES_MIN: f64 = 0.2;
const RISE_BYTES_MIN: f64 = 64.0 * 1024.0 * 1024.0;
const RISE_IO_MIN: f64 = 4.0 * 1024.0 * 1024.0;

/// What a node can be short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Resource {
    Cpu,
    Memory,
    Disk,
    Io,
}

/// Whether there is enough of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Supply {
    #[default]
    Enough,
    Short,
}

/// How the node stands that a container is on, as far as it explains what the container shows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct NodeStanding {
    pub(crate) cpu: Supply,
    pub(crate) memory: Supply,
    /// Bytes the node can still give, at most; absent when nobody told.
    pub(crate) memory_left: Option<f64>,
    pub(crate) io: Supply,
    /// What the node tells of its I/O; absent where its series go to another detector.
    pub(crate) io_told: Option<NodeIo>,
}

impl NodeStanding {
    /// A reading of a container or service that suffers from a node without CPU to give says so.
    pub(crate) fn explain(self, reading: Reading) -> Reading {
        match (reading, self.cpu) {
            (Reading::Violates(mut finding), Supply::Short) => {
                finding.reason.push_str("; its node is short of CPU");
                Reading::Violates(finding)
            }
            (reading, Supply::Short | Supply::Enough) => reading,
        }
    }

    /// Says of a container that waits for I/O how the node stands with it.
    pub(crate) fn explain_waiting(self, finding: &mut Finding) {
        match (self.io_told, self.io) {
            (Some(told), _) => told.add_to(finding),
            (None, Supply::Short) => finding.reason.push_str("; its node is short of I/O"),
            (None, Supply::Enough) => {}
        }
    }
}

/// What was told of a node's shortages, here or by whoever follows its series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shortage {
    of: BTreeSet<Resource>,
    heard_at: Timestamp,
}

impl Shortage {
    /// Takes a signal about the node.
    pub(crate) fn hear(&mut self, signal: &Signal) {
        if signal.kind != SignalKind::NodePressure || signal.at < self.heard_at {
            return;
        }
        self.heard_at = signal.at;
        self.of = match signal.phase {
            SignalPhase::Open | SignalPhase::Update => {
                let features = signal.evidence.iter();
                features.filter_map(|it| resource(&it.feature)).collect()
            }
            SignalPhase::Resolve => BTreeSet::new(),
        };
    }

    pub(crate) fn supply(&self, of: Resource, now: Timestamp) -> Supply {
        match self.of.contains(&of) && now.since(self.heard_at) < HEARSAY {
            true => Supply::Short,
            false => Supply::Enough,
        }
    }
}

/// A container whose use rose on a node, and by how much above what is usual for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Riser {
    /// Its name.
    pub name: ContainerName,
    /// By how much, in the resource's unit.
    pub by: f64,
}

/// The containers of a node whose use rose most.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Risers {
    /// In cores.
    pub cpu: Option<Riser>,
    /// In bytes.
    pub memory: Option<Riser>,
    /// In bytes read and written a second.
    pub io: Option<Riser>,
}

impl Risers {
    /// Those of two sets that rose more.
    #[must_use]
    pub fn merge(self, other: Risers) -> Risers {
        Risers {
            cpu: more(self.cpu, other.cpu),
            memory: more(self.memory, other.memory),
            io: more(self.io, other.io),
        }
    }

    /// Takes a container's rises into account, where they are worth naming.
    pub(crate) fn note(self, name: &ContainerName, cpu: f64, memory: f64, io: f64) -> Risers {
        let riser = |by: f64, least: f64| {
            (by >= least).then(|| Riser {
                name: name.clone(),
                by,
            })
        };
        self.merge(Risers {
            cpu: riser(cpu, RISE_CORES_MIN),
            memory: riser(memory, RISE_BYTES_MIN),
            io: riser(io, RISE_IO_MIN),
        })
    }
}

fn more(a: Option<Riser>, b: Option<Riser>) -> Option<Riser> {
    match (a, b) {
        (Some(a), Some(b)) if b.by > a.by => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}

/// The load of one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    last: Option<Counted>,
    io: Option<NodeIo>,
    fillings: Fillings,
}

/// The counters of one page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counted {
    run: Steady,
    totals: Option<Totals>,
    disks: Vec<DiskTime>,
}

/// One number held against its bound.
struct Check {
    /// How far it is towards the bound; from one on it is reached.
    reached: f64,
    severity: Severity,
    said: String,
    proof: Proof,
}

impl Load {
    /// What it tells of its I/O, unless that is old.
    pub(crate) fn io(&self, now: Timestamp) -> Option<NodeIo> {
        self.io.filter(|io| now.since(io.at) <= GAP_MAX)
    }

    /// Takes a page and judges it. `risers` are the containers that may have caused what is found.
    pub(crate) fn read(
        &mut self,
        node: &NodeId,
        now: Moment,
        page: &Page,
        risers: &Risers,
        lasting: Duration,
    ) -> Reading {
        if page.tells_nothing() {
            return Reading::Unknown;
        }
        let mut checks = Vec::new();
        self.compare(now, page, &mut checks);
        if let Some((available, total)) = page.memory_available.zip(page.memory_total) {
            checks.extend(memory(available, total));
        }
        checks.extend(page.disks.iter().flat_map(disk));
        checks.extend(self.fillings.advance(now.run, &page.disks));
        let open = page.files_open.zip(page.files_max);
        checks.extend(open.and_then(|(open, most)| files(open, most)));
        let most = checks.iter().map(|check| check.reached).fold(0.0, f64::max);
        if most < 1.0 {
            return match most < CALM {
                true => Reading::Normal,
                false => Reading::Between,
            };
        }
        checks.retain(|check| check.reached >= 1.0);
        checks.sort_by(|a, b| b.reached.total_cmp(&a.reached));
        Reading::Violates(finding(node, checks, risers, lasting))
    }

    /// Compares the counters with those of the page before.
    fn compare(&mut self, now: Moment, page: &Page, checks: &mut Vec<Check>) {
        if page.totals.is_none() && page.disk_times.is_empty() {
            return;
        }
        let this = Counted {
            run: now.run,
            totals: page.totals,
            disks: page.disk_times.clone(),
        };
        let Some(before) = self.last.replace(this) else {
            return;
        };
        let elapsed = now.run.since(before.run);
        if elapsed.is_zero() || elapsed > GAP_MAX {
            return;
        }
        let elapsed_s = elapsed.as_secs_f64();
        self.io = Some(NodeIo::between(
            (before.totals.as_ref(), &before.disks),
            (page.totals.as_ref(), &page.disk_times),
            elapsed_s,
            now.at,
        ));
        if let Some((before, totals)) = before.totals.zip(page.totals) {
            rates(&before, &totals, elapsed_s, page.tasks, checks);
        }
    }
}

fn rates(
    before: &Totals,
    now: &Totals,
    elapsed_s: f64,
    tasks: Option<f64>,
    checks: &mut Vec<Check>,
) {
    let cpu = now.cpu - before.cpu;
    if elapsed_s <= 0.0 || cpu <= 0.0 {
        return;
    }
    let cores = cpu / elapsed_s;
    let share = |now: f64, before: f64| ((now - before) / cpu).clamp(0.0, 1.0);
    let busy = 1.0 - share(now.idle, before.idle);
    let stolen = share(now.stolen, before.stolen);
    let waited = |now: Option<f64>, before: Option<f64>| {
        let (now, before) = now.zip(before)?;
        Some(((now - before) / elapsed_s).clamp(0.0, 1.0))
    };
    let (waiting, bound, unit) = match (waited(now.cpu_some, before.cpu_some), tasks) {
        (Some(waiting), _) => (waiting, CPU_WAITING_MIN, "1"),
        (None, tasks) => (
            tasks.unwrap_or(0.0) / cores,
            TASKS_PER_CORE_MIN,
            "tasks/core",
        ),
    };
    let said = match unit {
        "1" => format!("some task waited for {} of the time", percent(waiting)),
        _ => format!("{} tasks a core could run", number(waiting)),
    };
    let cores = format!("{cores:.0} {}", if cores < 1.5 { "core" } else { "cores" });
    checks.push(Check {
        reached: (waiting / bound).min(busy / CPU_BUSY_MIN),
        severity: Severity::Warning,
        said: format!(
            "short of CPU: {said} and {} of {cores} was busy",
            percent(busy)
        ),
        proof: Proof::derived("node_cpu_waiting", unit, waiting, (0.0, bound)),
    });
    checks.push(Check {
        reached: stolen / STOLEN_MIN,
        severity: Severity::Warning,
        said: format!(
            "short of CPU: the machine below took {} of it",
            percent(stolen)
        ),
        proof: Proof::derived("node_cpu_stolen_share", "1", stolen, (0.0, STOLEN_MIN)),
    });
    let memory = waited(now.memory_full, before.memory_full);
    checks.extend(memory.map(|full| all_waited(Resource::Memory, full, MEMORY_FULL_MIN)));
    let io = waited(now.io_full, before.io_full);
    checks.extend(io.map(|full| all_waited(Resource::Io, full, IO_FULL_MIN)));
}

fn all_waited(resource: Resource, full: f64, bound: f64) -> Check {
    let (of, feature) = match resource {
        Resource::Memory => ("memory", "node_memory_full_share"),
        Resource::Cpu => ("CPU", "node_cpu_full_share"),
        Resource::Disk | Resource::Io => ("I/O", "node_io_full_share"),
    };
    Check {
        reached: full / bound,
        severity: Severity::Warning,
        said: format!(
            "short of {of}: all tasks waited for it for {} of the time",
            percent(full)
        ),
        proof: Proof::derived(feature, "1", full, (0.0, bound)),
    }
}

fn memory(available: f64, total: f64) -> Option<Check> {
    let left = (total > 0.0).then(|| available / total)?;
    Some(Check {
        reached: MEMORY_LEFT_MIN / left.max(f64::MIN_POSITIVE),
        severity: match left < MEMORY_LEFT_CRITICAL {
            true => Severity::Critical,
            false => Severity::Warning,
        },
        said: format!(
            "short of memory: {} of {} are left",
            bytes(available),
            bytes(total)
        ),
        proof: Proof::derived(
            "node_memory_available_share",
            "1",
            left,
            (MEMORY_LEFT_MIN, 1.0),
        ),
    })
}

fn disk(disk: &Disk) -> impl Iterator<Item = Check> + '_ {
    let left = |free: f64, all: f64| (all > 0.0).then(|| free / all);
    let severity = |left: f64| match left < DISK_LEFT_CRITICAL {
        true => Severity::Critical,
        false => Severity::Warning,
    };
    let reached = |left: f64| DISK_LEFT_MIN / left.max(f64::MIN_POSITIVE);
    let space = left(disk.bytes_free, disk.bytes).map(|left| Check {
        reached: match disk.bytes_free < DISK_BYTES_ENOUGH {
            true => reached(left),
            false => 0.0,
        },
        severity: severity(left),
        said: format!(
            "short of disk: {} of {} are left at {}",
            bytes(disk.bytes_free),
            bytes(disk.bytes),
            disk.mount
        ),
        proof: Proof::derived("node_disk_free_share", "1", left, (DISK_LEFT_MIN, 1.0)),
    });
    let inodes = left(disk.inodes_free, disk.inodes).map(|left| Check {
        reached: reached(left),
        severity: severity(left),
        said: format!(
            "short of disk: {} of the inodes are left at {}",
            percent(left),
            disk.mount
        ),
        proof: Proof::derived(
            "node_disk_inodes_free_share",
            "1",
            left,
            (DISK_LEFT_MIN, 1.0),
        ),
    });
    space.into_iter().chain(inodes)
}

fn finding(node: &NodeId, checks: Vec<Check>, risers: &Risers, lasting: Duration) -> Finding {
    let mut said: Vec<&str> = Vec::new();
    let mut resources = BTreeSet::new();
    for check in &checks {
        said.push(&check.said);
        resources.extend(resource(&check.proof.feature));
    }
    let mut reason = format!(
        "node {node} is {}, for {}",
        said.join(" and "),
        duration(lasting)
    );
    let mut rises = Vec::new();
    for resource in resources {
        let (riser, what, feature, unit, show): (_, _, _, _, fn(f64) -> String) = match resource {
            Resource::Cpu => {
                let show = |by| format!("{} cores", number(by));
                (&risers.cpu, "CPU use", "most_risen_cpu", "cores", show)
            }
            Resource::Memory => (
                &risers.memory,
                "memory",
                "most_risen_memory",
                "bytes",
                bytes,
            ),
            Resource::Disk | Resource::Io => {
                let show = |by| format!("{}/s", bytes(by));
                (&risers.io, "I/O", "most_risen_io", "bytes/s", show)
            }
        };
        if let Some(riser) = riser {
            let by = show(riser.by);
            reason.push_str(&format!(
                "; the {what} of {} rose most, by {by}",
                riser.name
            ));
            rises.push(Proof::derived(feature, unit, riser.by, (0.0, 0.0)));
        }
    }
    let severity = checks.iter().map(|check| check.severity).max();
    let worst = checks.iter().map(|check| check.reached).fold(1.0, f64::max);
    let mut proofs: Vec<Proof> = checks.into_iter().map(|check| check.proof).collect();
    proofs.append(&mut rises);
    Finding {
        severity: severity.unwrap_or(Severity::Warning),
        score: Ratio::saturating(1.0 - 0.1 / worst),
        // The kernel's own account.
        confidence: Confidence::High,
        reason,
        proofs,
    }
}

fn resource(feature: &str) -> Option<Resource> {
    let families = [
        ("node_cpu_", Resource::Cpu),
        ("node_memory_", Resource::Memory),
        ("node_disk_", Resource::Disk),
        ("node_io_", Resource::Io),
    ];
    let family = families
        .iter()
        .find(|(prefix, _)| feature.starts_with(prefix));
    family.map(|(_, resource)| *resource)
}
