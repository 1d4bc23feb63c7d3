//! Appending and reading without a group.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{
    Bus, BusError, From, MAX_RECORD_BYTES, NewRecord, Retention, Tailed, TopicSpec, partition_of,
};
use bytes::Bytes;
use futures::future::join_all;

use super::tools::*;

pub(crate) async fn keeps_order_per_key_and_agrees_on_partitions(bus: &Bus) {
    const PARTITIONS: u32 = 5;
    const KEYS: u32 = 7;
    const EACH: u32 = 40;
    let topic = topic(bus, "order", PARTITIONS).await;
    assert_eq!(bus.partitions(topic).await.unwrap(), PARTITIONS);
    let writers = (0..KEYS).map(|key| async move {
        let records = (0..EACH)
            .map(|number| record(topic, key.to_string(), number.to_string()))
            .collect();
        let positions = produce_in_order(bus, records).await;
        for position in &positions {
            assert_eq!(
                position.partition,
                partition_of(key.to_string().as_bytes(), PARTITIONS)
            );
            assert_eq!(&*position.topic, topic);
        }
        assert!(
            positions
                .windows(2)
                .all(|pair| pair[0].offset < pair[1].offset)
        );
        positions
    });
    let produced: Vec<_> = join_all(writers).await.into_iter().flatten().collect();
    let mut tail = bus.tail(topic, From::Beginning).await.unwrap();
    let records = until_caught_up(&mut tail).await;
    assert_eq!(records.len() as u32, KEYS * EACH);
    let mut by_key: BTreeMap<Bytes, Vec<Bytes>> = BTreeMap::new();
    for record in &records {
        assert!(
            produced.contains(&record.position),
            "{:?} was reported to no producer",
            record.position
        );
        by_key
            .entry(record.key.clone())
            .or_default()
            .push(record.value.clone());
    }
    for (key, seen) in by_key {
        assert_eq!(seen, numbers(0..EACH), "key {key:?}");
    }
}

pub(crate) async fn concurrent_producers_get_rising_offsets(bus: &Bus) {
    const PARTITIONS: u32 = 3;
    let topic = topic(bus, "rising", PARTITIONS).await;
    let writers = (0..20_u32).map(|writer| async move {
        let records = (0..25_u32)
            .map(|number| placed(topic, (writer + number) % PARTITIONS, "x"))
            .collect();
        produce_together(bus, records).await
    });
    let mut offsets: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for position in join_all(writers).await.into_iter().flatten() {
        offsets
            .entry(position.partition)
            .or_default()
            .push(position.offset);
    }
    for (partition, mut seen) in offsets {
        seen.sort_unstable();
        let expected: Vec<u64> = (0..seen.len() as u64).collect();
        assert_eq!(seen, expected, "partition {partition}");
    }
}

pub(crate) async fn carries_bytes_and_headers_unchanged(bus: &Bus) {
    let topic = topic(bus, "bytes", 2).await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let header = |name: &str, value: &[u8]| (name.to_owned(), Bytes::copy_from_slice(value));
    let sent = vec![
        NewRecord {
            headers: vec![
                header("traceparent", b"00-ab-cd-01"),
                header("twice", b"1"),
                header("twice", b"2"),
                header("", b""),
                header("bytes", &all_bytes),
            ],
            ..placed(topic, 1, all_bytes.clone())
        },
        NewRecord {
            key: Bytes::from(all_bytes.clone()),
            ..placed(topic, 1, "")
        },
        NewRecord {
            key: Bytes::new(),
            ..placed(topic, 1, "no key")
        },
    ];
    let before_ms = unix_ms();
    let positions = produce_in_order(bus, sent.clone()).await;
    let mut tail = bus.tail(topic, From::Beginning).await.unwrap();
    let got = until_caught_up(&mut tail).await;
    assert_eq!(got.len(), sent.len());
    for ((got, sent), position) in got.iter().zip(&sent).zip(&positions) {
        assert_eq!(&got.position, position);
        assert_eq!(
            (&got.key, &got.value, &got.headers),
            (&sent.key, &sent.value, &sent.headers)
        );
        assert!((before_ms..=unix_ms()).contains(&got.timestamp_ms));
    }
}

pub(crate) async fn carries_large_records(bus: &Bus) {
    let topic = topic(bus, "large", 2).await;
    let value = |number: u8| vec![number; 900 * 1024];
    let sent: Vec<NewRecord> = (0..6)
        .map(|number| placed(topic, u32::from(number % 2), value(number)))
        .collect();
    produce_together(bus, sent).await;
    let mut subscription = bus.subscribe(unique("large"), &[topic]).await.unwrap();
    let mut got = values(&fetch(&mut subscription, 6).await);
    got.sort();
    assert!(
        got.iter()
            .zip(0..6)
            .all(|(got, number)| *got == value(number))
    );

    let full = record(topic, "k", vec![7; MAX_RECORD_BYTES - 1]);
    within("producing", bus.produce(full)).await.unwrap();
    let over = record(topic, "k", vec![7; MAX_RECORD_BYTES]);
    let error = within("producing", bus.produce(over)).await.unwrap_err();
    assert!(matches!(error, BusError::TooLarge { .. }), "{error}");
}

pub(crate) async fn tails_from_the_beginning_the_end_and_a_time(bus: &Bus) {
    let topic = topic(bus, "tail", 3).await;
    produce_together(
        bus,
        (0..10)
            .map(|number| record(topic, format!("{number}"), "old"))
            .collect(),
    )
    .await;
    let between_ms = next_ms();
    produce_together(
        bus,
        (0..5)
            .map(|number| record(topic, format!("{number}"), "new"))
            .collect(),
    )
    .await;

    let mut all = bus.tail(topic, From::Beginning).await.unwrap();
    assert_eq!(until_caught_up(&mut all).await.len(), 15);
    let mut young = bus.tail(topic, From::Time(between_ms)).await.unwrap();
    let young_records = until_caught_up(&mut young).await;
    assert_eq!(values(&young_records), vec![Bytes::from("new"); 5]);
    let mut none = bus
        .tail(topic, From::Time(unix_ms() + 3_600_000))
        .await
        .unwrap();
    assert!(until_caught_up(&mut none).await.is_empty());
    let mut ancient = bus.tail(topic, From::Time(0)).await.unwrap();
    assert_eq!(until_caught_up(&mut ancient).await.len(), 15);

    let mut end = bus.tail(topic, From::End).await.unwrap();
    assert!(until_caught_up(&mut end).await.is_empty());
    produce_in_order(bus, vec![record(topic, "k", "later")]).await;
    for tail in [&mut all, &mut young, &mut none, &mut end] {
        assert_eq!(next_tailed(tail).await.value, "later");
    }
}

pub(crate) async fn an_empty_topic_is_caught_up_at_once_and_wakes_up(bus: &Bus) {
    let topic = topic(bus, "empty", 4).await;
    for from in [From::Beginning, From::End, From::Time(unix_ms())] {
        let mut tail = bus.tail(topic, from).await.unwrap();
        assert_eq!(
            within("catching up", tail.next()).await.unwrap(),
            Tailed::CaughtUp,
            "{from:?}"
        );
    }
    assert!(
        within("reading", bus.read_latest(topic))
            .await
            .unwrap()
            .is_empty()
    );

    let mut tail = bus.tail(topic, From::Beginning).await.unwrap();
    assert!(until_caught_up(&mut tail).await.is_empty());
    let waiting = tokio::spawn(async move { next_tailed(&mut tail).await });
    let idle = tokio::time::timeout(Duration::from_millis(200), async {
        while !waiting.is_finished() {
            tokio::task::yield_now().await
        }
    });
    assert!(idle.await.is_err(), "a record came out of an empty topic");
    produce_in_order(bus, vec![record(topic, "k", "first")]).await;
    assert_eq!(within("waking up", waiting).await.unwrap().value, "first");
}

pub(crate) async fn read_latest_gives_the_newest_of_each_key(bus: &Bus) {
    let spec = compacted("latest", 3);
    within("creating a topic", bus.ensure_topics(&[spec]))
        .await
        .unwrap();
    let topic = spec.name;
    // A small deterministic walk over few keys meets every order of writes and deletions.
    let mut expected: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    let mut records = Vec::new();
    let mut state = 12_345_u32;
    for number in 0..400_u32 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = format!("key-{}", (state >> 16) % 12);
        let value = if (state >> 8).is_multiple_of(4) {
            String::new()
        } else {
            number.to_string()
        };
        if value.is_empty() {
            expected.remove(key.as_bytes());
        } else {
            expected.insert(Bytes::from(key.clone()), Bytes::from(value.clone()));
        }
        records.push(record(topic, key, value));
    }
    // Per key in order: one key's records do not overlap, all keys' chains do.
    let mut chains: BTreeMap<Bytes, Vec<NewRecord>> = BTreeMap::new();
    for record in records {
        chains.entry(record.key.clone()).or_default().push(record);
    }
    join_all(
        chains
            .into_values()
            .map(|chain| produce_in_order(bus, chain)),
    )
    .await;
    let latest = within("reading", bus.read_latest(topic)).await.unwrap();
    assert!(
        latest
            .windows(2)
            .all(|pair| pair[0].position < pair[1].position)
    );
    let got: BTreeMap<Bytes, Bytes> = latest
        .into_iter()
        .map(|record| (record.key, record.value))
        .collect();
    assert_eq!(got, expected);
}

pub(crate) async fn ensure_topics_is_idempotent_and_never_destroys(bus: &Bus) {
    let specs = [kept("ensure", 3), compacted("ensure", 2)];
    within("creating", bus.ensure_topics(&specs)).await.unwrap();
    produce_in_order(bus, vec![record(specs[0].name, "k", "v")]).await;
    within("creating again", bus.ensure_topics(&specs))
        .await
        .unwrap();
    assert_eq!(
        within("reading", bus.read_latest(specs[0].name))
            .await
            .unwrap()
            .len(),
        1
    );

    let more = TopicSpec {
        partitions: 4,
        ..specs[0]
    };
    let error = within("comparing", bus.ensure_topics(&[more]))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, BusError::TopicMismatch { topic, .. } if **topic == *more.name),
        "{error}"
    );
    let other = TopicSpec {
        retention: Retention::Compact,
        ..specs[0]
    };
    let error = within("comparing", bus.ensure_topics(&[other]))
        .await
        .unwrap_err();
    assert!(matches!(error, BusError::TopicMismatch { .. }), "{error}");
    // Fewer are fine: somebody gave the topic more.
    let fewer = TopicSpec {
        partitions: 2,
        ..specs[0]
    };
    within("comparing", bus.ensure_topics(&[fewer]))
        .await
        .unwrap();
    assert_eq!(
        within("reading", bus.read_latest(specs[0].name))
            .await
            .unwrap()
            .len(),
        1
    );
}

pub(crate) async fn what_does_not_exist_is_an_error_that_names_it(bus: &Bus) {
    let missing = unique("missing");
    let errors = [
        within("producing", bus.produce(record(missing, "k", "v")))
            .await
            .unwrap_err(),
        within("joining", bus.subscribe(unique("g"), &[missing]))
            .await
            .unwrap_err(),
        within("tailing", bus.tail(missing, From::End))
            .await
            .unwrap_err(),
        within("reading", bus.read_latest(missing))
            .await
            .unwrap_err(),
        within("counting", bus.partitions(missing))
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(&error, BusError::UnknownTopic { topic } if **topic == *missing),
            "{error}"
        );
        assert!(error.to_string().contains(missing), "{error}");
    }
    let topic = topic(bus, "small", 2).await;
    let error = within("producing", bus.produce(placed(topic, 2, "v")))
        .await
        .unwrap_err();
    assert!(
        matches!(error, BusError::UnknownPartition { partition: 2, .. }),
        "{error}"
    );
}

pub(crate) async fn a_dropped_call_of_tail_next_loses_nothing(bus: &Bus) {
    let topic = topic(bus, "cancel", 3).await;
    let mut tail = bus.tail(topic, From::Beginning).await.unwrap();
    let writer = tokio::spawn({
        let bus = bus.clone();
        async move {
            for round in 0..10 {
                let records = (0..30).map(|number| record(topic, format!("{round}-{number}"), "v"));
                produce_together(&bus, records.collect()).await;
            }
        }
    });
    let mut keys = Vec::new();
    within("reading everything", async {
        while keys.len() < 300 {
            let soon = Duration::from_micros(200);
            if let Ok(tailed) = tokio::time::timeout(soon, tail.next()).await
                && let Tailed::Record(record) = tailed.unwrap()
            {
                keys.push(record.key);
            }
        }
    })
    .await;
    within("writing", writer).await.unwrap();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 300);
}

pub(crate) async fn a_closed_log_says_so(bus: &Bus) {
    let topic = topic(bus, "closed", 1).await;
    let mut tail = bus.tail(topic, From::End).await.unwrap();
    assert!(until_caught_up(&mut tail).await.is_empty());
    let mut subscription = bus.subscribe(unique("closed"), &[topic]).await.unwrap();
    within("status", bus.status()).await.unwrap();
    let waiting = tokio::spawn(async move { tail.next().await });
    let clone = bus.clone();
    within("closing", bus.close()).await;
    within("closing twice", clone.close()).await;
    let errors = [
        within("waiting", waiting).await.unwrap().unwrap_err(),
        within("fetching", subscription.next()).await.unwrap_err(),
        within("producing", clone.produce(record(topic, "k", "v")))
            .await
            .unwrap_err(),
        within("creating", clone.ensure_topics(&[kept("closed", 1)]))
            .await
            .unwrap_err(),
        within("joining", clone.subscribe("g", &[topic]))
            .await
            .unwrap_err(),
        within("tailing", clone.tail(topic, From::End))
            .await
            .unwrap_err(),
        within("status", clone.status()).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, BusError::Closed), "{error}");
    }
}

fn unix_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The first millisecond after now.
fn next_ms() -> i64 {
    let now = unix_ms();
    while unix_ms() == now {
        std::hint::spin_loop();
    }
    unix_ms()
}
