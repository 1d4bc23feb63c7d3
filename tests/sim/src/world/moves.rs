//! What a move asks of two engines, and what makes a node short.

use units::{
    Command, ContainerId, ContainerName, Origin, OutcomeResult, Policy, Severity, SignalKind,
    Subject,
};

use super::World;
use super::agenda::Happening;
use super::analytics::case;
use super::container::{Container, Cure};
use super::dice::Dice;
use super::engine::{failed, succeeded};
use super::faults::Lasting;
use super::log::Author;
use super::node::Node;
use super::scene::Service;

/// This share of the nodes is crowded once.
const CROWDED: f64 = 0.3;
/// What is asked of important services where there is hardly room, of what the most replicas carry.
const PEAK: f64 = 0.9;
/// A node is short when its processes ask for more than this share of what it has.
const SHORT: f64 = 0.9;
/// A move that leaves a node with more than this share of its load is not worth it.
const WORTH: f64 = 0.9;

impl World {
    /// The container a command is about: one that is to be made as another node told is that other one, as it was told.
    pub(super) fn subject_of(&self, at: usize, command: &Command) -> Option<&Container> {
        match command.action.origin() {
            Some(origin) => self.exported.get(&origin.sealed),
            None => self.nodes[at].containers.get(command.action.target()),
        }
    }

    pub(super) fn service_of(&self, command: &Command) -> &Service {
        let mut services = self.services.iter();
        let found = services.find(|it| it.id == command.service);
        found.expect("commands are about services there are")
    }

    /// A node tells how a container is made.
    pub(super) fn export(&mut self, at: usize, command: &Command) -> OutcomeResult {
        let Some(container) = self.nodes[at].containers.get(command.action.target()) else {
            return OutcomeResult::Vanished;
        };
        let sealed = format!("sealed for {}", command.id);
        self.exported.insert(sealed.clone(), container.clone());
        OutcomeResult::Succeeded {
            created: None,
            previous: None,
            image: None,
            sealed: Some(sealed),
            networks: Vec::new(),
        }
    }

    /// Another makes it so.
    pub(super) fn make_as_told(
        &mut self,
        at: usize,
        command: &Command,
        name: &ContainerName,
        origin: &Origin,
    ) -> OutcomeResult {
        let mut all = self.nodes[at].containers.values();
        if all.any(|it| it.name == *name) {
            return failed("the name is taken");
        }
        let Some(told) = self.exported.get(&origin.sealed) else {
            return failed("it was sealed for somebody else");
        };
        let copy = Container {
            name: name.clone(),
            replica_of: Some(told.id.clone()),
            made_by: Some(command.plan.clone()),
            command: Some(command.id.clone()),
            ..told.clone()
        };
        let ill = copy.ill;
        let id = self.create_container(at, copy, Author::Role);
        if let Some((_, Cure::Nowhere)) = ill {
            self.sicken_again(at, &id, ill);
        }
        succeeded(Some(id))
    }

    /// Out of its networks, or back.
    pub(super) fn isolate(
        &mut self,
        at: usize,
        id: &ContainerId,
        is_isolated: bool,
    ) -> OutcomeResult {
        let Some(container) = self.nodes[at].containers.get_mut(id) else {
            return OutcomeResult::Vanished;
        };
        let counted = container.counts();
        container.is_isolated = is_isolated;
        if container.counts() && !counted {
            container.counts_since = self.now;
        }
        container.note_serving(self.now);
        if !is_isolated {
            return succeeded(None);
        }
        let result = isolated(container);
        // People read of it, and come to look.
        let (least_s, most_s) = match self.calm {
            true => (20, 60),
            false => (120, 1_200),
        };
        let wait = self.dice.moves.secs(least_s, most_s);
        let over = Lasting::Isolated(at, id.clone());
        self.agenda.note(self.now + wait, Happening::Over(over));
        result
    }

    /// People find what was wrong with an isolated container, and put it back.
    pub(super) fn put_back_in(&mut self, at: usize, id: &ContainerId) {
        let Some(container) = self.nodes[at].containers.get_mut(id) else {
            return;
        };
        if container.is_isolated {
            container.ill = None;
            self.note(|_| format!("{id} is put back into its networks by a person"));
            self.isolate(at, id, false);
            self.say_inventory(at);
        }
    }

    /// In some worlds something else takes much of a node for long: long enough for containers to be moved away. Where there is hardly
    /// room, once of all nodes at about the same time.
    pub(super) fn crowd_later(&mut self, seed: u64) {
        if self.is_tight {
            let mut dice = Dice::new(seed, "crowds of all");
            let first = dice.secs(120, 2_400);
            for at in 0..self.nodes.len() {
                let wait = first + dice.secs(0, 120);
                self.agenda.note(self.now + wait, Happening::Crowded(at));
            }
        }
        for at in 0..self.nodes.len() {
            let (is_one, wait) = (
                self.dice.moves.chance(CROWDED),
                self.dice.moves.secs(60, 2_400),
            );
            if is_one {
                self.agenda.note(self.now + wait, Happening::Crowded(at));
            }
        }
    }

    /// Something else takes much of a node.
    pub(super) fn crowd(&mut self, at: usize) {
        if self.calm {
            return;
        }
        let taken = 0.5 + self.dice.moves.unit() * 0.45;
        self.nodes[at].stolen = taken;
        self.note(|world| format!("{} is crowded: {taken:.2} of it", world.nodes[at].id));
        if self.is_tight {
            self.ask_for_important(at);
        }
        let lasts = self.dice.moves.secs(200, 1_500);
        let over = Lasting::Stolen(at);
        self.agenda.note(self.now + lasts, Happening::Over(over));
    }

    /// Just then much is asked of what is more important than usual.
    fn ask_for_important(&mut self, at: usize) {
        let usual = Policy::default().priority;
        for container in self.nodes[at].containers.values() {
            let service = &mut self.services[container.service];
            if container.policy.priority > usual && service.jobs.is_none() {
                service.demand = service.most() * PEAK;
            }
        }
    }

    /// Something on a node that is short may go, is worth it, and has room on another.
    pub(super) fn can_be_relieved(&self, at: usize) -> bool {
        let granted = |node: &Node| -> f64 {
            let counted = node.containers.values().filter(|it| it.counts());
            counted.map(Container::capacity).sum()
        };
        let used = |node: &Node| -> f64 {
            let all = node.containers.values();
            all.map(|it| it.use_millicores).sum()
        };
        let node = &self.nodes[at];
        let others = || self.nodes.iter().filter(|it| it.id != node.id);
        let going = node
            .containers
            .values()
            .filter(|it| it.policy.movable && it.policy.mode == units::Mode::Act && it.counts());
        going.into_iter().any(|it| {
            let is_worth = it.use_millicores >= used(node) * (1.0 - WORTH);
            let mut room = others().filter(|other| {
                granted(other) + it.capacity() <= other.cpu_millicores
                    && used(other) + it.use_millicores <= other.cpu_millicores * SHORT
            });
            is_worth && room.next().is_some()
        })
    }

    /// Looks whether a node is short of CPU.
    pub(super) fn look_at_node(&mut self, at: usize) {
        let node = &self.nodes[at];
        let has = node.cpu_millicores * (1.0 - node.stolen);
        let used: f64 = node.containers.values().map(|it| it.use_millicores).sum();
        let bad = (used > has * SHORT).then_some(Severity::Warning);
        let case = case(SignalKind::NodePressure, bad, 20, 20);
        let subject = Subject::node(node.id.clone());
        let key = (case.kind, node.id.to_string());
        self.weigh(key, None, subject, case, self.now);
    }
}

/// What an engine answers that took a container out of its networks.
pub(super) fn isolated(container: &Container) -> OutcomeResult {
    OutcomeResult::Succeeded {
        created: None,
        previous: None,
        image: None,
        sealed: None,
        networks: vec![container.own_network()],
    }
}
