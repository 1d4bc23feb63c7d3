//! Which hosts must not take a container, and why.

use std::fmt;

use super::{Apart, Container, HostIndex, Hosts, Intake, Zones};

/// The first reason for which a host must not take a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The host takes none.
    Closed,
    /// Too little CPU is free.
    Cpu,
    /// Too little memory is free.
    Memory,
    /// The image is for another architecture.
    Architecture,
    /// The host lacks this label.
    Label(String),
    /// This port is taken.
    Port(u16),
    /// This local volume is not there.
    Volume(String),
    /// A replica of the same service is there.
    Apart,
    /// Its zone has enough of the service's replicas.
    Zone,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Closed => f.write_str("the host takes no containers"),
            Obstacle::Cpu => f.write_str("too little CPU is free"),
            Obstacle::Memory => f.write_str("too little memory is free"),
            Obstacle::Architecture => f.write_str("the image is for another architecture"),
            Obstacle::Label(label) => write!(f, "the host lacks the label {label}"),
            Obstacle::Port(port) => write!(f, "port {port} is taken"),
            Obstacle::Volume(volume) => write!(f, "the volume {volume} is not there"),
            Obstacle::Apart => f.write_str("a replica of the same service is there"),
            Obstacle::Zone => f.write_str("its zone has enough of the service's replicas"),
        }
    }
}

/// Why a host of this fleet must not take the container; nothing when it may.
pub fn obstacle(hosts: &Hosts, container: &Container, on: HostIndex) -> Option<Obstacle> {
    let free = hosts.free(on);
    if container.asks.cpu > free.cpu {
        return Some(Obstacle::Cpu);
    }
    if container.asks.memory > free.memory {
        return Some(Obstacle::Memory);
    }
    other_than_room(hosts, container, on)
}

/// As [`obstacle`], of a host on which room is yet to be made.
pub(super) fn other_than_room(
    hosts: &Hosts,
    container: &Container,
    on: HostIndex,
) -> Option<Obstacle> {
    let slot = &hosts.slots[on.0];
    let (host, needs) = (&slot.host, &*container.needs);
    if host.intake == Intake::Closed {
        return Some(Obstacle::Closed);
    }
    if needs
        .architecture
        .as_ref()
        .is_some_and(|it| *it != host.architecture)
    {
        return Some(Obstacle::Architecture);
    }
    let lacking = |(key, value): &(&String, &String)| host.labels.get(*key) != Some(*value);
    if let Some((key, value)) = needs.labels.iter().find(lacking) {
        return Some(Obstacle::Label(format!("{key}={value}")));
    }
    if let Some(port) = needs.ports.iter().find(|port| slot.ports.contains(port)) {
        return Some(Obstacle::Port(*port));
    }
    if let Some(volume) = needs.volumes.iter().find(|it| !host.volumes.contains(*it)) {
        return Some(Obstacle::Volume(volume.clone()));
    }
    match needs.apart {
        Apart::OtherHosts if slot.services.contains_key(&container.service) => {
            return Some(Obstacle::Apart);
        }
        Apart::OtherHosts | Apart::Together => {}
    }
    match needs.zones {
        Zones::Any => None,
        Zones::Even { skew_max } => {
            let (here, fewest) = hosts.replicas_in(&container.service, &host.zone);
            (here + 1 > fewest + skew_max).then_some(Obstacle::Zone)
        }
    }
}
