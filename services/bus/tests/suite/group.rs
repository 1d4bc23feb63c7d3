//! Reading as members of a group.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Bus, Fetched, Position, TopicPartition};

use super::tools::*;

pub(crate) async fn a_group_starts_at_its_commit_and_groups_are_independent(bus: &Bus) {
    let topic = topic(bus, "resume", 1).await;
    let (group, other) = (unique("resume"), unique("resume"));
    produce_in_order(
        bus,
        (0..10)
            .map(|number| record(topic, "k", number.to_string()))
            .collect(),
    )
    .await;

    let mut first = bus.subscribe(group, &[topic]).await.unwrap();
    let records = fetch(&mut first, 6).await;
    assert_eq!(values(&records), numbers(0..6));
    let done: Vec<Position> = records[..4]
        .iter()
        .map(|record| record.position.clone())
        .collect();
    within("committing", first.commit(&done)).await.unwrap();
    drop(first);

    // What was read and not committed comes again.
    let mut second = bus.subscribe(group, &[topic]).await.unwrap();
    assert_eq!(values(&fetch(&mut second, 6).await), numbers(4..10));
    drop(second);
    let mut third = bus.subscribe(group, &[topic]).await.unwrap();
    let records = fetch(&mut third, 6).await;
    assert_eq!(values(&records), numbers(4..10));
    // The order of positions does not matter, and one of many is enough.
    let mut done: Vec<Position> = records
        .iter()
        .map(|record| record.position.clone())
        .collect();
    done.reverse();
    within("committing", third.commit(&done)).await.unwrap();
    within("committing nothing", third.commit(&[]))
        .await
        .unwrap();
    produce_in_order(bus, vec![record(topic, "k", "10")]).await;
    assert_eq!(values(&fetch(&mut third, 1).await), numbers(10..11));

    let mut other = bus.subscribe(other, &[topic]).await.unwrap();
    assert_eq!(values(&fetch(&mut other, 11).await), numbers(0..11));
}

pub(crate) async fn an_empty_poll_waits_and_wakes_up(bus: &Bus) {
    let topic = topic(bus, "wake", 2).await;
    let mut subscription = bus.subscribe(unique("wake"), &[topic]).await.unwrap();
    match within("the assignment", subscription.next()).await.unwrap() {
        Fetched::Assigned(share) => assert_eq!(share.len(), 2),
        other => panic!("expected an assignment, got {other:?}"),
    }
    let idle = tokio::time::timeout(Duration::from_millis(200), subscription.next()).await;
    assert!(idle.is_err(), "an empty topic gave {idle:?}");
    let waiting = tokio::spawn(async move { values(&fetch(&mut subscription, 1).await) });
    produce_in_order(bus, vec![record(topic, "k", "0")]).await;
    assert_eq!(within("waking up", waiting).await.unwrap(), numbers(0..1));
}

pub(crate) async fn members_share_co_partitioned_topics(bus: &Bus) {
    const PARTITIONS: u32 = 6;
    let topics = [
        topic(bus, "left", PARTITIONS).await,
        topic(bus, "right", PARTITIONS).await,
    ];
    let group = unique("share");
    let mut members = vec![Member::join(bus, group, &topics, OnRevoke::Forget).await];
    run_until("the first assignment", &mut members, |all| {
        all[0].held.len() == 12
    })
    .await;
    members.push(Member::join(bus, group, &topics, OnRevoke::Forget).await);
    run_until("sharing", &mut members, |all| {
        all.iter().all(|member| member.held.len() == 6)
    })
    .await;

    let of = |held: &BTreeSet<TopicPartition>, topic: &str| -> Vec<u32> {
        held.iter()
            .filter(|one| &*one.topic == topic)
            .map(|one| one.partition)
            .collect()
    };
    for member in &members {
        assert_eq!(of(&member.held, topics[0]), of(&member.held, topics[1]));
    }
    assert!(members[0].held.is_disjoint(&members[1].held));

    let records =
        (0..PARTITIONS).flat_map(|partition| topics.map(|topic| placed(topic, partition, "v")));
    produce_together(bus, records.collect()).await;
    run_until("reading", &mut members, |all| {
        all.iter().all(|member| member.records.len() == 6)
    })
    .await;
}

pub(crate) async fn a_standby_is_told_and_takes_over_when_the_holder_leaves(bus: &Bus) {
    let topic = topic(bus, "election", 1).await;
    let group = unique("election");
    produce_in_order(
        bus,
        (0..3)
            .map(|number| record(topic, "k", number.to_string()))
            .collect(),
    )
    .await;
    let mut members = vec![Member::join(bus, group, &[topic], OnRevoke::Commit).await];
    run_until("the first assignment", &mut members, |all| {
        all[0].records.len() == 3
    })
    .await;
    members.push(Member::join(bus, group, &[topic], OnRevoke::Commit).await);
    run_until("settling", &mut members, |all| {
        all[1].assignments > 0
            && all[0].assignments > 1
            && all[0].held.len() + all[1].held.len() == 1
    })
    .await;
    let holder = members
        .iter()
        .position(|member| member.held.len() == 1)
        .unwrap();
    drop(members.remove(holder));
    run_until("taking over", &mut members, |all| all[0].held.len() == 1).await;
    produce_in_order(bus, vec![record(topic, "k", "3")]).await;
    run_until("going on", &mut members, |all| {
        all[0]
            .records
            .last()
            .is_some_and(|record| record.value == "3")
    })
    .await;
}

pub(crate) async fn what_is_committed_on_giving_back_does_not_come_again(bus: &Bus) {
    const PARTITIONS: u32 = 4;
    let topic = topic(bus, "handover", PARTITIONS).await;
    let group = unique("handover");
    let before =
        (0..40_u32).map(|number| placed(topic, number % PARTITIONS, format!("before {number}")));
    produce_together(bus, before.collect()).await;
    let mut members = vec![Member::join(bus, group, &[topic], OnRevoke::Commit).await];
    run_until("reading", &mut members, |all| all[0].records.len() == 40).await;

    members.push(Member::join(bus, group, &[topic], OnRevoke::Commit).await);
    run_until("sharing", &mut members, |all| {
        all.iter().all(|member| member.held.len() == 2)
    })
    .await;
    let after =
        (0..40_u32).map(|number| placed(topic, number % PARTITIONS, format!("after {number}")));
    produce_together(bus, after.collect()).await;
    run_until("reading on", &mut members, |all| {
        all.iter().map(|member| member.records.len()).sum::<usize>() >= 80
    })
    .await;
    let mut all: Vec<_> = members
        .iter()
        .flat_map(|member| values(&member.records))
        .collect();
    all.sort();
    let total = all.len();
    all.dedup();
    assert_eq!(
        (total, all.len()),
        (80, 80),
        "records came twice or not at all"
    );
}

pub(crate) async fn commits_of_partitions_given_away_are_left_out(bus: &Bus) {
    let topic = topic(bus, "stale", 1).await;
    let group = unique("stale");
    produce_in_order(
        bus,
        (0..5)
            .map(|number| record(topic, "k", number.to_string()))
            .collect(),
    )
    .await;
    let mut first = Member::join(bus, group, &[topic], OnRevoke::Forget).await;
    run_until("reading", std::slice::from_mut(&mut first), |all| {
        all[0].records.len() == 5
    })
    .await;
    let done: Vec<Position> = first
        .records
        .iter()
        .map(|record| record.position.clone())
        .collect();
    // A position of a topic this member never read is left out as well.
    let foreign = Position {
        topic: "elsewhere".into(),
        partition: 0,
        offset: 9,
    };
    within("committing", first.subscription.commit(&[foreign]))
        .await
        .unwrap();
    drop(first);

    let mut second = Member::join(bus, group, &[topic], OnRevoke::Forget).await;
    run_until("taking over", std::slice::from_mut(&mut second), |all| {
        all[0].records.len() == 5
    })
    .await;
    within("committing", second.subscription.commit(&done[..2]))
        .await
        .unwrap();
    drop(second);
    let mut third = bus.subscribe(group, &[topic]).await.unwrap();
    assert_eq!(values(&fetch(&mut third, 3).await), numbers(2..5));
}
