//! Looking at the signals of one stack, as they come.

use std::time::{Duration, Instant};

use e2e::faults::FaultStack;
use e2e::homeostat::Homeostat;
use units::{Severity, Signal, SignalPhase};

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(500);

/// One opening of a signal.
pub(crate) struct Seen {
    /// Its newest state.
    pub(crate) signal: Signal,
    /// The most severe that it was.
    pub(crate) severity: Severity,
    /// When it was first seen.
    pub(crate) at: Instant,
}

impl Seen {
    pub(crate) fn is_open(&self) -> bool {
        self.signal.phase != SignalPhase::Resolve
    }
}

/// The signals about a stack's services, and about nodes, in the order they came.
pub(crate) struct Watch<'a> {
    homeostat: &'a Homeostat,
    stack: &'a FaultStack,
    seen: Vec<Seen>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(homeostat: &'a Homeostat, stack: &'a FaultStack) -> Watch<'a> {
        Watch {
            homeostat,
            stack,
            seen: Vec::new(),
        }
    }

    pub(crate) fn homeostat(&self) -> &Homeostat {
        self.homeostat
    }

    /// Everything seen so far, oldest first.
    pub(crate) fn all(&self) -> &[Seen] {
        &self.seen
    }

    /// Asks the console. One that does not answer is asked again at the next look.
    pub(crate) async fn look(&mut self) {
        let told: Option<Vec<Signal>> = self.homeostat.ask("signals?all=true").await;
        // Told newest first.
        for signal in told.unwrap_or_default().into_iter().rev() {
            let service = signal.subject.service.as_ref();
            if service.is_some_and(|service| !self.stack.has(service.as_str())) {
                continue;
            }
            match self
                .seen
                .iter_mut()
                .find(|seen| seen.signal.id == signal.id)
            {
                Some(seen) => {
                    seen.severity = seen.severity.max(signal.severity);
                    seen.signal = signal;
                }
                None => {
                    eprintln!("bench:   {}: {}", signal.kind, signal.reason);
                    self.seen.push(Seen {
                        severity: signal.severity,
                        signal,
                        at: Instant::now(),
                    });
                }
            }
        }
    }

    /// Until the next look.
    pub(crate) async fn rest(&self) {
        tokio::time::sleep(PERIOD).await;
    }

    /// Waits until no signal was open for so many seconds of samples, or the deadline.
    pub(crate) async fn calm(&mut self, calm_ticks: f64, deadline: Duration) {
        let began = Instant::now();
        let mut since = None;
        while began.elapsed() < deadline {
            self.look().await;
            let now = ticks(self.homeostat).await;
            if self.seen.iter().any(Seen::is_open) {
                since = None;
            } else if since.is_none() {
                since = now;
            }
            if now
                .zip(since)
                .is_some_and(|(now, since)| now - since >= calm_ticks)
            {
                return;
            }
            self.rest().await;
        }
        let open = self.seen.iter().filter(|seen| seen.is_open());
        for seen in open {
            eprintln!("bench: still open: {}", seen.signal.reason);
        }
    }
}

/// Seconds of samples so far.
pub(crate) async fn ticks(homeostat: &Homeostat) -> Option<f64> {
    homeostat
        .metric("homeostat_tick_duration_seconds_count")
        .await
}
