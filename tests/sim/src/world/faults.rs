//! What goes wrong, how often and for how long.

use std::time::Duration;

use units::{ContainerId, ContainerState, EventKind, Timestamp};

use super::agenda::Happening;
use super::container::{Checked, Container, Cure, Ill};
use super::engine::Mood;
use super::log::{Author, Topic};
use super::options::Mix;
use super::{TAKEN_MAX, World};

/// Faults begin this far apart, evenly between the two.
const APART_S: (u64, u64) = (5, 75);
const APART_BESIDE_LOSSES_S: (u64, u64) = (20, 180);
/// Of this share of illnesses a restart is no cure.
const STUBBORN: f64 = 0.25;
/// What is, by weight.
const CURES: [(u32, Cure); 3] = [
    (2, Cure::Patience),
    (1, Cure::Elsewhere),
    (2, Cure::Nowhere),
];
/// Of this share of records the acknowledgement is lost, so that they are written once more.
pub(super) const ECHOES: f64 = 0.02;
const ECHOES_IN_A_STORM: f64 = 0.4;
/// This share of decisions is not written before the leader stands still, where it is leaders that are looked at.
const STALLS: f64 = 0.3;
/// Clocks are off by less than this as a rule, and in one case of eight by up to the other.
const SKEW_MS: usize = 4_000;
const SKEW_MOST_MS: usize = 600_000;

/// A fault that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lasting {
    Ill(usize, ContainerId),
    CutOff(usize),
    Dead(usize),
    Skewed(usize),
    Engine(usize),
    Paused(usize, ContainerId),
    Stopped(usize, ContainerId),
    Isolated(usize, ContainerId),
    Stolen(usize),
    SlowLog,
    Echoes,
    BadImage(usize),
    /// Nobody has looked yet at what a host that came back did not start again.
    Fallen(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sicken,
    Lie,
    Mistake,
    CutOff,
    Die,
    Skew,
    Engine,
    EngineAway,
    Actuator,
    ControllerDies,
    TakeOver,
    AnalyticsAway,
    SlowLog,
    Echoes,
    Steal,
    Load,
    CommonCause,
    Deploy,
    /// A deploy brings an image that does not run.
    BadDeploy,
    Pause,
    Stop,
    RestartByHand,
    Limits,
}

/// Which, by weight.
const KINDS: [(u32, Kind); 23] = [
    (24, Kind::Sicken),
    (4, Kind::Lie),
    (3, Kind::Mistake),
    (6, Kind::CutOff),
    (4, Kind::Die),
    (4, Kind::Skew),
    (7, Kind::Engine),
    (3, Kind::EngineAway),
    (6, Kind::Actuator),
    (5, Kind::ControllerDies),
    (4, Kind::TakeOver),
    (2, Kind::AnalyticsAway),
    (3, Kind::SlowLog),
    (2, Kind::Echoes),
    (3, Kind::Steal),
    (20, Kind::Load),
    (2, Kind::CommonCause),
    (3, Kind::Deploy),
    (4, Kind::BadDeploy),
    (3, Kind::Pause),
    (2, Kind::Stop),
    (3, Kind::RestartByHand),
    (2, Kind::Limits),
];

/// The same where it is leaders that are looked at.
const OF_LEADERS: [(u32, Kind); 4] = [
    (40, Kind::Sicken),
    (20, Kind::Load),
    (25, Kind::TakeOver),
    (15, Kind::SlowLog),
];

/// Beside hosts that are lost: fewer of those that losses make themselves, and no actuator ends often while its host is cut off.
const BESIDE_LOSSES: [(u32, Kind); 21] = [
    (20, Kind::Sicken),
    (3, Kind::Lie),
    (2, Kind::Mistake),
    (4, Kind::Skew),
    (5, Kind::Engine),
    (2, Kind::EngineAway),
    (3, Kind::Actuator),
    (4, Kind::ControllerDies),
    (4, Kind::TakeOver),
    (2, Kind::AnalyticsAway),
    (2, Kind::SlowLog),
    (2, Kind::Echoes),
    (3, Kind::Steal),
    (14, Kind::Load),
    (1, Kind::CommonCause),
    (2, Kind::Deploy),
    (2, Kind::BadDeploy),
    (2, Kind::Pause),
    (2, Kind::Stop),
    (2, Kind::RestartByHand),
    (2, Kind::Limits),
];

impl World {
    /// One thing goes wrong, and the next is noted.
    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let (least_s, most_s) = match self.options.mix {
            Mix::All | Mix::Leaders => APART_S,
            Mix::Losses => APART_BESIDE_LOSSES_S,
        };
        let wait = self.dice.faults.secs(least_s, most_s);
        self.agenda.note(self.now + wait, Happening::Fault);
        let kinds: &[(u32, Kind)] = match self.options.mix {
            Mix::All => &KINDS,
            Mix::Leaders => &OF_LEADERS,
            Mix::Losses => &BESIDE_LOSSES,
        };
        let Some(kind) = self.dice.faults.weighed(kinds) else {
            return;
        };
        self.faults += 1;
        let at = self.dice.faults.below(self.nodes.len());
        self.note(|world| format!("fault {kind:?}, node {}", world.nodes[at].id));
        match kind {
            Kind::Sicken | Kind::Lie | Kind::Mistake | Kind::CommonCause => self.sicken(kind),
            Kind::CutOff => {
                self.nodes[at].connected = false;
                self.lasts(Lasting::CutOff(at), 4, 240);
            }
            Kind::Die => {
                if self.nodes[at].up {
                    self.die(at);
                    self.lasts(Lasting::Dead(at), 15, 500);
                }
            }
            Kind::Skew => self.skew(at),
            Kind::Engine => self.spoil(at),
            Kind::EngineAway => {
                self.nodes[at].mood.away_until = self.now + self.dice.faults.secs(3, 50);
            }
            Kind::Actuator => {
                self.nodes[at].actuator.stop();
                let wait = self.dice.faults.millis(300, 25_000);
                self.agenda.note(self.now + wait, Happening::Actuator(at));
            }
            Kind::ControllerDies | Kind::TakeOver => self.change_leader(kind),
            Kind::AnalyticsAway => {
                self.analytics.away_until = self.now + self.dice.faults.secs(5, 90);
            }
            Kind::SlowLog => {
                self.log_slow = 1 + self.dice.faults.below(150) as u32;
                self.lasts(Lasting::SlowLog, 10, 90);
            }
            Kind::Echoes => {
                self.echoes = ECHOES_IN_A_STORM;
                self.lasts(Lasting::Echoes, 20, 120);
            }
            Kind::Steal => {
                self.nodes[at].stolen = self.dice.faults.unit() * 0.9;
                self.lasts(Lasting::Stolen(at), 30, 300);
            }
            Kind::Load => self.change_load(),
            Kind::Deploy
            | Kind::BadDeploy
            | Kind::Pause
            | Kind::Stop
            | Kind::RestartByHand
            | Kind::Limits => {
                self.person(kind);
            }
        }
    }

    /// An engine fails, loses answers and is slow for a while.
    fn spoil(&mut self, at: usize) {
        let dice = &mut self.dice.faults;
        self.nodes[at].mood = Mood {
            away_until: Timestamp::EPOCH,
            fails: dice.unit() * 0.5,
            halves: dice.unit() * 0.15,
            loses: dice.unit() * 0.6,
            slow: 1 + dice.below(12) as u32,
        };
        self.lasts(Lasting::Engine(at), 30, 400);
    }

    pub(super) fn lasts(&mut self, fault: Lasting, least_s: u64, most_s: u64) {
        let lasts = self.dice.faults.secs(least_s, most_s);
        self.agenda.note(self.now + lasts, Happening::Over(fault));
    }

    /// A container of those that run.
    fn any_container(&mut self) -> Option<(usize, ContainerId)> {
        let running: Vec<(usize, ContainerId)> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.up)
            .flat_map(|(at, node)| node.containers.values().map(move |it| (at, it)))
            .filter(|(_, it)| it.state == ContainerState::Running)
            .map(|(at, it)| (at, it.id.clone()))
            .collect();
        let drawn = self.dice.faults.below(running.len());
        running.get(drawn).cloned()
    }

    fn sicken(&mut self, kind: Kind) {
        let count = match kind {
            Kind::CommonCause => 3 + self.dice.faults.below(5),
            _ => 1,
        };
        for _ in 0..count {
            let Some((at, id)) = self.any_container() else {
                return;
            };
            if kind == Kind::Mistake {
                let until = self.now + self.dice.faults.secs(20, 300);
                self.analytics.mistaken = Some((id, until));
                return;
            }
            let dice = &mut self.dice.faults;
            let stubborn = dice.weighed(&CURES).unwrap_or(Cure::Patience);
            let cure = match (kind, dice.chance(STUBBORN)) {
                (Kind::Lie, _) => Cure::Patience,
                (_, true) => stubborn,
                (_, false) => Cure::Restart,
            };
            let leak = 0.002 + dice.unit() * 0.02;
            let kinds = match kind {
                Kind::Lie => [
                    (1, Ill::Slandered),
                    (1, Ill::Flattered),
                    (0, Ill::Hung),
                    (0, Ill::Hung),
                ],
                _ => [
                    (3, Ill::Hung),
                    (3, Ill::Failing),
                    (2, Ill::Leaking(leak)),
                    (2, Ill::Crashing),
                ],
            };
            let ill = dice.weighed(&kinds).unwrap_or(Ill::Hung);
            let cure = match ill {
                Ill::Crashing => stubborn,
                Ill::Hung | Ill::Failing | Ill::Leaking(_) | Ill::Slandered | Ill::Flattered => {
                    cure
                }
            };
            let Some(container) = self.nodes[at].containers.get_mut(&id) else {
                return;
            };
            // Without a health check nobody could ever tell that it fails.
            let unseen = matches!(ill, Ill::Failing | Ill::Slandered)
                && self.services[container.service].checked == Checked::No;
            if unseen {
                continue;
            }
            container.ill = Some((ill, cure));
            match cure {
                Cure::Restart => {}
                Cure::Patience => self.lasts(Lasting::Ill(at, id), 20, 900),
                Cure::Elsewhere | Cure::Nowhere => self.lasts(Lasting::Ill(at, id), 200, 2_400),
            }
        }
    }

    /// A new container is as ill as the one before.
    pub(super) fn sicken_again(&mut self, at: usize, id: &ContainerId, ill: Option<(Ill, Cure)>) {
        if self.calm {
            return;
        }
        if let Some(container) = self.nodes[at].containers.get_mut(id) {
            container.ill = container.ill.or(ill);
            self.lasts(Lasting::Ill(at, id.clone()), 200, 2_400);
        }
    }

    fn skew(&mut self, at: usize) {
        let dice = &mut self.dice.faults;
        let most = match dice.below(8) {
            0 => SKEW_MOST_MS,
            _ => SKEW_MS,
        };
        let off_ms = dice.below(2 * most + 1) as i64 - most as i64;
        self.nodes[at].set_clock(off_ms, self.now);
        self.lasts(Lasting::Skewed(at), 30, 600);
    }

    fn change_leader(&mut self, kind: Kind) {
        let Some(of) = self.leader() else { return };
        let wait = match kind {
            Kind::ControllerDies => {
                self.land(of);
                self.dice.faults.millis(500, 20_000)
            }
            _ => {
                // It stands still for longer than the group waits, or is merely moved aside.
                if self.dice.faults.chance(0.5) {
                    let stands = self.dice.faults.secs(8, 45);
                    self.controllers[of].frozen_until = self.now + stands;
                    self.dice.faults.secs(6, 12)
                } else {
                    Duration::ZERO
                }
            }
        };
        self.agenda.note(self.now + wait, Happening::Claim);
    }

    /// Where it is leaders that are looked at, one may stop with a decision in its hands: it is written when it goes on, after the next
    /// leader has spoken.
    pub(super) fn stall(&mut self, of: usize) {
        let fits = self.options.mix == Mix::Leaders && !self.calm && self.leader() == Some(of);
        if !fits || !self.dice.faults.chance(STALLS) {
            return;
        }
        self.faults += 1;
        self.note(|_| format!("fault: leader {of} stands still with a decision"));
        let stands = self.dice.faults.secs(8, 45);
        self.controllers[of].frozen_until = self.now + stands;
        let wait = self.dice.faults.secs(6, 12);
        self.agenda.note(self.now + wait, Happening::Claim);
    }

    fn change_load(&mut self) {
        let of = self.dice.faults.below(self.services.len());
        let share = self.dice.faults.unit() * 1.6;
        // What is asked of workers changes by a stream of its own.
        if self.services[of].jobs.is_some() {
            return;
        }
        let service = &mut self.services[of];
        service.demand = service.most() * share;
    }

    fn person(&mut self, kind: Kind) {
        let Some((at, id)) = self.any_container() else {
            return;
        };
        match kind {
            Kind::Deploy => {
                let of = self.nodes[at].containers[&id].service;
                self.agenda.note(self.now, Happening::Deploy(of, 0));
            }
            Kind::BadDeploy => {
                let of = self.nodes[at].containers[&id].service;
                let service = &mut self.services[of];
                // People do not deploy a second build before they have mended the first.
                if service.bad_image.is_none() {
                    service.image += 1;
                    service.bad_image = Some(service.image);
                    self.agenda.note(self.now, Happening::Deploy(of, 0));
                    self.lasts(Lasting::BadImage(of), 120, 1_500);
                }
            }
            Kind::Pause => {
                if let Some(container) = self.nodes[at].containers.get_mut(&id) {
                    container.state = ContainerState::Paused;
                    container.note_serving(self.now);
                }
                self.tell(at, &id, EventKind::Paused, Author::Person);
                self.lasts(Lasting::Paused(at, id), 20, 300);
            }
            Kind::Stop => {
                self.stop_container(at, &id, Author::Person);
                if let Some(container) = self.nodes[at].containers.get_mut(&id) {
                    container.stopped_by_hand = true;
                    container.wanted = false;
                    self.services[container.service].touched = true;
                }
                self.lasts(Lasting::Stopped(at, id), 30, 400);
            }
            Kind::RestartByHand => {
                self.stop_container(at, &id, Author::Person);
                self.start_container(at, &id, Author::Person);
            }
            _ => self.tell(at, &id, EventKind::Updated, Author::Person),
        }
        self.say_inventory(at);
    }

    /// People replace the containers they made of a service, one after the other.
    pub(super) fn deploy(&mut self, of: usize, turn: u32) {
        let mut theirs: Vec<(usize, ContainerId)> = Vec::new();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.up) {
            let all = node.containers.values();
            let old = all.filter(|it| it.service == of && it.made_by.is_none() && it.wanted);
            let old = old.filter(|it| it.fenced_at.is_none());
            theirs.extend(old.map(|it| (at, it.id.clone())));
        }
        let wanted = self.services[of].image;
        let is_old = |(at, id): &&(usize, ContainerId)| {
            let container = self.nodes[*at].containers.get(id);
            container.is_some_and(|it| it.image != wanted)
        };
        let next = theirs.iter().find(is_old).or(theirs.get(turn as usize));
        let Some((at, id)) = next.cloned() else {
            return;
        };
        self.services[of].touched = true;
        let Some(old) = self.nodes[at].containers.get(&id).cloned() else {
            return;
        };
        self.stop_container(at, &id, Author::Person);
        self.tell(at, &id, EventKind::Removed, Author::Person);
        let taken = self.nodes[at].containers.remove(&id);
        if let Some(ceased_at) = taken.and_then(|it| it.ceased_at) {
            self.taken.push_back((of, ceased_at));
            if self.taken.len() > TAKEN_MAX {
                self.taken.pop_front();
            }
        }
        let new = Container {
            image: self.services[of].image,
            ..old
        };
        self.create_container(at, new, Author::Person);
        self.say_inventory(at);
        let wait = self.dice.faults.secs(3, 25);
        self.agenda
            .note(self.now + wait, Happening::Deploy(of, turn + 1));
    }

    /// A record is written again.
    pub(super) fn echo(&mut self, topic: Topic, place: usize) {
        let Some(kept) = self.log.get(topic, place).cloned() else {
            return;
        };
        let record = bus::NewRecord {
            topic: kept.record.position.topic,
            key: kept.record.key,
            value: kept.record.value,
            headers: kept.record.headers,
            partition: None,
        };
        self.append(topic, record, kept.made_at, Author::Echo);
    }

    /// Whether this record's acknowledgement is lost.
    pub(super) fn is_echoed(&mut self, topic: Topic, author: Author) -> bool {
        // The generation is the claim's offset, so a claim written twice would be another claim.
        author != Author::Echo && topic != Topic::Election && self.dice.log.chance(self.echoes)
    }
}
