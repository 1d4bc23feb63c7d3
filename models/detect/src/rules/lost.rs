//! Telemetry lost: the collector says that log lines or samples of the container never arrived, and how many.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Confidence, ContainerName, Metric, MetricRow, Ratio, Severity};

use crate::clock::Moment;
use crate::gate::{Confirmation, Finding, Proof, Reading};

/// The counters say it for certain, once.
pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 1,
    of: 1,
    calm: 1,
};

/// Without further loss for this long it is over.
const QUIET: Duration = Duration::from_secs(60);

/// What was lost of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Losses {
    lines: Counted,
    samples: Counted,
    /// When the newest loss was seen; absent when it is over.
    last: Option<Moment>,
}

/// One of the collector's counters, which begin anew with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Counted {
    value: Option<f64>,
    /// What was added since the trouble began.
    lost: f64,
}

impl Counted {
    fn advance(&mut self, value: Option<f64>) -> f64 {
        let Some(value) = value else {
            return 0.0;
        };
        let before = self.value.replace(value).filter(|before| *before <= value);
        let added = (value - before.unwrap_or(0.0)).max(0.0);
        self.lost += added;
        added
    }
}

impl Losses {
    /// Takes a sample and judges it.
    pub(crate) fn read(&mut self, name: &ContainerName, row: &MetricRow, now: Moment) -> Reading {
        let lines = self.lines.advance(row.get(Metric::LogLinesLost));
        let samples = self.samples.advance(row.get(Metric::SamplesLost));
        if lines + samples > 0.0 {
            self.last = Some(now);
            return Reading::Violates(self.finding(name));
        }
        match self.last {
            Some(last) if now.since(last) < QUIET => Reading::Between,
            Some(_) | None => Reading::Normal,
        }
    }

    /// How much was lost in all, to be said when it is over; the next loss is counted anew.
    pub(crate) fn settle(&mut self) -> String {
        let lost = self.lost();
        self.lines.lost = 0.0;
        self.samples.lost = 0.0;
        self.last = None;
        format!("{lost} lost in all, and none for {} s", QUIET.as_secs())
    }

    fn lost(&self) -> String {
        let part = |count: f64, one: &str, many: &str| match count {
            none if none <= 0.0 => None,
            one_only if one_only <= 1.0 => Some(format!("1 {one}")),
            some => Some(format!("{some:.0} {many}")),
        };
        let parts = [
            part(self.lines.lost, "log line", "log lines"),
            part(self.samples.lost, "sample", "samples"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join(" and ")
    }

    fn finding(&self, name: &ContainerName) -> Finding {
        let (lines, samples) = (self.lines.lost, self.samples.lost);
        let why = match (lines > 0.0, samples > 0.0) {
            (true, false) => {
                "they were rotated away before they were read, or the collector's spool was full; look at the log options of \
                 the container and at the collector of its node"
            }
            (true, true) | (false, _) => {
                "the spool of its node's collector was full; look at how long the log was away and at the spool's size"
            }
        };
        let verb = match lines + samples > 1.0 {
            true => "were",
            false => "was",
        };
        let of = [
            (Metric::LogLinesLost, "lines", lines),
            (Metric::SamplesLost, "samples", samples),
        ];
        let proofs = of
            .into_iter()
            .filter(|(_, _, count)| *count > 0.0)
            .map(|(metric, unit, count)| Proof::of(metric, unit, count, (0.0, 0.0)));
        Finding {
            severity: Severity::Warning,
            score: Ratio::saturating(1.0),
            confidence: Confidence::High,
            reason: format!("{} of {name} {verb} lost: {why}", self.lost()),
            proofs: proofs.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::Timestamp;

    /// Reads these counts of lost lines, one a second, and tells what was said.
    fn reasons(lost: &[Option<f64>]) -> Vec<Option<String>> {
        let mut losses = Losses::default();
        let read = |(second, lost): (usize, &Option<f64>)| {
            let mut row = MetricRow::default();
            row.set_opt(Metric::LogLinesLost, *lost);
            let now = Moment::of(Timestamp::from_millis(second as i64 * 1_000));
            match losses.read(&ContainerName::from("web"), &row, now) {
                Reading::Violates(finding) => Some(finding.reason),
                Reading::Between | Reading::Normal | Reading::Unknown => None,
            }
        };
        lost.iter().enumerate().map(read).collect()
    }

    fn starts(said: &Option<String>, with: &str) -> bool {
        said.as_ref().is_some_and(|reason| reason.starts_with(with))
    }

    #[test]
    fn what_the_counter_says_at_first_and_what_it_rises_by_is_lost() {
        let said = reasons(&[Some(0.0), Some(0.0), Some(412.0), Some(412.0), Some(413.0)]);
        assert!(
            starts(&said[2], "412 log lines of web were lost: "),
            "{said:?}"
        );
        assert!(
            starts(&said[4], "413 log lines of web were lost: "),
            "{said:?}"
        );
        assert_eq!([&said[0], &said[1], &said[3]], [&None, &None, &None]);
        let said = reasons(&[Some(1.0)]);
        assert!(starts(&said[0], "1 log line of web was lost: "), "{said:?}");
    }

    #[test]
    fn a_collector_that_was_started_again_counts_from_nothing() {
        let said = reasons(&[Some(5.0), None, Some(0.0), Some(0.0), Some(2.0), Some(1.0)]);
        assert_eq!([&said[1], &said[2], &said[3]], [&None, &None, &None]);
        assert!(starts(&said[4], "7 log lines"), "{said:?}");
        assert!(starts(&said[5], "8 log lines"), "{said:?}");
    }

    #[test]
    fn both_kinds_are_said_together_and_settled_together() {
        let mut losses = Losses::default();
        let mut row = MetricRow::default();
        row.set(Metric::LogLinesLost, 3.0);
        row.set(Metric::SamplesLost, 1.0);
        let now = Moment::of(Timestamp::EPOCH);
        let name = ContainerName::from("web");
        let Reading::Violates(finding) = losses.read(&name, &row, now) else {
            panic!("nothing was said");
        };
        assert!(
            finding
                .reason
                .starts_with("3 log lines and 1 sample of web were lost: ")
        );
        assert_eq!(finding.proofs.len(), 2);
        let said = losses.settle();
        assert_eq!(
            said,
            "3 log lines and 1 sample lost in all, and none for 60 s"
        );
        assert!(matches!(losses.read(&name, &row, now), Reading::Normal));
    }
}
