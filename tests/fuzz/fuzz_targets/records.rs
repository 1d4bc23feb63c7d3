//! Records of the topics the collector writes, whatever bytes they hold: events and inventories from the input as it is,
//! batches of log lines and samples from the input as it is or from a good one with some bytes changed.
#![no_main]

use std::sync::LazyLock;

use bus::{Headers, NewRecord, Position, Record};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use units::{
    ContainerEvent, ContainerState, HealthState, LogLine, LogSeverity, LogStream, Metric,
    MetricRow, NodeInventory, Sample, Steady, Timestamp,
};
use wire::{Json, Meta};

static LOGS: LazyLock<NewRecord> = LazyLock::new(|| {
    let line = LogLine {
        at: Timestamp::EPOCH,
        node: "n".into(),
        service: "s".into(),
        container: "c".into(),
        name: "c".into(),
        stream: LogStream::Stderr,
        severity: LogSeverity::Error,
        sequence: 7,
        lines: 2,
        lost_before: 3,
        limited_before: 1,
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
        text: "a line\nand one more".to_owned(),
        raw: Some(vec![0xff, b'x']),
    };
    let lines = [line.clone(), line];
    wire::encode_logs(&lines, 0, &Meta::new("fuzz")).expect("a small batch")
});

static SAMPLES: LazyLock<NewRecord> = LazyLock::new(|| {
    let mut metrics = MetricRow::default();
    metrics.set(Metric::CpuUsage, 1.5);
    let sample = Sample {
        at: Timestamp::EPOCH,
        steady: Steady::from_millis(1),
        node: "n".into(),
        service: "s".into(),
        container: "c".into(),
        name: "c".into(),
        state: ContainerState::Running,
        health: HealthState::None,
        metrics,
    };
    let samples = [sample.clone(), sample];
    wire::encode_samples(&samples, 0, &Meta::new("fuzz")).expect("a small batch")
});

fn record(topic: &str, headers: Headers, value: Vec<u8>) -> Record {
    Record {
        position: Position {
            topic: topic.into(),
            partition: 0,
            offset: 0,
        },
        timestamp_ms: 0,
        key: Bytes::new(),
        value: value.into(),
        headers,
    }
}

fn json<T: Json>(value: &[u8]) {
    let schema = format!("{}/{}", T::SCHEMA, T::VERSION);
    let headers = vec![("homeostat-schema".to_owned(), Bytes::from(schema))];
    let _ = wire::decode::<T>(&record(T::TOPIC, headers, value.to_vec()));
}

/// The good record with the bytes changed that the input says: two bytes for where, one for what.
fn changed(good: &NewRecord, input: &[u8]) -> Record {
    let mut value = good.value.to_vec();
    for change in input.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let at = at % value.len();
        value[at] = change[2];
    }
    record(&good.topic, good.headers.clone(), value)
}

/// The Arrow decoder panics on some bytes, which `wire` catches and tells as an error. A panic that nobody catches still ends
/// the run; one that is Arrow's need not be printed.
fn let_arrow_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let from_arrow = |place: &std::panic::Location<'_>| place.file().contains("arrow");
        if !panic.location().is_some_and(from_arrow) {
            eprintln!("{panic}");
        }
    }));
}

fuzz_target!(init: let_arrow_panic(), |data: &[u8]| {
    let Some((kind, input)) = data.split_first() else {
        return;
    };
    let whole = |good: &NewRecord| record(&good.topic, good.headers.clone(), input.to_vec());
    match kind % 6 {
        0 => json::<ContainerEvent>(input),
        1 => json::<NodeInventory>(input),
        2 => drop(wire::decode_logs(&whole(&LOGS))),
        3 => drop(wire::decode_logs(&changed(&LOGS, input))),
        4 => drop(wire::decode_telemetry(&whole(&SAMPLES))),
        _ => drop(wire::decode_telemetry(&changed(&SAMPLES, input))),
    }
});
