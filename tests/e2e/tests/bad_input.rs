//! Whatever is missing or wrong: one clear error that names the thing and the next step, or waiting that says so on /readyz.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bus::testing::KafkaBroker;
use bus::{Bus, BusError, LocalConfig, NewRecord};
use bytes::Bytes;
use e2e::homeostat::{Homeostat, output};
use e2e::wait::{free_port, until};

const SOON: Duration = Duration::from_secs(60);

fn complaint(arguments: &[&str], status: i32) -> String {
    let ran = output(arguments);
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(status), "{arguments:?}: {text}");
    text
}

#[test]
fn a_half_written_configuration_is_named_by_line_and_every_error_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("homeostat.toml");
    std::fs::write(&file, "[collector]\ninterval = \"1s\n").unwrap();
    let text = complaint(&["--config", file.to_str().unwrap(), "config", "check"], 2);
    assert!(text.contains("homeostat.toml:2"), "{text}");

    std::fs::write(&file, "nod = \"a\"\n\n[console]\nlisten = 7\n").unwrap();
    let text = complaint(&["--config", file.to_str().unwrap(), "config", "check"], 2);
    assert!(
        text.contains("homeostat.toml:1") && text.contains("node"),
        "{text}"
    );
    assert!(
        text.contains("homeostat.toml:4") && text.contains("console.listen"),
        "{text}"
    );
}

#[test]
fn a_configuration_file_that_is_not_there_is_named() {
    let text = complaint(
        &["--config", "/nonexistent/homeostat.toml", "config", "check"],
        2,
    );
    assert!(text.contains("/nonexistent/homeostat.toml"), "{text}");
}

#[test]
fn secrets_are_never_shown() {
    let shown = Command::new(e2e::homeostat::binary())
        .args(["config", "show", "--output", "json"])
        .env(
            "HOMEOSTAT__BUS__KAFKA__PROPERTIES__SASL_PASSWORD",
            "hunter2",
        )
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned()
        + &String::from_utf8_lossy(&shown.stderr);
    assert!(!text.contains("hunter2"), "{text}");

    let shown = Command::new(e2e::homeostat::binary())
        .args(["config", "show", "--output", "json"])
        .env("HOMEOSTAT__KAFKA_SECRETS__SASL_PASSWORD", "hunter2")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{shown:?}");
    assert!(text.contains("kafka_secrets.sasl_password"), "{text}");
    assert!(text.contains("***") && !text.contains("hunter2"), "{text}");
}

#[test]
fn without_a_console_the_command_line_says_what_to_start() {
    let port = free_port();
    let text = complaint(
        &["signals", "--console", &format!("http://127.0.0.1:{port}")],
        3,
    );
    assert!(text.contains("start `homeostat up`"), "{text}");
}

#[tokio::test]
async fn without_a_docker_socket_the_process_waits_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = "unix:///nonexistent/docker.sock";
    let homeostat = Homeostat::start(
        &["up"],
        dir.path(),
        &[("collector.docker", nowhere), ("actuator.docker", nowhere)],
    );
    let said = not_ready(&homeostat, "/nonexistent/docker.sock").await;
    assert!(said.contains("docker"), "{said}");
    let alive = reqwest::get(homeostat.admin("healthz")).await.unwrap();
    assert!(alive.status().is_success());
}

#[tokio::test]
async fn kafka_may_come_later() {
    let broker = KafkaBroker::start().unwrap();
    broker.kill_9().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let brokers = broker.brokers().to_owned();
    let homeostat = Homeostat::start(
        &["analytics"],
        dir.path(),
        &[("bus.backend", "kafka"), ("bus.kafka.brokers", &brokers)],
    );
    let said = not_ready(&homeostat, &brokers).await;
    assert!(said.contains("log"), "{said}");
    broker.restart().unwrap();
    homeostat.ready().await;
}

#[tokio::test]
async fn a_record_of_an_unknown_version_is_put_aside_and_counted() {
    let broker = KafkaBroker::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let brokers = broker.brokers().to_owned();
    let homeostat = Homeostat::start(
        &["analytics"],
        dir.path(),
        &[("bus.backend", "kafka"), ("bus.kafka.brokers", &brokers)],
    );
    homeostat.ready().await;
    let bus = Bus::kafka(&broker.config()).unwrap();
    let record = NewRecord {
        topic: wire::topic::SAMPLES.into(),
        key: Bytes::from("web"),
        value: Bytes::from("from the future"),
        headers: vec![("homeostat-schema".to_owned(), Bytes::from("samples/99"))],
        partition: None,
    };
    bus.produce(record).await.unwrap();
    until("it is counted", SOON, || async {
        let metrics = reqwest::get(homeostat.admin("metrics"))
            .await
            .ok()?
            .text()
            .await
            .ok()?;
        metrics
            .lines()
            .any(|line| {
                line.starts_with("homeostat_decode_failures_total{")
                    && line.contains("unknown_version")
            })
            .then_some(())
    })
    .await;
    assert!(
        homeostat.log().contains("samples/99"),
        "{}",
        homeostat.log()
    );
    homeostat.ready().await;
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path());
    let config = LocalConfig {
        dir: disk.path().join("log"),
        ..LocalConfig::default()
    };
    let bus = Bus::local(&config).unwrap();
    bus.ensure_topics(&wire::topic::all(1)).await.unwrap();
    let record = |number: u32| NewRecord {
        topic: wire::topic::EVENTS.into(),
        key: Bytes::from("c"),
        value: Bytes::from(number.to_le_bytes().repeat(16 * 1024)),
        headers: Vec::new(),
        partition: None,
    };
    let mut acknowledged = 0;
    let error: BusError = loop {
        match bus.produce(record(acknowledged)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(
            acknowledged < 10_000,
            "a disk of 16 MiB does not hold this much"
        );
    };
    let text = kit::boot::chain(&error);
    assert!(text.contains(disk.path().to_str().unwrap()), "{text}");
    bus.close().await;
    drop(bus);
    let bus = Bus::local(&config).unwrap();
    bus.ensure_topics(&wire::topic::all(1)).await.unwrap();
    let mut tail = bus
        .tail(wire::topic::EVENTS, bus::From::Beginning)
        .await
        .unwrap();
    let mut kept = 0;
    while let bus::Tailed::Record(read) = tail.next().await.unwrap() {
        assert_eq!(read.value, record(kept).value);
        kept += 1;
    }
    assert!(
        kept >= acknowledged,
        "{kept} of {acknowledged} acknowledged records are there"
    );
}

/// Waits until /readyz says no and names `what`; returns what it says.
async fn not_ready(homeostat: &Homeostat, what: &str) -> String {
    until(&format!("/readyz names {what}"), SOON, || async {
        let answer = reqwest::get(homeostat.admin("readyz")).await.ok()?;
        let status = answer.status();
        let text = answer.text().await.ok()?;
        (status == 503 && text.contains(what)).then_some(text)
    })
    .await
}

/// A file system of 16 MiB.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(dir: &Path) -> SmallDisk {
        let path = dir.join("small");
        std::fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "mounting a small file system takes root: run `make test`"
        );
        SmallDisk(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the store may still hold its file.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
