//! One service: its containers, and whether they carry its load.

mod answers;
mod peers;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{
    ContainerId, ContainerState, Millicores, NodeId, Ratio, Sample, ServiceId, Severity, Signal,
    SignalKind, Subject, Timestamp,
};

use crate::baseline::Baseline;
use crate::clock::Moment;
use crate::container::{Container, ServiceStanding, Surroundings};
use crate::gate::{Confirmation, Finding, Gates, Proof, Reading, Scene};
use crate::rules::confidence;
use crate::rules::novelty::Novelties;
use crate::text::{duration, number, percent};

const CONFIRM: Confirmation = Confirmation {
    needed: 2,
    of: 3,
    calm: 8,
};
/// Use is judged as the mean of so many evaluations: a service near its target has busy seconds in health.
const SMOOTHED_OVER: usize = 3;
/// A service is judged at most this often: once a second, with some play for its nodes' ticks.
const EVERY: Duration = Duration::from_millis(750);
/// A replica whose newest sample is older is left out.
const FRESH: Duration = Duration::from_secs(3);
/// Share of the CPU limits in use …
const USED_MIN: f64 = 0.85;
const USED_CRITICAL: f64 = 0.95;
/// … or share of periods throttled, when the limits are used by at least this share.
const THROTTLED_MIN: f64 = 0.20;
const THROTTLED_USED_MIN: f64 = 0.80;
const USED_CALM: f64 = 0.75;

/// The load of a service at one time, for forecasts.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceLoad {
    /// Which.
    pub service: ServiceId,
    /// When its newest sample was read.
    pub at: Timestamp,
    /// CPU of all running replicas together, in millicores.
    pub cpu_millicores: f64,
    /// Running replicas with fresh samples.
    pub replicas: u32,
    /// The mean CPU limit of a replica, or one core where it has none.
    pub replica_capacity: Millicores,
    /// Share of enforcement periods in which a CPU limit was hit.
    pub throttled: f64,
    /// CPU of the busiest of them, in millicores.
    pub busiest_cpu_millicores: f64,
    /// Memory of the one that holds most, less what the kernel would give back first; absent where none was read.
    pub busiest_memory_bytes: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    pub(crate) gates: Gates,
    pub(crate) novelties: Novelties,
    used: Baseline,
    recent: VecDeque<Sum>,
    /// When it was judged last, by the clock of which node.
    evaluated: Option<(NodeId, Moment)>,
}

impl Default for Service {
    fn default() -> Self {
        Service {
            containers: BTreeMap::new(),
            gates: Gates::default(),
            novelties: Novelties::default(),
            used: Baseline::new(0.005),
            recent: VecDeque::new(),
            evaluated: None,
        }
    }
}

/// Sums over the replicas of one evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Sum {
    replicas: u32,
    cpu_cores: f64,
    capacity_cores: f64,
    limited_cpu_cores: f64,
    limit_cores: f64,
    unlimited: u32,
    periods: f64,
    throttled_periods: f64,
    busiest_cpu_cores: f64,
    busiest_memory_bytes: Option<f64>,
}

impl Service {
    /// The replica whose expectations a new one borrows: the one with the longest history.
    pub(crate) fn eldest(&self) -> Option<&Container> {
        let eldest = self
            .containers
            .values()
            .max_by_key(|container| container.history())?;
        (eldest.history() >= crate::baseline::WARM_UP as u32).then_some(eldest)
    }

    pub(crate) fn standing(&self) -> ServiceStanding {
        match self.gates.is_stirring(SignalKind::Overload) {
            true => ServiceStanding::Overloaded,
            false => ServiceStanding::Ordinary,
        }
    }

    /// Judges the service as of the newest sample of a batch, read at `read_at` by its node's clock. Gives nothing when that is too soon, or nothing of it runs.
    pub(crate) fn evaluate(
        &mut self,
        newest: &Sample,
        read_at: Moment,
        around: &Surroundings<'_>,
        out: &mut Vec<Signal>,
    ) -> Option<ServiceLoad> {
        let here = (&newest.node, read_at);
        if let Some((node, last)) = &self.evaluated {
            let due = elapsed((node, *last), here) >= EVERY;
            let stepped_back = elapsed(here, (node, *last)) > FRESH;
            if !due && !stepped_back {
                return None;
            }
        }
        self.evaluated = Some((newest.node.clone(), read_at));
        self.compare_replicas(&newest.service, here, around, out);
        let at = read_at.at;
        let scene = Scene {
            // Its nodes' clocks have only the time of day in common.
            now: Moment::of(at),
            subject: Subject::service(newest.service.clone()),
            traceparent: around.traceparent,
            update_every: around.settings.update_every,
        };
        self.settle_novelties(&scene, out);
        let sum = self.sum(here);
        if sum.replicas == 0 {
            let why = "none of its containers runs";
            out.extend(self.gates.resolve(SignalKind::Overload, why, &scene));
            return None;
        }
        let smooth = self.smooth(sum);
        let reading = self.read(&newest.service, &smooth, scene.now);
        if let (Some(used), false) = (smooth.used(), matches!(reading, Reading::Violates(_))) {
            self.used.learn(used);
        }
        let reading = around.node.explain(reading);
        out.extend(
            self.gates
                .step(SignalKind::Overload, reading, CONFIRM, &scene),
        );
        Some(ServiceLoad {
            service: newest.service.clone(),
            at,
            cpu_millicores: sum.cpu_cores * 1_000.0,
            replicas: sum.replicas,
            replica_capacity: Millicores::from_cores(sum.capacity_cores / f64::from(sum.replicas)),
            throttled: sum.throttled(),
            busiest_cpu_millicores: sum.busiest_cpu_cores * 1_000.0,
            busiest_memory_bytes: sum.busiest_memory_bytes,
        })
    }

    fn sum(&self, here: (&NodeId, Moment)) -> Sum {
        let mut sum = Sum::default();
        let running = |container: &&Container| {
            let age = elapsed((&container.node, container.last), here);
            container.state == ContainerState::Running && age <= FRESH
        };
        for container in self.containers.values().filter(running) {
            let features = &container.features;
            let cpu_cores = features.cpu_cores.unwrap_or(0.0);
            sum.replicas += 1;
            sum.cpu_cores += cpu_cores;
            sum.busiest_cpu_cores = sum.busiest_cpu_cores.max(cpu_cores);
            let memory = features.working_set_bytes.or(features.memory_bytes);
            sum.busiest_memory_bytes = match (sum.busiest_memory_bytes, memory) {
                (Some(most), Some(bytes)) => Some(most.max(bytes)),
                (most, bytes) => most.or(bytes),
            };
            sum.capacity_cores += features.cpu_limit_cores.unwrap_or(1.0);
            match features.cpu_limit_cores {
                Some(limit) => {
                    sum.limit_cores += limit;
                    sum.limited_cpu_cores += cpu_cores;
                }
                None => sum.unlimited += 1,
            }
            if let (Some(periods), Some(throttled)) =
                (features.cpu_periods, features.cpu_throttled_periods)
            {
                sum.periods += periods;
                sum.throttled_periods += throttled.min(periods);
            }
        }
        sum
    }

    /// The mean of the last evaluations, replicas as of now.
    fn smooth(&mut self, now: Sum) -> Sum {
        if self.recent.len() == SMOOTHED_OVER {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let count = self.recent.len() as f64;
        let mean = |part: fn(&Sum) -> f64| self.recent.iter().map(part).sum::<f64>() / count;
        Sum {
            limited_cpu_cores: mean(|sum| sum.limited_cpu_cores),
            limit_cores: mean(|sum| sum.limit_cores),
            periods: mean(|sum| sum.periods),
            throttled_periods: mean(|sum| sum.throttled_periods),
            ..now
        }
    }

    fn read(&self, service: &ServiceId, sum: &Sum, now: Moment) -> Reading {
        let Some(used) = sum.used() else {
            return Reading::Normal;
        };
        let throttled = sum.throttled();
        let waits = throttled >= THROTTLED_MIN && used >= THROTTLED_USED_MIN;
        if used < USED_MIN && !waits {
            return if used < USED_CALM {
                Reading::Normal
            } else {
                Reading::Between
            };
        }
        let critical = used >= USED_CRITICAL;
        Reading::Violates(Finding {
            severity: if critical {
                Severity::Critical
            } else {
                Severity::Warning
            },
            score: Ratio::saturating(self.used.score(used)),
            confidence: confidence(self.used.samples()),
            reason: format!(
                "{service} used {} of its CPU limits ({} of {} cores, {} {}) and waited for CPU in {} of periods, for {}",
                percent(used),
                number(sum.limited_cpu_cores),
                number(sum.limit_cores),
                sum.replicas,
                if sum.replicas == 1 {
                    "replica"
                } else {
                    "replicas"
                },
                percent(throttled),
                duration(self.gates.held(SignalKind::Overload, now)),
            ),
            proofs: vec![
                Proof::derived("cpu_limit_used_share", "1", used, (0.0, USED_MIN)),
                Proof::derived("cpu_throttled_share", "1", throttled, (0.0, THROTTLED_MIN)),
            ],
        })
    }
}

/// How long after one moment another one is: within a node by the clock that never steps, between two by their times of day.
fn elapsed(earlier: (&NodeId, Moment), later: (&NodeId, Moment)) -> Duration {
    match earlier.0 == later.0 {
        true => later.1.since(earlier.1),
        false => later.1.at.since(earlier.1.at),
    }
}

impl Sum {
    /// Share of the CPU limits in use; absent when a replica has none, because then nothing says what it may use.
    fn used(&self) -> Option<f64> {
        (self.unlimited == 0 && self.limit_cores > 0.0)
            .then(|| self.limited_cpu_cores / self.limit_cores)
    }

    fn throttled(&self) -> f64 {
        if self.periods > 0.0 {
            self.throttled_periods / self.periods
        } else {
            0.0
        }
    }
}
