//! The bytes of each record, kept: a change of what travels is a change of these files, and what older versions wrote stays readable.
//!
//! `HOMEOSTAT_BLESS=1 cargo test -p wire --test golden` writes them anew.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;

use common::*;
use units::*;
use wire::{Checkpoint, Claim, Json, Meta, TrainedModel};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden/wire")
        .join(name)
}

fn meta() -> Meta {
    Meta::new("golden/1@node-a")
}

/// The file's bytes; when asked to bless, `fresh` becomes the file.
fn golden(name: &str, fresh: &[u8]) -> Vec<u8> {
    let path = file(name);
    if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, fresh).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json<T: Json + PartialEq + std::fmt::Debug>(value: &T) {
    let mut record = delivered(wire::encode(value, &meta()));
    let pretty: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
    let fresh = serde_json::to_string_pretty(&pretty).unwrap() + "\n";
    let name = format!("{}-{}.json", T::SCHEMA, T::VERSION);
    let kept = golden(&name, fresh.as_bytes());
    assert_eq!(String::from_utf8(kept.clone()).unwrap(), fresh, "{name}");
    record.value = kept.into();
    assert_eq!(&wire::decode::<T>(&record).unwrap(), value, "{name}");
}

#[test]
fn json_records_are_as_they_were() {
    json(&event());
    json(&inventory());
    json(&signal());
    json(&Feedback::of(
        &signal(),
        Opinion::Dismissed,
        at(60_000),
        Some("the nightly backup".to_owned()),
    ));
    json(&forecast());
    json(&plan().commands().next().unwrap());
    json(&outcome());
    json(&JournalEntry::Plan(Box::new(PlanEntry {
        at: at(9_000),
        plan: plan(),
        phase: Phase::Judged,
        outcomes: vec![outcome()],
        verdict: Some(Verdict {
            kind: VerdictKind::Helped,
            at: at(9_000),
            reason: "the signal resolved 5 s after the restart".to_owned(),
        }),
    })));
    json(&Claim {
        candidate: "controller@node-a".to_owned(),
        at: at(0),
    });
    json(&Checkpoint {
        partition_key: "3".to_owned(),
        samples_next: 10,
        logs_next: 11,
        at: at(0),
        state_version: 1,
        state: "AAEC".to_owned(),
    });
    json(&TrainedModel {
        service: ServiceId::from("shop/web"),
        trained_at: at(0),
        digest: "ab12".to_owned(),
        artefact_version: 1,
        artefact: serde_json::json!({ "digest": "ab12", "content": { "schema": 1 } }),
    });
}

/// Records of before limits could be changed in place hold neither what may be done nor what is needed.
#[test]
fn forecasts_and_inventories_of_before_are_read() {
    let older = |record: &mut bus::Record, path: &[&str], key: &str| {
        let mut value: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        let mut place = &mut value;
        for step in path {
            place = match step.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[step],
            };
        }
        assert!(place.as_object_mut().unwrap().remove(key).is_some());
        record.value = serde_json::to_vec(&value).unwrap().into();
    };
    let mut record = delivered(wire::encode(&forecast(), &meta()));
    older(&mut record, &[], "usage");
    let read = wire::decode::<Forecast>(&record).unwrap();
    assert_eq!(
        read,
        Forecast {
            usage: None,
            ..forecast()
        }
    );
    let mut record = delivered(wire::encode(&inventory(), &meta()));
    older(&mut record, &["containers", "0", "policy"], "limits");
    let read = wire::decode::<NodeInventory>(&record).unwrap();
    assert_eq!(read.containers[0].policy.limits, None);
    assert!(inventory().containers[0].policy.limits.is_some());
    let mut record = delivered(wire::encode(&inventory(), &meta()));
    older(&mut record, &[], "facts");
    let read = wire::decode::<NodeInventory>(&record).unwrap();
    assert!(read.facts.is_empty() && !inventory().facts.is_empty());
    // Where containers are reached came later still.
    let mut record = delivered(wire::encode(&inventory(), &meta()));
    older(&mut record, &["facts"], "address");
    older(&mut record, &["containers", "0", "policy"], "port");
    for key in ["published", "exposed"] {
        older(&mut record, &["containers", "0", "spec"], key);
    }
    let read = wire::decode::<NodeInventory>(&record).unwrap();
    assert_eq!(read.facts.address, None);
    assert_eq!(read.containers[0].policy.port, None);
    let spec = read.containers[0].spec.as_ref().unwrap();
    assert!(spec.published.is_empty() && spec.exposed.is_empty());
}

/// What the first version of each batch held, before columns were added.
#[test]
fn the_first_batches_are_read() {
    let first = |metrics: &MetricRow| {
        let mut row = MetricRow::default();
        for (metric, value) in metrics.iter() {
            if metric <= Metric::ExitCode {
                row.set(metric, value);
            }
        }
        row
    };
    let rows: Vec<Sample> = [sample(), stopped_sample()]
        .into_iter()
        .map(|row| Sample {
            steady: Steady::from_time_of_day(row.at),
            metrics: first(&row.metrics),
            ..row
        })
        .collect();
    let mut record = delivered(wire::encode_samples(&rows, 3, &meta()).unwrap());
    record.value = std::fs::read(file("samples-first.arrow")).unwrap().into();
    assert_eq!(wire::decode_samples(&record).unwrap(), rows);

    let rows = vec![sample(), stopped_sample()];
    let mut record = delivered(wire::encode_samples(&rows, 3, &meta()).unwrap());
    record.value = std::fs::read(file("samples-1.arrow")).unwrap().into();
    assert_eq!(wire::decode_samples(&record).unwrap(), rows);

    let lines = vec![LogLine {
        lines: 1,
        limited_before: 0,
        trace_id: None,
        raw: None,
        ..line()
    }];
    let mut record = delivered(wire::encode_logs(&lines, 3, &meta()).unwrap());
    record.value = std::fs::read(file("logs-first.arrow")).unwrap().into();
    assert_eq!(wire::decode_logs(&record).unwrap(), lines);
}

#[test]
fn batches_written_before_are_read() {
    let rows = vec![sample(), stopped_sample()];
    let mut record = delivered(wire::encode_samples(&rows, 3, &meta()).unwrap());
    record.value = golden("samples-2.arrow", &record.value).into();
    assert_eq!(wire::decode_samples(&record).unwrap(), rows);

    let lines = vec![line()];
    let mut record = delivered(wire::encode_logs(&lines, 3, &meta()).unwrap());
    record.value = golden("logs-2.arrow", &record.value).into();
    assert_eq!(wire::decode_logs(&record).unwrap(), lines);

    let points = vec![point(), node_point()];
    let mut record = delivered(wire::encode_series(&points, 3, &meta()).unwrap());
    record.value = golden("series-1.arrow", &record.value).into();
    let read = wire::decode_telemetry(&record).unwrap();
    assert_eq!(read, wire::Telemetry::Series(points));

    let links = vec![link()];
    let mut record = delivered(wire::encode_links(&links, 3, &meta()).unwrap());
    record.value = golden("links-1.arrow", &record.value).into();
    let read = wire::decode_telemetry(&record).unwrap();
    assert_eq!(read, wire::Telemetry::Links(links));
}
