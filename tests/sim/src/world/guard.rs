//! What a modelled actuator refuses.

use units::{Action, Command, ContainerState, Mode, OutcomeResult, Refusal};

use super::container::Container;
use super::orders::is_willing;

/// What the labels and the state of a container allow, as the engine shows them now.
pub(super) fn guard(command: &Command, container: &Container) -> Result<(), Box<OutcomeResult>> {
    let action = &command.action;
    let is_move = command.relocation.is_some();
    let no = |refusal, why: &str| Err(Box::new(refused(refusal, why)));
    if matches!(action, Action::RemoveReplica { .. }) && container.replica_of.is_none() {
        return no(Refusal::NotOurs, "it was not made by Homeostat");
    }
    let scale = container.policy.scale.as_ref();
    let may_rest = scale.is_some_and(|scale| scale.min == 0);
    let allowed = match action {
        _ if is_move => container.policy.movable,
        Action::Restart { .. } if container.state == ContainerState::Exited && may_rest => true,
        Action::Restart { .. } if container.is_fenced() => true,
        Action::Restart { .. } => container.policy.heal,
        Action::Stop { .. } => may_rest,
        Action::Recreate { .. } => container.policy.recreate,
        Action::UpdateLimits { limits, .. } => {
            let allowed = container.policy.limits;
            let cpu = allowed.and_then(|it| it.cpu);
            let memory = allowed.and_then(|it| it.memory);
            limits
                .cpu
                .is_none_or(|it| cpu.is_some_and(|range| range.contains(it)))
                && limits
                    .memory
                    .is_none_or(|it| memory.is_some_and(|range| range.contains(it)))
        }
        Action::CreateReplica { .. } | Action::RemoveReplica { .. } => {
            container.policy.scale.is_some()
        }
        Action::PullImage { .. } => container.policy.update,
        Action::Export { .. } => container.policy.movable,
        Action::Isolate { .. } | Action::Rejoin { .. } => container.policy.recreate,
    };
    let allowed = match command.update {
        Some(_) => is_willing(container),
        None => container.policy.mode == Mode::Act && allowed,
    };
    if !allowed {
        return no(Refusal::NotOptedIn, "its labels do not allow it");
    }
    if container.state == ContainerState::Paused {
        return no(Refusal::NotOptedIn, "it is paused by a person");
    }
    if let Action::UpdateLimits { limits, .. } = action
        && let (Some(limit), Some(held)) = (limits.memory, container.held())
        && limit < held
    {
        return no(Refusal::BelowUse, "it holds more than that");
    }
    Ok(())
}

pub(super) fn refused(refusal: Refusal, reason: &str) -> OutcomeResult {
    OutcomeResult::Refused {
        refusal,
        reason: reason.to_owned(),
    }
}
