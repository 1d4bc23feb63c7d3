//! What an ill process does to its host: it keeps processors busy, or a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// How often an illness takes its next step.
pub(crate) const STEP: Duration = Duration::from_millis(100);
pub(crate) const STEPS_PER_S: u64 = 10;
/// How often a thread with nothing to burn looks whether that changed.
const IDLE: Duration = Duration::from_millis(500);
/// Threads that burn, each a core at most: more than a small host has.
const BURNERS: u64 = 8;
/// Most that can be burnt.
pub(crate) const MAX_BURN_MILLICORES: u64 = BURNERS * 1000;
/// Highest rate of writing: more than a small host's disk takes.
pub(crate) const MAX_WRITE_MB_PER_S: u64 = 1000;
/// The file that is written begins anew at this length, so that the disk does not fill.
const FILE_MB: u64 = 64;
/// Bytes of one write; a small one, as it is made on the stack.
const BLOCK_BYTES: usize = 64 * 1024;
const BLOCKS_PER_MB: usize = (1 << 20) / BLOCK_BYTES;
/// Bypasses the page cache, so that the writes are the writer's own in the kernel's counts (cgroup v1 says nothing of pages
/// written back later). The same number on x86-64 and on most others; arm64 has its own.
#[cfg(not(target_arch = "aarch64"))]
const O_DIRECT: i32 = 0x4000;
#[cfg(target_arch = "aarch64")]
const O_DIRECT: i32 = 0x10000;

/// Spreads a rate evenly over the steps of a second.
#[derive(Default)]
pub(crate) struct Steps {
    owed: u64,
}

impl Steps {
    /// How much is due in this step, at `per_s` a second.
    pub(crate) fn due(&mut self, per_s: u64) -> u64 {
        self.owed += per_s;
        let due = self.owed / STEPS_PER_S;
        self.owed %= STEPS_PER_S;
        due
    }
}

/// Starts the threads that burn as many millicores as `wanted` says at the time, until the process ends.
pub(crate) fn burn(wanted: &Arc<AtomicU64>) {
    for index in 0..BURNERS {
        let wanted = Arc::clone(wanted);
        thread::spawn(move || {
            loop {
                let millicores = share(wanted.load(Ordering::Relaxed), index);
                if millicores == 0 {
                    thread::sleep(IDLE);
                    continue;
                }
                let began = Instant::now();
                sys::burn(STEP * millicores / 1000);
                thread::sleep(STEP.saturating_sub(began.elapsed()));
            }
        });
    }
}

/// What the burner of this index burns of all.
fn share(wanted: u64, index: u64) -> u32 {
    let rest = wanted.saturating_sub(index * 1000).min(1000);
    u32::try_from(rest).unwrap_or(1000)
}

/// Starts the thread that writes as many MB a second to `path` as `wanted` says at the time, until the process ends.
pub(crate) fn write(wanted: &Arc<AtomicU64>, path: PathBuf) {
    let wanted = Arc::clone(wanted);
    thread::spawn(move || {
        let mut steps = Steps::default();
        let mut disk = None;
        loop {
            let began = Instant::now();
            for _ in 0..steps.due(wanted.load(Ordering::Relaxed)) {
                if let Err(error) = disk
                    .get_or_insert_with(|| Disk::new(path.clone()))
                    .write_mb()
                {
                    eprintln!("ERROR cannot write {}: {error}", path.display());
                    disk = None;
                }
            }
            thread::sleep(STEP.saturating_sub(began.elapsed()));
        }
    });
}

/// Bytes where direct writes want them.
#[repr(align(4096))]
struct Block([u8; BLOCK_BYTES]);

/// A file that is written round and round.
struct Disk {
    path: PathBuf,
    file: Option<File>,
    block: Box<Block>,
    written_mb: u64,
}

impl Disk {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            block: Box::new(Block([7; BLOCK_BYTES])),
            written_mb: 0,
        }
    }

    fn write_mb(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        if self.written_mb.is_multiple_of(FILE_MB) {
            file.rewind()?;
        }
        self.written_mb += 1;
        for _ in 0..BLOCKS_PER_MB {
            file.write_all(&self.block.0)?;
        }
        Ok(())
    }
}

/// Some file systems (tmpfs among them) know no direct writes; there it is written as usual.
fn open(path: &PathBuf) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false);
    match options.clone().custom_flags(O_DIRECT).open(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => options.open(path),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_spread_over_the_steps_and_loses_nothing() {
        for per_s in [0, 1, 8, 10, 25] {
            let mut steps = Steps::default();
            let second: Vec<u64> = (0..STEPS_PER_S).map(|_| steps.due(per_s)).collect();
            assert_eq!(second.iter().sum::<u64>(), per_s, "{second:?}");
            assert!(
                second.iter().max().unwrap() - second.iter().min().unwrap() <= 1,
                "{second:?}"
            );
        }
    }

    #[test]
    fn burners_share_what_is_wanted() {
        for wanted in [0, 300, 1000, 2500, MAX_BURN_MILLICORES] {
            let all: u32 = (0..BURNERS).map(|index| share(wanted, index)).sum();
            assert_eq!(u64::from(all), wanted);
        }
    }

    #[test]
    fn a_file_is_written_in_whole_blocks_and_stays_bounded() {
        let path = std::env::temp_dir().join(format!("demo-app-disk-{}", std::process::id()));
        let mut disk = Disk::new(path.clone());
        for _ in 0..=FILE_MB {
            disk.write_mb().unwrap();
        }
        let length = std::fs::metadata(&path).unwrap().len();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(length, FILE_MB << 20);
    }
}
