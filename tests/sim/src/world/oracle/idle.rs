//! What comes down to none, and what is started again, held against what was told and who stopped it.

use std::time::Duration;

use units::{Action, Command, ContainerState, Timestamp};

use super::{PLAY, UNKNOWABLE};
use crate::world::World;
use crate::world::container::Container;
use crate::world::options::Invariant;

/// A reading this old may be the newest that a leader has read, and act on.
const READ_WITHIN: Duration = Duration::from_secs(64);
/// A clock that was set forward by less than this looks like time that has passed without a page being read.
const GAP: Duration = Duration::from_secs(90);

impl World {
    /// Whether a service is stopped while somebody asks for it, or beside others; and whether something is started that people stopped.
    pub(super) fn against_idleness(
        &self,
        at: usize,
        command: &Command,
    ) -> Vec<(Invariant, String)> {
        let mut found = Vec::new();
        // What moves is judged as that.
        if command.relocation.is_some() {
            return found;
        }
        let known_at = command.issued_at - UNKNOWABLE;
        let target = command.action.target();
        let Some(container) = self.nodes[at].containers.get(target) else {
            return found;
        };
        let is_start = self.oracle.plans.get(&command.plan).is_some_and(|known| {
            let is_restart = matches!(command.action, Action::Restart { .. });
            is_restart && known.entry.plan.cause.signals.is_empty()
        });
        let is_stop = matches!(command.action, Action::Stop { .. });
        if !is_start && !is_stop {
            return found;
        }
        let all = self.nodes.iter().flat_map(|node| node.containers.values());
        let others = all.filter(|it| it.service == container.service && it.id != *target);
        let beside = others.filter(|it| it.counts() && it.counts_since < known_at);
        let beside = beside.count();
        if beside > 0 {
            let what = format!("{} comes to {beside} others", command.id);
            found.push((Invariant::Capacity, what));
        }
        if is_start && self.is_theirs(container, known_at) {
            let what = format!(
                "{} starts {}, which was not stopped for being idle",
                command.id, container.name
            );
            found.push((Invariant::People, what));
        }
        if is_stop && let Some(told_at) = self.asked_for(container, command.issued_at) {
            let since = command.issued_at.since(told_at).as_secs();
            let what = format!("{} stops what was asked for {since} s ago", command.id);
            found.push((Invariant::Capacity, what));
        }
        found
    }

    /// It stands still for another reason than a stop of what is idle, and that could be known.
    fn is_theirs(&self, container: &Container, known_at: Timestamp) -> bool {
        container.state == ContainerState::Exited
            && !container.rests
            && !container.is_fenced()
            && container.ceased_at.is_some_and(|ceased| ceased < known_at)
    }

    /// When it was told that jobs wait, within the time in which none may.
    fn asked_for(&self, container: &Container, issued_at: Timestamp) -> Option<Timestamp> {
        let jobs = self.services[container.service].jobs.as_ref()?;
        let known = issued_at - READ_WITHIN;
        let told_at = jobs.told.iter().rev().find(|at| **at <= known).copied()?;
        let idle_after = self.options.promised.scale.idle_after;
        let is_set = |at: Timestamp| at + idle_after * 2 > issued_at;
        let stepped = self.nodes.iter().any(|node| is_set(node.clock_set_at));
        let play = match stepped {
            true => GAP + PLAY,
            false => PLAY,
        };
        (told_at + idle_after > issued_at + play).then_some(told_at)
    }
}
