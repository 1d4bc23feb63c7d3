//! One of the hosts: an engine, a collector and an actuator in a network namespace.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use units::Bytes;

use super::engine::{Ends, Engine, Place};
use super::wires::Wires;
use crate::containers::complete;
use crate::homeostat::{Homeostat, Launch, root};

/// The demo's image.
pub const DEMO: &str = "homeostat-demo:latest";
/// What pages of its web service begin with.
pub const PAGE: &str = "homeostat demo page";

/// What fills a disk, in the engine's own directory.
const BALLAST: &str = "ballast";

/// What a host is called, and what its collector tells of it.
#[derive(Debug, Clone, Copy)]
pub struct HostFacts<'a> {
    /// The node's name: short, since it is part of names of namespaces.
    pub name: &'a str,
    /// Its zone.
    pub zone: &'a str,
    /// What it costs, where an ordinary one costs 1.
    pub cost: f64,
}

/// A host. It ends with the fleet.
pub struct Host {
    /// Reads its containers.
    pub collector: Homeostat,
    /// Acts on its engine.
    pub actuator: Homeostat,
    engine: Engine,
    place: Place,
    address: Ipv4Addr,
    is_up: bool,
}

impl Host {
    /// Starts the engine, then the two agents with these settings, and waits until they are ready.
    pub(super) async fn start(
        dir: &Path,
        fleet: &str,
        wires: &mut Wires,
        facts: HostFacts<'_>,
        disk: Option<Bytes>,
        settings: &[(&str, &str)],
    ) -> Host {
        let namespace = format!("{fleet}-{}", facts.name);
        let number = wires.add(&namespace);
        let place = Place {
            dir: dir.join(facts.name),
            namespace,
            number,
            name: facts.name.to_owned(),
            registries: wires.net(),
            disk,
        };
        std::fs::create_dir_all(&place.dir).unwrap();
        let engine = Engine::start(&place).await;
        let address = wires.host(number);
        let launch = in_namespace(&place.namespace, address);
        let (at, cost) = (place.address(), facts.cost.to_string());
        let reached = address.to_string();
        let own = [
            ("node", facts.name),
            ("collector.docker", at.as_str()),
            ("actuator.docker", &at),
            ("actuator.haproxy.address", &reached),
            ("collector.zone", facts.zone),
            ("collector.cost", &cost),
        ];
        let all = [&own[..], settings].concat();
        let agent = |role| Homeostat::start_as(&launch, &[role], &place.dir, &all);
        let host = Host {
            collector: agent("collector"),
            actuator: agent("actuator"),
            engine,
            place,
            address,
            is_up: true,
        };
        host.ready().await;
        host
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Its address, which this machine and the other hosts reach.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// It has power.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// The address of its engine: `unix://` and the path.
    pub fn engine(&self) -> String {
        self.place.address()
    }

    /// What a `docker` command prints; panics with what it says when it fails.
    pub fn docker(&self, words: &[&str]) -> String {
        let mut docker = Command::new("docker");
        complete(docker.args(["--host", &self.engine()]).args(words))
    }

    /// Makes the demo's image here.
    pub fn make_demo(&self) {
        let mut image = Command::new(root().join("deploy/demo/image.sh"));
        complete(image.env("DOCKER_HOST", self.engine()));
    }

    /// Loads an image from the engine at an address, such as `unix:///var/run/docker.sock` or that of another host. It has the same id
    /// here.
    pub fn load(&self, image: &str, from: &str) {
        let script =
            r#"set -o pipefail; docker --host "$1" save "$2" | docker --host "$3" load --quiet"#;
        let mut copy = Command::new("bash");
        complete(copy.args(["-c", script, "copy", from, image, &self.engine()]));
    }

    /// Ends everything on it at once, as a power cut would: engine, agents, containers, and what it had in memory.
    pub fn cut_power(&mut self) {
        self.collector.kill_9();
        self.actuator.kill_9();
        self.engine.cut_power(&self.place);
        self.is_up = false;
    }

    /// Starts the engine and the agents again after a power cut, and waits until they are ready.
    pub async fn start_again(&mut self) {
        self.engine = Engine::start(&self.place).await;
        self.is_up = true;
        self.collector.restart();
        self.actuator.restart();
        self.ready().await;
    }

    /// Restarts the engine alone, and waits until it answers.
    pub async fn restart_engine(&mut self, ends: Ends) {
        self.engine.restart(&self.place, ends).await;
    }

    /// Leaves no room on the engine's disk, which is one of its own.
    pub fn fill_disk(&self) {
        const AT_ONCE: usize = 64 * 1024;
        assert!(self.place.disk.is_some(), "a disk of its own");
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        // The last bytes of a disk go one at a time.
        for bytes in [AT_ONCE, 1] {
            let full = loop {
                if let Err(error) = file.write_all(&vec![0; bytes]) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        }
    }

    /// Gives that room back.
    pub fn clear_disk(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    /// Packets to an address in the hosts' network that nobody has are lost on the way, without an answer.
    pub fn lose_packets_to(&self, address: Ipv4Addr) {
        let nobody = "02:00:00:00:00:01";
        let link = ["lladdr", nobody, "dev", "eth0", "nud", "permanent"];
        let address = address.to_string();
        let words = [
            "-n",
            &self.place.namespace,
            "neighbour",
            "replace",
            &address,
        ];
        complete(Command::new("ip").args(words).args(link));
    }

    /// Takes a port of it, as any program there may.
    pub fn listen(&self, port: u16) -> TcpListener {
        let namespace = format!("/run/netns/{}", self.place.namespace);
        let namespace = std::fs::File::open(namespace).unwrap();
        // A thread of its own goes there, and the others stay here.
        let there = std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()
        });
        there.join().unwrap()
    }

    fn ballast(&self) -> PathBuf {
        self.engine.data(&self.place).join(BALLAST)
    }

    pub(super) fn number(&self) -> u8 {
        self.place.number
    }

    async fn ready(&self) {
        self.collector.ready().await;
        self.actuator.ready().await;
    }
}

/// How a process is started in a network namespace, with this address there.
pub(super) fn in_namespace(namespace: &str, address: Ipv4Addr) -> Launch {
    let net = format!("--net=/run/netns/{namespace}");
    Launch {
        before: ["nsenter", &net, "--"].map(ToOwned::to_owned).to_vec(),
        address: Some(address),
        ..Launch::default()
    }
}
