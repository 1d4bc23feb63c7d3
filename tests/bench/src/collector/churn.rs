//! Memory while containers come and go without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::containers::{Containers, run_removed};
use super::rig::Rig;
use super::table::{Reach, Table};
use crate::process::memory_mb;

const SECONDS: &str = "BENCH_CHURN_SECONDS";
const SECONDS_DEFAULT: u64 = 3600;
const PER_SECOND: u32 = 5;
/// Commands under way at once; a start takes the engine some hundred milliseconds.
const PARALLEL: usize = 6;
/// How long each container lives.
const NAP_MS: &str = "3000";
const NETWORKS: [&str; 2] = ["none", "host"];
/// Buffers and pools have their size by then.
const WARM_UP: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(15);
/// Growth that is none: what one look differs from another by.
const NOISE_MB: f64 = 1.0;

pub(crate) async fn run(rig: &Rig, table: &mut Table) {
    let length = std::env::var(SECONDS).map_or(SECONDS_DEFAULT, |it| it.parse().unwrap());
    let length = Duration::from_secs(length).max(WARM_UP * 2);
    let _containers = Containers::new();
    let dir = tempfile::tempdir().unwrap();
    let settings = [("collector.logs", "on"), ("collector.interval", "1s")];
    let collector = rig.collector(dir.path(), &settings).await;
    let churn = Churn::start();
    eprintln!(
        "bench: {PER_SECOND} containers a second for {} s",
        length.as_secs()
    );
    tokio::time::sleep(WARM_UP).await;
    let (start, _) = memory_mb(collector.pid());
    let (began, before) = (Instant::now(), churn.started());
    while began.elapsed() < length - WARM_UP {
        tokio::time::sleep(LOOK).await;
        let (now, _) = memory_mb(collector.pid());
        let seconds = began.elapsed().as_secs();
        eprintln!(
            "bench: {seconds} s, {} starts, {now:.2} MB",
            churn.started()
        );
    }
    let rate = (churn.started() - before) as f64 / began.elapsed().as_secs_f64();
    let (end, peak) = memory_mb(collector.pid());
    drop(churn);
    let what = format!(
        "growth of memory over {} s of churn",
        began.elapsed().as_secs()
    );
    table.add(
        "churn_growth_mb",
        what,
        end - start,
        "MB",
        Reach::AtMost(NOISE_MB),
    );
    table.add(
        "churn_start_mb",
        "  resident after a minute",
        start,
        "MB",
        Reach::Nothing,
    );
    table.add(
        "churn_end_mb",
        "  resident at the end",
        end,
        "MB",
        Reach::Nothing,
    );
    table.add("churn_peak_mb", "  at its peak", peak, "MB", Reach::Nothing);
    table.add(
        "churn_rate",
        "  containers started",
        rate,
        "per s",
        Reach::Nothing,
    );
}

/// Threads that start containers at a steady rate; they end when this is dropped.
struct Churn {
    shared: Arc<Shared>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    turns: AtomicUsize,
    started: AtomicUsize,
}

impl Churn {
    fn start() -> Churn {
        let shared = Arc::new(Shared::default());
        let began = Instant::now();
        let threads = (0..PARALLEL).map(|_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || work(&shared, began))
        });
        let threads = threads.collect();
        Churn { shared, threads }
    }

    fn started(&self) -> usize {
        self.shared.started.load(Ordering::Relaxed)
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic of it was printed.
            let _ = thread.join();
        }
    }
}

/// Each turn has its time; an engine that is behind is not pressed further than by the threads there are.
fn work(shared: &Shared, began: Instant) {
    while !shared.ends.load(Ordering::Relaxed) {
        let turn = shared.turns.fetch_add(1, Ordering::Relaxed);
        let due = began + Duration::from_secs(1) * u32::try_from(turn).unwrap() / PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        run_removed(NETWORKS[turn % NETWORKS.len()], &["nap", NAP_MS]);
        shared.started.fetch_add(1, Ordering::Relaxed);
    }
}
