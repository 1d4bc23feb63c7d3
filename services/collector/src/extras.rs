//! What slower readers have found of each container, for its next samples.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use units::{ContainerId, Metric, MetricRow, Steady};

/// Numbers about sockets are told for this long after they were read: a little over one read that is late.
const SOCKETS_FRESH: Duration = Duration::from_secs(150);

/// By container; only those that the roster names are kept.
#[derive(Debug, Default)]
pub(crate) struct Extras(Mutex<HashMap<ContainerId, Extra>>);

/// What is known of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Extra {
    pub(crate) sockets: Option<(Steady, SocketNumbers)>,
    pub(crate) layer_bytes: Option<u64>,
}

/// The TCP sockets of a container's network namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct SocketNumbers {
    pub(crate) established: u32,
    pub(crate) opening: u32,
    pub(crate) closing: u32,
    pub(crate) close_wait: u32,
    pub(crate) listening: u32,
    pub(crate) rtt_median: Option<Duration>,
    pub(crate) rtt_p99: Option<Duration>,
    pub(crate) segments: Option<u64>,
    pub(crate) retransmits: Option<u64>,
}

impl Extras {
    /// Notes the sockets of a container.
    pub(crate) fn sockets(&self, id: &ContainerId, at: Steady, numbers: SocketNumbers) {
        self.lock().entry(id.clone()).or_default().sockets = Some((at, numbers));
    }

    /// Notes the size of a container's writable layer.
    pub(crate) fn layer(&self, id: &ContainerId, bytes: u64) {
        self.lock().entry(id.clone()).or_default().layer_bytes = Some(bytes);
    }

    /// Forgets containers that are not there any more.
    pub(crate) fn keep_only(&self, there: &BTreeSet<ContainerId>) {
        self.lock().retain(|id, _| there.contains(id));
    }

    /// A look at all of them, for the length of one tick.
    pub(crate) fn look(&self) -> Look<'_> {
        Look(self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Extra>> {
        // Whole values are put in: a panic elsewhere leaves none half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while the rows of a tick are made.
pub(crate) struct Look<'a>(MutexGuard<'a, HashMap<ContainerId, Extra>>);

impl Look<'_> {
    /// Writes what is known of a container into its row.
    pub(crate) fn fill(&self, id: &ContainerId, now: Steady, row: &mut MetricRow) {
        let Some(extra) = self.0.get(id) else {
            return;
        };
        row.set_opt(Metric::LayerBytes, extra.layer_bytes.map(|it| it as f64));
        if let Some((at, numbers)) = &extra.sockets
            && now.since(*at) < SOCKETS_FRESH
        {
            fill_sockets(numbers, row);
        }
    }
}

fn fill_sockets(numbers: &SocketNumbers, row: &mut MetricRow) {
    row.set(Metric::TcpEstablished, f64::from(numbers.established));
    row.set(Metric::TcpOpening, f64::from(numbers.opening));
    row.set(Metric::TcpClosing, f64::from(numbers.closing));
    row.set(Metric::TcpCloseWait, f64::from(numbers.close_wait));
    row.set(Metric::TcpListening, f64::from(numbers.listening));
    let seconds = |time: Option<Duration>| time.map(|it| it.as_secs_f64());
    row.set_opt(Metric::TcpRttMedian, seconds(numbers.rtt_median));
    row.set_opt(Metric::TcpRttP99, seconds(numbers.rtt_p99));
    row.set_opt(Metric::TcpSegments, numbers.segments.map(|it| it as f64));
    row.set_opt(
        Metric::TcpRetransmits,
        numbers.retransmits.map(|it| it as f64),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_sockets_are_not_told_and_layers_are() {
        let extras = Extras::default();
        let id = ContainerId::from("a");
        let then = Steady::from_millis(1_000);
        let numbers = SocketNumbers {
            established: 3,
            ..SocketNumbers::default()
        };
        extras.sockets(&id, then, numbers);
        extras.layer(&id, 7);
        let row = |now| {
            let mut row = MetricRow::default();
            extras.look().fill(&id, now, &mut row);
            row
        };
        assert_eq!(row(then).get(Metric::TcpEstablished), Some(3.0));
        let late = row(then + SOCKETS_FRESH);
        assert_eq!(late.get(Metric::TcpEstablished), None);
        assert_eq!(late.get(Metric::LayerBytes), Some(7.0));
        extras.keep_only(&BTreeSet::new());
        assert_eq!(row(then), MetricRow::default());
    }
}
