//! Throttling: it runs into its CPU limit most of the time, and uses what it is given.

use std::time::Duration;

use units::{ContainerName, Metric, Ratio, Severity};

use super::confidence;
use crate::features::{Features, Usual};
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::{duration, number, percent};

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 8,
    of: 10,
    calm: 10,
};

/// Share of periods in which the limit was hit.
const THROTTLED_MIN: f64 = 0.25;
const THROTTLED_WARNING: f64 = 0.50;
const THROTTLED_CALM: f64 = 0.10;
/// Share of the limit in use: short bursts against a limit hardly used are not it.
const USED_MIN: f64 = 0.80;

pub(crate) fn read(
    name: &ContainerName,
    now: &Features,
    usual: &Usual,
    lasting: Duration,
) -> Reading {
    let (Some(cpu), Some(limit), Some(share)) =
        (now.cpu_cores, now.cpu_limit_cores, now.throttled_share())
    else {
        return Reading::Unknown;
    };
    let used = cpu / limit;
    if share < THROTTLED_CALM {
        return Reading::Normal;
    }
    if share < THROTTLED_MIN || used < USED_MIN {
        return Reading::Between;
    }
    Reading::Violates(Finding {
        severity: if share >= THROTTLED_WARNING {
            Severity::Warning
        } else {
            Severity::Info
        },
        score: Ratio::saturating(usual.cpu_cores.score(cpu)),
        confidence: confidence(usual.cpu_cores.samples()),
        reason: format!(
            "{name} hit its CPU limit of {} cores in {} of periods for {} and used {} of it",
            number(limit),
            percent(share),
            duration(lasting),
            percent(used),
        ),
        proofs: vec![
            Proof::derived("cpu_throttled_share", "1", share, (0.0, THROTTLED_MIN)),
            Proof::of(Metric::CpuUsage, "cores", cpu, (0.0, USED_MIN * limit)),
        ],
    })
}
