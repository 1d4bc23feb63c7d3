//! Hosts that are lost and come back.

use units::{ContainerId, ContainerState};

use crate::world::World;
use crate::world::agenda::Happening;
use crate::world::container::Container;
use crate::world::faults::Lasting;
use crate::world::log::Author;

/// Losses begin this far apart.
const APART_S: (u64, u64) = (60, 300);
/// Of hosts that come back this share does not start again what ran.
const FALLS: f64 = 0.25;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// For less than a lease and a bit, so that it is close.
    Blink,
    CutOff,
    Die,
    /// Two at about the same time, of one cause.
    Two,
    /// Two neighbours, which are a zone where there are zones.
    Zone,
    /// The leader is cut off, or dies, as the host is lost.
    Leader,
    LeaderDies,
}

const LOSSES: [(u32, Loss); 7] = [
    (20, Loss::Blink),
    (25, Loss::CutOff),
    (20, Loss::Die),
    (6, Loss::Two),
    (6, Loss::Zone),
    (8, Loss::Leader),
    (8, Loss::LeaderDies),
];

impl World {
    pub(super) fn loss_later(&mut self) {
        let wait = self.dice.losses.secs(APART_S.0, APART_S.1);
        self.agenda.note(self.now + wait, Happening::Loss);
    }

    /// Hosts are lost.
    pub(in crate::world) fn lose(&mut self) {
        if self.calm {
            return;
        }
        self.loss_later();
        self.faults += 1;
        let at = self.dice.losses.below(self.nodes.len());
        let loss = self.dice.losses.weighed(&LOSSES).unwrap_or(Loss::Blink);
        self.note(|world| format!("loss {loss:?}, node {}", world.nodes[at].id));
        match loss {
            Loss::Blink => self.cut_off(at, 3_000, 20_000),
            Loss::CutOff => self.cut_off(at, 15_000, 300_000),
            Loss::Die => self.power_off(at),
            Loss::Two => {
                let other =
                    (at + 1 + self.dice.losses.below(self.nodes.len() - 1)) % self.nodes.len();
                self.cut_or_power_off(at);
                self.cut_or_power_off(other);
            }
            Loss::Zone => {
                let other = (at ^ 1).min(self.nodes.len() - 1);
                self.cut_or_power_off(at);
                self.cut_or_power_off(other);
            }
            Loss::Leader => {
                self.cut_or_power_off(at);
                if let Some(of) = self.leader() {
                    let stands = self.dice.losses.secs(2, 40);
                    self.controllers[of].frozen_until = self.now + stands;
                    if self.dice.losses.chance(0.5) {
                        let wait = self.dice.losses.secs(6, 12);
                        self.agenda.note(self.now + wait, Happening::Claim);
                    }
                }
            }
            Loss::LeaderDies => {
                self.cut_or_power_off(at);
                if let Some(of) = self.leader() {
                    self.land(of);
                    let wait = self.dice.losses.millis(500, 20_000);
                    self.agenda.note(self.now + wait, Happening::Claim);
                }
            }
        }
    }

    fn cut_or_power_off(&mut self, at: usize) {
        match self.dice.losses.chance(0.6) {
            true => self.cut_off(at, 8_000, 200_000),
            false => self.power_off(at),
        }
    }

    fn cut_off(&mut self, at: usize, least_ms: u64, most_ms: u64) {
        self.nodes[at].connected = false;
        let lasts = self.dice.losses.millis(least_ms, most_ms);
        let over = Happening::Over(Lasting::CutOff(at));
        self.agenda.note(self.now + lasts, over);
    }

    fn power_off(&mut self, at: usize) {
        if self.nodes[at].up {
            self.die(at);
            let lasts = self.dice.losses.secs(12, 400);
            let over = Happening::Over(Lasting::Dead(at));
            self.agenda.note(self.now + lasts, over);
        }
    }

    /// Whether a host that dies now starts again what ran when it is back.
    pub(in crate::world) fn starts_again(&mut self) -> bool {
        !self.options.is_losing() || !self.dice.losses.chance(FALLS)
    }

    /// A host is back, with what it started again.
    pub(in crate::world) fn booted(&mut self, at: usize) {
        if !self.options.is_losing() {
            return;
        }
        let node = &self.nodes[at];
        let running = node.containers.values();
        let running = running.filter(|it| it.state == ContainerState::Running);
        let ids: Vec<ContainerId> = running.map(|it| it.id.clone()).collect();
        for id in &ids {
            self.unpromised(id);
        }
        let wait = self.dice.losses.secs(60, 240);
        let over = Happening::Over(Lasting::Fallen(at));
        self.agenda.note(self.now + wait, over);
        if self.nodes[at].connected {
            self.reconnect(at);
        }
    }

    /// It ended with its host, which did not start it again.
    pub(in crate::world) fn has_fallen(&self, at: usize, id: &ContainerId) -> bool {
        let container = self.nodes[at].containers.get(id);
        container.is_some_and(|it| {
            it.state == ContainerState::Exited
                && it.exit_code == Some(137)
                && it.again_at.is_none()
                && it.wanted
                && !it.rests
                && !it.stopped_by_hand
                && !it.is_replaced
        })
    }

    /// People look at what a host did not start again, and start it where nothing else has taken its place.
    pub(in crate::world) fn find_fallen(&mut self, at: usize) {
        if !self.nodes[at].up {
            return;
        }
        let ids = self.nodes[at].containers.keys();
        let ids: Vec<ContainerId> = ids.filter(|id| self.has_fallen(at, id)).cloned().collect();
        for id in ids {
            let has_successor = {
                let container = &self.nodes[at].containers[&id];
                container.fenced_at.is_some() || self.has_stand_in(container)
            };
            match has_successor {
                true => {
                    if let Some(it) = self.nodes[at].containers.get_mut(&id)
                        && it.fenced_at.is_none()
                    {
                        (it.wanted, it.is_replaced) = (false, true);
                    }
                }
                false => {
                    self.start_container(at, &id, Author::Person);
                    self.say_inventory(at);
                }
            }
        }
    }

    /// Another was made in its place, or as many run without it as there are to be.
    pub(super) fn has_stand_in(&self, container: &Container) -> bool {
        let all = self.nodes.iter().flat_map(|node| node.containers.values());
        let others = all.filter(|it| {
            let is_there = it.counts() || it.state == ContainerState::Restarting;
            is_there && it.service == container.service && it.id != container.id
        });
        let others: Vec<&Container> = others.collect();
        let service = &self.services[container.service];
        let is_enough = service.scale.is_none() && others.len() >= service.replicas as usize;
        let mut made = others.iter().filter_map(|it| it.replica_of.as_ref());
        is_enough || made.any(|it| *it == container.id)
    }

    /// It stands still, and another serves in its place.
    pub(in crate::world) fn is_stood_in(&self, container: &Container) -> bool {
        self.options.is_losing()
            && container.state == ContainerState::Exited
            && self.has_stand_in(container)
    }

    /// What keeps lost hosts from being made good: of a service of one container none serves, or two run.
    pub(in crate::world) fn losses_rest(&self) -> Result<(), String> {
        if !self.options.is_losing() {
            return Ok(());
        }
        for (number, service) in self.services.iter().enumerate() {
            let all = self.nodes.iter().flat_map(|node| node.containers.values());
            let mine: Vec<&Container> = all.filter(|it| it.service == number).collect();
            let is_single = service.scale.is_none() && service.replicas == 1;
            if !is_single || !mine.iter().any(|it| it.policy.movable) {
                continue;
            }
            let runs = mine.iter().filter(|it| it.serves()).count();
            if runs != 1 {
                let id = &service.id;
                let states: Vec<String> = mine
                    .iter()
                    .map(|it| format!("{} {} fenced {:?}", it.id, it.state, it.fenced_at))
                    .collect();
                return Err(format!("{runs} of {id} serve, not one: {states:?}"));
            }
        }
        Ok(())
    }
}
