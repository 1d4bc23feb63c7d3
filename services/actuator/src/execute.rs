//! Carrying out one action that was checked and written down. There is nothing left to decide here.

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerUpdateBody};
use units::{CommandId, ContainerId, Limits, OutcomeResult, Timestamp};

use crate::engine::{Engine, EngineError, WRITE_WITHIN};
use crate::isolate::{self, Networks};
use crate::ledger::Before;
use crate::moving::{self, Successor};
use crate::pull::{self, Pull};
use crate::recreate::{self, Recreation};
use crate::replica::Replica;

/// How often the engine is asked while something is under way.
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// How long the engine may take to finish what it has accepted.
pub(crate) const SETTLES_WITHIN: Duration = WRITE_WITHIN;

/// One action with everything the engine is to be told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    Restart {
        container: ContainerId,
        grace: Duration,
    },
    Update {
        container: ContainerId,
        body: Box<ContainerUpdateBody>,
        previous: Limits,
    },
    Create(Box<Replica>),
    Recreate(Box<Recreation>),
    Remove {
        container: ContainerId,
        grace: Duration,
    },
    Pull(Pull),
    Stop {
        container: ContainerId,
        grace: Duration,
        /// What keeps it stopped, where its restart policy would not.
        first: Option<Box<ContainerUpdateBody>>,
    },
    /// Nothing is left to do but to tell it.
    Tell {
        sealed: String,
    },
    Succeed(Box<Successor>),
    Isolate(Networks),
    Rejoin(Networks),
}

impl Work {
    /// What is changed, as it was.
    pub(crate) fn before(&self) -> Before {
        match self {
            Work::Update { previous, .. } => Before {
                previous: Some(*previous),
                ..Before::default()
            },
            Work::Isolate(isolation) => Before {
                networks: isolation.networks.clone(),
                ..Before::default()
            },
            Work::Restart { .. }
            | Work::Create(_)
            | Work::Recreate(_)
            | Work::Remove { .. }
            | Work::Pull(_)
            | Work::Stop { .. }
            | Work::Tell { .. }
            | Work::Succeed(_)
            | Work::Rejoin(_) => Before::default(),
        }
    }
}

/// What came of asking the engine.
#[derive(Debug)]
pub(crate) enum Done {
    /// This.
    Certain(OutcomeResult),
    /// The answer was lost: what happened has to be found out.
    Doubtful(EngineError),
}

/// Asks the engine. Nothing is begun after `deadline`; what was begun gets the time it needs, within the engine's bounds.
pub(crate) async fn carry_out(engine: &Engine, work: &Work, deadline: Timestamp) -> Done {
    match work {
        Work::Restart { container, grace } => {
            let answer = engine.restart(container, *grace).await;
            judge(engine, container, answer, succeeded()).await
        }
        Work::Update {
            container,
            body,
            previous,
        } => {
            let answer = engine.update(container, body).await;
            let result = OutcomeResult::Succeeded {
                networks: Vec::new(),
                sealed: None,
                created: None,
                previous: Some(*previous),
                image: None,
            };
            judge(engine, container, answer, result).await
        }
        Work::Create(replica) => create(engine, replica, deadline).await,
        Work::Recreate(recreation) => recreate::carry_out(engine, recreation, deadline).await,
        Work::Remove { container, grace } => remove(engine, container, *grace).await,
        Work::Pull(pull) => pull::carry_out(engine, pull).await,
        Work::Stop {
            container,
            grace,
            first,
        } => {
            if let Some(body) = first
                && let answer @ Err(_) = engine.update(container, body).await
            {
                return judge(engine, container, answer, succeeded()).await;
            }
            let answer = engine.stop(container, *grace).await;
            judge(engine, container, answer, succeeded()).await
        }
        Work::Tell { sealed } => Done::Certain(OutcomeResult::Succeeded {
            networks: Vec::new(),
            sealed: Some(sealed.clone()),
            created: None,
            previous: None,
            image: None,
        }),
        Work::Succeed(successor) => moving::create(engine, successor, deadline).await,
        Work::Isolate(networks) => isolate::isolate(engine, networks).await,
        Work::Rejoin(networks) => isolate::rejoin(engine, networks).await,
    }
}

pub(crate) const fn succeeded() -> OutcomeResult {
    OutcomeResult::Succeeded {
        networks: Vec::new(),
        sealed: None,
        created: None,
        previous: None,
        image: None,
    }
}

pub(crate) fn failed(error: impl std::fmt::Display) -> OutcomeResult {
    OutcomeResult::Failed {
        error: error.to_string(),
    }
}

/// The engine's answer about a container that may have vanished meanwhile: some refusals are worded like any other
/// failure, so it is asked again whether the container is there.
async fn judge(
    engine: &Engine,
    container: &ContainerId,
    answer: Result<(), EngineError>,
    result: OutcomeResult,
) -> Done {
    match answer {
        Ok(()) => Done::Certain(result),
        Err(error) if error.leaves_doubt() => Done::Doubtful(error),
        Err(error) if error.is_missing() => Done::Certain(OutcomeResult::Vanished),
        Err(error) => match presence(engine, container).await {
            Ok(Presence::Gone | Presence::Going) => Done::Certain(OutcomeResult::Vanished),
            Ok(Presence::There(_)) | Err(_) => Done::Certain(failed(error)),
        },
    }
}

/// Whether a container is there.
pub(crate) enum Presence {
    There(Box<ContainerInspectResponse>),
    /// It is being removed.
    Going,
    Gone,
}

pub(crate) async fn presence(
    engine: &Engine,
    container: &ContainerId,
) -> Result<Presence, EngineError> {
    match engine.inspect(container).await {
        Ok(found) if is_going(&found) => Ok(Presence::Going),
        Ok(found) => Ok(Presence::There(Box::new(found))),
        Err(error) if error.is_missing() => Ok(Presence::Gone),
        Err(error) => Err(error),
    }
}

fn is_going(container: &ContainerInspectResponse) -> bool {
    let status = container.state.as_ref().and_then(|state| state.status);
    matches!(
        status,
        Some(ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::DEAD)
    )
}

async fn remove(engine: &Engine, container: &ContainerId, grace: Duration) -> Done {
    // Stopped first, so that it gets its grace; removing it by force would kill it.
    match engine.stop(container, grace).await {
        Ok(()) => {}
        answer @ Err(_) => return judge(engine, container, answer, succeeded()).await,
    }
    match engine.remove(container).await {
        Ok(()) => Done::Certain(succeeded()),
        // It had the engine's own auto-remove: stopping it was enough.
        Err(error) if error.is_missing() => Done::Certain(succeeded()),
        Err(error) if error.is_conflict() => match until_gone(engine, container).await {
            true => Done::Certain(succeeded()),
            false => Done::Certain(failed(error)),
        },
        Err(error) if error.leaves_doubt() => Done::Doubtful(error),
        Err(error) => Done::Certain(failed(error)),
    }
}

pub(crate) async fn until_gone(engine: &Engine, container: &ContainerId) -> bool {
    let gone = async {
        while !matches!(presence(engine, container).await, Ok(Presence::Gone)) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(SETTLES_WITHIN, gone).await.is_ok()
}

/// Makes a replica and starts it.
pub(crate) async fn create(engine: &Engine, replica: &Replica, deadline: Timestamp) -> Done {
    let name = &replica.name;
    let made = match engine.create(name, &replica.body).await {
        Ok(made) => made,
        Err(error) if error.leaves_doubt() => return Done::Doubtful(error),
        Err(error) if error.is_conflict() => {
            let error = format!(
                "cannot create {name}: the name may be taken, remove or rename what has it ({error})"
            );
            return Done::Certain(OutcomeResult::Failed { error });
        }
        Err(error) => return Done::Certain(failed(format_args!("cannot create {name}: {error}"))),
    };
    match bring_up(engine, replica, &made, deadline).await {
        Ok(()) => Done::Certain(OutcomeResult::Succeeded {
            networks: Vec::new(),
            sealed: None,
            created: Some(made),
            previous: None,
            image: None,
        }),
        Err(NotUp::Doubtful(error)) => Done::Doubtful(error),
        Err(NotUp::Vanished) => Done::Certain(OutcomeResult::Vanished),
        Err(NotUp::Failed(reason)) => {
            let left = clean_up(engine, &made).await;
            Done::Certain(failed(format_args!("{reason}; {left}")))
        }
    }
}

/// Why a container that was made does not run.
pub(crate) enum NotUp {
    Vanished,
    Failed(String),
    Doubtful(EngineError),
}

/// A refusal, told apart from an answer that was lost.
pub(crate) fn sort(error: EngineError, what: String) -> NotUp {
    if error.leaves_doubt() {
        NotUp::Doubtful(error)
    } else {
        NotUp::Failed(format!("cannot {what}: {error}"))
    }
}

/// Connects it to the networks it was not created in.
pub(crate) async fn connect(
    engine: &Engine,
    replica: &Replica,
    made: &ContainerId,
) -> Result<(), NotUp> {
    let name = &replica.name;
    for (network, endpoint) in &replica.further_networks {
        let connected = engine.connect(made, network, endpoint).await;
        connected.map_err(|error| sort(error, format!("connect {name} to {network}")))?;
    }
    Ok(())
}

/// Connects, starts and waits until the container runs.
async fn bring_up(
    engine: &Engine,
    replica: &Replica,
    made: &ContainerId,
    deadline: Timestamp,
) -> Result<(), NotUp> {
    let name = &replica.name;
    connect(engine, replica, made).await?;
    if kit::now() > deadline {
        return Err(NotUp::Failed(format!(
            "the deadline passed before {name} could be started"
        )));
    }
    match engine.start(made).await {
        Ok(()) => {}
        Err(error) if error.is_missing() && gone(engine, made).await => {
            return Err(NotUp::Vanished);
        }
        Err(error) => return Err(sort(error, format!("start {name}"))),
    }
    let running = tokio::time::timeout(SETTLES_WITHIN, until_running(engine, replica, made));
    running.await.unwrap_or_else(|_| {
        let waited_s = SETTLES_WITHIN.as_secs();
        Err(NotUp::Failed(format!(
            "{name} did not come to run within {waited_s} s"
        )))
    })
}

async fn gone(engine: &Engine, container: &ContainerId) -> bool {
    matches!(
        presence(engine, container).await,
        Ok(Presence::Gone | Presence::Going)
    )
}

async fn until_running(
    engine: &Engine,
    replica: &Replica,
    made: &ContainerId,
) -> Result<(), NotUp> {
    let name = &replica.name;
    loop {
        let found = match presence(engine, made).await.map_err(NotUp::Doubtful)? {
            Presence::There(found) => found,
            Presence::Gone | Presence::Going => return Err(NotUp::Vanished),
        };
        let state = found.state.unwrap_or_default();
        match state.status {
            Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::PAUSED) => {
                return Ok(());
            }
            Some(ContainerStateStatusEnum::EXITED) => {
                let code = state.exit_code.unwrap_or_default();
                return Err(NotUp::Failed(format!(
                    "{name} ended at once with exit code {code}"
                )));
            }
            // Not there yet, or in the hands of its restart policy. The engine's type is not ours, and grows.
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// Removes what could not be brought up, and says whether that worked.
async fn clean_up(engine: &Engine, made: &ContainerId) -> String {
    match engine.remove(made).await {
        Ok(()) => "it was removed again".to_owned(),
        Err(error) if error.is_missing() => "it was removed again".to_owned(),
        Err(error) => format!("{} is left behind: {error}", made.short()),
    }
}

/// Removes what a command made and never started. Says whether there was any.
pub(crate) async fn abandon(engine: &Engine, command: &CommandId) -> Result<bool, EngineError> {
    let mut found = false;
    for made in engine.made_by(command).await? {
        let Presence::There(container) = presence(engine, &made).await? else {
            continue;
        };
        let status = container.state.and_then(|state| state.status);
        if status == Some(ContainerStateStatusEnum::CREATED) {
            engine.remove(&made).await?;
            found = true;
        }
    }
    Ok(found)
}
