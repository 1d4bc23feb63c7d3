//! Several hosts on this machine, each with an engine and agents of its own in a network namespace, and what they have in common on
//! the machine itself: Kafka and the central roles. The hosts share the machine's processors and memory, and each tells of all of them.
//!
//! Takes root, iproute2, and what a Docker Engine takes. Everything goes with the [`Fleet`], also after a panic; what a killed test
//! leaves is taken away by the next one.

mod engine;
mod gate;
mod haproxy;
mod host;
mod images;
mod leftovers;
mod movable;
mod registry;
mod registry_gate;
mod wires;

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use bus::testing::{KafkaBroker, free_port};
use tokio::sync::{Mutex, MutexGuard};
use units::Bytes;

use crate::homeostat::{Homeostat, output};
use wires::Wires;

pub use engine::Ends;
pub use gate::{Gate, Held};
pub use haproxy::{BACKEND, Haproxy};
pub use host::{DEMO, Host, HostFacts, PAGE};
pub use images::another_machine;
pub use movable::{Placed, running, told};
pub use registry::Registry;
pub use registry_gate::{RegistryGate, Trouble};

/// What the names of namespaces, interfaces, control groups and directories begin with; the id of the test's process follows.
const NAME: &str = "he2e";

/// Tests of one process take turns: three engines are enough for a machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// What every role is started with.
const COMMON: [(&str, &str); 7] = [
    ("partitions", "2"),
    ("bus.backend", "kafka"),
    ("controller.max_mode", "act"),
    ("actuator.max_mode", "act"),
    // A machine that stands still for a moment loses no host, unless a test asks for that.
    ("actuator.lease", "30s"),
    ("controller.failover.lease", "30s"),
    // A check that a busy machine answers late is no reason to give a server up.
    ("actuator.haproxy.server_options", "inter 1s rise 2 fall 60"),
];

/// What stands before the hosts.
#[derive(Default)]
enum Balancer {
    #[default]
    None,
    Haproxy,
}

/// What a fleet has beside ordinary hosts.
#[derive(Default)]
struct Beside<'a> {
    balancer: Balancer,
    /// Topics for which a gate stands between the controller and Kafka.
    gated: Option<&'a [&'static str]>,
    /// Hosts whose engines keep all on a disk of their own, of this size.
    disks: &'a [(&'a str, Bytes)],
}

/// A controller that can be cut off by itself.
pub struct Apart {
    /// The controller.
    pub controller: Homeostat,
    number: u8,
}

/// Where clients reach Kafka.
struct Ways {
    /// On the hosts' network.
    from_hosts: String,
    /// Where a gate may stand, and where the broker answers what comes through it.
    gate: String,
    behind_gate: String,
}

/// Hosts that run.
pub struct Fleet {
    /// The central roles.
    pub analytics: Homeostat,
    /// Acts as far as labels allow.
    pub controller: Homeostat,
    /// What is asked.
    pub console: Homeostat,
    hosts: Vec<Host>,
    haproxy: Option<Haproxy>,
    kafka: KafkaBroker,
    /// What central roles are started with.
    settings: Vec<(String, String)>,
    /// Where Kafka is reached from the hosts' network.
    from_hosts: String,
    central: PathBuf,
    // The last but one, since it takes away what the others left.
    wires: Wires,
    _turn: MutexGuard<'static, ()>,
}

impl Fleet {
    /// Starts these hosts and the central roles, all with these settings, and waits until they are ready.
    pub async fn start(hosts: &[HostFacts<'_>], settings: &[(&str, &str)]) -> Fleet {
        Fleet::start_with(Beside::default(), hosts, settings)
            .await
            .0
    }

    /// The same, with a gate between the controller and Kafka, which holds what is appended to these topics.
    pub async fn start_gated(
        topics: &[&'static str],
        hosts: &[HostFacts<'_>],
        settings: &[(&str, &str)],
    ) -> (Fleet, Gate) {
        let beside = Beside {
            gated: Some(topics),
            ..Beside::default()
        };
        let (fleet, gate) = Fleet::start_with(beside, hosts, settings).await;
        (fleet, gate.expect("one was asked for"))
    }

    /// The same, with what the engines of some hosts keep on disks of their own, of these sizes.
    pub async fn start_on_disks(
        hosts: &[HostFacts<'_>],
        disks: &[(&str, Bytes)],
        settings: &[(&str, &str)],
    ) -> Fleet {
        let beside = Beside {
            disks,
            ..Beside::default()
        };
        Fleet::start_with(beside, hosts, settings).await.0
    }

    /// The same, with a load balancer that the actuators of the hosts keep in step, and their collectors read.
    pub async fn start_balanced(hosts: &[HostFacts<'_>], settings: &[(&str, &str)]) -> Fleet {
        let beside = Beside {
            balancer: Balancer::Haproxy,
            ..Beside::default()
        };
        Fleet::start_with(beside, hosts, settings).await.0
    }

    async fn start_with(
        beside: Beside<'_>,
        hosts: &[HostFacts<'_>],
        settings: &[(&str, &str)],
    ) -> (Fleet, Option<Gate>) {
        let Beside {
            balancer,
            gated,
            disks,
        } = beside;
        let turn = TURN.lock().await;
        leftovers::remove_of_the_dead();
        let name = format!("{NAME}{}", std::process::id());
        let mut wires = Wires::lay(&name);
        let dir = leftovers::directory(&name);
        std::fs::create_dir_all(&dir).unwrap();
        let (kafka, ways) = kafka(&wires);
        let key = move_key(&dir);
        let haproxy = balancer.start(&dir, wires.machine()).await;
        let socket = haproxy.as_ref().map(Haproxy::socket);
        let balanced = socket.as_deref().map(|it| {
            [
                ("actuator.haproxy.sockets", it),
                ("collector.haproxy.sockets", it),
            ]
        });
        let key = [("actuator.move_key_file", key.to_str().unwrap())];
        let common = [
            &COMMON[..],
            &key,
            balanced.as_slice().as_flattened(),
            settings,
        ]
        .concat();
        let at = |brokers| [&common[..], &[("bus.kafka.brokers", brokers)]].concat();
        let (here, there) = (at(kafka.brokers()), at(&ways.from_hosts));
        let gate = ways.gated(gated).await;
        let decides = match gate {
            None => here.clone(),
            Some(_) => at(&ways.gate),
        };
        let central = dir.join("central");
        std::fs::create_dir_all(&central).unwrap();
        let role = |role, settings: &[_]| Homeostat::start(&[role], &central, settings);
        let controller = role("controller", &decides);
        let (analytics, console) = (role("analytics", &here), role("console", &here));
        let mut started = Vec::new();
        for facts in hosts {
            let disk = disk_of(disks, facts);
            started.push(Host::start(&dir, &name, &mut wires, *facts, disk, &there).await);
        }
        for role in [&analytics, &controller, &console] {
            role.ready().await;
        }
        let fleet = Fleet {
            analytics,
            controller,
            console,
            hosts: started,
            haproxy,
            settings: owned(&here),
            from_hosts: ways.from_hosts.clone(),
            central,
            kafka,
            wires,
            _turn: turn,
        };
        (fleet, gate)
    }

    /// The hosts, in the order they were asked for.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// One of the hosts.
    pub fn host(&self, name: &str) -> &Host {
        let mut hosts = self.hosts.iter();
        hosts.find(|it| it.name() == name).unwrap()
    }

    /// The same, to do something to it.
    pub fn host_mut(&mut self, name: &str) -> &mut Host {
        let mut hosts = self.hosts.iter_mut();
        hosts.find(|it| it.name() == name).unwrap()
    }

    /// Cuts a host off from Kafka and everything else; what runs on it runs on.
    pub fn cut_off(&self, name: &str) {
        self.wires.cut(self.host(name).number());
    }

    /// Joins it again.
    pub fn join(&self, name: &str) {
        self.wires.mend(self.host(name).number());
    }

    /// Starts one controller more, on a place in the network of its own.
    pub async fn controller_apart(&mut self) -> Apart {
        let namespace = format!("{}-ctl", self.wires.name());
        let number = self.wires.add(&namespace);
        let launch = host::in_namespace(&namespace, self.wires.host(number));
        let brokers = ("bus.kafka.brokers", self.from_hosts.as_str());
        let settings = self.settings();
        let settings: Vec<(&str, &str)> = settings.into_iter().chain([brokers]).collect();
        let controller = Homeostat::start_as(&launch, &["controller"], &self.central, &settings);
        controller.ready().await;
        Apart { controller, number }
    }

    /// Cuts it off.
    pub fn cut_apart(&self, apart: &Apart) {
        self.wires.cut(apart.number);
    }

    /// Joins it again.
    pub fn join_apart(&self, apart: &Apart) {
        self.wires.mend(apart.number);
    }

    /// The load balancer, of a fleet that was started with one.
    pub fn haproxy(&self) -> &Haproxy {
        self.haproxy.as_ref().expect("a fleet with a balancer")
    }

    /// Kafka, which every role writes to.
    pub fn kafka(&self) -> &KafkaBroker {
        &self.kafka
    }

    /// Starts a registry that the hosts' engines push to and pull from.
    pub async fn registry(&self) -> Registry {
        Registry::start(self.wires.fleet_dir().as_path(), self.machine()).await
    }

    /// Stands before a registry, under another address, to trouble those who ask it.
    pub async fn gate(&self, registry: &Registry) -> RegistryGate {
        RegistryGate::start(self.machine(), registry).await
    }

    /// An address of the hosts' network that nobody has.
    pub fn nobody(&self) -> std::net::Ipv4Addr {
        self.wires.nobody()
    }

    /// This machine's address in the network of the hosts.
    pub fn machine(&self) -> std::net::Ipv4Addr {
        self.wires.machine()
    }

    /// Starts one controller more, which stands by while another leads.
    pub async fn standby(&self) -> Homeostat {
        let standby = Homeostat::start(&["controller"], &self.central, &self.settings());
        standby.ready().await;
        standby
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        let settings = self.settings.iter();
        settings
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }

    /// Runs a verb that asks the console to its end.
    pub async fn told(&self, words: &[&str]) -> Output {
        let console = self.console.console();
        let words = words.iter().copied().chain(["--console", &console]);
        let words: Vec<String> = words.map(ToOwned::to_owned).collect();
        let ran = tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            output(&words)
        });
        ran.await.unwrap()
    }
}

/// How large a disk of its own the engine of a host has.
fn disk_of(disks: &[(&str, Bytes)], facts: &HostFacts<'_>) -> Option<Bytes> {
    let own = disks.iter().find(|(host, _)| *host == facts.name);
    own.map(|(_, size)| *size)
}

impl Balancer {
    async fn start(self, dir: &Path, machine: std::net::Ipv4Addr) -> Option<Haproxy> {
        match self {
            Balancer::None => None,
            Balancer::Haproxy => Some(Haproxy::start(dir, machine).await),
        }
    }
}

impl Ways {
    /// A gate for these topics, where one is asked for.
    async fn gated(&self, topics: Option<&[&'static str]>) -> Option<Gate> {
        match topics {
            None => None,
            Some(topics) => Some(Gate::start(&self.gate, &self.behind_gate, topics).await),
        }
    }
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = settings.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A broker that listens on loopback, on the hosts' network, and behind where a gate may stand.
fn kafka(wires: &Wires) -> (KafkaBroker, Ways) {
    let free = || free_port().unwrap();
    let ways = Ways {
        from_hosts: format!("{}:{}", wires.machine(), free()),
        gate: format!("127.0.0.1:{}", free()),
        behind_gate: format!("127.0.0.1:{}", free()),
    };
    let Ways {
        from_hosts,
        gate,
        behind_gate,
    } = &ways;
    let settings = |port, controller| {
        format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},HOSTS://{from_hosts},GATE://{behind_gate}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},HOSTS://{from_hosts},GATE://{gate}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,HOSTS:PLAINTEXT,GATE:PLAINTEXT\n"
        )
    };
    let broker = KafkaBroker::start_with(settings).unwrap_or_else(|error| panic!("{error}"));
    (broker, ways)
}

/// The key that all actuators share, which nobody else may read.
pub fn move_key(dir: &Path) -> PathBuf {
    let mut key = [0_u8; 32];
    let mut random = std::fs::File::open("/dev/urandom").unwrap();
    random.read_exact(&mut key).unwrap();
    let path = dir.join("move.key");
    let mut options = std::fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .unwrap();
    for byte in key {
        write!(file, "{byte:02x}").unwrap();
    }
    path
}
