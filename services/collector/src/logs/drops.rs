//! What a full spool drops, against real files and kills at any point: the line after each gap tells what is missing there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroU32;

use proptest::prelude::*;
use units::ContainerId;

use super::Command;
use super::crashes::{Driver, Reached, Step, World, live_through, step};
use super::settings::LogConfig;

/// A spool of four segments, which hold a record or two each.
const SMALL: u64 = 16 * 1024;

/// What a line that arrived tells, by stream and number; of one that came twice what it told once.
struct Tells {
    lost: u64,
    limited: u64,
}

fn tells(world: &World) -> BTreeMap<(&'static str, u64), Tells> {
    let received = world.received().into_keys();
    let mut tells: BTreeMap<_, _> = received
        .map(|line| {
            let nothing = Tells {
                lost: 0,
                limited: 0,
            };
            (line, nothing)
        })
        .collect();
    for line in &world.arrived {
        let stream = super::crashes::name(line.stream);
        let told = tells.get_mut(&(stream, line.sequence)).unwrap();
        told.lost = told.lost.max(line.lost_before);
        told.limited = told.limited.max(line.limited_before);
    }
    tells
}

/// Asserts that each line of a container with one stream tells how many are missing directly before it. What arrived without
/// the collector's knowledge before it was killed may be said to be lost as well, where all else up to the gap is.
fn assert_each_gap_is_told(world: &World) {
    let tells = tells(world);
    let mut next = 0;
    let mut doubted = 0;
    for ((stream, number), told) in &tells {
        let (left_out, said) = (number - next, told.lost + told.limited);
        assert!(
            (left_out..=left_out + doubted).contains(&said),
            "{said} said to be lost before {number}, {left_out} are, {doubted} in doubt"
        );
        doubted = match world.doubted.contains(&(*stream, *number)) {
            true => doubted + said + 1,
            false => 0,
        };
        next = number + 1;
    }
}

/// How many lines are missing, and how many are said to be.
fn missing_and_said(world: &World) -> (u64, u64) {
    let tells = tells(world);
    let missing = world.written().len() as u64 - tells.len() as u64;
    let said = tells.values().map(|it| it.lost + it.limited).sum();
    (missing, said)
}

/// Asserts that all that is missing is told, wherever. Gives how much that is.
fn assert_sum_is_told(world: &World) -> u64 {
    let (missing, said) = missing_and_said(world);
    let tells = tells(world);
    let doubted: u64 = (world.doubted.iter())
        .map(|line| 1 + tells[line].lost + tells[line].limited)
        .sum();
    assert!(
        (missing..=missing + doubted).contains(&said),
        "{said} said to be lost, {missing} are, {doubted} in doubt"
    );
    missing
}

/// All is long, so that the spool is full soon.
fn longer(step: Step, streams: Streams) -> Step {
    match (step, streams) {
        (Step::Write(_, text, pieces), Streams::One) => Step::Write("stdout", long(&text), pieces),
        (Step::Write(stream, text, pieces), Streams::Both) => {
            Step::Write(stream, long(&text), pieces)
        }
        (step, Streams::One | Streams::Both) => step,
    }
}

fn long(text: &str) -> String {
    format!("{text}{}", " and on".repeat(200))
}

#[derive(Debug, Clone, Copy)]
enum Streams {
    One,
    Both,
}

fn last_line(world: &mut World) {
    world.write("stdout", "last", 1);
    world.work().obey(Command::Ended(ContainerId::from("c")));
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_line_after_each_gap_tells_it_through_rotations_outages_and_kills(
        steps in proptest::collection::vec(step(), 1..90),
        local in any::<bool>(),
    ) {
        let driver = if local { Driver::Local } else { Driver::JsonFile };
        let mut world = World::new(driver, SMALL);
        live_through(&mut world, steps.into_iter().map(|it| longer(it, Streams::One)).collect());
        last_line(&mut world);
        assert_each_gap_is_told(&world);
        assert_sum_is_told(&world);
    }

    #[test]
    fn what_is_missing_of_two_streams_is_told_in_sum(
        steps in proptest::collection::vec(step(), 1..90),
    ) {
        let mut world = World::new(Driver::JsonFile, SMALL);
        let alive = steps.into_iter().filter(|it| !matches!(it, Step::Kill(_)));
        live_through(&mut world, alive.map(|it| longer(it, Streams::Both)).collect());
        last_line(&mut world);
        assert_sum_is_told(&world);
    }

    /// A trace of one stream that is not whole has the other's lines after it read again, and what was dropped of them, and was
    /// said to be, comes after all.
    #[test]
    fn no_less_than_is_missing_of_two_streams_is_told_after_kills(
        steps in proptest::collection::vec(step(), 1..90),
    ) {
        let mut world = World::new(Driver::JsonFile, SMALL);
        live_through(&mut world, steps.into_iter().map(|it| longer(it, Streams::Both)).collect());
        last_line(&mut world);
        let (missing, said) = missing_and_said(&world);
        prop_assert!(said >= missing, "{} said to be lost, {} are", said, missing);
    }
}

#[test]
fn what_a_full_spool_drops_is_told_by_the_line_after_it_and_to_the_counters() {
    // Far more than the spool holds, and than is kept in memory of what it held.
    let mut world = World::new(Driver::JsonFile, 512 * 1024);
    for number in 0..400 {
        world.write("stdout", &format!("{number} {}", "x".repeat(20_000)), 2);
        if number % 5 == 0 {
            world.wait();
        }
    }
    world.wait();
    let last = world.written().len() as u64;
    world.write("stdout", "after", 1);
    world.finish();
    assert_each_gap_is_told(&world);
    let missing = assert_sum_is_told(&world);
    assert!(missing > 0);
    assert_eq!(
        tells(&world)[&("stdout", last)].lost,
        0,
        "it stands behind the gap"
    );
    assert_eq!(
        world.tally.of(&ContainerId::from("c")).unwrap().lost,
        missing
    );
}

#[test]
fn gaps_are_told_one_by_one_though_the_log_takes_lines_between_them_and_the_collector_is_killed() {
    let mut world = World::new(Driver::JsonFile, SMALL);
    for outage in 0..4 {
        for number in 0..20 {
            world.write("stdout", &long(&format!("{outage} {number}")), 1);
            world.wait();
        }
        world.kill(Reached::Nothing);
        // As much as the log takes before it is away again, and what of it is known after another kill.
        for _ in 0..3 {
            world.round();
            world.deliver();
        }
        world.save();
        world.kill(Reached::Nothing);
    }
    last_line(&mut world);
    assert_eq!(world.doubted, BTreeSet::new());
    assert_each_gap_is_told(&world);
    let gaps = tells(&world);
    assert!(gaps.values().filter(|told| told.lost > 0).count() > 1);
}

#[test]
fn what_arrived_is_written_down_before_it_is_dropped_from_the_spool() {
    let mut world = World::new(Driver::JsonFile, SMALL);
    for number in 0..12 {
        world.write("stdout", &number.to_string(), 1);
        world.wait();
    }
    for _ in 0..2 {
        world.deliver();
        world.round();
    }
    let arrived = world.arrived.len();
    assert!((1..12).contains(&arrived), "{arrived}");
    for number in 12..50 {
        world.write("stdout", &long(&number.to_string()), 1);
        world.wait();
    }
    assert_eq!(world.arrived.len(), arrived, "the log is away");
    world.kill(Reached::Nothing);
    world.doubted.clear();
    last_line(&mut world);
    assert_each_gap_is_told(&world);
    assert!(assert_sum_is_told(&world) > 0);
}

#[test]
fn what_the_rate_limit_left_out_of_dropped_records_is_told_behind_the_gap_as_well() {
    let config = LogConfig {
        lines_per_second: NonZeroU32::new(10),
        ..LogConfig::default()
    };
    let twenty_a_second = 50_000_000;
    let mut world = World::configured(Driver::JsonFile, SMALL, config, twenty_a_second);
    for number in 0..400 {
        world.write("stdout", &long(&number.to_string()), 1);
        if number % 3 == 0 {
            world.wait();
        }
    }
    world.wait();
    world.kill(Reached::Nothing);
    last_line(&mut world);
    assert_each_gap_is_told(&world);
    let tells = tells(&world);
    let limited: u64 = tells.values().map(|told| told.limited).sum();
    let most = tells.values().map(|told| told.limited).max();
    assert!(limited > 150 && most > Some(50), "{limited}, {most:?}");
    assert!(tells.values().any(|told| told.lost > 0));
}

#[test]
fn a_gap_at_the_end_of_the_spool_is_told_by_the_line_read_next() {
    let mut world = World::new(Driver::JsonFile, SMALL);
    for number in 0..5 {
        world.write("stdout", &number.to_string(), 1);
        world.wait();
    }
    world.save();
    let spool = world.directory.path().join("state/spool");
    let mut removed = 0;
    world.stop();
    for entry in fs::read_dir(spool).unwrap() {
        let path = entry.unwrap().path();
        if path.metadata().unwrap().len() > 100 {
            fs::remove_file(path).unwrap();
            removed += 1;
        }
    }
    assert!(removed > 0);
    world.kill(Reached::Nothing);
    last_line(&mut world);
    assert_eq!(world.received().len(), 1);
    assert_eq!(tells(&world)[&("stdout", 5)].lost, 5);
}
