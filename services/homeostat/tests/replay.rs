//! `homeostat record` and `homeostat replay` as people and programs call them, over a local log and over files.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use bus::recording::{Description, RecordingReader, RecordingWriter};
use bus::{Bus, LocalConfig, NewRecord, Position, Record};
use serde_json::Value;
use units::{
    Confidence, ContainerId, ContainerName, ContainerRecord, ContainerState, EngineInfo,
    HealthState, Limits, Mode, NodeCapacity, NodeFacts, NodeId, NodeInventory, Policy, Ratio,
    ServiceId, Severity, Signal, SignalId, SignalKind, SignalPhase, Subject, Timestamp,
};
use wire::{Json, Meta, topic};

fn homeostat(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .args(arguments)
        .env_remove("HOMEOSTAT_CONFIG")
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

/// What a failed call says, and its exit status.
fn failed(output: &Output) -> (String, Option<i32>) {
    assert!(!output.status.success(), "{}", text(&output.stdout));
    (text(&output.stderr), output.status.code())
}

fn second(second: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(second)
}

fn inventory(at: Timestamp) -> NodeInventory {
    let web = ContainerRecord {
        id: ContainerId::from("id-web-1"),
        name: ContainerName::from("web-1"),
        service: ServiceId::from("web"),
        image: "app:1".to_owned(),
        state: ContainerState::Running,
        health: HealthState::None,
        restarts: 0,
        created_at: Some(Timestamp::EPOCH),
        started_at: Some(Timestamp::EPOCH),
        finished_at: None,
        exit_code: None,
        limits: Limits::default(),
        policy: Policy {
            mode: Mode::Act,
            heal: true,
            ..Policy::default()
        },
        label_problems: Vec::new(),
        replica_of: None,
        made_by: None,
        copy_obstacles: Vec::new(),
        spec: None,
    };
    NodeInventory {
        node: NodeId::from("a"),
        at,
        steady: None,
        capacity: NodeCapacity::default(),
        engine: EngineInfo::default(),
        facts: NodeFacts::default(),
        containers: vec![web],
    }
}

fn hang(phase: SignalPhase, opened_at: Timestamp, at: Timestamp) -> Signal {
    let subject = Subject::container(
        ServiceId::from("web"),
        NodeId::from("a"),
        ContainerId::from("id-web-1"),
        ContainerName::from("web-1"),
    );
    let fingerprint = subject.fingerprint(SignalKind::Hang);
    Signal {
        id: SignalId::of(&fingerprint, opened_at),
        fingerprint,
        phase,
        kind: SignalKind::Hang,
        subject,
        severity: Severity::Critical,
        score: Ratio::saturating(0.99),
        confidence: Confidence::High,
        opened_at,
        at,
        reason: "web-1 gets requests and does no work".to_owned(),
        evidence: Vec::new(),
        traceparent: None,
    }
}

fn encoded<T: Json>(value: &T) -> NewRecord {
    wire::encode(value, &Meta::new("test"))
}

fn lying(record: NewRecord, at: Timestamp, offset: u64) -> Record {
    Record {
        position: Position {
            topic: record.topic,
            partition: 0,
            offset,
        },
        timestamp_ms: at.as_millis(),
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}

/// Five minutes with a hang from second 60 to second 180.
fn recording(path: &Path) {
    let mut records: Vec<Record> = (0..60)
        .map(|beat| {
            let at = second(beat * 5);
            lying(encoded(&inventory(at)), at, beat)
        })
        .collect();
    let opened = second(60);
    for (offset, (phase, at_s)) in [(SignalPhase::Open, 60), (SignalPhase::Resolve, 180)]
        .into_iter()
        .enumerate()
    {
        let signal = hang(phase, opened, second(at_s));
        records.push(lying(encoded(&signal), second(at_s), offset as u64));
    }
    records.sort_by_key(|record| record.timestamp_ms);
    let description = Description {
        from_ms: second(0).as_millis(),
        to_ms: second(300).as_millis(),
        made_by: "test/1".to_owned(),
    };
    let mut writer = RecordingWriter::create(path, &description).unwrap();
    for record in &records {
        writer.write(record).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_candidate_is_tried_on_a_recording() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("week.rec");
    recording(&file);
    let candidate = root.path().join("candidate.toml");
    fs::write(&candidate, "[controller]\nmax_mode = \"act\"\n").unwrap();
    let [file, candidate] = [&file, &candidate].map(|path| path.to_str().unwrap());
    let arguments = ["replay", "--from", file, "--config", candidate];
    let shown = told(&homeostat(&arguments));
    for expected in [
        "week.rec: 2023-11-14T22:13:20.000Z to 2023-11-14T22:18:15.000Z",
        "candidate.toml",
        "RECORDED",
        "1 restart",
        "plans of the candidate: 1",
        "restart web-1  [assumed]",
        "web-1 gets requests and does no work",
        "the candidate first differs from what happened at 2023-11-14T22:14:20.000Z",
        "what nobody can know",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let report = json(&homeostat(&[&arguments[..], &["-o", "json"]].concat()));
    assert_eq!(report["recorded"]["slo_seconds"], 120.0);
    assert_eq!(report["present"]["slo_seconds"], 120.0);
    assert_eq!(report["candidate"]["slo_seconds"], 1.0);
    assert_eq!(report["recording"]["torn"], Value::Null);

    // One setting instead of a file, and the same answer each time.
    let set = ["--set", "controller.max_mode=act", "-o", "json"];
    let by_flag = json(&homeostat(
        &[&["replay", "--from", file][..], &set].concat(),
    ));
    assert_eq!(
        by_flag["candidate"]["digest"],
        report["candidate"]["digest"]
    );
    let alone = json(&homeostat(&["replay", "--from", file, "-o", "json"]));
    assert_eq!(alone["candidate"], Value::Null);
}

#[test]
fn of_a_torn_recording_what_is_whole_is_used_and_others_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("week.rec");
    recording(&file);
    let whole = fs::read(&file).unwrap();
    let replay = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        fs::write(&path, bytes).unwrap();
        homeostat(&["replay", "--from", path.to_str().unwrap()])
    };
    let torn = replay("torn.rec", &whole[..whole.len() - 5]);
    assert!(told(&torn).contains("torn: it breaks off within its end"));
    assert!(text(&torn.stderr).contains("torn.rec is torn"));
    let mut newer = whole.clone();
    newer[8] = 2;
    let (newer, status) = failed(&replay("newer.rec", &newer));
    assert!(
        newer.contains("newer.rec is of version 2") && newer.contains("record again"),
        "{newer}"
    );
    assert_eq!(status, Some(1));
    let (other, _) = failed(&replay("other.rec", b"timestamp,requests\n"));
    assert!(
        other.contains("other.rec is no recording") && other.contains("homeostat record"),
        "{other}"
    );
    let (absent, _) = failed(&homeostat(&["replay", "--from", "no/such.rec"]));
    assert!(absent.contains("no/such.rec; check its name"), "{absent}");
    let empty = root.path().join("empty.rec");
    let description = RecordingReader::open(&file).unwrap().description().clone();
    RecordingWriter::create(&empty, &description)
        .unwrap()
        .finish()
        .unwrap();
    let (empty, status) = failed(&homeostat(&["replay", "--from", empty.to_str().unwrap()]));
    assert!(
        empty.contains("empty.rec holds nothing") && empty.contains("homeostat record"),
        "{empty}"
    );
    assert_eq!(status, Some(3));
}

#[test]
fn what_a_local_log_holds_is_recorded_and_replayed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let set = format!("bus.local.dir={}", dir.display());
    let call = |arguments: &[&str]| homeostat(&[arguments, &["--set", &set]].concat());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = LocalConfig {
            dir: dir.clone(),
            ..LocalConfig::default()
        };
        let log = Bus::local(&config).unwrap();
        log.ensure_topics(&topic::all(1)).await.unwrap();
        log.close().await;
    });
    let file = root.path().join("day.rec");
    let record = ["record", "--output", file.to_str().unwrap()];
    let (nothing, status) = failed(&call(&record));
    assert!(nothing.contains("the log holds nothing from"), "{nothing}");
    assert_eq!((status, file.exists()), (Some(3), false));
    runtime.block_on(async {
        let config = LocalConfig {
            dir: dir.clone(),
            ..LocalConfig::default()
        };
        let log = Bus::local(&config).unwrap();
        let now = kit::now();
        for _ in 0..3 {
            log.produce(encoded(&inventory(now))).await.unwrap();
        }
        let signal = hang(SignalPhase::Open, now, now);
        log.produce(encoded(&signal)).await.unwrap();
        log.close().await;
    });
    let recorded = told(&call(&record));
    assert!(
        recorded.contains("2 records from") && recorded.contains("(inventory 1, signals 1)"),
        "{recorded}"
    );
    let (again, _) = failed(&call(&record));
    assert!(again.contains("exists already"), "{again}");
    let replay = |from: &str| {
        json(&call(&[
            "replay",
            "--from",
            from,
            "--set",
            "controller.max_mode=act",
            "-o",
            "json",
        ]))
    };
    let [by_file, by_log] = [file.to_str().unwrap(), "log"].map(replay);
    assert_eq!(by_file["candidate"]["actions"]["restart"], 1, "{by_file}");
    assert_eq!(
        by_log["candidate"]["digest"],
        by_file["candidate"]["digest"]
    );
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let (unknown, status) = failed(&call(&[
        "record", "--output", "x.rec", "--topics", "smaples",
    ]));
    assert!(unknown.contains("smaples"), "{unknown}");
    assert_eq!(status, Some(2));
}
