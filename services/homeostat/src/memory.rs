//! How the C library hands out memory.

use std::convert::Infallible;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often memory that is free and still held is given back: what a burst took stays otherwise.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(60);

/// Sets what the C library would otherwise guess: few heaps, since threads here are few and idle, and no giving back and asking
/// again for the working memory that compression takes each second. To be called before threads are started.
pub(crate) fn settle() {
    #[cfg(target_env = "gnu")]
    glibc::settle();
}

/// Gives free memory back now and then, until `shutdown`.
pub(crate) async fn tend(shutdown: CancellationToken) -> Result<(), Infallible> {
    let mut ticks = tokio::time::interval(GIVE_BACK_EVERY);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        #[cfg(target_env = "gnu")]
        glibc::give_back();
    }
    Ok(())
}

#[cfg(target_env = "gnu")]
mod glibc {
    const HEAPS_MAX: i32 = 2;
    /// Working memory of a compression is some 300 KiB.
    const ASK_THE_KERNEL_BEYOND_BYTES: i32 = 1024 * 1024;
    const GIVE_BACK_BEYOND_BYTES: i32 = 2 * 1024 * 1024;

    #[expect(unsafe_code, reason = "there is no other way to tell the C library")]
    pub(super) fn settle() {
        let settings = [
            (libc::M_ARENA_MAX, HEAPS_MAX),
            (libc::M_MMAP_THRESHOLD, ASK_THE_KERNEL_BEYOND_BYTES),
            (libc::M_TRIM_THRESHOLD, GIVE_BACK_BEYOND_BYTES),
        ];
        for (setting, value) in settings {
            // SAFETY: takes two numbers by value and refuses those it does not know.
            unsafe { libc::mallopt(setting, value) };
        }
    }

    #[expect(unsafe_code, reason = "there is no other way to tell the C library")]
    pub(super) fn give_back() {
        // SAFETY: takes a number by value, and locks the heaps it looks through.
        unsafe { libc::malloc_trim(0) };
    }
}
