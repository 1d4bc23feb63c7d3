//! Taking records out of a log.

use std::time::Duration;

use bus::recording::{Before, Merged, Span, Want, gather};
use bus::{Bus, Record};

use super::tools::*;

fn all(mut merged: Merged) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(record) = merged.read().unwrap() {
        records.push(record);
    }
    records
}

fn want(topic: &str, before: Before) -> Want {
    Want {
        topic: topic.to_owned(),
        before,
    }
}

pub(crate) async fn is_recorded_in_the_order_of_time(bus: &Bus) {
    let wide = topic(bus, "recorded-wide", 3).await;
    let narrow = topic(bus, "recorded-narrow", 1).await;
    let states = compacted("recorded-states", 1);
    bus.ensure_topics(&[states]).await.unwrap();
    let mut produced = Vec::new();
    for number in 0..30_u32 {
        produced.push(placed(wide, number % 3, number.to_string()));
        produced.push(record(narrow, "key", number.to_string()));
        produced.push(record(
            states.name,
            (number % 2).to_string(),
            number.to_string(),
        ));
    }
    produce_in_order(bus, produced).await;
    let scratch = tempfile::tempdir().unwrap();
    let everything = Span {
        from_ms: 0,
        to_ms: i64::MAX,
    };
    let day = Before::For(Duration::from_secs(86_400));
    let wants = [
        want(wide, day),
        want(narrow, day),
        want("recorded-not-there", day),
    ];
    let gathered = within("gathering", gather(bus, &wants, everything, scratch.path()))
        .await
        .unwrap();
    assert_eq!(gathered.absent, ["recorded-not-there"]);
    assert_eq!(gathered.records[wide], 30);
    let records = all(gathered.read().unwrap());
    assert_eq!(records.len(), 60);
    let order: Vec<_> = records
        .iter()
        .map(|record| (record.timestamp_ms, record.position.clone()))
        .collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(all(gathered.read().unwrap()), records, "as often as needed");

    // Of what came before, the newest of every key, and nothing of what comes after.
    let last = records.last().unwrap().timestamp_ms;
    let later = Span {
        from_ms: last + 3_600_000,
        to_ms: last + 7_200_000,
    };
    let wants = [
        want(states.name, Before::Newest),
        want(narrow, Before::For(Duration::from_secs(60))),
    ];
    let before = gather(bus, &wants, later, scratch.path()).await.unwrap();
    let newest = all(before.read().unwrap());
    assert_eq!(values(&newest), ["28", "29"]);
    let earlier = Span {
        from_ms: 0,
        to_ms: records[0].timestamp_ms,
    };
    let none = gather(bus, &wants, earlier, scratch.path()).await.unwrap();
    assert!(none.read().unwrap().read().unwrap().is_none());
    drop((gathered, before, none));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}
