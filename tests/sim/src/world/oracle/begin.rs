//! What an engine is asked, held against what the design promises.

use units::{Action, Command, ContainerState, Mode, Timestamp};

use super::UNKNOWABLE;
use crate::world::World;
use crate::world::container::Container;
use crate::world::limits::are_within;
use crate::world::options::{Flaw, Invariant};
use crate::world::orders::is_willing;

impl World {
    /// An engine is about to be asked for something.
    pub(in crate::world) fn judge_begin(&mut self, at: usize, command: &Command, clock: Timestamp) {
        let now = self.now;
        let id = &command.id;
        self.note(|_| format!("begins {id} of generation {}", command.generation));
        self.oracle.commands += 1;
        let mut found: Vec<(Invariant, String)> = Vec::new();
        if !self.oracle.begun.insert(id.clone()) {
            found.push((Invariant::Once, format!("{id} is carried out twice")));
        }
        if clock > command.deadline {
            let late = clock.since(command.deadline).as_secs();
            found.push((
                Invariant::Once,
                format!("{id} begins {late} s past its deadline"),
            ));
        }
        if command.generation < self.oracle.heard[at] {
            let newest = self.oracle.heard[at];
            let what = format!(
                "{id} of generation {} runs after {newest}",
                command.generation
            );
            found.push((Invariant::Once, what));
        }
        match self.oracle.plans.get(&command.plan) {
            Some(known) if !known.entry.plan.cause.reason.is_empty() => {}
            Some(_) => found.push((Invariant::Journaled, format!("{id} has no cause"))),
            None => found.push((
                Invariant::Journaled,
                format!("{id} was not journaled before"),
            )),
        }
        found.extend(self.against_labels(at, command));
        found.extend(self.against_promises(at, command));
        found.extend(self.against_idleness(at, command));
        found.extend(self.against_ranks(at, command));
        for (invariant, what) in found {
            self.oracle.breaks(invariant, now, what);
        }
        // An image that is pulled, or what is told, takes nothing down.
        if command.action.kind().touches_containers() {
            let target = (command.service.clone(), command.action.target().clone());
            self.oracle.running.insert(id.clone(), target);
        }
    }

    fn against_labels(&self, at: usize, command: &Command) -> Option<(Invariant, String)> {
        let container = self.subject_of(at, command)?;
        let policy = &container.policy;
        let stands = container.state == ContainerState::Exited;
        let may_rest = policy.scale.as_ref().is_some_and(|it| it.min == 0);
        let allowed = match &command.action {
            Action::RemoveReplica { .. } if command.relocation.is_some() => {
                policy.movable && container.made_by.is_some()
            }
            _ if command.relocation.is_some() => policy.movable,
            Action::Restart { .. } => {
                policy.heal || may_rest && stands || container.is_fenced() && stands
            }
            Action::Recreate { .. } => policy.recreate,
            Action::RemoveReplica { .. } => policy.scale.is_some() && container.made_by.is_some(),
            Action::UpdateLimits { limits, .. } => are_within(limits, policy),
            Action::CreateReplica { .. } => policy.scale.is_some(),
            Action::Stop { .. } => may_rest,
            Action::PullImage { .. } => policy.update,
            Action::Export { .. } => false,
            Action::Isolate { .. } | Action::Rejoin { .. } => policy.recreate,
        };
        let willing = match command.update {
            Some(_) => is_willing(container),
            None => policy.mode == Mode::Act && allowed,
        };
        if willing && container.state != ContainerState::Paused {
            return None;
        }
        let what = format!(
            "{} touches {}, which did not opt in or is paused",
            command.id, container.name
        );
        Some((Invariant::OptIn, what))
    }

    fn against_promises(&self, at: usize, command: &Command) -> Vec<(Invariant, String)> {
        let mut found = Vec::new();
        let known_at = command.issued_at - UNKNOWABLE;
        let target = command.action.target();
        found.extend(self.against_use(at, command));
        let subject = self.subject_of(at, command);
        let scale = subject.and_then(|it| it.policy.scale.as_ref());
        let is_isolation = matches!(command.action, Action::Isolate { .. });
        let (least, most) = match (scale, &command.relocation) {
            (Some(scale), _) => (scale.least(), Some(scale.max)),
            // What does not scale is there once at least, also while it moves.
            (None, Some(_)) => (1, None),
            (None, None) if is_isolation => (1, None),
            (None, None) => return found,
        };
        let all = || {
            let containers = self.nodes.iter().flat_map(|node| node.containers.values());
            containers.filter(|it| self.services[it.service].id == command.service)
        };
        match &command.action {
            // What is brought to rest is judged by whether anybody asks for it.
            Action::Stop { .. } if command.relocation.is_none() => {}
            Action::RemoveReplica { .. } | Action::Stop { .. } | Action::Isolate { .. } => {
                let left = all()
                    .filter(|it| it.id != *target)
                    .filter(|it| it.ceased_at.is_none_or(|ceased| ceased >= known_at));
                let taken = self.taken.iter().filter(|(service, ceased)| {
                    self.services[*service].id == command.service && *ceased >= known_at
                });
                let left = left.count() + taken.count();
                let gone = all().find(|it| it.id == *target);
                let known = |it: &Container| it.serves() && it.ready_at < known_at;
                // What is isolated is sick, whatever its engine says of it.
                let takes = is_isolation || gone.is_some_and(known);
                if left < (least as usize).max(usize::from(is_isolation)) && takes {
                    let what = format!(
                        "{} leaves {left} that serve, {least} are promised",
                        command.id
                    );
                    found.push((Invariant::Capacity, what));
                }
            }
            Action::CreateReplica { .. } => {
                let there = self.there(command);
                let there = there.filter(|it| it.counts() && it.counts_since < known_at);
                let there = there.count();
                // An update, or a move, makes one more, for as long as it goes on.
                let beside = command.update.is_some() || command.relocation.is_some();
                let most = most.map_or(self.service_of(command).replicas, |it| it) as usize;
                let most = most + usize::from(beside);
                if there >= most && !self.options.has(Flaw::JournalsNothing) {
                    let what = format!("{} adds to {there}, {most} are allowed", command.id);
                    found.push((Invariant::Capacity, what));
                }
            }
            Action::Restart { .. }
            | Action::Recreate { .. }
            | Action::UpdateLimits { .. }
            | Action::PullImage { .. }
            | Action::Export { .. }
            | Action::Rejoin { .. } => {}
        }
        found.extend(self.second_down(command));
        found
    }

    fn second_down(&self, command: &Command) -> Option<(Invariant, String)> {
        let target = command.action.target();
        let mut down = self.oracle.running.values();
        let is_second = matches!(
            command.action,
            Action::Restart { .. }
                | Action::Recreate { .. }
                | Action::RemoveReplica { .. }
                | Action::Stop { .. }
                | Action::Isolate { .. }
        ) && down
            .any(|(service, other)| *service == command.service && other != target);
        is_second.then(|| {
            let what = format!("{} takes a second replica down at once", command.id);
            (Invariant::Capacity, what)
        })
    }
}
