//! What the judge holds changes of limits against.

use units::{Action, Command, Limits, Policy};

use super::World;
use super::options::Invariant;

/// The ranges of the label hold every limit that is to be set.
pub(super) fn are_within(limits: &Limits, policy: &Policy) -> bool {
    let ranges = policy.limits;
    let cpu = ranges.and_then(|it| it.cpu).zip(limits.cpu);
    let memory = ranges.and_then(|it| it.memory).zip(limits.memory);
    let named =
        cpu.is_some() == limits.cpu.is_some() && memory.is_some() == limits.memory.is_some();
    named
        && cpu.is_none_or(|(range, to)| range.min <= to && to <= range.max)
        && memory.is_none_or(|(range, to)| range.min <= to && to <= range.max)
}

impl World {
    /// No limit is set below what is in use: on the second version of control groups that kills.
    pub(super) fn against_use(&self, at: usize, command: &Command) -> Option<(Invariant, String)> {
        let Action::UpdateLimits { limits, .. } = &command.action else {
            return None;
        };
        let container = self.nodes[at].containers.get(command.action.target())?;
        let (to, held) = (limits.memory?, container.held()?);
        (to < held).then(|| {
            let name = &container.name;
            let what = format!("{} gives {name} {to}, and it holds {held}", command.id);
            (Invariant::Capacity, what)
        })
    }
}
