//! Emptying hosts that the fleet can do without.
//!
//! A host is *spare* when what all hosts are granted fits into the others. Mostly there is a spare host for a short while only: load
//! returns, or what is on one ends by itself. So none is emptied at once but when either
//!
//! - there has been a spare one for so many minutes for each container that has to move, as who rents skis buys them once the rent has
//!   come to their price; or
//! - what will be free after it has gone suffices for as long, at the pace of the last minutes and if nothing ended. When nothing
//!   arrives this is at once.
//!
//! Where hosts are equal any of them is as spare as the emptiest. So the one is emptied that takes the fewest moves, though it be fuller.
//!
//! Meanwhile the emptiest are taken for new containers only where the others have no room, so that they may empty by themselves. The
//! minutes for each move grow as more is moved than was meant to be; then nothing is emptied at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::Timestamp;

use crate::place::{
    Container, ContainerIndex, HostIndex, Hosts, Movable, Move, Resources, choose::openness,
    obstacle, room,
};

/// How patient consolidation is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consolidation {
    /// What a move costs, in time for which a host is kept: a host is emptied once one has been spare, or will not be needed, for so
    /// long for each container that has to move.
    pub each_move: Duration,
    /// Moves for each arrival that are meant to be enough over time.
    pub moves_each: f64,
}

impl Default for Consolidation {
    fn default() -> Self {
        Consolidation {
            each_move: Duration::from_secs(4 * 60),
            moves_each: 0.045,
        }
    }
}

/// The pace of arrivals is that of about the last four minutes; over longer ones the end of a burst is noticed late.
const PACE: Duration = Duration::from_secs(240);
/// Moves that may be made beyond what arrivals earned before patience grows.
const CREDIT: f64 = 20.0;
/// Patience grows with this power of how far the moves are beyond what was meant.
const STRICTNESS: i32 = 4;
/// Patience never grows beyond this many times.
const PATIENCE_MAX: f64 = 30.0;
/// What patience adds to the price of the moves must have been waited for to this share, also where nothing arrives: else each lull of
/// a load that comes in bursts would be taken for its end.
const HESITATION: f64 = 0.5;
/// Different amounts of free room that are looked at for one container, from the smallest on that suffices.
const ROOMS_MAX: usize = 64;
/// Equal hosts that are looked at for one container within an amount of free room.
const EQUALS_MAX: usize = 8;
/// Hosts with fewer containers than the emptiest that are tried before it in one plan; the others wait for the next.
const FEWER_MAX: usize = 128;

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
        let (mut capacity, order) = spare(hosts);
        self.note(now, &order);
        let avoided = self.spare();
        let since: BTreeMap<HostIndex, Timestamp> = self.spare.iter().copied().collect();
        // One that is not among the emptiest could be done without for as long as the emptiest.
        let longest = self.spare.first().map_or(now, |it| it.1);
        let pace = self.pace_at(now);
        let mut moves = Vec::new();
        for candidate in candidates(hosts, capacity, order) {
            let host = candidate.host;
            let rest = capacity.minus(hosts.host(host).capacity);
            if hosts.on(host).len() == 0 || !hosts.used().fits(rest) {
                continue;
            }
            let waited = now.since(since.get(&host).copied().unwrap_or(longest));
            if !self.is_worth(hosts, &candidate, waited, pace) {
                continue;
            }
            let is_among_emptiest = avoided.contains(&host);
            let emptied = match is_among_emptiest {
                true => empty(hosts, host, &avoided),
                false => empty(hosts, host, &BTreeSet::new()),
            };
            let Some(emptied) = emptied else {
                continue;
            };
            capacity = rest;
            self.moves += emptied.len() as u64;
            moves.extend(emptied);
            if !is_among_emptiest {
                // The emptiest may have been filled by it; they wait for the next plan, so that nothing is moved twice.
                break;
            }
        }
        self.spare.retain(|(host, _)| hosts.on(*host).len() > 0);
        moves
    }

    /// Remembers since when each host has been spare.
    fn note(&mut self, now: Timestamp, order: &[Candidate]) {
        let known: BTreeMap<HostIndex, Timestamp> = self.spare.iter().copied().collect();
        let since = |host: HostIndex| known.get(&host).copied().unwrap_or(now);
        self.spare = order.iter().map(|it| (it.host, since(it.host))).collect();
    }

    fn is_worth(
        &self,
        hosts: &Hosts,
        candidate: &Candidate,
        waited: Duration,
        pace: [f64; 2],
    ) -> bool {
        let moves = hosts.on(candidate.host).len() as f64;
        let moves_min = self.settings.each_move.as_secs_f64() / 60.0 * moves;
        let price_min = moves_min * self.patience();
        let hesitation_min = HESITATION * (price_min - moves_min);
        let left = [candidate.left.cpu.0 as f64, candidate.left.memory.0 as f64];
        let minutes = left
            .iter()
            .zip(pace)
            .map(|(left, pace)| left / pace.max(f64::MIN_POSITIVE));
        let lasts_min = minutes.fold(f64::INFINITY, f64::min);
        let waited_min = waited.as_secs_f64() / 60.0;
        waited_min >= price_min || (lasts_min >= price_min && waited_min >= hesitation_min)
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
struct Candidate {
    host: HostIndex,
    /// What is free in the others once it and those before it have gone.
    left: Resources,
}

/// What the hosts in use have together, and those of them that are spare, the emptiest first.
fn spare(hosts: &Hosts) -> (Resources, Vec<Candidate>) {
    let whole = hosts.largest();
    let mut used: Vec<(f64, HostIndex)> = in_use(hosts)
        .map(|it| (hosts.used_on(it).size(whole), it))
        .collect();
    used.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let all = used.iter().map(|it| hosts.host(it.1).capacity);
    let capacity = all.fold(Resources::default(), Resources::plus);
    let mut rest = capacity;
    let mut spare = Vec::new();
    for (_, host) in used {
        rest = rest.minus(hosts.host(host).capacity);
        if !hosts.used().fits(rest) {
            break;
        }
        let left = rest.minus(hosts.used());
        spare.push(Candidate { host, left });
    }
    (capacity, spare)
}

/// Hosts to be emptied, in the order in which they are tried: those with fewer containers than the emptiest, the fewest first, then
/// the spare ones.
fn candidates(hosts: &Hosts, capacity: Resources, spare: Vec<Candidate>) -> Vec<Candidate> {
    let Some(first) = spare.first() else {
        return spare;
    };
    let whole = hosts.largest();
    let moves_max = hosts.on(first.host).len();
    let mut fewer: Vec<(usize, f64, HostIndex)> = in_use(hosts)
        .map(|it| (hosts.on(it).len(), hosts.used_on(it).size(whole), it))
        .filter(|it| it.0 < moves_max)
        .collect();
    fewer.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    let fewer = fewer.into_iter().take(FEWER_MAX).map(|(_, _, host)| {
        let rest = capacity.minus(hosts.host(host).capacity);
        let left = rest.minus(hosts.used());
        Candidate { host, left }
    });
    fewer.collect::<Vec<_>>().into_iter().chain(spare).collect()
}

fn in_use(hosts: &Hosts) -> impl Iterator<Item = HostIndex> {
    hosts.indices().filter(|it| hosts.on(*it).len() > 0)
}

/// Moves everything off a host, the largest first, each by best fit to a host that is used and not avoided, of those almost as full the
/// one with the most containers: all or nothing.
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
    let may = |it: &HostIndex| {
        *it != from
            && !avoided.contains(it)
            && hosts.on(*it).len() > 0
            && obstacle(hosts, container, *it).is_none()
    };
    hosts
        .with_room(container.asks)
        .filter_map(|(_, equals)| {
            let them = equals.iter().copied().filter(may).take(EQUALS_MAX);
            best_to_fill(hosts, them)
        })
        .take(ROOMS_MAX)
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, host)| host)
}

fn best_to_fill(hosts: &Hosts, among: impl Iterator<Item = HostIndex>) -> Option<(f64, HostIndex)> {
    let scored = among.map(|it| (openness(hosts, it, hosts.free(it)), it));
    scored.min_by(|a, b| a.0.total_cmp(&b.0))
}
