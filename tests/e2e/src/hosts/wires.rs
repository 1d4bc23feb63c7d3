//! The network between the hosts: a bridge in a network namespace of its own, a veth pair from there to each host and one to this
//! machine. The bridge is not in the machine's own namespace because an engine there has its firewall drop what a bridge forwards.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use super::leftovers;
use crate::containers::{complete, output};

const BRIDGE: &str = "bridge0";
/// The network is 10.213.N.0/24.
const NETS: (u8, u8) = (10, 213);
/// Hosts are numbered from 1 and have the addresses after this one.
const HOSTS_AFTER: u8 = 10;
const HOSTS_MAX: u8 = 200;

/// The network. It goes when dropped, with everything that bears the fleet's name.
pub(super) struct Wires {
    fleet: String,
    net: u8,
    hosts: u8,
}

impl Wires {
    /// Lays the network without hosts. The interface on this machine is called as the fleet.
    pub(super) fn lay(fleet: &str) -> Wires {
        let net = free_net();
        let wires = Wires {
            fleet: fleet.to_owned(),
            net,
            hosts: 0,
        };
        let hub = wires.hub();
        ip(&["netns", "add", &hub]);
        let link = ["link", "add", "name", fleet, "type", "veth"];
        ip(&[&link[..], &["peer", "name", "machine", "netns", &hub]].concat());
        let address = format!("{}/24", wires.machine());
        ip(&["address", "add", &address, "dev", fleet]);
        ip(&["link", "set", "dev", fleet, "up"]);
        wires.in_hub(&["link", "add", "name", BRIDGE, "type", "bridge"]);
        wires.in_hub(&["link", "set", "dev", BRIDGE, "up"]);
        wires.in_hub(&["link", "set", "dev", "machine", "master", BRIDGE, "up"]);
        wires
    }

    /// Makes a host's network namespace and joins it to the others. Gives the host's number.
    pub(super) fn add(&mut self, namespace: &str) -> u8 {
        self.hosts += 1;
        let number = self.hosts;
        assert!(number <= HOSTS_MAX, "more than {HOSTS_MAX} hosts");
        ip(&["netns", "add", namespace]);
        let end = port(number);
        let link = ["link", "add", "name", &end, "type", "veth"];
        self.in_hub(&[&link[..], &["peer", "name", "eth0", "netns", namespace]].concat());
        self.in_hub(&["link", "set", "dev", &end, "master", BRIDGE, "up"]);
        let address = format!("{}/24", self.host(number));
        // No way leads out of the network: what a host reaches, it reaches here.
        ip(&["-n", namespace, "address", "add", &address, "dev", "eth0"]);
        ip(&["-n", namespace, "link", "set", "dev", "eth0", "up"]);
        ip(&["-n", namespace, "link", "set", "dev", "lo", "up"]);
        number
    }

    /// What the fleet is called.
    pub(super) fn name(&self) -> &str {
        &self.fleet
    }

    /// Cuts a host off from all others and from this machine.
    pub(super) fn cut(&self, number: u8) {
        self.in_hub(&["link", "set", "dev", &port(number), "down"]);
    }

    /// Takes that back.
    pub(super) fn mend(&self, number: u8) {
        self.in_hub(&["link", "set", "dev", &port(number), "up"]);
    }

    /// This machine's address.
    pub(super) fn machine(&self) -> Ipv4Addr {
        Ipv4Addr::new(NETS.0, NETS.1, self.net, 1)
    }

    /// A host's address.
    pub(super) fn host(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(NETS.0, NETS.1, self.net, HOSTS_AFTER + number)
    }

    /// An address that no host and no machine has.
    pub(super) fn nobody(&self) -> Ipv4Addr {
        Ipv4Addr::new(NETS.0, NETS.1, self.net, HOSTS_AFTER + HOSTS_MAX + 1)
    }

    /// The whole network, as `10.213.N.0/24`.
    pub(super) fn net(&self) -> String {
        format!("{}/24", Ipv4Addr::new(NETS.0, NETS.1, self.net, 0))
    }

    /// Where the fleet keeps its files.
    pub(super) fn fleet_dir(&self) -> PathBuf {
        leftovers::directory(&self.fleet)
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.fleet)
    }

    fn in_hub(&self, words: &[&str]) {
        let hub = self.hub();
        ip(&[&["-n", hub.as_str()], words].concat());
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        leftovers::remove(&self.fleet);
    }
}

fn port(number: u8) -> String {
    format!("host{number}")
}

fn ip(words: &[&str]) {
    complete(Command::new("ip").args(words));
}

/// One that no route of this machine leads to, from one on that differs between processes.
fn free_net() -> u8 {
    let routes = output(Command::new("ip").args(["-4", "route", "show", "table", "all"]));
    let routes = String::from_utf8_lossy(&routes.stdout).into_owned();
    let first = std::process::id() % 254;
    let nets = (0..254).filter_map(|more| u8::try_from((first + more) % 254 + 1).ok());
    let is_free = |net: &u8| !routes.contains(&format!("{}.{}.{net}.", NETS.0, NETS.1));
    let mut free = nets.filter(is_free);
    free.next().expect("a free network in 10.213.0.0/16")
}
