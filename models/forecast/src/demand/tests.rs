use super::*;

/// Loads with the variance of a Poisson process around their rate.
struct Noise(u64);

impl Noise {
    /// Evenly between 0 and 1.
    fn even(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn load(&mut self, rate: f64) -> f64 {
        let normal = (0..12).map(|_| self.even()).sum::<f64>() - 6.0;
        (rate + rate.sqrt() * normal).round().max(0.0)
    }
}

fn after(loads: impl Iterator<Item = f64>) -> DemandForecaster {
    let mut forecaster = DemandForecaster::new(30);
    for load in loads {
        forecaster.observe(load);
    }
    forecaster
}

#[test]
fn a_constant_load_is_expected_to_stay() {
    let outlook = after((0..2_000).map(|_| 40.0)).outlook();
    for expected in [outlook.steady, outlook.rising] {
        assert!((expected.load - 40.0).abs() < 1e-6, "{expected:?}");
    }
    assert_eq!(outlook.coming, None);
}

#[test]
fn the_spread_is_that_of_single_seconds() {
    let mut noise = Noise(7);
    let mut forecaster = DemandForecaster::new(30);
    let (mut spread, mut count) = (0.0, 0.0);
    for second in 0..6_000 {
        forecaster.observe(noise.load(400.0));
        if second > 1_000 {
            spread += forecaster.outlook().steady.spread;
            count += 1.0;
        }
    }
    let mean = spread / count;
    assert!((18.0..24.0).contains(&mean), "{mean}");
}

#[test]
fn a_level_that_jumps_is_taken_up_within_seconds_and_left_again() {
    let mut noise = Noise(3);
    let calm = (0..2_000).map(|_| 60.0);
    let loads = calm.chain((0..6).map(|_| 240.0));
    let mut forecaster = after(loads.map(|rate| noise.load(rate)));
    let expected = forecaster.outlook().steady.load;
    assert!((200.0..280.0).contains(&expected), "{expected}");
    for _ in 0..1_500 {
        forecaster.observe(noise.load(240.0));
    }
    for _ in 0..12 {
        forecaster.observe(noise.load(60.0));
    }
    let expected = forecaster.outlook().steady.load;
    assert!((45.0..80.0).contains(&expected), "{expected}");
}

#[test]
fn a_rise_goes_on_in_one_view_only() {
    let outlook = after((0..1_200).map(|second| 100.0 + f64::from(second))).outlook();
    assert!(
        outlook.rising.load > outlook.steady.load + 5.0,
        "{outlook:?}"
    );
}

/// Bursts of three minutes, two minutes into each half-hour for which `comes` is true.
fn half_hours(count: u64, comes: impl Fn(u64) -> bool) -> impl Iterator<Item = f64> {
    let mut noise = Noise(11);
    (0..count * 1_800).map(move |second| {
        let burst = comes(second / 1_800) && (120..300).contains(&(second % 1_800));
        noise.load(if burst { 200.0 } else { 50.0 })
    })
}

#[test]
fn bursts_of_a_period_are_expected_before_they_come_and_not_at_other_times() {
    let mut forecaster = after(half_hours(16, |_| true));
    let mut expected_at = Vec::new();
    for second in 0..1_800 {
        if let Some(coming) = forecaster.outlook().coming {
            assert!(coming.chance > 0.8, "{coming:?}");
            assert!((180.0..230.0).contains(&coming.level), "{coming:?}");
            expected_at.push(second);
        }
        forecaster.observe(50.0);
    }
    let (first, last) = (expected_at[0], expected_at[expected_at.len() - 1]);
    assert!((80..=92).contains(&first), "{first}");
    assert!((120..=160).contains(&last), "{last}");
}

#[test]
fn a_chance_is_that_of_so_many_periods_after_the_last_burst() {
    // Every third half-hour has one; the last of these 48 had none, nor had the one before.
    let forecaster = after(half_hours(48, |period| period % 3 == 0));
    let chance = |mut forecaster: DemandForecaster| {
        for _ in 0..100 {
            forecaster.observe(50.0);
        }
        forecaster
            .outlook()
            .coming
            .map_or(0.0, |coming| coming.chance)
    };
    assert!(chance(forecaster) > 0.7);
    let forecaster = after(half_hours(47, |period| period % 3 == 0));
    assert!(chance(forecaster) < 0.2);
}

#[test]
fn bursts_at_any_time_are_not_expected() {
    let mut noise = Noise(5);
    let mut at = 0;
    let mut begins = Vec::new();
    while at < 20 * 3_600 {
        at += 1_500 + (noise.even() * 3_000.0) as u64;
        begins.push(at);
    }
    let within = |second: u64| begins.iter().any(|at| (*at..at + 180).contains(&second));
    let loads = (0..20 * 3_600).map(|second| if within(second) { 200.0 } else { 50.0 });
    let mut noise = Noise(6);
    let mut forecaster = after(loads.map(|rate| noise.load(rate)));
    for _ in 0..3_600 {
        forecaster.observe(noise.load(50.0));
        assert_eq!(forecaster.outlook().coming, None);
    }
}

proptest::proptest! {
    #[test]
    fn whatever_comes_the_outlook_is_of_numbers(
        loads in proptest::collection::vec(-10.0f64..1e9, 1..800), startup_s in 0u32..400,
    ) {
        let mut forecaster = DemandForecaster::new(startup_s);
        for load in loads {
            forecaster.observe(load);
            let outlook = forecaster.outlook();
            for expected in [outlook.steady, outlook.rising] {
                proptest::prop_assert!(expected.load >= 0.0 && expected.load.is_finite());
                proptest::prop_assert!(expected.spread > 0.0 && expected.spread.is_finite());
            }
        }
    }
}
