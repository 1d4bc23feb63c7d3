//! Putting a new container in the place of another, so that whatever ends in between leaves one of the two under the name.
//!
//! The one before is renamed aside, the new one made under the name, then one is stopped and the other started; the one before is
//! removed last, once the new one has run for [`STEADY`]. Until then every way out leads back to it: it is started before it is given
//! its name again, so that a container under its own name is proof that nothing is left to be put right. Volumes are never removed.
//!
//! Both are found again after a crash: the one before by its id, the new one by the command in its labels.

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use tokio::time::Instant;
use units::{Action, Command, CommandId, ContainerId, ContainerName, OutcomeResult, Timestamp};

use crate::engine::{Engine, EngineError};
use crate::execute::{
    Done, NotUp, POLL, Presence, SETTLES_WITHIN, connect, failed, presence, sort, until_gone,
};
use crate::guard::name_of;
use crate::replica::Replica;

/// The new container must run for so long, without ending, before the one before is removed.
const STEADY: Duration = Duration::from_secs(3);

/// A container that takes another's place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recreation {
    pub(crate) old: ContainerId,
    pub(crate) grace: Duration,
    pub(crate) new: Replica,
}

/// What the one before is called meanwhile; compose does the same.
fn aside(old: &ContainerId, name: &ContainerName) -> ContainerName {
    ContainerName::new(format!("{}_{name}", old.short()))
}

/// Asks the engine. Once the one before is to be stopped, the deadline has been looked at for the last time.
pub(crate) async fn carry_out(engine: &Engine, work: &Recreation, deadline: Timestamp) -> Done {
    let Recreation { old, grace, new } = work;
    let name = &new.name;
    match engine.rename(old, &aside(old, name)).await {
        Ok(()) => {}
        Err(error) if error.leaves_doubt() => return Done::Doubtful(error),
        Err(error) if error.is_missing() => return Done::Certain(OutcomeResult::Vanished),
        Err(error) => {
            return Done::Certain(failed(format_args!("cannot rename {name}: {error}")));
        }
    }
    let made = match engine.create(name, &new.body).await {
        Ok(made) => made,
        Err(error) if error.leaves_doubt() => return Done::Doubtful(error),
        Err(error) => {
            let reason = format!("cannot create {name} anew: {error}");
            return undone(engine, old, name, None, &reason).await;
        }
    };
    let reason = match bring_up(engine, work, &made, deadline).await {
        Ok(()) => {
            return match conclude(engine, old, *grace, &made).await {
                Ok(result) => Done::Certain(result),
                Err(error) => Done::Doubtful(error),
            };
        }
        Err(NotUp::Doubtful(error)) => return Done::Doubtful(error),
        Err(NotUp::Vanished) => format!("the new {name} was removed by somebody"),
        Err(NotUp::Failed(reason)) => reason,
    };
    undone(engine, old, name, Some(&made), &reason).await
}

/// The new one in its networks and running, the one before stopped.
async fn bring_up(
    engine: &Engine,
    work: &Recreation,
    made: &ContainerId,
    deadline: Timestamp,
) -> Result<(), NotUp> {
    let Recreation { old, grace, new } = work;
    let name = &new.name;
    connect(engine, new, made).await?;
    if kit::now() > deadline {
        return Err(NotUp::Failed(format!(
            "the deadline passed before {name} could be replaced"
        )));
    }
    match engine.stop(old, *grace).await {
        Ok(()) => {}
        // Somebody removed it: the new one is all there is.
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(sort(error, format!("stop the {name} there was"))),
    }
    let started = engine.start(made).await;
    started.map_err(|error| sort(error, format!("start the new {name}")))?;
    until_steady(engine, made, name).await
}

/// Waits until it has run for long enough to count as running.
async fn until_steady(
    engine: &Engine,
    made: &ContainerId,
    name: &ContainerName,
) -> Result<(), NotUp> {
    let began = Instant::now();
    let mut running_since: Option<Instant> = None;
    loop {
        let found = match presence(engine, made).await.map_err(NotUp::Doubtful)? {
            Presence::There(found) => found,
            Presence::Gone | Presence::Going => return Err(NotUp::Vanished),
        };
        let restarts = found.restart_count.unwrap_or_default();
        let state = found.state.unwrap_or_default();
        let code = state.exit_code.unwrap_or_default();
        if restarts > 0 {
            return Err(NotUp::Failed(format!("the new {name} keeps ending")));
        }
        match state.status {
            Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::PAUSED) => {
                let since = *running_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= STEADY {
                    return Ok(());
                }
            }
            Some(
                ContainerStateStatusEnum::EXITED
                | ContainerStateStatusEnum::DEAD
                | ContainerStateStatusEnum::RESTARTING,
            ) => {
                let reason = format!("the new {name} ended at once with exit code {code}");
                return Err(NotUp::Failed(reason));
            }
            Some(ContainerStateStatusEnum::CREATED) if running_since.is_none() => {
                return Err(NotUp::Failed(format!("the new {name} was not started")));
            }
            // Not there yet. The engine's type is not ours, and grows.
            _ => {}
        }
        if began.elapsed() > SETTLES_WITHIN {
            let waited_s = SETTLES_WITHIN.as_secs();
            let reason = format!("the new {name} did not come to run within {waited_s} s");
            return Err(NotUp::Failed(reason));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The new one runs: the one before goes.
async fn conclude(
    engine: &Engine,
    old: &ContainerId,
    grace: Duration,
    made: &ContainerId,
) -> Result<OutcomeResult, EngineError> {
    let succeeded = OutcomeResult::Succeeded {
        networks: Vec::new(),
        sealed: None,
        created: Some(made.clone()),
        previous: None,
        image: None,
    };
    let Presence::There(found) = presence(engine, old).await? else {
        return Ok(succeeded);
    };
    if runs(&found)
        && let Err(error) = engine.stop(old, grace).await
        && error.leaves_doubt()
    {
        return Err(error);
    }
    let left = match engine.remove_without_volumes(old).await {
        Ok(()) => return Ok(succeeded),
        Err(error) if error.is_missing() => return Ok(succeeded),
        Err(error) if error.is_conflict() && until_gone(engine, old).await => return Ok(succeeded),
        Err(error) if error.leaves_doubt() => return Err(error),
        Err(error) => error,
    };
    Ok(failed(format_args!(
        "the new one runs, and {} is left behind, stopped: {left}; remove it",
        name_of(&found)
    )))
}

fn runs(container: &ContainerInspectResponse) -> bool {
    let status = container.state.as_ref().and_then(|state| state.status);
    matches!(
        status,
        Some(
            ContainerStateStatusEnum::RUNNING
                | ContainerStateStatusEnum::PAUSED
                | ContainerStateStatusEnum::RESTARTING
        )
    )
}

/// It did not work, and the one before is put back; in doubt when that cannot be told.
async fn undone(
    engine: &Engine,
    old: &ContainerId,
    name: &ContainerName,
    made: Option<&ContainerId>,
    reason: &str,
) -> Done {
    match put_back(engine, old, name, made).await {
        Ok(how) => Done::Certain(failed(format_args!("{reason}; {how}"))),
        Err(error) => Done::Doubtful(error),
    }
}

/// Removes the new one, starts the one before, and gives it its name, whatever of that is left to do. Says how that went: what the
/// engine refuses is for people.
///
/// # Errors
/// When the engine does not answer.
async fn put_back(
    engine: &Engine,
    old: &ContainerId,
    name: &ContainerName,
    made: Option<&ContainerId>,
) -> Result<String, EngineError> {
    let Presence::There(found) = presence(engine, old).await? else {
        return Ok("the one before was removed by somebody, and the new one is left".to_owned());
    };
    let mut wrong = Vec::new();
    if let Some(made) = made {
        match engine.remove_without_volumes(made).await {
            Ok(()) => {}
            Err(error) if error.is_missing() => {}
            Err(error) if error.is_conflict() && until_gone(engine, made).await => {}
            Err(error) => wrong.push(certain(error, "the new one is left behind")?),
        }
    }
    if !runs(&found)
        && let Err(error) = engine.start(old).await
    {
        wrong.push(certain(error, "the one before cannot be started")?);
    }
    if name_of(&found) != *name
        && let Err(error) = engine.rename(old, name).await
    {
        let what = format!("the one before is called {} now", name_of(&found));
        wrong.push(certain(error, &what)?);
    }
    Ok(match wrong.is_empty() {
        true => "the one before was put back".to_owned(),
        false => format!("it was not put back in full: {}", wrong.join("; ")),
    })
}

/// What the engine refused, in words; when it did not answer, that comes first.
fn certain(error: EngineError, what: &str) -> Result<String, EngineError> {
    match error.leaves_doubt() {
        true => Err(error),
        false => Ok(format!("{what} ({error})")),
    }
}

/// Whether the engine's state proves that it was done in full.
pub(crate) async fn proof(
    engine: &Engine,
    id: &CommandId,
    old: &ContainerId,
) -> Result<Option<OutcomeResult>, EngineError> {
    if !matches!(presence(engine, old).await?, Presence::Gone) {
        return Ok(None);
    }
    let Some((made, found)) = made_by(engine, id).await? else {
        return Ok(Some(OutcomeResult::Vanished));
    };
    let created = OutcomeResult::Succeeded {
        networks: Vec::new(),
        sealed: None,
        created: Some(made),
        previous: None,
        image: None,
    };
    Ok(runs(&found).then_some(created))
}

async fn made_by(
    engine: &Engine,
    id: &CommandId,
) -> Result<Option<(ContainerId, Box<ContainerInspectResponse>)>, EngineError> {
    for made in engine.made_by(id).await? {
        if let Presence::There(found) = presence(engine, &made).await? {
            return Ok(Some((made, found)));
        }
    }
    Ok(None)
}

/// Brings what was cut off in the middle to one of its two ends, and says which. Done again, it changes nothing.
///
/// # Errors
/// When the engine cannot be asked; then it is to be done again.
pub(crate) async fn recover(
    engine: &Engine,
    command: &Command,
) -> Result<OutcomeResult, EngineError> {
    let (old, name, grace) = match &command.action {
        Action::Recreate {
            container,
            name,
            grace,
            ..
        } => (container, name, *grace),
        Action::Restart { .. }
        | Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::RemoveReplica { .. }
        | Action::PullImage { .. }
        | Action::Stop { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => return Ok(OutcomeResult::Interrupted),
    };
    let before = match presence(engine, old).await? {
        Presence::There(found) => Some(found),
        Presence::Gone | Presence::Going => None,
    };
    let made = made_by(engine, &command.id).await?;
    let interrupted = format!("interrupted before the new {name} ran");
    match (before, made) {
        (None, None) => Ok(OutcomeResult::Vanished),
        (None, Some((made, found))) => {
            if !runs(&found)
                && let Err(error) = engine.start(&made).await
            {
                let what = format!("the new {name} is all that is left, and cannot be started");
                return Ok(failed(certain(error, &what)?));
            }
            Ok(OutcomeResult::Succeeded {
                networks: Vec::new(),
                sealed: None,
                created: Some(made),
                previous: None,
                image: None,
            })
        }
        (Some(before), None) if name_of(&before) == *name => Ok(OutcomeResult::Interrupted),
        (Some(_), None) => {
            let how = put_back(engine, old, name, None).await?;
            Ok(failed(format_args!("{interrupted}; {how}")))
        }
        (Some(_), Some((made, _))) => match until_steady(engine, &made, name).await {
            Ok(()) => conclude(engine, old, grace, &made).await,
            Err(NotUp::Doubtful(error)) => Err(error),
            Err(NotUp::Vanished | NotUp::Failed(_)) => {
                let how = put_back(engine, old, name, Some(&made)).await?;
                Ok(failed(format_args!("{interrupted}; {how}")))
            }
        },
    }
}
