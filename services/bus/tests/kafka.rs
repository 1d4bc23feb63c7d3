//! What only the Kafka back end has to cope with: brokers that are away, and settings of librdkafka.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::testing::{KafkaBroker, free_port};
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
    let broker = tokio::task::spawn_blocking(KafkaBroker::start)
        .await
        .unwrap()
        .unwrap();
    let bus = Bus::kafka(&broker.config()).unwrap();
    bus.ensure_topics(&[topic("outage")]).await.unwrap();
    let mut tail = bus.tail("outage", From::Beginning).await.unwrap();
    assert_eq!(tail.next().await.unwrap(), Tailed::CaughtUp);
    let mut group = bus.subscribe("outage", &["outage"]).await.unwrap();
    for number in 0..5 {
        bus.produce(record("outage", &number.to_string()))
            .await
            .unwrap();
    }
    let mut done = Vec::new();
    while done.len() < 5 {
        if let Fetched::Record(record) = group.next().await.unwrap() {
            done.push(record.position);
        }
    }
    group.commit(&done).await.unwrap();
    until_status(&bus, true).await;

    let broker = tokio::task::spawn_blocking(move || broker.kill_9().map(|()| broker))
        .await
        .unwrap()
        .unwrap();
    let under_way = tokio::spawn({
        let bus = bus.clone();
        async move { bus.produce(record("outage", "5")).await }
    });
    until_status(&bus, false).await;
    let error = bus.status().await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(broker.brokers()), "{error}");
    assert!(
        !under_way.is_finished(),
        "an append was acknowledged by nobody"
    );

    let broker = tokio::task::spawn_blocking(move || broker.restart().map(|()| broker))
        .await
        .unwrap()
        .unwrap();
    until_status(&bus, true).await;
    let position = tokio::time::timeout(DEADLINE, under_way)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(position.offset, 5);
    for number in 0..6 {
        match tokio::time::timeout(DEADLINE, tail.next())
            .await
            .unwrap()
            .unwrap()
        {
            Tailed::Record(record) => assert_eq!(record.value, number.to_string()),
            Tailed::CaughtUp => panic!("caught up a second time"),
        }
    }
    let again = loop {
        if let Fetched::Record(record) = tokio::time::timeout(DEADLINE, group.next())
            .await
            .unwrap()
            .unwrap()
        {
            break record;
        }
    };
    assert_eq!(again.value, "5", "what was committed does not come again");
    tokio::time::timeout(DEADLINE, group.commit(&[again.position]))
        .await
        .unwrap()
        .unwrap();
    bus.close().await;
    drop(broker);
}

#[tokio::test]
async fn nobody_at_the_address_is_said_in_time() {
    let bus = nowhere(1_000);
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

fn nowhere(message_timeout_ms: u32) -> Bus {
    let config = KafkaConfig {
        // Port 1 is reserved and nobody listens there.
        brokers: "127.0.0.1:1".to_owned(),
        message_timeout_ms,
        request_timeout_ms: 1_000,
        ..KafkaConfig::default()
    };
    Bus::kafka(&config).unwrap()
}

/// From the first record on, when the producer still has to find out whether the topic exists, and for more calls than a task
/// may make within one turn of tokio's scheduler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_calls_keep_their_order() {
    const PARTITIONS: u32 = 3;
    const CALLS: u32 = 600;
    let broker = tokio::task::spawn_blocking(KafkaBroker::shared)
        .await
        .unwrap();
    let bus = Bus::kafka(&broker.config()).unwrap();
    let spec = TopicSpec {
        partitions: PARTITIONS,
        ..topic("overlap")
    };
    bus.ensure_topics(&[spec]).await.unwrap();
    let calls = (0..CALLS).map(|number| {
        bus.produce(NewRecord {
            partition: Some(number % PARTITIONS),
            ..record("overlap", &number.to_string())
        })
    });
    let positions = tokio::time::timeout(DEADLINE, futures::future::try_join_all(calls))
        .await
        .unwrap()
        .unwrap();
    let mut tail = bus.tail("overlap", From::Beginning).await.unwrap();
    let mut read = vec![Vec::new(); PARTITIONS as usize];
    while let Tailed::Record(record) = tail.next().await.unwrap() {
        let number: u32 = String::from_utf8_lossy(&record.value).parse().unwrap();
        assert_eq!(positions[number as usize], record.position);
        read[record.position.partition as usize].push(number);
    }
    for (partition, read) in (0..).zip(read) {
        let called: Vec<u32> = (0..CALLS)
            .filter(|number| number % PARTITIONS == partition)
            .collect();
        assert_eq!(read, called);
    }
    bus.close().await;
}

/// More than the producer holds at once: later calls wait for room, nobody is refused before the time is up, and all are
/// answered.
#[tokio::test]
async fn calls_beyond_the_room_are_answered() {
    let bus = nowhere(1_000);
    let value = "v".repeat(900_000);
    let calls = (0..100).map(|_| bus.produce(record("nowhere", &value)));
    let outcomes = tokio::time::timeout(DEADLINE, futures::future::join_all(calls))
        .await
        .unwrap();
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(matches!(error, BusError::Produce { .. }), "{error}");
    }
    tokio::time::timeout(DEADLINE, bus.close()).await.unwrap();
}

/// Closing ends although nothing can be delivered, and the calls under way and those in line get to know.
#[tokio::test]
async fn closing_answers_calls_that_nobody_can_serve() {
    // Far longer than closing may take.
    let bus = nowhere(600_000);
    let value = "v".repeat(900_000);
    let calls = (0..50).map(|_| bus.produce(record("nowhere", &value)));
    let calls = futures::future::join_all(calls);
    let closing = async {
        // Takes longer than asking for the topic, which the calls do first: their records are with librdkafka by then.
        bus.status().await.unwrap_err();
        bus.close().await;
    };
    let (outcomes, ()) = tokio::time::timeout(DEADLINE, futures::future::join(calls, closing))
        .await
        .unwrap();
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, BusError::Produce { .. } | BusError::Closed),
            "{error}"
        );
    }
    let error = bus.produce(record("nowhere", "v")).await.unwrap_err();
    assert!(matches!(error, BusError::Closed), "{error}");
}

/// Keys and certificates of a broker and a client that trust each other, made with the JRE's own tool.
struct Secrets {
    dir: tempfile::TempDir,
}

const PASSWORD: &str = "correct-horse";

impl Secrets {
    fn make() -> Self {
        let secrets = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for name in ["server", "client"] {
            let key = format!(
                "-genkeypair -alias {name} -keyalg EC -dname CN={name} -validity 30 -ext san=ip:127.0.0.1"
            );
            secrets.keytool(&key, &format!("{name}.p12"));
            secrets.keytool(
                &format!(
                    "-exportcert -rfc -alias {name} -file {}",
                    secrets.path(&format!("{name}.pem"))
                ),
                &format!("{name}.p12"),
            );
        }
        secrets.keytool(
            &format!(
                "-importcert -noprompt -alias client -file {}",
                secrets.path("client.pem")
            ),
            "trust.p12",
        );
        secrets
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn keytool(&self, arguments: &str, store: &str) {
        let output = std::process::Command::new("keytool")
            .args(arguments.split(' '))
            .args([
                "-storetype",
                "PKCS12",
                "-keystore",
                &self.path(store),
                "-storepass",
                PASSWORD,
            ])
            .output()
            .expect("keytool comes with the Debian package openjdk-17-jre-headless");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }

    /// A broker with a listener for mutual TLS and one for SASL over TLS.
    fn broker_settings(&self, (plain, controller, mtls, sasl): (u16, u16, u16, u16)) -> String {
        let (keys, trust) = (self.path("server.p12"), self.path("trust.p12"));
        let listeners = format!(
            "PLAINTEXT://127.0.0.1:{plain},MTLS://127.0.0.1:{mtls},SASL://127.0.0.1:{sasl}"
        );
        format!(
            "listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={listeners}\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,MTLS:SSL,SASL:SASL_SSL\n\
             ssl.keystore.type=PKCS12\nssl.keystore.location={keys}\nssl.keystore.password={PASSWORD}\n\
             ssl.truststore.type=PKCS12\nssl.truststore.location={trust}\nssl.truststore.password={PASSWORD}\n\
             listener.name.mtls.ssl.client.auth=required\n\
             listener.name.sasl.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_homeostat=\"{PASSWORD}\";\n"
        )
    }
}

async fn round_trip(config: &KafkaConfig, name: &'static str) -> Result<(), BusError> {
    let bus = Bus::kafka(config)?;
    bus.status().await?;
    bus.ensure_topics(&[topic(name)]).await?;
    bus.produce(record(name, "sealed")).await?;
    let records = bus.read_latest(name).await?;
    assert_eq!(records[0].value, "sealed");
    bus.close().await;
    Ok(())
}

/// Settings for mutual TLS and for SASL over TLS work against a broker that demands them, and without them nobody gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speaks_mutual_tls_and_sasl_over_tls() {
    let start = || {
        let secrets = Secrets::make();
        let (mtls, sasl) = (free_port().unwrap(), free_port().unwrap());
        let broker = KafkaBroker::start_with(|plain, controller| {
            secrets.broker_settings((plain, controller, mtls, sasl))
        });
        (secrets, broker.unwrap(), mtls, sasl)
    };
    let (secrets, broker, mtls, sasl) = tokio::task::spawn_blocking(start).await.unwrap();
    let with = |port: u16, properties: &[(&str, &str)]| {
        let properties = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        KafkaConfig {
            brokers: format!("127.0.0.1:{port}"),
            request_timeout_ms: 10_000,
            properties: properties.collect(),
            ..KafkaConfig::default()
        }
    };
    let (ca, keys) = (secrets.path("server.pem"), secrets.path("client.p12"));
    let trusting = ("ssl.ca.location", ca.as_str());
    let client_keys = [
        ("ssl.keystore.location", keys.as_str()),
        ("ssl.keystore.password", PASSWORD),
    ];
    let tls = ("security.protocol", "ssl");
    round_trip(
        &with(mtls, &[tls, trusting, client_keys[0], client_keys[1]]),
        "mtls",
    )
    .await
    .unwrap();
    round_trip(&with(mtls, &[tls, trusting]), "mtls")
        .await
        .unwrap_err();

    let login = |password| {
        let protocol = ("security.protocol", "sasl_ssl");
        let user = ("sasl.username", "homeostat");
        with(
            sasl,
            &[
                protocol,
                trusting,
                ("sasl.mechanism", "PLAIN"),
                user,
                ("sasl.password", password),
            ],
        )
    };
    round_trip(&login(PASSWORD), "sasl").await.unwrap();
    let error = round_trip(&login("wrong-horse"), "sasl").await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable { .. }), "{error}");
    // librdkafka's code says only that the connection broke.
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("uthentication"), "{cause}");
    drop(broker);
}

/// TLS and SASL settings reach librdkafka: it refuses what is wrong with them, and the text holds no value.
#[test]
fn properties_are_passed_through() {
    let with = |properties: &[(&str, &str)]| {
        let mut config = KafkaConfig::default();
        for (name, value) in properties {
            config
                .properties
                .insert((*name).to_owned(), (*value).to_owned());
        }
        Bus::kafka(&config)
    };
    let error = with(&[("ssl.keystore.pasword", "hunter2")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("ssl.keystore.pasword") && !error.contains("hunter2"),
        "{error}"
    );
    let error = with(&[("security.protocol", "tls")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("security.protocol") && error.contains("tls"),
        "{error}"
    );
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
    let tls = [
        ("security.protocol", "SSL"),
        ("ssl.certificate.location", "/nowhere/cert.pem"),
    ];
    assert!(matches!(with(&tls).unwrap_err(), BusError::Config { .. }));
}
