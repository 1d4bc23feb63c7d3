//! From a command to what the engine will be told, with every check on the way. Only reads.

use std::path::Path;
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerUpdateBody, ImageInspect, RestartPolicy,
    RestartPolicyNameEnum,
};
use units::{
    Action, Bytes, Command, ContainerId, ContainerName, Image, ImageChange, Limits, Mode, Refusal,
    Update,
};

use crate::anew::{anew, same_repository};
use crate::engine::{Engine, EngineError};
use crate::execute::Work;
use crate::failover::Failover;
use crate::given::Source;
use crate::guard::{self, Consent, Purpose, Refused};
use crate::images::Offers;
use crate::names::Names;
use crate::pull::Pull;
use crate::recreate::Recreation;
use crate::replica::Replica;
use crate::seal::MoveKey;
use crate::{isolate, limits, moving, replica};

/// This node, and what its operator allows.
pub(crate) struct Here<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) ceiling: Mode,
    /// Where the credentials for registries are.
    pub(crate) auth_file: Option<&'a Path>,
    /// What opens what other nodes tell.
    pub(crate) key: Option<&'a MoveKey>,
    /// What gives its images to other nodes, where it does.
    pub(crate) offers: Option<&'a Offers>,
    /// The names of its containers.
    pub(crate) names: &'a Names,
    /// Its part in failover, where it takes one.
    pub(crate) failover: Option<&'a Failover>,
}

impl Here<'_> {
    /// Whether what an action starts may run here now.
    ///
    /// # Errors
    /// While this node is cut off, for what must not run twice.
    pub(crate) fn may_run(
        &self,
        action: &Action,
        container: &ContainerInspectResponse,
    ) -> Result<(), Unprepared> {
        match self
            .failover
            .is_some_and(|it| it.forbids(action, container))
        {
            true => Err(Unprepared::Cut),
            false => Ok(()),
        }
    }

    fn purpose(&self, command: &Command, container: &ContainerInspectResponse) -> Purpose {
        let purpose = Purpose::of(command, container);
        let target = command.action.target();
        let is_fenced = self.failover.is_some_and(|it| it.has_fenced(target));
        match purpose {
            Purpose::Itself if is_fenced => Purpose::Return,
            Purpose::Itself | Purpose::Move | Purpose::Return => purpose,
        }
    }
}

/// Why there is no work.
pub(crate) enum Unprepared {
    /// It must not be done.
    Refused(Refused),
    /// The engine could not be asked, or what it was asked about is not there.
    Engine(EngineError),
    /// Something beyond this node would not have it.
    Failed(String),
    /// It must not be done while the lease of this node is over.
    Cut,
}

impl From<Refused> for Unprepared {
    fn from(refused: Refused) -> Self {
        Unprepared::Refused(refused)
    }
}

impl From<EngineError> for Unprepared {
    fn from(error: EngineError) -> Self {
        Unprepared::Engine(error)
    }
}

/// The work of a command, as the container it is about stands now.
///
/// # Errors
/// A refusal, or what the engine said.
pub(crate) async fn prepare(here: &Here<'_>, command: &Command) -> Result<Work, Unprepared> {
    if let Action::CreateReplica {
        origin: Some(origin),
        ..
    } = &command.action
    {
        let successor = moving::successor(here, command, origin).await?;
        return Ok(Work::Succeed(Box::new(successor)));
    }
    let engine = here.engine;
    let found = engine.inspect(command.action.target()).await?;
    let found = here.names.as_it_was(found);
    let purpose = here.purpose(command, &found);
    let consent = Consent::of(command);
    guard::check(&command.action, &found, here.ceiling, consent, purpose)?;
    here.may_run(&command.action, &found)?;
    work(here, command, &found).await
}

/// The work on a container of this node that may be done.
async fn work(
    here: &Here<'_>,
    command: &Command,
    found: &ContainerInspectResponse,
) -> Result<Work, Unprepared> {
    let engine = here.engine;
    Ok(match &command.action {
        Action::Restart {
            container, grace, ..
        } => Work::Restart {
            container: container.clone(),
            grace: *grace,
        },
        Action::RemoveReplica {
            container, grace, ..
        } => Work::Remove {
            container: container.clone(),
            grace: *grace,
        },
        Action::UpdateLimits {
            container,
            name,
            limits: wanted,
        } => {
            if let Some(memory) = wanted.memory {
                above_use(engine, container, name, memory).await?;
            }
            resized(found, container, wanted)
        }
        Action::Recreate {
            container,
            name,
            grace,
            image,
        } => {
            let new = recreated(engine, found, command, name, image.as_ref()).await?;
            Work::Recreate(Box::new(Recreation {
                old: container.clone(),
                grace: *grace,
                new,
            }))
        }
        Action::PullImage { reference, .. } => Work::Pull(Pull {
            reference: reference.clone(),
            auth_file: here.auth_file.map(ToOwned::to_owned),
        }),
        Action::Stop {
            container, grace, ..
        } => stopped(command, found, container, *grace)?,
        Action::CreateReplica { name, image, .. } => {
            let source = source(engine, found, command, image.as_ref()).await?;
            let replica = replica::replica(found, source, name, command)?;
            Work::Create(Box::new(replica))
        }
        Action::Export { .. } => Work::Tell {
            sealed: moving::export(here, found, command).await?,
        },
        Action::Isolate { .. } => Work::Isolate(isolate::isolation(here, found, command).await?),
        Action::Rejoin {
            container,
            networks,
            ..
        } => Work::Rejoin(isolate::return_of(found, container, networks)?),
    })
}

fn resized(found: &ContainerInspectResponse, container: &ContainerId, wanted: &Limits) -> Work {
    Work::Update {
        container: container.clone(),
        body: Box::new(limits::update(found, wanted)),
        previous: limits::of(found),
    }
}

fn stopped(
    command: &Command,
    found: &ContainerInspectResponse,
    container: &ContainerId,
    grace: Duration,
) -> Result<Work, Refused> {
    // What moves has a successor; everything else is to be started again.
    if command.relocation.is_none() {
        kept(found)?;
    }
    Ok(Work::Stop {
        container: container.clone(),
        grace,
        first: kept_stopped(found).map(Box::new),
    })
}

/// What keeps a stopped container stopped when its engine starts anew: of one that is always to run the engine would make one that
/// runs again. The policy it gets differs in nothing else.
pub(crate) fn kept_stopped(found: &ContainerInspectResponse) -> Option<ContainerUpdateBody> {
    let host = found.host_config.as_ref();
    let policy = host.and_then(|host| host.restart_policy.as_ref());
    let is_always = policy.and_then(|it| it.name) == Some(RestartPolicyNameEnum::ALWAYS);
    is_always.then(|| ContainerUpdateBody {
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        }),
        ..ContainerUpdateBody::default()
    })
}

/// One that its engine removes as it ends could never be started again.
fn kept(found: &ContainerInspectResponse) -> Result<(), Refused> {
    if is_kept(found) {
        return Ok(());
    }
    let name = guard::name_of(found);
    let reason = format!("{name} would be gone once stopped; start it without --rm");
    Err(Refused::new(Refusal::Unsafe, reason))
}

/// Whether its engine keeps it when it ends.
pub(crate) fn is_kept(found: &ContainerInspectResponse) -> bool {
    let host = found.host_config.as_ref();
    host.and_then(|host| host.auto_remove) != Some(true)
}

/// The container once more, of its own image or another.
async fn recreated(
    engine: &Engine,
    found: &ContainerInspectResponse,
    command: &Command,
    name: &ContainerName,
    change: Option<&ImageChange>,
) -> Result<Replica, Unprepared> {
    let refused = |reason: String| Unprepared::from(Refused::new(Refusal::Unsafe, reason));
    let called = guard::name_of(found);
    if called != *name {
        return Err(refused(format!("it is called {called} by now, not {name}")));
    }
    let sharers = engine.sharers(command.action.target(), name).await?;
    if !sharers.is_empty() {
        let sharers = sharers.join(" and ");
        return Err(refused(format!(
            "{name} cannot be recreated: {sharers} shares its network, and would be left without any"
        )));
    }
    let runs = found.image.as_deref().unwrap_or_default();
    // To put it back takes its image.
    image_by_id(engine, name, runs).await?;
    let source = source(engine, found, command, change).await?;
    Ok(anew(found, source, name, command)?)
}

/// What the new container is made from: the image of the one before, or another that the command names.
async fn source(
    engine: &Engine,
    found: &ContainerInspectResponse,
    command: &Command,
    change: Option<&ImageChange>,
) -> Result<Source, Unprepared> {
    let Some(change) = change else {
        let image = image(engine, found).await?;
        return Ok(Source { image, given: None });
    };
    let name = guard::name_of(found);
    let runs = found.image.as_deref().unwrap_or_default();
    let ImageChange { from, to } = change;
    if runs != from.id {
        let reason = format!(
            "{name} runs {runs} by now, not {}: somebody else was there first",
            from.id
        );
        return Err(Refused::new(Refusal::Unsafe, reason).into());
    }
    let own = image_by_id(engine, &name, runs).await?;
    let other = image_by_id(engine, &name, &to.id).await?;
    // A person's order names the image outright; nobody else may put another program in a container's place.
    if !command
        .update
        .as_ref()
        .is_some_and(|it| is_ordered(it, change))
    {
        same_repository(found, &other)?;
    }
    Ok(Source {
        image: named(engine, &to.reference, &to.id).await?,
        given: Some(own.config.unwrap_or_default()),
    })
}

/// Whether this is a step to the image that was ordered, or one back from it.
fn is_ordered(update: &Update, change: &ImageChange) -> bool {
    let is_it = |image: &Image| [&image.reference, &image.id].contains(&&update.image);
    is_it(&change.to) || is_it(&change.from)
}

pub(crate) async fn image_by_id(
    engine: &Engine,
    name: &ContainerName,
    id: &str,
) -> Result<ImageInspect, Unprepared> {
    match engine.image(id).await {
        Err(error) if error.is_missing() => {
            let reason = format!("{name} cannot be made anew: its node has no image {id} any more");
            Err(Refused::new(Refusal::Unsafe, reason).into())
        }
        answer => Ok(answer?),
    }
}

/// On cgroup v2 the kernel kills what is above its new limit, so the engine is not relied on to refuse.
async fn above_use(
    engine: &Engine,
    container: &ContainerId,
    name: &ContainerName,
    memory: Bytes,
) -> Result<(), Unprepared> {
    let used = engine.memory_in_use(container).await?;
    if memory >= used {
        return Ok(());
    }
    let reason = format!("{name} uses {used}, more than the {memory} it would get");
    Err(Refused::new(Refusal::BelowUse, reason).into())
}

/// The reference people know, as long as it still means the template's image; else that image by its id.
async fn image(
    engine: &Engine,
    template: &ContainerInspectResponse,
) -> Result<String, EngineError> {
    let Some(image) = replica::image_of(template) else {
        return Ok(String::new());
    };
    named(engine, &image.reference, &image.id).await
}

/// The reference, as long as it means this image; else the image's id.
pub(crate) async fn named(
    engine: &Engine,
    reference: &str,
    id: &str,
) -> Result<String, EngineError> {
    if reference.is_empty() {
        return Ok(id.to_owned());
    }
    match engine.image(reference).await {
        Ok(image) if image.id.as_deref() == Some(id) => Ok(reference.to_owned()),
        Ok(_) => Ok(id.to_owned()),
        Err(error) if error.is_missing() => Ok(id.to_owned()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::HostConfig;
    use units::{ServiceId, Timestamp, UpdateId};

    use super::*;

    #[test]
    fn what_would_be_gone_once_stopped_is_not_stopped() {
        let of = |auto_remove| ContainerInspectResponse {
            host_config: Some(HostConfig {
                auto_remove,
                ..HostConfig::default()
            }),
            ..ContainerInspectResponse::default()
        };
        for stays in [None, Some(false)] {
            assert_eq!(kept(&of(stays)), Ok(()));
        }
        assert!(kept(&of(Some(true))).unwrap_err().reason.contains("--rm"));
    }

    #[test]
    fn an_order_covers_the_steps_to_its_image_and_back_and_no_others() {
        let image = |reference: &str, id: &str| Image {
            reference: reference.to_owned(),
            id: id.to_owned(),
        };
        let update = |image: &str| Update {
            id: UpdateId::from("web-1"),
            service: ServiceId::from("web"),
            image: image.to_owned(),
            at: Timestamp::EPOCH,
            by: None,
        };
        let (old, new) = (image("web:1", "sha256:1"), image("shop:2", "sha256:2"));
        let there = ImageChange {
            from: old.clone(),
            to: new.clone(),
        };
        let back = ImageChange { from: new, to: old };
        for change in [&there, &back] {
            assert!(is_ordered(&update("shop:2"), change));
            assert!(is_ordered(&update("sha256:2"), change));
            assert!(!is_ordered(&update("shop:3"), change));
        }
    }
}
