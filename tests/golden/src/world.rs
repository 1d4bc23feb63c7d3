//! The containers of a script, as the collector would tell them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use units::{
    Attachment, Bytes, ContainerId, ContainerName, ContainerRecord, ContainerSpec, ContainerState,
    EngineInfo, HealthState, Limits, Millicores, NetworkSpec, NodeCapacity, NodeFacts, NodeId,
    NodeInventory, PlanId, Policy, ServiceId, Timestamp,
};

/// Every container of a script has run this long when it begins.
const AGE: Duration = Duration::from_secs(3_600);

/// The containers by name.
#[derive(Default)]
pub(crate) struct World {
    containers: BTreeMap<String, (String, ContainerRecord)>,
}

impl World {
    /// Reads `NAME service=S [node=N] [mode=act] [heal] [scale=1..4] [limits=cpu=100m..1] [cpu=250] [memory=96] [made] [state=S] [health=H] [network=N] [obstacle]`.
    pub(crate) fn container(&mut self, words: &[&str], now: Timestamp) {
        let (name, options) = words.split_first().expect("container NAME …");
        let options: BTreeMap<&str, &str> = options
            .iter()
            .map(|word| word.split_once('=').unwrap_or((word, "true")))
            .collect();
        let mut labels = BTreeMap::new();
        for key in ["mode", "heal", "scale", "scale.target", "limits"] {
            if let Some(value) = options.get(key) {
                labels.insert(format!("io.homeostat.{key}"), (*value).to_owned());
            }
        }
        let (policy, problems) = Policy::from_labels(&labels);
        assert!(problems.is_empty(), "{name}: {problems:?}");
        let number = |key: &str| options.get(key).map(|value| value.parse::<u64>().unwrap());
        let service = options.get("service").copied().unwrap_or(name);
        let record = ContainerRecord {
            id: ContainerId::new(format!("id-{name}")),
            name: ContainerName::from(*name),
            service: ServiceId::from(service),
            image: "app:1".to_owned(),
            state: options
                .get("state")
                .map_or(ContainerState::Running, |word| state(word)),
            health: options
                .get("health")
                .map_or(HealthState::None, |word| health(word)),
            restarts: 0,
            created_at: Some(now - AGE),
            started_at: Some(now - AGE),
            finished_at: None,
            exit_code: None,
            limits: Limits {
                cpu: number("cpu").map(Millicores),
                memory: number("memory").map(Bytes::from_mib),
            },
            policy,
            label_problems: Vec::new(),
            replica_of: None,
            made_by: options
                .contains_key("made")
                .then(|| PlanId::from("an-earlier-plan")),
            copy_obstacles: options
                .get("obstacle")
                .map(|_| "it mounts a host path".to_owned())
                .into_iter()
                .collect(),
            spec: options.get("network").map(|network| in_network(network)),
        };
        let node = options.get("node").copied().unwrap_or("node-a");
        self.containers
            .insert((*name).to_owned(), (node.to_owned(), record));
    }

    /// Sets the limits that are named, and tells those of before.
    pub(crate) fn limit(&mut self, name: &str, limits: &Limits) -> Limits {
        let (_, record) = self.containers.get_mut(name).expect("it is there");
        let before = record.limits;
        record.limits = Limits {
            cpu: limits.cpu.or(before.cpu),
            memory: limits.memory.or(before.memory),
        };
        before
    }

    /// Puts another in its place, made the same way.
    pub(crate) fn recreate(&mut self, name: &str, now: Timestamp) -> ContainerId {
        let (_, record) = self.containers.get_mut(name).expect("it is there");
        record.id = ContainerId::new(format!("id-{name}-{}", now.as_millis() / 1_000));
        (record.created_at, record.started_at) = (Some(now), Some(now));
        record.id.clone()
    }

    /// It is in these networks from now on, and was in those that are told.
    pub(crate) fn attach(&mut self, name: &str, networks: &[Attachment]) -> Vec<Attachment> {
        let (_, record) = self.containers.get_mut(name).expect("it is there");
        let mut spec = record.spec.as_deref().cloned().unwrap_or_default();
        let after = networks.iter().map(|it| network(&it.network)).collect();
        let before = std::mem::replace(&mut spec.networks, after);
        record.spec = Some(Arc::new(spec));
        let before = before.into_iter().map(|it| Attachment {
            network: it.name,
            aliases: it.aliases,
        });
        before.collect()
    }

    pub(crate) fn stop(&mut self, name: &str, now: Timestamp) {
        let (_, record) = self.containers.get_mut(name).expect("it is there");
        record.state = ContainerState::Exited;
        record.finished_at = Some(now);
        record.exit_code = Some(143);
    }

    /// It runs again, where it did not.
    pub(crate) fn start(&mut self, name: &str, now: Timestamp) {
        let Some((_, record)) = self.containers.get_mut(name) else {
            return;
        };
        if record.state == ContainerState::Exited {
            record.state = ContainerState::Running;
            record.started_at = Some(now);
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.containers
            .remove(name)
            .unwrap_or_else(|| panic!("no container {name}"));
    }

    /// A container and its node.
    pub(crate) fn get(&self, name: &str) -> (NodeId, &ContainerRecord) {
        let (node, record) = self
            .containers
            .get(name)
            .unwrap_or_else(|| panic!("no container {name}"));
        (NodeId::from(node.as_str()), record)
    }

    /// A replica as the engine would show it once a command made it.
    pub(crate) fn replica(&mut self, template: &str, name: &str, plan: &PlanId, now: Timestamp) {
        let (node, mut record) = self.containers[template].clone();
        record.replica_of = Some(record.id);
        record.id = ContainerId::new(format!("id-{name}"));
        record.name = ContainerName::from(name);
        record.created_at = Some(now);
        record.started_at = Some(now);
        record.made_by = Some(plan.clone());
        self.containers.insert(name.to_owned(), (node, record));
    }

    /// The name of a container by its id.
    pub(crate) fn name_of(&self, id: &ContainerId) -> String {
        let found = self
            .containers
            .values()
            .find(|(_, record)| record.id == *id);
        found
            .unwrap_or_else(|| panic!("no container {id}"))
            .1
            .name
            .to_string()
    }

    /// A heartbeat of every node.
    pub(crate) fn heartbeats(&self, now: Timestamp) -> Vec<NodeInventory> {
        let mut nodes: BTreeMap<&str, Vec<ContainerRecord>> = BTreeMap::new();
        for (node, record) in self.containers.values() {
            nodes.entry(node).or_default().push(record.clone());
        }
        let inventory = |(node, containers): (&str, Vec<ContainerRecord>)| NodeInventory {
            node: NodeId::from(node),
            at: now,
            steady: None,
            capacity: NodeCapacity {
                cpu: Millicores(4_000),
                memory: Bytes::from_mib(8_192),
            },
            engine: EngineInfo::default(),
            facts: NodeFacts::default(),
            containers,
        };
        nodes.into_iter().map(inventory).collect()
    }
}

fn in_network(name: &str) -> Arc<ContainerSpec> {
    Arc::new(ContainerSpec {
        network_mode: name.to_owned(),
        networks: vec![network(name)],
        ..ContainerSpec::default()
    })
}

fn network(name: &str) -> NetworkSpec {
    NetworkSpec {
        name: name.to_owned(),
        ..NetworkSpec::default()
    }
}

fn state(word: &str) -> ContainerState {
    ContainerState::ALL
        .into_iter()
        .find(|state| state.as_str() == word)
        .unwrap_or_else(|| panic!("no state {word}"))
}

fn health(word: &str) -> HealthState {
    HealthState::ALL
        .into_iter()
        .find(|health| health.as_str() == word)
        .unwrap_or_else(|| panic!("no health {word}"))
}
