//! Having a container give up its name before a command takes it away.
//!
//! Who asks for the name is told of others from then on, and who was told of this one is served until the time for that is over. Where no
//! command follows, the keeper gives the name back.

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, EndpointSettings};
use tokio::time::Instant;
use units::{Action, Command, ContainerId, LABEL_DNS, Mode, NetworkAlias, Timestamp};

use super::events::{Change, NameChanged};
use super::place::{Managed, Owed, Stage, Stand, asked, at_its_address, has_name, places, steps};
use super::{NameError, Names};
use crate::engine::{Engine, EngineError};
use crate::prepare::{Here, Unprepared, prepare};

/// What is left of a command's time for it to begin in.
const BEGINS_WITHIN: Duration = Duration::from_secs(3);

/// A container that is about to be taken away, as the engine told it.
pub(crate) struct Parting {
    container: ContainerId,
    found: ContainerInspectResponse,
    alias: NetworkAlias,
    deadline: Timestamp,
}

/// What came of giving a name up.
#[derive(Debug, Default)]
pub(crate) struct Parted {
    /// Until when those are served who were told of the container.
    pub(crate) serves_until: Option<Instant>,
    /// Where it kept its name, and why.
    pub(crate) notes: Vec<String>,
}

/// What a command takes its name from, if from anything. Whatever refuses the command does so here, before anything is done.
///
/// # Errors
/// A refusal, or what the engine said.
pub(crate) async fn parting(
    here: &Here<'_>,
    command: &Command,
) -> Result<Option<Parting>, Unprepared> {
    // Below that nobody would give the name back: what was approved is the action alone.
    if !takes_away(&command.action) || here.ceiling < Mode::Act {
        return Ok(None);
    }
    let container = command.action.target();
    let found = here.engine.inspect(container).await?;
    let Managed::As(alias) = Managed::of(&found) else {
        return Ok(None);
    };
    if !matches!(Stand::of(&found), Stand::Serves | Stand::Sick) {
        return Ok(None);
    }
    prepare(here, command).await?;
    Ok(Some(Parting {
        container: container.clone(),
        found,
        alias,
        deadline: command.deadline,
    }))
}

/// Whether a container does not serve while the action is done, or after it. One that is isolated leaves its networks anyhow.
fn takes_away(action: &Action) -> bool {
    match action {
        Action::Restart { .. }
        | Action::Recreate { .. }
        | Action::Stop { .. }
        | Action::RemoveReplica { .. } => true,
        Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::PullImage { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => false,
    }
}

impl Names {
    /// Has the container give up its name in every network where another has it.
    ///
    /// # Errors
    /// When the engine or the ledger could not do it; the keeper puts right what is half done.
    pub(crate) async fn give_up(
        &self,
        engine: &Engine,
        parting: &Parting,
    ) -> Result<Parted, NameError> {
        let Parting {
            container,
            found,
            alias,
            deadline,
        } = parting;
        let mut parted = Parted::default();
        let serves = Stand::of(found) == Stand::Serves;
        let _turn = self.leaving.lock().await;
        for (network, endpoint) in places(found) {
            if !has_name(endpoint, alias) {
                continue;
            }
            if !another_has(engine, container, network, alias).await? {
                let note = format!("it kept its name {alias} in {network}, where no other has it");
                parted.notes.push(note);
                continue;
            }
            let asked = asked(found, endpoint, alias);
            // What is sick answers nobody whose connection is to be kept.
            let at = match serves {
                false => asked.clone(),
                true => match kept(engine, container, network, &asked, endpoint).await? {
                    Some(at) => at,
                    None => {
                        parted.notes.push(format!(
                            "it kept its name {alias} in {network}, where its connections would have been cut: give the network a subnet (ipam.config in compose)"
                        ));
                        continue;
                    }
                },
            };
            self.swap(engine, container, network, asked, &at).await?;
            if serves {
                let left = deadline.since(kit::now()).saturating_sub(BEGINS_WITHIN);
                parted.serves_until = Some(Instant::now() + left.min(self.drain));
            }
        }
        Ok(parted)
    }

    /// Gives it its name back, where nothing comes of its command and nobody keeps names any more.
    pub(crate) async fn take_back(&self, engine: &Engine, parting: &Parting) {
        let container = &parting.container;
        let Ok(found) = engine.inspect(container).await else {
            return;
        };
        for (network, step) in steps(&found, &parting.alias, &self.owed_to(container)) {
            // There is nobody to try it again; the next start does.
            let _ = self.take(engine, container, &network, &step).await;
        }
    }

    async fn swap(
        &self,
        engine: &Engine,
        container: &ContainerId,
        network: &str,
        asked: EndpointSettings,
        at: &EndpointSettings,
    ) -> Result<(), NameError> {
        let debt = |stage| Owed {
            asked: asked.clone(),
            stage,
        };
        self.owe(container, network, debt(Stage::Between)).await?;
        engine.disconnect(container, network).await?;
        match engine.connect(container, network, at).await {
            // Somebody else got the address, or the engine would not give it after all.
            Err(error) if !error.leaves_doubt() => {
                engine.connect(container, network, &asked).await?;
            }
            other => other?,
        }
        self.owe(container, network, debt(Stage::Nameless)).await?;
        NameChanged {
            container,
            network,
            change: Change::GivenUp,
        }
        .emit();
        Ok(())
    }
}

/// The place at the address it has, where the engine gives that. It says so of a place that is taken, by this very container: then
/// nothing is changed.
async fn kept(
    engine: &Engine,
    container: &ContainerId,
    network: &str,
    asked: &EndpointSettings,
    endpoint: &EndpointSettings,
) -> Result<Option<EndpointSettings>, EngineError> {
    let Some(at) = at_its_address(asked, endpoint) else {
        return Ok(None);
    };
    match engine.connect(container, network, &at).await {
        Err(EngineError::Said { status: 403, .. }) => Ok(Some(at)),
        Err(error) if error.leaves_doubt() => Err(error),
        Err(_) | Ok(()) => Ok(None),
    }
}

/// Whether another container of this engine that serves has the name there.
async fn another_has(
    engine: &Engine,
    container: &ContainerId,
    network: &str,
    alias: &NetworkAlias,
) -> Result<bool, EngineError> {
    for other in engine.labelled(LABEL_DNS).await? {
        let id = ContainerId::from(other.id.as_deref().unwrap_or_default());
        let is_in = || {
            let settings = other.network_settings.as_ref()?;
            settings.networks.as_ref()?.get(network)
        };
        if id == *container || is_in().is_none() {
            continue;
        }
        let found = match engine.inspect(&id).await {
            Ok(found) => found,
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error),
        };
        let its = places(&found);
        let has = its.get(network).is_some_and(|it| has_name(it, alias));
        if has && Stand::of(&found) == Stand::Serves {
            return Ok(true);
        }
    }
    Ok(false)
}
