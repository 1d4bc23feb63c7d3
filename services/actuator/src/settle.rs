//! Finding out from the engine what became of a command whose answer was lost, because the connection broke or because
//! this process ended in the middle. Nothing is ever run a second time to find out; what is left between two containers is brought to
//! one of them (`recreate`), and what is out of some of its networks is put back (`isolate`).

use std::time::Duration;

use units::{Action, Command, ContainerId, Limits, OutcomeResult, Timestamp};

use crate::engine::{Engine, EngineError, GRACE_MAX, WRITE_WITHIN};
use crate::execute::{Presence, abandon, presence, succeeded};
use crate::ledger::Before;
use crate::{isolate, limits, pull, recreate};

/// How often the engine is asked while it may still be at work.
const POLL: Duration = Duration::from_millis(500);
/// After a restart of this process, how long beyond a container's grace the engine may still be at work for the one before.
/// Short, because other commands wait meanwhile.
const FINISHES_WITHIN: Duration = Duration::from_secs(5);

/// Looks until the engine's state proves what happened, or for as long as the engine may still be at work on it.
pub(crate) async fn watch(
    engine: &Engine,
    command: &Command,
    began_at: Timestamp,
    before: &Before,
) -> OutcomeResult {
    let proof = async {
        loop {
            if let Ok(Some(result)) = look(engine, command, began_at, before).await {
                return result;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(grace_of(&command.action) + WRITE_WITHIN, proof).await {
        Ok(result) => result,
        Err(_) => give_up(engine, command, before)
            .await
            .unwrap_or(OutcomeResult::Interrupted),
    }
}

/// What became of a command that an earlier run of this process began. The engine may still be at work on it, which is
/// waited for.
///
/// # Errors
/// When the engine cannot be asked.
pub(crate) async fn after_restart(
    engine: &Engine,
    command: &Command,
    began_at: Timestamp,
    before: &Before,
) -> Result<OutcomeResult, EngineError> {
    let finished_by = began_at + grace_of(&command.action) + FINISHES_WITHIN;
    loop {
        if let Some(result) = look(engine, command, began_at, before).await? {
            return Ok(result);
        }
        if kit::now() > finished_by {
            return give_up(engine, command, before).await;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether an action that was cut off must be brought to one of its ends, because what is between them must not stay.
pub(crate) fn is_put_right(action: &Action) -> bool {
    match action {
        Action::Recreate { .. } | Action::Isolate { .. } => true,
        Action::Restart { .. }
        | Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::RemoveReplica { .. }
        | Action::PullImage { .. }
        | Action::Stop { .. }
        | Action::Export { .. }
        | Action::Rejoin { .. } => false,
    }
}

fn grace_of(action: &Action) -> Duration {
    match action {
        Action::Restart { grace, .. }
        | Action::Recreate { grace, .. }
        | Action::RemoveReplica { grace, .. }
        | Action::Stop { grace, .. } => (*grace).min(GRACE_MAX),
        Action::UpdateLimits { .. }
        | Action::CreateReplica { .. }
        | Action::PullImage { .. }
        | Action::Export { .. }
        | Action::Isolate { .. }
        | Action::Rejoin { .. } => Duration::ZERO,
    }
}

/// What the engine's state proves, if anything.
async fn look(
    engine: &Engine,
    command: &Command,
    began_at: Timestamp,
    before: &Before,
) -> Result<Option<OutcomeResult>, EngineError> {
    match &command.action {
        Action::Restart { container, .. } => restarted(engine, container, began_at).await,
        Action::Recreate { container, .. } => recreate::proof(engine, &command.id, container).await,
        Action::UpdateLimits {
            container, limits, ..
        } => updated(engine, container, limits, before.previous).await,
        Action::CreateReplica { .. } => created(engine, command).await,
        Action::RemoveReplica { container, .. } => {
            let gone = matches!(presence(engine, container).await?, Presence::Gone);
            Ok(gone.then(succeeded))
        }
        Action::PullImage { reference, .. } => pulled(engine, reference).await.map(Some),
        Action::Stop { container, .. } => stopped(engine, container).await,
        // What was told went with the answer, and may be asked for again: there is nothing to look for.
        Action::Export { .. } => Ok(Some(OutcomeResult::Interrupted)),
        Action::Isolate { container, .. } => isolate::is_out(engine, container, before).await,
        Action::Rejoin {
            container,
            networks,
            ..
        } => isolate::is_back(engine, container, networks).await,
    }
}

/// A pull ends with the connection it was asked for on, so that there is nothing to wait for; and it may be asked for again.
async fn pulled(engine: &Engine, reference: &str) -> Result<OutcomeResult, EngineError> {
    // What a tag means here may be what it meant before.
    let found = match pull::is_pinned(reference) {
        true => pull::at_hand(engine, reference).await?,
        false => None,
    };
    Ok(found.unwrap_or(OutcomeResult::Interrupted))
}

async fn stopped(
    engine: &Engine,
    container: &ContainerId,
) -> Result<Option<OutcomeResult>, EngineError> {
    match presence(engine, container).await? {
        Presence::There(found) => {
            let running = found.state.and_then(|state| state.running);
            Ok((running == Some(false)).then(succeeded))
        }
        Presence::Gone | Presence::Going => Ok(Some(OutcomeResult::Vanished)),
    }
}

async fn restarted(
    engine: &Engine,
    container: &ContainerId,
    began_at: Timestamp,
) -> Result<Option<OutcomeResult>, EngineError> {
    let found = match presence(engine, container).await? {
        Presence::There(found) => found,
        Presence::Gone | Presence::Going => return Ok(Some(OutcomeResult::Vanished)),
    };
    let state = found.state.unwrap_or_default();
    let started_at = state.started_at.as_deref().and_then(instant);
    let is_new = started_at.is_some_and(|started_at| started_at >= began_at);
    Ok((is_new && state.running == Some(true)).then(succeeded))
}

async fn updated(
    engine: &Engine,
    container: &ContainerId,
    wanted: &Limits,
    previous: Option<Limits>,
) -> Result<Option<OutcomeResult>, EngineError> {
    let found = match presence(engine, container).await? {
        Presence::There(found) => found,
        Presence::Gone | Presence::Going => return Ok(Some(OutcomeResult::Vanished)),
    };
    let has = limits::of(&found);
    let is_so = (wanted.cpu.is_none() || wanted.cpu == has.cpu)
        && (wanted.memory.is_none() || wanted.memory == has.memory);
    Ok(is_so.then_some(OutcomeResult::Succeeded {
        networks: Vec::new(),
        sealed: None,
        created: None,
        previous,
        image: None,
    }))
}

async fn created(engine: &Engine, command: &Command) -> Result<Option<OutcomeResult>, EngineError> {
    for made in engine.made_by(&command.id).await? {
        if let Presence::There(found) = presence(engine, &made).await?
            && found.state.and_then(|state| state.running) == Some(true)
        {
            return Ok(Some(OutcomeResult::Succeeded {
                networks: Vec::new(),
                sealed: None,
                created: Some(made),
                previous: None,
                image: None,
            }));
        }
    }
    Ok(None)
}

/// Nothing proves that it was done. A container made and never started would stand in the way of the next one.
async fn give_up(
    engine: &Engine,
    command: &Command,
    before: &Before,
) -> Result<OutcomeResult, EngineError> {
    if matches!(command.action, Action::Isolate { .. }) {
        return isolate::recover(engine, &command.action, before).await;
    }
    if is_put_right(&command.action) {
        return recreate::recover(engine, command).await;
    }
    let made_one = matches!(command.action, Action::CreateReplica { .. })
        && abandon(engine, &command.id).await?;
    Ok(match made_one {
        true => OutcomeResult::Failed {
            error: format!(
                "interrupted before {} was started, as the engine or this actuator ended in the middle; it was removed again",
                command.action.name()
            ),
        },
        false => OutcomeResult::Interrupted,
    })
}

fn instant(text: &str) -> Option<Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(instant.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_instants_are_read() {
        let read = instant("2026-11-23T11:00:00.123456789Z");
        assert_eq!(read, Some(Timestamp::from_millis(1_795_431_600_123)));
        assert!(instant("0001-01-01T00:00:00Z").is_some_and(|never| never < Timestamp::EPOCH));
        assert_eq!(instant("soon"), None);
    }
}
