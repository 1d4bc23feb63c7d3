//! Metric points a second through scoring: rows of arbitrary series, and samples of containers as analytics takes them.

use detect::series::{SeriesDetector, SeriesSettings};
use detect::{Detector, Settings};
use units::{
    ContainerId, ContainerName, ContainerState, HealthState, Metric, MetricRow, NodeId, Sample,
    ServiceId, Steady, Timestamp,
};

use super::per_second;

const TO_REACH: f64 = 1_000_000.0;
/// A container's metrics in recorded sets, and a host's.
const WIDTHS: [usize; 3] = [1, 19, 38];
const ROWS: usize = 2_000;
const ROW_SECONDS: i64 = 60;
const SERVICES: usize = 20;
const REPLICAS: usize = 5;
const TICKS: usize = 60;
const TICK_MS: u64 = 1_000;

/// What a container's counters gain in a second, in their own units.
const GAINS: [(Metric, f64); 12] = [
    (Metric::CpuUsage, 0.2),
    (Metric::CpuUser, 0.15),
    (Metric::CpuSystem, 0.05),
    (Metric::NetRxBytes, 40_000.0),
    (Metric::NetRxPackets, 60.0),
    (Metric::NetTxBytes, 90_000.0),
    (Metric::NetTxPackets, 70.0),
    (Metric::IoReadBytes, 2_000.0),
    (Metric::IoWriteBytes, 9_000.0),
    (Metric::PsiCpuSome, 0.01),
    (Metric::PsiMemorySome, 0.001),
    (Metric::PsiIoSome, 0.002),
];
/// What its gauges are at.
const LEVELS: [(Metric, f64); 5] = [
    (Metric::MemoryUsage, 9e7),
    (Metric::MemoryWorkingSet, 8e7),
    (Metric::MemoryRss, 6e7),
    (Metric::MemoryLimit, 2.7e8),
    (Metric::Pids, 12.0),
];

pub(super) fn run() {
    for width in WIDTHS {
        series(width);
    }
    containers();
}

fn series(width: usize) {
    let mut noise = Noise(width as u64);
    let rows: Vec<Vec<Option<f64>>> = (0..ROWS)
        .map(|row| {
            let swing = (row as f64 / 240.0).sin();
            let values = (0..width).map(|metric| (metric + 2) as f64 + swing + noise.next());
            values.map(Some).collect()
        })
        .collect();
    let mut detector = SeriesDetector::new(SeriesSettings::default());
    let mut seconds = 0;
    let rounds = per_second(|| {
        for row in &rows {
            seconds += ROW_SECONDS;
            detector.observe(Timestamp::from_millis(seconds * 1_000), row);
        }
    });
    print(
        &format!("arbitrary series, {width} metrics a row"),
        rounds * (ROWS * width) as f64,
    );
}

fn containers() {
    let mut noise = Noise(7);
    let mut totals: Vec<MetricRow> = vec![MetricRow::default(); SERVICES * REPLICAS];
    let mut detector = Detector::new(Settings::default());
    let mut now_ms: u64 = 0;
    let rounds = per_second(|| {
        for _ in 0..TICKS {
            now_ms += TICK_MS;
            let batch: Vec<Sample> = totals
                .iter_mut()
                .enumerate()
                .map(|(number, total)| {
                    advance(total, &mut noise);
                    sample(number, now_ms, total.clone())
                })
                .collect();
            detector.samples(&batch, None);
        }
    });
    let counts = detector.counts();
    assert_eq!(
        (counts.services, counts.containers),
        (SERVICES, SERVICES * REPLICAS),
        "it follows all of them"
    );
    let points = TICKS * SERVICES * REPLICAS * (GAINS.len() + LEVELS.len());
    print(
        &format!("samples of {} containers", SERVICES * REPLICAS),
        rounds * points as f64,
    );
}

fn advance(total: &mut MetricRow, noise: &mut Noise) {
    for (metric, gain) in GAINS {
        let so_far = total.get(metric).unwrap_or_default();
        total.set(metric, so_far + gain * (1.0 + 0.2 * noise.next()));
    }
    for (metric, level) in LEVELS {
        let wander = match metric {
            Metric::MemoryLimit => 0.0,
            _ => 0.01 * noise.next(),
        };
        total.set(metric, level * (1.0 + wander));
    }
}

fn sample(number: usize, now_ms: u64, metrics: MetricRow) -> Sample {
    Sample {
        at: Timestamp::from_millis(now_ms as i64),
        steady: Steady::from_millis(now_ms),
        node: NodeId::from("bench"),
        service: ServiceId::from(format!("service-{}", number / REPLICAS).as_str()),
        container: ContainerId::from(format!("container-{number}").as_str()),
        name: ContainerName::from(format!("container-{number}").as_str()),
        state: ContainerState::Running,
        health: HealthState::None,
        metrics,
    }
}

fn print(what: &str, points: f64) {
    println!("  {what:<40} {points:>10.0} {TO_REACH:>10}   points/s");
}

/// Even noise from -1 to 1 (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}
