//! `homeostat evaluate` as people and programs call it, and its figures against those of the scorer that comes with the sets.
//!
//! The comparison needs the folder of the sets (`HOMEOSTAT_SHARED`, else `../shared` beside the checkout) and a Python with NumPy
//! (`HOMEOSTAT_PYTHON`, else `python3`, else the distribution's). Where one of them is absent it says so on standard error and compares nothing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// Most that a figure may differ from the scorer's.
const TOLERANCE: f64 = 1e-6;

fn homeostat(arguments: &[&str]) -> Output {
    let binary = env!("CARGO_BIN_EXE_homeostat");
    Command::new(binary)
        .arg("evaluate")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.extension().is_some_and(|it| it == "gz") {
        let mut packed = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap();
    } else {
        fs::write(path, text).unwrap();
    }
}

/// A set of two series of 100 minutes, the second in a folder, with an event from minute 50 to 59 in the first.
fn small_set(dir: &Path, set: &str) -> (PathBuf, PathBuf) {
    let (data, scores) = (dir.join(set), dir.join("scores"));
    let lines = |line: &dyn Fn(usize) -> String| (0..100).map(line).collect::<String>();
    for name in ["a", "web/b"] {
        let series = lines(&|at| format!("{},1\n", at * 60));
        write(
            &data.join(format!("series/{name}.csv.gz")),
            &format!("timestamp,value\n{series}"),
        );
        let rows = lines(&|at| {
            let inside = name == "a" && (52..60).contains(&at);
            format!("{},{}\n", at * 60, u8::from(inside))
        });
        write(
            &scores.join(format!("{name}.csv")),
            &format!("timestamp,score\n{rows}"),
        );
    }
    let labels = json!({
        "a": {"start": 0, "events": [[3000, 3540]], "ignore": []},
        "web/b": {"start": 600, "events": []},
    });
    write(&data.join("labels.json"), &labels.to_string());
    (data, scores)
}

/// Standard error of an evaluation that must fail with this status.
fn complaint(data: &Path, scores: &Path, status: i32) -> String {
    let ran = homeostat(&[
        "--data",
        data.to_str().unwrap(),
        "--scores",
        scores.to_str().unwrap(),
    ]);
    let text = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(status), "{text}");
    text
}

#[test]
fn a_table_for_people_and_json_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    let (data, scores) = small_set(dir.path(), "asd");
    let file = dir.path().join("figures.json");
    let given = [
        "--data",
        data.to_str().unwrap(),
        "--scores",
        scores.to_str().unwrap(),
    ];
    let with = |more: &[&str]| homeostat(&[&given[..], more].concat());

    let table = text(&with(&["--threshold", "0.5"]).stdout);
    assert!(
        table.starts_with("set asd (labels.json): 2 series, 1 with events, 190 evaluated points\n"),
        "{table}"
    );
    for part in [
        "event F1",
        "own alarms: score >= 0.5",
        "1 of 1 events",
        "120 s",
        "never a claim",
    ] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let silent = text(&with(&[]).stdout);
    assert!(
        silent.contains("none") && silent.contains("--threshold"),
        "{silent}"
    );

    let figures: Value =
        serde_json::from_slice(&with(&["--threshold", "0.5", "--json"]).stdout).unwrap();
    assert_eq!(figures["own"]["median_delay_s"], json!(120.0));
    assert_eq!(figures["pooled"]["f1"], json!(1.0));
    let ran = with(&["--threshold", "0.5", "--json", file.to_str().unwrap()]);
    assert_eq!(text(&ran.stdout), table);
    let written: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(written, figures);
    assert!(ran.stderr.is_empty());
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (unknown, scores) = small_set(dir.path(), "other");
    let text = complaint(&unknown, &scores, 2);
    assert!(
        text.contains("\"other\"") && text.contains("mscloud"),
        "{text}"
    );

    let (data, scores) = small_set(dir.path(), "smd");
    fs::remove_file(scores.join("web/b.csv")).unwrap();
    let text = complaint(&data, &scores, 1);
    assert!(
        text.contains("1 of 2 series") && text.contains("web/b"),
        "{text}"
    );
    write(
        &scores.join("web/b.csv.gz"),
        "timestamp,score\n60,0.1\n61,0.2\n",
    );
    let text = complaint(&data, &scores, 1);
    assert!(
        text.contains("b.csv.gz") && text.contains("first 61"),
        "{text}"
    );
    write(
        &scores.join("web/b.csv.gz"),
        "timestamp,score\n60,0.1\n60,0.2\n",
    );
    let text = complaint(&data, &scores, 1);
    assert!(
        text.contains("60 of the scores stands there twice"),
        "{text}"
    );
    write(&scores.join("web/b.csv.gz"), "time,score\n60,0.1\n");
    let text = complaint(&data, &scores, 1);
    assert!(
        text.contains("b.csv.gz:1") && text.contains("timestamp,score,alert"),
        "{text}"
    );
    fs::remove_file(data.join("labels.json")).unwrap();
    let text = complaint(&data, &scores, 1);
    assert!(
        text.contains("labels.json") && text.contains("--labels"),
        "{text}"
    );
}

#[test]
fn points_without_a_score_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let (data, scores) = small_set(dir.path(), "smd");
    write(
        &scores.join("web/b.csv"),
        "timestamp,score\n60,0.1\n660,\n720,inf\n780,0.3\n",
    );
    let ran = homeostat(&[
        "--data",
        data.to_str().unwrap(),
        "--scores",
        scores.to_str().unwrap(),
    ]);
    let text = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{text}");
    assert!(text.contains("warning: 89 points"), "{text}");
}

/// How a detector writes, in the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A score for each point, all different, no alerts.
    Smooth,
    /// Scores in steps of a twentieth, with empty cells, `nan`, and rows left out; no alerts.
    TiesAndHoles,
    /// Scores and alerts, which are not a threshold on them.
    Alerts,
    /// As above, the alerts in every second file only.
    SomeAlerts,
    /// 0 nearly everywhere.
    Sparse,
}

/// A set, its labels, how the scores look and which threshold is given.
const CASES: [(&str, &str, Style, Option<&str>); 10] = [
    ("nezha", "labels.json", Style::Alerts, None),
    ("nezha", "labels_all.json", Style::SomeAlerts, Some("0.8")),
    ("smd", "labels.json", Style::TiesAndHoles, Some("0.75")),
    ("asd", "labels.json", Style::Sparse, None),
    ("asd", "labels.json", Style::Smooth, Some("0.0")),
    ("mscloud", "labels.json", Style::SomeAlerts, Some("0.801")),
    ("mscloud", "labels.json", Style::TiesAndHoles, None),
    ("nab", "labels.json", Style::Alerts, Some("0.5")),
    ("nab", "labels.json", Style::TiesAndHoles, Some("0.8")),
    ("jumpstarter", "labels.json", Style::Smooth, Some("0.85")),
];

#[test]
fn figures_are_those_of_the_scorer() {
    let Some((shared, python)) = scorer() else {
        return;
    };
    let mut largest: BTreeMap<&str, f64> = BTreeMap::new();
    for (number, (set, labels, style, threshold)) in CASES.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let data = shared.join("data/detect").join(set);
        write_scores(&data, labels, style, number as u64, dir.path());
        let arguments = [
            &[
                "--data",
                data.to_str().unwrap(),
                "--scores",
                dir.path().to_str().unwrap(),
                "--labels",
                labels,
            ][..],
            &threshold.map_or(vec![], |threshold| vec!["--threshold", threshold]),
        ]
        .concat();
        let theirs = dir.path().join("theirs.json");
        let ran = Command::new(&python)
            .arg(shared.join("score/score.py"))
            .args(&arguments)
            .arg("--json")
            .arg(&theirs)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{set}: {}", text(&ran.stderr));
        let theirs: Value = serde_json::from_slice(&fs::read(theirs).unwrap()).unwrap();
        let ran_ours = homeostat(&[&arguments[..], &["--json"]].concat());
        assert!(
            ran_ours.status.success(),
            "{set}: {}",
            text(&ran_ours.stderr)
        );
        assert_eq!(holes(&ran_ours), holes(&ran), "{set}");
        let ours: Value = serde_json::from_slice(&ran_ours.stdout).unwrap();
        let at = format!("{set} {labels} {style:?}");
        let difference = compared(&at, &ours, &theirs);
        largest
            .entry(set)
            .and_modify(|it| *it = it.max(difference))
            .or_insert(difference);
    }
    tell(&format!(
        "largest difference to the scorer by set: {largest:?}"
    ));
}

/// Writes past the test harness, which would keep what a test that passes says.
fn tell(text: &str) {
    let mut out = std::io::stderr();
    writeln!(out, "{text}").unwrap();
}

/// The number of points without a score that a program warned of.
fn holes(ran: &Output) -> Option<u64> {
    let text = text(&ran.stderr);
    let (_, rest) = text.split_once("warning: ")?;
    rest.split(' ').next()?.parse().ok()
}

/// The shared folder and a Python that can run its scorer, or a word on what is not there.
fn scorer() -> Option<(PathBuf, PathBuf)> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("HOMEOSTAT_SHARED").map_or_else(beside, PathBuf::from);
    let pythons = match std::env::var_os("HOMEOSTAT_PYTHON") {
        Some(named) => vec![PathBuf::from(named)],
        None => vec!["python3".into(), "/usr/bin/python3".into()],
    };
    let skipped = |why: String| {
        tell(&format!("skipped: figures_are_those_of_the_scorer: {why}"));
        None
    };
    if !shared.join("score/score.py").exists() || !shared.join("data/detect").exists() {
        return skipped(format!(
            "{} holds no score/score.py and data/detect; name the folder with HOMEOSTAT_SHARED",
            shared.display()
        ));
    }
    let has_numpy = |python: &&PathBuf| {
        let ran = Command::new(python).args(["-c", "import numpy"]).output();
        ran.is_ok_and(|ran| ran.status.success())
    };
    let Some(python) = pythons.iter().find(has_numpy) else {
        return skipped(format!(
            "none of {pythons:?} can import numpy; name a Python that can with HOMEOSTAT_PYTHON"
        ));
    };
    Some((shared, python.clone()))
}

/// Fails where keys, texts or numbers differ; answers with the largest difference of two numbers.
fn compared(at: &str, ours: &Value, theirs: &Value) -> f64 {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let keys = |object: &serde_json::Map<String, Value>| {
                let mut keys: Vec<_> = object.keys().cloned().collect();
                keys.sort();
                keys
            };
            assert_eq!(keys(ours), keys(theirs), "{at}");
            let each = ours
                .iter()
                .map(|(key, value)| compared(&format!("{at}/{key}"), value, &theirs[key]));
            each.fold(0.0, f64::max)
        }
        (Value::Number(ours), Value::Number(theirs)) => {
            let (ours, theirs) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
            assert!(
                (ours - theirs).abs() <= TOLERANCE,
                "{at}: {ours}, the scorer says {theirs}"
            );
            (ours - theirs).abs()
        }
        (_, _) => {
            assert_eq!(ours, theirs, "{at}");
            0.0
        }
    }
}

/// The same numbers on every run, evenly between 0 and 1.
fn noise(seed: u64, at: usize) -> f64 {
    let mut bits = (seed << 32)
        .wrapping_add(at as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for shift in [29, 32, 31] {
        bits = (bits ^ (bits >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// What a middling detector would write on each series of a set.
fn write_scores(data: &Path, labels: &str, style: Style, seed: u64, scores: &Path) {
    let labels: Value = serde_json::from_slice(&fs::read(data.join(labels)).unwrap()).unwrap();
    for (number, (name, known)) in labels.as_object().unwrap().iter().enumerate() {
        let seed = seed * 1_000 + number as u64;
        let alerts = match style {
            Style::Alerts => true,
            Style::SomeAlerts => number % 2 == 0,
            Style::Smooth | Style::TiesAndHoles | Style::Sparse => false,
        };
        let mut text = format!("timestamp,score{}\n", if alerts { ",alert" } else { "" });
        for (at, time) in times(&data.join(format!("series/{name}.csv.gz")))
            .into_iter()
            .enumerate()
        {
            let Some(score) = score(style, seed, at, event(known, time)) else {
                continue;
            };
            text.push_str(&format!("{time},{score}"));
            if alerts {
                let on = noise(seed + 500, at / 7) > 0.985
                    || score.parse().is_ok_and(|it: f64| it > 0.93);
                text.push_str(if on { ",1" } else { ",0" });
            }
            text.push('\n');
        }
        let ending = if number % 3 == 0 { "csv.gz" } else { "csv" };
        write(&scores.join(format!("{name}.{ending}")), &text);
    }
}

/// The field with the score; none where the row is left out. Scores rise in three of four events, some points late, and now and then
/// elsewhere.
fn score(style: Style, seed: u64, at: usize, event: Option<usize>) -> Option<String> {
    let chance = noise(seed, at);
    let spike = noise(seed + 100, at / 9) > 0.99;
    let found =
        event.is_some_and(|event| noise(seed + 200, event) < 0.75) && noise(seed + 300, at) > 0.3;
    let plain = if found || spike {
        0.5 + 0.5 * chance
    } else {
        0.85 * chance * chance
    };
    match style {
        Style::Smooth | Style::Alerts | Style::SomeAlerts => Some(format!("{plain:.12}")),
        Style::Sparse if found || spike => Some(format!("{chance:.3}")),
        Style::Sparse => Some("0".to_owned()),
        Style::TiesAndHoles => match noise(seed + 400, at) {
            0.0..0.01 => None,
            0.01..0.015 => Some(String::new()),
            0.015..0.02 => Some("nan".to_owned()),
            _ => Some(format!("{:.2}", (plain * 20.0).round() / 20.0)),
        },
    }
}

/// The number of the event that a time lies in.
fn event(known: &Value, time: i64) -> Option<usize> {
    let events = known["events"].as_array().unwrap();
    events.iter().position(|event| {
        let end = |at: usize| event[at].as_i64().unwrap();
        (end(0)..=end(1)).contains(&time)
    })
}

fn times(series: &Path) -> Vec<i64> {
    let lines = BufReader::new(MultiGzDecoder::new(File::open(series).unwrap())).lines();
    let first = |line: String| line.split(',').next().unwrap().parse().unwrap();
    lines.skip(1).map(|line| first(line.unwrap())).collect()
}
