//! A time of day that a test sets for the processes it starts, by preloading Debian's libfaketime. This machine's own clock is
//! left alone. The clocks that never step (`CLOCK_MONOTONIC`, `CLOCK_BOOTTIME`) stay true, as they do when a host is set.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::homeostat::Launch;

const LIBRARY: &str = "libfaketimeMT.so.1";

/// A clock beside the true one. It begins true.
pub struct FakeTime {
    library: PathBuf,
    file: PathBuf,
}

impl FakeTime {
    /// Keeps its setting in `dir`. Panics when libfaketime is not installed, or does not do what is asked of it.
    pub fn new(dir: &Path) -> FakeTime {
        let fake = FakeTime {
            library: library(),
            file: dir.join("faketime"),
        };
        fake.step(-3600);
        let date = |environment: Vec<(String, String)>| {
            let date = Command::new("date").arg("+%s").envs(environment).output();
            let text = String::from_utf8(date.unwrap().stdout).unwrap();
            text.trim().parse::<i64>().unwrap()
        };
        let ahead = date(Vec::new()) - date(fake.environment());
        assert!(
            (3590..=3610).contains(&ahead),
            "libfaketime steps by {ahead} s"
        );
        fake.step(0);
        fake
    }

    /// Sets the clock so many seconds off the true time, at once, for every process started with it.
    pub fn step(&self, seconds: i64) {
        // Renamed into place, so that nobody reads half of it.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(&next, &self.file).unwrap();
    }

    /// How to start a process that lives by this clock.
    pub fn launch(&self) -> Launch {
        Launch {
            environment: self.environment(),
            ..Launch::default()
        }
    }

    fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            // The file is read each time, not every ten seconds.
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DONT_RESET", "1".to_owned()),
            // Times of files stay as they are.
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let found = folders.map(|folder| folder.path().join("faketime").join(LIBRARY));
    found
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no {LIBRARY}: install the Debian package libfaketime"))
}
