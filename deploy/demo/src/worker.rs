//! The worker: steady and dull, the container in which nothing should ever be found.

use std::thread;
use std::time::Duration;

use crate::sys;

const PERIOD: Duration = Duration::from_millis(100);
/// 5 % of a core.
const BURN: Duration = Duration::from_millis(5);
const MEMORY_BYTES: usize = 20 << 20;
const PERIODS_PER_LOG_LINE: u64 = 20;

/// Runs until TERM.
pub(crate) fn run() {
    // Filled with something else than zero, so that every page is really there.
    let memory = std::hint::black_box(vec![1_u8; MEMORY_BYTES]);
    println!("INFO worker started with {} MB", memory.len() >> 20);
    let mut periods = 0_u64;
    while !sys::termination_requested() {
        sys::burn(BURN);
        thread::sleep(PERIOD - BURN);
        periods += 1;
        if periods.is_multiple_of(PERIODS_PER_LOG_LINE) {
            println!("INFO batch {} done", periods / PERIODS_PER_LOG_LINE);
        }
    }
    println!("INFO worker ended");
}
