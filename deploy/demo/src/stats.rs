//! What became of the requests to one target.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Answered requests whose latency is remembered; older ones are forgotten.
const LATENCIES: usize = 200;

/// Counters of one target; every request due ends in exactly one of ok, failed and dropped.
#[derive(Default)]
pub(crate) struct Stats {
    sent: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    latencies_ms: Mutex<VecDeque<u128>>,
}

impl Stats {
    /// A request went out.
    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered well.
    pub(crate) fn answered(&self, latency: Duration) {
        self.ok.fetch_add(1, Ordering::Relaxed);
        let mut latencies = self.latencies();
        if latencies.len() == LATENCIES {
            latencies.pop_front();
        }
        latencies.push_back(latency.as_millis());
    }

    /// A request got no answer, or a bad one, or ran out of time.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests were due that could not be sent, too many being in flight or the sender being late.
    pub(crate) fn dropped(&self, requests: u64) {
        self.dropped.fetch_add(requests, Ordering::Relaxed);
    }

    fn latencies(&self) -> MutexGuard<'_, VecDeque<u128>> {
        self.latencies_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters as members of a JSON object, latencies in milliseconds over the last answered requests.
    pub(crate) fn write_json(&self, out: &mut String) {
        let mut sorted: Vec<u128> = self.latencies().iter().copied().collect();
        sorted.sort_unstable();
        let quantile = |percent: usize| {
            sorted
                .get(sorted.len().saturating_sub(1) * percent / 100)
                .copied()
        };
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            out,
            r#""sent":{},"ok":{},"failed":{},"dropped":{},"p50_ms":{},"p95_ms":{}"#,
            get(&self.sent),
            get(&self.ok),
            get(&self.failed),
            get(&self.dropped),
            quantile(50).unwrap_or(0),
            quantile(95).unwrap_or(0),
        )
        .expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_latencies_give_the_quantiles() {
        let stats = Stats::default();
        for ms in 0..300 {
            stats.answered(Duration::from_millis(ms));
        }
        stats.sent();
        stats.failed();
        stats.dropped(2);
        let mut json = String::new();
        stats.write_json(&mut json);
        assert_eq!(
            json,
            r#""sent":1,"ok":300,"failed":1,"dropped":2,"p50_ms":199,"p95_ms":289"#
        );
    }
}
