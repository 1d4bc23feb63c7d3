//! The host's clock is set back by an hour and forward again: no rate turns negative or absurd, and nothing is taken for a
//! restart, a hang or silence.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bus::Bus;
use bus::testing::KafkaBroker;
use e2e::containers::Containers;
use e2e::fake_time::FakeTime;
use e2e::homeostat::Homeostat;
use e2e::topic::Topic;
use units::{ContainerEvent, ContainerState, EventKind, Metric, Sample, Signal, SignalKind};
use wire::{Telemetry, topic};

const SERVICE: &str = "steady";
const HOUR_SECONDS: i64 = 3600;
/// Samples after each step; longer than telemetry may be missing before that is a signal.
const SAMPLES_EACH: usize = 20;
/// Of one service, so as many seconds.
const FORECASTS_MORE: usize = 5;
const ARRIVAL: Duration = Duration::from_secs(120);
/// Of a container that writes fifty lines a second, cores.
const CPU_MAX: f64 = 0.5;
/// Between two samples that are taken each second; generous, as the machine may be busy.
const GAP_MAX: Duration = Duration::from_secs(10);
/// An uptime is told to the second, and read a moment after it was.
const UPTIME_SLACK_SECONDS: f64 = 5.0;
const FALSE_ALARMS: [SignalKind; 3] = [
    SignalKind::CrashLoop,
    SignalKind::Hang,
    SignalKind::TelemetryMissing,
];

fn start(role: &str, clock: &FakeTime, dir: &Path, brokers: &str) -> Homeostat {
    Homeostat::start_as(
        &clock.launch(),
        &[role],
        dir,
        &[
            ("node", "node-a"),
            ("partitions", "1"),
            ("bus.backend", "kafka"),
            ("bus.kafka.brokers", brokers),
        ],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_back_and_forward_is_no_time_at_all() {
    let broker = KafkaBroker::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let clock = FakeTime::new(dir.path());
    let containers = Containers::new();
    let ids: Vec<String> = ["one", "two"]
        .iter()
        .map(|name| {
            let options = [
                "--network",
                "none",
                "--label",
                &format!("io.homeostat.service={SERVICE}"),
            ];
            containers.run(name, &options, &["lines", "1000000", "80", "50"])
        })
        .collect();
    let roles = ["collector", "analytics"];
    let processes = roles.map(|role| start(role, &clock, dir.path(), broker.brokers()));
    for process in &processes {
        process.ready().await;
    }
    // The collector counts its ticks; whoever judges sees the same ones.
    processes[0].learnt().await;

    let bus = Bus::kafka(&broker.config()).unwrap();
    let mut topic = Topic::open(&bus, topic::SAMPLES).await;
    let mut samples = Samples::default();
    samples.more(&mut topic, &ids).await;
    for offset in [-HOUR_SECONDS, 0] {
        clock.step(offset);
        samples.more(&mut topic, &ids).await;
    }
    for id in &ids {
        samples.check(id);
    }
    judged(&bus).await;
    no_false_alarm(&bus).await;
    none_ended(&bus, &ids).await;
}

/// All samples, by container, in the order they were told.
#[derive(Default)]
struct Samples(BTreeMap<String, Vec<Sample>>);

impl Samples {
    /// Reads on until each container has some more.
    async fn more(&mut self, topic: &mut Topic, ids: &[String]) {
        let waited = Instant::now();
        let count = |of: &Samples, id: &String| of.0.get(id).map_or(0, Vec::len);
        // What is there already was told before the step.
        self.read(topic).await;
        let before: Vec<usize> = ids.iter().map(|id| count(self, id)).collect();
        while ids
            .iter()
            .zip(&before)
            .any(|(id, before)| count(self, id) < before + SAMPLES_EACH)
        {
            self.read(topic).await;
            assert!(waited.elapsed() < ARRIVAL, "samples stop");
        }
    }

    async fn read(&mut self, topic: &mut Topic) {
        topic
            .read(|record| {
                if let Telemetry::Samples(rows) = wire::decode_telemetry(record).unwrap() {
                    for row in rows {
                        let id = row.container.as_str().to_owned();
                        self.0.entry(id).or_default().push(row);
                    }
                }
            })
            .await;
    }

    fn check(&self, id: &str) {
        let samples = &self.0[id];
        let mut steps = Vec::new();
        for pair in samples.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            let told_ms = after.at.as_millis() - before.at.as_millis();
            let steady_ms = i64::try_from(after.steady.as_millis()).unwrap()
                - i64::try_from(before.steady.as_millis()).unwrap();
            if (told_ms - steady_ms).abs() > HOUR_SECONDS * 500 {
                steps.push((told_ms - steady_ms).signum());
            }
            follows(before, after);
        }
        assert_eq!(steps, [-1, 1], "the clock was stepped back, then forward");
        let newest = &samples[samples.len() - 1];
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let behind = u64::try_from(now.tv_sec).unwrap() * 1000;
        let behind = behind.abs_diff(newest.steady.as_millis());
        assert!(
            behind < 60_000,
            "steady is {behind} ms off the time since boot"
        );
    }
}

/// One sample after the other, as if there had been no step.
fn follows(before: &Sample, after: &Sample) {
    let said = format!("{before:?}\n{after:?}");
    assert!(after.steady > before.steady, "steady does not rise: {said}");
    let gap = after.steady.since(before.steady);
    assert!(gap < GAP_MAX, "a gap of {gap:?}: {said}");
    assert_eq!(after.state, ContainerState::Running, "{said}");
    let counters = Metric::ALL
        .iter()
        .filter(|metric| metric.kind() == units::MetricKind::Counter);
    for metric in counters {
        if let (Some(before), Some(after)) =
            (before.metrics.get(*metric), after.metrics.get(*metric))
        {
            assert!(after >= before, "{metric} fell: {said}");
        }
    }
    let both = |metric| Some((before.metrics.get(metric)?, after.metrics.get(metric)?));
    if let Some((before, after)) = both(Metric::CpuUsage) {
        let cores = (after - before) / gap.as_secs_f64();
        assert!(cores < CPU_MAX, "{cores} cores: {said}");
    }
    if let Some((before, after)) = both(Metric::Uptime) {
        let rise = after - before;
        let slack = gap.as_secs_f64() + UPTIME_SLACK_SECONDS;
        assert!(rise >= 0.0, "uptime fell, which is a restart: {said}");
        assert!(rise < slack, "uptime rose by {rise} s: {said}");
    }
}

/// Waits until what was told before this is judged: forecasts are made of the same samples, after them.
async fn judged(bus: &Bus) {
    let mut forecasts = Topic::open(bus, topic::FORECASTS).await;
    let mut count = 0;
    forecasts.read(|_| count += 1).await;
    let enough = count + FORECASTS_MORE;
    let waited = Instant::now();
    while count < enough {
        assert!(waited.elapsed() < ARRIVAL, "nobody judges the samples");
        forecasts.read(|_| count += 1).await;
    }
}

/// Nothing of the kind was found.
async fn no_false_alarm(bus: &Bus) {
    let mut signals = Topic::open(bus, topic::SIGNALS).await;
    let mut alarms: Vec<Signal> = Vec::new();
    signals
        .read(|record| {
            let signal: Signal = wire::decode(record).unwrap();
            let subject = signal.subject.service.as_ref();
            let own = subject.is_none_or(|service| service.as_str() == SERVICE);
            if own && FALSE_ALARMS.contains(&signal.kind) {
                alarms.push(signal);
            }
        })
        .await;
    assert!(alarms.is_empty(), "{alarms:#?}");
}

/// No event tells of an end that did not happen.
async fn none_ended(bus: &Bus, ids: &[String]) {
    let mut events = Topic::open(bus, topic::EVENTS).await;
    let mut ended = Vec::new();
    events
        .read(|record| {
            let event: ContainerEvent = wire::decode(record).unwrap();
            let own = ids.iter().any(|id| id == event.container.as_str());
            if own && matches!(event.kind, EventKind::Died { .. } | EventKind::Removed) {
                ended.push(event);
            }
        })
        .await;
    assert!(ended.is_empty(), "{ended:#?}");
}
