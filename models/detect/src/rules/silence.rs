//! Log silence: a container that logged steadily says nothing any more, while its samples go on.
//!
//! Steadily means by its own gaps: an hour of them, none many times the mean. For gaps as of independent events the longest of a
//! thousand is some seven times the mean, so that what is longer than [`REGULAR_MAX`] means is of another kind: bursts, jobs,
//! nights. Nothing is said of such a log.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Confidence, ContainerName, Ratio, Severity, Steady};

use super::confidence;
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::logs::{Second, Traffic};
use crate::text::duration;

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 3,
    of: 3,
    calm: 1,
};

/// A log is known after this long …
const KNOWN_AFTER: Duration = Duration::from_secs(3_600);
/// … and so many gaps.
const GAPS_MIN: u32 = 60;
/// It is steady while no gap is longer than this many mean ones.
const REGULAR_MAX: f64 = 15.0;
/// It is silent after this long …
const SILENT_MIN_S: f64 = 60.0;
/// … and this many mean gaps …
const TIMES_MEAN_MIN: f64 = 10.0;
/// … and this many times the longest gap.
const TIMES_LONGEST_MIN: f64 = 4.0;
/// Gaps are remembered for this long at least, and for twice as long at most.
const REMEMBERED: Duration = Duration::from_secs(12 * 3_600);
/// Silences that were told are no usual gaps, until so many were told within that time.
const TOLD_MAX: u8 = 2;

/// When a container logs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Silence {
    /// The end of the last second with a line, or when listening began.
    last: Option<Steady>,
    /// The gaps of this half-day …
    now: Gaps,
    /// … and of the one before.
    before: Gaps,
}

/// Gaps between seconds with lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Gaps {
    count: u32,
    longest_ms: u64,
    all_ms: u64,
    told: u8,
}

/// Whether the silence that goes on was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was.
    Yes,
    /// It was not, or there is none.
    No,
}

impl Silence {
    /// What was heard last is of no account: the process was not running since.
    pub(crate) fn pause(&mut self) {
        self.last = None;
    }

    /// Takes a closed second.
    pub(crate) fn advance(&mut self, second: &Second, told: Told) {
        let last = *self.last.get_or_insert(second.end);
        if second.lines == 0.0 {
            return;
        }
        self.last = Some(last.max(second.end));
        let gap = second.end.since(last);
        if gap.is_zero() {
            return;
        }
        if told == Told::Yes {
            self.now.told = self.now.told.saturating_add(1);
            if self.now.told.saturating_add(self.before.told) <= TOLD_MAX {
                return;
            }
        }
        self.now.add(gap);
        if Duration::from_millis(self.now.all_ms) >= REMEMBERED {
            self.before = std::mem::take(&mut self.now);
        }
    }

    /// Judges a closed second, which was taken.
    pub(crate) fn read(&self, name: &ContainerName, second: &Second, traffic: Traffic) -> Reading {
        let (Some(last), Some(steady)) = (self.last, self.steady()) else {
            return Reading::Unknown;
        };
        let silent = second.end.since(last);
        let silent_s = silent.as_secs_f64();
        if silent_s < steady.limit_s / 2.0 {
            return Reading::Normal;
        }
        if silent_s < steady.limit_s || traffic == Traffic::Fallen {
            return Reading::Between;
        }
        Reading::Violates(Finding {
            severity: Severity::Warning,
            score: Ratio::saturating(1.0 - 1.0 / (1.0 + f64::from(steady.gaps))),
            confidence: steady.confidence,
            reason: format!(
                "{name} has logged nothing for {} and runs; usually a line comes every {}, and never later than {}",
                duration(silent),
                duration(Duration::from_secs_f64(steady.mean_s)),
                duration(Duration::from_millis(steady.longest_ms)),
            ),
            proofs: vec![Proof::derived(
                "log_silence_seconds",
                "s",
                silent_s,
                (0.0, steady.limit_s),
            )],
        })
    }

    /// How steady the log is; none while it is not known, or where it is not steady.
    fn steady(&self) -> Option<SteadyLog> {
        let all_ms = self.now.all_ms.saturating_add(self.before.all_ms);
        let gaps = self.now.count.saturating_add(self.before.count);
        let longest_ms = self.now.longest_ms.max(self.before.longest_ms);
        if Duration::from_millis(all_ms) < KNOWN_AFTER || gaps < GAPS_MIN {
            return None;
        }
        let mean_s = all_ms as f64 / 1_000.0 / f64::from(gaps);
        let longest_s = longest_ms as f64 / 1_000.0;
        let limit_s = SILENT_MIN_S
            .max(TIMES_MEAN_MIN * mean_s)
            .max(TIMES_LONGEST_MIN * longest_s);
        (longest_s <= REGULAR_MAX * mean_s).then(|| SteadyLog {
            gaps,
            mean_s,
            longest_ms,
            limit_s,
            confidence: confidence(u32::try_from(all_ms / 1_000).unwrap_or(u32::MAX)),
        })
    }
}

struct SteadyLog {
    gaps: u32,
    mean_s: f64,
    longest_ms: u64,
    limit_s: f64,
    confidence: Confidence,
}

impl Gaps {
    fn add(&mut self, gap: Duration) {
        let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
        self.count = self.count.saturating_add(1);
        self.longest_ms = self.longest_ms.max(gap_ms);
        self.all_ms = self.all_ms.saturating_add(gap_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;

    /// Hears lines in these seconds until `end_s`, and tells when it first says that there is silence.
    fn silent_at(lines_s: &[u64], end_s: u64) -> Option<u64> {
        let mut silence = Silence::default();
        let name = ContainerName::from("web");
        let mut lines = lines_s.iter().peekable();
        (1..end_s).find(|second_s| {
            let mut heard = 0.0;
            while lines.next_if(|at_s| *at_s < second_s).is_some() {
                heard += 1.0;
            }
            let second = Second {
                end: Steady::from_millis(second_s * 1_000),
                lines: heard,
                errors: 0.0,
            };
            silence.advance(&second, Told::No);
            let reading = silence.read(&name, &second, Traffic::Usual);
            matches!(reading, Reading::Violates(_))
        })
    }

    fn random_gaps(seed: u64, end_s: u64, gap_s: impl Fn(&mut Noise) -> f64) -> Vec<u64> {
        let mut noise = Noise::seeded(seed);
        let mut at_s = 0.0;
        let mut lines = Vec::new();
        while at_s < end_s as f64 {
            at_s += gap_s(&mut noise);
            lines.push(at_s as u64);
        }
        lines
    }

    #[test]
    fn a_log_of_one_line_every_ten_seconds_is_silent_after_a_hundred() {
        let lines: Vec<u64> = (0..400).map(|line| line * 10).collect();
        assert_eq!(silent_at(&lines, 8_000), Some(3_991 + 100));
        let young: Vec<u64> = (0..300).map(|line| line * 10).collect();
        assert_eq!(silent_at(&young, 20_000), None, "it is not known yet");
    }

    #[test]
    fn gaps_of_independent_lines_are_no_silence_and_their_end_is_one() {
        const DAY_S: u64 = 24 * 3_600;
        for seed in 0..20 {
            let lines = random_gaps(seed, DAY_S, |noise| -5.0 * (1.0 - noise.uniform()).ln());
            assert_eq!(silent_at(&lines, DAY_S), None, "seed {seed}");
            let found = silent_at(&lines, DAY_S + 3_600);
            assert!(found.is_some(), "seed {seed}");
        }
    }

    #[test]
    fn bursts_with_rests_between_are_never_silent() {
        const DAY_S: u64 = 24 * 3_600;
        for seed in 0..20 {
            let gap_s = |noise: &mut Noise| match noise.uniform() < 0.02 {
                true => 3_000.0 * noise.uniform(),
                false => 2.0 * noise.uniform(),
            };
            let lines = random_gaps(seed, DAY_S, gap_s);
            assert_eq!(silent_at(&lines, 2 * DAY_S), None, "seed {seed}");
        }
    }
}
