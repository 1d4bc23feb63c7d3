//! Where a container is reached: ports of its node, and its own. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use units::{ContainerRecord, ContainerSpec, ContainerState, NodeInventory};

/// Balancers are told of HTTP and the like.
const TCP: &str = "tcp";

/// One way to a port of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// An IP address or a host name.
    pub address: String,
    /// The port there.
    pub port: u16,
    /// Whose address it is.
    pub of: AddressOf,
    /// The port in the container.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressOf {
    /// The node's, where the port is published.
    Node,
    /// The container's own.
    Container,
}

impl Endpoint {
    /// As `ADDRESS:PORT`.
    pub fn target(&self) -> String {
        let Endpoint { address, port, .. } = self;
        match address.contains(':') {
            true => format!("[{address}]:{port}"),
            false => format!("{address}:{port}"),
        }
    }
}

/// All that is known of where a container is reached.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// Its own addresses.
    pub(crate) addresses: Vec<String>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// The port in the container that balancers are told of.
    pub(crate) port: Option<u16>,
    /// The way to it.
    pub(crate) target: Option<String>,
    /// What is missing.
    pub(crate) notes: Vec<String>,
}

/// A port of a container with its protocol.
type Port = (u16, String);

/// The ways to a container.
pub(crate) fn of(node: &NodeInventory, record: &ContainerRecord) -> Ways {
    // A container that does not run has given its addresses back, whatever was told of it last.
    let runs = match record.state {
        ContainerState::Running | ContainerState::Paused => true,
        ContainerState::Created
        | ContainerState::Restarting
        | ContainerState::Exited
        | ContainerState::Dead => false,
    };
    let Some(spec) = record.spec.as_deref() else {
        let note = "its node does not tell its addresses: its collector is of an earlier version, holds too many containers, or has only just met it";
        return Ways {
            notes: vec![note.to_owned()],
            ..Ways::default()
        };
    };
    let ports = ports(record, spec);
    let chosen = choose(record, &ports);
    if !runs {
        return Ways {
            port: chosen.ok(),
            ..Ways::default()
        };
    }
    let mut ways = Ways {
        addresses: own_addresses(spec),
        ..Ways::default()
    };
    match spec.network_mode.as_str() {
        // Whatever it listens on it listens on at its node.
        "host" => ways.of_host(node, &ports),
        _ => {
            ways.published(node, spec);
            ways.own(&ports);
        }
    }
    match chosen {
        Ok(port) => ways.aim(port),
        Err(why) => ways.notes.push(why),
    }
    ways
}

/// IPv4 first: it is what most can speak.
fn own_addresses(spec: &ContainerSpec) -> Vec<String> {
    let addresses = spec.networks.iter().flat_map(|it| &it.addresses);
    let mut addresses: Vec<String> = addresses.cloned().collect();
    addresses.sort_by_key(|address| address.contains(':'));
    addresses
}

/// The ports it listens on, as far as it, its image, or a label says.
fn ports(record: &ContainerRecord, spec: &ContainerSpec) -> BTreeSet<Port> {
    let published = spec.published.iter().chain(&spec.ports);
    let published = published.map(|it| &it.container);
    let told = spec.exposed.iter().chain(published);
    let labelled = record.policy.port.map(|port| (port.get(), TCP.to_owned()));
    told.filter_map(|text| port(text)).chain(labelled).collect()
}

/// Reads `80/tcp`.
fn port(text: &str) -> Option<Port> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, TCP));
    Some((number.parse().ok()?, protocol.to_owned()))
}

impl Ways {
    fn of_host(&mut self, node: &NodeInventory, ports: &BTreeSet<Port>) {
        let Some(address) = &node.facts.address else {
            self.notes.push(format!(
                "it uses the network of node {}, whose address is not known; set collector.address there",
                node.node
            ));
            return;
        };
        for (number, protocol) in ports {
            self.endpoints.push(Endpoint {
                address: address.clone(),
                port: *number,
                of: AddressOf::Node,
                container_port: *number,
                protocol: protocol.clone(),
            });
        }
    }

    fn published(&mut self, node: &NodeInventory, spec: &ContainerSpec) {
        let mut unknown = BTreeSet::new();
        for published in &spec.published {
            let Some((container_port, protocol)) = port(&published.container) else {
                continue;
            };
            let Ok(port) = published.host_port.parse() else {
                continue;
            };
            let Some(address) = reached_at(&published.host_address, node.facts.address.as_deref())
            else {
                unknown.insert(&published.container);
                continue;
            };
            let endpoint = Endpoint {
                address,
                port,
                of: AddressOf::Node,
                container_port,
                protocol,
            };
            // The engine publishes for IPv4 and IPv6, each told by itself.
            if !self.endpoints.contains(&endpoint) {
                self.endpoints.push(endpoint);
            }
        }
        let is_told = |it: &&String| {
            let told = port(it);
            let mut endpoints = self.endpoints.iter();
            !endpoints.any(|it| told == Some((it.container_port, it.protocol.clone())))
        };
        let unknown: Vec<&str> = unknown
            .into_iter()
            .filter(is_told)
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            self.notes.push(format!(
                "it publishes {} on node {} at an address that is not known; set collector.address there",
                unknown.join(", "),
                node.node
            ));
        }
    }

    fn own(&mut self, ports: &BTreeSet<Port>) {
        for address in &self.addresses {
            for (number, protocol) in ports {
                self.endpoints.push(Endpoint {
                    address: address.clone(),
                    port: *number,
                    of: AddressOf::Container,
                    container_port: *number,
                    protocol: protocol.clone(),
                });
            }
        }
    }

    /// Tells balancers the first way to a port.
    fn aim(&mut self, port: u16) {
        self.port = Some(port);
        let mut endpoints = self.endpoints.iter();
        let found = endpoints.find(|it| it.container_port == port && it.protocol == TCP);
        self.target = found.map(Endpoint::target);
        if self.target.is_none() && self.notes.is_empty() {
            self.notes.push("no address of it is known".to_owned());
        }
    }
}

/// The port that balancers are told of: the label's, or the only one there is. Else why there is none.
fn choose(record: &ContainerRecord, ports: &BTreeSet<Port>) -> Result<u16, String> {
    let of_tcp = ports.iter().filter(|(_, protocol)| protocol == TCP);
    let numbers: Vec<u16> = of_tcp.map(|(number, _)| *number).collect();
    match (record.policy.port, numbers.as_slice()) {
        (Some(port), _) => Ok(port.get()),
        (None, [only]) => Ok(*only),
        (None, []) => Err(
            "it exposes and publishes no TCP port; the label io.homeostat.port says on which it serves"
                .to_owned(),
        ),
        (None, several) => {
            let several: Vec<String> = several.iter().map(u16::to_string).collect();
            Err(format!(
                "it has the ports {}; the label io.homeostat.port says on which it serves",
                several.join(", ")
            ))
        }
    }
}

/// Where others reach a port that is published on an address of the node.
fn reached_at(published: &str, node: Option<&str>) -> Option<String> {
    let of_node = node.and_then(|it| it.parse::<IpAddr>().ok());
    match published.parse::<IpAddr>() {
        // Published for the other family of addresses, under a port that may be another.
        Ok(all)
            if all.is_unspecified() && of_node.is_some_and(|it| it.is_ipv4() != all.is_ipv4()) =>
        {
            None
        }
        Ok(all) if all.is_unspecified() => node.map(str::to_owned),
        // From elsewhere it is not reached at all.
        Ok(own) if own.is_loopback() => {
            let is_here = of_node.is_some_and(|it| it.is_loopback());
            is_here.then(|| published.to_owned())
        }
        Ok(_) => Some(published.to_owned()),
        Err(_) => node.filter(|_| published.is_empty()).map(str::to_owned),
    }
}
