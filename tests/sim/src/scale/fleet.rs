//! The replicas of the simulated service and the requests that wait.

use super::{REPLICAS_MIN, ScaleError};
use control::sizing::{Replicas, STARTUP_MAX_S, SizingError};

/// Less waiting than this is rounding.
const BACKLOG_MIN: f64 = 1e-9;
/// Utilisation and readiness are kept for so many seconds.
const KEPT_S: usize = 64;

/// Replicas of which some start, and requests of which some wait.
#[derive(Debug)]
pub(super) struct Fleet {
    capacity: f64,
    ready: u32,
    starting: u32,
    backlog: f64,
    /// Replicas that become ready, by second modulo their number; and the place of the present second.
    orders: Vec<u32>,
    now: usize,
    /// Of the last seconds, by second modulo their number: the utilisation, and the replicas that became ready.
    used: [f64; KEPT_S],
    fresh: [u32; KEPT_S],
    second: usize,
}

impl Fleet {
    pub(super) fn new(startup_s: u32, capacity: f64) -> Result<Self, ScaleError> {
        if !(1..=STARTUP_MAX_S).contains(&startup_s) {
            return Err(SizingError::Startup(startup_s).into());
        }
        let places = startup_s as usize + 1;
        Ok(Fleet {
            capacity,
            ready: REPLICAS_MIN,
            starting: 0,
            backlog: 0.0,
            orders: vec![0; places],
            now: places - 1,
            used: [0.0; KEPT_S],
            fresh: [0; KEPT_S],
            second: KEPT_S - 1,
        })
    }

    /// Lets a second pass; true if requests wait at its end.
    pub(super) fn serve(&mut self, arrived: f64) -> bool {
        self.now = (self.now + 1) % self.orders.len();
        self.second += 1;
        let fresh = std::mem::take(&mut self.orders[self.now]);
        self.ready += fresh;
        self.starting -= fresh;
        let capacity = f64::from(self.ready) * self.capacity;
        let waiting = self.backlog + arrived;
        let served = waiting.min(capacity);
        self.backlog = waiting - served;
        self.used[self.second % KEPT_S] = served / capacity;
        self.fresh[self.second % KEPT_S] = fresh;
        self.backlog > BACKLOG_MIN
    }

    /// Ready and starting: both are paid for.
    pub(super) fn replicas(&self) -> u32 {
        self.ready + self.starting
    }

    /// Replicas that became ready in the last so many seconds.
    pub(super) fn fresh(&self, seconds: usize) -> u32 {
        let place = |ago| (self.second - ago) % KEPT_S;
        (0..seconds).map(|ago| self.fresh[place(ago)]).sum()
    }

    /// Mean utilisation of so many seconds, the newest of them so many seconds ago.
    pub(super) fn used(&self, seconds: usize, ago: usize) -> f64 {
        let place = |ago| (self.second - ago) % KEPT_S;
        let sum: f64 = (ago..ago + seconds).map(|ago| self.used[place(ago)]).sum();
        sum / seconds as f64
    }

    pub(super) fn ready(&self) -> u32 {
        self.ready
    }

    pub(super) fn starting(&self) -> u32 {
        self.starting
    }

    /// As a policy is told of it.
    pub(super) fn seen(&self) -> Replicas {
        let places = self.orders.len();
        let mut ready = self.ready;
        let serving = (1..places).map(|ahead| {
            ready += self.orders[(self.now + ahead) % places];
            f64::from(ready)
        });
        // Nobody asks while nothing waits, and adding it up takes a while.
        let upcoming = if self.backlog > BACKLOG_MIN {
            serving.sum()
        } else {
            0.0
        };
        Replicas {
            ready: self.ready,
            starting: self.starting,
            upcoming,
            backlog: if self.backlog > BACKLOG_MIN {
                self.backlog
            } else {
                0.0
            },
        }
    }

    /// Orders or stops replicas; true if that changes anything. Those that are due last are stopped first, those ready last.
    pub(super) fn set(&mut self, wanted: u32) -> bool {
        let current = self.replicas();
        let places = self.orders.len();
        let more = wanted.saturating_sub(current);
        self.orders[(self.now + places - 1) % places] += more;
        self.starting += more;
        let mut fewer = current.saturating_sub(wanted);
        for ago in 1..places {
            let order = &mut self.orders[(self.now + places - ago) % places];
            let stopped = fewer.min(*order);
            *order -= stopped;
            self.starting -= stopped;
            fewer -= stopped;
        }
        self.ready -= fewer;
        wanted != current
    }
}
