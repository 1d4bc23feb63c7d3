//! What only the Kafka back end has to cope with: brokers that are away, and settings of librdkafka.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::testing::KafkaBroker;
use bus::{Bus, BusError, Fetched, From, KafkaConfig, NewRecord, Retention, Tailed, TopicSpec};
use bytes::Bytes;

const DEADLINE: Duration = Duration::from_secs(60);

fn topic(name: &'static str) -> TopicSpec {
    TopicSpec {
        name,
        partitions: 1,
        retention: Retention::Delete {
            max_age: Duration::from_secs(3600),
            max_bytes: 1 << 30,
        },
    }
}

fn record(topic: &str, value: &str) -> NewRecord {
    NewRecord {
        topic: Arc::from(topic),
        key: Bytes::from("k"),
        value: Bytes::copy_from_slice(value.as_bytes()),
        headers: Vec::new(),
        partition: None,
    }
}

async fn until_status(bus: &Bus, good: bool) {
    let limit = Instant::now() + DEADLINE;
    while bus.status().await.is_ok() != good {
        assert!(Instant::now() < limit, "the status did not turn in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A broker is killed and comes back: appends under way are delivered once it is there, readers go on where they were, and
/// nothing acknowledged is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_back_is_waited_for() {
    let broker = tokio::task::spawn_blocking(KafkaBroker::start).await.unwrap().unwrap();
    let bus = Bus::kafka(&broker.config()).unwrap();
    bus.ensure_topics(&[topic("outage")]).await.unwrap();
    let mut tail = bus.tail("outage", From::Beginning).await.unwrap();
    assert_eq!(tail.next().await.unwrap(), Tailed::CaughtUp);
    let mut group = bus.subscribe("outage", &["outage"]).await.unwrap();
    for number in 0..5 {
        bus.produce(record("outage", &number.to_string())).await.unwrap();
    }
    let mut done = Vec::new();
    while done.len() < 5 {
        if let Fetched::Record(record) = group.next().await.unwrap() {
            done.push(record.position);
        }
    }
    group.commit(&done).await.unwrap();
    until_status(&bus, true).await;

    let broker = tokio::task::spawn_blocking(move || broker.kill_9().map(|()| broker)).await.unwrap().unwrap();
    let under_way = tokio::spawn({
        let bus = bus.clone();
        async move { bus.produce(record("outage", "5")).await }
    });
    until_status(&bus, false).await;
    let error = bus.status().await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(broker.brokers()), "{error}");
    assert!(!under_way.is_finished(), "an append was acknowledged by nobody");

    let broker = tokio::task::spawn_blocking(move || broker.restart().map(|()| broker)).await.unwrap().unwrap();
    until_status(&bus, true).await;
    let position = tokio::time::timeout(DEADLINE, under_way).await.unwrap().unwrap().unwrap();
    assert_eq!(position.offset, 5);
    for number in 0..6 {
        match tokio::time::timeout(DEADLINE, tail.next()).await.unwrap().unwrap() {
            Tailed::Record(record) => assert_eq!(record.value, number.to_string()),
            Tailed::CaughtUp => panic!("caught up a second time"),
        }
    }
    let again = loop {
        if let Fetched::Record(record) = tokio::time::timeout(DEADLINE, group.next()).await.unwrap().unwrap() {
            break record;
        }
    };
    assert_eq!(again.value, "5", "what was committed does not come again");
    tokio::time::timeout(DEADLINE, group.commit(&[again.position])).await.unwrap().unwrap();
    bus.close().await;
    drop(broker);
}

#[tokio::test]
async fn nobody_at_the_address_is_said_in_time() {
    // Port 1 is reserved and nobody listens there.
    let config = KafkaConfig {
        brokers: "127.0.0.1:1".to_owned(),
        message_timeout_ms: 1_000,
        request_timeout_ms: 1_000,
        ..KafkaConfig::default()
    };
    let bus = Bus::kafka(&config).unwrap();
    let errors = [
        bus.status().await.unwrap_err(),
        bus.ensure_topics(&[topic("nowhere")]).await.unwrap_err(),
        bus.subscribe("g", &["nowhere"]).await.unwrap_err(),
        bus.tail("nowhere", From::End).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, BusError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    }
    let error = bus.produce(record("nowhere", "v")).await.unwrap_err();
    assert!(matches!(error, BusError::Produce { .. }), "{error}");
    tokio::time::timeout(DEADLINE, bus.close()).await.unwrap();
}

/// TLS and SASL settings reach librdkafka: it refuses what is wrong with them, and the text holds no value.
#[test]
fn properties_are_passed_through() {
    let with = |properties: &[(&str, &str)]| {
        let mut config = KafkaConfig::default();
        for (name, value) in properties {
            config.properties.insert((*name).to_owned(), (*value).to_owned());
        }
        Bus::kafka(&config)
    };
    let error = with(&[("ssl.keystore.pasword", "hunter2")]).unwrap_err().to_string();
    assert!(error.contains("ssl.keystore.pasword") && !error.contains("hunter2"), "{error}");
    let error = with(&[("security.protocol", "tls")]).unwrap_err().to_string();
    assert!(error.contains("security.protocol") && error.contains("tls"), "{error}");
    let key = [("security.protocol", "ssl"), ("ssl.key.pem", "hunter2")];
    let error = with(&key).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    let sasl = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "homeostat"),
        ("sasl.password", "hunter2"),
    ];
    with(&sasl).unwrap();
    let tls = [("security.protocol", "SSL"), ("ssl.certificate.location", "/nowhere/cert.pem")];
    assert!(matches!(with(&tls).unwrap_err(), BusError::Config { .. }));
}
