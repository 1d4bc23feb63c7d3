//! Descriptors that stay open for a container's life, read in place once a tick.
//!
//! Opening the files anew costs two to three times as much as reading them. A file that has vanished, or that the kernel was
//! built without, is closed at its first failure and not tried again: the process behind the reader is known to the engine,
//! which says when there is a new one.
//!
//! A sample costs one `pread` for each file, two for one of over 3 KiB, and no other call: 14 on v1 with pressure on v2, 11 on
//! v2, three or four more when limits are read. On v1 it is one less for each limit, of CPU and of memory, that the container
//! does not have: without one, the file that counts how the limit was hit stands still.
//!
//! A container that has used no CPU time since the last sample did nothing by itself: only what happens to it all the same is
//! looked at then, which is its network and its waiting for I/O, and the rest is said again, for nineteen samples at most. The
//! network is not read either while the [`Overview`] shows that nothing moved, nor waiting for I/O once a sample at rest showed
//! none: whoever begins to wait must have run before. Totals lose nothing by that: they are told so much later.

use std::path::{Path, PathBuf};

use formats::kernel::{self, CpuStat, IoStat, MemoryEvents, MemoryStat, Operations, Pressure};
use units::{Metric, MetricRow};

use super::kept::{Buffer, Kept};
use super::layout::{Host, LocateError, Place, Places};
use super::metrics;
use super::overview::{self, Overview};
use super::still::{Net, Waiting};

/// Samples in a row that say again what was said before: the kernel may take memory from a container at rest, and let fall packets
/// that no interface counts as sent.
pub(super) const REPEATS_MAX: u32 = 19;

/// Whether the limits are read anew; they change seldom, and reading them costs as much as anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitFiles {
    /// Read them now.
    Read,
    /// Say again what they said.
    Recall,
}

/// Whose network a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    /// One of its own: its counters are the container's.
    Own,
    /// The host's or another container's: the counters are not its own and are left absent.
    Shared,
}

/// The open files of one container.
#[derive(Debug)]
pub(crate) struct Reader {
    cpu: Cpu,
    memory: Memory,
    io: Io,
    pids: Pids,
    pressure: [Kept; 2],
    waiting: Waiting,
    net: Net,
    last: Last,
}

/// The last sample, to be said again while the container rests.
#[derive(Debug, Default)]
struct Last {
    /// CPU time used by then, in nanoseconds.
    usage_ns: Option<u64>,
    row: MetricRow,
    repeats: u32,
}

#[derive(Debug)]
struct Cpu {
    /// v1 only.
    usage: Kept,
    /// v1 only.
    times: Kept,
    stat: Kept,
    /// What `usage` said last.
    last_usage_ns: Option<u64>,
    /// What `stat` said last.
    last_stat: Option<CpuStat>,
    limit: CpuLimit,
    limit_cores: Option<f64>,
}

#[derive(Debug)]
enum CpuLimit {
    V1 { quota: Kept, period: Kept },
    V2 { max: Kept },
    None,
}

#[derive(Debug)]
struct Memory {
    dialect: Dialect,
    usage: Kept,
    stat: Kept,
    events: Kept,
    /// v1 only: hits of the limit.
    failures: Kept,
    last_failures: Option<u64>,
    /// v2 only.
    swap: Kept,
    limit: Kept,
    limit_bytes: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
enum Dialect {
    V1,
    V2,
}

#[derive(Debug)]
enum Io {
    V1 { bytes: Kept, operations: Kept },
    V2 { stat: Kept },
    None,
}

#[derive(Debug)]
struct Pids {
    current: Kept,
    max: Kept,
    limit: Option<f64>,
}

impl Reader {
    /// Opens the files of the container `id` whose first process is `pid`.
    ///
    /// # Errors
    /// When its cgroup cannot be found. A file that is missing there is left out.
    pub(crate) fn open(
        host: &Host,
        pid: i64,
        id: &str,
        network: Network,
    ) -> Result<Reader, LocateError> {
        let places = host.locate(pid, id)?;
        let net = match network {
            Network::Own => Net::of(
                Kept::open(&host.process_file(pid, "net/dev")),
                overview::interfaces(host, pid),
            ),
            Network::Shared => Net::none(),
        };
        Ok(Reader::at(&places, net))
    }

    fn at(places: &Places, net: Net) -> Reader {
        let unified = |name: &str| match &places.unified {
            Some(directory) => Kept::open(&directory.join(name)),
            None => Kept::none(),
        };
        Reader {
            cpu: Cpu::open(places.cpu.as_ref(), places.cpuacct.as_deref()),
            memory: Memory::open(places.memory.as_ref()),
            io: Io::open(places.io.as_ref()),
            pids: Pids::open(places.pids.as_ref()),
            pressure: [unified("cpu.pressure"), unified("memory.pressure")],
            waiting: Waiting::of(unified("io.pressure")),
            net,
            last: Last::default(),
        }
    }

    /// Reads everything that can still be read into `row`.
    pub(crate) fn read(
        &mut self,
        limits: LimitFiles,
        overview: &Overview,
        buffer: &mut Buffer,
        row: &mut MetricRow,
    ) {
        let usage_ns = self.cpu.read_usage(buffer);
        let rests = self.rests(usage_ns, limits);
        if rests {
            self.last.repeats += 1;
            row.clone_from(&self.last.row);
        } else {
            self.cpu.read(limits, buffer, row);
            self.memory.read(limits, buffer, row);
            self.io.read(buffer, row);
            self.pids.read(limits, buffer, row);
            self.last.usage_ns = usage_ns;
            self.last.repeats = 0;
            self.read_pressure(buffer, row, Resource::Cpu);
            self.read_pressure(buffer, row, Resource::Memory);
            self.last.row.clone_from(row);
        }
        let waited = match rests {
            true => self.waiting.at_rest(buffer),
            false => self.waiting.after_work(buffer),
        };
        if let Some(pressure) = waited {
            metrics::pressure(pressure, Metric::PsiIoSome, Metric::PsiIoFull, row);
        }
        if let Some(counters) = self.net.read(overview, buffer) {
            metrics::network(&counters, row);
        }
    }

    /// Whether what was said last still holds.
    fn rests(&self, usage_ns: Option<u64>, limits: LimitFiles) -> bool {
        usage_ns.is_some()
            && usage_ns == self.last.usage_ns
            && self.last.repeats < REPEATS_MAX
            && limits == LimitFiles::Recall
    }

    fn read_pressure(&mut self, buffer: &mut Buffer, row: &mut MetricRow, of: Resource) {
        let (some, full) = match of {
            Resource::Cpu => (Metric::PsiCpuSome, Metric::PsiCpuFull),
            Resource::Memory => (Metric::PsiMemorySome, Metric::PsiMemoryFull),
        };
        if let Some(text) = self.pressure[of as usize].read(buffer) {
            metrics::pressure(Pressure::parse(text), some, full, row);
        }
    }
}

/// What tasks wait for, in the order of the open files.
#[derive(Debug, Clone, Copy)]
enum Resource {
    Cpu,
    Memory,
}

impl Cpu {
    fn open(cpu: Option<&Place>, cpuacct: Option<&Path>) -> Cpu {
        let accounted = |name: &str| match cpuacct {
            Some(directory) => Kept::open(&directory.join(name)),
            None => Kept::none(),
        };
        let limit = match cpu {
            Some(Place::V1(directory)) => CpuLimit::V1 {
                quota: Kept::open(&directory.join("cpu.cfs_quota_us")),
                period: Kept::open(&directory.join("cpu.cfs_period_us")),
            },
            Some(Place::V2(directory)) => CpuLimit::V2 {
                max: Kept::open(&directory.join("cpu.max")),
            },
            None => CpuLimit::None,
        };
        Cpu {
            usage: accounted("cpuacct.usage"),
            times: accounted("cpuacct.stat"),
            stat: open_in(cpu, "cpu.stat", "cpu.stat"),
            last_usage_ns: None,
            last_stat: None,
            limit,
            limit_cores: None,
        }
    }

    /// The time used so far, in nanoseconds, from the cheapest file that has it.
    fn read_usage(&mut self, buffer: &mut Buffer) -> Option<u64> {
        match &self.limit {
            CpuLimit::V1 { .. } | CpuLimit::None => {
                self.last_usage_ns = self.usage.read(buffer).and_then(kernel::number);
                self.last_usage_ns
            }
            CpuLimit::V2 { .. } => {
                self.last_usage_ns = self.usage.read(buffer).and_then(kernel::number);
                self.last_stat = self.stat.read(buffer).map(CpuStat::parse);
                self.last_stat.as_ref().and_then(|stat| stat.usage_ns)
            }
        }
    }

    /// Call [`Cpu::read_usage`] before.
    fn read(&mut self, limits: LimitFiles, buffer: &mut Buffer, row: &mut MetricRow) {
        match limits {
            LimitFiles::Read => self.limit_cores = self.limit.read(buffer),
            LimitFiles::Recall => {}
        }
        if self.stat_moves(limits) {
            self.last_stat = self.stat.read(buffer).map(CpuStat::parse);
        }
        if let Some(stat) = &self.last_stat {
            metrics::cpu(stat, row);
        }
        // After cpu.stat: where cpuacct is on v1 and cpu on v2, v1's account is the one that is kept.
        if self.last_usage_ns.is_some() {
            let usage = CpuStat {
                usage_ns: self.last_usage_ns,
                ..CpuStat::default()
            };
            metrics::cpu(&usage, row);
        }
        if let Some(text) = self.times.read(buffer) {
            metrics::cpu(&CpuStat::parse_cpuacct(text), row);
        }
        row.set_opt(Metric::CpuLimit, self.limit_cores);
    }

    /// Whether `cpu.stat` is to be read, and can differ from what it said last. v1's has only what a limit does, and without one
    /// the kernel counts nothing; v2's has been read for the time used.
    fn stat_moves(&self, limits: LimitFiles) -> bool {
        match (&self.limit, limits) {
            (CpuLimit::V1 { .. }, LimitFiles::Recall) => self.limit_cores.is_some(),
            (CpuLimit::V1 { .. }, LimitFiles::Read) => true,
            (CpuLimit::V2 { .. }, LimitFiles::Recall | LimitFiles::Read) => false,
            (CpuLimit::None, LimitFiles::Recall | LimitFiles::Read) => true,
        }
    }
}

impl CpuLimit {
    fn read(&mut self, buffer: &mut Buffer) -> Option<f64> {
        match self {
            CpuLimit::V1 { quota, period } => {
                /// More digits than a 64-bit number has.
                const DIGITS_MAX: usize = 24;
                let text = quota.read(buffer)?;
                let mut kept = [0; DIGITS_MAX];
                let len = text.len().min(DIGITS_MAX);
                kept[..len].copy_from_slice(&text[..len]);
                kernel::cfs_limit(&kept[..len], period.read(buffer)?)
            }
            CpuLimit::V2 { max } => kernel::cpu_max(max.read(buffer)?),
            CpuLimit::None => None,
        }
    }
}

impl Memory {
    fn open(place: Option<&Place>) -> Memory {
        let only_v1 = |name: &str| match place {
            Some(Place::V1(directory)) => Kept::open(&directory.join(name)),
            Some(Place::V2(_)) | None => Kept::none(),
        };
        let only_v2 = |name: &str| match place {
            Some(Place::V2(directory)) => Kept::open(&directory.join(name)),
            Some(Place::V1(_)) | None => Kept::none(),
        };
        Memory {
            dialect: match place {
                Some(Place::V1(_)) => Dialect::V1,
                Some(Place::V2(_)) | None => Dialect::V2,
            },
            usage: open_in(place, "memory.usage_in_bytes", "memory.current"),
            stat: open_in(place, "memory.stat", "memory.stat"),
            events: open_in(place, "memory.oom_control", "memory.events"),
            failures: only_v1("memory.failcnt"),
            last_failures: None,
            swap: only_v2("memory.swap.current"),
            limit: open_in(place, "memory.limit_in_bytes", "memory.max"),
            limit_bytes: None,
        }
    }

    fn read(&mut self, limits: LimitFiles, buffer: &mut Buffer, row: &mut MetricRow) {
        match limits {
            LimitFiles::Read => self.limit_bytes = read_limit(&mut self.limit, buffer),
            LimitFiles::Recall => {}
        }
        let usage = self.usage.read(buffer).and_then(kernel::number);
        let stat = match (self.stat.read(buffer), self.dialect) {
            (Some(text), Dialect::V1) => MemoryStat::parse_v1(text),
            (Some(text), Dialect::V2) => MemoryStat::parse_v2(text),
            (None, Dialect::V1 | Dialect::V2) => MemoryStat::default(),
        };
        metrics::memory(usage, &stat, row);
        if let Some(text) = self.events.read(buffer) {
            metrics::memory_events(&MemoryEvents::parse(text), row);
        }
        if let Some(hits) = self.read_failures(limits, buffer) {
            row.set(Metric::MemoryFailures, hits as f64);
        }
        if let Some(bytes) = self.swap.read(buffer).and_then(kernel::number) {
            row.set(Metric::MemorySwap, bytes as f64);
        }
        row.set_opt(Metric::MemoryLimit, self.limit_bytes);
    }

    /// v1's count of how often the limit was hit. What has no limit hits none, so without one the last count still holds.
    fn read_failures(&mut self, limits: LimitFiles, buffer: &mut Buffer) -> Option<u64> {
        if limits == LimitFiles::Read || self.limit_bytes.is_some() {
            self.last_failures = self.failures.read(buffer).and_then(kernel::number);
        }
        self.last_failures
    }
}

impl Io {
    fn open(place: Option<&Place>) -> Io {
        match place {
            Some(Place::V1(directory)) => Io::V1 {
                bytes: open_first(directory, "blkio.throttle.io_service_bytes"),
                operations: open_first(directory, "blkio.throttle.io_serviced"),
            },
            Some(Place::V2(directory)) => Io::V2 {
                stat: Kept::open(&directory.join("io.stat")),
            },
            None => Io::None,
        }
    }

    fn read(&mut self, buffer: &mut Buffer, row: &mut MetricRow) {
        match self {
            Io::V1 { bytes, operations } => {
                if let Some(text) = bytes.read(buffer) {
                    metrics::io_bytes(Operations::parse(text), row);
                }
                if let Some(text) = operations.read(buffer) {
                    metrics::io_operations(Operations::parse(text), row);
                }
            }
            Io::V2 { stat } => {
                if let Some(text) = stat.read(buffer) {
                    metrics::io(&IoStat::parse(text), row);
                }
            }
            Io::None => {}
        }
    }
}

impl Pids {
    fn open(place: Option<&Place>) -> Pids {
        Pids {
            current: open_in(place, "pids.current", "pids.current"),
            max: open_in(place, "pids.max", "pids.max"),
            limit: None,
        }
    }

    fn read(&mut self, limits: LimitFiles, buffer: &mut Buffer, row: &mut MetricRow) {
        if let Some(tasks) = self.current.read(buffer).and_then(kernel::number) {
            row.set(Metric::Pids, tasks as f64);
        }
        match limits {
            LimitFiles::Read => self.limit = read_limit(&mut self.max, buffer),
            LimitFiles::Recall => {}
        }
        row.set_opt(Metric::PidsLimit, self.limit);
    }
}

fn read_limit(file: &mut Kept, buffer: &mut Buffer) -> Option<f64> {
    let limit = file.read(buffer).and_then(kernel::limit)?;
    Some(limit as f64)
}

fn open_in(place: Option<&Place>, v1: &str, v2: &str) -> Kept {
    match place {
        Some(Place::V1(directory)) => Kept::open(&directory.join(v1)),
        Some(Place::V2(directory)) => Kept::open(&directory.join(v2)),
        None => Kept::none(),
    }
}

/// The file that counts the subtree too, or the plain one of older kernels.
fn open_first(directory: &Path, name: &str) -> Kept {
    let recursive: PathBuf = directory.join(format!("{name}_recursive"));
    if recursive.exists() {
        Kept::open(&recursive)
    } else {
        Kept::open(&directory.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const V1: &[(&str, &str)] = &[
        ("cpuacct.usage", "2500000000\n"),
        ("cpuacct.stat", "user 150\nsystem 100\n"),
        (
            "cpu.stat",
            "nr_periods 50\nnr_throttled 10\nthrottled_time 750000000\n",
        ),
        ("cpu.cfs_quota_us", "50000\n"),
        ("cpu.cfs_period_us", "100000\n"),
        ("memory.usage_in_bytes", "10485760\n"),
        ("memory.limit_in_bytes", "67108864\n"),
        ("memory.failcnt", "3\n"),
        (
            "memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        ),
        (
            "memory.stat",
            "cache 1\nrss 2\ntotal_cache 4194304\ntotal_rss 5242880\ntotal_swap 4096\ntotal_pgmajfault 7\ntotal_inactive_file 2097152\n",
        ),
        (
            "blkio.throttle.io_service_bytes",
            "8:0 Read 4096\n8:0 Write 8192\nTotal 12288\n",
        ),
        (
            "blkio.throttle.io_serviced",
            "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
        ),
        ("pids.current", "4\n"),
        ("pids.max", "max\n"),
    ];

    const V2: &[(&str, &str)] = &[
        (
            "cpu.stat",
            "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnr_periods 50\nnr_throttled 10\nthrottled_usec 750000\n",
        ),
        ("cpu.max", "50000 100000\n"),
        ("memory.current", "10485760\n"),
        ("memory.max", "67108864\n"),
        ("memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"),
        (
            "memory.stat",
            "anon 5242880\nfile 4194304\ninactive_file 2097152\npgmajfault 7\n",
        ),
        ("memory.swap.current", "4096\n"),
        (
            "io.stat",
            "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
        ),
        ("pids.current", "4\n"),
        ("pids.max", "max\n"),
    ];

    const PRESSURE: &[(&str, &str)] = &[
        (
            "cpu.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n",
        ),
        (
            "memory.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
        ),
        (
            "io.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n",
        ),
    ];

    fn write(directory: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
    }

    fn read(reader: &mut Reader) -> MetricRow {
        let mut row = MetricRow::default();
        reader.read(LimitFiles::Read, &blind(), &mut Buffer::default(), &mut row);
        row
    }

    fn recall(reader: &mut Reader, overview: &mut Overview) -> MetricRow {
        let mut row = MetricRow::default();
        let mut buffer = Buffer::default();
        overview.look(&mut buffer);
        reader.read(LimitFiles::Recall, overview, &mut buffer, &mut row);
        row
    }

    /// Of a host that shows nothing.
    fn blind() -> Overview {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/1")).unwrap();
        fs::write(root.path().join("proc/1/mountinfo"), "").unwrap();
        Overview::new(Host::open(root.path()).unwrap())
    }

    fn assert_common(row: &MetricRow) {
        let expected = [
            (Metric::CpuUsage, 2.5),
            (Metric::CpuUser, 1.5),
            (Metric::CpuSystem, 1.0),
            (Metric::CpuPeriods, 50.0),
            (Metric::CpuThrottledPeriods, 10.0),
            (Metric::CpuThrottled, 0.75),
            (Metric::CpuLimit, 0.5),
            (Metric::MemoryUsage, 10_485_760.0),
            (Metric::MemoryWorkingSet, 8_388_608.0),
            (Metric::MemoryRss, 5_242_880.0),
            (Metric::MemoryCache, 4_194_304.0),
            (Metric::MemorySwap, 4096.0),
            (Metric::MemoryLimit, 67_108_864.0),
            (Metric::MemoryFailures, 3.0),
            (Metric::OomKills, 1.0),
            (Metric::MajorFaults, 7.0),
            (Metric::IoReadBytes, 4096.0),
            (Metric::IoWriteBytes, 8192.0),
            (Metric::IoReadOps, 1.0),
            (Metric::IoWriteOps, 2.0),
            (Metric::Pids, 4.0),
        ];
        for (metric, value) in expected {
            assert_eq!(row.get(metric), Some(value), "{metric}");
        }
        assert_eq!(row.get(Metric::PidsLimit), None);
    }

    fn assert_pressure(row: &MetricRow) {
        let expected = [
            (Metric::PsiCpuSome, 1.0),
            (Metric::PsiMemorySome, 2.0),
            (Metric::PsiMemoryFull, 0.5),
            (Metric::PsiIoSome, 3.0),
            (Metric::PsiIoFull, 1.5),
        ];
        for (metric, value) in expected {
            assert_eq!(row.get(metric), Some(value), "{metric}");
        }
    }

    fn v1_places(directory: &Path) -> Places {
        let place = Some(Place::V1(directory.to_owned()));
        Places {
            cpu: place.clone(),
            cpuacct: Some(directory.to_owned()),
            memory: place.clone(),
            io: place.clone(),
            pids: place,
            unified: None,
        }
    }

    #[test]
    fn the_same_container_reads_the_same_on_v1_v2_and_hybrid() {
        let v1 = tempfile::tempdir().unwrap();
        write(v1.path(), V1);
        let row = read(&mut Reader::at(&v1_places(v1.path()), Net::none()));
        assert_common(&row);
        assert_eq!(row.get(Metric::PsiCpuSome), None);

        let v2 = tempfile::tempdir().unwrap();
        write(v2.path(), V2);
        write(v2.path(), PRESSURE);
        let place = Some(Place::V2(v2.path().to_owned()));
        let places = Places {
            cpu: place.clone(),
            cpuacct: None,
            memory: place.clone(),
            io: place.clone(),
            pids: place,
            unified: Some(v2.path().to_owned()),
        };
        let row = read(&mut Reader::at(&places, Net::none()));
        assert_common(&row);
        assert_pressure(&row);

        let unified = tempfile::tempdir().unwrap();
        write(unified.path(), PRESSURE);
        // The root of a hybrid host's v2 tree has a cpu.stat too; v1's is the one with the throttling.
        fs::write(unified.path().join("cpu.stat"), "usage_usec 1\n").unwrap();
        let places = Places {
            unified: Some(unified.path().to_owned()),
            ..v1_places(v1.path())
        };
        let row = read(&mut Reader::at(&places, Net::none()));
        assert_common(&row);
        assert_pressure(&row);
    }

    #[test]
    fn a_reader_sees_new_values_and_recalls_limits() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), V1);
        let mut reader = Reader::at(&v1_places(directory.path()), Net::none());
        read(&mut reader);
        write(
            directory.path(),
            &[
                ("cpuacct.usage", "2500000001\n"),
                ("pids.current", "9\n"),
                ("cpu.cfs_quota_us", "-1\n"),
            ],
        );
        let row = recall(&mut reader, &mut blind());
        assert_eq!(row.get(Metric::Pids), Some(9.0));
        assert_eq!(row.get(Metric::CpuLimit), Some(0.5));
        assert_eq!(read(&mut reader).get(Metric::CpuLimit), None);
    }

    #[test]
    fn a_container_that_rests_is_said_again_for_a_while() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), V1);
        let mut reader = Reader::at(&v1_places(directory.path()), Net::none());
        read(&mut reader);
        write(directory.path(), &[("pids.current", "9\n")]);
        let mut pids = || recall(&mut reader, &mut blind()).get(Metric::Pids);
        for _ in 0..REPEATS_MAX {
            assert_eq!(pids(), Some(4.0));
        }
        assert_eq!(pids(), Some(9.0));
        write(
            directory.path(),
            &[("pids.current", "10\n"), ("cpuacct.usage", "2500000001\n")],
        );
        assert_eq!(pids(), Some(10.0), "it did something");
    }

    #[test]
    fn what_counts_a_limit_is_read_at_each_tick_only_where_there_is_one() {
        let moved = [
            ("cpuacct.usage", "2500000001\n"),
            (
                "cpu.stat",
                "nr_periods 51\nnr_throttled 11\nthrottled_time 0\n",
            ),
            ("memory.failcnt", "4\n"),
        ];
        let counts = |row: &MetricRow| {
            [Metric::CpuPeriods, Metric::MemoryFailures].map(|metric| row.get(metric))
        };
        let recall = |reader: &mut Reader| counts(&recall(reader, &mut blind()));

        let limited = tempfile::tempdir().unwrap();
        write(limited.path(), V1);
        let mut reader = Reader::at(&v1_places(limited.path()), Net::none());
        read(&mut reader);
        write(limited.path(), &moved);
        assert_eq!(recall(&mut reader), [Some(51.0), Some(4.0)]);

        let free = tempfile::tempdir().unwrap();
        write(free.path(), V1);
        let no_limits = [
            ("cpu.cfs_quota_us", "-1\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        write(free.path(), &no_limits);
        let mut reader = Reader::at(&v1_places(free.path()), Net::none());
        read(&mut reader);
        // The kernel would not: it is how the test sees whether the files are read.
        write(free.path(), &moved);
        assert_eq!(recall(&mut reader), [Some(50.0), Some(3.0)]);
        assert_eq!(counts(&read(&mut reader)), [Some(51.0), Some(4.0)]);
    }

    #[test]
    fn a_network_that_the_host_shows_to_stand_still_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let table = |name: &str, rx: u64, tx: u64| {
            format!(" face |bytes\n{name}: {rx} 1 0 0 0 0 0 0 {tx} 1 0 0 0 0 0 0\n")
        };
        write("proc/1/mountinfo", "");
        write("proc/1/net/dev", &table("veth1", 20, 10));
        write("sys/class/net/veth1/iflink", "12\n");
        write("sys/class/net/veth1/ifindex", "13\n");
        write("proc/7/net/dev", &table("eth0", 10, 20));
        let host = Host::open(root.path()).unwrap();
        let net = Net::of(Kept::open(&host.process_file(7, "net/dev")), vec![12]);
        let mut overview = Overview::new(host);
        let mut reader = Reader::at(&Places::default(), net);
        let mut seen = || recall(&mut reader, &mut overview).get(Metric::NetRxBytes);
        assert_eq!(seen(), Some(10.0));
        // The kernel would not: it is how the test sees whether the file is read.
        write("proc/7/net/dev", &table("eth0", 11, 20));
        for _ in 0..REPEATS_MAX {
            assert_eq!(seen(), Some(10.0));
        }
        assert_eq!(seen(), Some(11.0), "said again often enough");
        write("proc/1/net/dev", &table("veth1", 20, 12));
        write("proc/7/net/dev", &table("eth0", 12, 20));
        assert_eq!(seen(), Some(12.0), "it moved");
    }

    #[test]
    fn waiting_for_io_is_read_until_it_is_seen_to_stand_still_at_rest() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), V1);
        let waited = |us: u64| {
            let text = format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={us}\n");
            write(directory.path(), &[("io.pressure", &text)]);
        };
        let places = Places {
            unified: Some(directory.path().to_owned()),
            ..v1_places(directory.path())
        };
        waited(1_000_000);
        let mut reader = Reader::at(&places, Net::none());
        read(&mut reader);
        let mut seen = || recall(&mut reader, &mut blind()).get(Metric::PsiIoSome);
        waited(2_000_000);
        assert_eq!(seen(), Some(2.0), "it waits through its rest");
        waited(3_000_000);
        assert_eq!(seen(), Some(3.0), "and still does");
        assert_eq!(seen(), Some(3.0), "it stands still");
        // The kernel would not: it is how the test sees whether the file is read.
        waited(4_000_000);
        assert_eq!(seen(), Some(3.0));
        write(directory.path(), &[("cpuacct.usage", "2500000001\n")]);
        assert_eq!(seen(), Some(4.0), "it ran");
    }
}
