use proptest::prelude::*;
use units::{Bytes, Millicores, Ratio};

use super::*;

fn room(cpu: u64, memory: u64) -> Resources {
    Resources::new(Millicores(cpu), Bytes(memory))
}

const ALL: [Policy; 4] = [
    Policy::Homeostat,
    Policy::BestFit,
    Policy::Spread,
    Policy::Kube,
];

#[test]
fn pods_that_fill_hosts_need_no_more_than_the_bound() {
    let pods = vec![room(500, 100); 40];
    for policy in ALL {
        let found = fleet(&pods, room(1_000, 1_000), policy).unwrap();
        assert_eq!(
            (found.hosts_used, found.lower_bound, found.moves),
            (20, 20, 0)
        );
    }
}

#[test]
fn what_cannot_be_placed_is_refused_with_its_place() {
    let host = room(1_000, 1_000);
    assert_eq!(fleet(&[], host, Policy::BestFit), Err(PlaceError::NoPods));
    assert_eq!(
        fleet(&[room(1, 1), room(1_001, 1)], host, Policy::BestFit),
        Err(PlaceError::TooLarge { at: 1 })
    );
    let load = Ratio::saturating(0.5);
    assert_eq!(
        failover(&[], &[room(1, 1)], load, Policy::BestFit),
        Err(PlaceError::NoNodes)
    );
}

#[test]
fn an_empty_host_is_where_the_dead_go() {
    let nodes = vec![room(1_000, 1_000); 4];
    let pods = [room(100, 100)];
    let found = |load| {
        failover(&nodes, &pods, Ratio::saturating(load), Policy::Homeostat)
            .unwrap()
            .failover_share
    };
    assert_eq!((found(0.7), found(1.0)), (1.0, 0.0));
}

proptest! {
    #[test]
    fn no_policy_is_below_the_bound_nor_overfills(
        sizes in prop::collection::vec((1_u64..1_000, 1_u64..1_000), 1..60),
    ) {
        let host = room(1_000, 1_000);
        let pods: Vec<Resources> = sizes.iter().map(|&(cpu, memory)| room(cpu, memory)).collect();
        for policy in ALL {
            let found = fleet(&pods, host, policy).unwrap();
            prop_assert!(found.hosts_used >= found.lower_bound && found.hosts_used <= pods.len());
            let placed = place(&vec![host; found.hosts_used], &pods, policy);
            let mut used = vec![Resources::default(); found.hosts_used];
            for (pod, on) in pods.iter().zip(&placed.on) {
                let on = on.unwrap();
                used[on] = used[on].plus(*pod);
            }
            prop_assert!(used.iter().all(|it| it.fits(host)));
        }
    }
}
