//! Log silence: a container that logged steadily says nothing any more, while its samples go on.

use serde::{Deserialize, Serialize};
use units::{ContainerName, Ratio, Severity};

use super::pulse::{Beat, Pulse, Told};
use crate::gate::{Confirmation, Finding, Proof, Reading};
use crate::logs::{Second, Traffic};
use crate::text::duration;

pub(crate) const CONFIRM: Confirmation = Confirmation {
    needed: 3,
    of: 3,
    calm: 1,
};

/// When a container logs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Silence(Pulse);

impl Silence {
    /// What was heard last is of no account: the process was not running since.
    pub(crate) fn pause(&mut self) {
        self.0.pause();
    }

    /// Takes a closed second.
    pub(crate) fn advance(&mut self, second: &Second, told: Told) {
        let beat = match second.lines > 0.0 {
            true => Beat::Came,
            false => Beat::Away,
        };
        self.0.advance(second.end, beat, told);
    }

    /// Judges a closed second, which was taken.
    pub(crate) fn read(&self, name: &ContainerName, second: &Second, traffic: Traffic) -> Reading {
        let Some(away) = self.0.away(second.end) else {
            return Reading::Unknown;
        };
        let reached = away.reached();
        if reached < 0.5 {
            return Reading::Normal;
        }
        if reached < 1.0 || traffic == Traffic::Fallen {
            return Reading::Between;
        }
        Reading::Violates(Finding {
            severity: Severity::Warning,
            score: Ratio::saturating(1.0 - 1.0 / (1.0 + f64::from(away.gaps))),
            confidence: away.confidence,
            reason: format!(
                "{name} has logged nothing for {} and runs; usually a line comes every {}, and never later than {}",
                duration(away.lasting),
                duration(away.mean),
                duration(away.longest),
            ),
            proofs: vec![Proof::derived(
                "log_silence_seconds",
                "s",
                away.lasting.as_secs_f64(),
                (0.0, away.limit_s),
            )],
        })
    }
}

#[cfg(test)]
mod tests {
    use units::Steady;

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
