//! Training, scoring, choosing and keeping, together.

use proptest::prelude::*;
use units::{ServiceId, Timestamp};

use crate::testing::{Noise, Service, at, history, names};
use crate::*;

fn trained(rows: usize, seed: u64) -> Trained {
    train(&history(rows, seed), &TrainSettings::default(), 1).unwrap()
}

fn scores(model: &Model, rows: &[Vec<Option<f64>>]) -> Vec<Score> {
    let columns = model.columns(&names());
    let mut recent = Recent::new();
    let score = |row: &Vec<Option<f64>>| model.score(&columns, &mut recent, row).unwrap();
    rows.iter().map(score).collect()
}

fn artefact(seed: u64, previous: Option<String>) -> Artefact {
    let history = history(1_000, 11);
    let settings = TrainSettings::default();
    let trained = train(&history, &settings, seed).unwrap();
    let service = ServiceId::from("shop/web");
    Artefact::new(
        service,
        &history,
        trained,
        (settings, seed),
        previous,
        at(9_999),
    )
}

#[test]
fn scores_of_ordinary_rows_are_as_rare_as_they_say() {
    let model = trained(3_000, 1).model;
    let mut service = Service::new(77);
    let rows: Vec<_> = (0..6_000).map(|_| service.row()).collect();
    let scores = scores(&model, &rows);
    for (least, factor) in [(0.9, 1.5), (0.99, 2.5), (0.999, 5.0)] {
        let beyond = scores.iter().filter(|score| score.score >= least).count() as f64;
        let expected = (1.0 - least) * scores.len() as f64;
        let ratio = beyond / expected;
        assert!(ratio < factor, "{beyond} rows of 6000 have {least} or more");
        if least < 0.999 {
            assert!(
                ratio > 1.0 / factor,
                "{beyond} rows of 6000 have {least} or more"
            );
        }
    }
}

#[test]
fn a_broken_relation_is_seen_with_each_metric_in_range() {
    let model = trained(3_000, 1).model;
    let mut service = Service::new(78);
    let mut rows: Vec<_> = (0..40).map(|_| service.row()).collect();
    // A load and a CPU time that are each seen every few minutes, but not together.
    for row in &mut rows[37..] {
        row[0] = Some(120.0);
        row[1] = Some(0.4);
    }
    let last = scores(&model, &rows).pop().unwrap();
    assert!(last.score >= ALARM_SCORE, "{last:?}");
    let named: Vec<_> = last.metrics.iter().map(|it| it.metric.as_str()).collect();
    assert_eq!(named.len(), 3);
    assert!(
        named[..2].contains(&"requests") && named[..2].contains(&"cpu"),
        "{last:?}"
    );
    let cpu = last.metrics.iter().find(|it| it.metric == "cpu").unwrap();
    assert!((cpu.observed - 0.4).abs() < 0.02, "{last:?}");
    assert!((0.5..0.7).contains(&cpu.expected), "{last:?}");
    let alone = Service::new(79).row();
    let ordinary = scores(&model, &[alone]).pop().unwrap();
    assert!(ordinary.score < ALARM_SCORE, "{ordinary:?}");
}

#[test]
fn figures_on_rows_held_back_tell_of_both_errors() {
    let trained = trained(3_000, 1);
    assert_eq!(trained.held_back.rows, 900);
    assert!(trained.held_back.false_alarm_share < 0.01, "{trained:?}");
    assert!(
        trained.held_back.calibration_error_decades < 0.4,
        "{:?}",
        trained.held_back
    );
    assert!(
        trained.held_back.probes_seen_share > 0.3,
        "{:?}",
        trained.held_back
    );
    assert!(trained.cost.multiply_adds > 0 && trained.left_out.is_empty());
}

#[test]
fn the_same_seed_gives_the_same_model() {
    assert_eq!(artefact(5, None), artefact(5, None));
    assert_ne!(artefact(5, None).digest(), artefact(6, None).digest());
}

#[test]
fn rows_in_any_order_give_the_same_model() {
    let mut rows = Vec::new();
    let mut service = Service::new(3);
    for number in 0..400 {
        rows.push((at(number), service.row()));
    }
    let of = |rows: &[(Timestamp, Vec<Option<f64>>)]| {
        let mut history = History::new(names()).unwrap();
        for (at, row) in rows {
            history.push(*at, 0, row).unwrap();
        }
        train(&history, &TrainSettings::default(), 1).unwrap()
    };
    let forward = of(&rows);
    rows.reverse();
    assert_eq!(forward, of(&rows));
}

#[test]
fn a_worse_model_is_kept_out_and_a_newer_one_as_good_is_taken() {
    let recent = history(3_000, 1);
    let held_back = HeldBack::of(&recent);
    let good = trained(3_000, 1).model;
    let other = train(&recent, &TrainSettings::default(), 2).unwrap().model;
    assert!(matches!(
        compare(&good, &other, &held_back),
        Choice::Take { .. }
    ));
    // What was learned when memory and requests were a third of what they are is of no use now.
    let mut before = History::new(names()).unwrap();
    let mut service = Service::new(4);
    for number in 0..1_000 {
        let mut row = service.row();
        for at in [0, 2] {
            row[at] = row[at].map(|value| value / 3.0);
        }
        before.push(at(number), 0, &row).unwrap();
    }
    let stale = train(&before, &TrainSettings::default(), 1).unwrap().model;
    let kept = compare(&good, &stale, &held_back);
    assert!(
        matches!(
            kept,
            Choice::Keep {
                why: Why::MoreFalseAlarms,
                ..
            }
        ),
        "{kept:?}"
    );
    assert!(matches!(
        compare(&stale, &good, &held_back),
        Choice::Take { .. }
    ));
    // One that learned from noise sees nothing.
    let mut noise = Noise::new(8);
    let mut blurred = History::new(names()).unwrap();
    for number in 0..1_000 {
        let row = [
            Some(100.0 + 80.0 * noise.normal()),
            Some(0.5 + 0.4 * noise.normal()),
            Some(2e8 + 4e7 * noise.normal()),
            Some(5.0 + 4.0 * noise.normal()),
        ];
        blurred.push(at(number), 0, &row).unwrap();
    }
    let blind = train(&blurred, &TrainSettings::default(), 1).unwrap().model;
    let kept = compare(&good, &blind, &held_back);
    assert!(
        matches!(
            kept,
            Choice::Keep {
                why: Why::SeesLess | Why::WorseCalibrated,
                ..
            }
        ),
        "{kept:?}"
    );
    let few = history(100, 1);
    let kept = compare(&good, &other, &HeldBack::of(&few));
    assert!(matches!(
        kept,
        Choice::Take { .. }
            | Choice::Keep {
                why: Why::TooFewRows,
                ..
            }
    ));
}

#[test]
fn an_artefact_comes_back_as_it_was() {
    let first = artefact(1, None);
    let second = artefact(1, Some(first.digest().to_owned()));
    assert_ne!(first.digest(), second.digest());
    let back = Artefact::from_json(second.to_json().as_bytes()).unwrap();
    assert_eq!(back, second);
    assert_eq!(
        back.content().provenance.previous.as_deref(),
        Some(first.digest())
    );
    // A record of the log holds JSON within JSON.
    let value: serde_json::Value = serde_json::from_str(&second.to_json()).unwrap();
    let nested = serde_json::to_vec(&value).unwrap();
    assert_eq!(Artefact::from_json(&nested).unwrap(), second);
}

#[test]
fn a_changed_artefact_is_refused() {
    let json = artefact(1, None).to_json();
    let refused = |json: &str| Artefact::from_json(json.as_bytes()).unwrap_err();
    let changed = json.replacen("\"rows\":2000", "\"rows\":2001", 1);
    assert!(matches!(refused(&changed), ArtefactError::Digest { .. }));
    let newer = json.replacen("\"schema\":1", "\"schema\":2", 1);
    assert!(matches!(
        refused(&newer),
        ArtefactError::Schema { found: 2, known: 1 }
    ));
    assert!(matches!(refused(""), ArtefactError::Malformed(_)));
    let large = " ".repeat(1_000_000);
    assert!(matches!(refused(&large), ArtefactError::TooLarge { .. }));
}

#[test]
fn the_largest_model_fits_a_record() {
    let names: Vec<String> = (0..40)
        .map(|at| format!("a_metric_with_a_long_name_{at}"))
        .collect();
    let mut history = History::new(names).unwrap();
    let mut noise = Noise::new(1);
    for number in 0..2_500 {
        let row: Vec<_> = (0..40).map(|_| Some(1e9 * noise.normal())).collect();
        history.push(at(number), 0, &row).unwrap();
    }
    let settings = TrainSettings::new(2_500, 3, 6, 8).unwrap();
    let trained = train(&history, &settings, 1).unwrap();
    assert_eq!(
        (trained.model.metrics().count(), trained.left_out.len()),
        (32, 8)
    );
    let service = ServiceId::from("s");
    let artefact = Artefact::new(service, &history, trained, (settings, 1), None, at(0));
    let bytes = artefact.to_json().len();
    assert!(bytes < 300_000, "{bytes} bytes");
}

#[test]
fn what_cannot_be_trained_is_said() {
    let settings = TrainSettings::default();
    let few = train(&history(20, 1), &settings, 1).unwrap_err();
    assert_eq!(
        few,
        TrainError::TooFewRows {
            rows: 40,
            least: 200
        }
    );
    let mut constant = History::new(vec!["a".into(), "b".into()]).unwrap();
    for number in 0..300 {
        let seldom = (number % 10 == 0).then_some(f64::from(number));
        constant
            .push(at(number as usize), 0, &[Some(3.0), seldom])
            .unwrap();
    }
    let nothing = train(&constant, &settings, 1).unwrap_err();
    assert_eq!(nothing, TrainError::NoMetric { columns: 2 });
    assert!(matches!(
        constant.push(at(0), 0, &[None]),
        Err(TrainError::RowLength { .. })
    ));
    assert!(matches!(
        History::new(vec!["a".into(), "a".into()]),
        Err(TrainError::SameName(_))
    ));
    assert!(matches!(
        TrainSettings::new(1_000, 10, 7, 4),
        Err(TrainError::Setting {
            name: "windows",
            ..
        })
    ));
}

#[test]
fn a_row_with_little_in_it_is_not_judged() {
    let model = trained(500, 1).model;
    let columns = model.columns(&names());
    let row = [Some(100.0), None, None, None];
    assert_eq!(model.score(&columns, &mut Recent::new(), &row), None);
    let half = [Some(100.0), Some(0.5), None, None];
    assert!(model.score(&columns, &mut Recent::new(), &half).is_some());
    let unknown = model.columns(&["else".to_owned()]);
    assert_eq!(
        model.score(&unknown, &mut Recent::new(), &[Some(1.0)]),
        None
    );
}

#[test]
fn fewer_rows_and_fewer_rounds_cost_less() {
    let settings = TrainSettings::default();
    let small = TrainSettings::new(1_000, 10, 4, 6).unwrap();
    assert!(small.cost(50_000, 30) < settings.cost(50_000, 30));
    assert!(settings.cost(1_000, 30) < settings.cost(50_000, 30));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_numbers_train_or_say_why(
        cells in prop::collection::vec(prop_oneof![
            Just(None), Just(Some(0.0)), Just(Some(1.0)), any::<f64>().prop_map(Some), (-1e3f64..1e3).prop_map(Some),
        ], 660..900),
        seed in any::<u64>(),
    ) {
        let mut history = History::new(vec!["a".into(), "b".into(), "c".into()]).unwrap();
        for (number, row) in cells.chunks_exact(3).enumerate() {
            history.push(at(number / 2), (number % 2) as u32, row).unwrap();
        }
        let settings = TrainSettings::new(200, 5, 2, 3).unwrap();
        if let Ok(trained) = train(&history, &settings, seed) {
            prop_assert_eq!(trained.model.problem(), None);
            let columns = trained.model.columns(history.metrics());
            let mut recent = Recent::new();
            for row in cells.chunks_exact(3) {
                if let Some(score) = trained.model.score(&columns, &mut recent, row) {
                    prop_assert!((0.0..=1.0).contains(&score.score), "{score:?}");
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_no_artefact(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Artefact::from_json(&bytes).is_err());
    }
}

/// A good artefact with one byte changed is that artefact, or refused; it never panics.
#[test]
fn a_changed_byte_is_found() {
    let artefact = artefact(1, None);
    let json = artefact.to_json().into_bytes();
    let mut noise = Noise::new(2);
    for _ in 0..200 {
        let mut changed = json.clone();
        let place = (noise.uniform() * changed.len() as f64) as usize;
        changed[place] = changed[place].wrapping_add(1);
        if let Ok(read) = Artefact::from_json(&changed) {
            assert_eq!(read, artefact);
        }
    }
}
