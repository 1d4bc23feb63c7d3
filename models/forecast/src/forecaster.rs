//! One service's load, smoothed and looked ahead.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Forecast, ForecastPoint, LoadMetric, Millicores, ServiceId, Timestamp};

use crate::holt::DampedTrend;

/// The load now is the mean over this time.
const OBSERVED_OVER: Duration = Duration::from_secs(3);
/// The peak is looked for in this time.
const PEAK_OVER: Duration = Duration::from_secs(60);
/// How far ahead, in seconds, nearest first.
const AHEAD_S: [u32; 3] = [15, 30, 60];
/// After a longer silence the trend of before says nothing.
const GAP_MAX: Duration = Duration::from_secs(30);
/// Values kept, whatever the pace: a minute at two a second.
const VALUES_MAX: usize = 120;

const METHOD: &str = "damped trend over one-second steps, range from its own last errors";

/// A service's load at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// When.
    pub at: Timestamp,
    /// CPU of all replicas together, in millicores.
    pub cpu_millicores: f64,
    /// Running replicas.
    pub replicas: u32,
    /// What one replica can carry at 100 %.
    pub replica_capacity: Millicores,
    /// Share of its time the service waited for its CPU limit.
    pub throttled: f64,
}

/// A load and where it goes, in whatever it is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// The load now.
    pub observed: f64,
    /// The highest of the last minute.
    pub recent_peak: f64,
    /// Ahead, nearest first.
    pub points: Vec<ForecastPoint>,
}

/// What a load was in the seconds since it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// As it is now: a reading a second leaves nothing between.
    Held,
    /// On the line from the last reading: one that comes every quarter of a minute would be a stair, whose steps look like jumps.
    Line,
}

/// Looks ahead for one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecaster {
    /// Newest last, not older than `OBSERVED_OVER`.
    recent: VecDeque<(Timestamp, f64)>,
    /// Observed loads, newest last, not older than `PEAK_OVER`.
    observed: VecDeque<(Timestamp, f32)>,
    model: Option<DampedTrend>,
    stepped_at: Timestamp,
}

impl Forecaster {
    /// Takes a load and tells what follows from it. A load older than the newest one is a clock that stepped back, or a
    /// duplicate: the former starts anew, the latter changes nothing; both are answered.
    pub fn observe(&mut self, service: &ServiceId, load: &Load) -> Forecast {
        let cpu = if load.cpu_millicores.is_finite() {
            load.cpu_millicores.max(0.0)
        } else {
            0.0
        };
        self.advance(load.at, cpu, GAP_MAX, Between::Held);
        self.forecast(service, load)
    }

    /// Takes a level that is read every few seconds, in any unit, and tells where it goes. What is negative or no number counts as 0. A
    /// reading more than `gap` after the last one starts anew, as does one older than it; the same again changes nothing.
    pub fn follow(&mut self, at: Timestamp, level: f64, gap: Duration) -> Course {
        let level = if level.is_finite() {
            level.max(0.0)
        } else {
            0.0
        };
        self.advance(at, level, gap, Between::Line);
        self.course()
    }

    fn advance(&mut self, at: Timestamp, load: f64, gap: Duration, between: Between) {
        let newest = self.recent.back().map(|(at, _)| *at);
        if newest.is_some_and(|newest| newest > at || at.since(newest) > gap) {
            *self = Forecaster::default();
        }
        if newest != Some(at) {
            self.take(at, load, between);
        }
    }

    fn take(&mut self, at: Timestamp, cpu: f64, between: Between) {
        let before = self.recent.back().map_or(cpu, |(_, value)| *value);
        self.recent.push_back((at, cpu));
        while self
            .recent
            .front()
            .is_some_and(|(then, _)| at.since(*then) >= OBSERVED_OVER)
            || self.recent.len() > VALUES_MAX
        {
            self.recent.pop_front();
        }
        self.observed.push_back((at, self.mean() as f32));
        while self
            .observed
            .front()
            .is_some_and(|(then, _)| at.since(*then) >= PEAK_OVER)
            || self.observed.len() > VALUES_MAX
        {
            self.observed.pop_front();
        }
        match &mut self.model {
            None => {
                self.model = Some(DampedTrend::starting(cpu));
                self.stepped_at = at;
            }
            Some(model) => {
                // One step a whole second; samples a little early or late are steps of one second too.
                let steps = (at.since(self.stepped_at).as_secs_f64() + 0.5) as u32;
                for step in 1..=steps {
                    let done = f64::from(step) / f64::from(steps);
                    model.learn(match between {
                        Between::Held => cpu,
                        Between::Line => before + (cpu - before) * done,
                    });
                }
                if steps > 0 {
                    self.stepped_at = at;
                }
            }
        }
    }

    /// The mean of the recent values; what is added and taken away again would leave rounding behind.
    fn mean(&self) -> f64 {
        let sum: f64 = self.recent.iter().map(|(_, value)| value).sum();
        sum / (self.recent.len().max(1)) as f64
    }

    fn course(&self) -> Course {
        let observed = self.mean();
        let peak = self.observed.iter().map(|(_, value)| f64::from(*value));
        let model = self.model.unwrap_or(DampedTrend::starting(observed));
        let point = |seconds: u32| {
            let expected = model.ahead(seconds);
            ForecastPoint {
                ahead: Duration::from_secs(u64::from(seconds)),
                expected: expected.value,
                low: expected.low,
                high: expected.high,
            }
        };
        Course {
            observed,
            recent_peak: peak.fold(observed, f64::max),
            points: AHEAD_S.map(point).to_vec(),
        }
    }

    fn forecast(&self, service: &ServiceId, load: &Load) -> Forecast {
        let course = self.course();
        Forecast {
            service: service.clone(),
            at: load.at,
            metric: LoadMetric::CpuMillicores,
            observed: course.observed,
            recent_peak: course.recent_peak,
            replicas: load.replicas,
            replica_capacity: load.replica_capacity,
            throttled: load.throttled.clamp(0.0, 1.0),
            method: METHOD.to_owned(),
            points: course.points,
            startup_s: None,
            sizing: None,
            usage: None,
            loads: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(second: i64, cpu_millicores: f64) -> Load {
        Load {
            at: Timestamp::from_millis(1_700_000_000_000 + second * 1_000),
            cpu_millicores,
            replicas: 2,
            replica_capacity: Millicores(250),
            throttled: 0.1,
        }
    }

    fn forecasts(values: &[f64]) -> Vec<Forecast> {
        let mut forecaster = Forecaster::default();
        let service = ServiceId::from("web");
        let observe = |(second, value): (usize, &f64)| {
            forecaster.observe(&service, &load(second as i64, *value))
        };
        values.iter().enumerate().map(observe).collect()
    }

    #[test]
    fn observed_is_over_three_seconds_and_the_peak_over_a_minute() {
        let mut values = vec![100.0; 10];
        values.extend([400.0; 3]);
        values.extend([100.0; 50]);
        let all = forecasts(&values);
        assert_eq!(all[10].observed, 200.0);
        assert_eq!(all[12].observed, 400.0);
        assert_eq!(all[62].recent_peak, 400.0);
        assert_eq!(all[62].observed, 100.0);
        let longer: Vec<f64> = values.iter().copied().chain([100.0; 30]).collect();
        assert_eq!(forecasts(&longer)[92].recent_peak, 100.0);
    }

    #[test]
    fn a_gap_and_a_step_back_start_anew() {
        let service = ServiceId::from("web");
        let mut forecaster = Forecaster::default();
        for second in 0..30 {
            forecaster.observe(&service, &load(second, 100.0 + 10.0 * second as f64));
        }
        let after = forecaster.observe(&service, &load(100, 50.0));
        assert_eq!(
            (after.observed, after.recent_peak, after.points[2].expected),
            (50.0, 50.0, 50.0)
        );
        let back = forecaster.observe(&service, &load(10, 70.0));
        assert_eq!((back.observed, back.recent_peak), (70.0, 70.0));
    }

    #[test]
    fn a_level_read_every_quarter_of_a_minute_is_a_ramp_and_no_stair() {
        let at = |second: i64| load(second, 0.0).at;
        let gap = Duration::from_secs(90);
        let mut forecaster = Forecaster::default();
        let mut last = None;
        for reading in 0..20 {
            last = Some(forecaster.follow(at(reading * 15), 100.0 + 30.0 * reading as f64, gap));
        }
        // 2 a second, 670 now. A damped trend adds at most some twenty seconds of that, and its level lags by a few.
        let last = last.unwrap();
        assert_eq!(last.observed, 670.0);
        let ahead = last.points[1].expected;
        assert!((680.0..720.0).contains(&ahead), "{last:?}");
        let same = forecaster.follow(at(19 * 15), 9.0, gap);
        assert_eq!(same, last, "told twice");
        let anew = forecaster.follow(at(19 * 15 + 91), 9.0, gap);
        assert_eq!((anew.observed, anew.points[2].expected), (9.0, 9.0));
    }

    proptest::proptest! {
        #[test]
        fn a_course_stays_within_bounds_at_any_pace(
            readings in proptest::collection::vec((0i64..40, -5.0f64..1e9), 1..100),
        ) {
            let mut forecaster = Forecaster::default();
            let mut second = 0;
            for (pause, level) in readings {
                second += pause;
                let course = forecaster.follow(load(second, 0.0).at, level, Duration::from_secs(90));
                proptest::prop_assert!(course.observed >= 0.0 && course.recent_peak >= course.observed);
                for point in &course.points {
                    proptest::prop_assert!(0.0 <= point.low && point.low <= point.expected);
                    proptest::prop_assert!(point.expected <= point.high && point.high.is_finite());
                }
            }
        }

        #[test]
        fn bounds_are_ordered_and_nothing_is_negative(
            values in proptest::collection::vec(-10.0f64..1e6, 1..200),
        ) {
            for forecast in forecasts(&values) {
                proptest::prop_assert!(forecast.observed >= 0.0);
                proptest::prop_assert!(forecast.recent_peak >= forecast.observed);
                for point in &forecast.points {
                    proptest::prop_assert!(0.0 <= point.low);
                    proptest::prop_assert!(point.low <= point.expected);
                    proptest::prop_assert!(point.expected <= point.high);
                    proptest::prop_assert!(point.high.is_finite());
                }
            }
        }

        #[test]
        fn constant_load_gives_a_constant_forecast(value in 0.0f64..1e6, count in 1usize..120) {
            let last = forecasts(&vec![value; count]).pop().unwrap();
            for point in &last.points {
                proptest::prop_assert!((point.expected - value).abs() <= 1e-6 * value.max(1.0));
                proptest::prop_assert!(point.high - point.low <= 1e-6 * value.max(1.0));
            }
        }

        #[test]
        fn written_and_read_back_it_goes_on_as_before(
            values in proptest::collection::vec(0.0f64..1e4, 2..150), at in 0usize..150,
        ) {
            let service = ServiceId::from("web");
            let mut one = Forecaster::default();
            let mut other = Forecaster::default();
            for (second, value) in values.iter().enumerate() {
                if second == at {
                    other = postcard::from_bytes(&postcard::to_stdvec(&one).unwrap()).unwrap();
                }
                let load = load(second as i64, *value);
                let forecast = one.observe(&service, &load);
                if second >= at {
                    proptest::prop_assert_eq!(forecast, other.observe(&service, &load));
                }
            }
        }
    }
}
