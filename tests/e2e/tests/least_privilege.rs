//! The collector as a user that is not root, with the engine behind a proxy that lets only reading through: with the
//! capabilities of deploy/privileges.md everything arrives, and with none it runs and says what is off.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bus::Bus;
use bus::testing::KafkaBroker;
use e2e::containers::Containers;
use e2e::docker_proxy::DockerProxy;
use e2e::homeostat::{Homeostat, Launch, binary};
use e2e::topic::Topic;
use e2e::wait::until;
use units::{ContainerEvent, EventKind, Metric, NodeInventory, Sample};
use wire::{Telemetry, topic};

/// Debian's `nobody`.
const USER: u32 = 65_534;
/// As deploy/privileges.md names them, in setpriv's words.
const CAPABILITIES: [&str; 3] = ["dac_read_search", "sys_ptrace", "sys_admin"];
/// What deploy/privileges.md says may be refused: nothing but the number of volumes depends on it.
const MAY_BE_REFUSED: [&str; 1] = ["GET /volumes"];
const ARRIVAL: Duration = Duration::from_secs(90);
const LINES: &str = "20";

/// A collector without root, and what it needs.
struct Rig {
    broker: KafkaBroker,
    containers: Containers,
    proxy: DockerProxy,
    collector: Homeostat,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn start(capabilities: &[&str]) -> Rig {
        let broker = KafkaBroker::start().unwrap();
        let dir = tempfile::tempdir().unwrap();
        open_to_all(dir.path());
        let proxy = DockerProxy::read_only(dir.path()).await;
        // The build's own folder may be closed to other users.
        let copy = dir.path().join("homeostat");
        std::fs::copy(binary(), &copy).unwrap();
        open_to_all(&copy);
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::os::unix::fs::chown(&state, Some(USER), Some(USER)).unwrap();
        let launch = Launch {
            before: setpriv(capabilities),
            binary: Some(copy),
            ..Launch::default()
        };
        let collector = Homeostat::start_as(
            &launch,
            &["collector"],
            &state,
            &[
                ("node", "node-a"),
                ("partitions", "2"),
                ("bus.backend", "kafka"),
                ("bus.kafka.brokers", broker.brokers()),
                ("collector.docker", &proxy.address()),
            ],
        );
        collector.ready().await;
        Rig {
            broker,
            containers: Containers::new(),
            proxy,
            collector,
            _dir: dir,
        }
    }

    /// A container that writes lines and stays.
    fn stays(&self) -> String {
        let order = ["burst", LINES, "80", "20"];
        self.containers
            .run("stays", &["--network", "bridge"], &order)
    }

    /// A container that ends with exit code 7.
    fn ends(&self) -> String {
        let order = ["once", "1", "7"];
        self.containers.run("ends", &["--network", "none"], &order)
    }
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Becomes the user, with these capabilities and no way to more.
fn setpriv(capabilities: &[&str]) -> Vec<String> {
    let list = capabilities
        .iter()
        .fold("-all".to_owned(), |list, one| format!("{list},+{one}"));
    let user = USER.to_string();
    [
        "setpriv",
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps",
        &list,
        "--ambient-caps",
        &list,
        "--bounding-set",
        &list,
        "--",
    ]
    .map(ToOwned::to_owned)
    .to_vec()
}

/// What arrived of two containers.
#[derive(Debug, Default)]
struct Arrived {
    sample: Option<Sample>,
    sockets: Option<f64>,
    lines: usize,
    started: bool,
    exit_code: Option<i64>,
    inventory: bool,
}

impl Arrived {
    /// Everything but the numbers of sockets.
    fn is_all(&self) -> bool {
        let sampled = self.sample.as_ref();
        let sampled =
            sampled.is_some_and(|sample| sample.metrics.get(Metric::MemoryUsage).is_some());
        let lines: usize = LINES.parse().unwrap();
        sampled
            && self.lines >= lines
            && self.started
            && self.exit_code == Some(7)
            && self.inventory
    }
}

struct Topics {
    samples: Topic,
    logs: Topic,
    events: Topic,
    inventories: Topic,
}

impl Topics {
    async fn open(bus: &Bus) -> Topics {
        Topics {
            samples: Topic::open(bus, topic::SAMPLES).await,
            logs: Topic::open(bus, topic::LOGS).await,
            events: Topic::open(bus, topic::EVENTS).await,
            inventories: Topic::open(bus, topic::INVENTORY).await,
        }
    }

    async fn read(&mut self, stays: &str, ends: &str, arrived: &mut Arrived) {
        self.samples
            .read(|record| {
                let Telemetry::Samples(rows) = wire::decode_telemetry(record).unwrap() else {
                    return;
                };
                for row in rows
                    .into_iter()
                    .filter(|row| row.container.as_str() == stays)
                {
                    let sockets = row.metrics.get(Metric::TcpEstablished);
                    arrived.sockets = sockets.or(arrived.sockets);
                    arrived.sample = Some(row);
                }
            })
            .await;
        self.logs
            .read(|record| {
                let lines = wire::decode_logs(record).unwrap();
                let own = lines.iter().filter(|line| line.container.as_str() == stays);
                arrived.lines += own.count();
            })
            .await;
        self.events
            .read(|record| {
                let event: ContainerEvent = wire::decode(record).unwrap();
                if event.container.as_str() == stays {
                    arrived.started |= event.kind == EventKind::Started;
                }
                if event.container.as_str() == ends
                    && let EventKind::Died { exit_code } = event.kind
                {
                    arrived.exit_code = exit_code;
                }
            })
            .await;
        self.inventories
            .read(|record| {
                let inventory: NodeInventory = wire::decode(record).unwrap();
                let mut containers = inventory.containers.iter();
                arrived.inventory |= containers.any(|one| one.id.as_str() == stays);
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_capabilities_everything_arrives() {
    let rig = Rig::start(&CAPABILITIES).await;
    let (stays, ends) = (rig.stays(), rig.ends());
    let bus = Bus::kafka(&rig.broker.config()).unwrap();
    let mut topics = Topics::open(&bus).await;
    let mut arrived = Arrived::default();
    let waited = Instant::now();
    while !arrived.is_all() || arrived.sockets.is_none() {
        topics.read(&stays, &ends, &mut arrived).await;
        assert!(waited.elapsed() < ARRIVAL, "only {arrived:#?}");
    }
    let log = rig.collector.log();
    assert!(!log.contains("CAP_"), "something is off:\n{log}");
    nothing_else_was_asked(&rig.proxy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_none_it_runs_and_says_what_is_off() {
    let mut rig = Rig::start(&[]).await;
    let (stays, ends) = (rig.stays(), rig.ends());
    let bus = Bus::kafka(&rig.broker.config()).unwrap();
    let mut topics = Topics::open(&bus).await;
    let mut arrived = Arrived::default();
    let waited = Instant::now();
    let enough = |arrived: &Arrived| {
        let sampled = arrived.sample.as_ref();
        let sampled = sampled.is_some_and(|sample| sample.metrics.get(Metric::CpuUsage).is_some());
        sampled && arrived.started && arrived.exit_code == Some(7) && arrived.inventory
    };
    while !enough(&arrived) {
        topics.read(&stays, &ends, &mut arrived).await;
        assert!(waited.elapsed() < ARRIVAL, "only {arrived:#?}");
    }
    for capability in ["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"] {
        until(&format!("the log names {capability}"), ARRIVAL, || async {
            rig.collector.log().contains(capability).then_some(())
        })
        .await;
    }
    assert_eq!(arrived.sockets, None, "sockets without the capability");
    assert_eq!(rig.collector.ended(), None);
    nothing_else_was_asked(&rig.proxy);
}

/// The engine was asked nothing that a read-only proxy refuses, but for what is documented.
fn nothing_else_was_asked(proxy: &DockerProxy) {
    assert!(proxy.requests().len() > 3, "{:?}", proxy.requests());
    assert_eq!(proxy.writing_requests(), Vec::<String>::new());
    let mut refused = proxy.refused();
    refused.retain(|request| !MAY_BE_REFUSED.contains(&request.as_str()));
    assert_eq!(refused, Vec::<String>::new());
}
