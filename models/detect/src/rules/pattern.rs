//! Unusual pattern: a container's metrics do not go together as they used to, whatever each of them is. How unusual that is, is
//! told by a model of its service, which was trained on what the service did; here is what follows from it.

use std::time::Duration;

use units::{ContainerName, Metric, MetricKind, Ratio, Severity};

use super::confidence;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{bytes, duration, number};

/// A score is of ten seconds and smooths over thirty: one odd row is seen in three scores, so more than three are asked for.
pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 5,
    of: 6,
    calm: 6,
};

/// One row in a thousand …
const UNUSUAL_MIN_DECADES: f64 = 3.0;
/// … and one in a hundred, below which it is as usual again.
const UNUSUAL_CALM_DECADES: f64 = 2.0;
/// A container is like its service once it has run for so long: what it does at first it does not do again.
const UPTIME_MIN: Duration = Duration::from_secs(300);
/// What lasts this long is worth a look.
const LASTING: Duration = Duration::from_secs(600);
/// A model tells nothing apart that is rarer than this.
const DECADES_MAX: f64 = 6.0;

/// What a model says of the last row of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternScore {
    /// How rare such a row is, in decades: 3 is one in a thousand.
    pub decades: f64,
    /// The metrics that weigh most, the heaviest first; three are told.
    pub features: Vec<PatternFeature>,
    /// How much of the service's life the model was learned from, its containers' together.
    pub learned: Duration,
}

/// What weighs in a score, as a level or, for counters, as a rate per second.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternFeature {
    /// The metric.
    pub metric: Metric,
    /// What it was, over the last thirty seconds.
    pub observed: f64,
    /// The least and the most that goes with what the others were.
    pub expected: (f64, f64),
}

pub(crate) fn read(
    name: &ContainerName,
    score: &PatternScore,
    uptime: Option<Duration>,
    lasting: Duration,
) -> Reading {
    if uptime.is_some_and(|uptime| uptime < UPTIME_MIN) || !score.decades.is_finite() {
        return Reading::Unknown;
    }
    if score.decades < UNUSUAL_CALM_DECADES {
        return Reading::Normal;
    }
    if score.decades < UNUSUAL_MIN_DECADES {
        return Reading::Between;
    }
    let learned_samples = u32::try_from(score.learned.as_secs()).unwrap_or(u32::MAX);
    let once_in = 10f64.powf(score.decades.min(DECADES_MAX));
    let weighs = score.features.first().map(|first| {
        let unit = unit(first.metric);
        let shown = |value: f64| show(value.max(0.0), unit);
        format!(
            ", above all {}, {} where {} to {} goes with the rest",
            first.metric.description(),
            shown(first.observed),
            shown(first.expected.0),
            shown(first.expected.1),
        )
    });
    Reading::Violates(Finding {
        severity: match lasting >= LASTING {
            true => Severity::Warning,
            false => Severity::Info,
        },
        score: Ratio::saturating(1.0 - 1.0 / once_in),
        confidence: confidence(learned_samples),
        reason: format!(
            "{name} has for {} done what its service does in one of {} moments at most{}",
            duration(lasting),
            number(once_in),
            weighs.unwrap_or_default(),
        ),
        proofs: score.features.iter().map(proof).collect(),
    })
}

/// Nothing that is looked at falls below zero, whatever a model makes of it.
fn proof(feature: &PatternFeature) -> Proof {
    let (low, high) = feature.expected;
    Proof::of(
        feature.metric,
        unit(feature.metric),
        feature.observed.max(0.0),
        (low.max(0.0), high.max(0.0)),
    )
}

/// What a level, or a rate of a counter, counts in.
fn unit(metric: Metric) -> &'static str {
    let column = metric.column();
    match metric.kind() {
        MetricKind::Counter if column.starts_with("cpu_") && column.ends_with("_seconds") => {
            "cores"
        }
        // Seconds in a second.
        MetricKind::Counter if column.ends_with("_seconds") => "1",
        MetricKind::Counter if column.ends_with("_bytes") => "bytes/s",
        MetricKind::Counter => "1/s",
        MetricKind::Gauge if column.ends_with("_bytes") => "bytes",
        MetricKind::Gauge if column.ends_with("_seconds") => "s",
        MetricKind::Gauge => "1",
    }
}

fn show(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => bytes(value),
        "bytes/s" => format!("{}/s", bytes(value)),
        "1" => number(value),
        "1/s" => format!("{}/s", number(value)),
        unit => format!("{} {unit}", number(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(decades: f64) -> PatternScore {
        let feature = |metric, observed, expected| PatternFeature {
            metric,
            observed,
            expected,
        };
        PatternScore {
            decades,
            features: vec![
                feature(Metric::CpuUsage, 0.1, (0.42, 0.61)),
                feature(Metric::NetRxBytes, 2048.0, (-3.0, 1024.0)),
            ],
            learned: Duration::from_secs(4_000),
        }
    }

    fn of(decades: f64, uptime_s: u64, lasting_s: u64) -> Reading {
        let uptime = Some(Duration::from_secs(uptime_s));
        let lasting = Duration::from_secs(lasting_s);
        read(
            &ContainerName::from("web-1"),
            &score(decades),
            uptime,
            lasting,
        )
    }

    #[test]
    fn it_says_what_weighs_most_and_what_was_expected() {
        let Reading::Violates(finding) = of(3.7, 400, 50) else {
            panic!("not found");
        };
        assert_eq!(
            finding.reason,
            "web-1 has for 50 s done what its service does in one of 5012 moments at most, above all CPU time used, 0.1 cores \
             where 0.4 cores to 0.6 cores goes with the rest"
        );
        assert_eq!(finding.severity, Severity::Info);
        let proof = &finding.proofs[1];
        assert_eq!(
            (proof.unit.as_str(), proof.expected),
            ("bytes/s", (0.0, 1024.0))
        );
        let Reading::Violates(later) = of(9.0, 4_000, 600) else {
            panic!("not found");
        };
        assert_eq!(later.severity, Severity::Warning);
        assert!((later.score.get() - 0.999_999).abs() < 1e-9);
    }

    #[test]
    fn the_usual_the_doubtful_and_the_young_open_nothing() {
        assert!(matches!(of(1.9, 400, 1), Reading::Normal));
        assert!(matches!(of(2.9, 400, 1), Reading::Between));
        assert!(matches!(of(5.0, 299, 1), Reading::Unknown));
        assert!(matches!(of(f64::NAN, 400, 1), Reading::Unknown));
    }

    #[test]
    fn units_are_those_of_the_metric() {
        let of = |metric| unit(metric);
        assert_eq!(of(Metric::CpuSystem), "cores");
        assert_eq!(of(Metric::PsiIoSome), "1");
        assert_eq!(of(Metric::NetRxPackets), "1/s");
        assert_eq!(of(Metric::MemoryRss), "bytes");
        assert_eq!(of(Metric::TcpRttP99), "s");
        assert_eq!(of(Metric::Pids), "1");
    }
}
