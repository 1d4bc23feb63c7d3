//! Many seeds on many cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::options::{Options, Run};

/// Runs every seed, on so many threads, and tells of each as soon as it is done, in no order.
pub fn run_all(seeds: Range<u64>, options: &Options, threads: usize, told: &(impl Fn(Run) + Sync)) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    told(super::run(seed, options));
                }
            });
        }
    });
}
