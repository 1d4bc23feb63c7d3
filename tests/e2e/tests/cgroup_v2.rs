//! A host with control groups of version 2: usage, limits hit and pressure of a busy container come from its files.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bus::Bus;
use bus::testing::KafkaBroker;
use e2e::containers::Containers;
use e2e::engine_v2::EngineV2;
use e2e::homeostat::{Homeostat, Launch};
use e2e::topic::Topic;
use units::{Metric, NodeInventory, Sample};
use wire::{Telemetry, topic};

const SAMPLES: usize = 10;
/// Two busy processes on these cores wait for each other.
const BURNERS: usize = 4;
const ARRIVAL: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_container_is_seen_in_version_2() {
    let dir = tempfile::tempdir().unwrap();
    let engine = EngineV2::start(dir.path()).await;
    let controllers = engine.controllers();
    println!("controllers in version 2: {controllers:?}");
    let has_cpu = controllers.iter().any(|it| it == "cpu");
    let containers = Containers::at(&engine.address());
    let broker = KafkaBroker::start().unwrap();
    let launch = Launch {
        before: engine.before(),
        ..Launch::default()
    };
    let collector = Homeostat::start_as(
        &launch,
        &["collector"],
        dir.path(),
        &[
            ("node", "node-a"),
            ("partitions", "2"),
            ("bus.backend", "kafka"),
            ("bus.kafka.brokers", broker.brokers()),
            ("collector.docker", &engine.address()),
        ],
    );
    collector.ready().await;
    // A limit takes the controller; where version 1 has it, the engine itself refuses one.
    let limits: &[&str] = if has_cpu { &["--cpus", "0.5"] } else { &[] };
    let ids: Vec<String> = (0..BURNERS)
        .map(|number| {
            let options = [&["--network", "none"], limits].concat();
            containers.run(&format!("busy-{number}"), &options, &["spin"])
        })
        .collect();

    let bus = Bus::kafka(&broker.config()).unwrap();
    let samples = samples(&bus, &ids[0]).await;
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    let rose = |metric| rise(first, last, metric);
    assert!(rose(Metric::CpuUsage) > 0.0, "{last:?}");
    assert!(rose(Metric::CpuUser) > 0.0, "{last:?}");
    assert!(rose(Metric::PsiCpuSome) > 0.0, "{last:?}");
    for metric in [Metric::PsiMemorySome, Metric::PsiIoSome] {
        assert!(last.metrics.get(metric).is_some(), "no {metric}: {last:?}");
    }
    if has_cpu {
        assert!(rose(Metric::CpuThrottledPeriods) > 0.0, "{last:?}");
        assert!(rose(Metric::CpuThrottled) > 0.0, "{last:?}");
        assert_eq!(last.metrics.get(Metric::CpuLimit), Some(0.5));
    } else {
        // What the files do not tell is absent, not zero, and is not taken from version 1 either.
        for metric in [
            Metric::CpuThrottledPeriods,
            Metric::CpuThrottled,
            Metric::CpuLimit,
        ] {
            assert_eq!(last.metrics.get(metric), None, "{metric}");
        }
    }
    layout(&bus).await;
}

fn rise(first: &Sample, last: &Sample, metric: Metric) -> f64 {
    let value = |sample: &Sample| {
        let value = sample.metrics.get(metric);
        value.unwrap_or_else(|| panic!("no {metric} in {sample:?}"))
    };
    value(last) - value(first)
}

/// Some samples of the container, in order, from when it is under way.
async fn samples(bus: &Bus, id: &str) -> Vec<Sample> {
    let waited = Instant::now();
    let mut topic = Topic::open(bus, topic::SAMPLES).await;
    let mut samples: Vec<Sample> = Vec::new();
    let mut without: Option<Sample> = None;
    while samples.len() < SAMPLES {
        let few = samples.len();
        assert!(
            waited.elapsed() < ARRIVAL,
            "only {few} samples with usage, and without: {without:#?}"
        );
        topic
            .read(|record| {
                if let Telemetry::Samples(rows) = wire::decode_telemetry(record).unwrap() {
                    for row in rows.into_iter().filter(|row| row.container.as_str() == id) {
                        match row.metrics.get(Metric::CpuUsage) {
                            Some(_) => samples.push(row),
                            None => without = Some(row),
                        }
                    }
                }
            })
            .await;
    }
    samples
}

/// The inventory names the layout.
async fn layout(bus: &Bus) {
    let mut inventories = Topic::open(bus, topic::INVENTORY).await;
    let mut newest: Option<NodeInventory> = None;
    inventories
        .read(|record| newest = Some(wire::decode(record).unwrap()))
        .await;
    let newest = newest.expect("the node tells what it holds");
    assert_eq!(newest.engine.cgroup, "v2");
    assert_eq!(newest.containers.len(), BURNERS);
}
