//! Seeded histories for tests.

use std::time::Duration;

use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use units::Timestamp;

use crate::history::History;

/// Seeded noise.
pub(crate) struct Noise(Xoshiro256Plus);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Noise(Xoshiro256Plus::seed_from_u64(seed))
    }

    /// From 0 to 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normal enough: twelve uniform numbers less six.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

pub(crate) const NAMES: [&str; 4] = ["requests", "cpu", "memory", "queue"];

pub(crate) fn names() -> Vec<String> {
    NAMES.iter().map(|name| (*name).to_owned()).collect()
}

/// A row of a service under a load that wanders: CPU follows requests, memory and queue go their own way.
pub(crate) struct Service {
    noise: Noise,
    load: f64,
    memory: f64,
}

impl Service {
    pub(crate) fn new(seed: u64) -> Self {
        Service {
            noise: Noise::new(seed),
            load: 0.0,
            memory: 0.0,
        }
    }

    pub(crate) fn row(&mut self) -> Vec<Option<f64>> {
        self.load = 0.8 * self.load + 0.6 * self.noise.normal();
        self.memory = 0.8 * self.memory + 0.6 * self.noise.normal();
        let requests = 100.0 + 20.0 * self.load + self.noise.normal();
        let cpu = 0.5 + 0.1 * self.load + 0.01 * self.noise.normal();
        let memory = 2e8 + 1e7 * self.memory;
        let queue = 5.0 + self.noise.normal();
        vec![Some(requests), Some(cpu), Some(memory), Some(queue)]
    }
}

pub(crate) fn at(row: usize) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(10 * row as u64)
}

/// Two containers of one service.
pub(crate) fn history(rows: usize, seed: u64) -> History {
    let mut history = History::new(names()).unwrap();
    let mut containers = [Service::new(seed), Service::new(seed + 1)];
    for row in 0..rows {
        for (subject, container) in containers.iter_mut().enumerate() {
            history
                .push(at(row), subject as u32, &container.row())
                .unwrap();
        }
    }
    history
}
