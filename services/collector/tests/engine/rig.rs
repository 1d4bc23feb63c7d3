//! Containers of the real engine, a collector over a log in memory, and ways to wait for what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus::{Bus, From, Record, Tailed};
use collector::{Config, Haproxy, HostSeries, LogsFrom, Scrape, Socket, Sockets};
use kit::config::HumanDuration;
use tokio::task::JoinHandle;
use units::{ContainerEvent, Link, LogLine, NodeInventory, Point, Sample};
use wire::Telemetry;

/// Generous: two cores are shared with builds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
const SOCKET: &str = "/var/run/docker.sock";

static COUNT: AtomicU32 = AtomicU32::new(0);

fn docker(args: &[&str]) -> Output {
    let output = Command::new("docker")
        .args(args)
        .stdin(Stdio::null())
        .output();
    output.expect("the docker command is installed")
}

fn docker_ok(args: &[&str]) -> String {
    let output = docker(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {args:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The probe as a static binary in an archive, built once.
fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe/probe.rs");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe");
        std::fs::create_dir_all(&directory).unwrap();
        let binary = directory.join("probe");
        let built = Command::new("rustc")
            .args([
                "--edition",
                "2024",
                "-C",
                "opt-level=2",
                "-C",
                "strip=symbols",
            ])
            .args(["-C", "target-feature=+crt-static", "-o"])
            .arg(&binary)
            .arg(source)
            .status();
        assert!(built.unwrap().success(), "the probe does not build");
        let archive = directory.join("probe.tar");
        let packed = Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(&directory)
            .arg("probe")
            .status();
        assert!(packed.unwrap().success(), "the probe is not packed");
        archive
    })
}

/// An image and containers with a prefix of their own, gone with this value.
pub(crate) struct Containers {
    prefix: String,
}

impl Containers {
    pub(crate) fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("homeostat-collector-test-{}-{count}", std::process::id());
        let containers = Containers { prefix };
        containers.import();
        containers
    }

    fn import(&self) {
        let imported = Command::new("docker")
            .args(["import", "-c", r#"ENTRYPOINT ["/probe"]"#, "-c"])
            .arg(r#"HEALTHCHECK --interval=1s --timeout=20s --retries=1 CMD ["/probe","check"]"#)
            .arg(probe())
            .arg(&self.prefix)
            .output()
            .expect("the docker command is installed");
        let errors = String::from_utf8_lossy(&imported.stderr);
        assert!(imported.status.success(), "is the engine running? {errors}");
    }

    /// The full name of a container.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Starts a container in the background and gives its id.
    pub(crate) fn run(&self, name: &str, options: &[&str], order: &[&str]) -> String {
        let name = self.name(name);
        let mut args = vec![
            "run",
            "--detach",
            "--name",
            &name,
            "--label",
            "io.homeostat.service=probe",
        ];
        args.extend_from_slice(options);
        args.push(&self.prefix);
        args.extend_from_slice(order);
        docker_ok(&args)
    }

    /// The address of a running container.
    pub(crate) fn address(&self, name: &str) -> String {
        let format = "{{.NetworkSettings.IPAddress}}";
        docker_ok(&["inspect", "--format", format, &self.name(name)])
    }

    /// Any other command about a container; its name comes after the words.
    pub(crate) fn tell(&self, words: &[&str], name: &str, more: &[&str]) {
        let name = self.name(name);
        let args: Vec<&str> = words
            .iter()
            .copied()
            .chain([name.as_str()])
            .chain(more.iter().copied())
            .collect();
        docker_ok(&args);
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let filter = format!("name={}-", self.prefix);
        let listed = docker(&["ps", "--all", "--quiet", "--filter", &filter]);
        let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut args = vec!["rm", "--force", "--volumes"];
        args.extend(ids.lines());
        docker(&args);
        docker(&["image", "rm", "--force", &self.prefix]);
    }
}

/// A log in memory with every topic.
pub(crate) async fn log() -> Bus {
    let bus = Bus::memory();
    bus.ensure_topics(&wire::topic::all(3)).await.unwrap();
    bus
}

/// A collector at work.
pub(crate) struct Running {
    pub(crate) context: kit::Context,
    task: JoinHandle<Result<(), collector::Error>>,
}

impl Running {
    pub(crate) fn start(bus: &Bus, state_dir: &Path) -> Running {
        Running::start_at(bus, state_dir, Path::new(SOCKET))
    }

    /// One that reads all logs over the engine's API.
    pub(crate) fn start_by_api(bus: &Bus, state_dir: &Path) -> Running {
        let mut config = Running::config(state_dir, Path::new(SOCKET));
        config.log.from = LogsFrom::Api;
        Running::start_with(bus, config)
    }

    /// One that reads these HAProxies too.
    pub(crate) fn start_beside(bus: &Bus, state_dir: &Path, sockets: Vec<Socket>) -> Running {
        let mut config = Running::config(state_dir, Path::new(SOCKET));
        config.haproxy = Haproxy {
            sockets,
            interval: HumanDuration::from_secs(1),
        };
        Running::start_with(bus, config)
    }

    pub(crate) fn start_at(bus: &Bus, state_dir: &Path, socket: &Path) -> Running {
        Running::start_with(bus, Running::config(state_dir, socket))
    }

    fn config(state_dir: &Path, socket: &Path) -> Config {
        Config {
            node: Some("test-node".to_owned()),
            docker: Some(format!("unix://{}", socket.display())),
            interval: HumanDuration::from_millis(200),
            inventory_interval: HumanDuration::from_millis(500),
            state_dir: Some(state_dir.to_owned()),
            sockets: Sockets {
                interval: HumanDuration::from_secs(1),
                ..Sockets::default()
            },
            host: HostSeries {
                interval: HumanDuration::from_secs(1),
                ..HostSeries::default()
            },
            scrape: Scrape {
                interval: HumanDuration::from_secs(1),
                timeout: HumanDuration::from_secs(1),
                ..Scrape::default()
            },
            ..Config::default()
        }
    }

    fn start_with(bus: &Bus, config: Config) -> Running {
        let context = kit::Context::new(bus.clone(), "collector", "test-node");
        let task = tokio::spawn(collector::run(config, context.clone()));
        Running { context, task }
    }

    /// Waits until the engine answers it.
    pub(crate) async fn ready(&self) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while !self.reads_containers() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "not ready: {:?}",
            self.context.health.ready()
        );
    }

    /// The engine's containers were listed, and its events are followed from before that.
    fn reads_containers(&self) -> bool {
        let told = self.context.health.ready();
        let docker = told.iter().find(|it| &*it.name == "docker");
        docker.is_some_and(|it| it.state == kit::health::State::Up)
    }

    /// Ends it as a process would.
    pub(crate) async fn stop(self) {
        self.context.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("it drains in time").unwrap().unwrap();
    }
}

/// Reads a topic from its beginning until what was read is enough.
pub(crate) async fn until<T>(
    bus: &Bus,
    topic: &str,
    what: &str,
    decode: impl Fn(&Record) -> Vec<T>,
    enough: impl Fn(&[T]) -> bool,
) -> Vec<T> {
    let mut tail = bus.tail(topic, From::Beginning).await.unwrap();
    let mut all = Vec::new();
    let reading = async {
        while !enough(&all) {
            match tail.next().await.unwrap() {
                Tailed::Record(record) => all.extend(decode(&record)),
                Tailed::CaughtUp => {}
            }
        }
    };
    let read = tokio::time::timeout(DEADLINE, reading).await;
    assert!(
        read.is_ok(),
        "no {what} among {} after {DEADLINE:?}",
        all.len()
    );
    all
}

pub(crate) async fn samples_until(
    bus: &Bus,
    what: &str,
    enough: impl Fn(&[Sample]) -> bool,
) -> Vec<Sample> {
    until(
        bus,
        wire::topic::SAMPLES,
        what,
        |record| match wire::decode_telemetry(record).unwrap() {
            Telemetry::Samples(samples) => samples,
            Telemetry::Series(_) | Telemetry::Links(_) => Vec::new(),
        },
        enough,
    )
    .await
}

pub(crate) async fn points_until(
    bus: &Bus,
    what: &str,
    enough: impl Fn(&[Point]) -> bool,
) -> Vec<Point> {
    let decode = |record: &Record| match wire::decode_telemetry(record).unwrap() {
        Telemetry::Series(points) => points,
        Telemetry::Samples(_) | Telemetry::Links(_) => Vec::new(),
    };
    until(bus, wire::topic::SAMPLES, what, decode, enough).await
}

pub(crate) async fn links_until(
    bus: &Bus,
    what: &str,
    enough: impl Fn(&[Link]) -> bool,
) -> Vec<Link> {
    let decode = |record: &Record| match wire::decode_telemetry(record).unwrap() {
        Telemetry::Links(links) => links,
        Telemetry::Samples(_) | Telemetry::Series(_) => Vec::new(),
    };
    until(bus, wire::topic::SAMPLES, what, decode, enough).await
}

pub(crate) async fn events_until(
    bus: &Bus,
    what: &str,
    enough: impl Fn(&[ContainerEvent]) -> bool,
) -> Vec<ContainerEvent> {
    until(
        bus,
        wire::topic::EVENTS,
        what,
        |record| vec![wire::decode(record).unwrap()],
        enough,
    )
    .await
}

pub(crate) async fn inventories_until(
    bus: &Bus,
    what: &str,
    enough: impl Fn(&[NodeInventory]) -> bool,
) -> Vec<NodeInventory> {
    until(
        bus,
        wire::topic::INVENTORY,
        what,
        |record| vec![wire::decode(record).unwrap()],
        enough,
    )
    .await
}

/// The lines of one container, once they are enough.
pub(crate) async fn lines_until(
    bus: &Bus,
    id: &str,
    what: &str,
    enough: impl Fn(&[LogLine]) -> bool,
) -> Vec<LogLine> {
    let decode = |record: &Record| {
        let mut lines = wire::decode_logs(record).unwrap();
        lines.retain(|line| line.container.as_str() == id);
        lines
    };
    until(bus, wire::topic::LOGS, what, decode, enough).await
}
