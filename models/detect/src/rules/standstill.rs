//! Standstill: what always moved stands exactly still, for much longer than it ever did, while the container runs.
//!
//! Far from the usual is what [`super::deviation`] looks at, and requests without work are [`super::hang`]; here a counter does not
//! count at all. A process that is frozen or blocked uses no CPU while requests still come. Where nothing comes any more, its
//! clients or its network may be gone, or it is simply not needed: that is worth knowing, and a warning only where a day of history
//! says that it never was so.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Confidence, ContainerName, Metric, Ratio, Severity, Steady};

use super::pulse::{Away, Beat, Pulse, Told};
use crate::counters::Rates;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::text::duration;

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 3,
    of: 3,
    calm: 3,
};

/// What stands still for this long is taken for the new normal.
pub(crate) const RELEARN_AFTER: Duration = Duration::from_secs(3_600);
/// Where nobody asks anything of it, it is worth a look after this long.
const WARNING_AFTER: Duration = Duration::from_secs(300);

/// The counters that are watched, the most telling first.
const WATCHED: [Watched; 3] = [
    Watched {
        metric: Metric::CpuUsage,
        feature: "cpu_still_seconds",
        what: "used no CPU at all",
    },
    Watched {
        metric: Metric::NetTxBytes,
        feature: "net_tx_still_seconds",
        what: "sent nothing",
    },
    Watched {
        metric: Metric::NetRxBytes,
        feature: "net_rx_still_seconds",
        what: "received nothing",
    },
];

struct Watched {
    metric: Metric,
    feature: &'static str,
    what: &'static str,
}

/// When each of the counters moves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standstill([Pulse; WATCHED.len()]);

impl Standstill {
    /// Its process was not running since.
    pub(crate) fn pause(&mut self) {
        self.0.iter_mut().for_each(Pulse::pause);
    }

    /// Takes the rates of a sample. What was not read neither moved nor stood still.
    pub(crate) fn advance(&mut self, run: Steady, rates: &Rates, told: Told) {
        for (pulse, watched) in self.0.iter_mut().zip(&WATCHED) {
            match rates.get(watched.metric) {
                Some(rate) if rate > 0.0 => pulse.advance(run, Beat::Came, told),
                Some(_) => pulse.advance(run, Beat::Away, told),
                None => pulse.pause(),
            }
        }
    }

    /// Judges the newest sample, which was taken.
    pub(crate) fn read(&self, name: &ContainerName, run: Steady) -> Reading {
        let known: Vec<(&Watched, Away)> = WATCHED
            .iter()
            .zip(&self.0)
            .filter_map(|(watched, pulse)| Some((watched, pulse.away(run)?)))
            .collect();
        let most = known.iter().map(|(_, away)| away.reached());
        match most.reduce(f64::max) {
            None => Reading::Unknown,
            Some(most) if most < 0.5 => Reading::Normal,
            Some(most) if most < 1.0 => Reading::Between,
            Some(_) => Reading::Violates(finding(name, &known)),
        }
    }
}

fn finding(name: &ContainerName, known: &[(&Watched, Away)]) -> Finding {
    let is_still = |(_, away): &&(&Watched, Away)| away.reached() >= 1.0;
    let still: Vec<&(&Watched, Away)> = known.iter().filter(is_still).collect();
    let asked = known
        .iter()
        .any(|(watched, away)| watched.metric == Metric::NetRxBytes && away.reached() < 0.5);
    let longest = still.iter().map(|(_, away)| away.lasting).max();
    let lasting = longest.unwrap_or_default();
    let sure = still
        .iter()
        .any(|(_, away)| away.confidence == Confidence::High);
    let severity = match asked || (sure && lasting >= WARNING_AFTER) {
        true => Severity::Warning,
        false => Severity::Info,
    };
    let said: Vec<&str> = still.iter().map(|(watched, _)| watched.what).collect();
    let mut reason = format!(
        "{name} runs, and has {} for {}",
        said.join(" and "),
        duration(lasting)
    );
    if let Some((_, lead)) = still.first() {
        reason.push_str(&format!(
            "; usually that is never so for longer than {}",
            duration(lead.longest)
        ));
    }
    if asked {
        reason.push_str("; requests still come");
    }
    let gaps = still.iter().map(|(_, away)| away.gaps).max().unwrap_or(0);
    let confidence = still.iter().map(|(_, away)| away.confidence).max();
    let proofs = still.iter().map(|(watched, away)| Proof {
        metric: Some(watched.metric),
        ..Proof::derived(
            watched.feature,
            "s",
            away.lasting.as_secs_f64(),
            (0.0, away.limit_s),
        )
    });
    Finding {
        severity,
        score: Ratio::saturating(1.0 - 1.0 / (1.0 + f64::from(gaps))),
        confidence: confidence.unwrap_or(Confidence::Low),
        reason,
        proofs: proofs.collect(),
    }
}
