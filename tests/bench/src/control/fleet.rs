//! A fleet of any size with something to do in it.

use std::time::Duration;

use control::{Core, Event};
use units::{
    Bytes, ContainerId, ContainerName, ContainerRecord, ContainerState, EngineInfo, Forecast,
    ForecastPoint, HealthState, Limits, LoadMetric, Millicores, Mode, NodeCapacity, NodeFacts,
    NodeId, NodeInventory, Policy, Ratio, ScalePolicy, ScaleTarget, ServiceId, Timestamp,
};

/// On each node.
pub(super) const CONTAINERS: usize = 20;
/// Of each service, each on another node.
const REPLICAS: usize = 5;
/// One service in so many carries more than it can.
const BUSY: usize = 50;
const BEGIN: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// Each service is heard of so often, a second apart: a decision to add replicas wants more than one forecast.
const FORECASTS: u64 = 4;

pub(super) struct Fleet {
    nodes: usize,
}

impl Fleet {
    pub(super) fn of(nodes: usize) -> Fleet {
        Fleet { nodes }
    }

    /// When the last forecast comes.
    pub(super) fn now(&self) -> Timestamp {
        BEGIN + Duration::from_secs(FORECASTS)
    }

    pub(super) fn tell_inventories(&self, core: &mut Core) {
        for node in 0..self.nodes {
            let inventory = NodeInventory {
                node: NodeId::from(format!("node-{node:05}").as_str()),
                at: self.now(),
                steady: None,
                capacity: NodeCapacity {
                    cpu: Millicores(32_000),
                    memory: Bytes(128 << 30),
                },
                engine: EngineInfo::default(),
                facts: NodeFacts::default(),
                containers: (0..CONTAINERS)
                    .map(|slot| self.container(node, slot))
                    .collect(),
            };
            core.handle(self.now(), Event::Inventory(Box::new(inventory)));
        }
    }

    /// All forecasts but the last come before what is measured.
    pub(super) fn warm(&self, core: &mut Core) {
        for seconds in 1..FORECASTS {
            self.tell_forecasts(core, BEGIN + Duration::from_secs(seconds));
        }
    }

    pub(super) fn tell_forecasts(&self, core: &mut Core, at: Timestamp) {
        for service in 0..self.nodes * CONTAINERS / REPLICAS {
            let share = if service % BUSY == 0 { 0.95 } else { 0.5 };
            let load = share * 1_000.0 * REPLICAS as f64;
            let forecast = Forecast {
                service: name(service),
                at,
                metric: LoadMetric::CpuMillicores,
                observed: load,
                recent_peak: load,
                replicas: REPLICAS as u32,
                replica_capacity: Millicores(1_000),
                throttled: 0.0,
                method: String::new(),
                points: vec![ForecastPoint {
                    ahead: Duration::from_secs(30),
                    expected: load,
                    low: load,
                    high: load,
                }],
                startup_s: None,
                sizing: None,
                usage: None,
                loads: Vec::new(),
            };
            core.handle(at, Event::Forecast(Box::new(forecast)));
        }
    }

    /// Neighbouring containers belong to services whose replicas are on nodes far from each other.
    fn container(&self, node: usize, slot: usize) -> ContainerRecord {
        let index = slot * self.nodes + node;
        let services = self.nodes * CONTAINERS / REPLICAS;
        let id = format!("{index:064x}");
        ContainerRecord {
            id: ContainerId::from(id.as_str()),
            name: ContainerName::from(format!("container-{index}").as_str()),
            service: name(index % services),
            image: "registry/app:1".to_owned(),
            state: ContainerState::Running,
            health: HealthState::Healthy,
            restarts: 0,
            created_at: Some(Timestamp::EPOCH),
            started_at: Some(Timestamp::EPOCH),
            finished_at: None,
            exit_code: None,
            limits: Limits::default(),
            policy: Policy {
                mode: Mode::Act,
                heal: true,
                scale: Some(ScalePolicy {
                    min: 2,
                    max: 10,
                    target: ScaleTarget::Cpu(Ratio::saturating(0.7)),
                }),
                ..Policy::default()
            },
            label_problems: Vec::new(),
            replica_of: None,
            made_by: None,
            copy_obstacles: Vec::new(),
            spec: None,
        }
    }
}

fn name(service: usize) -> ServiceId {
    ServiceId::from(format!("service-{service}").as_str())
}
