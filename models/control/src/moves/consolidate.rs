//! Emptying hosts that the fleet can do without.
//!
//! A host is *spare* when what all hosts are granted fits into the others, the emptiest being spare first. Mostly it is spare for a short
//! while only: load returns, or what is on it ends by itself. So it is not emptied at once but when either
//!
//! - it has been spare for a time that has proven itself, as who rents skis buys them once the rent has come to their price; or
//! - what will be free after it has gone suffices for what arrives, at the pace of the last minutes and if nothing ended, for so many
//!   minutes for each container that has to move. When nothing arrives this is at once.
//!
//! Meanwhile it is taken for new containers only where the others have no room, so that it may empty by itself. Both times grow as
//! more is moved than was meant to be; then nothing is emptied at once.

use std::collections::BTreeSet;
use std::time::Duration;

use units::Timestamp;

use crate::place::{
    Container, ContainerIndex, HostIndex, Hosts, Movable, Move, Resources, obstacle, room,
};

/// How patient consolidation is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consolidation {
    /// A host that has been spare for so long is emptied.
    pub proven: Duration,
    /// It is emptied before, when it will not be needed for so long for each container on it.
    pub each_move: Duration,
    /// Moves for each arrival that are meant to be enough over time.
    pub moves_each: f64,
}

impl Default for Consolidation {
    fn default() -> Self {
        Consolidation {
            proven: Duration::from_secs(15 * 60),
            each_move: Duration::from_secs(3 * 60),
            moves_each: 0.045,
        }
    }
}

/// The pace of arrivals is that of about the last ten minutes.
const PACE: Duration = Duration::from_secs(600);
/// Moves that may be made beyond what arrivals earned before patience grows.
const CREDIT: f64 = 20.0;
/// Patience grows with this power of how far the moves are beyond what was meant.
const STRICTNESS: i32 = 4;
/// Patience never grows beyond this many times.
const PATIENCE_MAX: f64 = 30.0;
/// Different amounts of free room that are looked at for one container, from the smallest on that suffices.
const ROOMS_MAX: usize = 64;

/// Empties hosts that the fleet can do without, and learns how much arrives.
#[derive(Debug, Clone)]
pub struct Consolidator {
    settings: Consolidation,
    arrivals: u64,
    moves: u64,
    /// CPU in millicores and memory in bytes that arrive in a minute.
    pace: [f64; 2],
    paced_at: Timestamp,
    spare: Vec<(HostIndex, Timestamp)>,
}

impl Default for Consolidator {
    fn default() -> Self {
        Consolidator::new(Consolidation::default())
    }
}

impl Consolidator {
    /// A consolidator that has seen nothing yet.
    pub fn new(settings: Consolidation) -> Self {
        Consolidator {
            settings,
            arrivals: 0,
            moves: 0,
            pace: [0.0; 2],
            paced_at: Timestamp::EPOCH,
            spare: Vec::new(),
        }
    }

    /// Counts a container that arrived, wherever it was placed.
    pub fn arrived(&mut self, now: Timestamp, asks: Resources) {
        self.arrivals += 1;
        self.pace = self.pace_at(now);
        self.paced_at = now;
        let pace_min = PACE.as_secs_f64() / 60.0;
        self.pace[0] += asks.cpu.0 as f64 / pace_min;
        self.pace[1] += asks.memory.0 as f64 / pace_min;
    }

    /// Hosts that are spare, as of the last plan: to be filled last.
    pub fn spare(&self) -> BTreeSet<HostIndex> {
        self.spare.iter().map(|&(host, _)| host).collect()
    }

    /// Moves that empty hosts, each of them whole, done in `hosts` when this returns. Of n hosts it costs n log n.
    pub fn plan(&mut self, now: Timestamp, hosts: &mut Hosts) -> Vec<Move> {
        let order = spare(hosts);
        let since = |host: HostIndex| {
            let known = self.spare.iter().find(|it| it.0 == host);
            known.map_or(now, |it| it.1)
        };
        let spare: Vec<(HostIndex, Timestamp)> =
            order.iter().map(|it| (it.host, since(it.host))).collect();
        self.spare = spare;
        let avoided = self.spare();
        let pace = self.pace_at(now);
        let mut moves = Vec::new();
        for (at, candidate) in order.iter().enumerate() {
            let waited = now.since(self.spare[at].1);
            if !self.is_worth(hosts, candidate, waited, pace) {
                continue;
            }
            let Some(emptied) = empty(hosts, candidate.host, &avoided) else {
                continue;
            };
            self.moves += emptied.len() as u64;
            moves.extend(emptied);
        }
        self.spare.retain(|(host, _)| hosts.on(*host).len() > 0);
        moves
    }

    fn is_worth(&self, hosts: &Hosts, candidate: &Spare, waited: Duration, pace: [f64; 2]) -> bool {
        let patience = self.patience();
        if waited >= self.settings.proven.mul_f64(patience) {
            return true;
        }
        let left = [candidate.left.cpu.0 as f64, candidate.left.memory.0 as f64];
        let minutes = left
            .iter()
            .zip(pace)
            .map(|(left, pace)| left / pace.max(f64::MIN_POSITIVE));
        let lasts_min = minutes.fold(f64::INFINITY, f64::min);
        let price_min =
            self.settings.each_move.as_secs_f64() / 60.0 * hosts.on(candidate.host).len() as f64;
        let waited_min = waited.as_secs_f64() / 60.0;
        lasts_min >= price_min * patience && waited_min >= price_min * (patience - 1.0)
    }

    fn patience(&self) -> f64 {
        let meant = self.arrivals as f64 * self.settings.moves_each;
        let beyond = (self.moves as f64 + CREDIT) / (meant + CREDIT);
        beyond.powi(STRICTNESS).clamp(1.0, PATIENCE_MAX)
    }

    fn pace_at(&self, now: Timestamp) -> [f64; 2] {
        let passed = now.since(self.paced_at).as_secs_f64() / PACE.as_secs_f64();
        self.pace.map(|pace| pace * (-passed).exp())
    }
}

/// A host that the others can do without.
struct Spare {
    host: HostIndex,
    /// What is free in the others once it and those before it have gone.
    left: Resources,
}

/// Spare hosts, the emptiest first.
fn spare(hosts: &Hosts) -> Vec<Spare> {
    let whole = hosts.largest();
    let mut used: Vec<(f64, HostIndex)> = hosts
        .indices()
        .filter(|it| hosts.on(*it).len() > 0)
        .map(|it| (hosts.used_on(it).size(whole), it))
        .collect();
    used.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let all = used.iter().map(|it| hosts.host(it.1).capacity);
    let mut capacity = all.fold(Resources::default(), Resources::plus);
    let mut spare = Vec::new();
    for (_, host) in used {
        capacity = capacity.minus(hosts.host(host).capacity);
        if !hosts.used().fits(capacity) {
            break;
        }
        let left = capacity.minus(hosts.used());
        spare.push(Spare { host, left });
    }
    spare
}

/// Moves everything off a host, the largest first, each by best fit to a host that is used and not avoided: all or nothing.
fn empty(hosts: &mut Hosts, host: HostIndex, avoided: &BTreeSet<HostIndex>) -> Option<Vec<Move>> {
    let mut on: Vec<(Resources, ContainerIndex)> = Vec::new();
    for (index, container) in hosts.on(host) {
        match container.movable {
            Movable::Yes => on.push((container.asks, index)),
            Movable::No => return None,
        }
    }
    on.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut moves = Vec::with_capacity(on.len());
    for (_, index) in on {
        let (container, _) = hosts.container(index)?;
        match tightest(hosts, container, host, avoided) {
            Some(to) => moves.extend(hosts.relocate(index, to)),
            None => {
                room::undo(hosts, &moves);
                return None;
            }
        }
    }
    Some(moves)
}

fn tightest(
    hosts: &Hosts,
    container: &Container,
    from: HostIndex,
    avoided: &BTreeSet<HostIndex>,
) -> Option<HostIndex> {
    let whole = hosts.largest();
    let may = |it: &HostIndex| {
        *it != from
            && !avoided.contains(it)
            && hosts.on(*it).len() > 0
            && obstacle(hosts, container, *it).is_none()
    };
    hosts
        .with_room(container.asks)
        .filter_map(|(free, equals)| Some((free.size(whole), *equals.iter().find(|it| may(it))?)))
        .take(ROOMS_MAX)
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, host)| host)
}
