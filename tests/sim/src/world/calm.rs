//! How what went wrong ends.

use std::time::Duration;

use units::{ContainerId, ContainerState, EventKind, Timestamp};

use super::World;
use super::agenda::Happening;
use super::container::{Cure, Ill};
use super::engine::Mood;
use super::faults::{ECHOES, Lasting};
use super::log::Author;

impl World {
    /// A fault ends.
    pub(super) fn over(&mut self, fault: Lasting) {
        self.note(|_| format!("over: {fault:?}"));
        match fault {
            Lasting::Ill(at, id) => {
                if let Some(container) = self.nodes[at].containers.get_mut(&id) {
                    container.ill = None;
                }
            }
            Lasting::Isolated(at, id) => self.put_back_in(at, &id),
            Lasting::CutOff(at) => self.reconnect(at),
            Lasting::Dead(at) => self.boot(at),
            Lasting::Skewed(at) => self.nodes[at].set_clock(0, self.now),
            Lasting::Engine(at) => self.nodes[at].mood = Mood::default(),
            Lasting::Paused(at, id) => {
                let paused = self.nodes[at].containers.get_mut(&id);
                if let Some(container) = paused
                    && container.state == ContainerState::Paused
                {
                    container.state = ContainerState::Running;
                    container.note_serving(self.now);
                    self.tell(at, &id, EventKind::Unpaused, Author::Person);
                    self.say_inventory(at);
                }
            }
            Lasting::Stopped(at, id) => {
                let node = &mut self.nodes[at];
                let stopped = node.containers.get_mut(&id);
                if let (true, Some(container)) = (node.up, stopped)
                    && container.state == ContainerState::Exited
                    // Else another serves in its place by now.
                    && !container.is_replaced
                {
                    container.wanted = true;
                    // What stood still while an order passed runs what it ran before.
                    self.services[container.service].touched = true;
                    self.start_container(at, &id, Author::Person);
                    self.say_inventory(at);
                }
            }
            Lasting::Stolen(at) => self.nodes[at].stolen = 0.0,
            Lasting::BadImage(of) => {
                let service = &mut self.services[of];
                if service.bad_image.take().is_some() {
                    service.image += 1;
                    self.agenda.note(self.now, Happening::Deploy(of, 0));
                }
            }
            Lasting::Fallen(at) => self.find_fallen(at),
            Lasting::SlowLog => self.log_slow = 1,
            Lasting::Echoes => self.echoes = ECHOES,
        }
    }

    /// No more faults: what was broken works again, and what only people can mend they mend. What a restart cures is left.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.log_slow = 1;
        self.echoes = ECHOES;
        self.analytics.mistaken = None;
        self.analytics.away_until = Timestamp::EPOCH;
        for at in 0..self.nodes.len() {
            self.boot(at);
            self.reconnect(at);
            let node = &mut self.nodes[at];
            (node.stolen, node.mood) = (0.0, Mood::default());
            if node.clock_off_ms != 0 {
                node.set_clock(0, self.now);
            }
            self.agenda
                .note(self.now + Duration::from_secs(3), Happening::Actuator(at));
            let ids: Vec<ContainerId> = self.nodes[at].containers.keys().cloned().collect();
            for id in ids {
                self.tend(at, id);
            }
        }
        if self.leader().is_none() {
            self.agenda.note(self.now, Happening::Claim);
        }
        for service in &mut self.services {
            service.bad_image = None;
            service.demand = service.least() * 0.5;
        }
        self.calm_jobs();
    }

    fn tend(&mut self, at: usize, id: ContainerId) {
        self.put_back_in(at, &id);
        let fallen = self.options.is_losing() && self.has_fallen(at, &id);
        let Some(container) = self.nodes[at].containers.get_mut(&id) else {
            return;
        };
        let healed = container.policy.heal && container.policy.mode == units::Mode::Act;
        let curable = matches!(
            container.ill,
            Some((Ill::Hung | Ill::Failing | Ill::Leaking(_), Cure::Restart))
        );
        if !(healed && curable) {
            container.ill = None;
        }
        let left = container.state == ContainerState::Exited
            && container.made_by.is_some()
            && !container.stopped_by_hand;
        if container.is_replaced && container.state == ContainerState::Exited {
            // Another serves in its place.
        } else if container.fenced_at.is_some() {
            // Its own actuator stopped it; that is for the loop to make good.
        } else if fallen {
            self.find_fallen(at);
        } else if container.state == ContainerState::Paused {
            self.over(Lasting::Paused(at, id));
        } else if left {
            // A replica that was only stopped when it should have been removed: people clear it away.
            self.tell(at, &id, EventKind::Removed, Author::Person);
            self.nodes[at].containers.remove(&id);
        } else if container.rests {
            // Nobody asks for it; that is for the loop to find.
        } else {
            self.over(Lasting::Stopped(at, id));
        }
    }
}
