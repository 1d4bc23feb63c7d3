//! What a seed begins with.

use std::time::Duration;

use units::{
    Bytes, ContainerId, ContainerName, ContainerState, HealthState, LimitRange, Limits,
    LimitsPolicy, Millicores, Mode, NodeId, PlanId, Policy, Ratio, ScalePolicy, ScaleTarget,
    ServiceId, Timestamp,
};

use super::container::{Checked, Container};
use super::dice::Dice;
use super::jobs::{self, Jobs};
use super::node::Node;
use super::orders::UPDATABLE;

/// The memory limit of every container at first.
const MEMORY: Bytes = Bytes::from_mib(256);

/// The share of their CPU that replicas are to be used by.
const TARGET: f64 = 0.7;
/// The share of seconds that may see a backlog.
const PROMISE: f64 = 0.001;

/// A service: what its containers have in common.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) id: ServiceId,
    pub(super) startup: Duration,
    pub(super) checked: Checked,
    pub(super) scale: Option<ScalePolicy>,
    /// CPU asked of all its replicas together, in millicores.
    pub(super) demand: f64,
    pub(super) cpu: Millicores,
    /// At first; without scaling there are never more.
    pub(super) replicas: u32,
    /// What it is scaled by, where that waits in a queue.
    pub(super) jobs: Option<Jobs>,
    /// The build of its image that people deployed last, and whether it runs at all.
    pub(super) image: u32,
    pub(super) bad_image: Option<u32>,
    /// People put images there by hand, or kept some of it from being updated.
    pub(super) touched: bool,
}

impl Service {
    fn carried(&self, replicas: u32) -> f64 {
        let target = self
            .scale
            .as_ref()
            .map_or(TARGET, |scale| match scale.target {
                ScaleTarget::Cpu(ratio) => ratio.get(),
                ScaleTarget::Slo(_) | ScaleTarget::Metric(_) => TARGET,
            });
        self.cpu.0 as f64 * f64::from(replicas) * target
    }

    /// What the most replicas carry.
    pub(super) fn most(&self) -> f64 {
        self.carried(self.scale.as_ref().map_or(self.replicas, |scale| scale.max))
    }

    /// What the fewest replicas carry.
    pub(super) fn least(&self) -> f64 {
        self.carried(self.scale.as_ref().map_or(self.replicas, |scale| scale.min))
    }
}

/// This share of the services may be moved.
const MOVABLE: f64 = 0.6;
/// This share of the worlds is full: its nodes have this many times what their containers are granted at first.
const TIGHT: f64 = 0.3;
const SLACK: f64 = 1.1;
const LEAST_CORES: f64 = 1_000.0;
/// This share of the services is more or less important than the others.
const RANKED: f64 = 0.5;
/// Of the services that may be restarted, this share may be recreated too.
const RECREATES: f64 = 0.5;

/// The hosts, their containers and the services of a seed.
pub(super) fn set(seed: u64, now: Timestamp) -> (Vec<Node>, Vec<Service>) {
    let mut dice = Dice::new(seed, "scene");
    let mut limit_dice = Dice::new(seed, "limits");
    let mut update_dice = Dice::new(seed, "updates");
    let mut move_dice = Dice::new(seed, "moves");
    let mut rank_dice = Dice::new(seed, "ranks");
    let mut nodes: Vec<Node> = (0..2 + dice.below(4))
        .map(|number| {
            let cores = 4_000.0 + 1_000.0 * dice.below(9) as f64;
            Node::new(NodeId::new(format!("node-{number}")), cores, now)
        })
        .collect();
    let mut services = Vec::new();
    for number in 0..3 + dice.below(5) {
        let replicas = 1 + dice.below(4) as u32;
        let policy = Policy {
            limits: limits(&mut limit_dice),
            update: update_dice.chance(UPDATABLE),
            movable: move_dice.chance(MOVABLE),
            priority: priority(&mut rank_dice),
            ..policy(&mut dice, replicas, target(number))
        };
        let startup = dice.millis(500, 40_000);
        let checked = match dice.chance(0.7) {
            true => Checked::Yes,
            false => Checked::No,
        };
        let cpu = Millicores(250 * (1 + dice.below(4) as u64));
        let id = ServiceId::new(format!("service-{number}"));
        let service = service(id, policy.scale.clone(), (startup, checked, cpu), replicas);
        for replica in 0..replicas {
            let at = dice.below(nodes.len());
            let name = format!("{}-{}", service.id, replica + 1);
            let policy = policy.clone();
            let container = container(&mut nodes[at], &service, services.len(), name, policy, now);
            nodes[at].containers.insert(container.id.clone(), container);
        }
        let demand = service.least() * (0.3 + 0.6 * dice.unit());
        services.push(Service { demand, ..service });
    }
    jobs::add(seed, now, &mut nodes, &mut services);
    if is_tight(seed) {
        tighten(&mut nodes, &services);
    }
    (nodes, services)
}

/// A world in which there is hardly room for more than there is.
pub(super) fn is_tight(seed: u64) -> bool {
    Dice::new(seed, "tight").chance(TIGHT)
}

/// Nodes have little more than their containers are granted; and what there is above the fewest Homeostat made.
fn tighten(nodes: &mut [Node], services: &[Service]) {
    let mut seen = vec![0_u32; services.len()];
    for node in nodes {
        let granted: u64 = node
            .containers
            .values()
            .filter_map(|it| it.limits.cpu)
            .map(|it| it.0)
            .sum();
        node.cpu_millicores = (granted as f64 * SLACK).max(LEAST_CORES);
        for container in node.containers.values_mut() {
            seen[container.service] += 1;
            let scale = container.policy.scale.as_ref();
            if scale.is_some_and(|it| seen[container.service] > it.least()) {
                container.made_by = Some(PlanId::from("of-before"));
                container.replica_of = Some(ContainerId::from("of-before"));
            }
        }
    }
}

/// A service that nothing is asked of yet.
pub(super) fn service(
    id: ServiceId,
    scale: Option<ScalePolicy>,
    (startup, checked, cpu): (Duration, Checked, Millicores),
    replicas: u32,
) -> Service {
    Service {
        id,
        startup,
        checked,
        scale,
        demand: 0.0,
        cpu,
        replicas,
        jobs: None,
        image: 1,
        bad_image: None,
        touched: false,
    }
}

/// Every second service promises a share of seconds instead of keeping a share of its CPU.
fn target(number: usize) -> ScaleTarget {
    match number.is_multiple_of(2) {
        true => ScaleTarget::Cpu(Ratio::saturating(TARGET)),
        false => ScaleTarget::Slo(Ratio::saturating(PROMISE)),
    }
}

fn policy(dice: &mut Dice, replicas: u32, target: ScaleTarget) -> Policy {
    let min = 1 + dice.below(replicas as usize) as u32;
    let max = replicas + dice.below(4) as u32;
    let modes = [(7, Mode::Act), (1, Mode::Suggest), (2, Mode::Observe)];
    let policy = Policy {
        mode: dice.weighed(&modes).unwrap_or_default(),
        heal: dice.chance(0.85),
        scale: dice.chance(0.6).then_some(ScalePolicy { min, max, target }),
        ..Policy::default()
    };
    Policy {
        recreate: policy.heal && dice.chance(RECREATES),
        ..policy
    }
}

fn priority(dice: &mut Dice) -> u32 {
    let ranks = [(1, 50), (1, 200), (1, 300)];
    let ranked = dice.weighed(&ranks);
    let usual = Policy::default().priority;
    match dice.chance(RANKED) {
        true => ranked.unwrap_or(usual),
        false => usual,
    }
}

/// Every other service lets its limits be changed.
fn limits(dice: &mut Dice) -> Option<LimitsPolicy> {
    let cpu = LimitRange {
        min: Millicores(100),
        max: Millicores(500 * (1 + dice.below(4) as u64)),
    };
    let memory = LimitRange {
        min: Bytes::from_mib(64),
        max: Bytes::from_mib(1_024),
    };
    let policy = LimitsPolicy {
        cpu: dice.chance(0.8).then_some(cpu),
        memory: dice.chance(0.8).then_some(memory),
    };
    dice.chance(0.5).then_some(policy)
}

pub(super) fn container(
    node: &mut Node,
    service: &Service,
    number: usize,
    name: String,
    policy: Policy,
    now: Timestamp,
) -> Container {
    let created_at = now - Duration::from_secs(86_400);
    Container {
        id: node.fresh(),
        name: ContainerName::new(name),
        service: number,
        policy,
        state: ContainerState::Running,
        health: match service.checked {
            Checked::Yes => HealthState::Healthy,
            Checked::No => HealthState::None,
        },
        restarts: 0,
        created_at,
        started_at: Some(created_at),
        finished_at: None,
        exit_code: None,
        limits: Limits {
            cpu: Some(service.cpu),
            memory: Some(MEMORY),
        },
        replica_of: None,
        made_by: None,
        command: None,
        image: 1,
        wanted: true,
        is_replaced: false,
        is_isolated: false,
        rests: false,
        stopped_by_hand: false,
        ill: None,
        memory: 0.3,
        began_at: created_at,
        ready_at: created_at,
        ceased_at: None,
        counts_since: created_at,
        again_at: None,
        fenced_at: None,
        ends: Default::default(),
        use_millicores: 0.0,
        throttled: 0.0,
    }
}
