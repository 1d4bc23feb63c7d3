//! Configuration of what is read beside the containers' own files: whether, and at what pace.

use std::collections::BTreeSet;
use std::time::Duration;

use kit::config::{HumanDuration, Invalid};
use serde::{Deserialize, Serialize};

use crate::haproxy::Socket;

const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(60 * 60);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const PAGE_BYTES: std::ops::RangeInclusive<u64> = 1_024..=64 * 1024 * 1024;
/// HAProxy sockets of one collector; all are read at once.
const SOCKETS_MAX: usize = 16;
const SERIES: std::ops::RangeInclusive<u64> = 1..=100_000;

/// Whether something is read or done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// A source with a pace of its own. Serde has no constant generics, so each default is a type.
macro_rules! source {
    ($(#[$doc:meta])* $name:ident, $default_secs:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// Whether it is read.
            pub read: Switch,
            /// Time between two reads, 1 s to 1 h.
            pub interval: HumanDuration,
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    read: Switch::On,
                    interval: HumanDuration::from_secs($default_secs),
                }
            }
        }

        impl $name {
            /// The interval, when it is read at all.
            pub(crate) fn pace(&self) -> Option<Duration> {
                match self.read {
                    Switch::On => Some(self.interval.get()),
                    Switch::Off => None,
                }
            }

            pub(crate) fn problem(&self, section: &str) -> Option<Invalid> {
                interval_problem(&format!("{section}.interval"), self.interval)
            }
        }
    };
}

source!(
    /// Section `[collector.sockets]`: TCP connections of containers.
    Sockets, 10
);
source!(
    /// Section `[collector.layers]`: sizes of writable layers.
    Layers, 300
);
source!(
    /// Section `[collector.host]`: the node itself.
    HostSeries, 10
);

/// Section `[collector.scrape]`: the pages of containers labelled `io.homeostat.scrape`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scrape {
    /// Whether labelled containers are scraped.
    pub read: Switch,
    /// Time between two scrapes of a page, 1 s to 1 h.
    pub interval: HumanDuration,
    /// How long a page may take, 100 ms to the interval.
    pub timeout: HumanDuration,
    /// Bytes taken of a page, 1 KiB to 64 MiB; what is beyond is counted and left.
    pub bytes_max: u64,
    /// Series taken of a page, 1 to 100,000; those beyond are counted and left.
    pub series_max: u64,
}

impl Default for Scrape {
    fn default() -> Self {
        Scrape {
            read: Switch::On,
            interval: HumanDuration::from_secs(15),
            timeout: HumanDuration::from_secs(5),
            bytes_max: 4 * 1024 * 1024,
            series_max: 5_000,
        }
    }
}

impl Scrape {
    pub(crate) fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        problems.extend(interval_problem("scrape.interval", self.interval));
        if !(TIMEOUT_MIN..=self.interval.get()).contains(&self.timeout.get()) {
            let message = format!("{} is too short, or longer than the interval", self.timeout);
            problems.push(
                Invalid::new("scrape.timeout", message)
                    .suggest("write a duration from 100ms to scrape.interval, such as 5s"),
            );
        }
        if !PAGE_BYTES.contains(&self.bytes_max) {
            let message = format!("{} is out of bounds", self.bytes_max);
            problems.push(
                Invalid::new("scrape.bytes_max", message)
                    .suggest("write a number of bytes from 1024 to 67108864"),
            );
        }
        if !SERIES.contains(&self.series_max) {
            let message = format!("{} is out of bounds", self.series_max);
            problems.push(
                Invalid::new("scrape.series_max", message)
                    .suggest("write a number from 1 to 100000"),
            );
        }
        problems
    }
}

/// Section `[collector.haproxy]`: what HAProxy tells of servers that are containers of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Haproxy {
    /// Stats sockets that are read, as `unix:///run/haproxy/admin.sock` or `tcp://10.0.0.2:9999`, at most 16.
    pub sockets: Vec<Socket>,
    /// Time between two reads, 1 s to 1 h.
    pub interval: HumanDuration,
}

impl Default for Haproxy {
    fn default() -> Self {
        Haproxy {
            sockets: Vec::new(),
            interval: HumanDuration::from_secs(5),
        }
    }
}

impl Haproxy {
    pub(crate) fn problems(&self) -> Vec<Invalid> {
        let mut problems = Vec::new();
        problems.extend(interval_problem("haproxy.interval", self.interval));
        if self.sockets.len() > SOCKETS_MAX {
            let message = format!("{} sockets are too many", self.sockets.len());
            let most = format!("keep to {SOCKETS_MAX}");
            problems.push(Invalid::new("haproxy.sockets", message).suggest(most));
        }
        let distinct: BTreeSet<&Socket> = self.sockets.iter().collect();
        if distinct.len() < self.sockets.len() {
            problems.push(
                Invalid::new("haproxy.sockets", "a socket is named twice")
                    .suggest("name each once: its figures would be counted twice"),
            );
        }
        problems
    }
}

fn interval_problem(key: &str, interval: HumanDuration) -> Option<Invalid> {
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval.get()) {
        return None;
    }
    Some(
        Invalid::new(key, format!("{interval} is too short or too long"))
            .suggest("write a duration from 1s to 1h, such as 10s"),
    )
}
