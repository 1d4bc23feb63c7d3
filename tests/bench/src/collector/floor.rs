//! The floor: a bare read of the files that the collector keeps open, each once a second, and nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::now;
use crate::process::run_time;

/// Larger than any of these files.
const BUFFER_BYTES: usize = 16 * 1024;
const PERIOD: Duration = Duration::from_secs(1);

/// A thread that reads when it is let; ends when dropped.
pub(crate) struct Floor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    reads: AtomicBool,
    ends: AtomicBool,
    /// Processor time of the thread, as of the last pass.
    used_ns: AtomicU64,
    files: AtomicU64,
}

impl Floor {
    /// Opens the files. Passes come at this part of each second, once it is let.
    pub(crate) fn over(files: &[PathBuf], phase: f64) -> Floor {
        // A container of somebody else may have ended meanwhile.
        let open: Vec<File> = files.iter().filter_map(|it| File::open(it).ok()).collect();
        let shared = Arc::new(Shared::default());
        let mine = Arc::clone(&shared);
        let thread = std::thread::spawn(move || pace(&mine, open, phase));
        Floor {
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn resume(&self) {
        self.shared.reads.store(true, Ordering::Relaxed);
    }

    pub(crate) fn pause(&self) {
        self.shared.reads.store(false, Ordering::Relaxed);
    }

    /// Processor time and files read so far.
    pub(crate) fn so_far(&self) -> (Duration, u64) {
        (
            Duration::from_nanos(self.shared.used_ns.load(Ordering::Relaxed)),
            self.shared.files.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed.
            let _ = thread.join();
        }
    }
}

fn pace(shared: &Shared, mut files: Vec<File>, phase: f64) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let wait = (phase - now()).rem_euclid(PERIOD.as_secs_f64());
    let mut next = Instant::now() + Duration::from_secs_f64(wait);
    while !shared.ends.load(Ordering::Relaxed) {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next += PERIOD;
        if !shared.reads.load(Ordering::Relaxed) {
            continue;
        }
        let before = files.len();
        files.retain(|file| std::hint::black_box(file.read_at(&mut buffer, 0)).is_ok());
        if files.len() < before {
            eprintln!("bench: {} files ended", before - files.len());
        }
        let used = run_time(Path::new("/proc/thread-self/schedstat")).unwrap();
        shared.used_ns.store(used, Ordering::Relaxed);
        shared
            .files
            .fetch_add(files.len() as u64, Ordering::Relaxed);
    }
}
