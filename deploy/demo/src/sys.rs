//! The two calls of the C library that the standard library does not offer. Std links it in any case.

use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;
/// CLOCK_THREAD_CPUTIME_ID of Linux: processor time of the calling thread.
const THREAD_CPU_CLOCK: c_int = 3;

static TERMINATION: AtomicBool = AtomicBool::new(false);

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn signal(signal: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int;
}

extern "C" fn note_termination(_signal: c_int) {
    TERMINATION.store(true, Ordering::Relaxed);
}

/// Notes TERM and INT from here on. As process 1 of a container the process would otherwise ignore both, and every
/// stop would last until the engine kills it.
pub(crate) fn catch_termination() {
    for number in [SIGTERM, SIGINT] {
        // SAFETY: the handler only stores to an atomic, which is allowed inside a signal handler, and it lives as
        // long as the process.
        unsafe { signal(number, note_termination) };
    }
}

/// Whether the process has been asked to end.
pub(crate) fn termination_requested() -> bool {
    TERMINATION.load(Ordering::Relaxed)
}

/// Processor time this thread has used. Under a limit it advances slower than the clock on the wall.
fn thread_cpu_time() -> Duration {
    let mut now = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: `now` is a live Timespec of the layout that 64-bit Linux expects, and is only read afterwards.
    unsafe { clock_gettime(THREAD_CPU_CLOCK, &raw mut now) };
    Duration::new(
        u64::try_from(now.seconds).unwrap_or(0),
        u32::try_from(now.nanoseconds).unwrap_or(0),
    )
}

/// Keeps the processor busy until this thread has used `amount` of its time.
pub(crate) fn burn(amount: Duration) {
    let end = thread_cpu_time() + amount;
    while thread_cpu_time() < end {
        for step in 0..2_000_u64 {
            std::hint::black_box(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burning_uses_the_processor_time_asked_for() {
        let before = thread_cpu_time();
        burn(Duration::from_millis(20));
        let used = thread_cpu_time() - before;
        assert!(
            used >= Duration::from_millis(20) && used < Duration::from_millis(40),
            "{used:?}"
        );
    }
}
