//! How much memory the process holds: the C library's heaps, and the pages of its own program.

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
        program::let_go();
    }
    Ok(())
}

mod program {
    use rustix::mm::{Advice, madvise};

    /// Takes the program's instructions and constants out of this process's memory. Those in use come back from the page cache when
    /// they are needed next, with what lies around them; those that only the start needed do not.
    pub(super) fn let_go() {
        let Ok(own) = std::env::current_exe() else {
            return;
        };
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        for range in maps
            .lines()
            .filter_map(|line| unwritten(line, &own.to_string_lossy()))
        {
            forget(&range);
        }
    }

    /// The addresses of a mapping, a line of `/proc/self/maps`, when it is of what nothing ever writes of this file: its
    /// instructions, and the constants at its beginning. Constants further behind hold addresses, which the loader wrote.
    fn unwritten(line: &str, own: &str) -> Option<std::ops::Range<usize>> {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let (rights, offset) = (fields.next()?, fields.next()?);
        let address = |text| usize::from_str_radix(text, 16).ok();
        let unwritten = rights == "r-xp" || (rights == "r--p" && address(offset)? == 0);
        (unwritten && line.ends_with(own)).then_some(address(start)?..address(end)?)
    }

    #[expect(unsafe_code, reason = "there is no other way to tell the kernel")]
    fn forget(range: &std::ops::Range<usize>) {
        // SAFETY: the mapping is of a file, private, and not writable, so every page of it is as the file has it, and is read
        // from there again when it is next needed. A program file in use cannot be written to.
        let _refused =
            unsafe { madvise(range.start as *mut _, range.len(), Advice::LinuxDontNeed) };
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_what_nothing_writes_of_the_program_is_let_go() {
            let of = |rights: &str, offset: &str, path: &str| {
                let line = format!("55d0a000-55d0c000 {rights} {offset} fd:00 131 {path}");
                unwritten(&line, "/usr/bin/homeostat")
            };
            let range = Some(0x55d0_a000..0x55d0_c000);
            assert_eq!(of("r-xp", "00001000", "/usr/bin/homeostat"), range);
            assert_eq!(of("r--p", "00000000", "/usr/bin/homeostat"), range);
            assert_eq!(of("r--p", "01e77000", "/usr/bin/homeostat"), None);
            assert_eq!(of("rw-p", "00000000", "/usr/bin/homeostat"), None);
            assert_eq!(of("r-xp", "00001000", "/usr/lib/libc.so.6"), None);
        }

        #[test]
        fn the_program_goes_on() {
            for _ in 0..3 {
                let_go();
            }
            let maps =
                std::fs::read_to_string("/proc/self/maps").expect("it is readable by its process");
            let own = std::env::current_exe().expect("it has a name");
            let found = maps
                .lines()
                .filter_map(|line| unwritten(line, &own.to_string_lossy()));
            assert!(found.count() > 0, "its own file was not found: {maps}");
        }
    }
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
