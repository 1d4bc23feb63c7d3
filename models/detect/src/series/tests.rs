use proptest::prelude::*;
use units::Timestamp;

use super::*;

fn at(row: usize) -> Timestamp {
    Timestamp::from_millis(row as i64 * 60_000)
}

fn run(rows: &[Vec<Option<f64>>]) -> Vec<Verdict> {
    let mut detector = SeriesDetector::new(SeriesSettings::default());
    rows.iter()
        .enumerate()
        .map(|(row, values)| detector.observe(at(row), values))
        .collect()
}

/// Noise that is the same in every run, between -1 and 1.
fn noise(row: usize, metric: usize) -> f64 {
    let mut x = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (metric as u64 + 7) << 17;
    x ^= x >> 31;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    x as f64 / u64::MAX as f64 * 2.0 - 1.0
}

fn noisy(rows: usize, metrics: usize) -> Vec<Vec<Option<f64>>> {
    (0..rows)
        .map(|row| {
            (0..metrics)
                .map(|metric| Some(50.0 + 5.0 * noise(row, metric)))
                .collect()
        })
        .collect()
}

fn alerts(verdicts: &[Verdict]) -> Vec<usize> {
    let told = |(row, verdict): (usize, &Verdict)| verdict.is_alert().then_some(row);
    verdicts.iter().enumerate().filter_map(told).collect()
}

#[test]
fn a_constant_series_is_no_news() {
    let verdicts = run(&vec![vec![Some(7.0), Some(0.0)]; 2_000]);
    assert_eq!(alerts(&verdicts), []);
    assert!(verdicts.iter().all(|one| one.score < 0.5));
}

#[test]
fn noise_is_seldom_news() {
    let told = alerts(&run(&noisy(5_000, 5)));
    assert!(told.len() <= 6, "alerts at {told:?}");
}

#[test]
fn a_jump_after_constancy_is_told_at_once_and_names_its_metric() {
    let mut rows = vec![vec![Some(7.0), Some(3.0)]; 300];
    rows.extend(vec![vec![Some(7.0), Some(90.0)]; 100]);
    let verdicts = run(&rows);
    let told = alerts(&verdicts);
    assert_eq!(told.first(), Some(&300), "alerts at {told:?}");
    let blamed = verdicts[300].blame[0].unwrap();
    assert_eq!((blamed.metric, blamed.value), (1, 90.0));
    assert!((blamed.expected - 3.0).abs() < 30.0, "{blamed:?}");
    assert!(verdicts[300].score > 0.9);
}

#[test]
fn a_fault_in_noise_is_told_once() {
    let mut rows = noisy(1_000, 4);
    for row in &mut rows[800..830] {
        row[0] = row[0].map(|value| value * 10.0);
        row[1] = row[1].map(|value| value * 5.0);
    }
    let told: Vec<usize> = alerts(&run(&rows))
        .into_iter()
        .filter(|&row| row >= 790)
        .collect();
    assert!(
        told.first().is_some_and(|row| (800..804).contains(row)),
        "{told:?}"
    );
    assert!(told.len() < 12, "{told:?}");
}

#[test]
fn missing_values_are_no_evidence() {
    let mut rows = noisy(600, 3);
    for row in &mut rows[300..] {
        row[1] = None;
        row[2] = Some(f64::NAN);
    }
    let verdicts = run(&rows);
    assert!(verdicts[300..].iter().all(|one| one.score.is_finite()));
    assert!(verdicts[599].blame[0].is_some_and(|one| one.metric == 0));
    assert_eq!(verdicts[599].blame[1], None);
    let nothing = run(&vec![vec![None; 3]; 200]);
    assert!(
        nothing
            .iter()
            .all(|one| one.score == 0.0 && !one.is_alert())
    );
    assert!(run(&vec![vec![]; 100]).iter().all(|one| !one.is_alert()));
}

#[test]
fn a_daily_habit_is_learned() {
    let wave = |row: usize| {
        let day = row as f64 / 288.0 * std::f64::consts::TAU;
        vec![Some(100.0 + 80.0 * day.sin().powi(3) + noise(row, 0))]
    };
    let mut detector = SeriesDetector::new(SeriesSettings::default());
    let mut last = None;
    for row in 0..288 * 10 {
        let now = Timestamp::from_millis(row as i64 * 300_000);
        last = Some(detector.observe(now, &wave(row)));
    }
    let blamed = last.and_then(|one| one.blame[0]).unwrap();
    assert!((blamed.expected - blamed.value).abs() < 12.0, "{blamed:?}");
}

#[test]
fn a_restored_detector_goes_on_exactly_as_before() {
    let rows = noisy(400, 3);
    let mut detector = SeriesDetector::new(SeriesSettings::default());
    for (row, values) in rows[..200].iter().enumerate() {
        detector.observe(at(row), values);
    }
    let stored = postcard::to_stdvec(&detector).unwrap();
    let mut restored: SeriesDetector = postcard::from_bytes(&stored).unwrap();
    for (row, values) in rows.iter().enumerate().skip(200) {
        let (one, other) = (
            detector.observe(at(row), values),
            restored.observe(at(row), values),
        );
        assert_eq!(one, other);
    }
}

#[test]
fn state_is_of_fixed_size() {
    let size = |rows: usize| {
        let mut detector = SeriesDetector::new(SeriesSettings::default());
        for (row, values) in noisy(rows, 1).iter().enumerate() {
            detector.observe(at(row), values);
        }
        detector.metric_bytes()
    };
    assert_eq!(size(10), size(3_000));
    assert!(size(10) <= 4_096, "{} bytes", size(10));
}

#[test]
fn time_that_stands_still_or_goes_back_is_survived() {
    let mut detector = SeriesDetector::new(SeriesSettings::default());
    for ms in [0, 0, -5_000, i64::MAX, i64::MIN, 60_000] {
        let verdict = detector.observe(Timestamp::from_millis(ms), &[Some(1.0)]);
        assert!((0.0..=1.0).contains(&verdict.score));
    }
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        6 => (-100.0..100.0_f64).prop_map(Some),
        1 => Just(None),
        1 => any::<f64>().prop_map(Some),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Vec<Option<f64>>>> {
    prop::collection::vec(prop::collection::vec(value(), 3), 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scores_are_bounded(rows in rows()) {
        for verdict in run(&rows) {
            prop_assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
        }
    }

    #[test]
    fn a_verdict_needs_only_what_came_before(rows in rows(), cut in 0.0..1.0_f64) {
        let cut = (rows.len() as f64 * cut) as usize;
        let whole = run(&rows);
        prop_assert_eq!(&whole[..cut], &run(&rows[..cut])[..]);
    }

    #[test]
    fn units_do_not_matter(seed in 0_usize..1_000, power in -8_i32..12) {
        let scale = 2_f64.powi(power);
        let plain: Vec<_> = noisy(seed + 300, 2).split_off(seed);
        let scaled: Vec<_> = plain
            .iter()
            .map(|row| row.iter().map(|value| value.map(|one| one * scale)).collect())
            .collect();
        for (one, other) in run(&plain).iter().zip(run(&scaled)) {
            prop_assert!((one.score - other.score).abs() < 1e-3);
            prop_assert_eq!(one.alert, other.alert);
        }
    }
}
