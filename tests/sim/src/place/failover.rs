//! What the death of each host does.

use control::place::Resources;
use units::Ratio;

use super::rivals::numbers;
use super::{PlaceError, Placed, Policy, place};
use crate::draws::Draws;

/// Of more nodes than this, so many are drawn.
pub const DRAWN_NODES: u32 = 200;
/// How often pods are drawn; the figures are means.
pub const DRAWS: u32 = 3;
/// Pods drawn at most each time; a load that so many do not reach is the load of so many.
const PODS_MAX: usize = 2_000_000;
const NODES_SEED: u32 = 7;
const PODS_SEED: u32 = 100;
/// What a dead host's pods measure room by: shares of 128 cores and 1 TiB.
const SCALE: [f64; 2] = [128_000.0, 1_048_576.0];

/// Means over the draws.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Failover {
    /// Of used hosts, the share whose every pod finds another host when it dies.
    pub failover_share: f64,
    /// Pods that were turned away.
    pub unplaced: f64,
    /// Hosts with a pod.
    pub hosts_used: f64,
    /// Moves for each pod placed.
    pub moves_per_container: f64,
}

/// Draws nodes, and pods with replacement up to `load` of their CPU; places them in the drawn order; then lets each used host die in
/// turn, and its pods go, in order, to the others by best fit.
pub fn failover(
    nodes: &[Resources],
    pods: &[Resources],
    load: Ratio,
    policy: Policy,
) -> Result<Failover, PlaceError> {
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let chosen = Draws::new(NODES_SEED).choose(count, DRAWN_NODES);
    let nodes: Vec<Resources> = chosen.iter().map(|&at| nodes[at as usize]).collect();
    let cpu: f64 = nodes.iter().map(|it| it.cpu.0 as f64).sum();
    if cpu == 0.0 {
        return Err(PlaceError::NoNodes);
    }
    if pods.iter().all(|pod| pod.cpu.0 == 0) {
        return Err(PlaceError::NoPods);
    }
    let mut sum = Failover::default();
    for draw in 0..DRAWS {
        let drawn = drawn(pods, cpu * load.get(), PODS_SEED + draw);
        let placed = place(&nodes, &drawn, policy);
        let (survivable, used) = deaths(&nodes, &drawn, &placed);
        let unplaced = placed.on.iter().filter(|it| it.is_none()).count();
        let on_hosts = drawn.len() - unplaced;
        sum.failover_share += survivable as f64 / used.max(1) as f64;
        sum.unplaced += unplaced as f64;
        sum.hosts_used += used as f64;
        sum.moves_per_container += placed.moves as f64 / on_hosts.max(1) as f64;
    }
    let mean = |sum: f64| sum / f64::from(DRAWS);
    Ok(Failover {
        failover_share: mean(sum.failover_share),
        unplaced: mean(sum.unplaced),
        hosts_used: mean(sum.hosts_used),
        moves_per_container: mean(sum.moves_per_container),
    })
}

/// Pods in the drawn order, without the one with which their CPU comes to `cpu`.
fn drawn(pods: &[Resources], cpu: f64, seed: u32) -> Vec<Resources> {
    let count = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    let mut draws = Draws::new(seed);
    let mut sum = 0.0;
    let all = std::iter::repeat_with(|| pods[draws.below(count) as usize]).take(PODS_MAX);
    all.take_while(|pod| {
        sum += pod.cpu.0 as f64;
        sum < cpu
    })
    .collect()
}

/// Used hosts that may die, and used hosts.
fn deaths(nodes: &[Resources], pods: &[Resources], placed: &Placed) -> (usize, usize) {
    let mut free: Vec<[f64; 2]> = nodes.iter().map(|&it| numbers(it)).collect();
    let mut on: Vec<Vec<[f64; 2]>> = vec![Vec::new(); nodes.len()];
    for (&pod, host) in pods.iter().zip(&placed.on) {
        if let Some(host) = *host {
            let pod = numbers(pod);
            free[host] = [free[host][0] - pod[0], free[host][1] - pod[1]];
            on[host].push(pod);
        }
    }
    let used: Vec<usize> = (0..nodes.len()).filter(|it| !on[*it].is_empty()).collect();
    let survivable = used
        .iter()
        .filter(|&&dead| {
            let mut free = free.clone();
            on[dead].iter().all(|&pod| again(&mut free, dead, pod))
        })
        .count();
    (survivable, used.len())
}

/// Whether a pod of a dead host finds another, which it then takes.
fn again(free: &mut [[f64; 2]], dead: usize, pod: [f64; 2]) -> bool {
    let mut best: Option<(f64, usize)> = None;
    for (at, room) in free.iter().enumerate() {
        if at == dead || room[0] < pod[0] || room[1] < pod[1] {
            continue;
        }
        let left = (room[0] - pod[0]) / SCALE[0] + (room[1] - pod[1]) / SCALE[1];
        if best.is_none_or(|it| left < it.0) {
            best = Some((left, at));
        }
    }
    let Some((_, at)) = best else { return false };
    free[at] = [free[at][0] - pod[0], free[at][1] - pod[1]];
    true
}
