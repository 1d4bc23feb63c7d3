//! What a container needs, what ties it to its node, and whether it may be moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use units::{ContainerRecord, ContainerSpec, Mode, MountKind, NodeId, PortSpec, ServiceId, Usage};

use super::Hearing;
use crate::fleet::Replica;
use crate::place::{Apart, Needs, Resources, Zones};
use crate::state::State;

/// The label of a host that says which it is; what is tied to its node asks for it.
pub(super) const PIN: &str = "io.homeostat.node";
/// Services that one container talks to; of further ones its place does not depend.
const PEERS_MAX: usize = 16;

/// Whether it is known what a container needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    All,
    /// Something is not, and is none in the sums.
    Part,
}

/// The same as [`asks`], with what its service's forecast knows.
pub(super) fn asks_of(state: &State, replica: &Replica<'_>) -> (Resources, Known) {
    let load = state.loads.get(&replica.record.service);
    let usage = load.and_then(|load| load.newest()?.usage.as_ref());
    asks(replica.record, usage)
}

/// What it is granted, or is known to use. What is not known is none, which [`Known::Part`] tells.
pub(super) fn asks(record: &ContainerRecord, usage: Option<&Usage>) -> (Resources, Known) {
    let limits = record.limits;
    let cpu = usage.map(|it| it.cpu.target.max(it.cpu.recent_peak));
    let memory = usage.and_then(|it| it.memory);
    let memory = memory.map(|it| it.target.max(it.recent_peak));
    let (cpu, memory) = (limits.cpu.or(cpu), limits.memory.or(memory));
    let known = match (cpu, memory, &record.spec) {
        (Some(_), Some(_), Some(_)) => Known::All,
        (_, _, _) => Known::Part,
    };
    let asks = Resources::new(cpu.unwrap_or_default(), memory.unwrap_or_default());
    (asks, known)
}

/// What ties it to its node: without that node it is not what it was. A fixed port does not, since another node has that port too.
pub(super) fn tie(record: &ContainerRecord) -> Option<String> {
    let mut obstacles = record.copy_obstacles.iter();
    obstacles.find(|it| !units::is_fixed_port(it)).cloned()
}

/// Why it may not be moved, the first reason found.
pub(super) fn stays(record: &ContainerRecord, known: Known, hearing: Hearing) -> Option<String> {
    let policy = &record.policy;
    let why = if !policy.movable {
        "the label io.homeostat.move is not true"
    } else if policy.mode == Mode::Observe {
        "the label io.homeostat.mode says, or defaults to, observe"
    } else if let Some(obstacle) = record.copy_obstacles.first() {
        obstacle
    } else if record.is_isolated() {
        "it is isolated, for people to look at"
    } else if record.spec.is_none() {
        "its collector does not tell what it was made from"
    } else if known == Known::Part {
        "what it needs is not known: a limit is missing, and no forecast tells what it uses"
    } else if hearing == Hearing::Silent {
        "its node is silent"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// What its host must have. It runs on nodes of the architecture it runs on now; `architecture` is absent where all nodes have the same.
pub(super) fn needs(
    record: &ContainerRecord,
    node: &NodeId,
    architecture: Option<String>,
    tie: Option<&String>,
) -> Arc<Needs> {
    let spec = record.spec.as_deref();
    let labels = match tie {
        Some(_) => BTreeMap::from([(PIN.to_owned(), node.to_string())]),
        None => BTreeMap::new(),
    };
    Arc::new(Needs {
        image: spec.map(|it| it.image_digest.clone()).unwrap_or_default(),
        architecture,
        labels,
        ports: spec.map(ports).unwrap_or_default(),
        volumes: spec.map(volumes).unwrap_or_default(),
        apart: Apart::Together,
        zones: Zones::Any,
        peers: spec.map(peers).unwrap_or_default(),
    })
}

/// The services it depends on, by the names they have unless a label gives them another.
fn peers(spec: &ContainerSpec) -> Vec<ServiceId> {
    let compose = spec.compose.iter();
    let named = compose.flat_map(|it| it.depends_on.iter().map(|peer| (&it.project, peer)));
    let peers = named.take(PEERS_MAX);
    peers
        .map(|(project, peer)| ServiceId::new(format!("{project}/{peer}")))
        .collect()
}

/// Ports of the host that it asks for by number. Protocol and address are left aside: two that differ in these alone are kept apart.
fn ports(spec: &ContainerSpec) -> Vec<u16> {
    let number = |port: &PortSpec| match port.host_port.split_once('-') {
        Some((first, last)) if first == last => first.parse().ok(),
        Some(_) => None,
        None => port.host_port.parse().ok().filter(|it| *it != 0),
    };
    let mut ports: Vec<u16> = spec.ports.iter().filter_map(number).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Named volumes that are on its node alone.
pub(super) fn volumes(spec: &ContainerSpec) -> Vec<String> {
    let local = spec.mounts.iter().filter(|mount| match mount.kind {
        MountKind::Volume => matches!(mount.driver.as_str(), "" | "local"),
        MountKind::Bind | MountKind::Tmpfs | MountKind::Other => false,
    });
    local.map(|mount| mount.source.clone()).collect()
}
