//! A service as it would be under one stance: replicas that start, serve and are stopped, and requests that wait.

use super::{BACKLOG_MIN, Replicas, Settings};
use serde::{Deserialize, Serialize};

/// Fewer replicas are ordered only where that saves more than this share of them: small steps down are many actions for little.
const STEP_DOWN_SHARE: f64 = 0.12;
/// More replicas to work off a backlog are ordered once this many times those already ordered for it are wanted.
const DRAIN_MORE: f64 = 1.5;

/// The number of replicas to have.
#[derive(Debug)]
pub(super) struct Aim<'a> {
    /// For the load.
    pub(super) base: u32,
    /// The load expected.
    pub(super) load: f64,
    /// Of a second without a backlog.
    pub(super) price: f64,
    pub(super) settings: &'a Settings,
}

impl Aim<'_> {
    /// With what works off the backlog. `draining` is what has been ordered for that, until the backlog is gone.
    ///
    /// Of k replicas more, k start-up times are paid for nothing, and the backlog B that is left when they are ready takes
    /// B / (k capacity) seconds: least cost at k = √(price · B / (startup · capacity)).
    pub(super) fn at(&self, replicas: &Replicas, draining: &mut u32) -> u32 {
        let current = replicas.ready.saturating_add(replicas.starting);
        let startup_s = f64::from(self.settings.startup_s);
        let capacity = self.settings.replica_capacity;
        if replicas.backlog <= BACKLOG_MIN {
            *draining = 0;
        } else {
            let left = replicas.backlog + startup_s * self.load - replicas.upcoming * capacity;
            let more = (self.price * left.max(0.0) / (startup_s * capacity))
                .sqrt()
                .ceil();
            if more > DRAIN_MORE * f64::from(*draining) {
                *draining = more as u32;
            }
        }
        let wanted = self.base.saturating_add(*draining);
        let wanted = wanted.clamp(self.settings.min, self.settings.max);
        let fewer = f64::from(current.saturating_sub(wanted));
        if fewer <= STEP_DOWN_SHARE * f64::from(current) {
            return wanted.max(current).min(self.settings.max);
        }
        wanted
    }
}

/// Replicas and requests of a service that does not exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shadow {
    ready: u32,
    pub(super) starting: u32,
    /// Replicas that become ready, by second; `now` is the place of the present one.
    pub(super) orders: Vec<u32>,
    now: usize,
    capacity: f64,
    backlog: f64,
    draining: u32,
}

impl Shadow {
    pub(super) fn new(settings: &Settings) -> Self {
        Shadow {
            ready: settings.min,
            starting: 0,
            orders: vec![0; settings.startup_s as usize + 1],
            now: 0,
            capacity: settings.replica_capacity,
            backlog: 0.0,
            draining: 0,
        }
    }

    /// Lets a second pass, and tells how many requests wait at its end.
    pub(super) fn serve(&mut self, arrived: f64) -> f64 {
        self.now += 1;
        if self.now == self.orders.len() {
            self.now = 0;
        }
        let ready = std::mem::take(&mut self.orders[self.now]);
        self.ready += ready;
        self.starting -= ready;
        let left = self.backlog + arrived - f64::from(self.ready) * self.capacity;
        self.backlog = left.max(0.0);
        self.backlog
    }

    /// Serving and starting: both are paid for.
    pub(super) fn replicas(&self) -> u32 {
        self.ready + self.starting
    }

    fn upcoming(&self) -> f64 {
        let seconds = self.orders.len() - 1;
        let mut ready = f64::from(self.ready);
        if self.starting == 0 {
            return ready * seconds as f64;
        }
        let later = self.orders[self.now + 1..].iter();
        let mut sum = 0.0;
        for order in later.chain(&self.orders[..self.now]) {
            ready += f64::from(*order);
            sum += ready;
        }
        sum
    }

    /// Orders or stops replicas; true if that changed anything. Those ordered last are stopped first, those ready last of all.
    pub(super) fn order(&mut self, aim: &Aim<'_>) -> bool {
        let waits = self.backlog > BACKLOG_MIN;
        let replicas = Replicas {
            ready: self.ready,
            starting: self.starting,
            upcoming: if waits { self.upcoming() } else { 0.0 },
            backlog: self.backlog,
        };
        let wanted = aim.at(&replicas, &mut self.draining);
        let current = self.replicas();
        if wanted > current {
            // The place before the present one comes up in a start-up time.
            let seconds = self.orders.len();
            self.orders[(self.now + seconds - 1) % seconds] += wanted - current;
            self.starting += wanted - current;
        } else {
            self.stop(current - wanted);
        }
        wanted != current
    }

    fn stop(&mut self, mut fewer: u32) {
        let seconds = self.orders.len();
        for ago in 1..seconds {
            if fewer == 0 || self.starting == 0 {
                break;
            }
            let order = &mut self.orders[(self.now + seconds - ago) % seconds];
            let stopped = fewer.min(*order);
            *order -= stopped;
            self.starting -= stopped;
            fewer -= stopped;
        }
        self.ready -= fewer;
    }
}
