use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use super::*;

fn setup(policy: Policy) -> Setup {
    Setup {
        policy,
        startup_s: 30,
        slo: Ratio::saturating(0.01),
        target: TARGET,
        score_from: ScoreFrom::SecondDay,
    }
}

/// Days of a load that rises and falls, with a burst each hour.
fn made(seconds: usize) -> Arrivals {
    let mut state = 9_u64;
    let load = |second: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let noise = (state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
        let day = (second as f64 / DAY_S as f64 * std::f64::consts::TAU).sin();
        let rate = 60.0 * (1.0 + 0.4 * day);
        let burst = if second % 3_600 < 240 { 2.5 } else { 1.0 };
        (rate * burst + 3.0 * rate.sqrt() * noise).round().max(0.0)
    };
    Arrivals::new((0..seconds).map(load).collect()).unwrap()
}

#[test]
fn a_load_that_is_none_is_refused() {
    let told = |load: Vec<f64>| Arrivals::new(load).unwrap_err();
    assert_eq!(told(vec![1.0; DAY_S]), ScaleError::Short(DAY_S));
    assert_eq!(told(vec![0.0; 2 * DAY_S]), ScaleError::Idle);
    let mut load = vec![1.0; 2 * DAY_S];
    load[7] = -1.0;
    let wrong = ScaleError::Requests {
        second: 7,
        requests: -1.0,
    };
    assert_eq!(told(load), wrong);
    let all = Arrivals::new(vec![1.0; 2 * DAY_S]).unwrap();
    let share = ScoreFrom::Share(Ratio::saturating(1.0));
    assert!(all.first_counted(share).is_err());
}

#[test]
fn the_clairvoyant_bridges_short_gaps_and_stops_for_long_ones() {
    let mut load = vec![30.0; 2 * DAY_S];
    // A replica serves one; forty are needed in three seconds, twenty and a hundred apart.
    for second in [DAY_S + 500, DAY_S + 520, DAY_S + 620] {
        load[second] = 40.0;
    }
    let arrivals = Arrivals::new(load).unwrap();
    assert!((arrivals.replica_capacity() - 1.0).abs() < 0.02);
    let constant = 30 * DAY_S as u64 + 28 * 30;
    let more = 10 * (31 + 20 + 31);
    assert_eq!(
        clairvoyant::replica_seconds(&arrivals, 30, DAY_S),
        constant + more
    );
}

#[test]
fn the_promise_is_kept_on_a_load_with_bursts_at_no_more_than_a_rival_costs() {
    let arrivals = made(3 * DAY_S);
    let own = run(&arrivals, &setup(Policy::Homeostat)).unwrap();
    let hpa = run(&arrivals, &setup(Policy::Hpa)).unwrap();
    assert!(own.violation_ratio <= 0.01, "{own:?}");
    assert!(hpa.violation_ratio > 0.01, "{hpa:?}");
    assert!(own.cost_ratio < 1.4, "{own:?}");
    assert_eq!(own, run(&arrivals, &setup(Policy::Homeostat)).unwrap());
}

proptest! {
    #[test]
    fn replicas_ordered_are_ready_after_the_start_up_and_paid_for_before(
        wanted in prop::collection::vec(2u32..60, 1..60), startup_s in 1u32..50,
    ) {
        let mut fleet = Fleet::new(startup_s, 1.0).unwrap();
        for wanted in wanted {
            fleet.serve(5.0);
            fleet.set(wanted);
            prop_assert_eq!(fleet.replicas(), wanted);
            prop_assert!(fleet.ready() >= 1);
        }
        for _ in 0..startup_s {
            fleet.serve(5.0);
        }
        prop_assert_eq!(fleet.starting(), 0);
    }
}

/// `HOMEOSTAT_SHARED`, else the folder beside the repository's.
fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("HOMEOSTAT_SHARED").map_or_else(beside, PathBuf::from)
}

fn read(path: &Path) -> Option<Arrivals> {
    let file = std::fs::File::open(path).ok()?;
    let mut text = String::new();
    MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let value = |line: &str| line.split(',').nth(1).unwrap().parse().unwrap();
    Some(Arrivals::new(text.lines().skip(1).map(value).collect()).unwrap())
}

/// What the reference printed: violation seconds a day, cost and actions a day, by trace, policy and target.
fn printed(text: &str) -> BTreeMap<(String, String, String), [f64; 3]> {
    let mut target = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("== ") {
            let told = heading.strip_prefix("target ");
            target = told.map_or_else(String::new, |told| told[..3].to_owned());
        }
        let cells: Vec<&str> = line.split_whitespace().collect();
        let numbers = || [2, 5, 6].map(|cell: usize| cells[cell].parse().unwrap());
        if cells.len() == 9 && cells[2].parse::<f64>().is_ok() && !target.is_empty() {
            let key = (cells[0].to_owned(), cells[1].to_owned(), target.clone());
            found.insert(key, numbers());
        }
    }
    found
}

/// Twitter is recorded by the second. What the reference drew for wc98 it writes with `--arrivals DIR`: HOMEOSTAT_ARRIVALS.
#[test]
fn rivals_do_what_the_reference_printed() {
    let shared = shared();
    let table = shared.join("bench/control/expected/scale.txt");
    let Ok(text) = std::fs::read_to_string(&table) else {
        let table = table.display();
        println!("skipped: there is no {table}; set HOMEOSTAT_SHARED to the shared folder");
        return;
    };
    let printed = printed(&text);
    assert_eq!(printed.len(), 2 * 3 * 8);
    let drawn = std::env::var_os("HOMEOSTAT_ARRIVALS").map(PathBuf::from);
    let wc98 = drawn.map(|folder| folder.join("wc98_1s.csv.gz"));
    let twitter = shared.join("data/scale/twitter_d01_11.csv.gz");
    for (trace, path) in [("twitter_d01_11", Some(twitter)), ("wc98", wc98)] {
        let Some(arrivals) = path.and_then(|path| read(&path)) else {
            println!("skipped: {trace}, its seconds are not there; set HOMEOSTAT_ARRIVALS");
            continue;
        };
        for (name, policy) in [
            ("hpa-cpu", Policy::Hpa),
            ("keda-rps", Policy::Keda),
            ("nomad-target", Policy::Nomad),
        ] {
            for target in [0.5, 0.7, 0.8] {
                let key = (trace.to_owned(), name.to_owned(), format!("{target:.1}"));
                let expected = printed[&key];
                let figures = run(
                    &arrivals,
                    &Setup {
                        target,
                        ..setup(policy)
                    },
                )
                .unwrap();
                let got = [
                    figures.violation_seconds_per_day,
                    figures.cost_ratio,
                    figures.actions_per_day,
                ];
                for (got, expected) in got.into_iter().zip(expected) {
                    let off = (got - expected).abs();
                    assert!(
                        off <= 0.01 * expected + 0.001,
                        "{key:?}: {got} for {expected}"
                    );
                }
            }
        }
    }
}
