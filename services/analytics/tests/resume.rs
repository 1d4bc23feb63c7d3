//! The role over a log in memory: whatever moment it is ended at, no signal is lost and none is told under another id.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use analytics::Config;
use bus::{Bus, From, Record, Tailed};
use kit::Context;
use kit::config::HumanDuration;
use units::{
    ContainerId, ContainerName, ContainerState, Direction, EngineInfo, Feedback, Forecast,
    HealthState, Link, LogLine, LogSeverity, LogStream, Metric, MetricRow, NodeCapacity, NodeFacts,
    NodeId, NodeInventory, Opinion, Point, Sample, SeriesKind, ServiceId, Signal, SignalKind,
    SignalPhase, Steady, Timestamp,
};
use wire::{Meta, topic};

const PARTITIONS: u32 = 2;
const SECONDS: i64 = 200;
/// The story goes on by so much between one kill and the next ones.
const PART_SECONDS: i64 = 8;
const DEADLINE: Duration = Duration::from_secs(60);
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What one service does in each second of the story.
struct Actor {
    service: &'static str,
    totals: MetricRow,
}

impl Actor {
    fn add(&mut self, metric: Metric, amount: f64) {
        let total = self.totals.get(metric).unwrap_or(0.0) + amount;
        self.totals.set(metric, total);
    }

    /// A fixed wobble stands for noise: the same in every run.
    fn sample(&mut self, second: i64) -> Sample {
        let hung = self.service == "patient" && (60..90).contains(&second);
        let busy = self.service == "web" && (100..130).contains(&second);
        let wobble = 1.0 + 0.1 * ((second * 7 % 11) as f64 - 5.0) / 5.0;
        let cpu = match (hung, busy) {
            (true, _) => 0.000_1,
            (_, true) => 0.25,
            (false, false) => 0.06 * wobble,
        };
        self.add(Metric::CpuUsage, cpu);
        self.add(Metric::CpuPeriods, 10.0);
        self.add(Metric::CpuThrottledPeriods, if busy { 8.0 } else { 0.0 });
        self.add(Metric::NetRxPackets, 60.0 * wobble);
        self.add(Metric::NetRxBytes, 6_000.0 * wobble);
        self.add(
            Metric::NetTxBytes,
            if hung { 200.0 } else { 20_000.0 * wobble },
        );
        let mut metrics = self.totals.clone();
        metrics.set(Metric::CpuLimit, 0.25);
        metrics.set(Metric::MemoryRss, 8e6);
        metrics.set(Metric::MemoryLimit, 64e6);
        metrics.set(Metric::Uptime, 1_000.0 + second as f64);
        metrics.set(Metric::Restarts, 0.0);
        let unhealthy = self.service == "patient" && (70..90).contains(&second);
        Sample {
            at: at(second),
            steady: Steady::from_time_of_day(at(second)),
            node: NodeId::from("node-a"),
            service: ServiceId::from(self.service),
            container: ContainerId::new(format!("id-of-{}", self.service)),
            name: ContainerName::new(format!("demo-{}", self.service)),
            state: ContainerState::Running,
            health: if unhealthy {
                HealthState::Unhealthy
            } else {
                HealthState::Healthy
            },
            metrics,
        }
    }

    fn lines(&self, second: i64) -> Vec<LogLine> {
        let failing = self.service == "patient" && (140..160).contains(&second);
        let (severity, count) = if failing {
            (LogSeverity::Error, 20)
        } else {
            (LogSeverity::Info, 1)
        };
        let line = |number: i64| LogLine {
            at: at(second) - Duration::from_millis(900 - number as u64 * 10),
            node: NodeId::from("node-a"),
            service: ServiceId::from(self.service),
            container: ContainerId::new(format!("id-of-{}", self.service)),
            name: ContainerName::new(format!("demo-{}", self.service)),
            stream: LogStream::Stdout,
            severity,
            sequence: (second * 100 + number) as u64,
            lost_before: 0,
            lines: 1,
            limited_before: 0,
            trace_id: None,
            raw: None,
            text: format!("request {number} of second {second}"),
        };
        (0..count).map(line).collect()
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + second * 1_000)
}

async fn bus_with_topics() -> Bus {
    let bus = Bus::memory();
    bus.ensure_topics(&topic::all(PARTITIONS)).await.unwrap();
    bus
}

/// Writes the story: for each second the lines, then the samples, as a collector does.
async fn tell_story(bus: &Bus) {
    tell_part(bus, &mut actors(), 0..SECONDS).await;
}

fn actors() -> [Actor; 2] {
    ["web", "patient"].map(|service| Actor {
        service,
        totals: MetricRow::default(),
    })
}

async fn tell_part(bus: &Bus, actors: &mut [Actor], seconds: std::ops::Range<i64>) {
    let meta = Meta::new("test").within(Some(TRACEPARENT.to_owned()));
    for second in seconds {
        for actor in actors.iter_mut() {
            let partition = bus::partition_of(actor.service.as_bytes(), PARTITIONS);
            let lines = actor.lines(second);
            let record = wire::encode_logs(&lines, partition, &meta).unwrap();
            bus.produce(record).await.unwrap();
            let rows = [actor.sample(second)];
            let record = wire::encode_samples(&rows, partition, &meta).unwrap();
            bus.produce(record).await.unwrap();
        }
    }
}

fn config() -> Config {
    Config {
        checkpoint_every: HumanDuration::from_millis(20),
        ..Config::default()
    }
}

async fn records(bus: &Bus, topic: &str) -> Vec<Record> {
    let mut tail = bus.tail(topic, From::Beginning).await.unwrap();
    let mut records = Vec::new();
    while let Tailed::Record(record) = tail.next().await.unwrap() {
        records.push(record);
    }
    records
}

async fn signals(bus: &Bus) -> Vec<Signal> {
    let records = records(bus, topic::SIGNALS).await;
    records
        .iter()
        .map(|record| wire::decode(record).unwrap())
        .collect()
}

type Told = BTreeSet<(String, &'static str, SignalKind, i64)>;

async fn told(bus: &Bus) -> Told {
    let key = |signal: Signal| {
        let second = (signal.at.as_millis() - at(0).as_millis()) / 1_000;
        (
            signal.id.to_string(),
            signal.phase.as_str(),
            signal.kind,
            second,
        )
    };
    signals(bus).await.into_iter().map(key).collect()
}

async fn forecasts(bus: &Bus) -> BTreeSet<(String, i64)> {
    let key = |record: &Record| {
        let forecast: Forecast = wire::decode(record).unwrap();
        (forecast.service.to_string(), forecast.at.as_millis())
    };
    records(bus, topic::FORECASTS)
        .await
        .iter()
        .map(key)
        .collect()
}

/// Runs the role until both services are forecast to the end of the story, then shuts it down.
async fn run_to_the_end(bus: &Bus) {
    let context = Context::new(bus.clone(), "analytics", "test");
    let shutdown = context.shutdown.clone();
    let role = tokio::spawn(analytics::run(config(), context));
    let end = at(SECONDS - 1).as_millis();
    let wait = async {
        loop {
            let done = forecasts(bus).await;
            if ["web", "patient"]
                .iter()
                .all(|it| done.contains(&((*it).to_owned(), end)))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap();
    shutdown.cancel();
    tokio::time::timeout(DEADLINE, role)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

/// Polls a future so many times and drops it: an end with no warning, between any two of its steps.
struct Killed<F> {
    inner: Pin<Box<F>>,
    polls: u32,
}

impl<F: Future> Future for Killed<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        if self.polls == 0 {
            return Poll::Ready(());
        }
        self.polls -= 1;
        self.inner.as_mut().poll(task).map(|_| ())
    }
}

async fn undisturbed() -> (Told, BTreeSet<(String, i64)>) {
    let bus = bus_with_topics().await;
    tell_story(&bus).await;
    run_to_the_end(&bus).await;
    (told(&bus).await, forecasts(&bus).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_is_told_with_its_trace() {
    let bus = bus_with_topics().await;
    tell_story(&bus).await;
    run_to_the_end(&bus).await;
    let all = signals(&bus).await;
    for kind in [
        SignalKind::Hang,
        SignalKind::Unhealthy,
        SignalKind::Overload,
        SignalKind::ErrorLogs,
    ] {
        for phase in [SignalPhase::Open, SignalPhase::Resolve] {
            let count = all
                .iter()
                .filter(|it| it.kind == kind && it.phase == phase)
                .count();
            assert_eq!(count, 1, "{kind} {phase:?} in {all:#?}");
        }
    }
    let hang = all.iter().find(|it| it.kind == SignalKind::Hang).unwrap();
    assert_eq!(hang.traceparent.as_deref(), Some(TRACEPARENT));
    assert!(
        hang.opened_at.since(at(60)) <= Duration::from_secs(5),
        "{hang:?}"
    );
    let record = &records(&bus, topic::FORECASTS).await[0];
    assert_eq!(wire::traceparent(record), Some(TRACEPARENT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_tells_the_same_signals() {
    let (expected, forecast) = undisturbed().await;
    assert!(expected.len() >= 8, "{expected:?}");
    let bus = bus_with_topics().await;
    let mut actors = actors();
    let mut state = 1u32;
    for part in 0..SECONDS / PART_SECONDS {
        let seconds = part * PART_SECONDS..(part + 1) * PART_SECONDS;
        tell_part(&bus, &mut actors, seconds).await;
        for _ in 0..3 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let polls = 1 + (state >> 16) % 60;
            let context = Context::new(bus.clone(), "analytics", "test");
            let inner = Box::pin(analytics::run(config(), context));
            // Should it have nothing to do before its time is up, it is ended all the same.
            let _ = tokio::time::timeout(Duration::from_millis(300), Killed { inner, polls }).await;
        }
    }
    run_to_the_end(&bus).await;
    assert_eq!(told(&bus).await, expected);
    assert!(forecasts(&bus).await.is_superset(&forecast));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_joins_and_one_that_leaves_lose_nothing() {
    let (expected, _) = undisturbed().await;
    let bus = bus_with_topics().await;
    let first = Context::new(bus.clone(), "analytics", "first");
    let leave = first.shutdown.clone();
    let first = tokio::spawn(analytics::run(config(), first));
    let story = tokio::spawn({
        let bus = bus.clone();
        async move { tell_story(&bus).await }
    });
    let second = Context::new(bus.clone(), "analytics", "second");
    let end = second.shutdown.clone();
    let second = tokio::spawn(analytics::run(config(), second));
    story.await.unwrap();
    leave.cancel();
    tokio::time::timeout(DEADLINE, first)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    end.cancel();
    tokio::time::timeout(DEADLINE, second)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    run_to_the_end(&bus).await;
    assert_eq!(told(&bus).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_counted_and_passed_over() {
    let bus = bus_with_topics().await;
    for partition in 0..PARTITIONS {
        let mut record = wire::encode_samples(&[], partition, &Meta::new("test")).unwrap();
        record.value = bytes::Bytes::from_static(b"no batch");
        bus.produce(record).await.unwrap();
    }
    tell_story(&bus).await;
    let context = Context::new(bus.clone(), "analytics", "test");
    let (shutdown, metrics) = (context.shutdown.clone(), context.metrics.clone());
    let health = context.health.clone();
    let role = tokio::spawn(analytics::run(config(), context));
    let counted =
        "homeostat_decode_failures_total{topic=\"homeostat.samples\",reason=\"malformed\"} 2\n";
    let wait = async {
        while !metrics.encode().contains(counted) || !health.is_ready() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap();
    shutdown.cancel();
    role.await.unwrap().unwrap();
    run_to_the_end(&bus).await;
    assert!(!told(&bus).await.is_empty());
}

fn point() -> Point {
    Point {
        at: at(0),
        steady: Steady::from_time_of_day(at(0)),
        node: NodeId::from("node-a"),
        service: Some(ServiceId::from("web")),
        container: Some(ContainerId::from("id-of-web")),
        name: "http_requests_total".to_owned(),
        labels: String::new(),
        kind: SeriesKind::Counter,
        value: 1.0,
    }
}

fn link(at: Timestamp, rtt_ms: f64) -> Link {
    Link {
        at,
        steady: Steady::from_time_of_day(at),
        node: NodeId::from("node-a"),
        service: ServiceId::from("web"),
        container: ContainerId::from("id-of-web"),
        peer: "172.18.0.4".parse().unwrap(),
        peer_service: None,
        direction: Direction::Outbound,
        port: 5432,
        connections: 4,
        rtt_median: Duration::from_secs_f64(rtt_ms / 1e3),
        retransmits: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_of_applications_that_nothing_follows_are_counted_and_passed_over() {
    let (expected, _) = undisturbed().await;
    let bus = bus_with_topics().await;
    for partition in 0..PARTITIONS {
        let meta = Meta::new("test");
        for record in [
            wire::encode_series(&[point()], partition, &meta).unwrap(),
            wire::encode_links(&[link(at(0), 0.3)], partition, &meta).unwrap(),
        ] {
            bus.produce(record).await.unwrap();
        }
    }
    tell_story(&bus).await;
    let context = Context::new(bus.clone(), "analytics", "test");
    let (shutdown, metrics) = (context.shutdown.clone(), context.metrics.clone());
    let role = tokio::spawn(analytics::run(config(), context));
    let counted =
        "homeostat_records_passed_over_total{topic=\"homeostat.samples\",schema=\"series\"} 2\n";
    let wait = async {
        while !metrics.encode().contains(counted) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap();
    let metrics = metrics.encode();
    assert!(!metrics.contains("homeostat_decode_failures_total{topic"));
    assert!(!metrics.contains("schema=\"links\""), "links are followed");
    shutdown.cancel();
    role.await.unwrap().unwrap();
    run_to_the_end(&bus).await;
    assert_eq!(told(&bus).await, expected);
}

/// Of every ten seconds: the links of the service, and the page of its node, which is led elsewhere.
async fn tell_of_links_and_node(bus: &Bus, second: i64) {
    let meta = Meta::new("test");
    let faulty = second >= 80;
    let web = bus::partition_of(b"web", PARTITIONS);
    let link = link(at(second), if faulty { 100.3 } else { 0.3 });
    let record = wire::encode_links(&[link], web, &meta).unwrap();
    bus.produce(record).await.unwrap();
    let rows = [
        ("node_memory_total_bytes", 1e9),
        (
            "node_memory_available_bytes",
            if faulty { 1e7 } else { 5e8 },
        ),
    ];
    let points = rows.map(|(name, value)| Point {
        at: at(second),
        steady: Steady::from_time_of_day(at(second)),
        service: None,
        container: None,
        name: name.to_owned(),
        kind: SeriesKind::Gauge,
        value,
        ..point()
    });
    let node = bus::partition_of(b"node-a", PARTITIONS);
    let record = wire::encode_series(&points, node, &meta).unwrap();
    bus.produce(record).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_series_of_nodes_lead_to_signals() {
    let bus = bus_with_topics().await;
    let mut actors = actors();
    for second in (0..SECONDS).step_by(10) {
        tell_part(&bus, &mut actors, second..second + 10).await;
        tell_of_links_and_node(&bus, second + 9).await;
    }
    run_to_the_end(&bus).await;
    let mut tail = bus.tail(topic::SIGNALS, From::Beginning).await.unwrap();
    let mut wanted = BTreeSet::from([SignalKind::NetworkDelay, SignalKind::NodePressure]);
    while !wanted.is_empty() {
        let signal = next_signal(&mut tail).await;
        if wanted.remove(&signal.kind) {
            assert_eq!(signal.phase, SignalPhase::Open);
            assert!(signal.opened_at <= at(110), "{signal:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_told_and_resolved_when_it_is_taken_out() {
    let bus = bus_with_topics().await;
    let context = Context::new(bus.clone(), "analytics", "test");
    let (shutdown, health) = (context.shutdown.clone(), context.health.clone());
    let config = Config {
        telemetry_after: HumanDuration::from_millis(300),
        ..config()
    };
    let role = tokio::spawn(analytics::run(config, context));
    let ready = async {
        while !health.is_ready() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.unwrap();
    let beat: NodeInventory = NodeInventory {
        node: NodeId::from("node-a"),
        at: at(0),
        steady: None,
        capacity: NodeCapacity::default(),
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers: Vec::new(),
    };
    let mut record = wire::encode(&beat, &Meta::new("test"));
    bus.produce(record.clone()).await.unwrap();
    let mut tail = bus.tail(topic::SIGNALS, From::Beginning).await.unwrap();
    let open = next_signal(&mut tail).await;
    assert_eq!(open.kind, SignalKind::TelemetryMissing);
    assert_eq!(open.phase, SignalPhase::Open);
    assert_eq!(open.subject.to_string(), "node node-a");
    assert_eq!(open.opened_at, at(0) + Duration::from_millis(300));
    record.value = bytes::Bytes::new();
    bus.produce(record).await.unwrap();
    let resolve = next_signal(&mut tail).await;
    assert_eq!((resolve.id, resolve.phase), (open.id, SignalPhase::Resolve));
    shutdown.cancel();
    role.await.unwrap().unwrap();
}

async fn next_signal(tail: &mut bus::Tail) -> Signal {
    let next = async {
        loop {
            if let Tailed::Record(record) = tail.next().await.unwrap() {
                return wire::decode(&record).unwrap();
            }
        }
    };
    tokio::time::timeout(DEADLINE, next).await.unwrap()
}

/// Every partition's instance reads all feedback, also one that was started after it was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_dismissed_must_last_longer_and_the_bar_is_counted() {
    let bus = bus_with_topics().await;
    tell_story(&bus).await;
    run_to_the_end(&bus).await;
    let all = signals(&bus).await;
    let opened = |kind: SignalKind, all: &[Signal]| {
        let is_it = |it: &&Signal| it.kind == kind && it.phase == SignalPhase::Open;
        all.iter().find(is_it).cloned().unwrap()
    };
    let hang = opened(SignalKind::Hang, &all);

    let bus = bus_with_topics().await;
    let dismissed = Feedback::of(&hang, Opinion::Dismissed, hang.at, None);
    let record = wire::encode(&dismissed, &Meta::new("test"));
    bus.produce(record).await.unwrap();
    let context = Context::new(bus.clone(), "analytics", "test");
    let (shutdown, metrics) = (context.shutdown.clone(), context.metrics.clone());
    let role = tokio::spawn(analytics::run(config(), context));
    let read = "homeostat_records_consumed_total{topic=\"homeostat.feedback\"} 1\n";
    let wait = async {
        while !metrics.encode().contains(read) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tell_story(&bus).await;
        while !metrics.encode().contains("homeostat_signal_bars_raised 1") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap();
    shutdown.cancel();
    role.await.unwrap().unwrap();
    run_to_the_end(&bus).await;
    let later = opened(SignalKind::Hang, &signals(&bus).await);
    let waited = later.opened_at.since(hang.opened_at);
    assert_eq!(waited, Duration::from_secs(5), "a fact waits, and is told");
}
