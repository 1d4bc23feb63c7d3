//! The containers of a script, as the collector would tell them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use units::{
    Attachment, Bytes, ContainerId, ContainerName, ContainerRecord, ContainerSpec, ContainerState,
    EngineInfo, HealthState, Image, ImageChange, Limits, Millicores, NetworkSpec, NodeCapacity,
    NodeFacts, NodeId, NodeInventory, PlanId, Policy, ServiceId, Timestamp,
};

/// What containers run where a script says nothing else.
const IMAGE: &str = "app:1";
/// Images whose names end so never serve.
const BAD: &str = ":bad";
/// Every container of a script has run this long when it begins.
const AGE: Duration = Duration::from_secs(3_600);

/// The containers of all nodes.
#[derive(Default)]
pub(crate) struct World {
    containers: BTreeMap<Place, ContainerRecord>,
    /// How a container is made, by what was told of it.
    told: BTreeMap<String, ContainerRecord>,
    /// What is made there never serves.
    bad: BTreeSet<NodeId>,
}

/// A container's name and its node's. In a move two nodes have one of the same name.
type Place = (String, NodeId);

impl World {
    /// Reads `NAME service=S [node=N] [mode=act] [heal] [scale=1..4] [limits=cpu=100m..1] [cpu=250] [memory=96] [made] [state=S] [health=H] [network=N] [image=I] [obstacle] [move] [update] [known]`; what its `spec` holds is `known`, or has a network or an image.
    pub(crate) fn container(&mut self, words: &[&str], now: Timestamp) {
        let (name, options) = words.split_first().expect("container NAME …");
        let options: BTreeMap<&str, &str> = options
            .iter()
            .map(|word| word.split_once('=').unwrap_or((word, "true")))
            .collect();
        let mut labels = BTreeMap::new();
        for key in [
            "mode",
            "heal",
            "scale",
            "scale.target",
            "limits",
            "move",
            "update",
        ] {
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
            image: options.get("image").copied().unwrap_or(IMAGE).to_owned(),
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
            spec: match (options.get("network"), options.get("image")) {
                (Some(network), _) => Some(in_network(network)),
                (None, Some(reference)) => Some(of_image(&image(reference))),
                (None, None) => options.get("known").map(|_| Arc::default()),
            },
        };
        let node = options.get("node").copied().unwrap_or("node-a");
        self.containers
            .insert(((*name).to_owned(), NodeId::from(node)), record);
    }

    /// What is made on this node from now on never serves.
    pub(crate) fn spoil(&mut self, node: &str) {
        self.bad.insert(NodeId::from(node));
    }

    /// Sets the limits that are named, and tells those of before.
    pub(crate) fn limit(&mut self, at: &Place, limits: &Limits) -> Limits {
        let record = self.at(at);
        let before = record.limits;
        record.limits = Limits {
            cpu: limits.cpu.or(before.cpu),
            memory: limits.memory.or(before.memory),
        };
        before
    }

    /// Puts another in its place, made the same way, of another image where one is named.
    pub(crate) fn recreate(
        &mut self,
        at: &Place,
        change: Option<&ImageChange>,
        now: Timestamp,
    ) -> ContainerId {
        let record = self.at(at);
        set_image(record, change);
        record.id = another_id(&at.0, now);
        (record.created_at, record.started_at) = (Some(now), Some(now));
        record.id.clone()
    }

    /// It is in these networks from now on, and was in those that are told.
    pub(crate) fn attach(&mut self, at: &Place, networks: &[Attachment]) -> Vec<Attachment> {
        let record = self.at(at);
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

    pub(crate) fn stop(&mut self, at: &Place, now: Timestamp) {
        let record = self.at(at);
        record.state = ContainerState::Exited;
        record.finished_at = Some(now);
        record.exit_code = Some(143);
    }

    /// It runs again, where it did not.
    pub(crate) fn start(&mut self, at: &Place, now: Timestamp) {
        let Some(record) = self.containers.get_mut(at) else {
            return;
        };
        if record.state == ContainerState::Exited {
            record.state = ContainerState::Running;
            record.started_at = Some(now);
        }
    }

    pub(crate) fn remove(&mut self, at: &Place) {
        let was = self.containers.remove(at);
        assert!(was.is_some(), "no container {at:?}");
    }

    /// A container and where it is; of several of that name one that runs.
    pub(crate) fn get(&self, name: &str) -> (Place, &ContainerRecord) {
        let mut named = self.containers.iter().filter(|(at, _)| at.0 == name);
        let runs = named.clone().find(|(_, record)| record.is_serving());
        let found = runs.or_else(|| named.next());
        let (at, record) = found.unwrap_or_else(|| panic!("no container {name}"));
        (at.clone(), record)
    }

    fn at(&mut self, at: &Place) -> &mut ContainerRecord {
        self.containers.get_mut(at).expect("it is there")
    }

    /// Tells how it is made.
    pub(crate) fn export(&mut self, at: &Place) -> String {
        let record = self.at(at).clone();
        let told = format!("how {} is made", record.id);
        self.told.insert(told.clone(), record);
        told
    }

    /// One as it was told on another node.
    pub(crate) fn made_as_told(
        &mut self,
        at: Place,
        told: &str,
        plan: &PlanId,
        now: Timestamp,
    ) -> ContainerId {
        let record = self.told[told].clone();
        self.make(at, record, plan, now)
    }

    /// A replica as the engine would show it once a command made it.
    pub(crate) fn replica(
        &mut self,
        at: Place,
        (template, change): (&ContainerId, Option<&ImageChange>),
        plan: &PlanId,
        now: Timestamp,
    ) -> ContainerId {
        let mut all = self.containers.values();
        let found = all.find(|it| it.id == *template).cloned();
        let mut record = found.unwrap_or_else(|| panic!("no container {template}"));
        set_image(&mut record, change);
        self.make(at, record, plan, now)
    }

    /// What there is, a line each, without what differs between two plays.
    pub(crate) fn listed(&self) -> Vec<String> {
        let all = self.containers.iter();
        let line = |((name, node), record): (&Place, &ContainerRecord)| {
            format!("{name} on {node}: {} {}", record.image, record.state)
        };
        all.map(line).collect()
    }

    /// How many containers of each service serve.
    pub(crate) fn serving(&self) -> BTreeMap<ServiceId, usize> {
        let mut serving = BTreeMap::new();
        for record in self.containers.values() {
            *serving.entry(record.service.clone()).or_default() += usize::from(record.is_serving());
        }
        serving
    }

    fn make(
        &mut self,
        at: Place,
        mut record: ContainerRecord,
        plan: &PlanId,
        now: Timestamp,
    ) -> ContainerId {
        let is_known = self.containers.keys().any(|it| it.0 == at.0);
        let template = std::mem::replace(
            &mut record.id,
            match is_known {
                true => another_id(&at.0, now),
                false => ContainerId::new(format!("id-{}", at.0)),
            },
        );
        record.replica_of = Some(template);
        record.name = ContainerName::from(at.0.as_str());
        (record.created_at, record.started_at) = (Some(now), Some(now));
        record.made_by = Some(plan.clone());
        if self.bad.contains(&at.1) {
            record.health = HealthState::Unhealthy;
        }
        let id = record.id.clone();
        self.containers.insert(at, record);
        id
    }

    /// A heartbeat of every node.
    pub(crate) fn heartbeats(&self, now: Timestamp) -> Vec<NodeInventory> {
        let mut nodes: BTreeMap<&NodeId, Vec<ContainerRecord>> = BTreeMap::new();
        for ((_, node), record) in &self.containers {
            nodes.entry(node).or_default().push(record.clone());
        }
        let inventory = |(node, containers): (&NodeId, Vec<ContainerRecord>)| NodeInventory {
            node: node.clone(),
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

/// The id of a container that comes after one of the same name.
fn another_id(name: &str, now: Timestamp) -> ContainerId {
    ContainerId::new(format!("id-{name}-{}", now.as_millis() / 1_000))
}

/// The image that a reference means.
pub(crate) fn image(reference: &str) -> Image {
    Image {
        reference: reference.to_owned(),
        id: format!("sha256:{reference}"),
    }
}

fn of_image(image: &Image) -> Arc<ContainerSpec> {
    Arc::new(ContainerSpec {
        image_digest: image.id.clone(),
        ..ContainerSpec::default()
    })
}

fn set_image(record: &mut ContainerRecord, change: Option<&ImageChange>) {
    if let Some(change) = change {
        record.image.clone_from(&change.to.reference);
        record.spec = Some(of_image(&change.to));
        record.health = match change.to.reference.ends_with(BAD) {
            true => HealthState::Unhealthy,
            false => HealthState::Healthy,
        };
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
