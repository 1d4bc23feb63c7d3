//! The choice of a host.

use std::collections::BTreeSet;

use super::stranded::Stranded;
use super::{Container, HostIndex, Hosts, Move, Resources, obstacle, room};

/// Different amounts of free room that one choice looks at, from the smallest on that suffices. Hosts beyond them are emptier than
/// all of these; only where none of these may take the container is every host looked at.
pub const CANDIDATES_MAX: usize = 512;
/// Equal hosts that one choice looks at within an amount of free room.
const EQUALS_MAX: usize = 8;
/// What a host's whole free room weighs against as much stranded room. Near nothing: it decides among hosts on which equally
/// little is stranded, and keeps empty ones empty.
const LEFT_WEIGHT: f64 = 0.003;
/// What an image that must be pulled weighs, as a share of a host's room: it decides among hosts that suit almost equally.
const PULL_WEIGHT: f64 = 0.0003;
/// What a host of twice the ordinary cost weighs more, as a share of a host's room, once it is opened.
const COST_WEIGHT: f64 = 0.003;
/// What it weighs that none of the services a container talks to is in the host's zone, as a share of a host's room: more than a pull,
/// which is over once, and still only among hosts that suit almost equally.
const AWAY_WEIGHT: f64 = 0.001;

/// What each container on a host weighs against free room, as a share of the largest host's. A host of many containers takes many
/// moves to empty, so it is filled and others are left to empty by themselves.
const CROWD_WEIGHT: f64 = 0.005;
/// Containers on a host beyond these weigh nothing: it will not be emptied anyway.
const CROWD_MAX: usize = 30;

/// Where one container goes, and what must be moved first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The host.
    pub on: HostIndex,
    /// Moves that make room there, to be done in this order, before; mostly none.
    pub moves: Vec<Move>,
}

/// What a fleet's hosts are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Aim {
    /// They are there, and are to take as much as they can: what is stranded decides, and moves make room.
    #[default]
    Fill,
    /// They can be had and given back at will: the fullest are taken, and of those almost as full the ones with the most containers,
    /// so that others empty by themselves or by a few moves. Room that is stranded now is
    /// not for long where containers come and go, and no move is made for it.
    Release,
}

/// Chooses hosts, and learns from what arrives.
#[derive(Debug, Clone)]
pub struct Placer {
    aim: Aim,
    stranded: Stranded,
    /// Moves that may be made for room: each placement earns a share of one.
    allowance: f64,
    moves_each: f64,
}

impl Default for Placer {
    fn default() -> Self {
        Placer::new(Aim::Fill, 0.02)
    }
}

impl Placer {
    /// A placer that moves at most `moves_each` containers for each one it places, over time; 0.02 by default. Where hosts
    /// are released it moves none.
    pub fn new(aim: Aim, moves_each: f64) -> Self {
        let moves_each = match aim {
            Aim::Fill => moves_each.clamp(0.0, 1.0),
            Aim::Release => 0.0,
        };
        Placer {
            aim,
            stranded: Stranded::default(),
            allowance: 0.0,
            moves_each,
        }
    }

    /// Chooses a host. The moves, if any, are done in `hosts` when this returns; the container is not on its host yet. Nothing is
    /// returned where no host can take it.
    ///
    /// Hosts in `spare` are about to be emptied, and taken only where the others will not do.
    pub fn choose(
        &mut self,
        hosts: &mut Hosts,
        container: &Container,
        spare: &BTreeSet<HostIndex>,
    ) -> Option<Placement> {
        self.stranded
            .observe(container.asks, hosts.largest(), hosts.capacity());
        self.allowance += self.moves_each;
        let reserve = hosts.largest_empty();
        let kept = |host: HostIndex| Some(host) == reserve;
        let unmoved = |on| Placement {
            on,
            moves: Vec::new(),
        };
        if let Some(on) = self.best(hosts, container, |it| !kept(it) && !spare.contains(&it)) {
            return Some(unmoved(on));
        }
        if let Some(on) = self.best(hosts, container, |it| !kept(it)) {
            return Some(unmoved(on));
        }
        let moves_max = self.allowance as usize;
        if let Some(placement) = room::make(hosts, container, reserve, moves_max) {
            self.allowance -= placement.moves.len() as f64;
            return Some(placement);
        }
        self.best(hosts, container, |_| true).map(unmoved)
    }

    /// The host with the best score of those that may take the container.
    fn best(
        &self,
        hosts: &Hosts,
        container: &Container,
        allowed: impl Fn(HostIndex) -> bool,
    ) -> Option<HostIndex> {
        let may = |it: HostIndex| allowed(it) && obstacle(hosts, container, it).is_none();
        let mut best: Option<(f64, HostIndex)> = None;
        let mut offer = |host: HostIndex| {
            let score = self.score(hosts, container, host);
            if best.is_none_or(|it| (score, host) < it) {
                best = Some((score, host));
            }
        };
        for (_, equals) in hosts.with_room(container.asks).take(CANDIDATES_MAX) {
            equals
                .iter()
                .copied()
                .filter(|it| may(*it))
                .take(EQUALS_MAX)
                .for_each(&mut offer);
        }
        match best {
            Some((_, host)) => Some(host),
            None => hosts.indices().find(|it| may(*it)),
        }
    }

    /// Lower is better; in shares of the largest host's room.
    fn score(&self, hosts: &Hosts, container: &Container, on: HostIndex) -> f64 {
        let host = hosts.host(on);
        let before = hosts.free(on);
        let after: Resources = before.minus(container.asks);
        let pull = match &container.needs.image {
            image if image.is_empty() || host.images.contains(image) => 0.0,
            _ => PULL_WEIGHT,
        };
        let opening = match before == host.capacity {
            true => COST_WEIGHT * host.cost.get(),
            false => 0.0,
        };
        let fit = match self.aim {
            Aim::Fill => {
                let left = LEFT_WEIGHT * after.size(hosts.largest());
                self.stranded.growth(before, after) + left
            }
            Aim::Release => LEFT_WEIGHT * openness(hosts, on, after),
        };
        fit + pull + opening + AWAY_WEIGHT * hosts.peers_away(container, on)
    }
}

/// How little a host with `free` left suits to be filled where hosts are released: its free room in shares of the largest host's,
/// less what its containers weigh. Lower is better.
pub(crate) fn openness(hosts: &Hosts, on: HostIndex, free: Resources) -> f64 {
    let crowd = hosts.on(on).len().min(CROWD_MAX) as f64;
    free.size(hosts.largest()) - CROWD_WEIGHT * crowd
}
