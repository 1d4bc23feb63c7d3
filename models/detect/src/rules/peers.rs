//! The odd replica: one of at least three that does not do as the others do.
//!
//! Replicas of one service get the same kind of work, so that each is the best control group of the others. What one does is
//! compared with the median of its siblings, in spreads of the siblings and by a least effect. Load may be uneven: work is
//! judged by what it costs for each byte sent and received, and a share of the load only where the siblings are alike.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Metric, MetricRow, Ratio, Severity};

use super::confidence;
use crate::baseline::{Baseline, median};
use crate::features::Features;
use crate::gate::{Confirmation, Finding, Proof};
use crate::text::{bytes, duration, number, percent};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 8,
    of: 10,
    calm: 15,
};

/// Replicas that can be compared, the one that is judged included.
pub(crate) const REPLICAS_MIN: usize = 3;
/// Siblings one replica is compared with; of more, so many evenly spread ones stand for all.
pub(crate) const SIBLINGS_MAX: usize = 32;
/// A replica takes part when it has run for so long, …
pub(crate) const UPTIME_MIN: Duration = Duration::from_secs(60);
/// … and has told so many samples of that.
const SAMPLES_MIN: u32 = 20;

/// Weight of the newest sample in what is smoothed: about eight seconds.
const GAIN: f32 = 1.0 / 8.0;
/// Writing back comes in bursts, five seconds apart: I/O is the mean of so many samples, which one burst alone does not fill.
const IO_SAMPLES: usize = 6;
/// Spreads of the siblings that a replica must be away from their median.
const DISTANCE_MIN: f64 = 6.0;
/// … and of traffic, where more is asked for otherwise.
const TRAFFIC_DISTANCE_MIN: f64 = 4.0;
/// Makes the median absolute deviation estimate a standard deviation under normal noise.
const MAD_TO_SIGMA: f64 = 1.4826;
/// A replica's share of the traffic is known after so many comparisons; it has fallen at so many of its own spreads. Where shares
/// wander, that is far.
const SHARE_HISTORY_MIN: u32 = 90;
const SHARE_DISTANCE_MIN: f64 = 5.0;
/// Least spread of a share: a twentieth of what the siblings get.
const SHARE_SPREAD_MIN: f64 = 0.05;
/// Siblings are alike when they differ by no more than this share of their median.
const ALIKE: f64 = 0.4;
/// Work is judged with this traffic, in bytes a second, and this share of the siblings'.
const TRAFFIC_MIN: f64 = 2_048.0;
const TRAFFIC_SHARE_MIN: f64 = 0.1;

const MIB: f64 = 1024.0 * 1024.0;

/// What replicas are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Trait {
    /// CPU for each byte sent and received.
    Work,
    /// Bytes sent and received.
    Traffic,
    /// Round-trip time of its connections.
    Latency,
    /// Connections open.
    Connections,
    /// Periods in which the CPU limit was hit.
    Throttling,
    /// Error lines.
    Errors,
    /// Memory that cannot be given back.
    Memory,
}

const TRAITS: [Trait; 7] = [
    Trait::Work,
    Trait::Latency,
    Trait::Throttling,
    Trait::Errors,
    Trait::Memory,
    Trait::Traffic,
    Trait::Connections,
];

/// The smoothed numbers of one replica, and what it was found to differ by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recent {
    samples: u32,
    cpu_cores: Option<f32>,
    traffic_bytes: Option<f32>,
    throttled: Option<f32>,
    memory_bytes: Option<f32>,
    error_lines: Option<f32>,
    connections: Option<f32>,
    /// As the newest read of its sockets says: smoothed already.
    rtt_s: Option<f32>,
    io_bytes: VecDeque<f32>,
    /// What it has differed by for so long that it is its way, as of one that leads the others.
    accustomed: BTreeSet<Trait>,
    /// Its traffic against the median of its siblings.
    share: Option<Baseline>,
}

impl Recent {
    /// Takes a sample, and gives its I/O smoothed.
    pub(crate) fn advance(&mut self, features: &Features, row: &MetricRow) -> Option<f64> {
        self.samples = self.samples.saturating_add(1);
        smooth(&mut self.cpu_cores, features.cpu_cores);
        let traffic = features.rx_bytes.zip(features.tx_bytes);
        smooth(&mut self.traffic_bytes, traffic.map(|(rx, tx)| rx + tx));
        smooth(&mut self.throttled, features.throttled_share());
        smooth(&mut self.memory_bytes, features.memory_bytes);
        smooth(&mut self.connections, row.get(Metric::TcpEstablished));
        self.rtt_s = row.get(Metric::TcpRttMedian).map(|rtt_s| rtt_s as f32);
        let io_bytes = features.io_bytes?;
        if self.io_bytes.len() == IO_SAMPLES {
            self.io_bytes.pop_front();
        }
        self.io_bytes.push_back(io_bytes as f32);
        let sum: f64 = self.io_bytes.iter().copied().map(f64::from).sum();
        Some(sum / self.io_bytes.len() as f64)
    }

    /// Takes the error lines of a second.
    pub(crate) fn errors(&mut self, lines: f64) {
        smooth(&mut self.error_lines, Some(lines));
    }

    /// Forgets the run before.
    pub(crate) fn forget(&mut self) {
        *self = Recent {
            accustomed: std::mem::take(&mut self.accustomed),
            share: self.share.take(),
            ..Recent::default()
        };
    }

    /// Learns its share of the traffic, when it is like its siblings.
    pub(crate) fn learn_share(&mut self, share: f64) {
        let known = || Baseline::new(SHARE_SPREAD_MIN);
        self.share.get_or_insert_with(known).learn(share);
    }

    /// Takes it that this is its way.
    pub(crate) fn accustom(&mut self, to: Trait) {
        self.accustomed.insert(to);
    }

    /// Whether it has told enough since its start.
    pub(crate) fn is_settled(&self) -> bool {
        self.samples >= SAMPLES_MIN
    }

    fn get(&self, of: Trait) -> Option<f64> {
        let value = match of {
            Trait::Work => {
                let traffic = self
                    .traffic_bytes
                    .filter(|it| f64::from(*it) >= TRAFFIC_MIN);
                return Some(f64::from(self.cpu_cores?) / f64::from(traffic?));
            }
            Trait::Traffic => self.traffic_bytes,
            Trait::Latency => self.rtt_s,
            Trait::Connections => self.connections,
            Trait::Throttling => self.throttled,
            Trait::Errors => self.error_lines,
            Trait::Memory => self.memory_bytes,
        };
        value.map(f64::from)
    }
}

/// One replica as it is compared.
#[derive(Clone, Copy)]
pub(crate) struct Replica<'a> {
    pub(crate) name: &'a str,
    pub(crate) recent: &'a Recent,
    /// What it usually sends and receives, in bytes a second.
    pub(crate) usual_traffic: Option<f64>,
    /// Samples behind what is usual.
    pub(crate) history: u32,
    pub(crate) standing: Standing,
}

/// Whether a replica is called odd already. What is called so stays so until it does as the others do, however used one is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Odd,
    Ordinary,
}

/// What a replica differs by.
pub(crate) struct Odd {
    pub(crate) by: Trait,
    /// Spreads of the siblings.
    pub(crate) distance: f64,
    severity: Severity,
    value: f64,
    range: (f64, f64),
}

/// What sets a replica apart from its siblings; what sets it apart most, when it is more than one thing.
pub(crate) fn compare(replica: &Replica<'_>, siblings: &[Replica<'_>]) -> Option<Odd> {
    let accustomed = &replica.recent.accustomed;
    let mut odd: Option<Odd> = None;
    for by in TRAITS {
        if accustomed.contains(&by) {
            continue;
        }
        let found = apart(by, replica, siblings);
        // Work and what clients feel say more than traffic and connections, which are judged last.
        odd = match (odd, found) {
            (Some(known), Some(new)) if new.distance > known.distance * 2.0 => Some(new),
            (Some(known), _) => Some(known),
            (None, new) => new,
        };
    }
    odd
}

/// A replica's traffic against the median of its siblings'; absent where that is next to nothing.
pub(crate) fn share(replica: &Replica<'_>, siblings: &[Replica<'_>]) -> Option<f64> {
    let traffic = |it: &Replica<'_>| it.recent.get(Trait::Traffic);
    let mut others: Vec<f64> = siblings.iter().filter_map(traffic).collect();
    let middle = median(&mut others);
    (middle >= TRAFFIC_MIN).then(|| traffic(replica).map(|own| own / middle))?
}

fn apart(by: Trait, replica: &Replica<'_>, siblings: &[Replica<'_>]) -> Option<Odd> {
    let value = replica.recent.get(by)?;
    let mut others: Vec<f64> = siblings.iter().filter_map(|it| it.recent.get(by)).collect();
    if others.len() + 1 < REPLICAS_MIN || others.len() * 3 < siblings.len() * 2 {
        return None;
    }
    let middle = median(&mut others);
    let range = (*others.first()?, *others.last()?);
    let mut deviations: Vec<f64> = others.iter().map(|it| (it - middle).abs()).collect();
    // What siblings may differ by in health, as a share and in the trait's own unit.
    let (share, least) = match by {
        Trait::Work => (0.10, 0.0),
        Trait::Traffic => (0.05, 256.0),
        Trait::Latency => (0.20, 0.001),
        Trait::Connections => (0.15, 1.0),
        Trait::Throttling => (0.10, 0.03),
        Trait::Errors => (0.20, 0.1),
        Trait::Memory => (0.10, 4.0 * MIB),
    };
    let spread = (median(&mut deviations) * MAD_TO_SIGMA)
        .max(share * middle)
        .max(least);
    let distance = (value - middle).abs() / spread.max(f64::MIN_POSITIVE);
    let severity = effect(by, (value, middle), range, replica, siblings)?;
    let least = match by {
        Trait::Traffic => TRAFFIC_DISTANCE_MIN,
        Trait::Work
        | Trait::Latency
        | Trait::Connections
        | Trait::Throttling
        | Trait::Errors
        | Trait::Memory => DISTANCE_MIN,
    };
    (distance >= least).then_some(Odd {
        by,
        distance,
        severity,
        value,
        range,
    })
}

/// Whether a difference is worth telling, and how much it matters.
fn effect(
    by: Trait,
    (value, middle): (f64, f64),
    (lowest, highest): (f64, f64),
    replica: &Replica<'_>,
    siblings: &[Replica<'_>],
) -> Option<Severity> {
    let alike = highest - lowest <= ALIKE * middle;
    let above = |times: f64, least: f64| value >= times * middle && value - middle >= least;
    let worth = match by {
        Trait::Work => {
            let traffic = replica.recent.get(Trait::Traffic)?;
            let busy = share(replica, siblings).is_none_or(|share| share >= TRAFFIC_SHARE_MIN);
            let cores = (value - middle).abs() * traffic;
            busy && cores >= 0.03 && (value >= 2.0 * middle || value <= 0.4 * middle)
        }
        Trait::Traffic => {
            return fallen((value, middle), replica, siblings).filter(|_| alike);
        }
        Trait::Latency => above(3.0, 0.005),
        Trait::Connections => above(3.0, 10.0),
        Trait::Throttling => above(2.0, 0.25),
        Trait::Errors => above(4.0, 1.0),
        Trait::Memory => alike && above(2.0, 64.0 * MIB),
    };
    worth.then_some(Severity::Warning)
}

/// Who gets or does half of what the others do, and did more before, while the others go on. One that never had its share, as
/// one that stands by, is none.
fn fallen(
    (value, middle): (f64, f64),
    replica: &Replica<'_>,
    siblings: &[Replica<'_>],
) -> Option<Severity> {
    if middle < TRAFFIC_MIN * 2.0 || value > 0.5 * middle {
        return None;
    }
    let mut usual: Vec<f64> = siblings.iter().filter_map(|it| it.usual_traffic).collect();
    let usual = median(&mut usual);
    let share = replica.recent.share.as_ref();
    let had_its_share = share.is_some_and(|share| {
        share.samples() >= SHARE_HISTORY_MIN
            && share.level().is_some_and(|level| level >= 0.7)
            && share.distance(value / middle) <= -SHARE_DISTANCE_MIN
    });
    let others_go_on = middle >= 0.7 * usual;
    let news = replica.standing == Standing::Odd || (had_its_share && others_go_on);
    news.then_some(Severity::Warning)
}

impl Odd {
    /// The finding, of one that has been odd for so long.
    pub(crate) fn finding(
        &self,
        replica: &Replica<'_>,
        siblings: usize,
        lasting: Duration,
    ) -> Finding {
        let shown = self.by.shown();
        let (low, high) = self.range;
        Finding {
            severity: self.severity,
            // Cantelli's bound: so rare, whatever the distribution.
            score: Ratio::saturating(1.0 - 1.0 / (1.0 + self.distance * self.distance)),
            confidence: confidence(replica.history),
            reason: format!(
                "{} {} {} for {}; its {siblings} siblings {} {} to {}",
                replica.name,
                shown.verb,
                (shown.show)(self.value),
                duration(lasting),
                shown.plural,
                (shown.show)(low),
                (shown.show)(high),
            ),
            proofs: vec![Proof::derived(
                shown.feature,
                shown.unit,
                self.value,
                self.range,
            )],
        }
    }
}

struct Shown {
    feature: &'static str,
    unit: &'static str,
    verb: &'static str,
    plural: &'static str,
    show: fn(f64) -> String,
}

impl Trait {
    fn shown(self) -> Shown {
        let shown = |feature, unit, verb, plural, show| Shown {
            feature,
            unit,
            verb,
            plural,
            show,
        };
        match self {
            Trait::Work => shown("cpu_per_traffic", "cores s/byte", "uses", "use", work),
            Trait::Traffic => shown(
                "traffic_bytes_per_second",
                "bytes/s",
                "sends and receives",
                "do",
                |value| format!("{}/s", bytes(value)),
            ),
            Trait::Latency => shown(
                Metric::TcpRttMedian.column(),
                "s",
                "has a round trip of",
                "have one of",
                millis,
            ),
            Trait::Connections => shown(
                Metric::TcpEstablished.column(),
                "connections",
                "holds",
                "hold",
                |value| format!("{} connections", number(value)),
            ),
            Trait::Throttling => shown(
                "cpu_throttled_share",
                "1",
                "hit its CPU limit in",
                "in",
                |value| format!("{} of periods", percent(value)),
            ),
            Trait::Errors => shown(
                "error_lines_per_second",
                "lines/s",
                "logs",
                "log",
                |value| format!("{} error lines/s", number(value)),
            ),
            Trait::Memory => shown("memory_bytes", "bytes", "holds", "hold", |value| {
                format!("{} of memory", bytes(value))
            }),
        }
    }
}

fn work(value: f64) -> String {
    let per_mib_s = value * MIB;
    format!("{} s of CPU for each MiB of traffic", number(per_mib_s))
}

/// Seconds as milliseconds.
pub(crate) fn millis(seconds: f64) -> String {
    format!("{} ms", number(seconds * 1_000.0))
}

fn smooth(mean: &mut Option<f32>, value: Option<f64>) {
    // A number that cannot be read leaves what was known.
    let Some(value) = value else { return };
    let value = value as f32;
    let before = mean.unwrap_or(value);
    *mean = Some(before + (value - before) * GAIN);
}
