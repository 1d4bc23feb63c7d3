use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use units::{Bytes, ContainerId, Millicores, NodeId, ServiceId};

use super::preempt::{preempt, preempt_on};
use super::survival::{stranded_by, survival};
use super::*;

fn room(cpu: u64, memory: u64) -> Resources {
    Resources::new(Millicores(cpu), Bytes(memory))
}

fn container(name: &str, asks: Resources) -> Container {
    Container {
        id: ContainerId::from(name),
        service: ServiceId::from(name),
        asks,
        needs: Arc::new(Needs::default()),
        priority: Priority::default(),
        movable: Movable::Yes,
    }
}

fn hosts(count: usize, capacity: Resources) -> Hosts {
    Hosts::new((0..count).map(|at| Host::plain(NodeId::new(format!("h{at}")), capacity)))
}

fn choose(placer: &mut Placer, hosts: &mut Hosts, container: &Container) -> Option<HostIndex> {
    let placement = placer.choose(hosts, container, &BTreeSet::new())?;
    hosts.add(container.clone(), placement.on);
    Some(placement.on)
}

#[test]
fn each_obstacle_is_named() {
    let mut host = Host::plain(NodeId::from("h"), room(10, 10));
    host.architecture = "amd64".to_owned();
    host.zone = "a".to_owned();
    host.labels.insert("disk".to_owned(), "ssd".to_owned());
    host.volumes.insert("data".to_owned());
    let mut other = host.clone();
    other.zone = "b".to_owned();
    let mut hosts = Hosts::new([host, other]);
    let here = HostIndex(0);
    let with = |change: &dyn Fn(&mut Needs)| {
        let mut needs = Needs::default();
        change(&mut needs);
        let mut it = container("web", room(4, 4));
        it.needs = Arc::new(needs);
        it
    };
    hosts.add(with(&|it| it.ports = vec![80]), here);
    let found = |hosts: &Hosts, it: &Container| obstacle(hosts, it, here);
    for (it, told) in [
        (with(&|_| ()), None),
        (container("big", room(7, 1)), Some(Obstacle::Cpu)),
        (container("big", room(1, 7)), Some(Obstacle::Memory)),
        (with(&|it| it.ports = vec![80]), Some(Obstacle::Port(80))),
        (
            with(&|it| it.apart = Apart::OtherHosts),
            Some(Obstacle::Apart),
        ),
        (
            with(&|it| it.architecture = Some("arm64".to_owned())),
            Some(Obstacle::Architecture),
        ),
        (
            with(&|it| drop(it.labels.insert("disk".to_owned(), "hdd".to_owned()))),
            Some(Obstacle::Label("disk=hdd".to_owned())),
        ),
        (
            with(&|it| it.volumes = vec!["data".to_owned(), "more".to_owned()]),
            Some(Obstacle::Volume("more".to_owned())),
        ),
        (
            with(&|it| it.zones = Zones::Even { skew_max: 1 }),
            Some(Obstacle::Zone),
        ),
        (with(&|it| it.zones = Zones::Even { skew_max: 2 }), None),
    ] {
        assert_eq!(found(&hosts, &it), told);
    }
    hosts.set_intake(here, Intake::Closed);
    assert_eq!(found(&hosts, &with(&|_| ())), Some(Obstacle::Closed));
}

#[test]
fn the_host_with_the_image_and_the_cheaper_one_are_taken_of_equals() {
    let capacity = room(100, 100);
    let mut hosts = hosts(3, capacity);
    let mut placer = Placer::default();
    // The largest empty host, the first, stays the reserve.
    let first = choose(&mut placer, &mut hosts, &container("a", room(10, 10)));
    assert_eq!(first, Some(HostIndex(1)));
    let mut pulled = Host::plain(NodeId::from("p"), capacity);
    pulled.images.insert("sha256:1".to_owned());
    let pulled = hosts.add_host(pulled);
    hosts.add(container("b", room(10, 10)), pulled);
    let needs = Needs {
        image: "sha256:1".to_owned(),
        ..Needs::default()
    };
    let mut it = container("c", room(10, 10));
    it.needs = Arc::new(needs);
    assert_eq!(choose(&mut placer, &mut hosts, &it), Some(pulled));
}

#[test]
fn of_hosts_that_suit_alike_the_one_in_the_zone_of_its_peers_is_taken() {
    let mut hosts = hosts(1, room(10, 10));
    let in_zone = |zone: &str, name: &str| Host {
        zone: zone.to_owned(),
        ..Host::plain(NodeId::from(name), room(10, 10))
    };
    let others = ["far", "near", "db"].map(|name| {
        let zone = if name == "far" { "a" } else { "b" };
        hosts.add_host(in_zone(zone, name))
    });
    hosts.add(container("db", room(10, 10)), others[2]);
    for (at, host) in [HostIndex(0), others[0], others[1]].into_iter().enumerate() {
        hosts.add(container(&format!("c{at}"), room(5, 5)), host);
    }
    let mut placer = Placer::new(Aim::Fill, 0.0);
    let it = container("web", room(2, 2));
    let placement = placer.choose(&mut hosts, &it, &BTreeSet::new());
    assert_eq!(placement.unwrap().on, HostIndex(0));
    let mut talks = container("api", room(2, 2));
    talks.needs = Arc::new(Needs {
        peers: vec![ServiceId::from("db"), ServiceId::from("unknown")],
        ..Needs::default()
    });
    assert_eq!(choose(&mut placer, &mut hosts, &talks), Some(others[1]));
}

#[test]
fn the_largest_empty_host_is_kept_until_nothing_else_will_do() {
    let mut hosts = hosts(2, room(10, 10));
    let mut placer = Placer::new(Aim::Fill, 0.0);
    let large = hosts.add_host(Host::plain(NodeId::from("large"), room(12, 12)));
    let order: Vec<Option<HostIndex>> = (0..4)
        .map(|at| {
            choose(
                &mut placer,
                &mut hosts,
                &container(&format!("c{at}"), room(10, 10)),
            )
        })
        .collect();
    assert_eq!(
        order,
        [Some(HostIndex(0)), Some(HostIndex(1)), Some(large), None]
    );
}

#[test]
fn room_is_made_by_a_move_that_was_earned() {
    let mut hosts = hosts(2, room(10, 10));
    hosts.add(container("a", room(4, 1)), HostIndex(0));
    hosts.add(container("b", room(3, 1)), HostIndex(0));
    hosts.add(container("c", room(6, 1)), HostIndex(1));
    let it = container("d", room(7, 1));
    let none = BTreeSet::new();
    assert_eq!(
        Placer::new(Aim::Fill, 0.0).choose(&mut hosts, &it, &none),
        None
    );
    let placement = Placer::new(Aim::Fill, 1.0)
        .choose(&mut hosts, &it, &none)
        .unwrap();
    assert_eq!((placement.on, placement.moves.len()), (HostIndex(0), 1));
    assert!(it.asks.fits(hosts.free(HostIndex(0))));
}

#[test]
fn the_least_important_are_put_out_and_no_more_than_needed() {
    let mut hosts = hosts(2, room(10, 10));
    let at = |hosts: &mut Hosts, asks, priority, on| {
        let mut it = container("x", asks);
        it.priority = Priority(priority);
        hosts.add(it, HostIndex(on))
    };
    let low = at(&mut hosts, room(6, 1), 1, 0);
    at(&mut hosts, room(4, 1), 5, 0);
    at(&mut hosts, room(5, 1), 3, 1);
    at(&mut hosts, room(5, 1), 9, 1);
    let mut it = container("y", room(5, 1));
    it.priority = Priority(4);
    let anyone = |_, _: &Container| usize::MAX;
    let plan = preempt(&hosts, &it, anyone).unwrap();
    assert_eq!((plan.on, plan.out), (HostIndex(0), vec![low]));
    it.priority = Priority(1);
    assert_eq!(preempt(&hosts, &it, anyone), None);
}

#[test]
fn of_a_service_no_more_are_put_out_than_may_go_and_what_was_granted_twice_is_paid_back_first() {
    let mut hosts = hosts(2, room(10, 10));
    let at = |hosts: &mut Hosts, asks, service: &str, on| {
        let mut it = container(service, asks);
        it.priority = Priority(1);
        hosts.add(it, HostIndex(on))
    };
    let a = at(&mut hosts, room(4, 1), "a", 0);
    let b = at(&mut hosts, room(4, 1), "a", 0);
    at(&mut hosts, room(2, 1), "b", 0);
    let c = at(&mut hosts, room(8, 1), "c", 1);
    at(&mut hosts, room(6, 1), "d", 1);
    let mut it = container("y", room(5, 1));
    it.priority = Priority(4);
    let both = |_, other: &Container| usize::from(other.service.as_str() == "a") * 2;
    let plan = preempt(&hosts, &it, both).unwrap();
    assert_eq!((plan.on, plan.out), (HostIndex(0), vec![a, b]));
    let one = |_, other: &Container| usize::from(other.service.as_str() == "a");
    assert_eq!(preempt(&hosts, &it, one), None);
    // 14 are granted of 10: without the 8 there is room for no more than 4.
    let not_d = |_, other: &Container| usize::from(other.service.as_str() == "c");
    assert_eq!(preempt_on(&hosts, &it, HostIndex(1), not_d), None);
    it.asks = room(4, 1);
    let plan = preempt_on(&hosts, &it, HostIndex(1), not_d).unwrap();
    assert_eq!(plan.out, [c]);
}

#[test]
fn a_death_is_survived_where_all_of_it_fits_elsewhere() {
    let mut hosts = hosts(3, room(10, 10));
    hosts.add(container("a", room(6, 1)), HostIndex(0));
    let large = hosts.add(container("b", room(8, 1)), HostIndex(1));
    hosts.add(container("c", room(7, 1)), HostIndex(2));
    assert_eq!(stranded_by(&mut hosts, HostIndex(1)), [large]);
    assert_eq!(survival(&mut hosts).survivable, 0);
    hosts.add_host(Host::plain(NodeId::from("spare"), room(10, 10)));
    let all = survival(&mut hosts);
    assert_eq!((all.used, all.survivable, all.share()), (3, 3, 1.0));
}

/// The index says what the containers say.
fn is_consistent(hosts: &Hosts) {
    let mut used = Resources::default();
    for host in hosts.indices() {
        let on = hosts
            .on(host)
            .fold(Resources::default(), |all, (_, it)| all.plus(it.asks));
        assert_eq!(on, hosts.used_on(host));
        assert_eq!(hosts.free(host), hosts.host(host).capacity.minus(on));
        used = used.plus(on);
    }
    assert_eq!(used, hosts.used());
    let listed = hosts.with_room(Resources::default()).map(|it| it.1.len());
    assert_eq!(listed.sum::<usize>(), hosts.indices().count());
}

proptest! {
    #[test]
    fn nothing_is_placed_where_it_does_not_fit(
        sizes in prop::collection::vec((1_u64..60, 1_u64..60), 1..120),
        count in 1_usize..8,
        moves_each in 0.0..1.0_f64,
    ) {
        let mut hosts = hosts(count, room(100, 100));
        let mut placer = Placer::new(Aim::Fill, moves_each);
        let mut moved = 0;
        for (at, (cpu, memory)) in sizes.iter().enumerate() {
            let it = container(&format!("c{at}"), room(*cpu, *memory));
            let fitted = hosts.indices().any(|host| obstacle(&hosts, &it, host).is_none());
            let placement = placer.choose(&mut hosts, &it, &BTreeSet::new());
            prop_assert!(placement.is_some() || !fitted);
            if let Some(placement) = placement {
                moved += placement.moves.len();
                prop_assert_eq!(obstacle(&hosts, &it, placement.on), None);
                hosts.add(it, placement.on);
            }
            prop_assert!(moved as f64 <= moves_each * (at + 1) as f64 + 1e-9);
        }
        is_consistent(&hosts);
        let before: Vec<Resources> = hosts.indices().map(|it| hosts.free(it)).collect();
        let deaths = survival(&mut hosts);
        prop_assert!(deaths.survivable <= deaths.used);
        prop_assert_eq!(before, hosts.indices().map(|it| hosts.free(it)).collect::<Vec<_>>());
        is_consistent(&hosts);
    }
}
