//! What happens to a container while it rests, and is read only while it may have moved.

use formats::kernel::{self, NetCounters, Pressure};

use super::kept::{Buffer, Kept};
use super::overview::Overview;
use super::reader::REPEATS_MAX;

/// Waiting for I/O.
#[derive(Debug)]
pub(super) struct Waiting {
    file: Kept,
    last: Option<Pressure>,
    /// It stood still over a time in which the container did not run: nobody waits, and nobody can begin to without running.
    is_over: bool,
}

/// The interfaces of its own.
#[derive(Debug)]
pub(super) struct Net {
    file: Kept,
    interfaces: Vec<u32>,
    last: Option<NetCounters>,
    repeats: u32,
}

impl Waiting {
    pub(super) fn of(file: Kept) -> Waiting {
        Waiting {
            file,
            last: None,
            is_over: false,
        }
    }

    /// Of a container that did not run since the last sample.
    pub(super) fn at_rest(&mut self, buffer: &mut Buffer) -> Option<Pressure> {
        if !self.is_over {
            let before = self.last;
            self.is_over = self.read(buffer) == before;
        }
        self.last
    }

    /// Of one that ran.
    pub(super) fn after_work(&mut self, buffer: &mut Buffer) -> Option<Pressure> {
        self.is_over = false;
        self.read(buffer)
    }

    fn read(&mut self, buffer: &mut Buffer) -> Option<Pressure> {
        self.last = self.file.read(buffer).map(Pressure::parse);
        self.last
    }
}

impl Net {
    /// A process's table, and the numbers of the interfaces in it.
    pub(super) fn of(file: Kept, interfaces: Vec<u32>) -> Net {
        Net {
            file,
            interfaces,
            last: None,
            repeats: 0,
        }
    }

    pub(super) fn none() -> Net {
        Net::of(Kept::none(), Vec::new())
    }

    /// Nothing moved while the ends on the host count what these counted last. Were they not its own ends after all, they would
    /// hardly count the same.
    pub(super) fn read(&mut self, overview: &Overview, buffer: &mut Buffer) -> Option<NetCounters> {
        self.file.0.as_ref()?;
        let far_ends = overview.network(&self.interfaces);
        let still = match (&self.last, &far_ends) {
            (Some(last), Some(far_ends)) => moved(last) == moved(far_ends),
            (None, _) | (_, None) => false,
        };
        if still && self.repeats < REPEATS_MAX {
            self.repeats += 1;
            return self.last;
        }
        self.repeats = 0;
        self.last = self.file.read(buffer).and_then(kernel::net_dev);
        self.last
    }
}

/// What both ends of a pair count alike; each counts its own errors and drops.
fn moved(counters: &NetCounters) -> [u64; 4] {
    [
        counters.rx_bytes,
        counters.rx_packets,
        counters.tx_bytes,
        counters.tx_packets,
    ]
}
