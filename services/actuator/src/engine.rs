//! The Docker Engine as the actuator uses it: every call bounded in time, every failure told apart by what it means for a
//! command.

mod images;
mod networks;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error as ClientError;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerUpdateBody, ImageInspect,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, ListContainersOptions, RemoveContainerOptions,
    RenameContainerOptions, RestartContainerOptions, StatsOptions, StopContainerOptions,
};
use futures::{Stream, StreamExt};
use kit::health::Dependency;
use tokio::sync::Mutex;
use tokio::time::Instant;
use units::{Bytes, CommandId, ContainerId, ContainerName, LABEL_COMMAND};

use crate::advice::with_next_step;

pub(crate) use images::Loaded;
pub(crate) use networks::sharing;

/// A question is answered within this, or the engine counts as away.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// A change is made within this beyond any grace it was given.
pub(crate) const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// An image is pulled within this; a larger one, or a slower line, takes another try, which goes on where this one ended.
const PULL_WITHIN: Duration = Duration::from_secs(600);
/// An engine that pulls tells how far it is several times a second, also while it unpacks and waits to try again. One that tells nothing
/// for so long waits for a registry that has gone silent, which it would do for as long as its line stays up; others wait behind it.
const PULL_SILENT: Duration = Duration::from_secs(120);
/// No container gets longer to stop, whatever a command says: a stop that takes its whole grace holds up the next command.
pub(crate) const GRACE_MAX: Duration = Duration::from_secs(15 * 60);

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// Nobody listens, or the connection broke. A change may or may not have been made.
    #[error(
        "no engine answers at {address}: {reason}; check that Docker runs there and that this user may use it"
    )]
    Away { address: Arc<str>, reason: String },
    /// It took too long. A change may still be made.
    #[error("the engine at {address} did not answer within {} s", within.as_secs())]
    Slow { address: Arc<str>, within: Duration },
    /// It refused, and said why.
    #[error("the engine answered {status}: {}", with_next_step(message))]
    Said { status: u16, message: String },
    /// It began, and then said why it could not go on.
    #[error("{}", with_next_step(_0))]
    GaveUp(String),
    /// It said something this client cannot read.
    #[error("cannot understand the engine: {0}")]
    Unreadable(String),
}

impl EngineError {
    /// What was asked about is not there.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self, EngineError::Said { status: 404, .. })
    }

    /// It clashes with what is there.
    pub(crate) const fn is_conflict(&self) -> bool {
        matches!(self, EngineError::Said { status: 409, .. })
    }

    /// Whether a change was made cannot be told from this answer.
    pub(crate) const fn leaves_doubt(&self) -> bool {
        match self {
            EngineError::Away { .. } | EngineError::Slow { .. } | EngineError::Unreadable(_) => {
                true
            }
            EngineError::Said { .. } | EngineError::GaveUp(_) => false,
        }
    }
}

/// What programs are built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
}

/// How long is waited for a pull.
#[derive(Debug, Clone, Copy)]
struct Patience {
    whole: Duration,
    /// For the next step of it.
    between: Duration,
}

/// How much of an image came.
#[derive(Debug, PartialEq, Eq)]
enum Pulled {
    Whole,
    InPart,
    /// Nothing of it has come for [`PULL_SILENT`].
    Silent,
}

/// A connection that is made when first needed, and made anew, with its API version negotiated again, after it broke: the
/// engine may have been upgraded meanwhile.
pub(crate) struct Engine {
    address: Arc<str>,
    client: Mutex<Option<Docker>>,
    health: Dependency,
}

impl Engine {
    pub(crate) fn new(address: &str, health: Dependency) -> Self {
        Engine {
            address: address.into(),
            client: Mutex::new(None),
            health,
        }
    }

    /// Whether it answers.
    pub(crate) async fn ping(&self) -> Result<(), EngineError> {
        self.call(READ_WITHIN, |docker| async move { docker.ping().await })
            .await
            .map(drop)
    }

    pub(crate) async fn inspect(
        &self,
        container: &ContainerId,
    ) -> Result<ContainerInspectResponse, EngineError> {
        self.call(READ_WITHIN, |docker| async move {
            docker.inspect_container(container.as_str(), None).await
        })
        .await
    }

    /// The image a reference, or an id, means now.
    pub(crate) async fn image(&self, reference: &str) -> Result<ImageInspect, EngineError> {
        self.call(READ_WITHIN, |docker| async move {
            docker.inspect_image(reference).await
        })
        .await
    }

    /// Memory in use, without the file cache the kernel can drop; zero when it does not run.
    pub(crate) async fn memory_in_use(
        &self,
        container: &ContainerId,
    ) -> Result<Bytes, EngineError> {
        let options = StatsOptions {
            stream: false,
            one_shot: true,
        };
        let first = self
            .call(READ_WITHIN, |docker| async move {
                let mut stats = Box::pin(docker.stats(container.as_str(), Some(options)));
                stats.next().await.transpose()
            })
            .await?;
        let memory = first
            .and_then(|stats| stats.memory_stats)
            .unwrap_or_default();
        let details = memory.stats.unwrap_or_default();
        let cache = details.get("total_inactive_file"); // cgroup v1
        let cache = cache.or_else(|| details.get("inactive_file")); // cgroup v2
        let usage = memory.usage.unwrap_or(0);
        Ok(Bytes(usage.saturating_sub(cache.copied().unwrap_or(0))))
    }

    /// The containers a command made.
    pub(crate) async fn made_by(
        &self,
        command: &CommandId,
    ) -> Result<Vec<ContainerId>, EngineError> {
        let label = format!("{LABEL_COMMAND}={command}");
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..ListContainersOptions::default()
        };
        let found = self
            .call(READ_WITHIN, |docker| async move {
                docker.list_containers(Some(options)).await
            })
            .await?;
        let ids = found.into_iter().filter_map(|it| it.id);
        Ok(ids.map(ContainerId::new).collect())
    }

    pub(crate) async fn restart(
        &self,
        container: &ContainerId,
        grace: Duration,
    ) -> Result<(), EngineError> {
        let grace = grace.min(GRACE_MAX);
        let options = RestartContainerOptions {
            t: Some(whole_seconds(grace)),
            signal: None,
        };
        self.call(grace + WRITE_WITHIN, |docker| async move {
            docker
                .restart_container(container.as_str(), Some(options))
                .await
        })
        .await
    }

    /// Pulls an image from its registry. What was pulled in part stays with the engine, which goes on there the next time.
    ///
    /// # Errors
    /// [`EngineError::Said`] when the registry has not begun to give it, [`EngineError::GaveUp`] when that ended in the middle.
    pub(crate) async fn pull(
        &self,
        reference: &str,
        credentials: Option<DockerCredentials>,
    ) -> Result<(), EngineError> {
        let options = CreateImageOptions {
            from_image: Some(reference.to_owned()),
            ..CreateImageOptions::default()
        };
        let pulled = self.call(PULL_WITHIN + READ_WITHIN, |docker| async move {
            let progress = docker.create_image(Some(options), None, credentials);
            let patience = Patience {
                whole: PULL_WITHIN,
                between: PULL_SILENT,
            };
            pulled(Box::pin(progress), patience).await
        });
        match pulled.await? {
            Pulled::Whole => Ok(()),
            Pulled::InPart => Err(EngineError::GaveUp(format!(
                "it took longer than {} s; what has come is kept, and the next try goes on there",
                PULL_WITHIN.as_secs()
            ))),
            Pulled::Silent => Err(EngineError::GaveUp(format!(
                "nothing of it has come for {} s: the registry went silent, or what is on the way to it; check that it runs, and that this node reaches it",
                PULL_SILENT.as_secs()
            ))),
        }
    }

    /// Operating system and architecture of the engine, in the words that images use.
    pub(crate) async fn platform(&self) -> Result<Platform, EngineError> {
        let version = self.call(READ_WITHIN, |docker| async move { docker.version().await });
        let version = version.await?;
        Ok(Platform {
            os: version.os.unwrap_or_default(),
            architecture: version.arch.unwrap_or_default(),
        })
    }

    pub(crate) async fn stop(
        &self,
        container: &ContainerId,
        grace: Duration,
    ) -> Result<(), EngineError> {
        let grace = grace.min(GRACE_MAX);
        let options = StopContainerOptions {
            t: Some(whole_seconds(grace)),
            signal: None,
        };
        self.call(grace + WRITE_WITHIN, |docker| async move {
            docker
                .stop_container(container.as_str(), Some(options))
                .await
        })
        .await
    }

    /// Removes it with its anonymous volumes, running or not.
    pub(crate) async fn remove(&self, container: &ContainerId) -> Result<(), EngineError> {
        let options = RemoveContainerOptions {
            v: true,
            force: true,
            link: false,
        };
        self.remove_as(container, options).await
    }

    /// Removes it and none of its volumes, running or not.
    pub(crate) async fn remove_without_volumes(
        &self,
        container: &ContainerId,
    ) -> Result<(), EngineError> {
        let options = RemoveContainerOptions {
            v: false,
            force: true,
            link: false,
        };
        self.remove_as(container, options).await
    }

    async fn remove_as(
        &self,
        container: &ContainerId,
        options: RemoveContainerOptions,
    ) -> Result<(), EngineError> {
        self.call(WRITE_WITHIN, |docker| async move {
            docker
                .remove_container(container.as_str(), Some(options))
                .await
        })
        .await
    }

    pub(crate) async fn rename(
        &self,
        container: &ContainerId,
        name: &ContainerName,
    ) -> Result<(), EngineError> {
        let options = RenameContainerOptions {
            name: name.as_str().to_owned(),
        };
        self.call(WRITE_WITHIN, |docker| async move {
            docker.rename_container(container.as_str(), options).await
        })
        .await
    }

    pub(crate) async fn update(
        &self,
        container: &ContainerId,
        limits: &ContainerUpdateBody,
    ) -> Result<(), EngineError> {
        self.call(WRITE_WITHIN, |docker| async move {
            docker
                .update_container(container.as_str(), limits.clone())
                .await
        })
        .await
    }

    pub(crate) async fn create(
        &self,
        name: &ContainerName,
        body: &ContainerCreateBody,
    ) -> Result<ContainerId, EngineError> {
        let options = CreateContainerOptions {
            name: Some(name.as_str().to_owned()),
            platform: String::new(),
        };
        let made = self
            .call(WRITE_WITHIN, |docker| async move {
                docker.create_container(Some(options), body.clone()).await
            })
            .await?;
        Ok(ContainerId::new(made.id))
    }

    pub(crate) async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.call(WRITE_WITHIN, |docker| async move {
            docker.start_container(container.as_str(), None).await
        })
        .await
    }

    /// One call, bounded as a whole. What it teaches about the engine goes to its health.
    async fn call<T, F>(
        &self,
        within: Duration,
        ask: impl FnOnce(Docker) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let attempt = async {
            let docker = self.client().await?;
            ask(docker).await
        };
        let result = match tokio::time::timeout(within, attempt).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.classify(error, within)),
            Err(_) => Err(EngineError::Slow {
                address: Arc::clone(&self.address),
                within,
            }),
        };
        match &result {
            Ok(_)
            | Err(EngineError::Said { .. } | EngineError::GaveUp(_) | EngineError::Unreadable(_)) =>
            {
                self.health.up();
            }
            Err(error @ (EngineError::Away { .. } | EngineError::Slow { .. })) => {
                self.health.down(error);
                *self.client.lock().await = None;
            }
        }
        result
    }

    async fn client(&self) -> Result<Docker, ClientError> {
        let mut client = self.client.lock().await;
        if let Some(docker) = &*client {
            return Ok(docker.clone());
        }
        let docker = Docker::connect_with_host(&self.address)?
            // Every call is bounded here already, those with a grace by more than the client's own two minutes.
            .with_timeout(Duration::MAX)
            .negotiate_version()
            .await?;
        Ok(client.insert(docker).clone())
    }

    fn classify(&self, error: ClientError, within: Duration) -> EngineError {
        let address = Arc::clone(&self.address);
        match error {
            ClientError::DockerResponseServerError {
                status_code: status,
                message,
            } => EngineError::Said { status, message },
            ClientError::DockerStreamError { error } => EngineError::GaveUp(error),
            ClientError::RequestTimeoutError => EngineError::Slow { address, within },
            ClientError::JsonDataError { .. }
            | ClientError::JsonSerdeError { .. }
            | ClientError::StrParseError { .. }
            | ClientError::APIVersionParseError {} => EngineError::Unreadable(error.to_string()),
            // The client's error type is not ours and grows; what is left of it are broken connections.
            _ => EngineError::Away {
                address,
                reason: innermost(&error),
            },
        }
    }
}

/// Waits for the end of a pull. A slow registry, and one that goes silent, is no fault of the engine's.
async fn pulled<T>(
    mut progress: impl Stream<Item = Result<T, ClientError>> + Unpin,
    patience: Patience,
) -> Result<Pulled, ClientError> {
    let ends_at = Instant::now() + patience.whole;
    loop {
        let silent_at = Instant::now() + patience.between;
        match tokio::time::timeout_at(silent_at.min(ends_at), progress.next()).await {
            Ok(Some(step)) => drop(step?),
            Ok(None) => return Ok(Pulled::Whole),
            Err(_) if silent_at < ends_at => return Ok(Pulled::Silent),
            Err(_) => return Ok(Pulled::InPart),
        }
        if Instant::now() >= ends_at {
            return Ok(Pulled::InPart);
        }
    }
}

/// The engine counts in whole seconds; a part of one is rounded up so that nobody is killed early.
fn whole_seconds(grace: Duration) -> i32 {
    let seconds = grace
        .as_secs()
        .saturating_add(u64::from(grace.subsec_nanos() > 0));
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// The source says "permission denied"; what wraps it says "client error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_never_shortened() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(10)), 10);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }

    #[tokio::test]
    async fn a_pull_ends_soon_after_nothing_comes_any_more() {
        let (short, long) = (Duration::from_millis(10), Duration::from_secs(600));
        let steps = |count: usize| futures::stream::iter(0..count).map(Ok);
        let at_all = Patience {
            whole: long,
            between: long,
        };
        let whole = pulled(steps(3), at_all).await.unwrap();
        assert_eq!(whole, Pulled::Whole);
        let silent = steps(3).chain(futures::stream::pending());
        let between = Patience {
            between: short,
            ..at_all
        };
        assert_eq!(pulled(silent, between).await.unwrap(), Pulled::Silent);
        let slow = Box::pin(steps(usize::MAX).then(|step| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            step
        }));
        let whole = Patience {
            whole: short,
            ..at_all
        };
        assert_eq!(pulled(slow, whole).await.unwrap(), Pulled::InPart);
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_said_with_its_address_and_the_next_step() {
        let health = kit::health::Health::default();
        let engine = Engine::new("unix:///nowhere/docker.sock", health.dependency("docker"));
        let error = engine.ping().await.unwrap_err();
        assert!(error.leaves_doubt());
        let text = error.to_string();
        assert!(text.contains("unix:///nowhere/docker.sock"), "{text}");
        assert!(text.contains("check that Docker runs"), "{text}");
        assert!(!health.is_ready());
    }
}
