//! Bursts: what they reach, and whether they come again at the same time of a period.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use super::level::Shift;

/// A burst begins where the load jumps to this many times the calm level …
const BURST_RATIO: f64 = 1.5;
/// … and ends when it stays below this many times that level, or this share of its peak, for so many seconds …
const OVER_RATIO: f64 = 1.3;
const OVER_PEAK_SHARE: f64 = 0.55;
const OVER_AFTER_S: u32 = 60;
/// … or after this time: then it is the new level.
const BURST_MAX_S: u64 = 3_600;
/// What a burst reaches is looked for in its first seconds; a shorter one is over when it falls back.
const PEAK_WITHIN_S: u64 = 90;
const SHORTEST_S: u64 = 20;
/// For so many seconds after its beginning a burst is expected to reach what those before it did.
const BEGINNING_S: u64 = 60;
/// Bursts remembered; the oldest is forgotten first.
const REMEMBERED: usize = 48;
/// The newest of them tell what is reached …
const LEVEL_OF: usize = 16;
/// … if there are this many, and the middle three fifths of them differ by no more than this factor (as a logarithm).
const LEVEL_FROM: usize = 3;
const LEVEL_RANGE: f64 = 0.5;
const LEVEL_QUANTILE: f64 = 0.75;
/// Periods tried, in seconds: those of timers people set.
const PERIODS_S: [u64; 9] = [300, 600, 900, 1_200, 1_800, 3_600, 7_200, 21_600, 86_400];
/// A period is told from so many of the newest bursts, if there are at least `PERIOD_FROM`.
const PERIOD_OF: usize = 24;
const PERIOD_FROM: usize = 6;
/// This share of them must begin within `ARC_S` seconds of each other, by the time of the period.
const ARC_SHARE: f64 = 0.6;
const ARC_S: f64 = 90.0;
/// … and that must be a surprise of at least so many nats, as a mean over all of them.
const SURPRISE_MIN: f64 = 0.8;
/// Seconds before the earliest usual beginning that replicas should stand ready, and after the latest that they are kept.
const EARLY_S: f64 = 3.0;
const LATE_S: f64 = 5.0;
/// The chance of a burst so many periods after the one before is counted up to here; from `GAPS_POOLED` on for all together.
const GAPS: usize = 64;
const GAPS_POOLED: usize = 6;
/// … and drawn towards the mean chance as by so many periods seen.
const PRIOR_PERIODS: f64 = 2.0;
/// Lateness in seconds at which a beginning still counts for its period.
const STRAGGLER_S: f64 = 20.0;

/// The newest second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) second: u64,
    /// Means of the load over a few and over some more seconds.
    pub(super) short: f64,
    pub(super) long: f64,
    /// The level outside of bursts.
    pub(super) calm: f64,
    pub(super) shift: Shift,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Burst {
    begun: u64,
    calm: f64,
    peak: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct UnderWay {
    burst: Burst,
    remembered: bool,
    fallen_s: u32,
}

/// When bursts begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Recurrence {
    period_s: f64,
    /// Seconds of the period from the first to the last usual beginning, with some margin.
    from: f64,
    to: f64,
    /// Bursts and periods seen so many periods after the burst before.
    gaps: Vec<(f64, f64)>,
    /// The period of the newest burst.
    newest: i64,
}

/// Bursts of one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Bursts {
    remembered: VecDeque<Burst>,
    under_way: Option<UnderWay>,
    recurrence: Option<Recurrence>,
}

impl Bursts {
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn has_just_begun(&self, second: u64) -> bool {
        let begun = self.under_way.map(|under_way| under_way.burst.begun);
        begun.is_some_and(|begun| second.saturating_sub(begun) < BEGINNING_S)
    }

    pub(super) fn learn(&mut self, now: &Now) {
        let Some(mut under_way) = self.under_way.take() else {
            self.under_way = begins(now);
            return;
        };
        let burst = &mut under_way.burst;
        let since = now.second - burst.begun;
        if since <= PEAK_WITHIN_S {
            burst.peak = burst.peak.max(now.long);
        }
        let fell_back = now.long < OVER_RATIO * burst.calm;
        let short = fell_back && (SHORTEST_S..PEAK_WITHIN_S).contains(&since);
        if !under_way.remembered && (since >= PEAK_WITHIN_S || short) {
            under_way.remembered = true;
            let burst = *burst;
            self.remember(burst);
        }
        let fallen = fell_back || now.long < OVER_PEAK_SHARE * under_way.burst.peak;
        under_way.fallen_s = if fallen { under_way.fallen_s + 1 } else { 0 };
        let over = since > PEAK_WITHIN_S && under_way.fallen_s > OVER_AFTER_S;
        if !(over || short || since > BURST_MAX_S) {
            self.under_way = Some(under_way);
        }
    }

    fn remember(&mut self, burst: Burst) {
        self.remembered.push_back(burst);
        if self.remembered.len() > REMEMBERED {
            self.remembered.pop_front();
        }
        self.recurrence = recurrence(&self.remembered);
    }

    /// What a burst that begins at this calm level will reach: what those before reached, or how many times their calm level,
    /// whichever varied less. None where both vary much.
    pub(super) fn reached(&self, calm: f64) -> Option<f64> {
        let newest = || self.remembered.iter().rev().take(LEVEL_OF);
        if newest().len() < LEVEL_FROM {
            return None;
        }
        let (range, level) = spread(newest().map(|burst| burst.peak.max(1.0).ln()));
        let ratios = newest().map(|burst| (burst.peak.max(1.0) / burst.calm.max(1.0)).ln());
        let (ratio_range, ratio) = spread(ratios);
        if range.min(ratio_range) > LEVEL_RANGE {
            return None;
        }
        Some(if range <= ratio_range {
            level.exp()
        } else {
            ratio.exp() * calm
        })
    }

    /// How likely a burst is for which replicas must be ordered at this second, and the time in which it begins, in seconds.
    pub(super) fn chance(&self, second: u64, startup_s: u32) -> Option<(f64, f64)> {
        if self.is_under_way() {
            return None;
        }
        self.recurrence.as_ref()?.chance(second, startup_s)
    }
}

fn begins(now: &Now) -> Option<UnderWay> {
    let jumps = match now.shift {
        Shift::Up(_) => now.short > BURST_RATIO * now.calm,
        Shift::None | Shift::Down(_) => false,
    };
    jumps.then_some(UnderWay {
        burst: Burst {
            begun: now.second,
            calm: now.calm,
            peak: now.short,
        },
        remembered: false,
        fallen_s: 0,
    })
}

/// Range of the middle three fifths, and the quantile that is counted on.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    (at(0.8) - at(0.2), at(LEVEL_QUANTILE))
}

/// The period under which the beginnings of the newest bursts are closest together, if that is no chance.
fn recurrence(bursts: &VecDeque<Burst>) -> Option<Recurrence> {
    let newest: Vec<u64> = bursts
        .iter()
        .rev()
        .take(PERIOD_OF)
        .map(|b| b.begun)
        .collect();
    if newest.len() < PERIOD_FROM {
        return None;
    }
    let mut best = SURPRISE_MIN;
    let mut found = None;
    for period in PERIODS_S {
        let (first, share) = arc(&newest, period);
        if share < ARC_SHARE {
            continue;
        }
        let by_chance = (2.0 * ARC_S / period as f64).min(1.0);
        let surprise = share * (share / by_chance).ln();
        if surprise > best {
            best = surprise;
            found = Recurrence::new(bursts, &newest, period, first);
        }
    }
    found
}

/// The time of the period from which on the most beginnings follow within an arc, and their share.
fn arc(begun: &[u64], period: u64) -> (f64, f64) {
    let mut phases: Vec<f64> = begun.iter().map(|at| (at % period) as f64).collect();
    phases.sort_by(f64::total_cmp);
    let within = |from: f64| {
        let after = |phase: &&f64| (**phase - from).rem_euclid(period as f64) <= ARC_S;
        phases.iter().filter(after).count()
    };
    let most = phases
        .iter()
        .map(|&from| (within(from), from))
        .reduce(|best, next| if next.0 > best.0 { next } else { best });
    most.map_or((0.0, 0.0), |(count, from)| {
        (from, count as f64 / phases.len() as f64)
    })
}

impl Recurrence {
    fn new(bursts: &VecDeque<Burst>, newest: &[u64], period: u64, first: f64) -> Option<Self> {
        let period_s = period as f64;
        let after = |at: &u64| ((at % period) as f64 - first).rem_euclid(period_s);
        let recent = newest.iter().take(LEVEL_OF).map(after);
        let mut inside: Vec<f64> = recent.filter(|after| *after <= ARC_S).collect();
        inside.sort_by(f64::total_cmp);
        let last = inside.len().checked_sub(1)?;
        let from = first + inside[(inside.len() as f64 * 0.05) as usize] - EARLY_S;
        let to = first + inside[(last as f64 * 0.95).round() as usize] + LATE_S;
        let mut made = Recurrence {
            period_s,
            from,
            to,
            gaps: vec![(0.0, 0.0); GAPS],
            newest: 0,
        };
        made.count(bursts);
        Some(made)
    }

    /// The number of the period at a second, and the seconds of it that have passed since its window opened.
    fn period_at(&self, second: f64) -> (i64, f64) {
        let period = ((second - self.from) / self.period_s).floor();
        (period as i64, second - self.from - period * self.period_s)
    }

    fn count(&mut self, bursts: &VecDeque<Burst>) {
        let window = self.to - self.from + STRAGGLER_S;
        let begun = bursts
            .iter()
            .map(|burst| self.period_at(burst.begun as f64));
        let periods: Vec<i64> = begun
            .filter(|(_, after)| *after <= window)
            .map(|(period, _)| period)
            .collect();
        for pair in periods.windows(2) {
            let gap = (pair[1] - pair[0]).clamp(1, GAPS as i64 - 1) as usize;
            for (_, seen) in &mut self.gaps[1..=gap] {
                *seen += 1.0;
            }
            self.gaps[gap].0 += 1.0;
        }
        self.newest = periods.last().copied().unwrap_or(0);
    }

    fn chance(&self, second: u64, startup_s: u32) -> Option<(f64, f64)> {
        let startup_s = f64::from(startup_s);
        let (period, after) = self.period_at(second as f64 + startup_s);
        let window_s = self.to - self.from;
        if after > window_s + startup_s || period <= self.newest {
            return None;
        }
        let sum = |counts: &[(f64, f64)]| {
            let add = |all: (f64, f64), one: &(f64, f64)| (all.0 + one.0, all.1 + one.1);
            counts.iter().fold((0.0, 0.0), add)
        };
        let (bursts, seen) = sum(&self.gaps);
        let mean = if seen > 0.0 { bursts / seen } else { 0.0 };
        let gap = (period - self.newest).clamp(1, GAPS as i64 - 1) as usize;
        let (bursts, seen) = match gap < GAPS_POOLED {
            true => self.gaps[gap],
            false => sum(&self.gaps[GAPS_POOLED..]),
        };
        let chance = (bursts + PRIOR_PERIODS * mean) / (seen + PRIOR_PERIODS);
        Some((chance, window_s))
    }
}
