//! What every Homeostat process needs around its own work: configuration, boot and drain, logs, traces,
//! metrics, the state of what it depends on, and the admin port.
//!
//! It holds no decision of the product, knows no topic and no schema, and installs nothing behind the
//! caller's back: `homeostat` wires the pieces, a role receives a [`Context`] and returns when told to.
//! [`now`] is the one place where shells read the wall clock.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;
use units::{Steady, Timestamp};

pub mod admin;
pub mod backoff;
pub mod boot;
pub mod config;
pub mod health;
pub mod metrics;
pub mod telemetry;
pub mod trace;

/// What a role is given to run with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The log every role reads and writes.
    pub bus: bus::Bus,
    /// The registry behind `/metrics`.
    pub metrics: metrics::Metrics,
    /// The dependencies behind `/readyz`.
    pub health: health::Health,
    /// Fires when the process is to end; the role then drains and returns.
    pub shutdown: CancellationToken,
    /// Who writes the records, such as `collector/0.1.0@node-a`.
    pub producer: Arc<str>,
}

impl Context {
    /// The context of `role` on `node`, with a registry, health and shutdown token of its own.
    pub fn new(bus: bus::Bus, role: &str, node: &str) -> Self {
        Context {
            bus,
            metrics: metrics::Metrics::new(role, env!("CARGO_PKG_VERSION")),
            health: health::Health::default(),
            shutdown: CancellationToken::new(),
            producer: producer(role, node),
        }
    }

    /// The same process, for another of its roles: everything is shared but the producer's name.
    pub fn for_role(&self, role: &str, node: &str) -> Self {
        Context {
            producer: producer(role, node),
            ..self.clone()
        }
    }
}

fn producer(role: &str, node: &str) -> Arc<str> {
    format!("{role}/{}@{node}", env!("CARGO_PKG_VERSION")).into()
}

/// The wall clock in milliseconds; the epoch when the clock stands before it.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// The wall clock without its steps, for what a shell measures by it: silence, ages, deadlines. A host whose clock is set must not
/// make everything look silent.
#[derive(Debug, Clone)]
pub struct EvenClock(units::EvenClock);

impl EvenClock {
    /// A clock that begins with the wall clock.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        EvenClock(units::EvenClock::starting(now(), steady()))
    }

    /// The time now. It never goes back.
    pub fn now(&mut self) -> Timestamp {
        self.0.advance(now(), steady())
    }
}

/// The CPU time this thread has used.
pub fn thread_cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(used.tv_nsec).unwrap_or(0))
}

/// The clock that never steps, time asleep included.
pub fn steady() -> Steady {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    Steady::from_millis(
        seconds
            .saturating_mul(1_000)
            .saturating_add(nanoseconds / 1_000_000),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producer_names_role_version_and_node() {
        let context = Context::new(bus::Bus::memory(), "collector", "node-a");
        let expected = format!("collector/{}@node-a", env!("CARGO_PKG_VERSION"));
        assert_eq!(&*context.producer, expected);
        let other = context.for_role("analytics", "node-a");
        assert!(other.producer.starts_with("analytics/"));
        context.shutdown.cancel();
        assert!(other.shutdown.is_cancelled(), "one process, one shutdown");
    }

    #[test]
    fn the_even_clock_begins_with_the_wall_clock_and_never_goes_back() {
        let before = now();
        let mut clock = EvenClock::new();
        let mut last = clock.now();
        assert!(last >= before);
        for _ in 0..1_000 {
            let read = clock.now();
            assert!(read >= last);
            last = read;
        }
    }

    #[test]
    fn the_clock_is_past_2020() {
        assert!(now() > Timestamp::from_millis(1_577_836_800_000));
    }
}
