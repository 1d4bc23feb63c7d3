//! From a start or an end that the engine tells to the inventory that shows it, as received from Kafka.

use std::time::Duration;

use units::{ContainerRecord, ContainerState, NodeInventory};

use super::containers::{Containers, LABEL, docker};
use super::rig::Rig;
use super::table::{Reach, Table};
use crate::engine::{Event, Events};
use crate::{median, quantile};

/// Others that are there all the time.
const BESIDE: usize = 20;
/// Each starts and ends once.
const CONTAINERS: usize = 60;
const SETTLE: Duration = Duration::from_secs(5);
/// Between two changes; the steps keep them from falling into step with any timer.
const PAUSE: Duration = Duration::from_millis(120);
const STEP: Duration = Duration::from_millis(37);
const STEPS: usize = 7;

pub(crate) async fn run(rig: &Rig, table: &mut Table) {
    let containers = Containers::new();
    let options = ["--network", "none"];
    containers.run_many(BESIDE, "bench-collector-beside", &options, &["idle"]);
    let dir = tempfile::tempdir().unwrap();
    let _collector = rig
        .collector(dir.path(), &[("collector.logs", "off")])
        .await;
    tokio::time::sleep(SETTLE).await;
    let inventories = rig.follow(wire::topic::INVENTORY).await;
    let label = format!("label={LABEL}");
    let events = Events::that(&[&label, "event=start", "event=die"]);
    tokio::time::sleep(SETTLE).await;
    eprintln!("bench: starting and ending {CONTAINERS} containers");
    for number in 0..CONTAINERS {
        let pause = PAUSE + STEP * u32::try_from(number % STEPS).unwrap();
        let name = format!("bench-collector-event-{number}");
        let id = containers.run(&name, &options, &["idle"]);
        tokio::time::sleep(pause).await;
        docker(&["kill", &id]);
        tokio::time::sleep(pause).await;
    }
    tokio::time::sleep(SETTLE).await;

    let told: Vec<(f64, f64, NodeInventory)> = inventories
        .so_far()
        .iter()
        .map(|it| {
            let made = it.record.timestamp_ms as f64 / 1e3;
            (it.at, made, wire::decode(&it.record).unwrap())
        })
        .collect();
    let (mut received_ms, mut made_ms, mut missed) = (Vec::new(), Vec::new(), 0);
    for event in events.so_far() {
        let event = Event(&event);
        let first = told.iter().find(|(at, _, inventory)| {
            let containers = &mut inventory.containers.iter();
            *at >= event.at() && containers.any(|container| shows(container, &event))
        });
        match first {
            Some((at, made, _)) => {
                received_ms.push((at - event.at()) * 1e3);
                made_ms.push((made - event.at()) * 1e3);
            }
            None => missed += 1,
        }
    }
    report(table, &received_ms, &made_ms, missed);
}

/// A container is started and ended once, so its state tells which of the two was seen.
fn shows(container: &ContainerRecord, event: &Event<'_>) -> bool {
    let state = container.state;
    container.id.as_str() == event.id()
        && if event.is("start") {
            state == ContainerState::Running
        } else {
            matches!(state, ContainerState::Exited | ContainerState::Dead)
        }
}

fn report(table: &mut Table, received_ms: &[f64], made_ms: &[f64], missed: usize) {
    let what = format!(
        "event to inventory received, median of {}",
        received_ms.len()
    );
    table.add(
        "event_median_ms",
        what,
        median(received_ms),
        "ms",
        Reach::AtMost(50.0),
    );
    let p99 = quantile(received_ms, 0.99);
    table.add(
        "event_p99_ms",
        "  99th percentile",
        p99,
        "ms",
        Reach::Nothing,
    );
    let made = median(made_ms);
    table.add(
        "event_made_median_ms",
        "  to the record being made, median",
        made,
        "ms",
        Reach::Nothing,
    );
    let what = "  events that no inventory showed";
    table.add("event_missed", what, missed as f64, "", Reach::AtMost(0.0));
}
