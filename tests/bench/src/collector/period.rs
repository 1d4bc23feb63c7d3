//! The real time between two samples of a container, when there are three hundred.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{ContainerState, Steady};

use super::containers::Containers;
use super::rig::Rig;
use super::table::{Reach, Table};
use crate::{median, quantile};

const CONTAINERS: usize = 300;
const WARM_UP: Duration = Duration::from_secs(15);
const MEASURE: Duration = Duration::from_secs(60);
const REACH: Reach = Reach::AtMost(1.05);

pub(crate) async fn run(rig: &Rig, table: &mut Table) {
    let containers = Containers::new();
    eprintln!("bench: starting {CONTAINERS} containers");
    let options = ["--network", "none"];
    containers.run_many(CONTAINERS, "bench-collector-many", &options, &["idle"]);
    let dir = tempfile::tempdir().unwrap();
    let settings = [("collector.logs", "off"), ("collector.interval", "1s")];
    let collector = rig.collector(dir.path(), &settings).await;
    tokio::time::sleep(WARM_UP).await;
    let samples = rig.follow(wire::topic::SAMPLES).await;
    tokio::time::sleep(MEASURE).await;
    let received = samples.so_far();
    drop(collector);

    let mut times: BTreeMap<_, Vec<Steady>> = BTreeMap::new();
    // Other telemetry travels on the same topic.
    let rows = received
        .iter()
        .filter_map(|it| wire::decode_samples(&it.record).ok())
        .flatten();
    for row in rows.filter(|row| row.state == ContainerState::Running) {
        times.entry(row.container).or_default().push(row.steady);
    }
    assert!(
        times.len() >= CONTAINERS,
        "the collector sampled {} containers",
        times.len()
    );
    let mut periods = Vec::new();
    for times in times.values_mut() {
        times.sort();
        let between = times.windows(2).map(|pair| pair[1].since(pair[0]));
        periods.extend(between.map(|period| period.as_secs_f64()));
    }
    let what = format!("period of {} containers, median", times.len());
    table.add("period_median_s", what, median(&periods), "s", REACH);
    table.add(
        "period_p99_s",
        "  99th percentile",
        quantile(&periods, 0.99),
        "s",
        REACH,
    );
    table.add(
        "period_max_s",
        "  longest",
        quantile(&periods, 1.0),
        "s",
        REACH,
    );
}
