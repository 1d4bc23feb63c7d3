//! A thousand containers that live under 100 ms: each start, exit code and last line arrives, also of those that the engine
//! removes the moment they end.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateContainerOptions;
use bus::Bus;
use bus::testing::KafkaBroker;
use e2e::containers::Containers;
use e2e::homeostat::Homeostat;
use e2e::topic::Topic;
use futures::{StreamExt, stream};
use units::{ContainerEvent, EventKind};
use wire::topic;

const COUNT: u32 = 1_000;
const CODES: u32 = 200;
/// Created and started at a time.
const PARALLEL: usize = 4;
/// After the last start, until all of it has to be there.
const ARRIVAL: Duration = Duration::from_secs(120);
const SHOWN: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_short_lives_leave_start_exit_code_and_last_line() {
    let broker = KafkaBroker::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let containers = Containers::new();
    let collector = Homeostat::start(
        &["collector"],
        dir.path(),
        &[
            ("node", "node-a"),
            ("partitions", "2"),
            ("bus.backend", "kafka"),
            ("bus.kafka.brokers", broker.brokers()),
        ],
    );
    collector.ready().await;

    let began = Instant::now();
    let ids = live(&containers).await;
    println!("{COUNT} lives in {:.0} s", began.elapsed().as_secs_f64());

    let bus = Bus::kafka(&broker.config()).unwrap();
    let mut events = Topic::open(&bus, topic::EVENTS).await;
    let mut logs = Topic::open(&bus, topic::LOGS).await;
    let mut seen = Seen::default();
    let began = Instant::now();
    loop {
        events
            .read(|record| seen.event(&wire::decode(record).unwrap()))
            .await;
        logs.read(|record| {
            for line in wire::decode_logs(record).unwrap() {
                seen.line(line.container.as_str(), &line.text);
            }
        })
        .await;
        let report = seen.report(&ids);
        if report.is_empty() {
            return;
        }
        assert!(
            began.elapsed() < ARRIVAL,
            "of {COUNT} containers:\n{report}"
        );
    }
}

/// Whether the engine removes a container when it ends: every other one.
fn is_auto_removed(number: u32) -> bool {
    number % 2 == 1
}

/// Creates and starts all of them: their ids, by number.
async fn live(containers: &Containers) -> Vec<String> {
    let docker = Docker::connect_with_local_defaults().unwrap();
    let docker = docker.negotiate_version().await.unwrap();
    let one = |number: u32| {
        let docker = docker.clone();
        let labels = HashMap::from([
            containers.label(),
            ("io.homeostat.service".to_owned(), "short-lived".to_owned()),
        ]);
        let body = ContainerCreateBody {
            image: Some(containers.image().to_owned()),
            cmd: Some(vec![
                "once".to_owned(),
                number.to_string(),
                (number % CODES).to_string(),
            ]),
            labels: Some(labels),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                auto_remove: Some(is_auto_removed(number)),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = CreateContainerOptions {
            name: Some(containers.name(&number.to_string())),
            ..Default::default()
        };
        async move {
            let made = docker.create_container(Some(options), body).await.unwrap();
            docker.start_container(&made.id, None).await.unwrap();
            made.id
        }
    };
    stream::iter((0..COUNT).map(one))
        .buffered(PARALLEL)
        .collect()
        .await
}

/// What the topics tell, by container.
#[derive(Default)]
struct Seen {
    started: BTreeSet<String>,
    died: BTreeMap<String, BTreeSet<Option<i64>>>,
    lines: BTreeMap<String, BTreeSet<String>>,
}

impl Seen {
    fn event(&mut self, event: &ContainerEvent) {
        let id = event.container.as_str().to_owned();
        match &event.kind {
            EventKind::Started => {
                self.started.insert(id);
            }
            EventKind::Died { exit_code } => {
                self.died.entry(id).or_default().insert(*exit_code);
            }
            EventKind::Created
            | EventKind::Stopping { .. }
            | EventKind::OutOfMemory
            | EventKind::Health { .. }
            | EventKind::Paused
            | EventKind::Unpaused
            | EventKind::Updated
            | EventKind::Renamed { .. }
            | EventKind::Removed
            | EventKind::Gap => {}
        }
    }

    fn line(&mut self, id: &str, text: &str) {
        let lines = self.lines.entry(id.to_owned()).or_default();
        lines.insert(text.trim_end().to_owned());
    }

    /// What is missing or wrong; empty when nothing is.
    fn report(&self, ids: &[String]) -> String {
        let mut wrong: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (number, id) in (0..).zip(ids) {
            let mut note = |what| wrong.entry(what).or_default().push(number);
            if !self.started.contains(id) {
                note("no start");
            }
            let expected = BTreeSet::from([Some(i64::from(number % CODES))]);
            match self.died.get(id) {
                None => note("no end"),
                Some(codes) if *codes != expected => note("another exit code"),
                Some(_) => {}
            }
            let expected = BTreeSet::from([format!("{number:06}")]);
            match self.lines.get(id) {
                None if is_auto_removed(number) => note("no last line, removed by the engine"),
                None => note("no last line, kept by the engine"),
                Some(lines) if *lines != expected => note("another last line"),
                Some(_) => {}
            }
        }
        let told = wrong.iter().map(|(what, numbers)| {
            let shown = &numbers[..numbers.len().min(SHOWN)];
            format!("{what}: {}, such as {shown:?}\n", numbers.len())
        });
        told.collect()
    }
}
