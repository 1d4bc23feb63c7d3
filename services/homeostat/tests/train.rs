//! `homeostat train` and `homeostat models` as people and programs call them, over files and over a local log.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use bus::{Bus, LocalConfig};
use serde_json::Value;
use units::{
    ContainerId, ContainerState, HealthState, Metric, MetricRow, Sample, Steady, Timestamp,
};
use wire::{Meta, topic};

const STEPS: u64 = 260;

fn homeostat(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&told(output)).unwrap()
}

/// A number from 0 to 1 that looks like chance.
fn chance(step: u64, of: u64) -> f64 {
    let mut mixed = (step * 31 + of).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 29;
    mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

fn series(root: &Path, name: &str, rows: u64) {
    let mut lines = String::from("timestamp,requests,cpu,fixed\n");
    for step in 0..rows {
        let load = chance(step, 1);
        let cpu = load / 2.0 + chance(step, 2) / 50.0;
        lines.push_str(&format!("{},{load:.5},{cpu:.5},7\n", step * 10));
    }
    let folder = root.join("series");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), lines).unwrap();
}

#[test]
fn a_folder_of_series_becomes_a_model_with_its_figures() {
    let root = tempfile::tempdir().unwrap();
    let input = root.path().join("shop");
    series(&input, "a.csv", 300);
    series(&input, "b.csv", 200);
    let file = root.path().join("model.json");
    let arguments = [
        "train",
        "--input",
        input.to_str().unwrap(),
        "--output",
        file.to_str().unwrap(),
    ];
    let shown = told(&homeostat(&arguments));
    assert!(
        shown.starts_with("shop: 2 metrics, learned from 425 of 500 rows of 2 containers"),
        "{shown}"
    );
    assert!(
        shown.contains("left out: fixed") && shown.contains("PROBES SEEN"),
        "{shown}"
    );
    let artefact = train::Artefact::from_json(&fs::read(&file).unwrap()).unwrap();
    assert!(shown.contains(&artefact.digest()[..12]), "{shown}");
    let report = json(&homeostat(
        &[&arguments[..], &["--json", "--service", "web"]].concat(),
    ));
    assert_eq!(report["service"], "web");
    assert_eq!(report["outcome"], "trained");
    assert_eq!(report["provenance"]["held_back"]["rows"], 75);
}

#[test]
fn a_backtest_scores_each_row_by_a_model_of_those_before() {
    let root = tempfile::tempdir().unwrap();
    series(root.path(), "a.csv", 700);
    let input = root.path().to_str().unwrap();
    let scores = root.path().join("scores");
    let backtest = |every: &str| {
        let output = scores.to_str().unwrap();
        told(&homeostat(&[
            "train",
            "--input",
            input,
            "--backtest",
            output,
            "--every",
            every,
        ]))
    };
    let shown = backtest("300");
    assert!(
        shown.starts_with("1 series scored, 700 rows; of the models"),
        "{shown}"
    );
    let all = fs::read_to_string(scores.join("a.csv")).unwrap();
    assert_eq!(all.lines().count(), 701);
    assert!(
        all.lines()
            .skip(1)
            .take(300)
            .all(|line| line.ends_with(",0.000000")),
        "no model yet"
    );
    // What comes later changes nothing that was said before.
    series(root.path(), "a.csv", 500);
    backtest("300");
    let early = fs::read_to_string(scores.join("a.csv")).unwrap();
    assert!(all.starts_with(&early));
}

#[test]
fn what_cannot_be_trained_is_told() {
    let root = tempfile::tempdir().unwrap();
    series(root.path(), "a.csv", 30);
    let input = root.path().to_str().unwrap();
    let few = homeostat(&["train", "--input", input]);
    assert_eq!(few.status.code(), Some(1));
    assert!(
        text(&few.stderr).contains("30 rows are too few"),
        "{}",
        text(&few.stderr)
    );
    fs::write(root.path().join("series/b.csv"), "timestamp,a\n0,x\n").unwrap();
    let wrong = homeostat(&["train", "--input", input]);
    assert!(
        text(&wrong.stderr).contains("line 2"),
        "{}",
        text(&wrong.stderr)
    );
    let none = homeostat(&["train"]);
    assert_eq!(none.status.code(), Some(2));
    let bounds = homeostat(&["train", "--input", input, "--rows-max", "3"]);
    assert_eq!(bounds.status.code(), Some(2), "{}", text(&bounds.stderr));
    let memory = homeostat(&["models", "--set", "bus.backend=memory"]);
    assert_eq!(memory.status.code(), Some(2), "{}", text(&memory.stderr));
}

/// Two containers, a sample every ten seconds.
fn samples(step: u64) -> Vec<Sample> {
    let of = |container: u64| {
        let mut metrics = MetricRow::default();
        let load = chance(step, container);
        metrics.set(Metric::Pids, 5.0 + 10.0 * load);
        metrics.set(
            Metric::MemoryRss,
            1e8 + 5e7 * load + 1e6 * chance(step, container + 9),
        );
        metrics.set(
            Metric::TcpEstablished,
            3.0 + 4.0 * chance(step, container + 20),
        );
        Sample {
            at: Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(10 * step),
            steady: Steady::from_millis(10_000 * step),
            node: "node-a".into(),
            service: "shop/web".into(),
            container: ContainerId::new(format!("c{container}")),
            name: "shop-web".into(),
            state: ContainerState::Running,
            health: HealthState::None,
            metrics,
        }
    };
    vec![of(1), of(2)]
}

/// Runs something with the local log in `dir`, then closes it, so that another process may open it.
fn in_log(dir: &Path, work: impl AsyncFnOnce(&Bus)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = LocalConfig {
            dir: dir.to_owned(),
            ..LocalConfig::default()
        };
        let log = Bus::local(&config).unwrap();
        log.ensure_topics(&topic::all(1)).await.unwrap();
        work(&log).await;
        log.close().await;
    });
}

#[test]
fn a_service_in_the_log_gets_a_model_that_is_listed_and_shown() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let set = format!("bus.local.dir={}", dir.display());
    let call = |arguments: &[&str]| homeostat(&[arguments, &["--set", &set]].concat());
    in_log(&dir, async |log: &Bus| {
        for first in (0..STEPS).step_by(20) {
            let rows: Vec<Sample> = (first..first + 20).flat_map(samples).collect();
            let record = wire::encode_samples(&rows, 0, &Meta::new("test/1@node-a")).unwrap();
            log.produce(record).await.unwrap();
        }
    });
    assert!(told(&call(&["models"])).contains("no service has a model"));
    let unknown = call(&["train", "--service", "shop/other"]);
    assert!(
        text(&unknown.stderr).contains("holds nothing of a service shop/other"),
        "{unknown:?}"
    );
    let absent = call(&["models", "show", "shop/web"]);
    assert_eq!(absent.status.code(), Some(3));

    let first = json(&call(&["train", "--service", "shop/web", "--json"]));
    assert_eq!(first["outcome"]["published"]["note"], "there was none");
    assert_eq!(first["metrics"].as_array().unwrap().len(), 3);
    let again = told(&call(&["train", "--service", "shop/web", "--seed", "2"]));
    assert!(
        again.contains("published as version") || again.contains("stays: of the new one"),
        "{again}"
    );
    assert!(again.contains("present model"), "{again}");

    let listed = json(&call(&["models", "list", "--output", "json"]));
    assert_eq!(listed[0]["service"], "shop/web");
    assert_eq!(listed[0]["rows"], 2 * (STEPS - 1));
    let shown = told(&call(&["models", "show", "shop/web"]));
    assert!(
        shown.contains("memory_rss_bytes") && shown.contains("windows"),
        "{shown}"
    );
    let whole = told(&call(&["models", "show", "shop/web", "-o", "json"]));
    let artefact = train::Artefact::from_json(whole.as_bytes()).unwrap();
    assert_eq!(listed[0]["digest"], artefact.digest());
    let table = told(&call(&["models"]));
    assert!(table.contains(&artefact.digest()[..12]), "{table}");

    in_log(&dir, async |_: &Bus| {
        let held = call(&["models"]);
        assert_eq!(held.status.code(), Some(1));
        let told = text(&held.stderr);
        assert!(told.contains("stop `homeostat up`, or use Kafka"), "{told}");
    });
}
