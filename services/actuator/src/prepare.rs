//! From a command to what the engine will be told, with every check on the way. Only reads.

use bollard::models::ContainerInspectResponse;
use units::{Action, Bytes, Command, ContainerId, ContainerName, Mode, Refusal};

use crate::engine::{Engine, EngineError};
use crate::execute::Work;
use crate::guard::{self, Consent, Refused};
use crate::{limits, replica};

/// Why there is no work.
pub(crate) enum Unprepared {
    /// It must not be done.
    Refused(Refused),
    /// The engine could not be asked, or what it was asked about is not there.
    Engine(EngineError),
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
pub(crate) async fn prepare(
    engine: &Engine,
    ceiling: Mode,
    command: &Command,
) -> Result<Work, Unprepared> {
    let found = engine.inspect(command.action.target()).await?;
    guard::check(&command.action, &found, ceiling, Consent::of(command))?;
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
            Work::Update {
                container: container.clone(),
                body: Box::new(limits::update(&found, wanted)),
                previous: limits::of(&found),
            }
        }
        Action::CreateReplica { name, .. } => {
            let image = image(engine, &found).await?;
            let replica = replica::replica(&found, image, name, command)?;
            Work::Create(Box::new(replica))
        }
    })
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
    match engine.image_id(&image.reference).await {
        Ok(Some(id)) if id == image.id => Ok(image.reference),
        Ok(_) => Ok(image.id),
        Err(error) if error.is_missing() => Ok(image.id),
        Err(error) => Err(error),
    }
}
