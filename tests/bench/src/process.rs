//! What a process costs, as the kernel counts it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A thread that ends takes its count with it; looking this often loses nothing that matters, as pools keep idle threads longer.
const LOOK: Duration = Duration::from_secs(1);

/// The processor time of all threads of one process, to the nanosecond.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: u32,
    /// Nanoseconds by thread, of those that ended too.
    threads: HashMap<String, u64>,
    /// Nanoseconds of threads whose number another one has now.
    superseded: u64,
}

impl Meter {
    pub(crate) fn of(pid: u32) -> Meter {
        Meter {
            pid,
            threads: HashMap::new(),
            superseded: 0,
        }
    }

    /// All of it so far.
    pub(crate) fn read(&mut self) -> Duration {
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap() {
            let task = task.unwrap();
            // It may have ended since it was listed.
            let Some(now) = run_time(&task.path().join("schedstat")) else {
                continue;
            };
            let name = task.file_name().to_string_lossy().into_owned();
            let before = self.threads.insert(name, now);
            self.superseded += before.filter(|before| *before > now).unwrap_or(0);
        }
        Duration::from_nanos(self.threads.values().sum::<u64>() + self.superseded)
    }

    /// How much of it goes into `time` from now.
    pub(crate) async fn over(&mut self, time: Duration) -> Duration {
        let (before, end) = (self.read(), Instant::now() + time);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.read() - before;
            }
            tokio::time::sleep(left.min(LOOK)).await;
            self.read();
        }
    }
}

/// Time on a processor, in nanoseconds: the first number of a `schedstat` file (Documentation/scheduler/sched-stats.rst).
pub(crate) fn run_time(schedstat: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(schedstat).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Processor time of this thread so far.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Resident memory now and at its peak, in MB of 1,000,000 bytes.
pub(crate) fn memory_mb(pid: u32) -> (f64, f64) {
    let status = format!("/proc/{pid}/status");
    (
        field(&status, "VmRSS:") * 1.024e-3,
        field(&status, "VmHWM:") * 1.024e-3,
    )
}

/// Reading system calls so far.
pub(crate) fn reads(pid: u32) -> f64 {
    field(&format!("/proc/{pid}/io"), "syscr:")
}

/// The files of `/proc` and of cgroups that a process keeps open.
pub(crate) fn kept_files(pid: u32) -> Vec<PathBuf> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let mut files: Vec<PathBuf> = links
        .filter(|path| path.starts_with("/sys/fs/cgroup") || path.starts_with("/proc"))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files.dedup();
    files
}

fn field(file: &str, key: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
