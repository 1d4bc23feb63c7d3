//! What a seed has besides where hosts are lost: room elsewhere, and services of one container that may move.

use units::{Mode, NodeId, Policy, ServiceId, Timestamp};

use crate::world::dice::Dice;
use crate::world::jobs::place;
use crate::world::node::Node;
use crate::world::orders::UPDATABLE;
use crate::world::scene::Service;

/// This share of the worlds has many hosts, in zones of two: of fewer, two at once are too many already.
const LARGE: f64 = 0.2;
const LARGE_HOSTS: (usize, usize) = (11, 4);
const SMALL_MORE: (usize, usize) = (1, 3);
const CORES: f64 = 8_000.0;
/// Services of one container that may move.
const SERVICES: (usize, usize) = (2, 4);
/// Of these, those of which no two may run at once.
const SINGLETONS: f64 = 0.5;

/// Adds hosts and services to a scene.
pub(in crate::world) fn add(
    seed: u64,
    now: Timestamp,
    nodes: &mut Vec<Node>,
    services: &mut Vec<Service>,
) {
    let mut dice = Dice::new(seed, "losses of the scene");
    let is_large = dice.chance(LARGE);
    let hosts = match is_large {
        true => LARGE_HOSTS.0 + dice.below(LARGE_HOSTS.1),
        false => nodes.len() + SMALL_MORE.0 + dice.below(SMALL_MORE.1),
    };
    for number in nodes.len()..hosts {
        let id = NodeId::new(format!("node-{number}"));
        nodes.push(Node::new(id, CORES, now));
    }
    if is_large {
        for (number, node) in nodes.iter_mut().enumerate() {
            node.zone = Some(format!("zone-{}", number / 2));
        }
    }
    for number in 0..SERVICES.0 + dice.below(SERVICES.1) {
        let modes = [(9, Mode::Act), (1, Mode::Observe)];
        let policy = Policy {
            mode: dice.weighed(&modes).unwrap_or_default(),
            heal: dice.chance(0.7),
            movable: true,
            singleton: dice.chance(SINGLETONS),
            update: dice.chance(UPDATABLE),
            ..Policy::default()
        };
        let policy = Policy {
            recreate: policy.heal && dice.chance(0.5),
            ..policy
        };
        let id = ServiceId::new(format!("single-{number}"));
        place(&mut dice, nodes, services, (&id, policy, 1), now);
    }
}
