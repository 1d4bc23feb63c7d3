//! Deviations: a series is far from what was usual for it. Says that something changed, not what is wrong, so it is never
//! critical, and it is cautious: a least effect, a rare score and eight of ten samples.

use std::time::Duration;

use units::{ContainerName, Metric, Ratio, Severity, SignalKind, Timestamp};

use super::confidence;
use crate::baseline::Baseline;
use crate::features::{Features, Usual};
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::habits::Series;
use crate::rules::node::NodeStanding;
use crate::text::{bytes, duration, percent};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 8,
    of: 10,
    calm: 10,
};

/// Samples before a series is judged.
const HISTORY_MIN: u32 = 60;
const DISTANCE_MIN: f64 = 5.0;
const DISTANCE_CALM: f64 = 2.5;
const SCORE_MIN: f64 = 0.98;
/// A deviation that lasts longer than a short job is worth a look.
const WARNING_AFTER: Duration = Duration::from_secs(120);
/// Other series that stray at the same time are told with one that does.
const COMPANY_MAX: usize = 2;
/// What is read and written, and the share of time spent waiting for it: both are the disk.
const BYTES: &str = "io_bytes_per_second";
const WAITING: &str = "io_waiting_share";
/// Of the time. A writer of 60 MB/s past the page cache was measured to wait for 3.8 s in a minute or a little more, 5 to 6 %; the
/// longest waits of a window do not count.
const WAITING_RISE_MIN: f64 = 0.03;
/// A fall counts when less than this share is left.
const FALL_LEFT_MAX: f64 = 0.10;

/// What can stray.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deviation {
    Cpu,
    Memory,
    Network,
    Io,
}

impl Deviation {
    pub(crate) const ALL: [Deviation; 4] = [
        Deviation::Cpu,
        Deviation::Memory,
        Deviation::Network,
        Deviation::Io,
    ];

    /// The kind of signal that says so.
    pub(crate) const fn kind(self) -> SignalKind {
        match self {
            Deviation::Cpu => SignalKind::CpuAnomaly,
            Deviation::Memory => SignalKind::MemoryAnomaly,
            Deviation::Network => SignalKind::NetworkAnomaly,
            Deviation::Io => SignalKind::IoAnomaly,
        }
    }
}

/// Which way a series may stray, and how far it must.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// Above the usual by both: so many units, and so many times the usual.
    Rise { units: f64, times: f64 },
    /// As a rise; or almost nothing is left of at least so many units.
    RiseOrFall {
        units: f64,
        times: f64,
        usual_min: f64,
    },
}

struct Watched<'a> {
    of: Deviation,
    series: Series,
    feature: &'static str,
    metric: Option<Metric>,
    unit: &'static str,
    what: &'static str,
    show: fn(f64) -> String,
    value: Option<f64>,
    usual: &'a Baseline,
    effect: Effect,
}

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// What comparing with the usual gave.
pub(crate) struct Compared {
    pub(crate) of: Deviation,
    /// A jump that is a habit of the series at this time violates nothing.
    pub(crate) reading: Reading,
    /// The series that jumped up, by habit or not, with what they reached.
    pub(crate) jumps: Vec<(Series, f64)>,
}

/// Compares a sample of this time for each deviation. `lasting` tells how long one has violated.
pub(crate) fn compare(
    name: &ContainerName,
    memory_metric: Metric,
    (at, now): (Timestamp, &Features),
    usual: &Usual,
    node: NodeStanding,
    lasting: impl Fn(SignalKind) -> Duration,
) -> [Compared; 4] {
    let all = watched(memory_metric, now, usual);
    Deviation::ALL.map(|of| {
        let lasting = lasting(of.kind());
        let series = all.iter().filter(|series| series.of == of);
        let mut jumps = Vec::new();
        let readings = series.map(|series| {
            let mut reading = read(name, series, lasting);
            if let Some(value) = series.jump() {
                jumps.push((series.series, value));
                if usual.habits.cover(series.series, at, value) {
                    reading = Reading::Between;
                }
            }
            if let Reading::Violates(finding) = &mut reading {
                if series.feature == WAITING {
                    explain_waiting(finding, &all, node);
                }
                finding.proofs.extend(company(&all, of));
            }
            reading
        });
        let reading = readings.reduce(graver).unwrap_or(Reading::Unknown);
        Compared { of, reading, jumps }
    })
}

/// Of two series that stand for one deviation the first that strays; else what is further from calm.
fn graver(first: Reading, second: Reading) -> Reading {
    match (first, second) {
        (Reading::Violates(finding), _) | (_, Reading::Violates(finding)) => {
            Reading::Violates(finding)
        }
        (Reading::Between, _) | (_, Reading::Between) => Reading::Between,
        (Reading::Normal, _) | (_, Reading::Normal) => Reading::Normal,
        (Reading::Unknown, Reading::Unknown) => Reading::Unknown,
    }
}

/// Who waits may keep the disk busy, or wait for somebody else who does: what the node and its own bytes say is told with it.
fn explain_waiting(finding: &mut Finding, all: &[Watched<'_>], node: NodeStanding) {
    node.explain_waiting(finding);
    let bytes = all.iter().find(|series| series.feature == BYTES);
    let Some(proof) = bytes.and_then(Watched::proof) else {
        return;
    };
    if proof.observed <= proof.expected.1 {
        finding.reason.push_str(
            "; it was not seen to read and write more, so others may be why, or its kernel does not count it",
        );
    }
    finding.proofs.push(proof);
}

/// What else strays at the same time, furthest first: it weighs too, and says what kind of work it is.
fn company(all: &[Watched<'_>], of: Deviation) -> Vec<Proof> {
    let strays = |series: &&Watched<'_>| {
        series.of != of
            && series.usual.samples() >= HISTORY_MIN
            && series.distance().is_some_and(|it| it >= DISTANCE_CALM)
    };
    let mut others: Vec<&Watched<'_>> = all.iter().filter(strays).collect();
    others.sort_by(|a, b| {
        b.distance()
            .unwrap_or(0.0)
            .total_cmp(&a.distance().unwrap_or(0.0))
    });
    let proofs = others.into_iter().filter_map(Watched::proof);
    proofs.take(COMPANY_MAX).collect()
}

impl Watched<'_> {
    /// How many spreads it is from its usual level, either way.
    fn distance(&self) -> Option<f64> {
        self.usual.level()?;
        Some(self.usual.distance(self.value?).abs())
    }

    /// Whether it is as far from its usual level as a signal asks for.
    fn strays(&self, value: f64, level: f64) -> bool {
        self.effect.reached(value, level, 1.0)
            && self.usual.distance(value).abs() >= DISTANCE_MIN
            && self.usual.score(value) >= SCORE_MIN
    }

    /// The value, where it strays and lies above the level.
    fn jump(&self) -> Option<f64> {
        let (value, level) = (self.value?, self.usual.level()?);
        let is_judged = self.usual.samples() >= HISTORY_MIN;
        (is_judged && value > level && self.strays(value, level)).then_some(value)
    }

    fn proof(&self) -> Option<Proof> {
        let proof = Proof::derived(self.feature, self.unit, self.value?, self.usual.range());
        Some(Proof {
            metric: self.metric,
            ..proof
        })
    }
}

fn watched<'a>(memory_metric: Metric, now: &Features, usual: &'a Usual) -> [Watched<'a>; 5] {
    let [bytes_moved, waiting] = disk(now, usual);
    [
        Watched {
            of: Deviation::Cpu,
            series: Series::Cpu,
            feature: Metric::CpuUsage.column(),
            metric: Some(Metric::CpuUsage),
            show: percent,
            unit: "cores",
            what: "of a core",
            value: now.cpu_cores,
            usual: &usual.cpu_cores,
            effect: Effect::Rise {
                units: 0.1,
                times: 1.0,
            },
        },
        Watched {
            of: Deviation::Memory,
            series: Series::Memory,
            feature: memory_metric.column(),
            metric: Some(memory_metric),
            show: bytes,
            unit: "bytes",
            what: "of memory",
            value: now.memory_bytes,
            usual: &usual.memory_bytes,
            effect: Effect::Rise {
                units: 32.0 * MIB,
                times: 0.5,
            },
        },
        Watched {
            of: Deviation::Network,
            series: Series::Received,
            feature: Metric::NetRxBytes.column(),
            metric: Some(Metric::NetRxBytes),
            show: bytes,
            unit: "bytes/s",
            what: "received a second",
            value: now.rx_bytes,
            usual: &usual.rx_bytes,
            effect: Effect::RiseOrFall {
                units: 512.0 * KIB,
                times: 3.0,
                usual_min: 32.0 * KIB,
            },
        },
        bytes_moved,
        waiting,
    ]
}

/// What is read and written, and the waiting for it.
fn disk<'a>(now: &Features, usual: &'a Usual) -> [Watched<'a>; 2] {
    [
        Watched {
            of: Deviation::Io,
            series: Series::Moved,
            feature: BYTES,
            metric: None,
            show: bytes,
            unit: "bytes/s",
            what: "read and written a second",
            value: now.io_bytes,
            usual: &usual.io_bytes,
            effect: Effect::Rise {
                units: 8.0 * MIB,
                times: 3.0,
            },
        },
        Watched {
            of: Deviation::Io,
            series: Series::Waiting,
            feature: WAITING,
            metric: Some(Metric::PsiIoSome),
            show: percent,
            unit: "1",
            what: "of the time spent waiting for I/O",
            value: now.io_waiting,
            usual: &usual.io_waiting,
            effect: Effect::Rise {
                units: WAITING_RISE_MIN,
                times: 1.0,
            },
        },
    ]
}

fn read(name: &ContainerName, series: &Watched<'_>, lasting: Duration) -> Reading {
    let (Some(value), Some(level)) = (series.value, series.usual.level()) else {
        return Reading::Unknown;
    };
    if series.usual.samples() < HISTORY_MIN {
        return Reading::Unknown;
    }
    let distance = series.usual.distance(value).abs();
    if series.strays(value, level) {
        return Reading::Violates(finding(name, series, (value, level), lasting));
    }
    if distance < DISTANCE_CALM || !series.effect.reached(value, level, 0.5) {
        return Reading::Normal;
    }
    Reading::Between
}

impl Effect {
    /// Whether the value strays by this share of the least effect or more.
    fn reached(self, value: f64, level: f64, share: f64) -> bool {
        let rises = |units: f64, times: f64| value - level >= share * units.max(times * level);
        match self {
            Effect::Rise { units, times } => rises(units, times),
            Effect::RiseOrFall {
                units,
                times,
                usual_min,
            } => {
                let fell = level >= usual_min && value <= FALL_LEFT_MAX / share * level;
                fell || rises(units, times)
            }
        }
    }
}

fn finding(
    name: &ContainerName,
    series: &Watched<'_>,
    (value, level): (f64, f64),
    lasting: Duration,
) -> Finding {
    let severity = if lasting >= WARNING_AFTER {
        Severity::Warning
    } else {
        Severity::Info
    };
    Finding {
        severity,
        score: Ratio::saturating(series.usual.score(value)),
        confidence: confidence(series.usual.samples()),
        reason: format!(
            "{name}: {} {} for {}; usually {}",
            (series.show)(value),
            series.what,
            duration(lasting),
            (series.show)(level),
        ),
        proofs: series.proof().into_iter().collect(),
    }
}
