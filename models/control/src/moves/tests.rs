use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use units::{Bytes, ContainerId, Millicores, NodeId, Ratio, ServiceId, Timestamp};

use super::*;
use crate::place::{
    Aim, Container, Host, HostIndex, Hosts, Movable, Needs, Placer, Priority, Resources,
};

fn room(cpu: u64) -> Resources {
    Resources::new(Millicores(cpu), Bytes(cpu))
}

fn container(asks: Resources, movable: Movable) -> Container {
    Container {
        id: ContainerId::from("c"),
        service: ServiceId::from("s"),
        asks,
        needs: Arc::new(Needs::default()),
        priority: Priority::default(),
        movable,
    }
}

/// Hosts of 100 with containers of these sizes.
fn hosts(on: &[&[u64]], movable: Movable) -> Hosts {
    let host = |at: usize| Host::plain(NodeId::new(format!("h{at}")), room(100));
    let mut hosts = Hosts::new((0..on.len()).map(host));
    for (at, sizes) in on.iter().enumerate() {
        for &size in *sizes {
            hosts.add(container(room(size), movable), HostIndex(at));
        }
    }
    hosts
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_millis(minutes * 60_000)
}

#[test]
fn a_container_goes_near_its_peers_where_there_is_room_enough() {
    let zoned = |used_near: u64| {
        let mut fleet = hosts(&[&[60], &[used_near], &[10]], Movable::Yes);
        let near = Host {
            zone: "near".to_owned(),
            ..Host::plain(NodeId::from("db"), room(100))
        };
        let db = fleet.add_host(near.clone());
        fleet.add(named("db", 100, &[]), db);
        let near = fleet.add_host(near);
        fleet.add(named("other", used_near, &[]), near);
        let talks = fleet.add(named("api", 20, &["db"]), HostIndex(0));
        (roomiest(&fleet, talks, HostIndex(0)), near)
    };
    let (to, near) = zoned(50);
    assert_eq!(to, Some(near));
    let (to, _) = zoned(70);
    assert_eq!(to, Some(HostIndex(2)), "a third of the room is too little");
}

fn named(service: &str, size: u64, peers: &[&str]) -> Container {
    Container {
        service: ServiceId::from(service),
        needs: Arc::new(Needs {
            peers: peers.iter().map(|it| ServiceId::from(*it)).collect(),
            ..Needs::default()
        }),
        ..container(room(size), Movable::Yes)
    }
}

#[test]
fn where_nothing_arrives_a_spare_host_is_emptied_at_once() {
    let mut fleet = hosts(&[&[60], &[20, 10], &[55]], Movable::Yes);
    let moves = Consolidator::default().plan(at(1), &mut fleet);
    // The emptiest would take two moves, the one of 55 takes one: on to the emptiest.
    let ends: Vec<(HostIndex, HostIndex)> = moves.iter().map(|it| (it.from, it.to)).collect();
    assert_eq!(ends, [(HostIndex(2), HostIndex(1))]);
}

#[test]
fn where_much_arrives_it_is_emptied_once_it_has_been_spare_for_long() {
    let mut fleet = hosts(&[&[60], &[20, 10], &[55]], Movable::Yes);
    let mut consolidator = Consolidator::default();
    for minute in 0..60 {
        consolidator.arrived(at(minute), room(20));
    }
    let mut emptied_at = None;
    for minute in 60..120 {
        consolidator.arrived(at(minute), room(20));
        if !consolidator.plan(at(minute), &mut fleet).is_empty() {
            emptied_at = Some(Duration::from_secs(60 * (minute as u64 - 60)));
            break;
        }
        assert_eq!(
            consolidator.spare().into_iter().collect::<Vec<_>>(),
            [HostIndex(1)]
        );
    }
    assert_eq!(emptied_at, Some(Consolidation::default().each_move));
}

#[test]
fn of_equal_hosts_the_one_that_takes_the_fewest_moves_is_emptied() {
    let mut fleet = hosts(&[&[60], &[8, 7, 6, 5], &[30], &[65]], Movable::Yes);
    let moves = Consolidator::default().plan(at(1), &mut fleet);
    assert_eq!((moves[0].from, moves[0].to), (HostIndex(2), HostIndex(3)));
}

#[test]
fn of_hosts_as_full_the_one_with_the_most_containers_is_filled() {
    let mut fleet = hosts(&[&[60], &[20, 20, 20], &[60], &[10]], Movable::Yes);
    let moves = Consolidator::default().plan(at(1), &mut fleet);
    assert_eq!((moves[0].from, moves[0].to), (HostIndex(3), HostIndex(1)));
    let mut placer = Placer::new(Aim::Release, 0.0);
    let it = container(room(10), Movable::Yes);
    let mut fleet = hosts(&[&[60], &[20, 20, 20], &[60], &[10]], Movable::Yes);
    let placement = placer.choose(&mut fleet, &it, &BTreeSet::new());
    assert_eq!(placement.map(|it| it.on), Some(HostIndex(1)));
}

#[test]
fn a_plan_after_many_moves_is_more_patient() {
    let fresh = || hosts(&[&[60], &[30], &[55]], Movable::Yes);
    let mut consolidator = Consolidator::default();
    let mut emptied = 0;
    let mut minute = 0;
    while emptied < 30 {
        minute += 1_000;
        emptied += usize::from(!consolidator.plan(at(minute), &mut fresh()).is_empty());
    }
    let mut fleet = fresh();
    assert!(consolidator.plan(at(minute + 1), &mut fleet).is_empty());
    assert!(
        !Consolidator::default()
            .plan(at(minute + 1), &mut fleet)
            .is_empty()
    );
}

#[test]
fn what_may_not_be_moved_stays() {
    let mut fleet = hosts(&[&[60], &[20, 10], &[55]], Movable::No);
    assert!(Consolidator::default().plan(at(1), &mut fleet).is_empty());
    assert!(relieve(&mut fleet, HostIndex(0), Ratio::saturating(0.5)).is_empty());
}

#[test]
fn one_move_relieves_where_one_will_do() {
    let mut fleet = hosts(&[&[5, 30, 50], &[40], &[10]], Movable::Yes);
    let moves = relieve(&mut fleet, HostIndex(0), Ratio::saturating(0.6));
    assert_eq!(moves.len(), 1);
    assert_eq!(moves[0].to, HostIndex(2));
    assert_eq!(fleet.used_on(HostIndex(0)), room(55));
    let gone = relieve(&mut fleet, HostIndex(0), Ratio::saturating(0.0));
    assert_eq!((gone.len(), fleet.on(HostIndex(0)).len()), (2, 0));
}

proptest! {
    #[test]
    fn plans_empty_hosts_whole_and_overfill_none(
        sizes in prop::collection::vec(prop::collection::vec(1_u64..40, 0..3), 1..12),
    ) {
        let on: Vec<&[u64]> = sizes.iter().map(Vec::as_slice).collect();
        let mut fleet = hosts(&on, Movable::Yes);
        let used = fleet.used();
        let moves = Consolidator::default().plan(at(5), &mut fleet);
        for step in &moves {
            prop_assert_eq!(fleet.on(step.from).len(), 0);
        }
        for host in fleet.indices() {
            prop_assert!(fleet.used_on(host).fits(room(100)));
        }
        prop_assert_eq!(fleet.used(), used);
    }

    #[test]
    fn planning_again_at_once_moves_nothing(
        sizes in prop::collection::vec(prop::collection::vec(1_u64..40, 0..3), 1..12),
    ) {
        let on: Vec<&[u64]> = sizes.iter().map(Vec::as_slice).collect();
        let mut fleet = hosts(&on, Movable::Yes);
        let mut consolidator = Consolidator::default();
        while !consolidator.plan(at(5), &mut fleet).is_empty() {}
        prop_assert!(consolidator.plan(at(5), &mut fleet).is_empty());
    }
}
