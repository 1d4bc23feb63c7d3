//! What only the local back end promises: it is there again after a restart, a crash, a damaged file, and it does not grow
//! without bound.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{
    Bus, BusError, Fetched, From, LocalConfig, NewRecord, Record, Retention, Tailed, TopicSpec,
};
use bytes::Bytes;
use futures::future::join_all;

const DEADLINE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn config(dir: &Path) -> LocalConfig {
    LocalConfig {
        dir: dir.to_owned(),
        linger_ms: 1,
        ..LocalConfig::default()
    }
}

fn kept(max_age: Duration, max_bytes: u64) -> TopicSpec {
    TopicSpec {
        name: "kept",
        partitions: 2,
        retention: Retention::Delete { max_age, max_bytes },
    }
}

const COMPACTED: TopicSpec = TopicSpec {
    name: "compacted",
    partitions: 2,
    retention: Retention::Compact,
};

fn record(topic: &str, key: &str, value: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord {
        topic: Arc::from(topic),
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::from(value.into()),
        headers: Vec::new(),
        partition: None,
    }
}

async fn read_all(bus: &Bus, topic: &str) -> Vec<Record> {
    let mut tail = bus.tail(topic, From::Beginning).await.unwrap();
    let mut records = Vec::new();
    while let Tailed::Record(record) = tokio::time::timeout(DEADLINE, tail.next())
        .await
        .unwrap()
        .unwrap()
    {
        records.push(record);
    }
    records
}

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let topics = [kept(DAY, 1 << 30), COMPACTED];
    let bus = Bus::local(&config(dir.path())).unwrap();
    bus.ensure_topics(&topics).await.unwrap();
    for number in 0..20 {
        bus.produce(record("kept", "k", number.to_string()))
            .await
            .unwrap();
        bus.produce(record(
            "compacted",
            &(number % 3).to_string(),
            number.to_string(),
        ))
        .await
        .unwrap();
    }
    let mut group = bus.subscribe("group", &["kept"]).await.unwrap();
    let mut read = Vec::new();
    while read.len() < 12 {
        if let Fetched::Record(record) = group.next().await.unwrap() {
            read.push(record.position);
        }
    }
    group.commit(&read).await.unwrap();
    let before = (
        read_all(&bus, "kept").await,
        bus.read_latest("compacted").await.unwrap(),
    );
    drop(group);
    bus.close().await;

    let bus = Bus::local(&config(dir.path())).unwrap();
    // Topics are known without being asked for again.
    assert_eq!(
        (
            read_all(&bus, "kept").await,
            bus.read_latest("compacted").await.unwrap()
        ),
        before
    );
    bus.ensure_topics(&topics).await.unwrap();
    let next = bus.produce(record("kept", "k", "20")).await.unwrap();
    assert_eq!(next.offset, 20, "offsets go on where they were");
    let mut group = bus.subscribe("group", &["kept"]).await.unwrap();
    let first = loop {
        if let Fetched::Record(record) = group.next().await.unwrap() {
            break record;
        }
    };
    assert_eq!(first.value, "12");
}

#[tokio::test]
async fn a_directory_serves_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = Bus::local(&config(dir.path())).unwrap();
    let error = Bus::local(&config(dir.path())).unwrap_err();
    assert!(matches!(error, BusError::Locked { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&dir.path().display().to_string()),
        "{error}"
    );
    // Dropping the last handle frees it as well as closing does.
    drop(first);
    let second = Bus::local(&config(dir.path())).unwrap();
    second.close().await;
    Bus::local(&config(dir.path())).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.redb");
    std::fs::write(&file, vec![0x5a; 200_000]).unwrap();
    let error = Bus::local(&config(dir.path())).unwrap_err();
    assert!(matches!(error, BusError::Corrupt { .. }), "{error}");
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );

    std::fs::remove_file(&file).unwrap();
    let bus = Bus::local(&config(dir.path())).unwrap();
    bus.ensure_topics(&[COMPACTED]).await.unwrap();
    bus.produce(record("compacted", "k", "v")).await.unwrap();
    bus.close().await;
    // Overwrites everything behind the header with noise.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4096..]
        .iter_mut()
        .enumerate()
        .for_each(|(at, byte)| *byte = (at * 31 % 251) as u8);
    std::fs::write(&file, bytes).unwrap();
    let error = Bus::local(&config(dir.path())).unwrap_err();
    assert!(matches!(error, BusError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn an_unusable_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Bus::local(&config(&file.join("log"))).unwrap_err();
    assert!(matches!(error, BusError::Open { .. }), "{error}");
    assert!(error.to_string().contains("log"), "{error}");
}

/// Waits until what is stored satisfies the condition; retention works in the background.
async fn until(bus: &Bus, topic: &str, holds: impl Fn(&[Record]) -> bool) -> Vec<Record> {
    let limit = Instant::now() + DEADLINE;
    loop {
        let records = read_all(bus, topic).await;
        if holds(&records) {
            return records;
        }
        assert!(
            Instant::now() < limit,
            "{} records are left in {topic}",
            records.len()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn retention_by_size_removes_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::local(&config(dir.path())).unwrap();
    let max_bytes = 300_000;
    bus.ensure_topics(&[kept(DAY, max_bytes)]).await.unwrap();
    let mut tail = bus.tail("kept", From::Beginning).await.unwrap();
    assert_eq!(tail.next().await.unwrap(), Tailed::CaughtUp);
    for chunk in 0..20_u32 {
        let records =
            (0..50_u32).map(|_| bus.produce(record("kept", "k", vec![chunk as u8; 1_000])));
        join_all(records)
            .await
            .into_iter()
            .for_each(|result| drop(result.unwrap()));
    }
    let size = |records: &[Record]| {
        records
            .iter()
            .map(|record| record.size_bytes() as u64)
            .sum::<u64>()
    };
    let left = until(&bus, "kept", |records| size(records) <= max_bytes).await;
    // The newest stay, without a gap, and as many as fit.
    assert_eq!(left.last().unwrap().position.offset, 999);
    assert!(
        left.windows(2)
            .all(|pair| pair[0].position.offset + 1 == pair[1].position.offset)
    );
    assert!(
        size(&left) > max_bytes * 8 / 10,
        "{} bytes are left",
        size(&left)
    );
    bus.close().await;

    // What is removed stays removed, and offsets go on.
    let bus = Bus::local(&config(dir.path())).unwrap();
    assert_eq!(read_all(&bus, "kept").await, left);
    assert_eq!(
        bus.produce(record("kept", "k", "v")).await.unwrap().offset,
        1_000
    );
}

#[tokio::test]
async fn retention_by_age_removes_what_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::local(&config(dir.path())).unwrap();
    bus.ensure_topics(&[kept(DAY, 1 << 30)]).await.unwrap();
    let calls = (0..500_u32).map(|number| bus.produce(record("kept", "k", number.to_string())));
    join_all(calls)
        .await
        .into_iter()
        .for_each(|result| drop(result.unwrap()));
    assert_eq!(read_all(&bus, "kept").await.len(), 500);
    // Another amount is taken over from the configuration. Whoever tails from memory may still see them for a while, so
    // what is on disk is looked at after opening again.
    bus.ensure_topics(&[kept(Duration::from_millis(1), 1 << 30)])
        .await
        .unwrap();
    bus.close().await;
    let bus = Bus::local(&config(dir.path())).unwrap();
    until(&bus, "kept", <[Record]>::is_empty).await;
    assert_eq!(
        bus.produce(record("kept", "k", "v")).await.unwrap().offset,
        500
    );
}

#[tokio::test]
async fn compaction_keeps_the_file_small() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::local(&config(dir.path())).unwrap();
    bus.ensure_topics(&[COMPACTED]).await.unwrap();
    for round in 0..60_u32 {
        let calls = (0..10_u32).map(|key| {
            bus.produce(record(
                "compacted",
                &key.to_string(),
                vec![round as u8; 20_000],
            ))
        });
        join_all(calls)
            .await
            .into_iter()
            .for_each(|result| drop(result.unwrap()));
    }
    bus.produce(record("compacted", "0", "")).await.unwrap();
    let latest = bus.read_latest("compacted").await.unwrap();
    assert_eq!(latest.len(), 9);
    assert!(latest.iter().all(|record| record.value == vec![59; 20_000]));
    bus.close().await;
    let bus = Bus::local(&config(dir.path())).unwrap();
    assert_eq!(bus.read_latest("compacted").await.unwrap(), latest);
    assert_eq!(
        read_all(&bus, "compacted").await.len(),
        10,
        "nine values and a tombstone"
    );
    let bytes = std::fs::metadata(dir.path().join("log.redb"))
        .unwrap()
        .len();
    // 12 MB were written, 0.2 MB are left.
    assert!(bytes < 5_000_000, "the file has {bytes} bytes");
}

#[tokio::test]
async fn readers_far_behind_read_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::local(&config(dir.path())).unwrap();
    bus.ensure_topics(&[kept(DAY, 1 << 30)]).await.unwrap();
    for chunk in 0..10_u32 {
        let calls = (0..200).map(|number| {
            bus.produce(record(
                "kept",
                &number.to_string(),
                vec![chunk as u8; 1_000],
            ))
        });
        join_all(calls)
            .await
            .into_iter()
            .for_each(|result| drop(result.unwrap()));
    }
    assert_eq!(read_all(&bus, "kept").await.len(), 2_000);
    let middle = read_all(&bus, "kept").await[700].timestamp_ms;
    let mut tail = bus.tail("kept", From::Time(middle)).await.unwrap();
    let mut young = 0;
    while let Tailed::Record(record) = tail.next().await.unwrap() {
        assert!(record.timestamp_ms >= middle);
        young += 1;
    }
    let expected = read_all(&bus, "kept")
        .await
        .iter()
        .filter(|record| record.timestamp_ms >= middle)
        .count();
    assert_eq!(young, expected);
}

/// How often the writing process is killed.
const CRASHES: usize = 10;
const CRASH_DIR: &str = "HOMEOSTAT_TEST_CRASH_DIR";

/// Not a test of its own: the process that `kill_9_loses_nothing_acknowledged` starts and kills. It writes as fast as it
/// can, and prints each acknowledged position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashing_writer() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else {
        return;
    };
    let bus = Bus::local(&config(Path::new(&dir))).unwrap();
    bus.ensure_topics(&[kept(DAY, 1 << 30), COMPACTED])
        .await
        .unwrap();
    let writers = (0..8_u32).map(|writer| {
        let bus = bus.clone();
        async move {
            for number in 0_u64.. {
                let key = format!("{writer}-{}", number % 5);
                let value = format!(
                    "{key} {number} {}",
                    "x".repeat((number as usize * 37) % 2_000)
                );
                let topic = if number % 4 == 0 { "compacted" } else { "kept" };
                let position = bus
                    .produce(record(topic, &key, value.clone()))
                    .await
                    .unwrap();
                let line = format!(
                    "ack {topic} {} {} {value}\n",
                    position.partition, position.offset
                );
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        }
    });
    join_all(writers).await;
}

/// Runs the writer and kills it after it has acknowledged some records. Returns what it acknowledged.
fn crash_once(dir: &Path, acknowledged: usize) -> BTreeMap<(String, u32, u64), String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crashing_writer",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CRASH_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acks = BTreeMap::new();
    let mut parse = |line: &str| {
        let mut parts = line.split_once("ack ")?.1.splitn(4, ' ');
        let (topic, partition, offset) = (
            parts.next()?,
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
        );
        acks.insert(
            (topic.to_owned(), partition, offset),
            parts.next()?.to_owned(),
        );
        Some(())
    };
    let mut seen = 0;
    while seen < acknowledged {
        let line = lines.next().expect("the writer ended by itself").unwrap();
        seen += usize::from(parse(&line).is_some());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What was printed before the kill counts as well, but for a line cut in the middle.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    for line in rest.iter().take(rest.len().saturating_sub(1)) {
        parse(line);
    }
    acks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acks: BTreeMap<(String, u32, u64), String> = BTreeMap::new();
    for crash in 0..CRASHES {
        let path = dir.path().to_owned();
        // Another moment each time, in the middle of the work.
        let more = tokio::task::spawn_blocking(move || crash_once(&path, 20 + crash * 137))
            .await
            .unwrap();
        for (place, value) in more {
            let twice = acks.insert(place.clone(), value);
            assert_eq!(twice, None, "{place:?} was given out twice");
        }

        let bus = Bus::local(&config(dir.path())).unwrap();
        let kept: BTreeMap<(u32, u64), Bytes> = read_all(&bus, "kept")
            .await
            .into_iter()
            .map(|record| {
                (
                    (record.position.partition, record.position.offset),
                    record.value,
                )
            })
            .collect();
        let latest = bus.read_latest("compacted").await.unwrap();
        for ((topic, partition, offset), value) in &acks {
            if topic == "kept" {
                assert_eq!(
                    kept.get(&(*partition, *offset)).map(|found| &**found),
                    Some(value.as_bytes())
                );
            } else {
                let key = value.split(' ').next().unwrap();
                let newest = latest
                    .iter()
                    .find(|record| record.key == key)
                    .expect("the key is there");
                assert!(
                    newest.position.offset >= *offset,
                    "{key} went back before {offset}"
                );
            }
        }
        for partition in 0..2 {
            let offsets: Vec<u64> = kept
                .keys()
                .filter(|(of, _)| *of == partition)
                .map(|(_, offset)| *offset)
                .collect();
            assert!(
                offsets.iter().copied().eq(0..offsets.len() as u64),
                "a gap in partition {partition}"
            );
        }
        bus.close().await;
    }
    assert!(
        acks.len() > 1_000,
        "only {} records were acknowledged",
        acks.len()
    );
}
