//! A world for one test: containers on the real engine under a label of the test's own, a log in memory, and an actuator.
#![allow(dead_code)] // Each test binary uses its part.

pub(crate) mod engine;
pub(crate) mod haproxy;
pub(crate) mod key;
pub(crate) mod line;
pub(crate) mod load;
pub(crate) mod registry;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actuator::Config;
use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EventMessage, HostConfig, NetworkCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptions, EventsOptions, ListContainersOptions, RemoveContainerOptions,
};
use bus::{Bus, From, Tail, Tailed};
use futures::{StreamExt, TryFutureExt};
use kit::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use units::{
    Action, Command, CommandId, ContainerId, Generation, Mode, NodeId, Outcome, OutcomeResult,
    PlanId, Refusal, ServiceId,
};
use wire::topic;

pub(crate) const NODE: &str = "node-a";
pub(crate) const IMAGE: &str = "homeostat-demo:latest";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Another copy of a command is sent after so long.
const COPIED_AFTER: Duration = Duration::from_secs(5);
pub(crate) const ACT: [(&str, &str); 4] = [
    ("io.homeostat.mode", "act"),
    ("io.homeostat.heal", "true"),
    ("io.homeostat.scale", "1..4"),
    ("io.homeostat.limits", "cpu=10m..10000,memory=6Mi..64Gi"),
];
const TEST_LABEL: &str = "homeostat.actuator-test";

pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) docker: Docker,
    pub(crate) bus: Bus,
    pub(crate) dir: tempfile::TempDir,
    /// The key for moves of all its nodes.
    pub(crate) key: PathBuf,
    outcomes: Tail,
}

/// A running actuator.
pub(crate) struct Actuator {
    pub(crate) context: Context,
    task: JoinHandle<Result<(), actuator::Error>>,
}

impl Actuator {
    /// Ends it as a service manager would.
    pub(crate) async fn shut_down(self) {
        self.context.shutdown.cancel();
        timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    /// Ends it in the middle of whatever it does, as `kill -9` would, and waits until its ledger is free.
    pub(crate) async fn kill(self, state_dir: &Path) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        let ledger: PathBuf = state_dir.join("actuator-ledger.redb");
        let free = async {
            // One that was killed before it had a ledger holds none.
            while ledger.exists() && redb::Database::open(&ledger).is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, free).await.unwrap();
    }
}

impl World {
    pub(crate) async fn new(test: &str) -> World {
        let docker = docker().await;
        ensure_image(&docker).await;
        let bus = Bus::memory();
        bus.ensure_topics(&topic::all(1)).await.unwrap();
        let outcomes = bus.tail(topic::OUTCOMES, From::Beginning).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let world = World {
            name: format!("homeostat-actuator-{test}-{}", std::process::id()),
            docker,
            bus,
            key: key::write(&dir.path().join("move.key"), 7),
            dir,
            outcomes,
        };
        remove_all(&world.docker, &world.name).await;
        world
    }

    /// Another log, empty, with these topics.
    pub(crate) async fn renew_log(&mut self, topics: &[bus::TopicSpec]) {
        self.bus = Bus::memory();
        self.bus.ensure_topics(topics).await.unwrap();
        let outcomes = self.bus.tail(topic::OUTCOMES, From::Beginning);
        self.outcomes = outcomes.await.unwrap();
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            node: Some(NODE.to_owned()),
            state_dir: Some(self.dir.path().to_owned()),
            max_mode: Mode::Act,
            ..Config::default()
        }
    }

    /// A network of the world's, `name` itself or another that ends in `-b`.
    pub(crate) async fn network(&self, name: &str) {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            ..NetworkCreateRequest::default()
        };
        self.docker.create_network(request).await.unwrap();
    }

    /// One that cannot start, or ends of itself, says why where the test prints.
    pub(crate) fn start(&self, config: Config) -> Actuator {
        let context = Context::new(self.bus.clone(), "actuator", NODE);
        let running = actuator::run(config, context.clone());
        let told = running.inspect_err(|error| eprintln!("an actuator ended: {error}"));
        let task = tokio::spawn(told);
        Actuator { context, task }
    }

    /// A container that is created and not started.
    pub(crate) async fn create(
        &self,
        labels: &[(&str, &str)],
        change: impl FnOnce(&mut ContainerCreateBody, &mut HostConfig),
    ) -> ContainerId {
        let own = [(TEST_LABEL, self.name.as_str())];
        let pairs = labels.iter().chain(&own);
        let labels = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            cmd: Some(vec!["worker".to_owned()]),
            labels: Some(labels.collect()),
            ..ContainerCreateBody::default()
        };
        let mut host = HostConfig {
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        };
        change(&mut body, &mut host);
        body.host_config = Some(host);
        let number = self.containers().await.len();
        let options = CreateContainerOptions {
            name: Some(format!("{}-{number}", self.name)),
            ..CreateContainerOptions::default()
        };
        let made = self
            .docker
            .create_container(Some(options), body)
            .await
            .unwrap();
        ContainerId::new(made.id)
    }

    /// A container that runs.
    pub(crate) async fn container(&self, labels: &[(&str, &str)]) -> ContainerId {
        let id = self.create(labels, |_, _| {}).await;
        self.docker
            .start_container(id.as_str(), None)
            .await
            .unwrap();
        id
    }

    /// One that runs and takes its whole grace to stop.
    pub(crate) async fn stubborn(&self, labels: &[(&str, &str)]) -> ContainerId {
        // As first process of a container it has no use for this signal, so the kernel drops it.
        let id = self
            .create(labels, |body, _| {
                body.stop_signal = Some("SIGUSR1".to_owned())
            })
            .await;
        self.docker
            .start_container(id.as_str(), None)
            .await
            .unwrap();
        id
    }

    pub(crate) async fn containers(&self) -> Vec<String> {
        list(&self.docker, &self.name).await
    }

    pub(crate) async fn inspect(&self, id: &ContainerId) -> ContainerInspectResponse {
        self.docker
            .inspect_container(id.as_str(), None)
            .await
            .unwrap()
    }

    pub(crate) async fn started_at(&self, id: &ContainerId) -> String {
        self.inspect(id).await.state.unwrap().started_at.unwrap()
    }

    pub(crate) fn restart(&self, container: &ContainerId, grace: Duration) -> Command {
        command(Action::Restart {
            container: container.clone(),
            name: "test".into(),
            grace,
        })
    }

    pub(crate) fn replicate(&self, template: &ContainerId, name: &str) -> Command {
        command(Action::CreateReplica {
            template: template.clone(),
            name: format!("{}-{name}", self.name).as_str().into(),
            image: None,
            origin: None,
        })
    }

    pub(crate) fn remove(&self, container: &ContainerId) -> Command {
        command(Action::RemoveReplica {
            container: container.clone(),
            name: "test".into(),
            grace: Duration::from_secs(5),
        })
    }

    pub(crate) async fn send(&self, command: &Command) {
        let meta = wire::Meta::new("controller/test");
        self.bus
            .produce(wire::encode(command, &meta))
            .await
            .unwrap();
    }

    /// Sends a command and waits for its outcome.
    pub(crate) async fn answer(&mut self, command: &Command) -> OutcomeResult {
        self.send(command).await;
        self.outcome(command).await.result
    }

    /// The next outcome, which must be of this command.
    pub(crate) async fn outcome(&mut self, command: &Command) -> Outcome {
        let outcome = self.next_outcome().await;
        assert_eq!(outcome.command, command.id, "{outcome:?}");
        outcome
    }

    /// The answer to one more copy of a command that was answered. A copy that is read before the first is closed is dealt with as that,
    /// without an answer of its own, so another is sent.
    pub(crate) async fn repeated(&mut self, command: &Command) -> Outcome {
        let asked = async {
            loop {
                self.send(command).await;
                if let Ok(outcome) = timeout(COPIED_AFTER, self.outcome(command)).await {
                    return outcome;
                }
            }
        };
        timeout(PATIENCE, asked).await.expect("no outcome came")
    }

    pub(crate) async fn next_outcome(&mut self) -> Outcome {
        let next = async {
            loop {
                match self.outcomes.next().await.unwrap() {
                    Tailed::Record(record) => return wire::decode(&record).unwrap(),
                    Tailed::CaughtUp => {}
                }
            }
        };
        timeout(PATIENCE, next).await.expect("no outcome came")
    }

    pub(crate) async fn refusal(&mut self, command: &Command) -> (Refusal, String) {
        match self.answer(command).await {
            OutcomeResult::Refused { refusal, reason } => (refusal, reason),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Counts the events of this kind that the world's containers have from now on. Read as they come, because the engine
    /// keeps only a few hundred, of all tests together.
    pub(crate) async fn count_events(&self, action: &str) -> watch::Receiver<usize> {
        let label = format!("{TEST_LABEL}={}", self.name);
        let options = EventsOptions {
            since: Some((kit::now().as_millis() / 1000).to_string()),
            until: None,
            filters: Some(HashMap::from([
                ("label".to_owned(), vec![label]),
                ("event".to_owned(), vec![action.to_owned()]),
            ])),
        };
        let events = self.docker.events(Some(options));
        let (count, counted) = watch::channel(0);
        tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(Ok(_)) = events.next().await {
                count.send_modify(|count| *count += 1);
            }
        });
        counted
    }

    /// The engine's next event of this kind about this container. Call it before what causes the event.
    pub(crate) fn event(
        &self,
        container: &ContainerId,
        action: &str,
    ) -> impl Future<Output = EventMessage> {
        let filters = HashMap::from([
            ("container".to_owned(), vec![container.as_str().to_owned()]),
            ("event".to_owned(), vec![action.to_owned()]),
        ]);
        let since = kit::now().as_millis() / 1000;
        let options = EventsOptions {
            since: Some(since.to_string()),
            filters: Some(filters),
            ..EventsOptions::default()
        };
        let events = self.docker.events(Some(options));
        async move {
            let mut events = std::pin::pin!(events);
            let event = timeout(PATIENCE, events.next()).await;
            event.expect("no event came").unwrap().unwrap()
        }
    }
}

impl Drop for World {
    /// Also when the test panicked; on a thread of its own, as the test's runtime may be ending.
    fn drop(&mut self) {
        let name = self.name.clone();
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let docker = docker().await;
                remove_all(&docker, &name).await;
                let _ = docker.remove_network(&name).await;
                let _ = docker.remove_network(&format!("{name}-b")).await;
            });
        });
        let _ = cleaner.join();
    }
}

pub(crate) fn command(action: Action) -> Command {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let now = kit::now();
    let plan = PlanId::new(format!(
        "test-{}-{number}-{}",
        action.kind(),
        now.as_millis()
    ));
    Command {
        id: CommandId::of(&plan, 0),
        plan,
        generation: Generation(1),
        service: ServiceId::from("test"),
        node: NodeId::from(NODE),
        issued_at: now,
        deadline: now + PATIENCE,
        action,
        approval: None,
        update: None,
        relocation: None,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

async fn docker() -> Docker {
    let docker = Docker::connect_with_local_defaults().unwrap();
    docker.negotiate_version().await.unwrap()
}

async fn ensure_image(docker: &Docker) {
    if docker.inspect_image(IMAGE).await.is_ok() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo/image.sh");
    let made = std::process::Command::new(script).status().unwrap();
    assert!(made.success(), "cannot make {IMAGE}");
}

async fn list(docker: &Docker, name: &str) -> Vec<String> {
    let label = vec![format!("{TEST_LABEL}={name}")];
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), label)])),
        ..ListContainersOptions::default()
    };
    let found = docker.list_containers(Some(options)).await.unwrap();
    found.into_iter().filter_map(|it| it.id).collect()
}

async fn remove_all(docker: &Docker, name: &str) {
    for id in list(docker, name).await {
        let options = RemoveContainerOptions {
            force: true,
            v: true,
            link: false,
        };
        let _ = docker.remove_container(&id, Some(options)).await;
    }
}

/// What the proxy loses of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It never reaches the engine.
    Request,
    /// The engine acts on it; its answer goes nowhere.
    Answer,
    /// It never reaches the engine, and is answered with a failure.
    Chance,
}

/// What becomes of a connection on which something was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Closes,
    /// Whoever asked learns nothing, and waits until it is killed.
    Hangs,
}

/// A proxy before the engine that loses certain requests. Ends when dropped.
pub(crate) struct CuttingProxy {
    listening: JoinHandle<()>,
    cuts: mpsc::UnboundedReceiver<()>,
}

impl CuttingProxy {
    /// Waits for the next cut.
    pub(crate) async fn has_cut(&mut self) {
        let cut = timeout(PATIENCE, self.cuts.recv()).await;
        cut.expect("nothing was cut").unwrap();
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Listens on `socket` and passes everything on, but loses requests with `cut` in them and closes their connections.
pub(crate) fn cutting_proxy(socket: &Path, cut: &'static str, lost: Lost) -> CuttingProxy {
    proxy(socket, cut, lost, Then::Closes)
}

/// As [`cutting_proxy`], but the connections stay open: who asked is still waiting when it is killed.
pub(crate) fn hanging_proxy(socket: &Path, cut: &'static str, lost: Lost) -> CuttingProxy {
    proxy(socket, cut, lost, Then::Hangs)
}

fn proxy(socket: &Path, cut: &'static str, lost: Lost, then: Then) -> CuttingProxy {
    let listener = UnixListener::bind(socket).unwrap();
    let (tell, cuts) = mpsc::unbounded_channel();
    let listening = tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(cutting(client, cut, lost, then, tell.clone()));
        }
    });
    CuttingProxy { listening, cuts }
}

async fn cutting(
    mut client: UnixStream,
    cut: &'static str,
    lost: Lost,
    then: Then,
    tell: mpsc::UnboundedSender<()>,
) {
    let mut engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
    let mut first = vec![0; 64 * 1024];
    let read = client.read(&mut first).await.unwrap_or(0);
    let is_cut = String::from_utf8_lossy(&first[..read]).contains(cut);
    if is_cut && lost == Lost::Request {
        let _ = tell.send(());
        if then == Then::Hangs {
            let _ = client.read(&mut first).await;
        }
        return;
    }
    if is_cut && lost == Lost::Chance {
        let _ = tell.send(());
        let told = r#"{"message":"no chance"}"#;
        let length = told.len();
        let answer = format!(
            "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{told}"
        );
        client.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    engine.write_all(&first[..read]).await.unwrap();
    if is_cut {
        let _ = tell.send(());
        match then {
            Then::Closes => {
                drop(client);
                let _ = engine.read(&mut first).await;
            }
            Then::Hangs => {
                let _ = engine.read(&mut first).await;
                let _ = client.read(&mut first).await;
            }
        }
        return;
    }
    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
}
