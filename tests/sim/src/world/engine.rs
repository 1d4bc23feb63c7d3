//! What an engine does when it is asked: in its own time, and not always.

use std::time::Duration;

use units::{
    Action, Command, ContainerId, ContainerName, ContainerState, EventKind, ImageChange,
    OutcomeResult, Timestamp,
};

use super::World;
use super::agenda::Happening;
use super::container::{Container, Cure, Ill};
use super::log::Author;
use super::orders;

/// How an engine is disposed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mood {
    /// It answers nothing until then.
    pub(super) away_until: Timestamp,
    /// Shares of calls that fail, that fail half-way, and whose answer is lost.
    pub(super) fails: f64,
    pub(super) halves: f64,
    pub(super) loses: f64,
    /// It takes so many times as long: a slow disk, an image that has to be fetched.
    pub(super) slow: u32,
}

impl Default for Mood {
    fn default() -> Self {
        Mood {
            away_until: Timestamp::EPOCH,
            fails: 0.0,
            halves: 0.0,
            loses: 0.0,
            slow: 1,
        }
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Works,
    /// Nothing was changed.
    Fails,
    /// It was stopped, and the rest failed.
    FailsHalf,
    /// It works, and the answer is lost.
    LostDone,
    /// It does nothing, and that answer is lost.
    LostUndone,
}

/// A call the engine works on.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) command: Command,
    pub(super) fate: Fate,
}

impl World {
    /// Asks the engine for what a command says.
    pub(super) fn ask_engine(&mut self, at: usize, command: Command) {
        let mood = self.nodes[at].mood;
        let fate = if self.dice.engine.chance(mood.fails) {
            Fate::Fails
        } else if self.dice.engine.chance(mood.halves) {
            Fate::FailsHalf
        } else if self.dice.engine.chance(mood.loses) {
            match self.dice.engine.chance(0.6) {
                true => Fate::LostDone,
                false => Fate::LostUndone,
            }
        } else {
            Fate::Works
        };
        let took = match &command.action {
            Action::Restart { .. } | Action::RemoveReplica { .. } | Action::Stop { .. } => {
                self.dice.engine.millis(150, 4_000)
            }
            Action::Recreate { .. } => self.dice.engine.millis(3_000, 8_000),
            Action::PullImage { .. } => self.dice.engine.millis(500, 20_000),
            Action::CreateReplica { .. } => self.dice.engine.millis(200, 3_000),
            Action::UpdateLimits { .. } | Action::Isolate { .. } | Action::Rejoin { .. } => {
                self.dice.engine.millis(20, 200)
            }
            Action::Export { .. } => self.dice.engine.millis(5, 50),
        };
        // The engine's client gives up at half a minute beyond the grace.
        let took = (took * mood.slow).min(Duration::from_secs(38));
        let stops = match &command.action {
            Action::Restart { .. }
            | Action::Recreate { .. }
            | Action::RemoveReplica { .. }
            | Action::Stop { .. } => {
                matches!(fate, Fate::Works | Fate::FailsHalf | Fate::LostDone)
            }
            Action::CreateReplica { .. }
            | Action::UpdateLimits { .. }
            | Action::PullImage { .. }
            | Action::Export { .. }
            | Action::Isolate { .. }
            | Action::Rejoin { .. } => false,
        };
        if stops {
            self.note_rest(at, &command);
            self.stop_container(at, command.action.target(), Author::Role);
        }
        let node = &mut self.nodes[at];
        node.count += 1;
        let (boot, number) = (node.boot, node.count);
        node.operations.insert(number, Operation { command, fate });
        self.agenda
            .note(self.now + took, Happening::Done(at, boot, number));
    }

    /// The engine is done.
    pub(super) fn done(&mut self, at: usize, boot: u32, number: u64) {
        if self.nodes[at].boot != boot {
            return;
        }
        let Some(operation) = self.nodes[at].operations.remove(&number) else {
            return;
        };
        let Operation { command, fate } = operation;
        self.oracle.ended(&command.id);
        let result = match fate {
            Fate::Works | Fate::LostDone => self.carry_out(at, &command),
            Fate::Fails | Fate::LostUndone => failed("the engine said no"),
            Fate::FailsHalf => {
                self.left_half(at, &command);
                failed("the engine did half of it")
            }
        };
        self.say_inventory(at);
        match fate {
            Fate::Works | Fate::Fails | Fate::FailsHalf => self.answered(at, &command, result),
            Fate::LostDone | Fate::LostUndone => self.unanswered(at, &command),
        }
    }

    fn carry_out(&mut self, at: usize, command: &Command) -> OutcomeResult {
        let target = command.action.target().clone();
        if let Action::CreateReplica {
            name,
            origin: Some(origin),
            ..
        } = &command.action
        {
            return self.make_as_told(at, command, name, origin);
        }
        if !self.nodes[at].containers.contains_key(&target) {
            return OutcomeResult::Vanished;
        }
        match &command.action {
            Action::Restart { .. } => {
                if let Some(container) = self.nodes[at].containers.get_mut(&target) {
                    container.wanted = true;
                    container.is_replaced = false;
                }
                self.start_container(at, &target, Author::Role);
                succeeded(None)
            }
            Action::Recreate { image, .. } => self.replace(at, command, image.as_ref()),
            Action::RemoveReplica { .. } => {
                self.tell(at, &target, EventKind::Removed, Author::Role);
                self.nodes[at].containers.remove(&target);
                succeeded(None)
            }
            Action::PullImage { reference, .. } => orders::pulled(reference),
            Action::Stop { .. } => succeeded(None),
            Action::Export { .. } => self.export(at, command),
            Action::Isolate { .. } => self.isolate(at, &target, true),
            Action::Rejoin { .. } => self.isolate(at, &target, false),
            Action::UpdateLimits { limits, .. } => {
                let Some(container) = self.nodes[at].containers.get_mut(&target) else {
                    return OutcomeResult::Vanished;
                };
                let previous = container.resize(limits);
                self.tell(at, &target, EventKind::Updated, Author::Role);
                OutcomeResult::Succeeded {
                    networks: Vec::new(),
                    sealed: None,
                    created: None,
                    previous: Some(previous),
                    image: None,
                }
            }
            Action::CreateReplica { name, image, .. } => {
                self.copy(at, command, name, image.as_ref())
            }
        }
    }

    /// A new container in the place of one.
    fn replace(
        &mut self,
        at: usize,
        command: &Command,
        image: Option<&ImageChange>,
    ) -> OutcomeResult {
        let target = command.action.target();
        let Some(mut copy) = self.nodes[at].containers.get(target).cloned() else {
            return OutcomeResult::Vanished;
        };
        copy.command = Some(command.id.clone());
        match orders::built(&copy, image) {
            Some(build) => copy.image = build,
            None => return failed("it runs another image by now"),
        }
        let ill = copy.ill;
        let id = self.create_container(at, copy, Author::Role);
        if let Some((_, Cure::Elsewhere | Cure::Nowhere)) = ill {
            self.sicken_again(at, &id, ill);
        }
        self.tell(at, target, EventKind::Removed, Author::Role);
        self.nodes[at].containers.remove(target);
        succeeded(Some(id))
    }

    /// A new container beside one.
    fn copy(
        &mut self,
        at: usize,
        command: &Command,
        name: &ContainerName,
        image: Option<&ImageChange>,
    ) -> OutcomeResult {
        let target = command.action.target();
        let mut all = self.nodes[at].containers.values();
        if all.any(|it| it.name == *name) {
            return failed("the name is taken");
        }
        let mut copy = self.nodes[at].containers[target].clone();
        match orders::built(&copy, image) {
            Some(build) => copy.image = build,
            None => return failed("its template runs another image by now"),
        }
        copy.name = name.clone();
        copy.replica_of = Some(target.clone());
        copy.made_by = Some(command.plan.clone());
        copy.command = Some(command.id.clone());
        let id = self.create_container(at, copy, Author::Role);
        succeeded(Some(id))
    }

    /// Makes a container like this one and starts it.
    pub(super) fn create_container(
        &mut self,
        at: usize,
        like: Container,
        author: Author,
    ) -> ContainerId {
        let now = self.now;
        let node = &mut self.nodes[at];
        let (id, clock) = (node.fresh(), node.clock(now));
        let service = &self.services[like.service];
        let is_bad = service.bad_image == Some(like.image);
        let crashes = is_bad.then_some((Ill::Crashing, Cure::Patience));
        let ordered = orders::ill_of(like.image, service.checked).filter(|_| !self.calm);
        let container = Container {
            id: id.clone(),
            state: ContainerState::Created,
            restarts: 0,
            created_at: clock,
            wanted: true,
            is_replaced: false,
            is_isolated: false,
            ill: crashes.or(ordered),
            ceased_at: Some(Timestamp::EPOCH),
            counts_since: now,
            again_at: None,
            fenced_at: None,
            ends: Default::default(),
            use_millicores: 0.0,
            throttled: 0.0,
            ..like
        };
        node.containers.insert(id.clone(), container);
        self.tell(at, &id, EventKind::Created, author);
        self.start_container(at, &id, author);
        id
    }

    pub(super) fn start_container(&mut self, at: usize, id: &ContainerId, author: Author) {
        let now = self.now;
        let clock = self.nodes[at].clock(now);
        let Some(container) = self.nodes[at].containers.get_mut(id) else {
            return;
        };
        let service = &self.services[container.service];
        container.start(now, clock, service.startup, service.checked);
        self.tell(at, id, EventKind::Started, author);
        if author == Author::Person {
            self.unpromised(id);
        }
    }

    pub(super) fn stop_container(&mut self, at: usize, id: &ContainerId, author: Author) {
        let now = self.now;
        let clock = self.nodes[at].clock(now);
        let Some(container) = self.nodes[at].containers.get_mut(id) else {
            return;
        };
        let ran = matches!(
            container.state,
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
        );
        container.again_at = None;
        if !ran {
            return;
        }
        container.end(now, clock, 143);
        let signal = Some("15".to_owned());
        self.tell(at, id, EventKind::Stopping { signal }, author);
        let exit_code = Some(143);
        self.tell(at, id, EventKind::Died { exit_code }, Author::Role);
    }

    /// A restart that only stopped is made good by a person, who reads of the failed plan; a removal that only stopped stays.
    fn left_half(&mut self, at: usize, command: &Command) {
        let target = command.action.target();
        match &command.action {
            Action::Restart { .. } => {
                let wait = self.dice.engine.secs(60, 240);
                let back = super::faults::Lasting::Stopped(at, target.clone());
                self.agenda.note(self.now + wait, Happening::Over(back));
            }
            Action::RemoveReplica { .. } => {
                if let Some(container) = self.nodes[at].containers.get_mut(target) {
                    container.wanted = false;
                }
            }
            // The one before is put back.
            Action::Recreate { .. } => self.start_container(at, target, Author::Role),
            Action::CreateReplica { .. }
            | Action::UpdateLimits { .. }
            | Action::PullImage { .. }
            | Action::Stop { .. }
            | Action::Export { .. }
            | Action::Isolate { .. }
            | Action::Rejoin { .. } => {}
        }
    }

    /// What runs and is stopped for being idle, or for one that serves in its place, is not wanted until somebody asks for it.
    fn note_rest(&mut self, at: usize, command: &Command) {
        let target = command.action.target();
        if let (Action::Stop { .. }, Some(container)) =
            (&command.action, self.nodes[at].containers.get_mut(target))
            && matches!(
                container.state,
                ContainerState::Running | ContainerState::Restarting
            )
        {
            let moves = command.relocation.is_some();
            (container.wanted, container.rests, container.is_replaced) = (false, !moves, moves);
        }
    }
}

pub(super) fn failed(error: &str) -> OutcomeResult {
    OutcomeResult::Failed {
        error: error.to_owned(),
    }
}

pub(super) fn succeeded(created: Option<ContainerId>) -> OutcomeResult {
    OutcomeResult::Succeeded {
        networks: Vec::new(),
        sealed: None,
        created,
        previous: None,
        image: None,
    }
}
