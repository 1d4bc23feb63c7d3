//! The short files: `/proc/loadavg`, `/proc/uptime` and `/proc/sys/fs/file-nr`.

use crate::kernel::{decimal, integer, words};

/// `/proc/loadavg`: how many tasks ran, could have run, or waited for a disk, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadAverage {
    /// Over one minute.
    pub one: f64,
    /// Over five minutes.
    pub five: f64,
    /// Over a quarter of an hour.
    pub fifteen: f64,
    /// Tasks that run or could, now.
    pub runnable: Option<u64>,
    /// All tasks there are.
    pub tasks: Option<u64>,
}

impl LoadAverage {
    /// `0.50 0.25 1.00 2/345 6789`. `None` when one of the averages is missing.
    pub fn parse(text: &[u8]) -> Option<LoadAverage> {
        let mut words = words(text);
        let (one, five, fifteen) = (words.next()?, words.next()?, words.next()?);
        let mut tasks = words
            .next()
            .unwrap_or_default()
            .split(|byte| *byte == b'/')
            .map(integer);
        Some(LoadAverage {
            one: decimal(one)?,
            five: decimal(five)?,
            fifteen: decimal(fifteen)?,
            runnable: tasks.next().flatten(),
            tasks: tasks.next().flatten(),
        })
    }
}

/// `/proc/uptime`: how long the machine has been up, in seconds, time asleep included.
pub fn uptime_secs(text: &[u8]) -> Option<f64> {
    words(text).next().and_then(decimal)
}

/// `/proc/sys/fs/file-nr`: the machine's open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHandles {
    /// Open.
    pub open: u64,
    /// The most there can be. On present kernels it is so large that it means no limit.
    pub limit: u64,
}

impl FileHandles {
    /// `521 0 2466170`, with tabs between: allocated, of these not in use, limit. The second is zero since Linux 2.6.
    pub fn parse(text: &[u8]) -> Option<FileHandles> {
        let mut words = words(text).map(integer);
        let (allocated, unused, limit) = (words.next()??, words.next()??, words.next()??);
        Some(FileHandles {
            open: allocated.saturating_sub(unused),
            limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_files() {
        let expected = LoadAverage {
            one: 0.5,
            five: 0.25,
            fifteen: 1.0,
            runnable: Some(2),
            tasks: Some(345),
        };
        assert_eq!(
            LoadAverage::parse(b"0.50 0.25 1.00 2/345 6789\n"),
            Some(expected)
        );
        assert_eq!(LoadAverage::parse(b"0.50 0.25\n"), None);
        assert_eq!(uptime_secs(b"12345.25 45678.90\n"), Some(12_345.25));
        assert_eq!(uptime_secs(b"\n"), None);
        let expected = FileHandles {
            open: 521,
            limit: 9_223_372_036_854_775_807,
        };
        assert_eq!(
            FileHandles::parse(b"521\t0\t9223372036854775807\n"),
            Some(expected)
        );
        assert_eq!(FileHandles::parse(b"521\t0\n"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in "([0-9]{1,25}|[ ./\n\t-]|nan|\\PC){0,40}") {
            let bytes = text.as_bytes();
            let averages = LoadAverage::parse(bytes).map(|load| [load.one, load.five, load.fifteen]);
            for value in averages.into_iter().flatten().chain(uptime_secs(bytes)) {
                prop_assert!(value.is_finite() && value >= 0.0);
            }
            let _ = FileHandles::parse(bytes);
        }
    }
}
