//! Pulse: how regularly something comes, and whether it has stayed away for much longer than it ever did.
//!
//! Steadily means by its own gaps: an hour of them, none many times the mean. For gaps as of independent events the longest of a
//! thousand is some seven times the mean, so that what is longer than [`REGULAR_MAX`] means is of another kind: bursts, jobs,
//! nights. Nothing is said of what comes like that.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Confidence, Steady};

use super::confidence;

/// It is known after this long …
const KNOWN_AFTER: Duration = Duration::from_secs(3_600);
/// … and so many gaps.
const GAPS_MIN: u32 = 60;
/// It is steady while no gap is longer than this many mean ones.
const REGULAR_MAX: f64 = 15.0;
/// It stays away after this long …
const AWAY_MIN_S: f64 = 60.0;
/// … and this many mean gaps …
const TIMES_MEAN_MIN: f64 = 10.0;
/// … and this many times the longest gap.
const TIMES_LONGEST_MIN: f64 = 4.0;
/// Gaps are remembered for this long at least, and for twice as long at most.
const REMEMBERED: Duration = Duration::from_secs(12 * 3_600);
/// Times away that were told are no usual gaps, until so many were told within that time.
const TOLD_MAX: u8 = 2;

/// When something comes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// When it came last, or when watching began.
    last: Option<Steady>,
    /// The gaps of this half-day …
    now: Gaps,
    /// … and of the one before.
    before: Gaps,
}

/// Gaps between two times it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Gaps {
    count: u32,
    longest_ms: u64,
    all_ms: u64,
    told: u8,
}

/// What was seen at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// It came.
    Came,
    /// It did not.
    Away,
}

/// Whether the time away that goes on was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was.
    Yes,
    /// It was not, or there is none.
    No,
}

/// How long something that comes steadily has been away, and what is usual for it.
pub(crate) struct Away {
    pub(crate) lasting: Duration,
    /// From here on it is away for too long, in seconds.
    pub(crate) limit_s: f64,
    pub(crate) gaps: u32,
    pub(crate) mean: Duration,
    pub(crate) longest: Duration,
    pub(crate) confidence: Confidence,
}

impl Pulse {
    /// When it came last is of no account: nothing could come, or nobody watched, since.
    pub(crate) fn pause(&mut self) {
        self.last = None;
    }

    /// Takes what was seen until `at`.
    pub(crate) fn advance(&mut self, at: Steady, beat: Beat, told: Told) {
        let last = *self.last.get_or_insert(at);
        match beat {
            Beat::Came => {}
            Beat::Away => return,
        }
        self.last = Some(last.max(at));
        let gap = at.since(last);
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

    /// How long it has been away at `at`; none while it is not known, or where it does not come steadily.
    pub(crate) fn away(&self, at: Steady) -> Option<Away> {
        let lasting = at.since(self.last?);
        let all_ms = self.now.all_ms.saturating_add(self.before.all_ms);
        let gaps = self.now.count.saturating_add(self.before.count);
        let longest_ms = self.now.longest_ms.max(self.before.longest_ms);
        if Duration::from_millis(all_ms) < KNOWN_AFTER || gaps < GAPS_MIN {
            return None;
        }
        let mean_s = all_ms as f64 / 1_000.0 / f64::from(gaps);
        let longest_s = longest_ms as f64 / 1_000.0;
        let limit_s = AWAY_MIN_S
            .max(TIMES_MEAN_MIN * mean_s)
            .max(TIMES_LONGEST_MIN * longest_s);
        (longest_s <= REGULAR_MAX * mean_s).then(|| Away {
            lasting,
            limit_s,
            gaps,
            mean: Duration::from_secs_f64(mean_s),
            longest: Duration::from_millis(longest_ms),
            confidence: confidence(u32::try_from(all_ms / 1_000).unwrap_or(u32::MAX)),
        })
    }
}

impl Away {
    /// How far it is towards being away for too long; from one on it is.
    pub(crate) fn reached(&self) -> f64 {
        self.lasting.as_secs_f64() / self.limit_s
    }
}

impl Gaps {
    fn add(&mut self, gap: Duration) {
        let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
        self.count = self.count.saturating_add(1);
        self.longest_ms = self.longest_ms.max(gap_ms);
        self.all_ms = self.all_ms.saturating_add(gap_ms);
    }
}
