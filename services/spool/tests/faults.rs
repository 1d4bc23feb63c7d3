//! Damage, missing files, a second opener, and the bounds at their edges.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use spool::{
    DropReason, EntryId, IN_FLIGHT_MAX, Limits, Recovery, Spool, SpoolError, TAGS_HELD_MAX,
};

const HOUR: Duration = Duration::from_secs(3600);

fn limits(bytes_max: u64, segment_bytes: u64) -> Limits {
    Limits::new(bytes_max, HOUR, segment_bytes).unwrap()
}

fn open(directory: &Path) -> (Spool, Recovery) {
    Spool::open(directory, limits(1 << 20, 4096)).unwrap()
}

/// 40 entries of about 1 KB, three to a segment: segments begin at 0, 3, 6 …
fn filled(directory: &Path) {
    let (mut spool, _) = open(directory);
    for number in 0..40_u8 {
        spool
            .append(&[number], &[&[number; 1000]], u64::from(number))
            .unwrap();
    }
    spool.sync().unwrap();
}

fn segment(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.segment"))
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

fn take_all(spool: &mut Spool) -> Vec<u64> {
    std::iter::from_fn(|| spool.next().unwrap())
        .map(|taken| {
            assert_eq!(taken.tag, [taken.id.get() as u8]);
            assert_eq!(taken.payload, [taken.id.get() as u8; 1000]);
            taken.id.get()
        })
        .collect()
}

#[test]
fn a_damaged_payload_costs_that_entry_and_its_tag_is_told() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    flip(&segment(directory.path(), 3), 8 + 33 + 500);
    let (mut spool, recovery) = open(directory.path());
    assert_eq!(
        recovery,
        Recovery {
            entries_kept: 40,
            ..Recovery::default()
        }
    );
    let expected: Vec<u64> = (0..40).filter(|id| *id != 3).collect();
    assert_eq!(take_all(&mut spool), expected);
    let dropped = spool.take_dropped();
    assert_eq!(dropped.len(), 1);
    assert_eq!(
        (
            dropped[0].id.get(),
            dropped[0].tag.as_slice(),
            dropped[0].reason
        ),
        (3, [3].as_slice(), DropReason::Damage)
    );
    assert_eq!((spool.len(), spool.lost()), (39, 0));
    for id in expected {
        spool.delivered(EntryId::new(id));
    }
    assert!(spool.is_empty());
}

#[test]
fn a_damaged_head_costs_the_rest_of_its_segment_and_that_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let second_entry = 8 + 33 + 1000;
    flip(&segment(directory.path(), 3), second_entry + 17);
    let (mut spool, recovery) = open(directory.path());
    assert_eq!(
        recovery,
        Recovery {
            entries_kept: 38,
            segments_damaged: 1,
            entries_lost: 2,
            bytes_cut: 0
        }
    );
    assert_eq!((spool.len(), spool.lost()), (38, 2));
    let expected: Vec<u64> = (0..40).filter(|id| !(4..6).contains(id)).collect();
    assert_eq!(take_all(&mut spool), expected);
    for id in expected {
        spool.delivered(EntryId::new(id));
    }
    assert!(spool.is_empty());
    assert!(!segment(directory.path(), 3).exists());
}

#[test]
fn damage_that_comes_while_the_spool_is_open_is_counted_too() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let (mut spool, _) = open(directory.path());
    flip(&segment(directory.path(), 6), 2);
    fs::remove_file(segment(directory.path(), 9)).unwrap();
    let expected: Vec<u64> = (0..40).filter(|id| !(6..12).contains(id)).collect();
    assert_eq!(take_all(&mut spool), expected);
    assert_eq!((spool.len(), spool.lost()), (34, 6));
}

#[test]
fn a_missing_segment_is_counted_and_the_rest_is_given() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    fs::remove_file(segment(directory.path(), 6)).unwrap();
    let (mut spool, recovery) = open(directory.path());
    assert_eq!(
        recovery,
        Recovery {
            entries_kept: 37,
            segments_damaged: 1,
            entries_lost: 3,
            bytes_cut: 0
        }
    );
    assert_eq!(take_all(&mut spool).len(), 37);
}

#[test]
fn a_torn_end_is_cut_and_told() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let newest = segment(directory.path(), 39);
    let mut bytes = fs::read(&newest).unwrap();
    bytes.extend([7; 100]);
    fs::write(&newest, &bytes).unwrap();
    let (mut spool, recovery) = open(directory.path());
    assert_eq!(
        recovery,
        Recovery {
            entries_kept: 40,
            bytes_cut: 100,
            ..Recovery::default()
        }
    );
    assert_eq!(spool.append(&[40], &[&[40; 1000]], 40).unwrap().get(), 40);
    assert_eq!(take_all(&mut spool).len(), 41);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, _) = open(directory.path());
    let error = Spool::open(directory.path(), limits(1 << 20, 4096)).unwrap_err();
    assert!(matches!(error, SpoolError::Locked { .. }));
    let text = error.to_string();
    assert!(
        text.contains(directory.path().to_str().unwrap()) && text.contains("another process"),
        "{text}"
    );
    drop(spool);
    open(directory.path());
}

#[test]
fn the_directory_is_its_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state/spool");
    filled(&directory);
    assert_eq!(
        fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for file in fs::read_dir(&directory).unwrap() {
        assert_eq!(
            file.unwrap().metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn ids_rise_over_a_restart_with_nothing_left() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let (mut spool, _) = open(directory.path());
    for id in take_all(&mut spool) {
        spool.delivered(EntryId::new(id));
    }
    assert!(spool.is_empty() && spool.bytes() < 4096);
    spool.flush_mark().unwrap();
    drop(spool);
    // Even where the newest segment is gone, the mark keeps the place.
    fs::remove_file(segment(directory.path(), 39)).unwrap();
    let (mut spool, recovery) = open(directory.path());
    assert_eq!(recovery, Recovery::default());
    assert!(spool.next().unwrap().is_none());
    assert_eq!(spool.append(&[40], &[&[40; 1000]], 0).unwrap().get(), 40);
    assert_eq!(take_all(&mut spool), [40]);
}

#[test]
fn one_entry_larger_than_the_spool_is_held_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), limits(16 * 1024, 4096)).unwrap();
    for number in 0..10_u8 {
        spool.append(&[number], &[&[number; 1000]], 0).unwrap();
    }
    let large = vec![1; 100_000];
    spool.append(b"large", &[&large], 0).unwrap();
    let dropped: Vec<_> = spool
        .take_dropped()
        .into_iter()
        .map(|dropped| (dropped.id.get(), dropped.reason))
        .collect();
    assert_eq!(
        dropped,
        (0..10).map(|id| (id, DropReason::Size)).collect::<Vec<_>>()
    );
    assert_eq!(spool.next().unwrap().unwrap().payload, large);
    assert!(spool.bytes() < 100_000 + 100);
}

#[test]
fn a_delivery_of_what_was_dropped_under_way_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let (mut spool, _) = open(directory.path());
    assert_eq!(take_all(&mut spool).len(), 40);
    let hour_ms = 3_600_000;
    assert_eq!(spool.enforce(hour_ms).unwrap(), []);
    // The oldest of the first two segments are beyond the age: 0 and 3.
    let dropped = spool.enforce(hour_ms + 4).unwrap();
    assert_eq!(
        dropped
            .iter()
            .map(|dropped| dropped.id.get())
            .collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5]
    );
    spool.delivered(EntryId::new(2));
    spool.delivered(EntryId::new(7));
    assert_eq!(spool.len(), 33);
    // All of it, the segment appended to included, and then it goes on.
    assert_eq!(spool.enforce(2 * hour_ms).unwrap().len(), 33);
    assert!(spool.is_empty() && spool.next().unwrap().is_none());
    assert_eq!(
        spool
            .append(&[40], &[&[40; 1000]], 2 * hour_ms)
            .unwrap()
            .get(),
        40
    );
    assert_eq!(take_all(&mut spool), [40]);
}

#[test]
fn what_is_under_way_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), limits(8 << 20, 1 << 20)).unwrap();
    for _ in 0..IN_FLIGHT_MAX + 10 {
        spool.append(b"", &[b"x"], 0).unwrap();
    }
    let taken = std::iter::from_fn(|| spool.next().unwrap()).count() as u64;
    assert_eq!(taken, IN_FLIGHT_MAX);
    spool.delivered(EntryId::new(1));
    assert!(spool.next().unwrap().is_none());
    spool.delivered(EntryId::new(0));
    assert_eq!(spool.next().unwrap().unwrap().id.get(), IN_FLIGHT_MAX);
}

#[test]
fn tags_nobody_takes_stop_appending() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(directory.path(), limits(16 * 1024, 4096)).unwrap();
    let refused = (0..2 * TAGS_HELD_MAX)
        .find_map(|_| spool.append(b"t", &[], 0).err())
        .unwrap();
    assert!(matches!(refused, SpoolError::DroppedNotTaken { .. }));
    assert!(spool.take_dropped().len() > TAGS_HELD_MAX);
    spool.append(b"t", &[], 0).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any one byte of any file is changed: every entry is given as it was, or told as dropped, or counted.
    #[test]
    fn one_damaged_byte_anywhere_is_survived_and_accounted(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let mut files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some());
        files.sort();
        let path = which.get(&files);
        flip(path, at.index(usize::try_from(fs::metadata(path).unwrap().len()).unwrap()));
        let (mut spool, recovery) = open(directory.path());
        let given = take_all(&mut spool).len() as u64;
        let told = spool.take_dropped().len() as u64;
        // The newest segment holds one entry, and damage to it is a torn end.
        let cut = u64::from(recovery.bytes_cut > 0);
        prop_assert_eq!(given + told + spool.lost() + cut, 40);
        prop_assert!(given >= 37);
    }
}
