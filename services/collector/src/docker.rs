//! The engine's API, of which only reading requests are used: version, info, list, inspect and events.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::io;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::errors::Error as ApiError;
use bollard::models::EventMessage;
use bollard::query_parameters::{
    EventsOptions, InspectContainerOptions, ListContainersOptions, ListImagesOptions,
    ListVolumesOptions,
};
use futures::stream::{Stream, StreamExt};
use units::{Bytes, ContainerId, EngineInfo, Millicores, NodeCapacity, NodeFacts};

use crate::config::NODE_LABELS_MAX;
use crate::containers::{Action, EngineEvent};
use crate::inspect::{Details, LogFile};

/// An answer that takes longer is as good as none; the longest, a list of a thousand containers, takes well under a second.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Inspects under way at once; more only queue inside the engine.
pub(crate) const PARALLEL_INSPECTS: usize = 4;
const NOT_FOUND: u16 = 404;
const DEFAULT_ENGINE_ROOT: &str = "/var/lib/docker";
/// Whose events are followed.
const TYPES: [&str; 2] = ["container", "network"];
/// What changes a container. Health checks alone would otherwise send three events each time they run.
const ACTIONS: [&str; 13] = [
    "create",
    "start",
    "die",
    "kill",
    "oom",
    "health_status",
    "pause",
    "unpause",
    "update",
    "rename",
    "destroy",
    // Of networks, with the container in the attributes.
    "connect",
    "disconnect",
];

/// The engine cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DockerError {
    /// Nothing answers at the address.
    #[error("no Docker Engine answers at {address}; {advice}")]
    Unreachable {
        address: String,
        advice: &'static str,
        #[source]
        source: ApiError,
    },
    /// A request was refused or came to nothing.
    #[error("the Docker Engine at {address} did not answer a request for {what}")]
    Request {
        address: String,
        what: &'static str,
        #[source]
        source: ApiError,
    },
    /// The stream of events ended.
    #[error("the Docker Engine at {address} closed the stream of events")]
    EventsEnded { address: String },
}

impl DockerError {
    /// Whether only this request took too long, as an inspect does while its container is being started.
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            DockerError::Request { source, .. } => {
                matches!(source, ApiError::RequestTimeoutError)
            }
            DockerError::Unreachable { .. } | DockerError::EventsEnded { .. } => false,
        }
    }
}

/// What the engine has.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// What could be inspected.
    pub(crate) details: Vec<Details>,
    /// What the engine is busy with.
    pub(crate) slow: Vec<ContainerId>,
}

/// What the engine itself holds, and how fast it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EngineState {
    /// How long it took to say its version: the cheapest of its answers.
    pub(crate) answer: Duration,
    pub(crate) images: Option<u64>,
    /// Layers that images share are counted for each.
    pub(crate) image_bytes: Option<u64>,
    pub(crate) volumes: Option<u64>,
}

/// A connection to the engine of this host.
#[derive(Debug)]
pub(crate) struct Client {
    docker: Docker,
    address: String,
    root: String,
    default_log_driver: String,
    pub(crate) engine: EngineInfo,
    pub(crate) capacity: NodeCapacity,
    /// What the engine itself knows of the node: its architecture, and the labels it was given.
    pub(crate) facts: NodeFacts,
}

impl Client {
    /// Connects and agrees on the API's version.
    ///
    /// # Errors
    /// When nothing answers there, or this user may not ask.
    pub(crate) async fn connect(address: &str, cgroup: &str) -> Result<Client, DockerError> {
        let unreachable = |source: ApiError| DockerError::Unreachable {
            advice: advice(&source),
            address: address.to_owned(),
            source,
        };
        let docker = Docker::connect_with_host(address)
            .map_err(unreachable)?
            .with_timeout(ANSWER_DEADLINE)
            .negotiate_version()
            .await
            .map_err(unreachable)?;
        let version = docker.version().await.map_err(unreachable)?;
        let info = docker.info().await.map_err(unreachable)?;
        let spoken = docker.client_version();
        Ok(Client {
            engine: EngineInfo {
                version: version.version.unwrap_or_default(),
                api_version: format!("{}.{}", spoken.major_version, spoken.minor_version),
                cgroup: cgroup.to_owned(),
            },
            capacity: NodeCapacity {
                cpu: Millicores(positive(info.ncpu).saturating_mul(1_000)),
                memory: Bytes(positive(info.mem_total)),
            },
            facts: NodeFacts {
                architecture: version.arch.filter(|it| !it.is_empty()),
                labels: labels(info.labels.unwrap_or_default()),
                ..NodeFacts::default()
            },
            root: info
                .docker_root_dir
                .unwrap_or_else(|| DEFAULT_ENGINE_ROOT.to_owned()),
            default_log_driver: info.logging_driver.unwrap_or_default(),
            docker,
            address: address.to_owned(),
        })
    }

    /// The connection itself, for what follows it on its own.
    pub(crate) fn docker(&self) -> Docker {
        self.docker.clone()
    }

    /// Where the log of a container will be that has just been made, if it is not told otherwise.
    pub(crate) fn expected_log(&self, id: &ContainerId) -> Option<LogFile> {
        match self.default_log_driver.as_str() {
            "json-file" => Some(LogFile::expected(&self.root, id)),
            "local" => Some(LogFile::expected_local(&self.root, id)),
            _ => None,
        }
    }

    /// Every container, as it is now.
    ///
    /// # Errors
    /// When the engine stops answering. Containers removed meanwhile are left out.
    pub(crate) async fn list(&self) -> Result<Listed, DockerError> {
        let options = ListContainersOptions {
            all: true,
            ..Default::default()
        };
        let listed = self.docker.list_containers(Some(options)).await;
        let listed = listed.map_err(|source| self.request("the list of containers", source))?;
        let ids = listed.into_iter().filter_map(|summary| summary.id);
        let mut inspects = futures::stream::iter(ids)
            .map(|id| async move {
                let id = ContainerId::from(id.as_str());
                let inspected = self.inspect(&id).await;
                (id, inspected)
            })
            .buffer_unordered(PARALLEL_INSPECTS);
        let mut listed = Listed::default();
        while let Some((id, inspected)) = inspects.next().await {
            match inspected {
                Ok(details) => listed.details.extend(details),
                Err(error) if error.is_slow() => listed.slow.push(id),
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    /// One container as it is now; `None` when there is no such one any more.
    ///
    /// # Errors
    /// When the engine stops answering.
    pub(crate) async fn inspect(&self, id: &ContainerId) -> Result<Option<Details>, DockerError> {
        match self
            .docker
            .inspect_container(id.as_str(), None::<InspectContainerOptions>)
            .await
        {
            Ok(answer) => Ok(Details::read(answer, &self.root)),
            Err(ApiError::DockerResponseServerError {
                status_code: NOT_FOUND,
                ..
            }) => Ok(None),
            Err(source) => Err(self.request("a container", source)),
        }
    }

    /// The size of a container's writable layer; `None` when there is no such container any more.
    ///
    /// # Errors
    /// When the engine stops answering.
    pub(crate) async fn layer_bytes(&self, id: &ContainerId) -> Result<Option<u64>, DockerError> {
        let options = InspectContainerOptions { size: true };
        match self
            .docker
            .inspect_container(id.as_str(), Some(options))
            .await
        {
            Ok(answer) => Ok(answer.size_rw.and_then(|bytes| u64::try_from(bytes).ok())),
            Err(ApiError::DockerResponseServerError {
                status_code: NOT_FOUND,
                ..
            }) => Ok(None),
            Err(source) => Err(self.request("the size of a container", source)),
        }
    }

    /// What the engine holds. What a filter before it refuses to tell is absent.
    ///
    /// # Errors
    /// When the engine stops answering.
    pub(crate) async fn state(&self) -> Result<EngineState, DockerError> {
        let asked = Instant::now();
        let version = self.docker.version().await;
        version.map_err(|source| self.request("its version", source))?;
        let answer = asked.elapsed();
        let images = self.docker.list_images(None::<ListImagesOptions>).await;
        let images = images.ok();
        let volumes = self.docker.list_volumes(None::<ListVolumesOptions>).await;
        let volumes = volumes.ok().map(|told| told.volumes.unwrap_or_default());
        Ok(EngineState {
            answer,
            images: images.as_ref().map(|images| images.len() as u64),
            image_bytes: images.map(|images| images.iter().map(|it| positive(Some(it.size))).sum()),
            volumes: volumes.map(|volumes| volumes.len() as u64),
        })
    }

    /// Events from `since_ns` on, that instant included, then new ones as they come.
    pub(crate) fn events(
        &self,
        since_ns: i64,
    ) -> impl Stream<Item = Result<EngineEvent, DockerError>> {
        let filters = HashMap::from([
            ("type".to_owned(), TYPES.map(str::to_owned).to_vec()),
            ("event".to_owned(), ACTIONS.map(str::to_owned).to_vec()),
        ]);
        let options = EventsOptions {
            since: Some(format!(
                "{}.{:09}",
                since_ns / 1_000_000_000,
                since_ns % 1_000_000_000
            )),
            until: None,
            filters: Some(filters),
        };
        self.docker
            .events(Some(options))
            .filter_map(move |message| {
                let told = match message {
                    Ok(message) => event(message).map(Ok),
                    Err(source) => Some(Err(self.request("events", source))),
                };
                std::future::ready(told)
            })
    }

    /// What to say when the stream of events ends.
    pub(crate) fn events_ended(&self) -> DockerError {
        DockerError::EventsEnded {
            address: self.address.clone(),
        }
    }

    fn request(&self, what: &'static str, source: ApiError) -> DockerError {
        DockerError::Request {
            address: self.address.clone(),
            what,
            source,
        }
    }
}

/// Labels of the engine, each `key=value`; one without a value is passed over, since nothing can be asked of it.
fn labels(told: Vec<String>) -> BTreeMap<String, String> {
    let pairs = told.iter().filter_map(|label| label.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .take(NODE_LABELS_MAX)
        .collect()
}

fn positive(number: Option<i64>) -> u64 {
    number
        .and_then(|number| u64::try_from(number).ok())
        .unwrap_or(0)
}

/// Our form of an event; `None` for what changes nothing here.
fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor?;
    let action = Action::parse(message.action.as_deref()?)?;
    let attributes: BTreeMap<_, _> = actor.attributes.unwrap_or_default().into_iter().collect();
    let id = match action {
        Action::Network => attributes.get("container")?.as_str(),
        _ => actor.id.as_deref()?,
    };
    Some(EngineEvent {
        at_ns: message.time_nano?,
        id: ContainerId::from(id),
        action,
        attributes,
    })
}

/// What to do about an engine that cannot be reached.
fn advice(error: &ApiError) -> &'static str {
    if let ApiError::SocketNotFoundError(_) = error {
        return "start it, or set collector.docker to its socket";
    }
    match io_kind(error) {
        Some(io::ErrorKind::PermissionDenied) => {
            "run as root or add this user to the group that owns the socket, usually docker"
        }
        Some(io::ErrorKind::NotFound) => "start it, or set collector.docker to its socket",
        Some(io::ErrorKind::ConnectionRefused) => {
            "start it: its socket is there and nobody listens"
        }
        Some(_) | None => "check that it runs, with docker info",
    }
}

fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_keep_their_labels_and_nanoseconds() {
        let message = serde_json::from_value(json!({
            "Type": "container", "Action": "die", "time": 1, "timeNano": 1_000_000_005_i64,
            "Actor": {"ID": "abc", "Attributes": {"exitCode": "1", "name": "job"}},
        }));
        let event = event(message.unwrap()).unwrap();
        assert_eq!((event.at_ns, event.action), (1_000_000_005, Action::Die));
        assert_eq!(event.attributes["exitCode"], "1");
    }

    #[tokio::test]
    async fn an_absent_socket_is_named_with_the_next_step() {
        let error = Client::connect("unix:///nonexistent/docker.sock", "v2")
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no Docker Engine answers at unix:///nonexistent/docker.sock; start it, or set collector.docker to its socket"
        );
    }

    #[tokio::test]
    async fn a_socket_nobody_listens_on_is_named_with_the_next_step() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = format!("unix://{}", path.display());
        let error = Client::connect(&address, "v2").await.unwrap_err();
        assert!(error.to_string().ends_with("nobody listens"), "{error}");
    }
}
