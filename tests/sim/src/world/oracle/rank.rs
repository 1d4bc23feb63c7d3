//! Who goes for whom.

use units::Command;

use crate::world::World;
use crate::world::options::Invariant;

impl World {
    /// What goes for another service is less important than all that runs of that.
    pub(super) fn against_ranks(
        &self,
        at: usize,
        command: &Command,
    ) -> Option<(Invariant, String)> {
        let known = self.oracle.plans.get(&command.plan)?;
        let room = known.entry.plan.preemption.as_ref()?;
        let goes = self.nodes[at].containers.get(command.action.target())?;
        let all = self.nodes.iter().flat_map(|it| it.containers.values());
        let gets = all.filter(|it| self.services[it.service].id == room.service);
        let least = gets.map(|it| it.policy.priority).min();
        let is_less = least.is_none_or(|least| goes.policy.priority < least);
        (!is_less).then(|| {
            let what = format!(
                "{} of priority {} goes for {}",
                goes.name, goes.policy.priority, room.service
            );
            (Invariant::Capacity, what)
        })
    }
}
