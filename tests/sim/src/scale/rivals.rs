//! Policies in wide use, as the reference simulator defines them.

use std::collections::VecDeque;

use super::{REPLICAS_MAX, REPLICAS_MIN, Scaler, Seen};

/// Seconds between decisions of a horizontal pod autoscaler, its delay of metrics, and the time in which no lower number than the
/// highest recommended is taken.
const SYNC_S: usize = 15;
const DELAY_S: usize = 15;
const STABLE_S: usize = 300;
/// Within this share of the target nothing is changed.
const TOLERANCE: f64 = 0.1;
/// Seconds KEDA's query looks back.
const KEDA_WINDOW_S: usize = 60;
/// Nomad's: between decisions, after a change, and its own tolerance.
const NOMAD_PERIOD_S: usize = 10;
const NOMAD_COOLDOWN_S: usize = 300;
const NOMAD_TOLERANCE: f64 = 0.01;
/// Rounding is no need for another replica.
const ROUNDING: f64 = 1e-9;

fn up(replicas: f64) -> u32 {
    (replicas - ROUNDING).ceil() as u32
}

/// What bounds the steps of a horizontal pod autoscaler, and KEDA's with it.
#[derive(Debug, Default)]
struct Steps {
    recommended: VecDeque<(usize, u32)>,
}

impl Steps {
    fn bound(&mut self, second: usize, current: u32, desired: u32) -> u32 {
        let desired = desired.clamp(REPLICAS_MIN, REPLICAS_MAX);
        let desired = desired.min((current + 4).max(2 * current));
        self.recommended.push_back((second, desired));
        let old = |(at, _): &(usize, u32)| second - at >= STABLE_S;
        while self.recommended.front().is_some_and(old) {
            self.recommended.pop_front();
        }
        if desired >= current {
            return desired;
        }
        let highest = self.recommended.iter().map(|(_, desired)| *desired).max();
        highest.unwrap_or(desired).min(current)
    }
}

/// Kubernetes' horizontal pod autoscaler on CPU.
#[derive(Debug)]
pub(super) struct Hpa {
    target: f64,
    steps: Steps,
}

impl Hpa {
    pub(super) fn new(target: f64) -> Self {
        Hpa {
            target,
            steps: Steps::default(),
        }
    }

    /// Replicas that start, and those ready too short a time, count as idle where more are wanted.
    fn desired(&self, seen: &Seen<'_>) -> u32 {
        let fleet = seen.fleet;
        let current = fleet.replicas();
        let used = fleet.used(SYNC_S, DELAY_S);
        let young = fleet.fresh(SYNC_S + 1).min(fleet.ready() - 1);
        let unready = fleet.starting() + young;
        let measured = f64::from(current - unready);
        let ratio = used / self.target;
        if unready > 0 && ratio > 1.0 {
            let with_idle = used * measured / (self.target * f64::from(current));
            let keep = with_idle < 1.0 || (1.0 - with_idle).abs() <= TOLERANCE;
            return if keep {
                current
            } else {
                (with_idle * f64::from(current)).ceil() as u32
            };
        }
        if (1.0 - ratio).abs() <= TOLERANCE {
            return current;
        }
        up(ratio
            * if unready > 0 {
                measured
            } else {
                f64::from(current)
            })
    }
}

impl Scaler for Hpa {
    fn observe(&mut self, _: &Seen<'_>) {}

    fn period_s(&self) -> usize {
        SYNC_S
    }

    fn decide(&mut self, seen: &Seen<'_>) -> u32 {
        let desired = self.desired(seen);
        self.steps
            .bound(seen.second, seen.fleet.replicas(), desired)
    }
}

/// KEDA on requests a second.
#[derive(Debug)]
pub(super) struct Keda {
    /// Requests a second that one replica is to have.
    share: f64,
    newest: VecDeque<f64>,
    steps: Steps,
}

impl Keda {
    pub(super) fn new(target: f64, capacity: f64) -> Self {
        Keda {
            share: target * capacity,
            newest: VecDeque::new(),
            steps: Steps::default(),
        }
    }
}

impl Scaler for Keda {
    fn observe(&mut self, seen: &Seen<'_>) {
        self.newest.push_back(seen.arrived);
        if self.newest.len() > KEDA_WINDOW_S {
            self.newest.pop_front();
        }
    }

    fn period_s(&self) -> usize {
        SYNC_S
    }

    fn decide(&mut self, seen: &Seen<'_>) -> u32 {
        let current = seen.fleet.replicas();
        let mean = self.newest.iter().sum::<f64>() / self.newest.len() as f64;
        let replicas = mean / self.share;
        let desired = if (1.0 - replicas / f64::from(current)).abs() <= TOLERANCE {
            current
        } else {
            up(replicas)
        };
        self.steps.bound(seen.second, current, desired)
    }
}

/// Nomad's autoscaler with a target value.
#[derive(Debug)]
pub(super) struct Nomad {
    target: f64,
    changed: Option<usize>,
}

impl Nomad {
    pub(super) fn new(target: f64) -> Self {
        Nomad {
            target,
            changed: None,
        }
    }
}

impl Scaler for Nomad {
    fn observe(&mut self, _: &Seen<'_>) {}

    fn period_s(&self) -> usize {
        NOMAD_PERIOD_S
    }

    fn decide(&mut self, seen: &Seen<'_>) -> u32 {
        let current = seen.fleet.replicas();
        let cools = |changed| seen.second - changed < NOMAD_COOLDOWN_S;
        if self.changed.is_some_and(cools) {
            return current;
        }
        let ratio = seen.fleet.used(NOMAD_PERIOD_S, 0) / self.target;
        if (1.0 - ratio).abs() <= NOMAD_TOLERANCE {
            return current;
        }
        let desired = up(f64::from(current) * ratio).clamp(REPLICAS_MIN, REPLICAS_MAX);
        if desired != current {
            self.changed = Some(seen.second);
        }
        desired
    }
}
