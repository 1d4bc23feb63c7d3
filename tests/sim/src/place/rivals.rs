//! What is measured against: schedulers that place and never move.

use control::place::Resources;
use units::{Bytes, Millicores};

use super::Placed;

/// A host as a rival sees it; CPU in millicores, memory in MiB.
pub(super) struct Seen {
    capacity: [f64; 2],
    free: [f64; 2],
    pods: usize,
}

/// The host and the pod, both of the same resources, and the most that any host has.
type Score = fn(&Seen, [f64; 2], [f64; 2]) -> f64;

/// Scans the hosts in order; the highest score wins, the first of equals.
pub(super) fn place(hosts: &[Resources], pods: &[Resources], score: Score) -> Placed {
    let mut hosts: Vec<Seen> = hosts
        .iter()
        .map(|&capacity| Seen {
            capacity: numbers(capacity),
            free: numbers(capacity),
            pods: 0,
        })
        .collect();
    let largest = hosts.iter().fold([0.0_f64; 2], |most, it| {
        [most[0].max(it.capacity[0]), most[1].max(it.capacity[1])]
    });
    let on = pods.iter().map(|&pod| {
        let pod = numbers(pod);
        let mut best: Option<(f64, usize)> = None;
        for (at, host) in hosts.iter().enumerate() {
            if host.free[0] < pod[0] || host.free[1] < pod[1] {
                continue;
            }
            let score = score(host, pod, largest);
            if best.is_none_or(|it| score > it.0) {
                best = Some((score, at));
            }
        }
        let (_, at) = best?;
        let host = &mut hosts[at];
        host.free = [host.free[0] - pod[0], host.free[1] - pod[1]];
        host.pods += 1;
        Some(at)
    });
    Placed {
        on: on.collect(),
        moves: 0,
    }
}

pub(super) fn best_fit(host: &Seen, pod: [f64; 2], largest: [f64; 2]) -> f64 {
    -((host.free[0] - pod[0]) / largest[0] + (host.free[1] - pod[1]) / largest[1])
}

pub(super) fn spread(host: &Seen, _: [f64; 2], _: [f64; 2]) -> f64 {
    -(host.pods as f64)
}

/// The mean free share, and how alike the shares of CPU and memory are, both after placing and of equal weight.
pub(super) fn kube(host: &Seen, pod: [f64; 2], _: [f64; 2]) -> f64 {
    let used = |at: usize| (host.capacity[at] - host.free[at] + pod[at]) / host.capacity[at];
    let (cpu, memory) = (used(0), used(1));
    100.0 * ((1.0 - cpu) + (1.0 - memory)) / 2.0 + 100.0 * (1.0 - (cpu - memory).abs() / 2.0)
}

/// Millicores and MiB.
pub(super) fn numbers(resources: Resources) -> [f64; 2] {
    let Resources {
        cpu: Millicores(cpu),
        memory: Bytes(memory),
    } = resources;
    [cpu as f64, memory as f64 / 1_048_576.0]
}
