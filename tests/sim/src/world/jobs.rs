//! A queue and the workers that are scaled by what waits in it, down to none where their label says so.

use std::collections::VecDeque;
use std::time::Duration;

use forecast::Forecaster;
use units::{
    ContainerState, Forecast, ForecastPoint, LoadMetric, LoadUnit, MetricLoad, MetricTarget,
    Millicores, Mode, Policy, ScalePolicy, ScaleTarget, SeriesSelector, ServiceId, Timestamp,
};

use super::World;
use super::agenda::Happening;
use super::container::Checked;
use super::dice::Dice;
use super::log::{Author, Topic};
use super::node::Node;
use super::orders::UPDATABLE;
use super::scene::{self, Service};

/// Seeds that have such a pair.
const SHARE: f64 = 0.7;
/// Of these, those whose workers may come to none.
const TO_NONE: f64 = 0.8;
/// Jobs that one worker is to carry.
const EACH: f64 = 100.0;
/// CPU of a worker that works, as a share of what it has.
const WORKING: f64 = 0.3;
/// The queue turns empty, or fills, so far apart.
const APART_S: (u64, u64) = (30, 900);
/// A page that was not read for so long is a gap; the controller's `METRIC_GAP`.
const GAP: Duration = Duration::from_secs(90);
/// Times remembered at which jobs were told; what matters is the last minute or so of them.
const TOLD_MAX: usize = 64;

/// What waits for the workers of a service.
#[derive(Debug)]
pub(super) struct Jobs {
    /// The service that tells it.
    teller: usize,
    metric: SeriesSelector,
    pub(super) waiting: f64,
    forecaster: Forecaster,
    /// When it was last told that some wait, or that it is not known in full.
    pub(super) told: VecDeque<Timestamp>,
}

/// Adds a queue and its workers to a scene, in some seeds.
pub(super) fn add(seed: u64, now: Timestamp, nodes: &mut [Node], services: &mut Vec<Service>) {
    let mut dice = Dice::new(seed, "jobs");
    if !dice.chance(SHARE) {
        return;
    }
    let modes = [(7, Mode::Act), (1, Mode::Suggest), (1, Mode::Observe)];
    let queue = Policy {
        mode: dice.weighed(&modes).unwrap_or_default(),
        heal: dice.chance(0.85),
        ..Policy::default()
    };
    let teller = services.len();
    let told_by = ServiceId::new("queue");
    let replicas = 1 + dice.below(2) as u32;
    place(&mut dice, nodes, services, (&told_by, queue, replicas), now);
    let metric = SeriesSelector::parse("jobs_waiting")
        .expect("a name of letters and underscores selects a series");
    let target = MetricTarget {
        service: Some(told_by),
        metric: metric.clone(),
        per_replica: EACH,
    };
    let worker = Policy {
        mode: dice.weighed(&modes).unwrap_or_default(),
        heal: dice.chance(0.5),
        update: dice.chance(UPDATABLE),
        scale: Some(ScalePolicy {
            min: u32::from(!dice.chance(TO_NONE)),
            max: 1 + dice.below(3) as u32,
            target: ScaleTarget::Metric(Box::new(target)),
        }),
        ..Policy::default()
    };
    let id = ServiceId::new("worker");
    place(&mut dice, nodes, services, (&id, worker, 1), now);
    if let Some(service) = services.last_mut() {
        service.jobs = Some(Jobs {
            teller,
            metric,
            waiting: 0.0,
            forecaster: Forecaster::default(),
            told: VecDeque::new(),
        });
    }
}

pub(super) fn place(
    dice: &mut Dice,
    nodes: &mut [Node],
    services: &mut Vec<Service>,
    (id, policy, replicas): (&ServiceId, Policy, u32),
    now: Timestamp,
) {
    let checked = match dice.chance(0.7) {
        true => Checked::Yes,
        false => Checked::No,
    };
    let cpu = Millicores(250 * (1 + dice.below(2) as u64));
    let startup = dice.millis(500, 20_000);
    let service = scene::service(
        id.clone(),
        policy.scale.clone(),
        (startup, checked, cpu),
        replicas,
    );
    for replica in 0..replicas {
        let at = dice.below(nodes.len());
        let name = format!("{id}-{}", replica + 1);
        let policy = policy.clone();
        let number = services.len();
        let container = scene::container(&mut nodes[at], &service, number, name, policy, now);
        nodes[at].containers.insert(container.id.clone(), container);
    }
    services.push(service);
}

impl World {
    /// The first change of every queue.
    pub(super) fn jobs_later(&mut self) {
        for of in 0..self.services.len() {
            if self.services[of].jobs.is_some() {
                let wait = self.dice.jobs.secs(APART_S.0, APART_S.1);
                self.agenda.note(self.now + wait, Happening::Jobs(of));
            }
        }
    }

    /// A queue turns empty, or fills.
    pub(super) fn change_jobs(&mut self, of: usize) {
        if self.calm {
            return;
        }
        let wait = self.dice.jobs.secs(APART_S.0, APART_S.1);
        self.agenda.note(self.now + wait, Happening::Jobs(of));
        let most = self.services[of].scale.as_ref().map_or(1, |it| it.max);
        let full = self.dice.jobs.unit() * 1.2 * f64::from(most) * EACH;
        let Some(jobs) = &mut self.services[of].jobs else {
            return;
        };
        let waiting = match jobs.waiting > 0.0 {
            true => 0.0,
            false => full.ceil(),
        };
        self.set_jobs(of, waiting);
    }

    pub(super) fn set_jobs(&mut self, of: usize, waiting: f64) {
        let cpu = self.services[of].cpu.0 as f64;
        if let Some(jobs) = &mut self.services[of].jobs {
            jobs.waiting = waiting;
            self.services[of].demand = match waiting > 0.0 {
                true => cpu * WORKING,
                false => 0.0,
            };
            self.note(|world| format!("{waiting} jobs wait for {}", world.services[of].id));
        }
    }

    /// When the faults stop, half of the queues are empty and stay so.
    pub(super) fn calm_jobs(&mut self) {
        for of in 0..self.services.len() {
            if self.services[of].jobs.is_some() {
                let waiting = match self.dice.jobs.chance(0.5) {
                    true => 0.0,
                    false => EACH * 0.5,
                };
                self.set_jobs(of, waiting);
            }
        }
    }

    /// Reads the pages of a queue's containers, and tells what they say.
    pub(super) fn look_at_jobs(&mut self, of: usize) {
        let now = self.now;
        let Some(jobs) = &mut self.services[of].jobs else {
            return;
        };
        let (mut at, mut ready, mut told) = (Timestamp::EPOCH, 0_u32, 0_u32);
        for node in self.nodes.iter().filter(|node| node.up && node.connected) {
            for container in node.containers.values() {
                if container.service == jobs.teller
                    && container.state == ContainerState::Running
                    && container.serves()
                {
                    at = at.max(node.clock(now));
                    ready += 1;
                    told += u32::from(container.works(now));
                }
            }
        }
        if told == 0 {
            return;
        }
        let total = (jobs.waiting * f64::from(told) / f64::from(ready)).round();
        let course = jobs.forecaster.follow(at, total, GAP);
        let load = MetricLoad {
            metric: jobs.metric.clone(),
            at,
            unit: LoadUnit::Level,
            total,
            recent_peak: course.recent_peak.max(total).round(),
            points: course
                .points
                .into_iter()
                .map(super::analytics::rounded)
                .collect(),
            containers: told,
            missing: ready - told,
        };
        if total > 0.0 || load.missing > 0 {
            jobs.told.push_back(now);
            if jobs.told.len() > TOLD_MAX {
                jobs.told.pop_front();
            }
        }
        let teller = jobs.teller;
        let service = self.services[teller].id.clone();
        self.send(
            Topic::Forecasts,
            &of_little_cpu(service, ready, load),
            None,
            Author::Role,
        );
    }

    /// Nothing of this service runs, because nobody asks for it: an order for it waits.
    pub(super) fn rests(&self, service: &ServiceId) -> bool {
        let all = self.nodes.iter().flat_map(|node| node.containers.values());
        let mut mine = all
            .filter(|it| self.services[it.service].id == *service)
            .peekable();
        mine.peek().is_some() && mine.all(|it| it.rests)
    }

    /// What keeps the workers from being at rest: they are asked for and none serves, or nobody asks and one runs.
    pub(super) fn jobs_rest(&self) -> Result<(), String> {
        for (number, service) in self.services.iter().enumerate() {
            let (Some(jobs), Some(scale)) = (&service.jobs, &service.scale) else {
                continue;
            };
            let all = self.nodes.iter().flat_map(|node| node.containers.values());
            let mine = || all.clone().filter(|it| it.service == number);
            if !mine().all(|it| it.policy.mode == Mode::Act) {
                continue;
            }
            let (id, waiting) = (&service.id, jobs.waiting);
            if waiting > 0.0 && !mine().any(|it| it.serves()) {
                return Err(format!(
                    "{waiting} jobs wait for {id}, and none of it serves"
                ));
            }
            let runs = mine().filter(|it| it.counts()).count();
            if waiting == 0.0 && scale.min == 0 && runs > 0 {
                return Err(format!("no job waits for {id}, and {runs} of it run"));
            }
        }
        Ok(())
    }
}

/// The forecast of a queue, whose CPU nobody looks at.
fn of_little_cpu(service: ServiceId, replicas: u32, load: MetricLoad) -> Forecast {
    let point = |ahead_s| ForecastPoint {
        ahead: Duration::from_secs(ahead_s),
        expected: 10.0,
        low: 10.0,
        high: 10.0,
    };
    Forecast {
        service,
        at: load.at,
        metric: LoadMetric::CpuMillicores,
        observed: 10.0,
        recent_peak: 10.0,
        replicas,
        replica_capacity: Millicores(250),
        throttled: 0.0,
        method: "flat".to_owned(),
        points: [15, 30, 60].map(point).to_vec(),
        startup_s: None,
        sizing: None,
        usage: None,
        loads: vec![load],
    }
}
