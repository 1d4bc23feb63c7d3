use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Position, Record};

fn description() -> Description {
    Description {
        from_ms: 1_000,
        to_ms: 9_000,
        made_by: "test/1".to_owned(),
    }
}

fn record(topic: &str, offset: u64, timestamp_ms: i64, value: &[u8]) -> Record {
    Record {
        position: Position {
            topic: topic.into(),
            partition: 0,
            offset,
        },
        timestamp_ms,
        key: Bytes::from_static(b"key"),
        value: Bytes::copy_from_slice(value),
        headers: vec![("schema".to_owned(), Bytes::from_static(b"a/1"))],
    }
}

fn write(path: &Path, records: &[Record]) {
    let mut writer = RecordingWriter::create(path, &description()).unwrap();
    for record in records {
        writer.write(record).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), records.len() as u64);
}

fn read(path: &Path) -> (Vec<Record>, Ending, u64) {
    let mut reader = RecordingReader::open(path).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        records.push(record);
    }
    (records, reader.ending().unwrap().clone(), reader.unknown())
}

fn some() -> Vec<Record> {
    (0..40)
        .map(|n| record("signals", n, 1_000 + n as i64, &[n as u8; 9]))
        .collect()
}

fn file(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("a.rec")
}

#[test]
fn a_recording_says_what_it_is_and_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    write(&file(&dir), &some());
    let reader = RecordingReader::open(&file(&dir)).unwrap();
    assert_eq!(reader.description(), &description());
    let again = RecordingWriter::create(&file(&dir), &description()).unwrap_err();
    assert!(again.to_string().contains("exists already"), "{again}");
    write(&dir.path().join("empty"), &[]);
    assert_eq!(
        read(&dir.path().join("empty")),
        (Vec::new(), Ending::Whole, 0)
    );
}

#[test]
fn what_is_no_recording_or_another_version_is_told_with_the_file_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    write(&file(&dir), &some());
    let whole = fs::read(file(&dir)).unwrap();
    let told = |bytes: &[u8]| {
        let path = dir.path().join("other");
        fs::write(&path, bytes).unwrap();
        RecordingReader::open(&path).unwrap_err().to_string()
    };
    let mut newer = whole.clone();
    newer[8] = 7;
    let newer = told(&newer);
    assert!(
        newer.contains("other is of version 7") && newer.contains("record again"),
        "{newer}"
    );
    for (bytes, why) in [
        (&b""[..], "shorter than a head"),
        (&b"timestamp,requests"[..], "does not begin with HSRECORD"),
        (&whole[..20], "its head is cut off"),
    ] {
        let told = told(bytes);
        assert!(
            told.contains(why) && told.contains("homeostat record"),
            "{told}"
        );
    }
    let mut damaged = whole;
    damaged[20] ^= 1;
    assert!(told(&damaged).contains("its head is damaged"));
    let absent = RecordingReader::open(&dir.path().join("absent")).unwrap_err();
    assert!(
        absent.to_string().contains("absent; check its name"),
        "{absent}"
    );
}

#[test]
fn frames_of_versions_to_come_are_passed_over_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(&file(&dir), &description()).unwrap();
    writer.write(&some()[0]).unwrap();
    writer.append_frame(&[2, 1, 2, 3]);
    writer.write(&some()[1]).unwrap();
    writer.finish().unwrap();
    assert_eq!(read(&file(&dir)), (some()[..2].to_vec(), Ending::Whole, 1));
}

#[test]
fn a_record_over_the_limit_is_named_and_leaves_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = RecordingWriter::create(&file(&dir), &description()).unwrap();
    writer.write(&some()[0]).unwrap();
    let large = record("logs", 77, 1_000, &vec![1; FRAME_MAX]);
    let refused = writer.write(&large).unwrap_err().to_string();
    assert!(refused.contains("logs/0 offset 77"), "{refused}");
    writer.finish().unwrap();
    assert_eq!(read(&file(&dir)).0, some()[..1]);
}

#[test]
fn of_a_torn_file_all_that_is_whole_is_read_and_the_rest_is_told() {
    let dir = tempfile::tempdir().unwrap();
    // Values that do not compress make many blocks.
    let noise = |n: u64| -> Vec<u8> {
        (0..20_000_u64)
            .map(|i| {
                ((i + n)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left((i % 31) as u32)
                    >> 21) as u8
            })
            .collect()
    };
    let records: Vec<Record> = (0..60)
        .map(|n| record("signals", n, n as i64, &noise(n)))
        .collect();
    write(&file(&dir), &records);
    let whole = fs::read(file(&dir)).unwrap();
    let torn = dir.path().join("torn");
    let mut lengths = Vec::new();
    for length in (100..whole.len()).step_by(9_973) {
        fs::write(&torn, &whole[..length]).unwrap();
        let (read, ending, _) = read(&torn);
        assert_eq!(read, records[..read.len()]);
        assert!(matches!(ending, Ending::Torn { .. }), "{length}");
        lengths.push(read.len());
    }
    assert!(lengths.is_sorted());
    assert!(lengths.last().is_some_and(|most| *most > 40), "{lengths:?}");
}

/// A record of any content.
fn any_record() -> impl Strategy<Value = Record> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let headers = proptest::collection::vec(("[a-z]{0,5}", bytes()), 0..4);
    (
        "[a-z.]{1,20}",
        any::<u32>(),
        any::<u64>(),
        any::<i64>(),
        bytes(),
        bytes(),
        headers,
    )
        .prop_map(
            |(topic, partition, offset, timestamp_ms, key, value, headers)| Record {
                position: Position {
                    topic: topic.into(),
                    partition,
                    offset,
                },
                timestamp_ms,
                key,
                value,
                headers,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_are_read_as_they_were_written(records in proptest::collection::vec(any_record(), 0..30)) {
        let dir = tempfile::tempdir().unwrap();
        write(&file(&dir), &records);
        prop_assert_eq!(read(&file(&dir)), (records, Ending::Whole, 0));
    }

    #[test]
    fn damage_anywhere_is_seen_and_never_invents_a_record(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let dir = tempfile::tempdir().unwrap();
        write(&file(&dir), &some());
        let mut bytes = fs::read(file(&dir)).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        fs::write(file(&dir), &bytes).unwrap();
        if RecordingReader::open(&file(&dir)).is_ok() {
            let (read, ending, _) = read(&file(&dir));
            let torn = matches!(ending, Ending::Torn { .. });
            prop_assert!(torn);
            prop_assert!(some().starts_with(&read));
        }
    }
}
