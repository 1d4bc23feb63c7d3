//! Daily and weekly habits, believed once they predict better than the level alone.

use serde::{Deserialize, Serialize};

const DAY_SECONDS: i64 = 86_400;
const DAY_BUCKETS: usize = 48;
const DAY_BUCKET_SECONDS: i64 = DAY_SECONDS / DAY_BUCKETS as i64;
const WEEK_BUCKETS: usize = 168;
const WEEK_BUCKET_SECONDS: i64 = 7 * DAY_SECONDS / WEEK_BUCKETS as i64;
/// Days after which a daily habit may be believed, and a weekly one: the first must have been seen some three times, the second
/// twice, before they can be told from chance.
const DAILY_AFTER_DAYS: f64 = 3.0;
const WEEKLY_AFTER_DAYS: f64 = 16.0;
/// A habit is believed when its mean error is this share of that without it.
const BELIEVED_AT: f64 = 0.8;
/// Returns a bucket remembers.
const DAYS_KEPT: f64 = 5.0;
const WEEKS_KEPT: f64 = 4.0;
/// Errors count up to so many times the usual one.
const ERROR_CUT: f64 = 3.0;

/// A profile of means over the buckets of a period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Profile {
    mean: Box<[f32]>,
    seen: Box<[u16]>,
    error: f64,
}

impl Profile {
    fn new(buckets: usize) -> Self {
        Profile {
            mean: vec![0.0; buckets].into_boxed_slice(),
            seen: vec![0; buckets].into_boxed_slice(),
            error: 0.0,
        }
    }

    fn learn(&mut self, bucket: usize, miss: f64, remembered: f64) {
        let gain = 1.0 / (f64::from(self.seen[bucket]) + 1.0).min(remembered);
        self.seen[bucket] = self.seen[bucket].saturating_add(1);
        self.mean[bucket] += (gain * miss) as f32;
    }
}

/// When a value was measured, as far as habits go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) unix_seconds: i64,
    /// Usual time between two values.
    pub(super) step_seconds: f64,
    /// Since the first value.
    pub(super) days: f64,
}

impl Moment {
    fn day_bucket(self) -> usize {
        (self.unix_seconds.rem_euclid(DAY_SECONDS) / DAY_BUCKET_SECONDS) as usize
    }

    fn week_bucket(self) -> usize {
        (self.unix_seconds.rem_euclid(7 * DAY_SECONDS) / WEEK_BUCKET_SECONDS) as usize
    }

    /// Values a bucket sees each time it comes round.
    fn visits(self, bucket_seconds: i64) -> f64 {
        (bucket_seconds as f64 / self.step_seconds).max(1.0)
    }

    /// Gain of an error's mean that starts after `warm_up` values.
    fn gain(self, warm_up: f64, least: f64) -> f64 {
        let values = self.days.max(1.0) * DAY_SECONDS as f64 / self.step_seconds - warm_up;
        (1.0 / values.max(1.0)).max(least).min(0.5)
    }
}

/// Habits of one metric around its level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Season {
    day: Profile,
    week: Profile,
    plain_error: f64,
}

impl Season {
    pub(super) fn new() -> Self {
        Season {
            day: Profile::new(DAY_BUCKETS),
            week: Profile::new(WEEK_BUCKETS),
            plain_error: 0.0,
        }
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        [&self.day, &self.week]
            .map(|one| size_of_val(&*one.mean) + size_of_val(&*one.seen))
            .iter()
            .sum()
    }

    /// How far from its level the metric usually is at this moment.
    pub(super) fn expected(&self, at: Moment) -> f64 {
        let mut least = self.plain_error;
        let mut expected = 0.0;
        if at.days > DAILY_AFTER_DAYS && self.day.error < BELIEVED_AT * least {
            least = self.day.error;
            expected = f64::from(self.day.mean[at.day_bucket()]);
        }
        if at.days > WEEKLY_AFTER_DAYS && self.week.error < BELIEVED_AT * least {
            expected = f64::from(self.week.mean[at.week_bucket()]);
        }
        expected
    }

    /// Learns how far from its level the metric was. `play` is the least deviation that matters, in the metric's unit.
    pub(super) fn learn(&mut self, at: Moment, deviation: f64, play: f64, gain: f64) {
        let most = ERROR_CUT * (self.plain_error + play);
        let (today, this_week) = (at.day_bucket(), at.week_bucket());
        let day_miss = deviation - f64::from(self.day.mean[today]);
        let week_miss = deviation - f64::from(self.week.mean[this_week]);
        let (day_visits, week_visits) = (
            at.visits(DAY_BUCKET_SECONDS),
            at.visits(WEEK_BUCKET_SECONDS),
        );
        self.plain_error += gain * (deviation.abs().min(most) - self.plain_error);
        if f64::from(self.day.seen[today]) >= day_visits {
            let gain = at.gain(DAY_BUCKETS as f64, gain);
            self.day.error += gain * (day_miss.abs().min(most) - self.day.error);
        } else if at.days < 1.5 {
            self.day.error = self.plain_error;
        }
        if f64::from(self.week.seen[this_week]) >= week_visits {
            let gain = at.gain(2.0 * WEEK_BUCKETS as f64, gain);
            self.week.error += gain * (week_miss.abs().min(most) - self.week.error);
        } else {
            self.week.error = self.plain_error;
        }
        self.day
            .learn(today, day_miss.clamp(-most, most), DAYS_KEPT * day_visits);
        let remembered = WEEKS_KEPT * week_visits;
        self.week
            .learn(this_week, week_miss.clamp(-most, most), remembered);
    }
}
